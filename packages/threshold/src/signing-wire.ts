/**
 * What signers and a coordinator say to each other.
 *
 *     commitments    = opening(key) index(2) first(4) count(1) (hiding binding)*
 *     request        = opening(key) length(4) message count(1) (index(2) number(4) hiding binding)*
 *     signatureShare = opening(key) request(32) index(2) share(32)
 *
 * `hiding` and `binding` are elements, 32 bytes each.
 * `number` counts a signer's pairs of nonces within an epoch; a share names the SHA-256 of its request.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import { fail } from './errors.ts'
import {
  decodeCommitment,
  type EncodedCommitment,
  type NonceCommitment,
  type SignerCommitment,
  type SigningContext,
} from './frost.ts'
import { ELEMENT_BYTES } from './group.ts'
import { sha256 } from './hash.ts'
import type { PublicKey } from './key.ts'
import type { Scalar } from './scalar.ts'
import { PARTIES_MAX, Reader, sameBytes, Writer } from './wire.ts'

/** Of one message to sign: certificates and tokens are far below. */
export const SIGNED_BYTES_MAX = 65_536
/** Pairs in one message of commitments. */
export const BATCH_MAX = 128
const NUMBER_MAX = 2 ** 32 - 1
/** Of signatures under way. */
const CONTEXTS_MAX = 256

export interface CommitmentBatch {
  readonly index: number
  /** Number of the first pair; the others follow it. */
  readonly first: number
  readonly commitments: readonly NonceCommitment[]
}

export interface SigningRequest {
  readonly message: Uint8Array
  readonly commitments: readonly (SignerCommitment & { readonly number: number })[]
}

export interface SignatureShare {
  /** SHA-256 of the request. */
  readonly request: Uint8Array
  readonly index: number
  readonly share: Scalar
}

/**
 * Checked elements by their bytes. Whether an element is in the subgroup of prime order costs a whole multiplication; what came
 * ahead of time is checked ahead of time, so that signing does not wait for it. Bounded: the oldest go first.
 *
 * With `order` unchecked, elements may lie outside the subgroup, which RFC 9591 section 6.1 forbids and signers and coordinators can do
 * without. Others' elements reach a signature share only through two hashes (binding factors, challenge), and whoever chooses them
 * chooses those hashes' inputs anyway; nothing of low order is ever multiplied by a secret. An honest share verifies whatever others
 * committed to, since all its verification adds up is the signer's own; that of who committed to such elements does not, and names it. Or
 * low orders cancel out, and the signature is a good one of the message that all agreed to sign.
 */
export class CommitmentMemo {
  readonly #known = new Map<string, NonceCommitment>()
  readonly #contexts = new Map<string, SigningContext>()
  readonly #entriesMax: number
  readonly #order: 'checked' | 'unchecked'

  constructor(entriesMax = 4_096, order: 'checked' | 'unchecked' = 'checked') {
    this.#entriesMax = entriesMax
    this.#order = order
  }

  decode(encoded: EncodedCommitment): NonceCommitment {
    const name = nameOf(encoded)
    const known = this.#known.get(name)
    if (known !== undefined) return known
    return this.#keep(name, decodeCommitment(encoded, this.#order))
  }

  /** One that was made here, which needs no check. */
  add(commitment: NonceCommitment): void {
    this.#keep(nameOf(commitment), commitment)
  }

  #keep(name: string, commitment: NonceCommitment): NonceCommitment {
    if (this.#known.size >= this.#entriesMax) this.#known.delete(this.#known.keys().next().value as string)
    this.#known.set(name, commitment)
    return commitment
  }

  /**
   * What the shares of one request have in common, made once for signer and coordinator of one process. `request` is its digest, which binds
   * key, message and list.
   */
  contextOf(request: string, make: () => SigningContext): SigningContext {
    let context = this.#contexts.get(request)
    if (context === undefined) {
      context = make()
      if (this.#contexts.size >= CONTEXTS_MAX) this.#contexts.delete(this.#contexts.keys().next().value as string)
      this.#contexts.set(request, context)
    }
    return context
  }

  get size(): number {
    return this.#known.size
  }
}

function nameOf({ hidingBytes, bindingBytes }: EncodedCommitment): string {
  return bytesToHex(hidingBytes) + bytesToHex(bindingBytes)
}

function writeCommitment(writer: Writer, { hidingBytes, bindingBytes }: EncodedCommitment): void {
  writer.fixed(hidingBytes).fixed(bindingBytes)
}

function readCommitment(reader: Reader): EncodedCommitment {
  return { hidingBytes: reader.fixed(ELEMENT_BYTES), bindingBytes: reader.fixed(ELEMENT_BYTES) }
}

export function digestOf(request: Uint8Array): Uint8Array {
  return sha256(request)
}

function assertKey(reader: Reader, publicKey: PublicKey): void {
  if (!sameBytes(reader.context, publicKey.id)) fail('THRESHOLD_CONTEXT', 'a message of another key, or of another epoch')
}

export function encodeCommitments(publicKey: PublicKey, { index, first, commitments }: CommitmentBatch): Uint8Array {
  const writer = new Writer('commitments', publicKey.id).index(index).u32(first).u8(commitments.length)
  for (const commitment of commitments) writeCommitment(writer, commitment)
  return writer.done()
}

/** @throws {ThresholdError} */
export function decodeCommitments(publicKey: PublicKey, from: number, body: Uint8Array, memo: CommitmentMemo): CommitmentBatch {
  const reader = new Reader('commitments', body)
  assertKey(reader, publicKey)
  const index = reader.index()
  if (index !== from) fail('THRESHOLD_IDENTIFIER', `commitments in the name of ${index}, by ${from}`)
  const first = reader.u32()
  const count = reader.count(1, BATCH_MAX)
  if (first + count - 1 > NUMBER_MAX) fail('THRESHOLD_LIMIT', 'numbers beyond 2^32')
  const encoded = Array.from({ length: count }, () => readCommitment(reader))
  reader.end()
  return { index, first, commitments: encoded.map((commitment) => memo.decode(commitment)) }
}

/**
 * A batch as batches of one pair each, in its order. The form only: its elements are not looked at, so that whoever checks many can do so
 * one at a time.
 *
 * @throws {ThresholdError}
 */
export function splitCommitments(publicKey: PublicKey, body: Uint8Array): readonly Uint8Array[] {
  const reader = new Reader('commitments', body)
  assertKey(reader, publicKey)
  const index = reader.index()
  const first = reader.u32()
  const count = reader.count(1, BATCH_MAX)
  if (first + count - 1 > NUMBER_MAX) fail('THRESHOLD_LIMIT', 'numbers beyond 2^32')
  const pairs = Array.from({ length: count }, () => reader.fixed(2 * ELEMENT_BYTES))
  reader.end()
  return pairs.map((pair, i) =>
    new Writer('commitments', publicKey.id)
      .index(index)
      .u32(first + i)
      .u8(1)
      .fixed(pair)
      .done(),
  )
}

/** What a request asks to have signed; nothing else in it is looked at. @throws {ThresholdError} */
export function requestedMessage(publicKey: PublicKey, body: Uint8Array): Uint8Array {
  const reader = new Reader('request', body)
  assertKey(reader, publicKey)
  return reader.bytes(SIGNED_BYTES_MAX)
}

export function encodeRequest(publicKey: PublicKey, { message, commitments }: SigningRequest): Uint8Array {
  const writer = new Writer('request', publicKey.id).bytes(message, SIGNED_BYTES_MAX).u8(commitments.length)
  for (const commitment of commitments) {
    writer.index(commitment.index).u32(commitment.number)
    writeCommitment(writer, commitment)
  }
  return writer.done()
}

/** The form and the elements; `signingContext` checks the list. @throws {ThresholdError} */
export function decodeRequest(publicKey: PublicKey, body: Uint8Array, memo: CommitmentMemo): SigningRequest {
  const reader = new Reader('request', body)
  assertKey(reader, publicKey)
  const message = reader.bytes(SIGNED_BYTES_MAX)
  const entries = Array.from({ length: reader.count(1, PARTIES_MAX) }, () => ({
    index: reader.index(),
    number: reader.u32(),
    encoded: readCommitment(reader),
  }))
  reader.end()
  const commitments = entries.map(({ index, number, encoded }) => ({ index, number, ...memo.decode(encoded) }))
  return { message, commitments }
}

export function encodeSignatureShare(publicKey: PublicKey, { request, index, share }: SignatureShare): Uint8Array {
  return new Writer('signatureShare', publicKey.id).fixed(request).index(index).scalar(share).done()
}

/** @throws {ThresholdError} */
export function decodeSignatureShare(publicKey: PublicKey, from: number, body: Uint8Array): SignatureShare {
  const reader = new Reader('signatureShare', body)
  assertKey(reader, publicKey)
  const request = reader.fixed(32)
  const index = reader.index()
  if (index !== from) fail('THRESHOLD_IDENTIFIER', `a share in the name of ${index}, by ${from}`)
  const share = reader.scalar()
  reader.end()
  return { request, index, share }
}
