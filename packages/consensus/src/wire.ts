/**
 * The binary form of what validators exchange and keep. Canonical: each value has one encoding, and bytes left over are
 * an error. Integers are big-endian; rounds, heights and times have 8 bytes and stay within 2^53.
 *
 *     block       = round(8) height(8) parent(32) proposer(2) timestampMs(8) length(4) payload
 *     vote        = kind(1) round(8) [digest(32)] signer(2) length(1) signature
 *     certificate = kind(1) round(8) [digest(32)] count(2) (signer(2) length(1) signature)*
 *     proposal    = block flag(1) [certificate] count(2) certificate* length(1) signature
 *     message     = tag(1) proposal | vote | certificate        (a journal record is the same)
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { WireError } from './errors.ts'
import type { Block, Certificate, Digest, JournalRecord, Message, Proposal, Vote, VoteKind } from './types.ts'

export const PAYLOAD_BYTES_MAX: number = 4 * 1_024 * 1_024
const SIGNERS_MAX = 1_024
export const NULLIFICATIONS_MAX = 1_024
const SIGNATURE_BYTES_MAX = 255
const DIGEST_BYTES = 32

const KINDS: readonly VoteKind[] = ['notarize', 'nullify', 'finalize']
const TAGS = { proposal: 1, vote: 2, certificate: 3 } as const

class Writer {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  #reserve(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }

  u8(value: number): void {
    const at = this.#reserve(1)
    this.#view.setUint8(at, value)
  }

  u16(value: number): void {
    const at = this.#reserve(2)
    this.#view.setUint16(at, value)
  }

  u32(value: number): void {
    const at = this.#reserve(4)
    this.#view.setUint32(at, value)
  }

  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new WireError('WIRE_VALUE', `${value} is no whole number below 2^53`)
    const at = this.#reserve(8)
    this.#view.setUint32(at, Math.floor(value / 2 ** 32))
    this.#view.setUint32(at + 4, value >>> 0)
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length)
    this.#bytes.set(value, at)
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

/** Lower-case hex of SHA-256. The platform's own is many times faster than the portable one on large blocks. */
export type Hash = (bytes: Uint8Array) => string

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly hash: Hash
  #at = 0

  constructor(bytes: Uint8Array, hash: Hash) {
    this.#bytes = bytes
    this.hash = hash
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  #take(count: number): number {
    const at = this.#at
    if (at + count > this.#bytes.length)
      throw new WireError('WIRE_TRUNCATED', `${at + count} bytes expected, ${this.#bytes.length} there`)
    this.#at += count
    return at
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  u64(): number {
    const at = this.#take(8)
    const value = this.#view.getUint32(at) * 2 ** 32 + this.#view.getUint32(at + 4)
    if (value > Number.MAX_SAFE_INTEGER) throw new WireError('WIRE_VALUE', `${value} is beyond 2^53`)
    return value
  }

  bytes(count: number): Uint8Array {
    const at = this.#take(count)
    return this.#bytes.slice(at, at + count)
  }

  get at(): number {
    return this.#at
  }

  /** The bytes from `at` up to here. */
  since(at: number): Uint8Array {
    return this.#bytes.subarray(at, this.#at)
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new WireError('WIRE_TRAILING', `${this.#bytes.length - this.#at} bytes left over`)
  }
}

const portableHash: Hash = (bytes) => bytesToHex(sha256(bytes))

function decodeWhole<T>(bytes: Uint8Array, read: (reader: Reader) => T, hash: Hash = portableHash): T {
  const reader = new Reader(bytes, hash)
  const value = read(reader)
  reader.end()
  return value
}

function encodeWith(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer()
  write(writer)
  return writer.done()
}

// Blocks

function writeBlock(writer: Writer, block: Omit<Block, 'digest'>): void {
  if (block.payload.length > PAYLOAD_BYTES_MAX) {
    throw new WireError('WIRE_LIMIT', `a payload has at most ${PAYLOAD_BYTES_MAX} bytes, not ${block.payload.length}`)
  }
  writer.u64(block.round)
  writer.u64(block.height)
  writer.bytes(hexToBytes(block.parent))
  writer.u16(block.proposer)
  writer.u64(block.timestampMs)
  writer.u32(block.payload.length)
  writer.bytes(block.payload)
}

const BLOCK_DOMAIN = utf8ToBytes('RINGWALL_BLOCK_V1\n')

function digestOf(encoded: Uint8Array, hash: Hash = portableHash): Digest {
  const named = new Uint8Array(BLOCK_DOMAIN.length + encoded.length)
  named.set(BLOCK_DOMAIN)
  named.set(encoded, BLOCK_DOMAIN.length)
  return hash(named) as Digest
}

/** What a block says first. */
function readBlockHead(reader: Reader): Pick<Block, 'round' | 'height' | 'parent' | 'proposer'> {
  const round = reader.u64()
  const height = reader.u64()
  const parent = bytesToHex(reader.bytes(DIGEST_BYTES)) as Digest
  return { round, height, parent, proposer: reader.u16() }
}

function readBlock(reader: Reader): Block {
  const start = reader.at
  const head = readBlockHead(reader)
  const timestampMs = reader.u64()
  const length = reader.u32()
  if (length > PAYLOAD_BYTES_MAX) throw new WireError('WIRE_LIMIT', `a payload of ${length} bytes`)
  const payload = reader.bytes(length)
  return { ...head, timestampMs, payload, digest: digestOf(reader.since(start), reader.hash) }
}

/** A block with its digest: SHA-256 over `RINGWALL_BLOCK_V1\n` and the encoding. */
export function makeBlock(parts: Omit<Block, 'digest'>, hash?: Hash): Block {
  return { ...parts, digest: blockDigest(parts, hash) }
}

export function blockDigest(parts: Omit<Block, 'digest'>, hash?: Hash): Digest {
  return digestOf(encodeBlock(parts), hash)
}

export function encodeBlock(block: Omit<Block, 'digest'>): Uint8Array {
  return encodeWith((writer) => writeBlock(writer, block))
}

/** The digest is computed, never read. @throws {WireError} */
export function decodeBlock(bytes: Uint8Array, hash?: Hash): Block {
  return decodeWhole(bytes, readBlock, hash)
}

/** Round and height 0; its parent is the hash of the ring's name, so that no two rings share a block. */
export function genesisBlock(ring: string): Block {
  const parent = bytesToHex(sha256(utf8ToBytes(`RINGWALL_GENESIS_V1\n${ring}`))) as Digest
  return makeBlock({ round: 0, height: 0, parent, proposer: 0, timestampMs: 0, payload: new Uint8Array(0) })
}

// Votes and certificates

function writeSubject(writer: Writer, kind: VoteKind, round: number, digest: Digest | undefined): void {
  writer.u8(KINDS.indexOf(kind))
  writer.u64(round)
  if (digest !== undefined) writer.bytes(hexToBytes(digest))
}

function readSubject(reader: Reader): { readonly kind: VoteKind; readonly round: number; readonly digest: Digest | undefined } {
  const kind = KINDS[reader.u8()]
  if (kind === undefined) throw new WireError('WIRE_VALUE', 'no such kind of vote')
  const round = reader.u64()
  const digest = kind === 'nullify' ? undefined : (bytesToHex(reader.bytes(DIGEST_BYTES)) as Digest)
  return { kind, round, digest }
}

function writeSignature(writer: Writer, signature: Uint8Array): void {
  if (signature.length > SIGNATURE_BYTES_MAX) throw new WireError('WIRE_LIMIT', `a signature of ${signature.length} bytes`)
  writer.u8(signature.length)
  writer.bytes(signature)
}

function readSignature(reader: Reader): Uint8Array {
  return reader.bytes(reader.u8())
}

function writeVote(writer: Writer, { kind, round, digest, signer, signature }: Vote): void {
  writeSubject(writer, kind, round, digest)
  writer.u16(signer)
  writeSignature(writer, signature)
}

function readVote(reader: Reader): Vote {
  return { ...readSubject(reader), signer: reader.u16(), signature: readSignature(reader) }
}

function writeCertificate(writer: Writer, { kind, round, digest, signatures }: Certificate): void {
  writeSubject(writer, kind, round, digest)
  writer.u16(signatures.length)
  for (const { signer, signature } of signatures) {
    writer.u16(signer)
    writeSignature(writer, signature)
  }
}

function readCertificate(reader: Reader): Certificate {
  const subject = readSubject(reader)
  const count = reader.u16()
  if (count > SIGNERS_MAX) throw new WireError('WIRE_LIMIT', `a certificate with ${count} signatures`)
  const signatures: { signer: number; signature: Uint8Array }[] = []
  let before = -1
  for (let i = 0; i < count; i += 1) {
    const signer = reader.u16()
    if (signer <= before) throw new WireError('WIRE_VALUE', 'signers are not strictly ascending')
    before = signer
    signatures.push({ signer, signature: readSignature(reader) })
  }
  return { ...subject, signatures }
}

export function encodeCertificate(certificate: Certificate): Uint8Array {
  return encodeWith((writer) => writeCertificate(writer, certificate))
}

/** @throws {WireError} */
export function decodeCertificate(bytes: Uint8Array): Certificate {
  return decodeWhole(bytes, readCertificate)
}

// Proposals, messages, journal records

function writeProposal(writer: Writer, { block, parentCertificate, nullifications, signature }: Proposal): void {
  writeBlock(writer, block)
  writer.u8(parentCertificate === undefined ? 0 : 1)
  if (parentCertificate !== undefined) writeCertificate(writer, parentCertificate)
  if (nullifications.length > NULLIFICATIONS_MAX) throw new WireError('WIRE_LIMIT', `${nullifications.length} nullifications`)
  writer.u16(nullifications.length)
  for (const certificate of nullifications) writeCertificate(writer, certificate)
  writeSignature(writer, signature)
}

function readProposal(reader: Reader): Proposal {
  const block = readBlock(reader)
  const flag = reader.u8()
  if (flag > 1) throw new WireError('WIRE_VALUE', 'a flag is 0 or 1')
  const parentCertificate = flag === 1 ? readCertificate(reader) : undefined
  const count = reader.u16()
  if (count > NULLIFICATIONS_MAX) throw new WireError('WIRE_LIMIT', `${count} nullifications`)
  const nullifications = Array.from({ length: count }, () => readCertificate(reader))
  return { block, parentCertificate, nullifications, signature: readSignature(reader) }
}

function writeMessage(writer: Writer, message: Message | JournalRecord): void {
  writer.u8(TAGS[message.kind])
  if (message.kind === 'proposal') writeProposal(writer, message.proposal)
  else if (message.kind === 'vote') writeVote(writer, message.vote)
  else writeCertificate(writer, message.certificate)
}

function readMessage(reader: Reader): Message {
  const tag = reader.u8()
  if (tag === TAGS.proposal) return { kind: 'proposal', proposal: readProposal(reader) }
  if (tag === TAGS.vote) return { kind: 'vote', vote: readVote(reader) }
  if (tag === TAGS.certificate) return { kind: 'certificate', certificate: readCertificate(reader) }
  throw new WireError('WIRE_VALUE', `no message has tag ${tag}`)
}

export function encodeMessage(message: Message): Uint8Array {
  return encodeWith((writer) => writeMessage(writer, message))
}

/** @throws {WireError} */
export function decodeMessage(bytes: Uint8Array, hash?: Hash): Message {
  return decodeWhole(bytes, readMessage, hash)
}

/** What a proposal says first. */
export interface ProposalHead {
  readonly round: number
  readonly proposer: number
}

/** The head of a message that is a proposal, without decoding the block; undefined when it is another message, or none. */
export function proposalHead(bytes: Uint8Array): ProposalHead | undefined {
  if (bytes[0] !== TAGS.proposal) return undefined
  try {
    const { round, proposer } = readBlockHead(new Reader(bytes.subarray(1), portableHash))
    return { round, proposer }
  } catch {
    return undefined
  }
}

export function encodeJournalRecord(record: JournalRecord): Uint8Array {
  return encodeWith((writer) => writeMessage(writer, record))
}

/** @throws {WireError} */
export function decodeJournalRecord(bytes: Uint8Array): JournalRecord {
  return decodeWhole(bytes, readMessage)
}
