/**
 * For tests: an upstream in a process of its own, that can be killed. Its name comes back in `x-upstream`, and how long it
 * waits, what it answers to health checks and to everything else may be changed while it runs.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Behaviour {
  readonly delayMs?: number
  readonly status?: number
  /** What `/health` answers. */
  readonly health?: number
}

export interface UpstreamProcess {
  readonly name: string
  readonly url: string
  readonly port: number
  behave(behaviour: Behaviour): Promise<void>
  /** Requests that it has begun and not answered, and all that it has seen. */
  counts(): Promise<{ readonly active: number; readonly seen: number }>
  kill(signal?: NodeJS.Signals): Promise<void>
}

interface Answer {
  readonly port?: number
  readonly active?: number
  readonly seen?: number
}

/** @param port 0: any free one. */
export async function upstreamProcess(name: string, behaviour: Behaviour = {}, port = 0): Promise<UpstreamProcess> {
  const child = fork(import.meta.filename, [name, String(port)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  // That it cannot be told anything any more, its exit says.
  child.on('error', () => undefined)
  const ask = (message: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error(`the upstream ${name} has gone`))
      child.once('exit', onExit)
      child.once('message', (answer: Answer) => {
        child.off('exit', onExit)
        resolve(answer)
      })
      child.send(message)
    })
  const { port: bound } = await ask(behaviour)
  return {
    name,
    url: `http://127.0.0.1:${bound}`,
    port: bound!,
    behave: async (changed) => {
      await ask(changed)
    },
    counts: async () => {
      const { active, seen } = await ask({})
      return { active: active!, seen: seen! }
    },
    kill: (signal = 'SIGKILL') => ended(child, signal),
  }
}

function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve()
      return
    }
    child.once('exit', () => resolve())
    child.kill(signal)
  })
}

if (import.meta.main) {
  const [, , name, port] = process.argv
  let behaviour: Behaviour = {}
  let active = 0
  let seen = 0
  const server = createServer((request: IncomingMessage, response) => {
    const { delayMs = 0, status = 200, health = 200 } = behaviour
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const answer = (code: number): void => {
        const body = Buffer.concat(chunks)
        response.writeHead(code, { 'x-upstream': name, 'content-length': body.length }).end(body)
      }
      if (request.url === '/health') {
        answer(health)
        return
      }
      seen++
      active++
      response.on('close', () => active--)
      if (delayMs === 0) answer(status)
      else setTimeout(() => answer(status), delayMs)
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(Number(port), '127.0.0.1', () => {
    process.on('message', (changed: Behaviour) => {
      behaviour = { ...behaviour, ...changed }
      process.send?.({ port: (server.address() as AddressInfo).port, active, seen })
    })
  })
  process.on('disconnect', () => process.exit())
}
