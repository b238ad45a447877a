/**
 * Brings whole files of a data folder under the storage key in force, at start, before anything else opens them: those that lie in the clear,
 * or under an earlier key. Logs are brought there by whoever opens them.
 */
import { readdir, readFile, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isSnapshotName } from '@ringwall/ledger'
import { type DiskSeal, openLog, openSealedBytes, sealedFileKey, writeFileSealed } from '@ringwall/store'
import type { Seal } from '../signing/sealed-file.ts'
import { SEALED_FILES } from './data-files.ts'
import { TRACE_KEY_FILE } from './trace-key.ts'

const SEALED_KEY = /^(share|ceremony-(\d{1,9}))\.sealed$/
/** Of a write that a crash ended, or what could not be read before. */
const LITTER = /\.(tmp|new|unread)$/

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** What a file of the key folder is called in its seal; undefined for another file. */
function keyFileName(file: string, prefix: string): string | undefined {
  const match = SEALED_KEY.exec(file)
  if (match === null) return undefined
  return `${prefix}${match[2] === undefined ? 'share' : `ceremony ${match[2]}`}`
}

async function anew(path: string, disk: DiskSeal): Promise<void> {
  const bytes = await readFile(path)
  if (sealedFileKey(bytes) === disk.current?.id.toString('hex')) return
  await writeFileSealed(path, openSealedBytes(disk, path, bytes), disk)
}

/** @returns Files that could not be brought under it, with why: they stay as they are. */
export async function resealFolder(data: string, disk: DiskSeal, seal: Seal): Promise<readonly string[]> {
  const failed: string[] = []
  const each = async (path: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') failed.push(`${path}: ${(error as Error).message}`)
    }
  }
  for (const directory of ['.', 'ledger', 'keys', 'keys/sealing', 'acme', 'vault', 'rules', 'traces', 'playbooks']) {
    for (const name of await namesIn(join(data, directory)))
      if (LITTER.test(name)) await rm(join(data, directory, name), { force: true })
  }
  // Made anew from the rules when it is missing.
  for (const name of await namesIn(join(data, 'rules'))) await rm(join(data, 'rules', name), { force: true })
  for (const name of await namesIn(join(data, 'ledger'))) {
    const path = join(data, 'ledger', name)
    if (isSnapshotName(name) || name === 'evidence.json') await each(path, () => anew(path, disk))
    // Also of epochs that are over, should the start end before they are removed.
    if (/^votes.*\.log$/.test(name))
      await each(path, async () => (await openLog(path, { seal: disk, onCorrupt: 'throw' })).close())
  }
  for (const name of [...SEALED_FILES, 'keys/nonces.json', 'acme/waits.json', TRACE_KEY_FILE]) {
    const path = join(data, name)
    await each(path, () => anew(path, disk))
  }
  for (const name of await namesIn(join(data, 'playbooks'))) {
    const path = join(data, 'playbooks', name)
    await each(path, () => anew(path, disk))
  }
  for (const feed of await namesIn(join(data, 'taxii')))
    for (const name of await namesIn(join(data, 'taxii', feed))) {
      const path = join(data, 'taxii', feed, name)
      await each(path, () => anew(path, disk))
    }
  const versions = join(data, 'objects', 'versions')
  for (const part of await namesIn(versions))
    for (const version of await namesIn(join(versions, part))) {
      const path = join(versions, part, version, 'manifest')
      await each(path, () => anew(path, disk))
    }
  const sealed: [path: string, name: string][] = [[join(data, 'pass-keys'), 'pass-keys']]
  for (const [directory, prefix] of [
    ['keys', ''],
    ['keys/sealing', 'sealing '],
  ] as const)
    for (const file of await namesIn(join(data, directory))) {
      const name = keyFileName(file, prefix)
      if (name !== undefined) sealed.push([join(data, directory, file), name])
    }
  for (const file of await namesIn(join(data, 'acme')))
    if (file !== 'waits.json') sealed.push([join(data, 'acme', file), `acme/${basename(file)}`])
  for (const [path, name] of sealed) await each(path, () => seal.renew(path, name))
  return failed
}

/** Copies that are kept aside as evidence of what rotted before the disk was sealed. */
export async function leftInTheClear(data: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const directory of ['ledger', 'vault', 'traces'])
    for (const name of await namesIn(join(data, directory)))
      if (/\.(corrupt|aside)-\d+$/.test(name)) found.push(join(directory, name))
  return found
}
