/** One validator of `bench/ledger.ts`, with the real application: submits denials as it is told, and says when each is final. */
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { joinRing, type NodeConfig, openNode } from './test-ring.ts'

/** `inFlight` at a time, with a pause of `everyMs` after each. */
export interface BenchOrder {
  readonly count: number
  /** Signed at once; 1: each alone. */
  readonly together: number
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

/** A busy machine takes long over all that is in flight; that is a slow result, and no failure. */
const SUBMIT_MS = 300_000
const CHECKS = 500

/** CPU of one check of a signature over so many bytes, now, beside whatever else runs; microseconds. */
function checkUs(bytes: number): number {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const message = new Uint8Array(bytes)
  const signature = sign(null, message, privateKey)
  const before = process.cpuUsage()
  for (let done = 0; done < CHECKS; done += 1) verify(null, message, publicKey, signature)
  return (cpuMsSince(before) * 1_000) / CHECKS
}

const config = JSON.parse(process.argv[2] ?? '') as NodeConfig
const member = joinRing(config)
const ledger = await openNode(config, member)
process.send?.({ kind: 'ready', cpuMs: cpuMsSince() } satisfies BenchReady)

function signedTransactions({ count, from, together }: BenchOrder): readonly Uint8Array[] {
  if (together === 1) return Array.from({ length: count }, (_, at) => member.deny(from + at))
  const batches = Array.from({ length: Math.ceil(count / together) }, (_, batch) => from + batch * together)
  return batches.flatMap((at) => member.denyTogether(at, Math.min(together, from + count - at)))
}

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
  const txs = signedTransactions(order)
  const bytes = txs[0]?.length ?? 0
  const times: number[] = []
  let next = 0
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  const lane = async (): Promise<void> => {
    while (next < txs.length) {
      const tx = txs[next++] as Uint8Array
      const at = performance.now()
      await ledger.submit(tx, SUBMIT_MS)
      times.push(performance.now() - at)
      if (order.everyMs > 0) await new Promise((wake) => setTimeout(wake, order.everyMs))
    }
  }
  await Promise.all(Array.from({ length: order.inFlight }, lane))
  const ms = performance.now() - began
  const cpuMs = cpuMsSince(cpuBefore)
  process.send?.({ kind: 'done', times, ms, bytes, cpuMs, checkUs: checkUs(bytes) })
})
