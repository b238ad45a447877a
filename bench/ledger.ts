/**
 * `npm run bench:ledger`: four validators, four processes, real links and real disks on this machine, the real application:
 * transactions a second when all submit without pause, signed one by one and many under one signature, and how long one takes when there is little to do. With SEAL=on their disks are sealed.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { quantile } from '../tools/quantile.ts'
import type { BenchOrder, BenchStatus } from './ledger-child.ts'
import { newRing } from './test-ring.ts'

const NODES = 4
const COUNT = Number(process.env.COUNT ?? 4_000)
const IN_FLIGHT = Number(process.env.IN_FLIGHT ?? 256)
/** As many as `ringwall deny import` signs at once. */
const TOGETHER = 256

interface Done {
  readonly kind: 'done'
  readonly times: readonly number[]
  readonly ms: number
  readonly bytes: number
  /** Of the process, while its order was carried out. */
  readonly cpuMs: number
  /** CPU of one check of a signature, after its order. */
  readonly checkUs: number
}

async function main(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-bench-ledger-'))
  const ring = await newRing(root, NODES, 1_000)
  const children = ring.map((config) => fork(join(import.meta.dirname, 'ledger-child.ts'), [JSON.stringify(config)]))
  const heightOf = async (child: ChildProcess): Promise<number> => {
    child.send('status')
    const [status] = (await once(child, 'message')) as [BenchStatus]
    return status.height
  }
  const order = (child: ChildProcess, what: BenchOrder): Promise<Done> =>
    new Promise((settle) => {
      child.once('message', (answer) => settle(answer as Done))
      child.send(what)
    })
  /** All submit without pause. @param from The first's first; the others' are a million apart. */
  const loaded = async (how: string, together: number, from: number): Promise<void> => {
    const [first] = children as [ChildProcess]
    const heightBefore = await heightOf(first)
    const orders = children.map((child, i) =>
      order(child, { count: COUNT, inFlight: IN_FLIGHT, everyMs: 0, together, from: from + 1_000_000 * i }),
    )
    const all = await Promise.all(orders)
    const blocks = (await heightOf(first)) - heightBefore
    const times = all.flatMap(({ times: each }) => each)
    const bytes = Math.max(...all.map((each) => each.bytes))
    const cpuMs = all.reduce((sum, each) => sum + each.cpuMs, 0)
    const checkUs = all.reduce((sum, each) => sum + each.checkUs, 0) / NODES
    process.stdout.write(
      `\n${how} (${bytes} bytes)\n` +
        `${IN_FLIGHT} at a time a node   ${(times.length / (Math.max(...all.map(({ ms }) => ms)) / 1_000)).toFixed(0)} transactions/s, p50 ${quantile(times, 0.5).toFixed(0)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms (${times.length} in ${blocks} blocks)\n` +
        `                       ${((cpuMs / NODES / times.length) * 1_000).toFixed(0)} µs of CPU a transaction a node, a check of a signature costs ${checkUs.toFixed(0)}: with ${cpus().length} cores for all ${NODES}, at most ${((cpus().length * times.length * 1_000) / cpuMs).toFixed(0)} transactions/s\n`,
    )
  }
  try {
    await Promise.all(children.map((child) => once(child, 'message')))
    // The first ones find the links; they count for nothing.
    await order(children[0] as ChildProcess, { count: 20, inFlight: 1, everyMs: 0, together: 1, from: 0 })

    const low = await order(children[1] as ChildProcess, { count: 200, inFlight: 1, everyMs: 50, together: 1, from: 100_000 })
    process.stdout.write(`${NODES} validators on this machine, denials of ${low.bytes} bytes, signed by an operator\n\n`)
    process.stdout.write(
      `one at a time          p50 ${quantile(low.times, 0.5).toFixed(1)} ms, p99 ${quantile(low.times, 0.99).toFixed(1)} ms until it is final and on disk\n`,
    )

    await loaded('signed one by one', 1, 1_000_000)
    await loaded(`signed ${TOGETHER} at a time`, TOGETHER, 6_000_000)
  } finally {
    for (const child of children) child.send('stop')
    await Promise.all(children.map((child) => once(child, 'exit')))
    rmSync(root, { recursive: true, force: true })
  }
}

await main()
