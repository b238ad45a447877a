/**
 * One process a directory. The lock is a file that names its holder: process id, when that process started, and the
 * boot it ran in, so that a lock left by SIGKILL or a power cut is told from a live one even when the id was reused
 * (in a container it nearly always is).
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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

const LOCK_NAME = 'lock'
const ATTEMPTS_MAX = 20

/** Creates `directory` if need be and holds it. @throws {StoreLocked} Naming the process that works in it. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  await makeDirectory(directory)
  const path = join(directory, LOCK_NAME)
  const own = `${path}.${process.pid}.${randomBytes(6).toString('hex')}`
  const text = JSON.stringify({ pid: process.pid, started: await startOf(process.pid), nonce: randomBytes(8).toString('hex') })
  await writeFile(own, text, { mode: FILE_MODE, flag: 'wx' })
  let takenOver = false
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      try {
        await link(own, path)
        return { directory, takenOver, release: () => release(path, text) }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const held = await readText(path)
      if (held === undefined) continue
      const holder = parseHolder(held)
      if (holder !== undefined && (await isAlive(holder))) throw new StoreLocked(directory, holder.pid)
      takenOver = (await removeStale(path, held)) || takenOver
    }
  } finally {
    await unlink(own).catch(() => {})
  }
  throw new StoreError('STORE_LOCKED', directory, `${directory} is wanted by several processes at once: start one`)
}

/** Moves the stale lock away. When another process replaced it meanwhile, that one's lock is put back. */
async function removeStale(path: string, stale: string): Promise<boolean> {
  const away = `${path}.stale.${randomBytes(6).toString('hex')}`
  try {
    await rename(path, away)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
  const moved = await readText(away)
  if (moved !== undefined && moved !== stale) await link(away, path).catch(() => {})
  await unlink(away).catch(() => {})
  return moved === stale
}

async function release(path: string, text: string): Promise<void> {
  if ((await readText(path)) === text) await unlink(path).catch(() => {})
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

async function isAlive(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
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
