/**
 * SIGKILL of one node of a ring that takes traffic on all of them: an open loop of requests is dealt out over the nodes, by a client that
 * turns to the others as soon as it sees that one is gone, as a balancer does.
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestRing } from './local-ring.ts'

export interface NodeKillPlan {
  readonly nodes: number
  readonly perSecond: number
  /** Before the kill, and after. */
  readonly ms: number
}

/** What one node was asked. */
export interface NodeCount {
  asked: number
  good: number
  failed: number
  readonly timesMs: number[]
}

export interface NodeKillResult {
  /** Of the killed node: sent and not answered when it was killed, or sent before the client saw that it was. What waited for a connection is none of it. */
  readonly inFlight: number
  /** Got no connection, so that nothing was sent: asked of another node, and counted there. */
  readonly turnedAway: number
  readonly noticedMs: number | undefined
  readonly before: ReadonlyMap<number, NodeCount>
  readonly after: ReadonlyMap<number, NodeCount>
}

const TICK_MS = 5
const PATIENCE_MS = 10_000

export async function killOne(ring: TestRing, plan: NodeKillPlan, victim: number): Promise<NodeKillResult> {
  const all = Array.from({ length: plan.nodes }, (_, at) => at + 1)
  const agents = new Map(all.map((node) => [node, new Agent({ keepAlive: true, maxSockets: 64 })]))
  const counts = (): Map<number, NodeCount> => new Map(all.map((node) => [node, { asked: 0, good: 0, failed: 0, timesMs: [] }]))
  const [before, after] = [counts(), counts()]
  let current = before
  const outstanding = new Map(all.map((node) => [node, 0]))
  let sent = 0
  const up = new Set(all)
  let killedAtMs: number | undefined
  let noticedMs: number | undefined
  let [inFlight, turnedAway, next] = [0, 0, 0]

  const ask = (): void => {
    const nodes = [...up]
    const node = nodes[next++ % nodes.length]!
    const count = current.get(node)!
    const startMs = performance.now()
    let isOver = false
    let isSent = false
    const settle = (outcome: 'good' | 'failed' | 'away'): void => {
      if (isOver) return
      isOver = true
      outstanding.set(node, outstanding.get(node)! - 1)
      if (isSent) sent -= 1
      if (outcome === 'away') {
        count.asked -= 1
        turnedAway += 1
        ask()
        return
      }
      count[outcome] += 1
      if (outcome === 'good') count.timesMs.push(performance.now() - startMs)
    }
    const gone = (): void => {
      if (node !== victim || killedAtMs === undefined) return
      noticedMs ??= performance.now() - killedAtMs
      up.delete(node)
    }
    const call = request({ host: '127.0.0.1', port: ring.traffic(node), path: '/', agent: agents.get(node)! }, (response) => {
      response.resume()
      response.on('end', () => settle(response.statusCode === 200 ? 'good' : 'failed'))
      response.on('error', () => {
        gone()
        settle('failed')
      })
    })
    call.setTimeout(PATIENCE_MS, () => call.destroy(new Error('no answer')))
    call.on('error', (error: NodeJS.ErrnoException) => {
      gone()
      // Reset before the client saw that it was connected: nothing was sent either.
      const isUnsent = error.code === 'ECONNREFUSED' || !isSent
      settle(isUnsent && killedAtMs !== undefined && node === victim ? 'away' : 'failed')
    })
    call.on('socket', (socket) => {
      const begin = (): void => {
        if (node !== victim || isOver) return
        isSent = true
        sent += 1
        if (killedAtMs !== undefined) inFlight += 1
      }
      if (socket.connecting) socket.once('connect', begin)
      else begin()
    })
    call.end()
    count.asked += 1
    outstanding.set(node, outstanding.get(node)! + 1)
  }

  const pid = await ring.pid(victim)
  const beganMs = performance.now()
  let done = 0
  const timer = setInterval(() => {
    const due = ((performance.now() - beganMs) * plan.perSecond) / 1_000
    for (; done < due; done += 1) ask()
  }, TICK_MS)
  await sleep(plan.ms)
  inFlight = sent
  current = after
  killedAtMs = performance.now()
  process.kill(pid, 'SIGKILL')
  await sleep(plan.ms)
  clearInterval(timer)
  for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline; await sleep(20))
    if ([...outstanding.values()].every((left) => left === 0)) break
  for (const agent of agents.values()) agent.destroy()
  return { inFlight, turnedAway, noticedMs, before, after }
}

export const failuresOf = (result: NodeKillResult, nodes: (node: number) => boolean): number =>
  [result.before, result.after]
    .flatMap((counts) => [...counts])
    .filter(([node]) => nodes(node))
    .reduce((sum, [, { failed }]) => sum + failed, 0)

export function killTable(plan: NodeKillPlan, victim: number, result: NodeKillResult): string {
  const p99 = (timesMs: readonly number[]): string => {
    const sorted = timesMs.toSorted((a, b) => a - b)
    return sorted.length === 0 ? '-' : `${(sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0).toFixed(1)} ms`
  }
  const line = (name: string, { asked, good, failed, timesMs }: NodeCount): string =>
    `${name.padEnd(22)}${String(asked).padStart(8)}${String(good).padStart(8)}${String(failed).padStart(8)}${p99(timesMs).padStart(12)}`
  const rows = [...result.before.keys()].flatMap((node) => [
    line(`n${node} before`, result.before.get(node)!),
    line(`n${node} after${node === victim ? ', killed' : ''}`, result.after.get(node)!),
  ])
  return [
    `${plan.perSecond} requests/s over ${plan.nodes} nodes, SIGKILL of n${victim}`,
    `${''.padEnd(22)}${['asked', 'good', 'failed'].map((text) => text.padStart(8)).join('')}${'p99'.padStart(12)}`,
    ...rows,
    `in flight at n${victim}: ${result.inFlight}; failed there: ${failuresOf(result, (node) => node === victim)}; elsewhere: ${failuresOf(result, (node) => node !== victim)}; refused a connection and sent elsewhere: ${result.turnedAway}; noticed after ${result.noticedMs?.toFixed(1) ?? '-'} ms`,
    '',
  ].join('\n')
}
