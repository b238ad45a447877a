/**
 * A collectively held key: what everybody knows of it, and one party's share.
 *
 * The public half is the commitment to the polynomial F that the shares lie on (Feldman, "A Practical Scheme for Non-interactive
 * Verifiable Secret Sharing", 1987): F(0) is the secret key, and a party's verification share is computed from it, so that no
 * encoding can hold verification shares that contradict the key.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import { fail } from './errors.ts'
import { ELEMENT_BYTES, type Element, type Group, groupNamed, type SuiteName } from './group.ts'
import { sha256 } from './hash.ts'
import { assertIdentifiers, evaluate, powersOf } from './scalar.ts'
import { Secret } from './secret.ts'
import { assertParty, assertPurpose, CONTEXT_BYTES, PARTIES_MAX, type Party, Reader, sameBytes, Writer } from './wire.ts'

/** A party's name and its identifier, the place at which its share is the polynomial's value. */
export interface Member {
  readonly party: Party
  readonly index: number
}

/** A threshold of 1 would hand everybody the whole key. */
export const THRESHOLD_MIN = 2

export function assertMembers(members: readonly Member[], threshold: number): void {
  if (members.length < THRESHOLD_MIN || members.length > PARTIES_MAX)
    fail('THRESHOLD_CONFIG', `${members.length} parties, from ${THRESHOLD_MIN} to ${PARTIES_MAX} expected`)
  if (!Number.isInteger(threshold) || threshold < THRESHOLD_MIN || threshold > members.length)
    fail('THRESHOLD_CONFIG', `a threshold of ${threshold}, from ${THRESHOLD_MIN} to ${members.length} expected`)
  assertIdentifiers(members.map(({ index }) => index))
  const names = new Set<Party>()
  for (const { party } of members) {
    assertParty(party)
    if (names.has(party)) fail('THRESHOLD_CONFIG', `party ${party} is there twice`)
    names.add(party)
  }
  if (members.some(({ index }, i) => i > 0 && index < (members[i - 1] as Member).index))
    fail('THRESHOLD_CONFIG', 'parties stand in the order of their identifiers')
}

export interface PublicKeyParts {
  readonly suite: SuiteName
  /** What the key is for, as the ceremony said. */
  readonly purpose: string
  /** 0 from key generation, one more with every resharing. */
  readonly epoch: number
  readonly threshold: number
  readonly members: readonly Member[]
  /** To the coefficients of F, that of x^0 first; as many as the threshold. */
  readonly commitments: readonly Element[]
}

export class PublicKey implements PublicKeyParts {
  readonly suite: SuiteName
  readonly purpose: string
  readonly epoch: number
  readonly threshold: number
  readonly members: readonly Member[]
  readonly commitments: readonly Element[]
  /** The key itself: for `ed25519`, what any verifier of RFC 8032 takes. 32 bytes. */
  readonly groupKey: Uint8Array
  /** SHA-256 of the encoding: of this key in this epoch. Messages of one epoch carry it, so those of another do not fit. */
  readonly id: Uint8Array
  readonly #encoded: Uint8Array
  readonly #verificationShares = new Map<number, Element>()

  /** @throws {ThresholdError} */
  constructor(parts: PublicKeyParts) {
    assertMembers(parts.members, parts.threshold)
    assertPurpose(parts.purpose)
    if (parts.commitments.length !== parts.threshold)
      fail('THRESHOLD_CONFIG', `${parts.commitments.length} commitments, ${parts.threshold} expected`)
    this.suite = parts.suite
    this.purpose = parts.purpose
    this.epoch = parts.epoch
    this.threshold = parts.threshold
    this.members = parts.members.map(({ party, index }) => ({ party, index }))
    this.commitments = [...parts.commitments]
    this.groupKey = this.group.encode(this.element)
    this.#encoded = this.#encode()
    this.id = sha256(this.#encoded)
  }

  get group(): Group {
    return groupNamed(this.suite)
  }

  get element(): Element {
    return this.commitments[0] as Element
  }

  /** For maps and logs. */
  get name(): string {
    return bytesToHex(this.id)
  }

  /** The share's public counterpart F(index)G. @throws {ThresholdError} THRESHOLD_IDENTIFIER for one who is no member. */
  verificationShare(index: number): Element {
    const known = this.#verificationShares.get(index)
    if (known !== undefined) return known
    if (!this.members.some((member) => member.index === index))
      fail('THRESHOLD_IDENTIFIER', `identifier ${index} belongs to no party of this key`)
    const share = this.group.combine(this.commitments, powersOf(index, this.threshold))
    this.#verificationShares.set(index, share)
    return share
  }

  indexOf(party: Party): number | undefined {
    return this.members.find((member) => member.party === party)?.index
  }

  partyOf(index: number): Party | undefined {
    return this.members.find((member) => member.index === index)?.party
  }

  #encode(): Uint8Array {
    const writer = new Writer('publicKey', new Uint8Array(CONTEXT_BYTES))
    writer.suite(this.suite).purpose(this.purpose).u32(this.epoch).u8(this.members.length)
    for (const { party, index } of this.members) writer.party(party).index(index)
    writer.u8(this.threshold)
    for (const commitment of this.commitments) writer.element(this.group, commitment)
    return writer.done()
  }

  encode(): Uint8Array {
    return this.#encoded.slice()
  }

  /**
   * @param order Unchecked only for what this program encoded itself: elements are then not looked at for their order, which is nearly all
   * that decoding costs.
   * @throws {ThresholdError}
   */
  static decode(bytes: Uint8Array, order: 'checked' | 'unchecked' = 'checked'): PublicKey {
    const reader = new Reader('publicKey', bytes)
    if (reader.context.some((byte) => byte !== 0)) fail('THRESHOLD_VALUE', 'a public key has no context')
    const suite = reader.suite()
    const group = groupNamed(suite)
    const purpose = reader.purpose()
    const epoch = reader.u32()
    const members = Array.from({ length: reader.count(THRESHOLD_MIN, PARTIES_MAX) }, () => ({
      party: reader.party(),
      index: reader.index(),
    }))
    const threshold = reader.count(THRESHOLD_MIN, members.length)
    const decode = order === 'checked' ? group.decode : group.decodeOfAnyOrder
    const commitments = Array.from({ length: threshold }, () => decode(reader.fixed(ELEMENT_BYTES)))
    reader.end()
    return new PublicKey({ suite, purpose, epoch, threshold, members, commitments })
  }
}

/** One party's share of a key, in one epoch. */
export class KeyShare {
  readonly publicKey: PublicKey
  readonly index: number
  readonly secret: Secret

  /** @throws {ThresholdError} THRESHOLD_SHARE when the secret is not the polynomial's value at `index`. */
  constructor(publicKey: PublicKey, index: number, secret: Secret) {
    const expected = publicKey.verificationShare(index)
    if (!publicKey.group.equals(publicKey.group.multiplyBase(secret.reveal()), expected))
      fail('THRESHOLD_SHARE', 'this is not the share of this key')
    this.publicKey = publicKey
    this.index = index
    this.secret = secret
  }

  /** With the secret in it, in the clear: to be sealed before it is stored, and wiped after. */
  encodeSecret(): Uint8Array {
    const publicKey = this.publicKey.encode()
    const secret = this.secret.revealBytes()
    const out = new Writer('keyShare', this.publicKey.id).bytes(publicKey, 16_384).index(this.index).fixed(secret).done()
    secret.fill(0)
    return out
  }

  /** @throws {ThresholdError} */
  static decode(bytes: Uint8Array): KeyShare {
    const reader = new Reader('keyShare', bytes)
    const publicKey = PublicKey.decode(reader.bytes(16_384))
    if (!sameBytes(reader.context, publicKey.id)) fail('THRESHOLD_CONTEXT', 'a share of another key')
    const index = reader.index()
    const secret = reader.fixed(32)
    reader.end()
    const share = new KeyShare(publicKey, index, Secret.fromBytes(secret))
    secret.fill(0)
    return share
  }

  toJSON(): { readonly key: string; readonly index: number; readonly secret: string } {
    return { key: this.publicKey.name, index: this.index, secret: '[secret]' }
  }
}

/** Shares by a trusted dealer (RFC 9591 appendix C.1): for tests and for keys that exist already, since the dealer sees it all. */
export function dealTrusted(parts: Omit<PublicKeyParts, 'commitments'>, coefficients: readonly bigint[]): readonly KeyShare[] {
  const group = groupNamed(parts.suite)
  const commitments = coefficients.map((coefficient) => group.multiplyBase(coefficient))
  const publicKey = new PublicKey({ ...parts, commitments })
  return publicKey.members.map(({ index }) => new KeyShare(publicKey, index, Secret.fromScalar(evaluate(coefficients, index))))
}
