/** A real node in front of a small application, and the command line beside it, for tests. */

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { parseContext, RingwallClient } from '@ringwall/client'
import { type RunningNode, startProtect } from '@ringwall/node'
import { freePort } from '../../../tools/free-ports.ts'
import { RINGWALL } from './test-command.ts'

export interface Told {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface TestNode {
  readonly node: RunningNode
  readonly client: RingwallClient
  readonly folder: string
  /** The operator’s context file. */
  contextText(): string
  /** Of the application behind it. */
  readonly upstream: string
  /** Where it takes traffic. */
  readonly port: number
  /** A request of its own connection; the status and the request's id. */
  ask(path: string, options?: RequestInit): Promise<{ readonly status: number; readonly id: string }>
  run(...args: readonly string[]): Promise<Told>
  stop(): Promise<void>
}

/** @param input All that there is on standard input; without, it stays open. */
export function runCli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = tmpdir(),
  input?: string,
): Promise<Told> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, [...RINGWALL, ...args], {
      cwd,
      env: { ...process.env, NO_COLOR: '1', ...env },
    })
    if (input !== undefined) child.stdin.on('error', () => undefined).end(input)
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('utf8')))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')))
    child.on('close', (code) => settle({ code, stdout, stderr }))
  })
}

/** Behind it, /bytes/N answers with so many bytes, /slow/N after so many milliseconds, and /cost/N says so in `x-cost`. */
export async function startTestNode(
  more = '',
  onUpgrade?: (request: IncomingMessage, socket: Duplex) => void,
  ofService = '',
): Promise<TestNode> {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-rule-'))
  const application: Server = createServer((request, response) => {
    request.setEncoding('utf8')
    let body = ''
    request.on('data', (text: string) => (body += text))
    request.on('end', () => {
      if (request.url === '/login' && !body.endsWith('password=right')) response.statusCode = 401
      const [, what, count] = (request.url ?? '').split('/')
      if (what === 'cost') response.setHeader('x-cost', count ?? '')
      const end = (): unknown => response.end(what === 'bytes' ? Buffer.alloc(Number(count)) : 'hello')
      if (what === 'slow') setTimeout(end, Number(count))
      else end()
    })
  })
  if (onUpgrade !== undefined) application.on('upgrade', onUpgrade)
  await new Promise<void>((settle) => application.listen(0, '127.0.0.1', settle))
  const port = await freePort()
  const url = `http://127.0.0.1:${(application.address() as AddressInfo).port}`
  const config = join(folder, 'policy.yaml')
  writeFileSync(
    config,
    `# kept by every edit\nversion: 1\nservices:\n  app:\n    upstreams: [{ url: "${url}" }]\n${ofService}trustedProxies: ["127.0.0.1"]\n${more}`,
  )
  const data = join(folder, 'data')
  const node = await startProtect({
    url,
    listen: `127.0.0.1:${port}`,
    rules: ['base'],
    paranoia: 1,
    mode: 'enforce',
    explainHeader: false,
    config,
    data,
    admin: undefined,
  })
  const context = join(data, 'operator.json')
  const operator = parseContext(readFileSync(context, 'utf8'))
  const client = new RingwallClient({ baseUrl: operator.nodes[0]!.url, operator })
  return {
    node,
    client,
    folder,
    upstream: url,
    contextText: () => readFileSync(context, 'utf8'),
    port,
    async ask(path, options = {}) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, options)
      await response.arrayBuffer()
      return { status: response.status, id: response.headers.get('x-request-id') ?? '' }
    },
    run: (...args) => runCli(args, { RINGWALL_CONTEXT: context }, folder),
    async stop() {
      await node.stop()
      application.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A denial cuts what its source has open, and connections are kept: then it is asked again. */
export function tryLogin(node: TestNode, source: string, user: string, password: string): Promise<{ readonly status: number }> {
  const once = () =>
    node.ask('/login', {
      method: 'POST',
      headers: { 'x-forwarded-for': source, 'content-type': 'application/x-www-form-urlencoded' },
      body: `user=${user}&password=${password}`,
    })
  return once().catch(once)
}

export async function findingsOf({ client }: Pick<TestNode, 'client'>): Promise<readonly string[]> {
  return (await client.events({})).events.filter(({ kind }) => kind === 'finding').map(({ what }) => what)
}
