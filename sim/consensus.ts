/**
 * `npm run sim:consensus -- --seeds 10000`: whole rings in one process, with the real voter and the real application, under
 * loss, delay, duplication, partitions, crashes that lose unsynced writes, skewed clocks, and f liars.
 *
 * Rings of 4 to 10 validators, by the seed, unless `--nodes` says how many. A run that is interrupted goes on where it was, as
 * long as the code is the same (`--fresh` begins again). A failure prints its seed and the command that replays it.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { runSchedule } from './schedule.ts'

interface Row {
  schedules: number
  blocks: number
  transactions: number
  crashes: number
}

interface Failure {
  readonly seed: number
  readonly nodes: number
  readonly liar: string
  readonly violation: string
}

/** What one batch of seeds found, by size of ring and by liar. */
interface Batch {
  readonly from: number
  readonly count: number
  readonly rows: Readonly<Record<string, Row>>
  readonly failures: readonly Failure[]
}

interface Job {
  readonly from: number
  readonly count: number
  readonly nodes: number | undefined
}

const BATCH = 250
const SIZES = [4, 5, 6, 7, 8, 9, 10] as const
const sizeFor = (seed: number): number => SIZES[seed % SIZES.length] as number

function runBatch({ from, count, nodes }: Job): Batch {
  const rows: Record<string, Row> = {}
  const failures: Failure[] = []
  for (let seed = from; seed < from + count; seed += 1) {
    const size = nodes ?? sizeFor(seed)
    const { violation, liar, height, transactions, crashes } = runSchedule(seed, { nodes: size })
    for (const name of [`${size} validators`, `liar: ${liar}`]) {
      rows[name] ??= { schedules: 0, blocks: 0, transactions: 0, crashes: 0 }
      rows[name].schedules += 1
      rows[name].blocks += height
      rows[name].transactions += transactions
      rows[name].crashes += crashes
    }
    if (violation !== undefined) failures.push({ seed, nodes: size, liar, violation })
  }
  return { from, count, rows, failures }
}

if (isMainThread) await main()
else {
  // Lies are refused by exceptions by the million; the replay of a failure has its stacks.
  Error.stackTraceLimit = 0
  parentPort?.on('message', (job: Job) => parentPort?.postMessage(runBatch(job)))
}

/** Of every source that a schedule runs: figures of other code are not added up with this one's. */
function sourceHash(): string {
  const root = resolve(import.meta.dirname, '..')
  const hash = createHash('sha256')
  for (const folder of ['sim', 'packages/consensus/src', 'packages/ring/src']) {
    for (const name of readdirSync(join(root, folder)).sort()) {
      if (name.endsWith('.ts') && !name.endsWith('.test.ts')) hash.update(readFileSync(join(root, folder, name)))
    }
  }
  return hash.digest('hex').slice(0, 16)
}

interface Progress {
  readonly key: string
  next: number
  seconds: number
  rows: Record<string, Row>
  failures: Failure[]
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '10000' },
      start: { type: 'string', default: '1' },
      nodes: { type: 'string' },
      seed: { type: 'string' },
      workers: { type: 'string', default: String(availableParallelism()) },
      fresh: { type: 'boolean', default: false },
    },
  })
  const nodes = values.nodes === undefined ? undefined : whole('--nodes', values.nodes, 1, 64)
  if (values.seed !== undefined) {
    const seed = whole('--seed', values.seed, 0, 2 ** 32 - 1)
    const result = runSchedule(seed, { nodes: nodes ?? sizeFor(seed), trace: (line) => process.stdout.write(`${line}\n`) })
    process.stdout.write(`${JSON.stringify(result)}\n`)
    process.exitCode = result.violation === undefined ? 0 : 1
    return
  }
  const start = whole('--start', values.start, 0, 2 ** 32 - 1)
  const end = start + whole('--seeds', values.seeds, 1, 2 ** 32)
  const workers = whole('--workers', values.workers, 1, 256)
  const file = join(import.meta.dirname, '..', '.cache', 'sim-consensus.json')
  const key = `${sourceHash()} ${start} ${nodes ?? 'mixed'}`
  const progress = (values.fresh ? undefined : readProgress(file, key)) ?? {
    key,
    next: start,
    seconds: 0,
    rows: {},
    failures: [],
  }
  if (progress.next > start) process.stdout.write(`going on at seed ${progress.next} (--fresh begins again)\n`)
  await runAll(progress, end, nodes, workers, file)
  print(progress, start, end)
  if (progress.next >= end) rmSync(file, { force: true })
  process.exitCode = progress.failures.length === 0 ? 0 : 1
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  process.stderr.write(`sim: ${name} ${text}: expected a whole number from ${least} to ${most}\n`)
  process.exit(2)
}

function readProgress(file: string, key: string): Progress | undefined {
  try {
    const found = JSON.parse(readFileSync(file, 'utf8')) as Progress
    return found.key === key ? found : undefined
  } catch {
    return undefined
  }
}

/** Hands batches to workers; what is done is counted in the order of seeds, so that `next` is the first not yet counted. */
function runAll(progress: Progress, end: number, nodes: number | undefined, workers: number, file: string): Promise<void> {
  const began = performance.now()
  const secondsBefore = progress.seconds
  const done = new Map<number, Batch>()
  let given = progress.next
  let savedAt = began
  const first = progress.next
  return new Promise((settle, refuse) => {
    const threads = Array.from({ length: workers }, () => new Worker(new URL(import.meta.url)))
    const finish = async (): Promise<void> => {
      await Promise.all(threads.map((thread) => thread.terminate()))
      settle()
    }
    const give = (thread: Worker): void => {
      if (given >= end) return
      const count = Math.min(BATCH, end - given)
      thread.postMessage({ from: given, count, nodes } satisfies Job)
      given += count
    }
    for (const thread of threads) {
      thread.on('error', refuse)
      thread.on('message', (batch: Batch) => {
        done.set(batch.from, batch)
        give(thread)
        for (let next = done.get(progress.next); next !== undefined; next = done.get(progress.next)) {
          done.delete(progress.next)
          count(progress, next)
        }
        const now = performance.now()
        progress.seconds = secondsBefore + (now - began) / 1_000
        if (now - savedAt > 5_000 || progress.next >= end) {
          savedAt = now
          mkdirSync(resolve(file, '..'), { recursive: true })
          writeFileSync(file, JSON.stringify(progress))
        }
        if (process.stderr.isTTY) {
          const rate = ((progress.next - first) * 1_000) / (now - began)
          process.stderr.write(`\r${progress.next - 1} of ${end - 1}, ${progress.failures.length} failed, ${rate.toFixed(0)}/s `)
        }
        if (progress.next >= end) void finish()
      })
      give(thread)
    }
    if (progress.next >= end) void finish()
  })
}

function count(progress: Progress, batch: Batch): void {
  progress.next = batch.from + batch.count
  for (const [name, row] of Object.entries(batch.rows)) {
    const sum = (progress.rows[name] ??= { schedules: 0, blocks: 0, transactions: 0, crashes: 0 })
    sum.schedules += row.schedules
    sum.blocks += row.blocks
    sum.transactions += row.transactions
    sum.crashes += row.crashes
  }
  for (const failure of batch.failures) {
    progress.failures.push(failure)
    const { seed, nodes, liar, violation } = failure
    process.stdout.write(
      `seed ${seed} (${liar}): ${violation}\n  replay: npm run sim:consensus -- --nodes ${nodes} --seed ${seed}\n`,
    )
  }
}

function print({ next, seconds, rows, failures }: Progress, start: number, end: number): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const counted = Math.min(next, end) - start
  process.stdout.write(
    `${counted} schedules, seeds ${start} to ${start + counted - 1}: ${failures.length} failed; ${(counted / seconds).toFixed(0)} seeds/s\n`,
  )
  process.stdout.write(
    `${''.padEnd(24)}${'schedules'.padStart(10)}${'blocks'.padStart(10)}${'txs'.padStart(10)}${'crashes'.padStart(10)}\n`,
  )
  for (const [name, row] of Object.entries(rows).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))) {
    const cells = [row.schedules, row.blocks, row.transactions, row.crashes].map((value) => String(value).padStart(10))
    process.stdout.write(`${name.padEnd(24)}${cells.join('')}\n`)
  }
}
