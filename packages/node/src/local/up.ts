/** `ringwall up`: a ring of several processes on this machine, in front of the demo application or a given one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join, relative, resolve } from 'node:path'
import { parseGenesis } from '@ringwall/ring'
import { lockDirectory } from '@ringwall/store'
import { parseDocument } from 'yaml'
import { parseHostPort } from '../address.ts'
import type { DiskMode } from '../disk/disk.ts'
import { StartError } from '../errors.ts'
import { banner } from './banner.ts'
import { compareGiven, rememberGiven } from './given-policy.ts'
import { operatorToken, readOperator, signAsOperator } from './operator.ts'
import {
  contextFile,
  isProvisioned,
  type LocalNode,
  localNodes,
  provisionedNodes,
  provisionRing,
  refreshContext,
  writeNodeConfigs,
} from './provision.ts'

export interface UpOptions {
  /** Where requests go; the demo application when undefined. */
  readonly to: string | undefined
  readonly nodes: number
  /** Of a ring that is made now; 1 unless given. */
  readonly operators?: number
  /** How the nodes' disks are sealed; `local` unless given. */
  readonly seal?: DiskMode
  readonly data: string
  readonly ports: number
  /** Each node takes clients of S3. */
  readonly s3?: boolean
}

const HOME = resolve(import.meta.dirname, '../../../..')
const NODE_MAIN = resolve(import.meta.dirname, '../main.ts')
const DEMO = join(HOME, 'examples', 'shop')
const READY_MS_MAX = 30_000
const APPLY_MS_MAX = 10_000
const STOP_MS_MAX = 8_000
const NODES_MAX = 10

/** Runs until a signal. @returns The exit code. */
export async function runUp(options: UpOptions): Promise<number> {
  const began = performance.now()
  checkOptions(options)
  const data = resolve(options.data)
  const upstream = options.to ?? `http://127.0.0.1:${options.ports + 10}`
  mkdirSync(data, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(data).catch((cause: Error) => {
    throw new StartError('DATA_IN_USE', cause.message, { cause })
  })
  const ring = new LocalRing(data)
  const stopped = ring.stopOnSignal()
  try {
    const nodes = prepare(data, options, upstream)
    await checkPorts(nodes, options)
    if (options.to === undefined) ring.startDemo(options.ports + 10)
    for (const node of nodes) ring.startNode(node)
    await ring.ready(nodes, options.to === undefined ? upstream : undefined)
    await bringPolicyUp(data, nodes, firstPolicy(options, upstream).text, upstream)
    process.stdout.write(
      banner({ nodes, data, upstream, demo: options.to === undefined, pids: ring.pids(), readyMs: performance.now() - began }),
    )
    return await stopped
  } finally {
    await ring.stop()
    await lock.release()
  }
}

function checkOptions({ to, nodes, ports }: UpOptions): void {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_MAX) {
    throw new StartError('CONFIG_INVALID', `--nodes ${nodes}: expected a whole number from 1 to ${NODES_MAX}`)
  }
  if (!Number.isInteger(ports) || ports < 2_100 || ports > 60_000) {
    throw new StartError(
      'CONFIG_INVALID',
      `--ports ${ports}: expected a base from 2100 to 60000; node i takes traffic on base + i`,
    )
  }
  if (to !== undefined && !/^https?:\/\/[^/?#\s]+\/?$/.test(to)) {
    throw new StartError(
      'CONFIG_INVALID',
      `--to ${JSON.stringify(to)}: expected http://HOST:PORT of the application, without a path`,
    )
  }
  if (to === undefined && !existsSync(DEMO)) {
    throw new StartError(
      'CONFIG_INVALID',
      'the demo application is not part of this installation; name yours: ringwall up --to http://HOST:PORT',
    )
  }
}

const extraSettings =
  ({ seal = 'local', s3 = false, ports }: UpOptions) =>
  (_node: LocalNode, at: number): string =>
    [`disk: { seal: ${seal} }`, ...(s3 ? [`s3: { listen: '127.0.0.1:${ports + 21 + at}' }`] : [])].join('\n')

/** Makes the ring when there is none; else brings its files up to these ports and this target. */
function prepare(data: string, options: UpOptions, upstream: string): readonly LocalNode[] {
  if (!isProvisioned(data)) {
    const nodes = localNodes(data, options.nodes, options.ports)
    const policy = firstPolicy(options, upstream)
    provisionRing(data, nodes, policy, Date.now(), options.operators)
    writeNodeConfigs(data, nodes, extraSettings(options))
    rememberGiven(data, policy.text)
    return nodes
  }
  const count = provisionedNodes(data)
  if (count !== options.nodes) {
    process.stderr.write(
      `ringwall: the ring in ${options.data} has ${count} nodes; starting those (another count needs another --data folder)\n`,
    )
  }
  const genesis = parseGenesis(readFileSync(join(data, 'genesis.json'), 'utf8'))
  const nodes = localNodes(data, count, options.ports).map((node) => {
    const listed = genesis.nodes.find(({ id }) => id === node.id)
    return { ...node, fabric: parseHostPort(listed?.address ?? '', 'genesis.json: address').port }
  })
  writeNodeConfigs(data, nodes, extraSettings(options))
  refreshContext(data, nodes)
  return nodes
}

/**
 * Another target or other ports than at the last start: proposes the policy that says so, unless an operator has applied
 * one meanwhile. Without a quorum the ring serves with what is in force.
 */
async function bringPolicyUp(data: string, nodes: readonly LocalNode[], wanted: string, upstream: string): Promise<void> {
  const operator = readOperator(contextFile(data))
  const { admin } = nodes[0] as LocalNode
  const api = async (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${admin}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${operatorToken(operator)}`, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(APPLY_MS_MAX),
    })
  const { text, version } = (await (await api('/v1/policy')).json()) as { readonly text: string; readonly version: number }
  const comparison = compareGiven(data, wanted, text)
  if (comparison === 'edited') {
    process.stderr.write(
      `ringwall: policy ${version} was applied by an operator and stays: requests go where it says, not to ${upstream}.\n` +
        'ringwall: change it with ringwall policy show and apply, or bring up another ring with a --data folder of its own\n',
    )
    return
  }
  if (comparison === 'propose') {
    const tx = signAsOperator(operator, { type: 'policy.set', policy: wanted, expectVersion: version })
    const body = `{"tx":${new TextDecoder().decode(tx)}}`
    const answer = await api('/v1/transactions', { method: 'POST', body })
    if (!answer.ok) {
      process.stderr.write(`ringwall: the policy for these options was refused: ${await answer.text()}\n`)
      return
    }
    const { waits } = (await answer.json()) as { readonly waits?: { readonly id: string } }
    if (waits !== undefined)
      process.stderr.write(
        `ringwall: the policy for these options waits for approval: ringwall approve ${waits.id.slice(0, 16)}\n`,
      )
  }
  rememberGiven(data, wanted)
}

/** The demo's policy file, or a plain one for a user's own application. */
function firstPolicy(options: UpOptions, upstream: string): { readonly text: string; readonly file: string } {
  if (options.to === undefined) {
    const file = join(DEMO, 'ringwall.yaml')
    const document = parseDocument(readFileSync(file, 'utf8'))
    document.setIn(['services', 'shop', 'upstreams', 0, 'url'], upstream)
    return { text: document.toString({ lineWidth: 0 }), file }
  }
  return { text: plainPolicy(upstream), file: 'ringwall.yaml' }
}

/** A policy that protects one application with the base rules and nothing that could surprise it. */
export function plainPolicy(
  upstream: string,
  waf: { readonly mode: string; readonly rules: readonly string[]; readonly paranoia: number } = {
    mode: 'enforce',
    rules: ['base'],
    paranoia: 1,
  },
  login = false,
): string {
  return [
    'version: 1',
    '# Loopback may speak for others: for trials behind a local proxy.',
    'trustedProxies: [127.0.0.0/8, "::1"]',
    'services:',
    '  app:',
    '    hosts: ["*"]',
    '    upstreams:',
    `      - url: ${upstream.replace(/\/$/, '')}`,
    `    waf: { mode: ${waf.mode}, rules: [${waf.rules.join(', ')}], paranoia: ${waf.paranoia} }`,
    ...(login ? ['    people: { login: required }'] : []),
    ...(login ? ['detectors:', '  failedLogins: {}'] : []),
    'denials:',
    '  safe: [127.0.0.1, "::1"]',
    '',
  ].join('\n')
}

async function checkPorts(nodes: readonly LocalNode[], options: UpOptions): Promise<void> {
  const ports = nodes.flatMap(({ traffic, admin, fabric }) => [traffic, admin, fabric])
  if (options.to === undefined) ports.push(options.ports + 10)
  for (const port of ports) {
    if (await isFree(port)) continue
    throw new StartError(
      'PORT_IN_USE',
      `127.0.0.1:${port} is in use by another program; stop that, or move the ring: ringwall up --ports ${options.ports + 100}`,
    )
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const server = createServer()
    server.once('error', () => settle(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => settle(true)))
  })
}

/** The processes of a local ring. */
class LocalRing {
  readonly #data: string
  readonly #children = new Map<string, ChildProcess>()
  readonly #nodes: LocalNode[] = []
  #stopping = false

  constructor(data: string) {
    this.#data = data
  }

  startDemo(port: number): void {
    this.#start(
      'shop',
      join(DEMO, 'src', 'main.ts'),
      ['--host', '127.0.0.1', '--port', String(port), '--data', join(this.#data, 'shop')],
      join(this.#data, 'shop'),
    )
  }

  startNode(node: LocalNode): void {
    this.#nodes.push(node)
    this.#start(node.id, NODE_MAIN, ['--config', node.configFile], join(this.#data, node.id), () =>
      process.stderr.write(`ringwall: start it again: ./ringwall node --config ${relative(process.cwd(), node.configFile)}\n`),
    )
  }

  #start(name: string, main: string, args: readonly string[], home: string, hint?: () => void): void {
    mkdirSync(home, { recursive: true, mode: 0o700 })
    const log = openSync(join(home, 'output.log'), 'a', 0o600)
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
      stdio: ['ignore', log, log, 'ipc'],
    })
    closeSync(log)
    this.#children.set(name, child)
    child.on('exit', (code, signal) => {
      if (this.#stopping) return
      process.stderr.write(
        `ringwall: ${name} ${signal === null ? `ended with code ${code}` : `was killed (${signal})`}; its log: ${join(home, 'output.log')}\n`,
      )
      hint?.()
    })
  }

  pids(): ReadonlyMap<string, number> {
    return new Map([...this.#children].map(([name, child]) => [name, child.pid ?? 0]))
  }

  /** Until every node takes traffic and the demo listens. */
  async ready(nodes: readonly LocalNode[], demo: string | undefined): Promise<void> {
    const deadline = performance.now() + READY_MS_MAX
    const waiting = new Map<string, () => Promise<boolean>>(
      nodes.map((node) => [node.id, () => answers(`http://127.0.0.1:${node.admin}/readyz`)]),
    )
    if (demo !== undefined) waiting.set('shop', () => accepts(Number(new URL(demo).port)))
    while (waiting.size > 0) {
      if (this.#stopping) throw new StartError('RING_NOT_READY', 'stopped before the ring was ready')
      for (const [name, probe] of waiting) {
        const child = this.#children.get(name)
        if (child?.exitCode !== null && child?.exitCode !== undefined) {
          const last = readFileSync(join(this.#data, name, 'output.log'), 'utf8')
            .trim()
            .split('\n')
            .at(-1)
          throw new StartError('RING_NOT_READY', `${name} did not start: ${last}`)
        }
        if (await probe()) waiting.delete(name)
      }
      if (performance.now() > deadline) {
        throw new StartError(
          'RING_NOT_READY',
          `${[...waiting.keys()].join(', ')} not ready after ${READY_MS_MAX / 1_000} s; see output.log below ${this.#data}`,
        )
      }
      await new Promise((wake) => setTimeout(wake, 40))
    }
  }

  /** Resolves to the exit code once a signal asks to stop. */
  stopOnSignal(): Promise<number> {
    return new Promise((settle) => {
      const stop = (): void => {
        if (this.#stopping) return
        this.#stopping = true
        process.stderr.write('\nringwall: stopping\n')
        settle(0)
      }
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
    })
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const running = [...this.#children.values()].filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
    const ended = running.map((child) => new Promise((settle) => child.once('exit', settle)))
    for (const child of running) child.kill('SIGTERM')
    const timer = setTimeout(() => {
      for (const child of running) child.kill('SIGKILL')
    }, STOP_MS_MAX)
    await Promise.all(ended)
    clearTimeout(timer)
    for (const { id, admin } of this.#nodes) {
      if (await answers(`http://127.0.0.1:${admin}/healthz`))
        process.stderr.write(`ringwall: ${id} was started by hand and goes on; stop it where it was started
`)
    }
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok
  } catch {
    return false
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
    socket.once('connect', () => socket.destroy())
  })
}
