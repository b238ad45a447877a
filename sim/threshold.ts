/**
 * `npm run sim:threshold -- --runs 1000`: whole lives of collectively held keys in one process, with up to one less than the threshold
 * of the parties lying in every modelled way, messages in any order, and crashes between any two effects (`threshold/run.ts`).
 *
 * Rings of 4 to 10 parties, by the seed, unless `--parties` says how many. Elements are their own logarithms (`threshold/exponent.ts`), so that
 * some two hundred runs are played a second on two cores; `--arithmetic real` takes the groups that nodes compute in, and up to seconds a run.
 * How runs are resumed and replayed: `seeds.ts`.
 */
import { inOrder, simulate } from './seeds.ts'
import { ARITHMETICS, type ArithmeticName } from './threshold/arithmetic.ts'
import { runThreshold } from './threshold/run.ts'

interface Totals {
  ceremonies: number
  signatures: number
  openings: number
  crashes: number
  /** Runs by the number of parties, and by lie how often it was told and named. */
  sizes: Record<string, number>
  lies: Record<string, { told: number; named: number }>
}

await simulate<Totals>({
  name: 'threshold',
  url: import.meta.url,
  unit: 'runs',
  count: { option: 'runs', default: 200 },
  size: { option: 'parties', least: 2, most: 16 },
  choice: { option: 'arithmetic', names: ARITHMETICS },
  // Small, since a run takes up to seconds in the real groups.
  batch: 5,
  noTotals: () => ({ ceremonies: 0, signatures: 0, openings: 0, crashes: 0, sizes: {}, lies: {} }),
  add(sum, more) {
    for (const name of ['ceremonies', 'signatures', 'openings', 'crashes'] as const) sum[name] += more[name]
    for (const [name, count] of Object.entries(more.sizes)) sum.sizes[name] = (sum.sizes[name] ?? 0) + count
    for (const [name, { told, named }] of Object.entries(more.lies)) {
      const row = (sum.lies[name] ??= { told: 0, named: 0 })
      row.told += told
      row.named += named
    }
  },
  run(seed, size, trace, chosen) {
    const result = runThreshold(seed, {
      arithmetic: chosen as ArithmeticName,
      ...(size === undefined ? {} : { parties: size }),
      ...(trace === undefined ? {} : { trace }),
    })
    const { violation, parties, ceremonies, signatures, openings, crashes, lies } = result
    const kind = `${parties} parties`
    return { violation, size: parties, kind, totals: { ceremonies, signatures, openings, crashes, lies, sizes: { [kind]: 1 } } }
  },
  print({ ceremonies, signatures, openings, crashes, sizes, lies }) {
    process.stdout.write(`${ceremonies} ceremonies, ${signatures} signatures, ${openings} openings, ${crashes} crashes\n`)
    process.stdout.write(
      `${inOrder(sizes)
        .map(([name, runs]) => `${name}: ${runs}`)
        .join(', ')}\n`,
    )
    process.stdout.write(`\n${'lie'.padEnd(52)}${'told'.padStart(8)}${'named'.padStart(8)}\n`)
    for (const [name, { told, named }] of inOrder(lies))
      process.stdout.write(`${name.padEnd(52)}${String(told).padStart(8)}${String(named).padStart(8)}\n`)
  },
})
