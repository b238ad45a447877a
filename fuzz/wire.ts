/**
 * `npm run fuzz:wire -- --inputs 1000000`: every decoder of bytes from the network or from disk, on changed valid inputs and
 * on garbage, in worker threads. A decoder may refuse with the errors that it declares, and nothing else; within bounds on
 * time and memory; and what it accepts has one spelling, where it says so.
 *
 * `--decoder NAME` runs those whose name contains NAME; `--decoder NAME --seed N` repeats one input and prints it.
 */

import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { endUsage, readOptions, text, whole } from '../tools/options.ts'
import { DECODERS } from './decoders.ts'
import { inputOf } from './mutator.ts'
import { runDecoder, type Tally } from './run.ts'

interface Job {
  readonly decoder: number
  readonly from: number
  readonly count: number
}

/** Inputs of a decoder of weight 1 in one job. */
const BATCH = 2_000
const HEAP_MIB_MAX = 512
const STUCK_MS = 60_000

if (isMainThread) await main()
else {
  // Refusals are thrown by the million.
  Error.stackTraceLimit = 0
  const at = new Int32Array(workerData as SharedArrayBuffer)
  parentPort?.on('message', async ({ decoder, from, count }: Job) => {
    const found = DECODERS[decoder]
    if (found === undefined) throw new Error(`no decoder ${decoder}`)
    parentPort?.postMessage(await runDecoder(found, from, count, (seed) => Atomics.store(at, 0, seed)))
  })
}

async function main(): Promise<void> {
  const options = readOptions({
    inputs: whole(1_000_000),
    start: whole(1),
    decoder: text(''),
    seed: whole(undefined, 0),
    workers: whole(availableParallelism(), 1, 256),
  })
  const chosen = DECODERS.map((decoder, index) => ({ decoder, index })).filter(({ decoder }) =>
    decoder.name.includes(options.decoder),
  )
  if (chosen.length === 0)
    endUsage(`--decoder ${options.decoder}: expected a part of one of ${DECODERS.map(({ name }) => name).join(', ')}`)
  if (options.seed !== undefined) {
    for (const { decoder } of chosen) {
      const seed = options.seed
      const input = inputOf(seed, decoder)
      process.stdout.write(`${decoder.name}, seed ${seed}, ${input.length} bytes: ${Buffer.from(input).toString('base64')}\n`)
      const { faults, accepted, worstMs } = await runDecoder(decoder, seed, 1)
      process.stdout.write(`${faults[0]?.what ?? (accepted === 1 ? 'accepted' : 'refused')} in ${worstMs.toFixed(1)} ms\n`)
    }
    return
  }
  const shares = chosen.reduce((sum, { decoder }) => sum + decoder.weight, 0)
  const jobs: Job[] = []
  for (const { decoder, index } of chosen) {
    const inputs = Math.max(1, Math.round((options.inputs * decoder.weight) / shares))
    const batch = Math.max(50, Math.round(BATCH * decoder.weight))
    for (let done = 0; done < inputs; done += batch) {
      jobs.push({ decoder: index, from: options.start + done, count: Math.min(batch, inputs - done) })
    }
  }
  const tallies = new Map<string, Tally>()
  const began = performance.now()
  await Promise.all(Array.from({ length: options.workers }, () => work(jobs, tallies)))
  const seconds = (performance.now() - began) / 1_000
  print(tallies, seconds)
}

/** One worker after another on what is left of `jobs`: one that dies or hangs is a fault, and is replaced. */
async function work(jobs: Job[], tallies: Map<string, Tally>): Promise<void> {
  let worker: Worker | undefined
  const seen = new Int32Array(new SharedArrayBuffer(4))
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
    worker ??= new Worker(new URL(import.meta.url), {
      workerData: seen.buffer,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    })
    const { name } = DECODERS[job.decoder] as { name: string }
    const outcome = await outcomeOf(worker, job, seen)
    const tally = tallies.get(name)
    if (typeof outcome === 'string') {
      const seed = Atomics.load(seen, 0)
      const fault = { decoder: name, seed, what: outcome }
      add(tallies, name, {
        inputs: seed - job.from + 1,
        accepted: 0,
        refused: 0,
        ms: 0,
        worstMs: 0,
        worstSeed: seed,
        heapPeakBytes: 0,
        faults: [fault],
      })
      await worker.terminate()
      worker = undefined
      if ((tally?.faults.length ?? 0) < 5) jobs.push({ ...job, from: seed + 1, count: job.from + job.count - seed - 1 })
    } else add(tallies, name, outcome)
  }
  await worker?.terminate()
}

/** What the worker found, or how it ended. */
function outcomeOf(worker: Worker, job: Job, seen: Int32Array): Promise<Tally | string> {
  return new Promise((settle) => {
    let last = -1
    const watch = setInterval(() => {
      const at = Atomics.load(seen, 0)
      if (at === last) end(`it did not come back in ${STUCK_MS / 1_000} s`)
      last = at
    }, STUCK_MS)
    const end = (outcome: Tally | string): void => {
      clearInterval(watch)
      worker.off('message', end)
      worker.off('error', died)
      settle(outcome)
    }
    const died = (error: Error): void => end(`the worker died of it: ${error.message}`)
    worker.once('message', end)
    worker.once('error', died)
    worker.postMessage(job)
  })
}

function add(tallies: Map<string, Tally>, name: string, more: Tally): void {
  const sum = tallies.get(name)
  if (sum === undefined) {
    tallies.set(name, more)
    return
  }
  sum.inputs += more.inputs
  sum.accepted += more.accepted
  sum.refused += more.refused
  sum.ms += more.ms
  sum.heapPeakBytes = Math.max(sum.heapPeakBytes, more.heapPeakBytes)
  if (more.worstMs > sum.worstMs) {
    sum.worstMs = more.worstMs
    sum.worstSeed = more.worstSeed
  }
  sum.faults.push(...more.faults)
}

function print(tallies: ReadonlyMap<string, Tally>, seconds: number): void {
  const line = (...cells: readonly string[]) =>
    process.stdout.write(
      `${cells[0]?.padEnd(30)}${cells
        .slice(1)
        .map((cell) => cell.padStart(13))
        .join('')}\n`,
    )
  line('decoder', 'inputs', 'refused', 'accepted', 'inputs/s', 'worst ms', 'heap MiB')
  let inputs = 0
  let faults = 0
  for (const { name } of DECODERS) {
    const tally = tallies.get(name)
    if (tally === undefined) continue
    inputs += tally.inputs
    faults += tally.faults.length
    const { refused, accepted, ms, worstMs, heapPeakBytes } = tally
    const rate = (tally.inputs / (ms / 1_000)).toFixed(0)
    line(name, `${tally.inputs}`, `${refused}`, `${accepted}`, rate, worstMs.toFixed(1), (heapPeakBytes / 2 ** 20).toFixed(0))
    for (const { seed, what } of tally.faults.slice(0, 5)) {
      process.stdout.write(`  FAULT ${what}\n    npm run fuzz:wire -- --decoder '${name}' --seed ${seed}\n`)
    }
    if (accepted === 0 || refused === 0) process.stdout.write(`  note: it ${accepted === 0 ? 'accepted' : 'refused'} nothing\n`)
  }
  process.stdout.write(
    `\n${inputs} inputs in ${seconds.toFixed(0)} s, ${faults} faults; at most ${(process.resourceUsage().maxRSS / 1_024).toFixed(0)} MiB of memory for all workers\n`,
  )
  if (faults > 0) process.exitCode = 1
}
