/** One validator of `bench/ledger.ts`, with the real application: submits denials as it is told, and says when each is final. */
import { joinRing, type NodeConfig, openNode } from './test-ring.ts'

/** `inFlight` at a time, with a pause of `everyMs` after each. */
export interface BenchOrder {
  readonly count: number
  readonly inFlight: number
  readonly everyMs: number
  readonly from: number
}

/** The answer to `status`. */
export interface BenchStatus {
  readonly height: number
  readonly lag: number
  readonly firstHeight: number
  /** Resident, bytes: now, and the most so far. */
  readonly rss: number
  readonly rssMax: number
}

/** Said once the ledger is open. */
export interface BenchReady {
  readonly kind: 'ready'
  /** Of the process, from its start. */
  readonly cpuMs: number
}

const cpuMsSince = (before?: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

const config = JSON.parse(process.argv[2] ?? '') as NodeConfig
const member = joinRing(config)
const ledger = await openNode(config, member)
process.send?.({ kind: 'ready', cpuMs: cpuMsSince() } satisfies BenchReady)

process.on('message', async (order: BenchOrder | 'stop' | 'status') => {
  if (order === 'status') {
    const { height, lag, firstHeight } = ledger.status()
    const rss = process.memoryUsage.rss()
    process.send?.({ height, lag, firstHeight, rss, rssMax: process.resourceUsage().maxRSS * 1_024 } satisfies BenchStatus)
    return
  }
  if (order === 'stop') {
    await ledger.stop()
    await member.fabric.stop()
    process.exit(0)
  }
  const txs = Array.from({ length: order.count }, (_, i) => member.deny(order.from + i))
  const bytes = txs[0]?.length ?? 0
  const times: number[] = []
  let next = 0
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  const lane = async (): Promise<void> => {
    while (next < txs.length) {
      const tx = txs[next++] as Uint8Array
      const at = performance.now()
      await ledger.submit(tx, 60_000)
      times.push(performance.now() - at)
      if (order.everyMs > 0) await new Promise((wake) => setTimeout(wake, order.everyMs))
    }
  }
  await Promise.all(Array.from({ length: order.inFlight }, lane))
  const ms = performance.now() - began
  process.send?.({ kind: 'done', times, ms, bytes, cpuMs: cpuMsSince(cpuBefore) })
})
