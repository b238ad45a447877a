/**
 * What nodes ask each other on the `sync` channel.
 *
 *     request  = 1 status | 2 height (6 bytes) count (4 bytes) | 3 digest (32 bytes) | 4 | 5 height (6 bytes) offset (6 bytes)
 *              | 6 epoch (4 bytes)
 *     status   = epoch (4 bytes) height (6 bytes) digest (32 bytes) certificate (sized, empty at height 0)
 *                count (4 bytes) closing block (sized)*
 *     blocks   = record (sized)*
 *     block    = nothing | block
 *     snapshot = nothing | state's length (6 bytes) record (sized)+
 *     piece    = nothing | bytes of the state
 *     epochs   = record (sized)*, of the boundaries that end this epoch and those after it
 */
import { type Block, type Certificate, type Digest, decodeCertificate, encodeBlock, encodeCertificate } from '@ringwall/consensus'
import {
  BLOCK_BYTES_MAX,
  type BlockRecord,
  CERTIFICATE_BYTES_MAX,
  CLOSINGS_BYTES_MAX,
  encodeBlockRecord,
  encodeClosing,
  parseBlock,
  parseBlockRecord,
  readClosing,
} from './block-record.ts'
import { Malformed, Reader, sized, u8, u32, u48 } from './bytes.ts'

export interface TipStatus {
  /** Whose validators certified the tip. */
  readonly epoch: number
  readonly height: number
  readonly digest: Digest
  /** Undefined at height 0. */
  readonly certificate: Certificate | undefined
  /** Between the tip and the block that the certificate names. */
  readonly closing: readonly Block[]
}

export type SyncRequest =
  | { readonly kind: 'status'; readonly tip: TipStatus }
  | { readonly kind: 'blocks'; readonly from: number; readonly count: number }
  | { readonly kind: 'block'; readonly digest: Digest }
  /** What is the newest snapshot, and its proof? */
  | { readonly kind: 'snapshot' }
  /** Bytes of the state in the snapshot after block `height`. */
  | { readonly kind: 'piece'; readonly height: number; readonly offset: number }
  /** Which blocks ended this epoch and those after it? */
  | { readonly kind: 'epochs'; readonly from: number }

/** Blocks in one answer, and the bytes after which no further block is added to it. */
export const RUN_BLOCKS_MAX = 256
export const RUN_BYTES_SOFT: number = 256 * 1024
/** Bytes of a state in one answer. */
export const PIECE_BYTES_MAX: number = 256 * 1024
const DIGEST_BYTES = 32
const RECORD_BYTES_MAX: number = BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + CLOSINGS_BYTES_MAX + 16

export function encodeStatus(tip: TipStatus): Uint8Array {
  const proof = tip.certificate === undefined ? new Uint8Array(0) : encodeCertificate(tip.certificate)
  const head = [u32(tip.epoch), u48(tip.height), Buffer.from(tip.digest, 'hex'), sized(proof)]
  return Buffer.concat([...head, encodeClosing(tip.closing)])
}

/** @throws {Error} */
export function parseStatus(bytes: Uint8Array): TipStatus {
  const reader = new Reader(bytes)
  const epoch = reader.u32()
  const height = reader.u48()
  const digest = digestIn(reader)
  const proof = reader.sized(CERTIFICATE_BYTES_MAX)
  const closing = readClosing(reader)
  reader.end()
  const certificate = proof.length === 0 ? undefined : decodeCertificate(Uint8Array.from(proof))
  let last = digest
  for (const [i, block] of closing.entries()) {
    if (block.parent !== last || block.height !== height + i + 1)
      throw new Malformed('a status whose closing blocks follow another')
    last = block.digest
  }
  if (height > 0 && certificate?.digest !== last) throw new Malformed('a status whose certificate names another block')
  return { epoch, height, digest, certificate, closing }
}

export function encodeRequest(request: SyncRequest): Uint8Array {
  if (request.kind === 'status') return Buffer.concat([u8(1), encodeStatus(request.tip)])
  if (request.kind === 'blocks') return Buffer.concat([u8(2), u48(request.from), u32(request.count)])
  if (request.kind === 'block') return Buffer.concat([u8(3), Buffer.from(request.digest, 'hex')])
  if (request.kind === 'snapshot') return u8(4)
  if (request.kind === 'epochs') return Buffer.concat([u8(6), u32(request.from)])
  return Buffer.concat([u8(5), u48(request.height), u48(request.offset)])
}

/** @throws {Error} */
export function parseRequest(bytes: Uint8Array): SyncRequest {
  const reader = new Reader(bytes)
  const kind = reader.u8()
  if (kind === 1) return { kind: 'status', tip: parseStatus(bytes.subarray(1)) }
  if (kind === 2) {
    const from = reader.u48()
    const count = reader.u32()
    reader.end()
    return { kind: 'blocks', from, count }
  }
  if (kind === 4) {
    reader.end()
    return { kind: 'snapshot' }
  }
  if (kind === 5) {
    const height = reader.u48()
    const offset = reader.u48()
    reader.end()
    return { kind: 'piece', height, offset }
  }
  if (kind === 6) {
    const from = reader.u32()
    reader.end()
    return { kind: 'epochs', from }
  }
  if (kind !== 3) throw new Malformed(`request ${kind}`)
  const digest = digestIn(reader)
  reader.end()
  return { kind: 'block', digest }
}

export function encodeRun(records: readonly BlockRecord[]): Uint8Array {
  return joinRecords(records.map(encodeBlockRecord))
}

/** A run, of records that are encoded already. */
export function joinRecords(records: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(records.flatMap((record) => [u32(record.length), record]))
}

/** @throws {Error} */
export function parseRun(bytes: Uint8Array): readonly BlockRecord[] {
  return parseRecords(bytes, RUN_BLOCKS_MAX)
}

/** From this node's own disk there may be more. @throws {Error} */
export function parseRecords(bytes: Uint8Array, countMax: number = Number.POSITIVE_INFINITY): readonly BlockRecord[] {
  const reader = new Reader(bytes)
  const records: BlockRecord[] = []
  while (reader.left > 0) {
    if (records.length === countMax) throw new Malformed(`more than ${countMax} blocks`)
    records.push(parseBlockRecord(reader.sized(RECORD_BYTES_MAX)))
  }
  return records
}

/** Of the state that `records` stand for, after the `boundaries` from the genesis on that come before their end. */
export function encodeProof(boundaries: readonly BlockRecord[], records: readonly BlockRecord[]): Uint8Array {
  const end = records.at(-1)?.block.height ?? 0
  const before = boundaries.filter(({ block }) => block.height < end)
  return Buffer.concat([sized(encodeRun(before)), sized(encodeRun(records))])
}

export function encodeBlockAnswer(block: Block | undefined): Uint8Array {
  return block === undefined ? new Uint8Array(0) : encodeBlock(block)
}

/** @throws {Error} */
export function parseBlockAnswer(bytes: Uint8Array): Block | undefined {
  return bytes.length === 0 ? undefined : parseBlock(bytes)
}

export interface SnapshotOffer {
  readonly stateBytes: number
  readonly records: readonly BlockRecord[]
}

export function encodeSnapshotOffer(offer: SnapshotOffer | undefined): Uint8Array {
  return offer === undefined ? new Uint8Array(0) : Buffer.concat([u48(offer.stateBytes), encodeRun(offer.records)])
}

/** @throws {Error} */
export function parseSnapshotOffer(bytes: Uint8Array): SnapshotOffer | undefined {
  if (bytes.length === 0) return undefined
  const reader = new Reader(bytes)
  return { stateBytes: reader.u48(), records: parseRun(reader.take(reader.left)) }
}

function digestIn(reader: Reader): Digest {
  return reader.take(DIGEST_BYTES).toString('hex') as Digest
}
