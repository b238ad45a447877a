/**
 * A final block as it lies in `blocks.log` and travels to a node that catches up.
 *
 *     record   = format (1 byte, 1) block (sized) certificate (sized, empty when a descendant's certifies the block)
 *     boundary = format (1 byte, 2) block (sized) certificate (sized) count (4 bytes) closing block (sized)*
 *
 * A boundary is the last block of an epoch: it names the validators of the next. Its certificate is its own, or that of the
 * last of the closing blocks, which follow it, are without transactions, and never become part of the ledger.
 */
import { type Block, type Certificate, decodeBlock, decodeCertificate, encodeBlock, encodeCertificate } from '@ringwall/consensus'
import { Malformed, Reader, sized, u8, u32 } from './bytes.ts'
import { PAYLOAD_BYTES_MAX, type Payload, parsePayload, type Validator } from './payload.ts'
import { sha256 } from './scheme.ts'

export interface BlockRecord {
  readonly block: Block
  readonly certificate: Certificate | undefined
  /** Of a boundary alone: what stands between it and the block that its certificate names; often nothing. */
  readonly closing?: readonly Block[] | undefined
}

const FORMAT = { ordinary: 1, boundary: 2 } as const
export const BLOCK_BYTES_MAX: number = PAYLOAD_BYTES_MAX + 1024
export const CERTIFICATE_BYTES_MAX: number = 64 * 1024
/** Rounds that an epoch may take to end. */
export const CLOSING_MAX = 1_024
/** A block without transactions: its header, a root. */
const CLOSING_BYTES_MAX = 256
export const CLOSINGS_BYTES_MAX: number = CLOSING_MAX * (CLOSING_BYTES_MAX + 4)

export function encodeBlockRecord({ block, certificate, closing }: BlockRecord): Uint8Array {
  const proof = certificate === undefined ? new Uint8Array(0) : encodeCertificate(certificate)
  if (closing === undefined) return Buffer.concat([u8(FORMAT.ordinary), sized(encodeBlock(block)), sized(proof)])
  return Buffer.concat([u8(FORMAT.boundary), sized(encodeBlock(block)), sized(proof), encodeClosing(closing)])
}

/** The digest is recomputed from the bytes. @throws {Error} When they are not a block record. */
export function parseBlockRecord(bytes: Uint8Array): BlockRecord {
  const reader = new Reader(bytes)
  const format = reader.u8()
  if (format !== FORMAT.ordinary && format !== FORMAT.boundary) throw new Malformed(`block record format ${format}`)
  const block = parseBlock(reader.sized(BLOCK_BYTES_MAX))
  const proof = reader.sized(CERTIFICATE_BYTES_MAX)
  const certificate = proof.length === 0 ? undefined : decodeCertificate(Uint8Array.from(proof))
  const closing = format === FORMAT.boundary ? readClosing(reader) : undefined
  reader.end()
  if (closing === undefined) return { block, certificate }
  if (certificate === undefined) throw new Malformed('a boundary without a certificate')
  return { block, certificate, closing }
}

export function encodeClosing(closing: readonly Block[]): Uint8Array {
  return Buffer.concat([u32(closing.length), ...closing.map((block) => sized(encodeBlock(block)))])
}

/** @throws {Malformed} When there are too many, or one is larger than a block without transactions. */
export function readClosing(reader: Reader): readonly Block[] {
  const count = reader.u32()
  if (count > CLOSING_MAX) throw new Malformed(`${count} closing blocks`)
  return Array.from({ length: count }, () => parseBlock(reader.sized(CLOSING_BYTES_MAX)))
}

/** Its bytes are copied: a block outlives the buffer that it came in. */
export function parseBlock(bytes: Uint8Array): Block {
  return decodeBlock(new Uint8Array(bytes), sha256)
}

/** @throws {Malformed} When a block is not the child of the one before it. */
export function checkLinks(records: readonly BlockRecord[]): void {
  for (const [i, { block }] of records.entries()) {
    const parent = records[i - 1]?.block
    if (parent !== undefined && (block.parent !== parent.digest || block.height !== parent.height + 1)) {
      throw new Malformed(`block ${block.height} does not follow the one before it`)
    }
  }
}

/**
 * Is the record's certificate about its block, or about the last of closing blocks that follow it, and of the kind that makes
 * it final? Signatures are another matter.
 */
export function proves({ block, certificate, closing = [] }: BlockRecord): boolean {
  if (certificate?.kind !== 'finalize') return false
  let last = block
  for (const next of closing) {
    if (next.parent !== last.digest || next.height !== last.height + 1 || next.round <= last.round || !isEmpty(next)) return false
    last = next
  }
  return certificate.digest === last.digest && certificate.round === last.round
}

function isEmpty({ payload }: Block): boolean {
  try {
    const { txs, next } = parsePayload(payload)
    return txs.length === 0 && next === undefined
  } catch {
    return false
  }
}

/**
 * The validators after a boundary.
 *
 * @throws {Malformed} When the record is passed off as a boundary, or as none.
 */
export function nextOf({ block, closing }: BlockRecord): readonly Validator[] | undefined {
  const { next }: Pick<Payload, 'next'> = parsePayload(block.payload)
  if (next !== undefined && closing === undefined)
    throw new Malformed(`block ${block.height} ends an epoch, and is passed off as an ordinary one`)
  if (next === undefined && closing !== undefined)
    throw new Malformed(`block ${block.height} is passed off as the end of an epoch`)
  return next
}
