/**
 * `npm run sim:threshold -- --runs 1000`: whole lives of collectively held keys in one process, with up to one less than the threshold
 * of the parties lying in every modelled way, messages in any order, and crashes between any two effects (`sim/threshold/run.ts`).
 *
 * Rings of 4 to 10 parties, by the seed, unless `--parties` says how many. A run that is interrupted goes on where it was, as long as
 * the code is the same (`--fresh` begins again). A failure prints its seed and the command that replays it.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { runThreshold } from './threshold/run.ts'

interface Totals {
  runs: number
  ceremonies: number
  signatures: number
  openings: number
  crashes: number
  /** Runs by the number of parties, and by lie how often it was told and named. */
  sizes: Record<string, number>
  lies: Record<string, { told: number; named: number }>
}

interface Failure {
  readonly seed: number
  readonly parties: number
  readonly violation: string
}

interface Batch {
  readonly from: number
  readonly count: number
  readonly totals: Totals
  readonly failures: readonly Failure[]
}

interface Job {
  readonly from: number
  readonly count: number
  readonly parties: number | undefined
}

/** Small, since a run takes up to seconds. */
const BATCH = 5
const REPLAY = 'npm run sim:threshold --'

const noTotals = (): Totals => ({ runs: 0, ceremonies: 0, signatures: 0, openings: 0, crashes: 0, sizes: {}, lies: {} })

function addTotals(sum: Totals, more: Totals): void {
  for (const name of ['runs', 'ceremonies', 'signatures', 'openings', 'crashes'] as const) sum[name] += more[name]
  for (const [name, count] of Object.entries(more.sizes)) sum.sizes[name] = (sum.sizes[name] ?? 0) + count
  for (const [name, { told, named }] of Object.entries(more.lies)) {
    const row = (sum.lies[name] ??= { told: 0, named: 0 })
    row.told += told
    row.named += named
  }
}

function runBatch({ from, count, parties }: Job): Batch {
  const totals = noTotals()
  const failures: Failure[] = []
  for (let seed = from; seed < from + count; seed += 1) {
    const result = runThreshold(seed, parties === undefined ? {} : { parties })
    const { ceremonies, signatures, openings, crashes, lies } = result
    addTotals(totals, { runs: 1, ceremonies, signatures, openings, crashes, lies, sizes: { [`${result.parties} parties`]: 1 } })
    if (result.violation !== undefined) failures.push({ seed, parties: result.parties, violation: result.violation })
  }
  return { from, count, totals, failures }
}

if (isMainThread) await main()
else parentPort?.on('message', (job: Job) => parentPort?.postMessage(runBatch(job)))

/** Of every source that a run executes: figures of other code are not added up with this one's. */
function sourceHash(): string {
  const root = resolve(import.meta.dirname, '..')
  const hash = createHash('sha256')
  for (const folder of ['sim/threshold', 'packages/threshold/src']) {
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
  totals: Totals
  failures: Failure[]
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '200' },
      start: { type: 'string', default: '1' },
      parties: { type: 'string' },
      seed: { type: 'string' },
      workers: { type: 'string', default: String(availableParallelism()) },
      fresh: { type: 'boolean', default: false },
    },
  })
  const parties = values.parties === undefined ? undefined : whole('--parties', values.parties, 2, 16)
  if (values.seed !== undefined) {
    const seed = whole('--seed', values.seed, 0, 2 ** 32 - 1)
    const trace = (line: string): void => void process.stdout.write(`${line}\n`)
    const result = runThreshold(seed, parties === undefined ? { trace } : { parties, trace })
    process.stdout.write(`${JSON.stringify(result)}\n`)
    process.exitCode = result.violation === undefined ? 0 : 1
    return
  }
  const start = whole('--start', values.start, 0, 2 ** 32 - 1)
  const end = start + whole('--runs', values.runs, 1, 2 ** 32)
  const workers = whole('--workers', values.workers, 1, 256)
  const file = join(import.meta.dirname, '..', '.cache', 'sim-threshold.json')
  const key = `${sourceHash()} ${start} ${parties ?? 'mixed'}`
  const progress = (values.fresh ? undefined : readProgress(file, key)) ?? {
    key,
    next: start,
    seconds: 0,
    totals: noTotals(),
    failures: [],
  }
  if (progress.next > start) process.stdout.write(`going on at seed ${progress.next} (--fresh begins again)\n`)
  await runAll(progress, end, parties, workers, file)
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
function runAll(progress: Progress, end: number, parties: number | undefined, workers: number, file: string): Promise<void> {
  const began = performance.now()
  const secondsBefore = progress.seconds
  const first = progress.next
  const done = new Map<number, Batch>()
  let given = progress.next
  let savedAt = began
  return new Promise((settle, refuse) => {
    const threads = Array.from({ length: workers }, () => new Worker(new URL(import.meta.url)))
    const finish = async (): Promise<void> => {
      await Promise.all(threads.map((thread) => thread.terminate()))
      settle()
    }
    const give = (thread: Worker): void => {
      if (given >= end) return
      const count = Math.min(BATCH, end - given)
      thread.postMessage({ from: given, count, parties } satisfies Job)
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
          process.stderr.write(`\r${progress.next - 1} of ${end - 1}, ${progress.failures.length} failed, ${rate.toFixed(1)}/s `)
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
  addTotals(progress.totals, batch.totals)
  for (const failure of batch.failures) {
    progress.failures.push(failure)
    const { seed, parties, violation } = failure
    process.stdout.write(
      `seed ${seed} (${parties} parties): ${violation}\n  replay: ${REPLAY} --parties ${parties} --seed ${seed}\n`,
    )
  }
}

function print({ next, seconds, totals, failures }: Progress, start: number, end: number): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const counted = Math.min(next, end) - start
  const rate = (counted / seconds).toFixed(2)
  process.stdout.write(`${counted} runs, seeds ${start} to ${start + counted - 1}: ${failures.length} failed; ${rate} runs/s\n`)
  const { ceremonies, signatures, openings, crashes } = totals
  process.stdout.write(`${ceremonies} ceremonies, ${signatures} signatures, ${openings} openings, ${crashes} crashes\n`)
  const order = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
    a.localeCompare(b, 'en', { numeric: true })
  process.stdout.write(
    `${Object.entries(totals.sizes)
      .sort(order)
      .map(([name, runs]) => `${name}: ${runs}`)
      .join(', ')}\n`,
  )
  process.stdout.write(`\n${'lie'.padEnd(52)}${'told'.padStart(8)}${'named'.padStart(8)}\n`)
  for (const [name, { told, named }] of Object.entries(totals.lies).sort(order))
    process.stdout.write(`${name.padEnd(52)}${String(told).padStart(8)}${String(named).padStart(8)}\n`)
}
