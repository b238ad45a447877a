/** Files that are either the old ones or the new ones, whatever happens in between. */
import { randomBytes } from 'node:crypto'
import { constants, copyFile, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

export const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700
/** More files set aside than this, and something is wrong that a person must look at. */
const ASIDE_MAX = 1000

/** Makes names in `directory` survive a power cut. Windows cannot open a directory and orders renames itself. */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Creates `directory` and its missing parents, readable by their owner alone. */
export async function makeDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE })
}

/** Replaces `path` as a whole, durably: after a crash it holds either what it held before or all of `data`. */
export async function writeFileAtomic(path: string, data: Uint8Array | string, mode: number = FILE_MODE): Promise<void> {
  await replaceFile(path, mode, [typeof data === 'string' ? Buffer.from(data) : data])
}

/** As `writeFileAtomic`, from parts that need not all be in memory at once. */
export async function replaceFile(
  path: string,
  mode: number,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const handle = await open(temporary, 'wx', mode)
    try {
      for await (const part of parts) await handle.writeFile(part)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Copies `path` to the first free `path.corrupt-N`, as evidence, and says where. */
export async function keepAside(path: string): Promise<string> {
  for (let n = 1; n <= ASIDE_MAX; n++) {
    const aside = `${path}.corrupt-${n}`
    try {
      await copyFile(path, aside, constants.COPYFILE_EXCL)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      throw error
    }
    const handle = await open(aside, 'r+')
    try {
      await handle.chmod(FILE_MODE)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await syncDirectory(dirname(path))
    return aside
  }
  throw new Error(`${path} has ${ASIDE_MAX} corrupt copies beside it: check the disk, then move them away`)
}
