/**
 * One process a directory. A lock is a file that names its holder: process id, when that process started, and the
 * boot it ran in, so that a lock left by SIGKILL or a power cut is told from a live one even when the id was reused
 * (in a container it nearly always is).
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { StoreError, StoreLocked } from './errors.ts'
import { FILE_MODE, makeDirectory } from './files.ts'

export interface DirectoryLock {
  readonly directory: string
  /** True when a dead process's lock was taken over: the last stop was not a clean one. */
  readonly takenOver: boolean
  release(): Promise<void>
}

interface Holder {
  readonly pid: number
  readonly started: string
}

/** `lock` alone is what earlier versions wrote. */
const LOCK_NAME = /^lock(?:\.[0-9a-z.]{1,64})?$/
const CLAIM_NAME = /^\.lock-claim\.([0-9]{1,10})\.[0-9a-f]{12}$/
const ATTEMPTS_MAX = 20
/** A lock that is there so often holds the directory; one that is not was a start at the same moment. */
const SEEN_MAX = 3
const WAIT_MS = 20

/**
 * Creates `directory` if need be and holds it.
 *
 * Each process has a lock file of its own, and holds the directory when it sees no other live one after its own is there: of two
 * that start at once, the one that looks last sees the other (Lamport, "A New Solution of Dijkstra's Concurrent Programming
 * Problem", 1974). Nobody ever removes or replaces a live one's file. Both may see each other: they withdraw and try again.
 *
 * @throws {StoreLocked} Naming the process that works in it.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  await makeDirectory(directory)
  const text = JSON.stringify({ pid: process.pid, started: await startOf(process.pid) })
  const seen = new Map<string, number>()
  let takenOver = false
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    let found = await lookAround(directory, undefined)
    takenOver ||= found.removed
    if (found.live === undefined) {
      const nonce = `${process.pid}.${randomBytes(6).toString('hex')}`
      const own = `lock.${nonce}`
      const path = join(directory, own)
      const claim = join(directory, `.lock-claim.${nonce}`)
      // Whole from the moment it has its name: a part of it would look stale.
      await writeFile(claim, text, { mode: FILE_MODE, flag: 'wx' })
      await rename(claim, path)
      found = await lookAround(directory, own)
      takenOver ||= found.removed
      if (found.live === undefined) return { directory, takenOver, release: () => remove(path) }
      await remove(path)
    }
    const { name, pid } = found.live
    const times = (seen.get(name) ?? 0) + 1
    if (times === SEEN_MAX) throw new StoreLocked(directory, pid)
    seen.set(name, times)
    await sleep(WAIT_MS + Math.random() * WAIT_MS * attempt)
  }
  throw new StoreError('STORE_LOCKED', directory, `${directory} is wanted by several processes at once: start one`)
}

/** A live lock other than our own, if there is one; stale ones are removed. */
async function lookAround(
  directory: string,
  own: string | undefined,
): Promise<{ readonly live: { readonly name: string; readonly pid: number } | undefined; readonly removed: boolean }> {
  let live: { readonly name: string; readonly pid: number } | undefined
  let removed = false
  for (const name of await readdir(directory)) {
    const claim = CLAIM_NAME.exec(name)
    if (claim !== null && !isRunning(Number(claim[1]))) await remove(join(directory, name))
    if (!LOCK_NAME.test(name) || name === own) continue
    const path = join(directory, name)
    const text = await readText(path)
    if (text === undefined) continue
    const holder = parseHolder(text)
    if (holder !== undefined && (await isAlive(holder))) live = { name, pid: holder.pid }
    else {
      await remove(path)
      removed = true
    }
  }
  return { live, removed }
}

function remove(path: string): Promise<void> {
  return unlink(path).catch(() => {})
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    const { pid, started } = value as Record<string, unknown>
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0 || typeof started !== 'string') return undefined
    return { pid, started }
  } catch {
    return undefined
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (!isRunning(holder.pid)) return false
  const started = await startOf(holder.pid)
  return started === '' || holder.started === '' || started === holder.started
}

/** Something that differs between two processes with one id; empty where the system does not tell. */
async function startOf(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    try {
      const [boot, stat] = await Promise.all([
        readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
        readFile(`/proc/${pid}/stat`, 'utf8'),
      ])
      // proc(5): the name in parentheses may hold spaces; start time is field 22, the 20th after it.
      return `${boot.trim()}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''}`
    } catch {
      return ''
    }
  }
  if (process.platform === 'win32') return ''
  try {
    return (await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], { timeout: 2000 })).stdout.trim()
  } catch {
    return ''
  }
}
