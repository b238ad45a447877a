/** A real local ring for tests: the `ringwall up` that users run, its processes and its command line. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseContext, RingwallClient } from '@ringwall/client'

export const CLI = resolve(import.meta.dirname, '../packages/cli/bin/ringwall.mjs')
export const NODE_FLAGS = ['--disable-warning=ExperimentalWarning']
const READY_MS_MAX = 45_000

/** One HTTP answer. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** One request on a connection of its own, so that tests see what a new client sees. */
export function ask(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Reply> {
  return new Promise((settle, refuse) => {
    const call = request(
      { host: '127.0.0.1', port, path, method: options.method ?? 'GET', headers: options.headers ?? {}, agent: false },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          settle({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString('utf8') }),
        )
        response.on('error', refuse)
      },
    )
    call.setTimeout(10_000, () => call.destroy(new Error(`no answer on port ${port} in 10 s`)))
    call.on('error', refuse)
    call.end(options.body)
  })
}

/** Tries until it holds; the last reason is in the error. */
export async function eventually(what: string, probe: () => Promise<boolean> | boolean, msMax = 15_000): Promise<void> {
  const deadline = performance.now() + msMax
  let reason = ''
  while (performance.now() < deadline) {
    try {
      if (await probe()) return
      reason = 'it stayed false'
    } catch (error) {
      reason = (error as Error).message
    }
    await sleep(50)
  }
  throw new Error(`${what}: not within ${msMax} ms (${reason})`)
}

/** Rings on one machine at most, so that the ports of no two meet: each has a hundred of every third thousand, and of its neighbours. */
const RINGS_MAX = 60
/** Beside a base: held while this process lives, so that rings which start at the same time have bases of their own. */
const CLAIM = 99

/** A base such that all ports of a ring of `nodes` are free, and no other test takes it while this process lives. */
export async function freePorts(nodes: number): Promise<number> {
  const first = Math.floor(Math.random() * RINGS_MAX)
  for (let attempt = 0; attempt < RINGS_MAX; attempt += 1) {
    const slot = (first + attempt) % RINGS_MAX
    // Below the ports that the kernel hands to connections.
    const base = 13_000 + 3_000 * Math.floor(slot / 10) + 100 * (slot % 10)
    const claim = await listening(base + CLAIM)
    if (claim === undefined) continue
    const ports = [base + 10, ...Array.from({ length: nodes }, (_, i) => [base + i + 1, base + 1_001 + i, base - 999 + i]).flat()]
    const held = await Promise.all(ports.map(listening))
    for (const server of held) server?.close()
    if (held.every((server) => server !== undefined)) {
      claim.unref()
      return base
    }
    claim.close()
  }
  throw new Error('no free ports for a ring')
}

/** Undefined when something else listens there. */
function listening(port: number): Promise<Server | undefined> {
  return new Promise((settle) => {
    const server = createServer().once('error', () => settle(undefined))
    server.listen(port, '127.0.0.1', () => settle(server))
  })
}

export class TestRing {
  readonly data: string
  readonly base: number
  readonly nodes: number
  readonly #extra: readonly string[]
  readonly #restarted = new Map<number, ChildProcess>()
  #up: ChildProcess | undefined
  banner = ''
  talk = ''

  private constructor(data: string, base: number, nodes: number, extra: readonly string[]) {
    this.data = data
    this.base = base
    this.nodes = nodes
    this.#extra = extra
  }

  static async start(options: { nodes?: number; extra?: readonly string[] } = {}): Promise<TestRing> {
    const nodes = options.nodes ?? 4
    const ring = new TestRing(mkdtempSync(join(tmpdir(), 'ringwall-e2e-')), await freePorts(nodes), nodes, options.extra ?? [])
    await ring.up()
    return ring
  }

  /** Starts, or starts again, all processes; resolves at the banner's last line. */
  async up(): Promise<void> {
    const args = [
      ...NODE_FLAGS,
      CLI,
      'up',
      '--data',
      this.data,
      '--ports',
      String(this.base),
      '--nodes',
      String(this.nodes),
      ...this.#extra,
    ]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#up = child
    this.banner = ''
    child.stderr.on('data', (chunk: Buffer) => (this.talk += chunk.toString('utf8')))
    await new Promise<void>((settle, refuse) => {
      const timer = setTimeout(() => {
        // It ends its nodes: nobody else does.
        child.kill('SIGINT')
        refuse(new Error(`not ready in ${READY_MS_MAX} ms: ${this.banner} ${this.talk}`))
      }, READY_MS_MAX)
      child.stdout.on('data', (chunk: Buffer) => {
        this.banner += chunk.toString('utf8')
        if (/^ready/m.test(this.banner)) {
          clearTimeout(timer)
          settle()
        }
      })
      child.once('exit', (code) => {
        clearTimeout(timer)
        refuse(new Error(`ringwall up ended with ${code}: ${this.talk}`))
      })
    })
  }

  traffic(node: number): number {
    return this.base + node
  }

  /** The process id of a node as it says itself. */
  async pid(node: number): Promise<number> {
    return (await this.client(node).status()).pid
  }

  /** The operator's file. */
  get context(): string {
    return join(this.data, 'operator.json')
  }

  /** Where its admin API and its console are. */
  adminUrl(node: number): string {
    const { nodes } = parseContext(readFileSync(this.context, 'utf8'))
    return nodes.find(({ id }) => id === `n${node}`)?.url as string
  }

  client(node: number): RingwallClient {
    return this.clientAt(this.adminUrl(node))
  }

  /** Of a node that is not one of those that the ring was brought up with. */
  clientAt(baseUrl: string): RingwallClient {
    return new RingwallClient({ baseUrl, operator: parseContext(readFileSync(this.context, 'utf8')) })
  }

  /** Runs the command line against this ring. */
  cli(...args: readonly string[]): { readonly code: number; readonly stdout: string; readonly stderr: string } {
    return this.cliAs('operator.json', ...args)
  }

  /** As the operator whose context is in this file of the ring's folder. */
  cliAs(
    context: string,
    ...args: readonly string[]
  ): { readonly code: number; readonly stdout: string; readonly stderr: string } {
    const run = spawnSync(process.execPath, [...NODE_FLAGS, CLI, ...args, '--context', join(this.data, context)], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
      timeout: 60_000,
    })
    return { code: run.status ?? -1, stdout: run.stdout, stderr: run.stderr }
  }

  /** A command that asks no ring. */
  cliAlone(...args: readonly string[]): { readonly code: number; readonly stdout: string; readonly stderr: string } {
    const run = spawnSync(process.execPath, [...NODE_FLAGS, CLI, ...args], { encoding: 'utf8', timeout: 60_000 })
    return { code: run.status ?? -1, stdout: run.stdout, stderr: run.stderr }
  }

  /** SIGKILL: no warning, no clean-up. */
  async kill(node: number): Promise<void> {
    process.kill(await this.pid(node), 'SIGKILL')
    await eventually(`n${node} is gone`, async () => {
      try {
        await ask(this.traffic(node), '/')
        return false
      } catch {
        return true
      }
    })
  }

  /** Starts a killed node as an operator would. */
  async restart(node: number): Promise<void> {
    this.start(node)
    await this.answers(node)
  }

  async answers(node: number, msMax?: number): Promise<void> {
    await eventually(`n${node} answers`, async () => (await ask(this.traffic(node), '/')).status < 500, msMax)
  }

  /** Starts a node without waiting for it, its disk sealed in another way if one is named. */
  start(node: number, seal?: 'local' | 'ring'): void {
    const config = join(this.data, `n${node}`, 'node.yaml')
    if (seal !== undefined) writeFileSync(config, readFileSync(config, 'utf8').replace(/seal: \w+/, `seal: ${seal}`))
    const child = spawn(process.execPath, [...NODE_FLAGS, CLI, 'node', '--config', config], { stdio: 'ignore' })
    this.#restarted.set(node, child)
  }

  /** SIGKILL to a node that was started by hand, whatever it is at. */
  async end(node: number): Promise<void> {
    const child = this.#restarted.get(node)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((settle) => child.once('exit', settle))
    child.kill('SIGKILL')
    await ended
  }

  /** Stops what was started by hand, then Ctrl-C; the exit code of `ringwall up`. */
  async stop(): Promise<number> {
    for (const child of this.#restarted.values()) {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = new Promise((settle) => child.once('exit', settle))
        child.kill('SIGTERM')
        await ended
      }
    }
    this.#restarted.clear()
    const up = this.#up
    if (up === undefined || up.exitCode !== null) return up?.exitCode ?? 0
    const ended = new Promise<number>((settle) => up.once('exit', (code) => settle(code ?? -1)))
    up.kill('SIGINT')
    return ended
  }

  async destroy(): Promise<void> {
    await this.stop()
    if (existsSync(this.data)) rmSync(this.data, { recursive: true, force: true })
  }
}

/** Where a node that comes to a ring listens: ports as `freePorts` gave them. */
export function addressesAt(base: number): readonly string[] {
  const [fabric, traffic, admin] = [base + 10, base + 1, base + 1_001].map((port) => `127.0.0.1:${port}`) as [
    string,
    string,
    string,
  ]
  return ['--fabric', fabric, '--traffic', traffic, '--admin', admin]
}
