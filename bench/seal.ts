/**
 * `npm run bench:seal`: what sealing costs a log, beside the same log in the clear: CPU and time of appends, each of which waits for
 * the disk, and of reading all of it, as a start does. One run after the other, several times; the medians are printed.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DiskSeal, openLog } from '@ringwall/store'

const ROUNDS = 5
const SIZES = [
  { bytes: 300, appends: 400, batch: 8 },
  { bytes: 4_096, appends: 300, batch: 8 },
  { bytes: 65_536, appends: 200, batch: 2 },
  { bytes: 1_048_576, appends: 40, batch: 1 },
]

interface Cost {
  readonly cpuUs: number
  readonly ms: number
}

async function timed(work: () => Promise<void>): Promise<Cost> {
  const cpu = process.cpuUsage()
  const began = performance.now()
  await work()
  const { user, system } = process.cpuUsage(cpu)
  return { cpuUs: user + system, ms: performance.now() - began }
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

const root = mkdtempSync(join(tmpdir(), 'ringwall-bench-seal-'))
let files = 0
try {
  const seals = { clear: undefined, sealed: new DiskSeal({ root, current: randomBytes(32), acceptsPlain: false }) }
  for (const { bytes, appends, batch } of SIZES) {
    const records = Array.from({ length: batch }, () => randomBytes(bytes))
    const costs = { clear: { append: [] as Cost[], read: [] as Cost[] }, sealed: { append: [] as Cost[], read: [] as Cost[] } }
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const kind of round % 2 === 0 ? (['clear', 'sealed'] as const) : (['sealed', 'clear'] as const)) {
        files += 1
        const path = join(root, `log-${files}`)
        const log = await openLog(path, { seal: seals[kind] })
        const append = await timed(async () => {
          for (let i = 0; i < appends; i += 1) await log.append(records)
        })
        await log.close()
        let met = 0
        const read = await timed(async () => {
          const again = await openLog(path, { seal: seals[kind], onRecord: () => void (met += 1) })
          await again.close()
        })
        if (met !== appends * batch) throw new Error(`${met} records were read of ${appends * batch}`)
        rmSync(path)
        // The first round warms up.
        if (round === 0) continue
        costs[kind].append.push(append)
        costs[kind].read.push(read)
      }
    }
    const total = appends * batch
    const line = (what: 'append' | 'read'): string => {
      const [clear, sealed] = (['clear', 'sealed'] as const).map((kind) => ({
        cpu: median(costs[kind][what].map(({ cpuUs }) => cpuUs)) / total,
        ms: median(costs[kind][what].map(({ ms }) => ms)) / total,
      })) as [{ cpu: number; ms: number }, { cpu: number; ms: number }]
      const share = ((sealed.cpu / clear.cpu - 1) * 100).toFixed(0)
      const times = `${(clear.ms * 1_000).toFixed(0)} and ${(sealed.ms * 1_000).toFixed(0)} µs of time`
      return `${what.padEnd(6)} ${String(bytes).padStart(8)} bytes   CPU a record ${clear.cpu.toFixed(1)} µs in the clear, ${sealed.cpu.toFixed(1)} µs sealed (${share} %); ${times}`
    }
    process.stdout.write(`${line('append')}\n${line('read')}\n`)
  }
} finally {
  rmSync(root, { recursive: true, force: true })
}
