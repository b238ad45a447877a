/**
 * `npm run sim:consensus -- --seeds 10000`: whole rings in one process, with the real voter and the real application, under
 * loss, delay, duplication, partitions, crashes that lose unsynced writes, skewed clocks, and f liars.
 *
 * A failure prints its seed and the command that replays it.
 */
import { parseArgs } from 'node:util'
import { runSchedule } from './schedule.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10000' },
    start: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '4' },
    seed: { type: 'string' },
  },
})

const nodes = Number(values.nodes)

if (values.seed !== undefined) {
  const result = runSchedule(Number(values.seed), { nodes, trace: (line) => process.stdout.write(`${line}\n`) })
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exitCode = result.violation === undefined ? 0 : 1
} else {
  const [first, count] = [Number(values.start), Number(values.seeds)]
  const began = performance.now()
  const byLiar = new Map<string, { schedules: number; blocks: number; crashes: number }>()
  let failures = 0
  for (let seed = first; seed < first + count; seed += 1) {
    const { violation, liar, height, crashes } = runSchedule(seed, { nodes })
    const row = byLiar.get(liar) ?? { schedules: 0, blocks: 0, crashes: 0 }
    byLiar.set(liar, { schedules: row.schedules + 1, blocks: row.blocks + height, crashes: row.crashes + crashes })
    if (violation !== undefined) {
      failures += 1
      process.stdout.write(
        `seed ${seed} (${liar}): ${violation}\n  replay: npm run sim:consensus -- --nodes ${nodes} --seed ${seed}\n`,
      )
    }
    if (process.stderr.isTTY && seed % 50 === 0) {
      process.stderr.write(
        `\r${seed - first + 1}/${count} schedules, ${failures} failed, ${(((seed - first + 1) * 1_000) / (performance.now() - began)).toFixed(0)}/s`,
      )
    }
  }
  const seconds = (performance.now() - began) / 1_000
  process.stdout.write(
    `${count} schedules of ${nodes} validators, seeds ${first} to ${first + count - 1}: ${failures} failed; ${(count / seconds).toFixed(0)} schedules/s\n`,
  )
  process.stdout.write(`${'liar'.padEnd(18)}${'schedules'.padStart(10)}${'blocks'.padStart(10)}${'crashes'.padStart(10)}\n`)
  for (const [liar, row] of [...byLiar].sort())
    process.stdout.write(
      `${liar.padEnd(18)}${String(row.schedules).padStart(10)}${String(row.blocks).padStart(10)}${String(row.crashes).padStart(10)}\n`,
    )
  process.exitCode = failures === 0 ? 0 : 1
}
