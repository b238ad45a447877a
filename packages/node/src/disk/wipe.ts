/**
 * The end of a node that the ring has wiped: keys first, then all else that it wrote. Small files are overwritten before they are removed; of the rest the key is
 * gone. What a disk keeps of them, flash memory above all, is ciphertext without a key, where the disk was sealed under the ring's.
 */
import { lstat, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SEALED_FILES } from './data-files.ts'

/** In this order: what opens the others goes first. */
const WRITTEN = [
  'disk.json',
  'keys',
  'traces/key',
  'pass-keys',
  'acme',
  'vault',
  'objects',
  'ledger',
  'traces',
  'rules',
  ...SEALED_FILES,
  'playbooks',
  'taxii',
  'model',
  'peers.json',
]
/** What a crash, a damaged file or a fault of the disk leaves beside one of them. */
const BESIDE = /^(.+?)(\.[0-9a-f]{12}\.tmp|\.unread|\.corrupt-\d+)$/
const OVERWRITTEN_BYTES_MAX = 1_048_576

export interface Erased {
  readonly files: number
  readonly bytes: number
}

/** @param keyFile The node's own. Files that are gone already are no error. */
export async function eraseNode(data: string, keyFile: string, more: readonly string[] = []): Promise<Erased> {
  let files = 0
  let bytes = 0
  const erase = async (path: string): Promise<void> => {
    const stat = await lstat(path).catch(() => undefined)
    if (stat === undefined) return
    if (stat.isDirectory()) {
      for (const name of await readdir(path)) await erase(join(path, name))
      await rm(path, { recursive: true, force: true })
      return
    }
    files += 1
    bytes += stat.size
    if (stat.isFile() && stat.size <= OVERWRITTEN_BYTES_MAX) await overwrite(path, stat.size).catch(() => {})
    await rm(path, { force: true })
  }
  for (const path of [join(data, WRITTEN[0] as string), keyFile, ...WRITTEN.slice(1).map((name) => join(data, name)), ...more])
    await erase(path)
  for (const name of await readdir(data).catch(() => []))
    if (WRITTEN.includes(BESIDE.exec(name)?.[1] ?? '')) await erase(join(data, name))
  return { files, bytes }
}

async function overwrite(path: string, size: number): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    await handle.write(Buffer.alloc(size), 0, size, 0)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}
