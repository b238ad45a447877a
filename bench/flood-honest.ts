/** One honest validator of `bench/flood.ts`: submits denials at a fixed rate, and says when each was final and what CPU it took. */
import { joinRing, type NodeConfig, openNode } from './test-ring.ts'

export interface OfferOrder {
  readonly perSecond: number
  readonly seconds: number
  readonly from: number
}

export interface OfferResult {
  /** Milliseconds from submission to the block on this node's disk; one that failed counts as the whole time it was given. */
  readonly times: readonly number[]
  readonly failed: number
  readonly cpuMs: number
  readonly rssBytes: number
}

const TIMEOUT_MS = 20_000
const config = JSON.parse(process.argv[2] ?? '') as NodeConfig
const member = joinRing(config)
const { application, fabric } = member
const ledger = await openNode(config, member)
// As a node does: a gossiped denial that is valid is passed on, all else counts against its sender.
fabric.onGossip((_from, payload) => application.provisional(ledger.state(), payload, Date.now()).ok)
process.send?.({ kind: 'ready' })

process.on('message', async (order: OfferOrder | 'stop') => {
  if (order === 'stop') {
    await ledger.stop()
    await fabric.stop()
    process.exit(0)
  }
  const count = Math.round(order.perSecond * order.seconds)
  const txs = Array.from({ length: count }, (_, i) => member.deny(order.from + i))
  const times: number[] = []
  let failed = 0
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  const pending: Promise<void>[] = []
  for (const [i, tx] of txs.entries()) {
    // An open loop: what is late is offered late, and counts from when it was due.
    const dueMs = began + (i * 1_000) / order.perSecond
    const wait = dueMs - performance.now()
    if (wait > 0) await new Promise((wake) => setTimeout(wake, wait))
    pending.push(
      ledger.submit(tx, TIMEOUT_MS).then(
        () => void times.push(performance.now() - dueMs),
        () => {
          failed += 1
          times.push(TIMEOUT_MS)
        },
      ),
    )
  }
  await Promise.all(pending)
  const { user, system } = process.cpuUsage(cpuBefore)
  const result: OfferResult = { times, failed, cpuMs: (user + system) / 1_000, rssBytes: process.memoryUsage.rss() }
  process.send?.({ kind: 'done', result })
})
