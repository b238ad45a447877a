/**
 * A final block as it lies in `blocks.log` and travels to a node that catches up.
 *
 *     record = format (1 byte, 1) block (sized) certificate (sized, empty when a descendant's certifies the block)
 */
import { type Block, type Certificate, decodeBlock, decodeCertificate, encodeBlock, encodeCertificate } from '@ringwall/consensus'
import { Malformed, Reader, sized, u8 } from './bytes.ts'
import { PAYLOAD_BYTES_MAX } from './payload.ts'

export interface BlockRecord {
  readonly block: Block
  readonly certificate: Certificate | undefined
}

const FORMAT = 1
export const BLOCK_BYTES_MAX: number = PAYLOAD_BYTES_MAX + 1024
export const CERTIFICATE_BYTES_MAX: number = 64 * 1024

export function encodeBlockRecord({ block, certificate }: BlockRecord): Uint8Array {
  const proof = certificate === undefined ? new Uint8Array(0) : encodeCertificate(certificate)
  return Buffer.concat([u8(FORMAT), sized(encodeBlock(block)), sized(proof)])
}

/** The digest is recomputed from the bytes. @throws {Error} When they are not a block record. */
export function parseBlockRecord(bytes: Uint8Array): BlockRecord {
  const reader = new Reader(bytes)
  const format = reader.u8()
  if (format !== FORMAT) throw new Malformed(`block record format ${format}`)
  const block = parseBlock(reader.sized(BLOCK_BYTES_MAX))
  const proof = reader.sized(CERTIFICATE_BYTES_MAX)
  reader.end()
  return { block, certificate: proof.length === 0 ? undefined : decodeCertificate(Uint8Array.from(proof)) }
}

/** Its bytes are copied: a block outlives the buffer that it came in. */
export function parseBlock(bytes: Uint8Array): Block {
  return decodeBlock(Uint8Array.from(bytes))
}

/** Is `certificate` about `block`, and of the kind that makes it final? Signatures are another matter. */
export function proves(certificate: Certificate, block: Block | undefined): boolean {
  return (
    certificate.kind === 'finalize' &&
    block !== undefined &&
    certificate.digest === block.digest &&
    certificate.round === block.round
  )
}
