/** What a ceremony is to make, agreed on before it begins. Its identifier binds every message of it. */
import { bytesToHex } from '@noble/hashes/utils.js'
import { fail } from './errors.ts'
import { type Element, ristretto, type SuiteName } from './group.ts'
import { sha256 } from './hash.ts'
import { assertMembers, type Member, PublicKey, THRESHOLD_MIN } from './key.ts'
import { hashToScalar } from './scalar.ts'
import { Secret } from './secret.ts'
import { assertPurpose, CONTEXT_BYTES, PARTIES_MAX, type Party, Reader, Writer } from './wire.ts'

/** Who gets a share, with the ristretto255 key that it is encrypted to. */
export interface Receiver extends Member {
  readonly encryptionKey: Element
}

export interface CeremonyParts {
  readonly suite: SuiteName
  /** What the key is for; the same through all its epochs. */
  readonly purpose: string
  /** Tells apart ceremonies that are otherwise alike: the second attempt is another one. */
  readonly attempt: number
  /** Of the key that is made. */
  readonly threshold: number
  /** In the order of their identifiers. In a key generation they are the dealers as well. */
  readonly receivers: readonly Receiver[]
  /** The key to reshare, whose parties are the dealers; undefined generates a new one. */
  readonly previous: PublicKey | undefined
}

export class Ceremony implements CeremonyParts {
  readonly suite: SuiteName
  readonly purpose: string
  readonly attempt: number
  readonly threshold: number
  readonly receivers: readonly Receiver[]
  readonly previous: PublicKey | undefined
  readonly dealers: readonly Member[]
  /** SHA-256 of the encoding. */
  readonly id: Uint8Array
  readonly #encoded: Uint8Array

  /** @throws {ThresholdError} */
  constructor(parts: CeremonyParts) {
    assertPurpose(parts.purpose)
    assertMembers(parts.receivers, parts.threshold)
    const keys = new Set(parts.receivers.map(({ encryptionKey }) => bytesToHex(ristretto.encode(encryptionKey))))
    if (keys.size !== parts.receivers.length) fail('THRESHOLD_CONFIG', 'two receivers have the same encryption key')
    const { previous } = parts
    if (previous !== undefined && (previous.suite !== parts.suite || previous.purpose !== parts.purpose))
      fail('THRESHOLD_CONFIG', 'a resharing keeps group and purpose of the key')
    this.suite = parts.suite
    this.purpose = parts.purpose
    this.attempt = parts.attempt
    this.threshold = parts.threshold
    this.receivers = parts.receivers.map(({ party, index, encryptionKey }) => ({ party, index, encryptionKey }))
    this.previous = previous
    this.dealers = (previous?.members ?? this.receivers).map(({ party, index }) => ({ party, index }))
    this.#encoded = this.#encode()
    this.id = sha256(this.#encoded)
  }

  get name(): string {
    return bytesToHex(this.id)
  }

  /**
   * How many good dealings make a key. More than the liars can be (one less than the threshold), so that one of them is honest; in a
   * resharing also enough to interpolate.
   */
  get dealingsNeeded(): number {
    return this.previous?.threshold ?? this.threshold
  }

  dealer(party: Party): Member | undefined {
    return this.dealers.find((dealer) => dealer.party === party)
  }

  receiver(party: Party): Receiver | undefined {
    return this.receivers.find((receiver) => receiver.party === party)
  }

  digest(body: Uint8Array): string {
    return bytesToHex(sha256(body))
  }

  #encode(): Uint8Array {
    const writer = new Writer('ceremony', new Uint8Array(CONTEXT_BYTES))
    writer.suite(this.suite).purpose(this.purpose).u32(this.attempt).u8(this.threshold).u8(this.receivers.length)
    for (const { party, index, encryptionKey } of this.receivers)
      writer.party(party).index(index).element(ristretto, encryptionKey)
    return writer.bytes(this.previous?.encode() ?? new Uint8Array(0), 16_384).done()
  }

  encode(): Uint8Array {
    return this.#encoded.slice()
  }

  /** @throws {ThresholdError} */
  static decode(bytes: Uint8Array): Ceremony {
    const reader = new Reader('ceremony', bytes)
    if (reader.context.some((byte) => byte !== 0)) fail('THRESHOLD_VALUE', 'a ceremony has no context')
    const suite = reader.suite()
    const purpose = reader.purpose()
    const attempt = reader.u32()
    const threshold = reader.count(THRESHOLD_MIN, PARTIES_MAX)
    const receivers = Array.from({ length: reader.count(THRESHOLD_MIN, PARTIES_MAX) }, () => ({
      party: reader.party(),
      index: reader.index(),
      encryptionKey: reader.element(ristretto),
    }))
    const previous = reader.bytes(16_384)
    reader.end()
    return new Ceremony({
      suite,
      purpose,
      attempt,
      threshold,
      receivers,
      previous: previous.length === 0 ? undefined : PublicKey.decode(previous),
    })
  }
}

/**
 * The key pair that a party receives its shares under, for ceremonies to come.
 * @param seed 32 secret random bytes.
 */
export function makeEncryptionKey(seed: Uint8Array): { readonly secret: Secret; readonly publicKey: Element } {
  if (seed.length !== 32) fail('THRESHOLD_VALUE', `a seed has 32 bytes, not ${seed.length}`)
  const secret = hashToScalar('RINGWALL_THRESHOLD_DRAW_V1 encryption key', [seed])
  return { secret: Secret.fromScalar(secret), publicKey: ristretto.multiplyBase(secret) }
}
