/**
 * A thief with a node's folder and nothing else: opens what the key files in it open, and hands out all that is there, as it lies on the disk and as it reads
 * then. Uses the program's own code, so that what it cannot open is not for want of trying.
 */
import { createPrivateKey } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { DiskSeal, inspectLog, isSealedFile, openSealedBytes, StoreError } from '@ringwall/store'
import { unlockDisk } from '../packages/node/src/disk/disk.ts'
import { Seal } from '../packages/node/src/signing/sealed-file.ts'
import { sealedRows } from '../packages/telemetry/src/row-seal.ts'

export interface StolenFile {
  readonly name: string
  readonly path: string
  /** As it lies there. */
  readonly raw: Buffer
  /** As it reads for who has the key; undefined when the thief has not. */
  readonly opened: Buffer | undefined
}

export interface StolenDisk {
  readonly seal: DiskSeal | undefined
  /** For small files, by what they are called in their seal. */
  readonly small: Seal
  /** Why the disk's own key could not be had. */
  readonly locked: string | undefined
}

/** @param folder With `node.key` in it. */
export async function openStolen(folder: string, ring: string, id: string): Promise<StolenDisk> {
  const privateKey = createPrivateKey(readFileSync(join(folder, 'node.key')))
  const context = `${ring} ${id}`
  try {
    const unlocked = await unlockDisk(folder, { privateKey, passphrase: undefined, context }, undefined)
    const seal =
      unlocked === undefined
        ? undefined
        : new DiskSeal({ root: folder, current: unlocked.storageKey, earlier: unlocked.earlier, acceptsPlain: true })
    return { seal, small: new Seal(privateKey, context, seal), locked: undefined }
  } catch (error) {
    return { seal: undefined, small: new Seal(privateKey, context), locked: (error as Error).message }
  }
}

export async function* filesOf(folder: string, { seal }: StolenDisk): AsyncGenerator<StolenFile> {
  // All of it before anything is opened: SQLite removes files of its own.
  const all = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => ({ name: entry.name, path: join(entry.parentPath, entry.name) }))
    .map((file) => ({ ...file, raw: readFileSync(file.path) }))
  for (const { name, path, raw } of all) yield { name, path, raw, opened: await opened(folder, path, raw, seal) }
}

async function opened(folder: string, path: string, raw: Buffer, seal: DiskSeal | undefined): Promise<Buffer | undefined> {
  try {
    if (raw.subarray(0, 12).toString('latin1') === 'ringwall-log') {
      const records: Uint8Array[] = []
      await inspectLog(path, (record) => void records.push(Uint8Array.from(record)), { seal })
      return Buffer.concat(records)
    }
    if (isSealedFile(raw)) return Buffer.from(openSealedBytes(seal, path, raw))
    if (path.endsWith('telemetry.db') && seal !== undefined) return rowsOf(folder, path, seal)
    return undefined
  } catch (error) {
    if (error instanceof StoreError) return undefined
    throw error
  }
}

function rowsOf(folder: string, path: string, seal: DiskSeal): Buffer {
  const keyFile = join(folder, 'traces', 'key')
  const rows = sealedRows(openSealedBytes(seal, keyFile, readFileSync(keyFile)))
  const database = new DatabaseSync(path)
  try {
    const found = database.prepare('SELECT request_id, record FROM decisions').all()
    return Buffer.from(found.map((row) => rows.open(`decision ${String(row.request_id)}`, row.record)).join('\n'))
  } finally {
    database.close()
  }
}
