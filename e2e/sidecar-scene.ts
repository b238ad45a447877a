/** What the runs of sidecars and of Envoy have in common: programs beside a ring, one that is called, and how it is asked. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { Agent, createServer, type IncomingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export const report = (what: string, figure = ''): void =>
  void process.stdout.write(`ok   ${what}${figure === '' ? '' : `: ${figure}`}\n`)

export interface Running {
  readonly child: ChildProcess
  /** All that it wrote. */
  text: string
}

export function run(command: string, args: readonly string[]): Running {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const running: Running = { child, text: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      running.text += String(chunk)
    })
  return running
}

/** The status of an answer. @throws When there is none. */
export function ask(port: number, path = '/', agent?: Agent): Promise<number> {
  return new Promise((settle, refuse) => {
    const options = {
      host: '127.0.0.1',
      port,
      path,
      headers: { host: 'shop.example' },
      ...(agent === undefined ? {} : { agent }),
    }
    const sent = request(options, (response) => {
      response.resume()
      response.on('end', () => settle(response.statusCode as number))
    })
    sent.on('error', refuse)
    sent.end()
  })
}

export interface Program {
  readonly url: string
  readonly port: number
  /** The header fields of each request, in order. */
  readonly seen: IncomingHttpHeaders[]
  stop(): void
}

/** Says what failed; the run goes on to its end, and that is 1. */
export function fail(error: unknown): void {
  process.exitCode = 1
  process.stdout.write(`fail ${(error as Error).stack}\n`)
}

/** A program that knows nothing of certificates. */
export async function startProgram(): Promise<Program> {
  const seen: IncomingHttpHeaders[] = []
  const server = createServer((asked, response) => {
    seen.push(asked.headers)
    response.end('ok')
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const { port } = server.address() as AddressInfo
  const stop = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${port}`, port, seen, stop }
}

/**
 * Asks by four connections without a pause longer than 10 ms: no request fails, and certificates of a minute change meanwhile.
 * @returns How many requests there were, and the certificates that callers were said to have.
 */
export async function load(program: Program, port: number, ms: number): Promise<string> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const counts: Record<string, number> = {}
  const certificates = new Set<unknown>()
  const until = performance.now() + ms
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      while (performance.now() < until) {
        const status = await ask(port, '/', agent).catch((error: Error) => error.message)
        counts[status] = (counts[status] ?? 0) + 1
        certificates.add(program.seen.at(-1)?.['x-forwarded-client-cert'])
        await new Promise((wake) => setTimeout(wake, 10))
      }
    }),
  )
  agent.destroy()
  assert.deepEqual(Object.keys(counts), ['200'], JSON.stringify(counts))
  assert.ok(certificates.size >= 3, `${certificates.size} certificates of a minute in ${ms} ms`)
  return `${counts['200']} requests, ${certificates.size} certificates`
}
