/**
 * The binary form of what parties exchange and keep. Canonical: each value has one encoding, bytes left over are an error,
 * every length has a bound. Integers are big-endian.
 *
 * Every message opens with `RWT1`, its type and 32 bytes of context: the ceremony, the key, or the request it is for. A message
 * whose opening is right is owned by whoever attested it, well-formed or not; one of another context is nobody's fault, since
 * anybody can send a true message on to where it does not belong.
 */
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { fail } from './errors.ts'
import { ELEMENT_BYTES, type Element, type Group, type SuiteName } from './group.ts'
import { assertIdentifier, decodeScalar, encodeScalar, type Scalar } from './scalar.ts'

/** A form that changes gets another number, so that whoever knows one form only takes the other for nobody's fault. 3 and 4 are taken. */
export const MESSAGE_TYPES = {
  dealing: 1,
  answer: 2,
  commitments: 13,
  request: 14,
  signatureShare: 5,
  capsule: 6,
  partial: 7,
  publicKey: 8,
  keyShare: 9,
  ceremony: 10,
  state: 11,
  accusation: 12,
} as const
export type MessageType = keyof typeof MESSAGE_TYPES

export const CONTEXT_BYTES = 32
/** Of one message on the board or between parties. */
export const MESSAGE_BYTES_MAX = 131_072
export const PARTIES_MAX = 64
export const PURPOSE_BYTES_MAX = 128

const MAGIC = utf8ToBytes('RWT1')
const HEADER_BYTES = MAGIC.length + 1 + CONTEXT_BYTES
/** Room to begin with: enough for most messages. */
const WRITER_BYTES = 512
const NAME = /^[\x21-\x7e]{1,64}$/
const PURPOSE = /^[\x20-\x7e]{1,128}$/
const SUITES: readonly SuiteName[] = ['ed25519', 'ristretto255']

/** Who takes part, by the caller's names: 1 to 64 printable ASCII characters without spaces. */
export type Party = string

export function assertParty(party: Party): void {
  if (!NAME.test(party)) fail('THRESHOLD_CONFIG', 'a party is named by 1 to 64 printable ASCII characters without spaces')
}

export function assertPurpose(purpose: string): void {
  if (!PURPOSE.test(purpose)) fail('THRESHOLD_CONFIG', `a purpose has 1 to ${PURPOSE_BYTES_MAX} printable ASCII characters`)
}

export class Writer {
  /** Grows by doubling; what is beyond `#at` is nothing yet. */
  #bytes = new Uint8Array(WRITER_BYTES)
  #at = 0

  constructor(type: MessageType, context: Uint8Array) {
    if (context.length !== CONTEXT_BYTES) fail('THRESHOLD_VALUE', `a context has ${CONTEXT_BYTES} bytes`)
    this.fixed(MAGIC).u8(MESSAGE_TYPES[type]).fixed(context)
  }

  /** Room for so many more bytes. Returns where they begin. */
  #take(count: number): number {
    const at = this.#at
    this.#at += count
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length))
      larger.set(this.#bytes)
      // What is written may be a secret.
      this.#bytes.fill(0)
      this.#bytes = larger
    }
    return at
  }

  u8(value: number): this {
    return this.#integer(value, 1)
  }

  u16(value: number): this {
    return this.#integer(value, 2)
  }

  u32(value: number): this {
    return this.#integer(value, 4)
  }

  #integer(value: number, bytes: number): this {
    if (!Number.isInteger(value) || value < 0 || value >= 256 ** bytes)
      fail('THRESHOLD_LIMIT', `${value} does not fit ${bytes} bytes`)
    const at = this.#take(bytes)
    let rest = value
    for (let i = bytes - 1; i >= 0; i -= 1) {
      this.#bytes[at + i] = rest % 256
      rest = Math.floor(rest / 256)
    }
    return this
  }

  index(value: number): this {
    assertIdentifier(value)
    return this.u16(value)
  }

  scalar(value: Scalar): this {
    return this.fixed(encodeScalar(value))
  }

  element(group: Group, value: Element): this {
    return this.fixed(group.encode(value))
  }

  /** Of a length that the format fixes. */
  fixed(value: Uint8Array): this {
    const at = this.#take(value.length)
    this.#bytes.set(value, at)
    return this
  }

  /** With its length before it. */
  bytes(value: Uint8Array, most: number): this {
    if (value.length > most) fail('THRESHOLD_LIMIT', `${value.length} bytes, at most ${most} fit`)
    return this.u32(value.length).fixed(value)
  }

  party(value: Party): this {
    assertParty(value)
    return this.#text(value)
  }

  purpose(value: string): this {
    assertPurpose(value)
    return this.#text(value)
  }

  /** ASCII. */
  #text(value: string): this {
    this.u8(value.length)
    const at = this.#take(value.length)
    for (let i = 0; i < value.length; i += 1) this.#bytes[at + i] = value.charCodeAt(i)
    return this
  }

  suite(value: SuiteName): this {
    return this.u8(SUITES.indexOf(value))
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }
}

export class Reader {
  readonly #bytes: Uint8Array
  #at = HEADER_BYTES
  readonly context: Uint8Array

  /** Opens a message of one type. @throws {ThresholdError} THRESHOLD_LIMIT, THRESHOLD_CONTEXT when the opening is another's. */
  constructor(type: MessageType, bytes: Uint8Array, bytesMax: number = MESSAGE_BYTES_MAX) {
    if (bytes.length > bytesMax) fail('THRESHOLD_LIMIT', `${bytes.length} bytes, a ${type} has at most ${bytesMax}`)
    const opening = openingOf(bytes)
    if (opening === undefined) fail('THRESHOLD_CONTEXT', `not a ${type}: its opening is missing`)
    if (opening.type !== MESSAGE_TYPES[type]) fail('THRESHOLD_CONTEXT', `not a ${type}, but a message of type ${opening.type}`)
    // Node's Buffer has a `slice` that shares memory: what is read here must not change with the caller's.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.context = opening.context
  }

  #take(count: number): number {
    const at = this.#at
    if (at + count > this.#bytes.length) fail('THRESHOLD_TRUNCATED', `${at + count} bytes expected, ${this.#bytes.length} there`)
    this.#at += count
    return at
  }

  #integer(bytes: number): number {
    const at = this.#take(bytes)
    let value = 0
    for (let i = 0; i < bytes; i += 1) value = value * 256 + (this.#bytes[at + i] as number)
    return value
  }

  u8(): number {
    return this.#integer(1)
  }

  u16(): number {
    return this.#integer(2)
  }

  u32(): number {
    return this.#integer(4)
  }

  index(): number {
    const value = this.u16()
    assertIdentifier(value)
    return value
  }

  /** A count from `least` to `most`. */
  count(least: number, most: number): number {
    const value = this.u8()
    if (value < least || value > most) fail('THRESHOLD_LIMIT', `a count of ${value}, from ${least} to ${most} expected`)
    return value
  }

  scalar(): Scalar {
    return decodeScalar(this.fixed(32))
  }

  element(group: Group): Element {
    return group.decode(this.fixed(ELEMENT_BYTES))
  }

  fixed(count: number): Uint8Array {
    const at = this.#take(count)
    return this.#bytes.slice(at, at + count)
  }

  bytes(most: number): Uint8Array {
    const length = this.u32()
    if (length > most) fail('THRESHOLD_LIMIT', `${length} bytes, at most ${most} fit`)
    return this.fixed(length)
  }

  party(): Party {
    const party = this.#text()
    assertParty(party)
    return party
  }

  purpose(): string {
    const purpose = this.#text()
    assertPurpose(purpose)
    return purpose
  }

  #text(): string {
    return String.fromCharCode(...this.fixed(this.u8()))
  }

  suite(): SuiteName {
    const suite = SUITES[this.u8()]
    if (suite === undefined) fail('THRESHOLD_VALUE', 'no such group')
    return suite
  }

  get at(): number {
    return this.#at
  }

  /** The bytes from the first, opening included, up to here. */
  soFar(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }

  end(): void {
    if (this.#at !== this.#bytes.length) fail('THRESHOLD_TRAILING', `${this.#bytes.length - this.#at} bytes left over`)
  }
}

/** Type and context of a message, or undefined where there is no opening. */
export function openingOf(bytes: Uint8Array): { readonly type: number; readonly context: Uint8Array } | undefined {
  if (!hasOpening(bytes)) return undefined
  return { type: bytes[MAGIC.length] as number, context: bytes.slice(MAGIC.length + 1, HEADER_BYTES) }
}

function hasOpening(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER_BYTES && MAGIC.every((byte, i) => bytes[i] === byte)
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && holdsAt(a, 0, b)
}

function holdsAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  for (let i = 0; i < part.length; i += 1) if (bytes[at + i] !== part[i]) return false
  return true
}

/** Whether the message says that it is of this type and context. */
export function isFor(bytes: Uint8Array, type: MessageType, context: Uint8Array): boolean {
  if (!hasOpening(bytes) || bytes[MAGIC.length] !== MESSAGE_TYPES[type]) return false
  return context.length === CONTEXT_BYTES && holdsAt(bytes, MAGIC.length + 1, context)
}

/** A message with what the caller's channel attests it by: a signature, or a ledger's receipt. Opaque here. */
export interface Attested {
  readonly body: Uint8Array
  readonly attestation: Uint8Array
}

export const ATTESTATION_BYTES_MAX = 4_096
