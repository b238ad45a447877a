/**
 * A simulation over many seeds: in workers, summed up in the order of seeds, and resumable. A run that is interrupted goes on where
 * it was, as long as the code is the same (`--fresh` begins again). A failure prints its seed and the command that replays it.
 */

import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { flag, oneOf, readOptions, whole } from '../tools/options.ts'

/** What one seed came to. */
export interface Outcome<Totals> {
  /** What was violated; undefined when nothing was. */
  readonly violation: string | undefined
  /** Size of the ring that the seed took. */
  readonly size: number
  /** What was particular about it, in a word or two, for the report of a failure. */
  readonly kind: string
  readonly totals: Totals
}

export interface Simulation<Totals> {
  /** Of the command, `npm run sim:NAME`, and of the file that keeps the progress. */
  readonly name: string
  /** The module that calls `simulate`: workers run it too. */
  readonly url: string
  /** What a seed makes, in the plural. */
  readonly unit: string
  /** The option that says how many seeds, and how many there are without it. */
  readonly count: { readonly option: string; readonly default: number }
  /** The option that says how large all rings shall be; they are of all sizes without it. */
  readonly size: { readonly option: string; readonly least: number; readonly most: number }
  /** An option that chooses between ways to run a seed; the first is taken without it. */
  readonly choice?: { readonly option: string; readonly names: readonly [string, ...string[]] }
  /** Seeds that a worker gets at once. */
  readonly batch: number
  noTotals(): Totals
  add(sum: Totals, more: Totals): void
  /** `trace` gets a line for each thing that happens; `chosen` is a name of `choice`. */
  run(seed: number, size: number | undefined, trace: ((line: string) => void) | undefined, chosen: string): Outcome<Totals>
  print(totals: Totals): void
}

interface Failure {
  readonly seed: number
  readonly size: number
  readonly kind: string
  readonly violation: string
}

interface Job {
  readonly from: number
  readonly count: number
  readonly size: number | undefined
  readonly chosen: string
}

interface Batch<Totals> {
  readonly from: number
  readonly count: number
  readonly totals: Totals
  readonly failures: readonly Failure[]
}

interface Progress<Totals> {
  readonly key: string
  next: number
  seconds: number
  totals: Totals
  failures: Failure[]
}

const SAVE_MS = 5_000
const SEED_MAX = 2 ** 32 - 1

/** Does what the command line asks for; in a worker, what the main thread asks for. */
export async function simulate<Totals>(simulation: Simulation<Totals>): Promise<void> {
  if (isMainThread) return main(simulation)
  // Lies are refused by exceptions by the million; the replay of a failure has its stacks.
  Error.stackTraceLimit = 0
  parentPort?.on('message', (job: Job) => parentPort?.postMessage(runBatch(simulation, job)))
}

function runBatch<Totals>(simulation: Simulation<Totals>, { from, count, size, chosen }: Job): Batch<Totals> {
  const totals = simulation.noTotals()
  const failures: Failure[] = []
  for (let seed = from; seed < from + count; seed += 1) {
    const outcome = simulation.run(seed, size, undefined, chosen)
    simulation.add(totals, outcome.totals)
    const { violation, kind } = outcome
    if (violation !== undefined) failures.push({ seed, size: outcome.size, kind, violation })
  }
  return { from, count, totals, failures }
}

async function main<Totals>(simulation: Simulation<Totals>): Promise<void> {
  const { count, size: sizes, choice } = simulation
  const { start, seed, workers, fresh, ...named } = readOptions({
    [count.option]: whole(count.default, 1, 2 ** 32),
    [sizes.option]: whole(undefined, sizes.least, sizes.most),
    start: whole(1, 0, SEED_MAX),
    seed: whole(undefined, 0, SEED_MAX),
    workers: whole(availableParallelism(), 1, 256),
    fresh: flag(),
    ...(choice === undefined ? {} : { [choice.option]: oneOf(choice.names) }),
  })
  const size = named[sizes.option] as number | undefined
  const chosen = choice === undefined ? '' : (named[choice.option] as string)
  if (seed !== undefined) {
    const outcome = simulation.run(seed, size, (line) => process.stdout.write(`${line}\n`), chosen)
    process.stdout.write(`${JSON.stringify(outcome)}\n`)
    process.exitCode = outcome.violation === undefined ? 0 : 1
    return
  }
  const end = start + (named[count.option] as number)
  const root = resolve(import.meta.dirname, '..')
  const file = join(root, '.cache', `sim-${simulation.name}.json`)
  const key = `${sourceHash(simulation.url)} ${start} ${size ?? 'mixed'} ${chosen}`
  const progress = (fresh ? undefined : readProgress<Totals>(file, key)) ?? {
    key,
    next: start,
    seconds: 0,
    totals: simulation.noTotals(),
    failures: [],
  }
  if (progress.next > start) process.stdout.write(`going on at seed ${progress.next} (--fresh begins again)\n`)
  await runAll(simulation, progress, end, { size, chosen }, workers, file)
  print(simulation, progress, start, end)
  if (progress.next >= end) rmSync(file, { force: true })
  process.exitCode = progress.failures.length === 0 ? 0 : 1
}

const IMPORT = /^(?:import|export)\s(?!type\b)[^'"()=;]*['"]([^'"]+)['"]/gm

/** Of every module of ours that a seed executes: figures of other code are not added up with this one's. */
function sourceHash(url: string): string {
  const found = new Map<string, string>()
  const follow = (file: string): void => {
    if (found.has(file)) return
    const text = readFileSync(file, 'utf8')
    found.set(file, text)
    const { resolve: find } = createRequire(file)
    for (const [, name = ''] of text.matchAll(IMPORT)) {
      if (name.startsWith('.') || name.startsWith('@ringwall/')) follow(find(name))
    }
  }
  follow(fileURLToPath(url))
  const hash = createHash('sha256')
  for (const file of [...found.keys()].sort()) hash.update(found.get(file) as string)
  return hash.digest('hex').slice(0, 16)
}

function readProgress<Totals>(file: string, key: string): Progress<Totals> | undefined {
  try {
    const found = JSON.parse(readFileSync(file, 'utf8')) as Progress<Totals>
    return found.key === key ? found : undefined
  } catch {
    return undefined
  }
}

/** Hands batches to workers; what is done is counted in the order of seeds, so that `next` is the first not yet counted. */
function runAll<Totals>(
  simulation: Simulation<Totals>,
  progress: Progress<Totals>,
  end: number,
  how: Pick<Job, 'size' | 'chosen'>,
  workers: number,
  file: string,
): Promise<void> {
  const began = performance.now()
  const secondsBefore = progress.seconds
  const first = progress.next
  const done = new Map<number, Batch<Totals>>()
  let given = progress.next
  let savedAt = began
  return new Promise((settle, refuse) => {
    const threads = Array.from({ length: workers }, () => new Worker(new URL(simulation.url)))
    const finish = async (): Promise<void> => {
      await Promise.all(threads.map((thread) => thread.terminate()))
      settle()
    }
    const give = (thread: Worker): void => {
      if (given >= end) return
      const count = Math.min(simulation.batch, end - given)
      thread.postMessage({ from: given, count, ...how } satisfies Job)
      given += count
    }
    for (const thread of threads) {
      thread.on('error', refuse)
      thread.on('message', (batch: Batch<Totals>) => {
        done.set(batch.from, batch)
        give(thread)
        for (let next = done.get(progress.next); next !== undefined; next = done.get(progress.next)) {
          done.delete(progress.next)
          count(simulation, progress, next, how.chosen)
        }
        const now = performance.now()
        progress.seconds = secondsBefore + (now - began) / 1_000
        if (now - savedAt > SAVE_MS || progress.next >= end) {
          savedAt = now
          mkdirSync(resolve(file, '..'), { recursive: true })
          writeFileSync(file, JSON.stringify(progress))
        }
        if (process.stderr.isTTY) {
          const rate = perSecond(progress.next - first, (now - began) / 1_000)
          process.stderr.write(`\r${progress.next - 1} of ${end - 1}, ${progress.failures.length} failed, ${rate}/s `)
        }
        if (progress.next >= end) void finish()
      })
      give(thread)
    }
    if (progress.next >= end) void finish()
  })
}

function count<Totals>(simulation: Simulation<Totals>, progress: Progress<Totals>, batch: Batch<Totals>, chosen: string): void {
  const { choice } = simulation
  const how = choice === undefined || chosen === choice.names[0] ? '' : ` --${choice.option} ${chosen}`
  progress.next = batch.from + batch.count
  simulation.add(progress.totals, batch.totals)
  for (const failure of batch.failures) {
    progress.failures.push(failure)
    const { seed, size, kind, violation } = failure
    const replay = `npm run sim:${simulation.name} -- --${simulation.size.option} ${size}${how} --seed ${seed}`
    process.stdout.write(`seed ${seed} (${kind}): ${violation}\n  replay: ${replay}\n`)
  }
}

function print<Totals>(simulation: Simulation<Totals>, progress: Progress<Totals>, start: number, end: number): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const counted = Math.min(progress.next, end) - start
  const { failures, seconds } = progress
  process.stdout.write(
    `${counted} ${simulation.unit}, seeds ${start} to ${start + counted - 1}: ${failures.length} failed; ${perSecond(counted, seconds)} seeds/s\n`,
  )
  simulation.print(progress.totals)
}

function perSecond(count: number, seconds: number): string {
  const rate = count / seconds
  return rate.toFixed(rate < 10 ? 2 : 0)
}

/** Names in the order of people: 9 before 10. */
export function inOrder<T>(rows: Readonly<Record<string, T>>): readonly (readonly [string, T])[] {
  return Object.entries(rows).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
}
