/**
 * A state with its proof, as a file and on the wire. The proof is a run of blocks: the first is the one after which the
 * state stood, the second commits to the state's root, and the last has a certificate that by hash links certifies them all.
 * Who had to sign it follows from the blocks that ended epochs, from the genesis on.
 *
 *     file = "ringwall-snapshot 02\n" boundaries (sized) proof (sized) state, its length (6 bytes) SHA-256 of all before (32 bytes)
 */
import { createHash, type KeyObject } from 'node:crypto'
import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Block, Certificate } from '@ringwall/consensus'
import { type DiskSeal, readFileSealed, readPieceSealed, replaceFile, StoreError, sealParts } from '@ringwall/store'
import { type BlockRecord, checkLinks, proves } from './block-record.ts'
import { Malformed, Reader, u48 } from './bytes.ts'
import { Epochs } from './epochs.ts'
import { parsePayload } from './payload.ts'
import { encodeProof, parseRecords, parseRun } from './sync-codec.ts'
import type { Application, Genesis } from './types.ts'

const MAGIC = Buffer.from('ringwall-snapshot 02\n')
const FILE_MODE = 0o600
const HASH_BYTES = 32
const LENGTH_BYTES = 6
const PROOF_BYTES_MAX: number = 64 * 1024 * 1024
/** Largest state that is read from a file or taken from a peer. */
export const STATE_BYTES_MAX: number = 256 * 1024 * 1024
const NAME = /^snapshot-(\d{1,15})\.bin$/

export interface Snapshot {
  readonly records: readonly BlockRecord[]
  readonly state: Uint8Array
}

/** What a proof proves, once the certificate's signatures are checked. */
export interface Anchor {
  readonly block: Block
  /** Of the state after `block`. */
  readonly root: string
  readonly certificate: Certificate
}

/** @throws {Malformed} When the blocks do not follow one another, or no certificate stands at their end. */
export function anchorOf(records: readonly BlockRecord[]): Anchor {
  const [first, second] = records
  const last = records.at(-1)
  if (first === undefined || second === undefined || last?.certificate === undefined) {
    throw new Malformed('a snapshot’s proof needs two blocks and a certificate at its end')
  }
  checkLinks(records)
  if (!proves(last)) throw new Malformed('a snapshot’s certificate is for another block')
  return { block: first.block, root: parsePayload(second.block.payload).root, certificate: last.certificate }
}

/** Where the state begins in a snapshot's file, and how long it is. */
export interface SnapshotFile {
  readonly path: string
  readonly height: number
  readonly records: readonly BlockRecord[]
  readonly stateOffset: number
  readonly stateBytes: number
  /** What it is sealed with. */
  readonly seal: DiskSeal | undefined
}

/** As read back: whole, and with a proof whose certificate nobody has looked at yet. */
export interface ReadSnapshot extends Snapshot {
  readonly file: SnapshotFile
  readonly boundaries: readonly BlockRecord[]
  readonly anchor: Anchor
}

/** Writes durably and as a whole; pieces of the state are asked for one by one. */
export async function writeSnapshot(
  directory: string,
  boundaries: readonly BlockRecord[],
  records: readonly BlockRecord[],
  state: Iterable<Uint8Array>,
  seal?: DiskSeal,
): Promise<SnapshotFile> {
  const { block } = anchorOf(records)
  const path = join(directory, `snapshot-${block.height}.bin`)
  const head = Buffer.concat([MAGIC, encodeProof(boundaries, records)])
  let stateBytes = 0
  async function* parts(): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256').update(head)
    yield head
    for (const piece of state) {
      hash.update(piece)
      stateBytes += piece.length
      yield piece
      await breath()
    }
    const length = u48(stateBytes)
    yield Buffer.concat([length, hash.update(length).digest()])
  }
  await replaceFile(path, FILE_MODE, sealParts(seal, path, parts()))
  return { path, height: block.height, records, stateOffset: head.length, stateBytes, seal }
}

/** Others have their turn between two pieces. */
function breath(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** @throws {Malformed} When the file is not a whole snapshot. Who signed its certificate is not checked here. */
async function readSnapshot(path: string, seal: DiskSeal | undefined): Promise<ReadSnapshot> {
  const content = await readFileSealed(path, seal, STATE_BYTES_MAX + 2 * PROOF_BYTES_MAX)
  if (content === undefined) throw new Malformed('it is not there')
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  const end = bytes.length - HASH_BYTES
  if (end < MAGIC.length + 8 + LENGTH_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new Malformed('it does not begin as a snapshot')
  if (!createHash('sha256').update(bytes.subarray(0, end)).digest().equals(bytes.subarray(end))) {
    throw new Malformed('its bytes do not match its hash')
  }
  const stateEnd = end - LENGTH_BYTES
  const reader = new Reader(bytes.subarray(MAGIC.length, stateEnd))
  const boundaries = parseRecords(reader.sized(PROOF_BYTES_MAX))
  const records = parseRun(reader.sized(PROOF_BYTES_MAX))
  const stateOffset = stateEnd - reader.left
  const stateBytes = bytes.readUIntBE(stateEnd, LENGTH_BYTES)
  if (stateOffset + stateBytes !== stateEnd) throw new Malformed('its state is not as long as it says')
  const anchor = anchorOf(records)
  const state = bytes.subarray(stateOffset, stateEnd)
  const file = { path, height: anchor.block.height, records, stateOffset, stateBytes, seal }
  return { boundaries, records, anchor, state, file }
}

/** Is it the name that a ledger gives to a file with a snapshot? */
export function isSnapshotName(name: string): boolean {
  return NAME.test(name)
}

/** Newest first. */
export async function snapshotFiles(directory: string): Promise<readonly { readonly path: string; readonly height: number }[]> {
  const names = await readdir(directory)
  return names
    .flatMap((name) => {
      const height = Number(NAME.exec(name)?.[1] ?? Number.NaN)
      return Number.isSafeInteger(height) ? [{ path: join(directory, name), height }] : []
    })
    .sort((a, b) => b.height - a.height)
}

/** Undefined when the file is gone. */
export async function readStatePiece(file: SnapshotFile, offset: number, bytesMax: number): Promise<Uint8Array | undefined> {
  const length = Math.min(bytesMax, file.stateBytes - offset)
  if (length <= 0) return undefined
  try {
    const piece = await readPieceSealed(file.path, file.seal, file.stateOffset + offset, length)
    return piece.length === length ? piece : undefined
  } catch {
    return undefined
  }
}

export async function removeSnapshot(path: string): Promise<void> {
  await unlink(path).catch(() => {})
}

/** A file's state with the epochs before it, if it holds what its proof says and the proof is certified; else what is wrong. */
export async function loadSnapshot<S>(
  path: string,
  application: Pick<Application<S>, 'restore' | 'root'>,
  genesis: Genesis,
  privateKey: KeyObject | undefined,
  seal?: DiskSeal,
): Promise<{ readonly file: SnapshotFile; readonly anchor: Anchor; readonly state: S; readonly epochs: Epochs } | string> {
  try {
    const { file, boundaries, records, anchor, state } = await readSnapshot(path, seal)
    const epochs = new Epochs(genesis, privateKey)
    for (const boundary of boundaries) epochs.end(boundary)
    if (!epochs.certifies(records.at(-1) as BlockRecord)) return 'its certificate does not verify'
    const restored = application.restore(state)
    if (application.root(restored) !== anchor.root) return 'its state is not the one that its proof names'
    return { file, anchor, state: restored, epochs }
  } catch (error) {
    // It may be a good one: whoever has not its key is not to judge it.
    if (error instanceof StoreError && (error.code === 'STORE_SEALED' || error.code === 'STORE_UNSEALED')) throw error
    return (error as Error).message
  }
}
