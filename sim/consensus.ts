/**
 * `npm run sim:consensus -- --seeds 10000`: whole rings in one process, with the real voter, chain, epochs and application, under
 * loss, delay, duplication, partitions, crashes that lose unsynced writes, skewed clocks, f liars, and changes of the validators
 * (`schedule.ts`).
 *
 * Rings begin with 4 to 10 validators, by the seed, unless `--nodes` says how many. How runs are resumed and replayed: `seeds.ts`.
 */
import { runSchedule } from './schedule.ts'
import { inOrder, simulate } from './seeds.ts'

interface Row {
  schedules: number
  blocks: number
  epochs: number
  transactions: number
  crashes: number
}

/** By size of ring and by liar. */
type Rows = Record<string, Row>

const SIZES = [4, 5, 6, 7, 8, 9, 10] as const

await simulate<Rows>({
  name: 'consensus',
  url: import.meta.url,
  unit: 'schedules',
  count: { option: 'seeds', default: 10_000 },
  size: { option: 'nodes', least: 1, most: 64 },
  batch: 250,
  noTotals: () => ({}),
  add(sum, more) {
    for (const [name, row] of Object.entries(more)) {
      const known = (sum[name] ??= { schedules: 0, blocks: 0, epochs: 0, transactions: 0, crashes: 0 })
      for (const column of ['schedules', 'blocks', 'epochs', 'transactions', 'crashes'] as const) known[column] += row[column]
    }
  },
  run(seed, given, trace) {
    const size = given ?? (SIZES[seed % SIZES.length] as number)
    const { violation, liar, height, epochs, transactions, crashes } = runSchedule(seed, {
      nodes: size,
      ...(trace === undefined ? {} : { trace }),
    })
    const row = { schedules: 1, blocks: height, epochs, transactions, crashes }
    return { violation, size, kind: liar, totals: { [`${size} validators`]: row, [`liar: ${liar}`]: row } }
  },
  print(rows) {
    process.stdout.write(
      `${''.padEnd(24)}${['schedules', 'blocks', 'changes', 'txs', 'crashes'].map((column) => column.padStart(10)).join('')}\n`,
    )
    for (const [name, row] of inOrder(rows)) {
      const cells = [row.schedules, row.blocks, row.epochs, row.transactions, row.crashes].map((value) =>
        String(value).padStart(10),
      )
      process.stdout.write(`${name.padEnd(24)}${cells.join('')}\n`)
    }
  },
})
