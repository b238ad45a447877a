/**
 * The process of an edge: the engine takes its bounds when it starts, so the program that was started is replaced (execve) by one that begins
 * with them. Same process id, same terminal, no parent that stays.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DeviceWishes } from '../enrolment/run-device.ts'
import { type PlainCode, preparePlainCode } from './plain-code.ts'

/** What the process is to run. */
export type EdgeProgram =
  | { readonly config: string; readonly takeOver: boolean }
  | { readonly device: string; readonly wishes: DeviceWishes }

const MAIN = fileURLToPath(new URL('./edge-main.ts', import.meta.url))
/**
 * Small generations that are collected often, the old one when it has grown by 15 %, and code that is rather small than fast: what the compilers for it
 * work in while traffic begins is the most that an edge ever takes. The one in the middle (Maglev) works in up to 30 MB, the last (TurboFan) in 11.
 * Beyond 192 MB in use the engine ends the process.
 */
const ENGINE_FLAGS = [
  '--max-semi-space-size=1',
  '--max-old-space-size=192',
  '--heap-growing-percent=15',
  '--optimize-for-size',
  '--max-inlined-bytecode-size-cumulative=300',
  '--no-maglev',
  '--v8-pool-size=1',
  '--expose-gc',
  '--disable-warning=ExperimentalWarning',
  `--import=${new URL('./plain-loader.mjs', import.meta.url).href}`,
]
/**
 * Of the C library, which gives each thread up to 64 MB of its own otherwise, and keeps what is freed: pieces of 8 KB and more, what the compilers
 * work in among them, go back to the system each by itself. It takes them so only where they do not fit behind what it has, so there is no room behind
 * that: the holes that they would leave there are some 8 MB. And of the threads for files and hashing.
 */
const BOUNDS = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: '8192',
  MALLOC_TRIM_THRESHOLD_: '65536',
  MALLOC_TOP_PAD_: '0',
  UV_THREADPOOL_SIZE: '2',
}

/** Flags of the engine without those of an edge: what somebody else gave it. */
export function ownFlags(flags: readonly string[]): readonly string[] {
  const before = flags.length - ENGINE_FLAGS.length
  return before >= 0 && ENGINE_FLAGS.every((flag, at) => flags[before + at] === flag) ? flags.slice(0, before) : flags
}

/**
 * @param flags Of the engine, as this process has them.
 * @param plain The program as it is to be loaded; undefined: as it stands.
 */
export function edgeCommand(
  program: EdgeProgram,
  flags: readonly string[],
  plain: PlainCode | undefined,
): { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  return {
    args: [...ownFlags(flags), ...ENGINE_FLAGS, MAIN, JSON.stringify(program)],
    env: {
      ...BOUNDS,
      ...(plain === undefined
        ? {}
        : { RINGWALL_PLAIN: plain.folder, RINGWALL_PLAIN_INDEX: plain.index, NODE_DISABLE_COMPILE_CACHE: '1' }),
    },
  }
}

/** Returns only where a process cannot be replaced: Windows, and one whose parent talks to it. */
export function becomeEdge(program: EdgeProgram): void {
  if (process.execve === undefined || process.platform === 'win32' || process.connected) return
  // Where code may be kept that is run: a folder that nobody else can write to.
  const folder = process.env.NODE_COMPILE_CACHE
  const plain = folder === undefined ? undefined : preparePlainCode(join(folder, 'plain'))
  const { args, env } = edgeCommand(program, process.execArgv, plain)
  process.execve(process.execPath, [process.execPath, ...args], { ...process.env, ...env })
}
