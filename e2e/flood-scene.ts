/**
 * A ring of real processes under a flood: what one node can carry is measured, then sources of their own ask ten times as much of it while
 * other clients go on as before, and some of the flood's sources turn to the second node.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClientsOrder, ClientsReport } from './flood-clients.ts'
import { eventually, TestRing } from './local-ring.ts'

export const UPSTREAM = `
const server = require('node:http').createServer((asked, response) => { asked.resume(); response.end('hello') })
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
`
/** What everybody asks for: many arguments, so that inspecting them is most of the work. */
const QUERY = Array.from({ length: 40 }, (_, at) => `field${at}=a+value+of+some+words+number+${at}+as+forms+have+them`).join('&')
const PATH = `/search?${QUERY}`
export const REQUEST = `GET ${PATH} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\r\n`

export interface FloodPlan {
  readonly nodes: number
  readonly sources: number
  readonly connectionsPerSource: number
  readonly times: number
  readonly capacityMs: number
  readonly idleMs: number
  readonly floodMs: number
  /** The flood goes on for so long if the second node has not dropped all its sources sooner. */
  readonly floodMsMax?: number
}

export interface Seen {
  readonly asked: number
  readonly good: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** What became of those that were not answered with 200, and how often. */
  readonly failures: Readonly<Record<string, number>>
}

export interface FloodResult {
  readonly capacityPerSecond: number
  readonly offeredPerSecond: number
  readonly idle: Seen
  readonly first5s: Seen
  readonly after5s: Seen
  /** Of the flood, answered with a 2xx, a second, after 5 s. */
  readonly floodServedPerSecond: number
  /** From the flood’s beginning until the flooded node named each of its sources, and until the second node dropped a connection of each; ascending. */
  readonly namedMs: readonly number[]
  readonly dropsMs: readonly number[]
  /** Requests of the flood’s sources that the second node let through before it dropped that source, and after. */
  readonly passedBefore: number
  readonly passedAfter: number
  /** Denied though they did nothing. */
  readonly innocentDenied: readonly string[]
  readonly denied: number
}

const NORMAL = Array.from({ length: 8 }, (_, at) => `127.0.0.${at + 11}`)
const PAUSE_MS = 40
const PATIENCE_MS = 5_000
const CAPACITY_TRIES = 6
/** Of what was measured before: less than this, it does not grow any more. */
const STEADY = 1.3
/** Whoever looked whether the ring is ready: a source that is alone is not shed. */
const ALONE = '127.0.0.1'

/** From addresses in many networks, as those of a botnet are. */
export const floodSource = (at: number): string => `127.1.${at}.1`

export class Clients {
  readonly #child: ChildProcess
  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(): Promise<Clients> {
    const child = fork(join(import.meta.dirname, 'flood-clients.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] })
    await once(child, 'message')
    return new Clients(child)
  }

  begin(order: ClientsOrder): void {
    this.#child.send(order)
  }

  async report(): Promise<ClientsReport> {
    const answer = once(this.#child, 'message')
    this.#child.send('report')
    const [report] = (await answer) as [ClientsReport]
    return report
  }

  async stop(): Promise<ClientsReport> {
    const report = await this.report()
    this.#child.send('stop')
    return report
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}

interface Answer {
  readonly atMs: number
  readonly tookMs: number
  readonly good: boolean
  /** A status, or what went wrong. */
  readonly outcome: string
}

/** One normal client asks one thing after the other; of ten requests one is on a new connection. */
async function normalClient(port: number, source: string, answers: Answer[], over: () => boolean): Promise<void> {
  const kept = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let count = 0; !over(); count += 1) {
    const atMs = performance.now()
    const outcome = await new Promise<string>((settle) => {
      const agent = count % 10 === 0 ? false : kept
      const call = request({ host: '127.0.0.1', port, path: '/', localAddress: source, agent }, (response) => {
        response.resume()
        response.on('end', () => settle(String(response.statusCode)))
        response.on('error', (error) => settle(error.message))
      })
      call.setTimeout(PATIENCE_MS, () => call.destroy(new Error('no answer')))
      call.on('error', (error) => settle(error.message))
      call.end()
    })
    answers.push({ atMs, tookMs: performance.now() - atMs, good: outcome === '200', outcome })
    await sleep(PAUSE_MS)
  }
  kept.destroy()
}

function seen(answers: readonly Answer[], fromMs: number, toMs: number): Seen {
  const within = answers.filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
  const times = within
    .filter(({ good }) => good)
    .map(({ tookMs }) => tookMs)
    .sort((a, b) => a - b)
  const at = (part: number): number => times[Math.max(0, Math.ceil(times.length * part) - 1)] ?? Number.NaN
  const failures: Record<string, number> = {}
  for (const { good, outcome } of within) if (!good) failures[outcome] = (failures[outcome] ?? 0) + 1
  return { asked: within.length, good: times.length, p50Ms: at(0.5), p99Ms: at(0.99), failures }
}

/** One request on a connection of its own: what became of it. */
export function knock(port: number, source: string): Promise<'passed' | 'refused' | 'dropped'> {
  return new Promise((settle) => {
    let said = ''
    const socket = connect({ host: '127.0.0.1', port, localAddress: source }, () =>
      socket.write('GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n'),
    )
    socket.setTimeout(PATIENCE_MS, () => socket.destroy())
    socket.on('data', (bytes: Buffer) => {
      said += bytes.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => settle(said === '' ? 'dropped' : said.startsWith('HTTP/1.1 200') ? 'passed' : 'refused'))
  })
}

export async function startRing(nodes: number): Promise<{ readonly ring: TestRing; readonly stop: () => Promise<void> }> {
  const upstream = spawn(process.execPath, ['-e', UPSTREAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = (await once(upstream.stdout!, 'data')) as [Buffer]
  const ring = await TestRing.start({ nodes, extra: ['--to', `http://127.0.0.1:${String(said).trim()}`] })
  const stop = async (): Promise<void> => {
    await ring.destroy()
    upstream.kill('SIGKILL')
  }
  try {
    // Loopback’s addresses are clients here, none of them a proxy.
    const { text } = await ring.client(1).policy()
    const file = join(ring.data, 'flood.yaml')
    writeFileSync(file, text.replace(/trustedProxies: .*/, 'trustedProxies: []'))
    const applied = ring.cli('policy', 'apply', file, '--yes')
    if (applied.code !== 0) throw new Error(applied.stderr)
    for (let node = 1; node <= nodes; node += 1)
      await eventually(`n${node} has the policy`, async () =>
        (await ring.client(node).policy()).text.includes('trustedProxies: []'),
      )
    return { ring, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

export async function flood(ring: TestRing, plan: FloodPlan): Promise<FloodResult> {
  const clients = await Clients.start()
  try {
    const port = ring.traffic(1)
    const common = { port, request: REQUEST }
    let capacityPerSecond = 0
    // A ring that has just begun makes its keys: what a node carries beside that says little.
    for (let tries = 0; tries < CAPACITY_TRIES; tries += 1) {
      clients.begin({ ...common, sources: [ALONE], connectionsPerSource: 16, perSecond: undefined })
      await sleep(plan.capacityMs / 4)
      await clients.report()
      const measuredFrom = performance.now()
      await sleep(plan.capacityMs)
      const { good } = await clients.stop()
      const perSecond = (good * 1_000) / (performance.now() - measuredFrom)
      const isSteady = perSecond < STEADY * capacityPerSecond
      capacityPerSecond = Math.max(capacityPerSecond, perSecond)
      if (isSteady) break
    }

    const answers: Answer[] = []
    let over = false
    const normal = NORMAL.map((source) => normalClient(port, source, answers, () => over))
    await sleep(500)
    const idleFrom = performance.now()
    await sleep(plan.idleMs)

    const startMs = performance.now()
    const startedAtMs = Date.now()
    const sources = Array.from({ length: plan.sources }, (_, at) => floodSource(at))
    clients.begin({
      ...common,
      sources,
      connectionsPerSource: plan.connectionsPerSource,
      perSecond: capacityPerSecond * plan.times,
    })
    // The flood's sources ask the second node, too, each a few times a second: is it ready for them?
    const drops = new Map<string, number>()
    let [passedBefore, passedAfter] = [0, 0]
    const knocking = sources.map(async (source) => {
      while (!over) {
        const outcome = await knock(ring.traffic(2), source)
        if (outcome === 'dropped' && !drops.has(source)) drops.set(source, performance.now() - startMs)
        if (outcome === 'passed' && drops.has(source)) passedAfter += 1
        else if (outcome === 'passed') passedBefore += 1
        await sleep(100)
      }
    })
    await sleep(5_000)
    const first = await clients.report()
    const servedFrom = performance.now()
    await sleep(plan.floodMs - 5_000)
    while (drops.size < sources.length && performance.now() - startMs < (plan.floodMsMax ?? 0)) await sleep(100)
    const last = await clients.report()
    const endMs = performance.now()
    const { denials: denied } = await ring.client(1).denials()
    over = true
    await clients.stop()
    await Promise.all([...normal, ...knocking])
    const addresses = denied.map(({ subject }) => subject.value)
    const namedMs = denied.map(({ issuedAtMs }) => issuedAtMs - startedAtMs).sort((a, b) => a - b)
    const dropsMs = [...drops.values()].sort((a, b) => a - b)
    return {
      capacityPerSecond,
      offeredPerSecond: ((first.asked + last.asked) * 1_000) / (endMs - startMs),
      idle: seen(answers, idleFrom, startMs),
      first5s: seen(answers, startMs, startMs + 5_000),
      after5s: seen(answers, startMs + 5_000, endMs),
      floodServedPerSecond: (last.good * 1_000) / (endMs - servedFrom),
      namedMs,
      dropsMs,
      passedBefore,
      passedAfter,
      innocentDenied: addresses.filter((address) => !sources.includes(address)),
      denied: addresses.length,
    }
  } finally {
    await clients.end()
  }
}

export function table(plan: FloodPlan, result: FloodResult): string {
  const rate = (perSecond: number): string => `${Math.round(perSecond)}/s`
  const of = ({ good, asked, p50Ms, p99Ms, failures }: Seen): string => {
    const others = Object.entries(failures).map(([what, count]) => `, ${count} ${what}`)
    return `${good} of ${asked} (${((100 * good) / asked).toFixed(2)} %), p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms${others.join('')}`
  }
  const firstAndLast = (times: readonly number[]): string =>
    `the first after ${second(times[0])}, ${times.length} of ${plan.sources} by ${second(times.at(-1))}`
  const second = (ms: number | undefined): string => (ms === undefined ? 'never' : `${(ms / 1_000).toFixed(2)} s`)
  const rows = [
    ['what one node carries', rate(result.capacityPerSecond)],
    [
      'offered to it',
      `${rate(result.offeredPerSecond)}, ${(result.offeredPerSecond / result.capacityPerSecond).toFixed(1)} times as much, from ${plan.sources} sources`,
    ],
    ['normal clients before', of(result.idle)],
    ['in the first 5 s', of(result.first5s)],
    ['after 5 s', of(result.after5s)],
    ['of the flood served after 5 s', rate(result.floodServedPerSecond)],
    ['flooded node names a source', firstAndLast(result.namedMs)],
    ['second node drops a source', firstAndLast(result.dropsMs)],
    ['their requests it served', `${result.passedBefore} before that, ${result.passedAfter} after`],
    ['denied', `${result.denied}, innocent of them ${result.innocentDenied.length}`],
  ]
  return `${rows.map(([what, value]) => `${what!.padEnd(32)}${value}`).join('\n')}\n`
}
