/**
 * What this machine's disk allows a program that does little else: some files at once, in order, 4 MiB at a time, through the system's cache and past it
 * (`O_DIRECT`), whichever is faster. And pages of files put out of the cache, so that what is read next comes from the disk.
 */
import { spawnSync } from 'node:child_process'
import { constants, statSync } from 'node:fs'
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DirectRuns } from '../packages/node/src/objects/direct-file.ts'

const STEP_BYTES = 4_194_304

/** For so many bytes, in milliseconds. */
export interface DiskCost {
  readonly ms: number
  readonly cpuMs: number
}

export interface DiskLimits {
  /** With `fdatasync` at the end. */
  readonly write: DiskCost
  readonly read: DiskCost
  /** What was just read, from memory. */
  readonly readAgain: DiskCost
}

/** Runs of a memory that grows lie one behind the other. */
function alignedMemory(): Uint8Array {
  const runs = new DirectRuns()
  const [first, ...others] = Array.from({ length: STEP_BYTES / 1_048_576 }, () => runs.take()?.bytes)
  const last = others.at(-1)
  if (first === undefined || last === undefined) throw new Error('no memory that begins at a page')
  return new Uint8Array(last.buffer, first.byteOffset, STEP_BYTES)
}

type Step = (handle: FileHandle, memory: Uint8Array, at: number) => Promise<unknown>

const writes: Step = (handle, memory, at) => handle.write(memory, 0, memory.length, at)
const reads: Step = (handle, memory, at) => handle.read(memory, 0, memory.length, at)

/** Pages that are on their way to or from the disk stay at first. */
const DROPS_MAX = 20
const DROP_MS = 250

/** Puts files out of the cache, but for what is less than a page in a hundred. @throws {Error} When they stay, or nobody can say. */
export async function dropPages(files: readonly string[]): Promise<void> {
  const bytesMax = files.reduce((sum, file) => sum + statSync(file).size, 0) / 100
  for (let drop = 1; ; drop += 1) {
    for (const file of files) spawnSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'])
    const options = ['--bytes', '--noheadings', '--output', 'RES']
    const { status, stdout } = spawnSync('fincore', [...options, ...files], { encoding: 'utf8' })
    if (status !== 0) throw new Error('fincore (util-linux) cannot be run')
    const left = stdout.split('\n').reduce((sum, line) => sum + Number(line), 0)
    if (left <= bytesMax) return
    if (drop === DROPS_MAX) throw new Error(`${left} bytes of them stay in memory`)
    await sleep(DROP_MS)
  }
}

/** @param runs Of each, of which the median counts. */
export async function diskLimits(written: number, read: number, runs: number): Promise<DiskLimits> {
  const folder = await mkdtemp(join(tmpdir(), 'ringwall-bench-'))
  const memory = alignedMemory()
  const paths = [0, 1, 2, 3].map((at) => join(folder, `${at}`))
  const steps = Math.ceil(written / paths.length / STEP_BYTES)
  const once = async (files: readonly string[], flags: number, step: Step, bytes: number): Promise<DiskCost> => {
    const [began, before] = [performance.now(), process.cpuUsage()]
    await Promise.all(
      files.map(async (path) => {
        const handle = await open(path, flags, 0o600)
        for (let at = 0; at < steps; at += 1) await step(handle, memory, at * STEP_BYTES)
        if (step === writes) await handle.datasync()
        await handle.close()
      }),
    )
    const { user, system } = process.cpuUsage(before)
    // Files are whole steps, a little more than what is asked for.
    const share = bytes / (files.length * steps * STEP_BYTES)
    return { ms: (performance.now() - began) * share, cpuMs: ((user + system) / 1_000) * share }
  }
  const least = async (flags: readonly number[], work: (flag: number) => Promise<DiskCost>): Promise<DiskCost> => {
    const ways: DiskCost[] = []
    for (const flag of flags) {
      const costs: DiskCost[] = []
      for (let run = 0; run <= runs; run += 1) costs.push(await work(flag).catch(() => ({ ms: Infinity, cpuMs: Infinity })))
      ways.push(costs.slice(1).sort((a, b) => a.ms - b.ms)[runs >> 1] as DiskCost)
    }
    return ways.reduce((a, b) => (b.ms < a.ms ? b : a))
  }
  const { O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY } = constants
  const both = [0, constants.O_DIRECT ?? 0]
  try {
    const write = await least(both, (flag) => once(paths, O_CREAT | O_TRUNC | O_WRONLY | flag, writes, written))
    const some = paths.slice(0, 2)
    const fromDisk = await least(both, async (flag) => {
      if (flag === 0) await dropPages(some)
      return once(some, O_RDONLY | flag, reads, read)
    })
    const readAgain = await least([0], () => once(some, O_RDONLY, reads, read))
    return { write, read: fromDisk, readAgain }
  } finally {
    await rm(folder, { recursive: true })
  }
}
