/**
 * Collects partial decryptions of capsules until the threshold's number of good ones is there, and names who sent a bad one. Pure:
 * no clock, network or randomness. Whoever runs it learns the capsule's key, so it runs where the key is wanted.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import { type Accusation, type Fault, NO_SUBJECT } from './blame.ts'
import { type Capsule, decodePartial, openCapsule, type Partial, verifyCapsule } from './capsule.ts'
import { fail, ThresholdError } from './errors.ts'
import type { PublicKey } from './key.ts'
import { type Attested, isFor, MESSAGE_BYTES_MAX, type Party } from './wire.ts'

export type OpenerEvent =
  | { readonly kind: 'open'; readonly capsule: Uint8Array }
  | { readonly kind: 'partial'; readonly from: Party; readonly body: Uint8Array; readonly attestation: Uint8Array }
  /** The caller waits no longer for this capsule. */
  | { readonly kind: 'timeout'; readonly capsule: Uint8Array }

export type OpenerEffect =
  /** To every party that is not accused. */
  | { readonly kind: 'request'; readonly to: Party; readonly capsule: Uint8Array }
  | { readonly kind: 'opened'; readonly capsule: Uint8Array; readonly key: Uint8Array }
  | { readonly kind: 'accuse'; readonly accusation: Accusation }
  | { readonly kind: 'fail'; readonly capsule: Uint8Array; readonly silent: readonly Party[] }

interface Opening {
  readonly capsule: Capsule
  readonly partials: Map<number, { readonly partial: Partial; readonly message: Attested }>
}

export const OPENINGS_MAX = 1_024

export class Opener {
  readonly #publicKey: PublicKey
  readonly #openings = new Map<string, Opening>()
  readonly #accused = new Set<Party>()

  constructor(publicKey: PublicKey) {
    this.#publicKey = publicKey
  }

  get accused(): ReadonlySet<Party> {
    return this.#accused
  }

  /** @throws {ThresholdError} For a capsule of the caller's that does not verify; what parties send never throws. */
  step(event: OpenerEvent): readonly OpenerEffect[] {
    switch (event.kind) {
      case 'open':
        return this.#open(event.capsule)
      case 'partial':
        return this.#onPartial(event.from, { body: event.body.slice(), attestation: event.attestation.slice() })
      case 'timeout':
        return this.#onTimeout(event.capsule)
    }
  }

  #open(body: Uint8Array): readonly OpenerEffect[] {
    const capsule = verifyCapsule(this.#publicKey, body)
    const name = bytesToHex(capsule.digest)
    if (this.#openings.has(name)) return []
    if (this.#openings.size >= OPENINGS_MAX) fail('THRESHOLD_LIMIT', `${OPENINGS_MAX} capsules are being opened already`)
    this.#openings.set(name, { capsule, partials: new Map() })
    const asked = this.#publicKey.members.filter(({ party }) => !this.#accused.has(party))
    return asked.map(({ party }) => ({ kind: 'request', to: party, capsule: capsule.body }))
  }

  #accuse(party: Party, fault: Fault, message: Attested, subject: Uint8Array): OpenerEffect {
    this.#accused.add(party)
    return { kind: 'accuse', accusation: { party, fault, evidence: [message], subject } }
  }

  #onPartial(from: Party, message: Attested): readonly OpenerEffect[] {
    const index = this.#publicKey.indexOf(from)
    if (index === undefined || this.#accused.has(from)) return []
    if (message.body.length > MESSAGE_BYTES_MAX || !isFor(message.body, 'partial', this.#publicKey.id)) return []
    let opening: Opening | undefined
    try {
      const partial = decodePartial(this.#publicKey, index, message.body)
      opening = this.#openings.get(bytesToHex(partial.capsule))
      if (opening === undefined || opening.partials.has(index)) return []
      opening.partials.set(index, { partial, message })
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      return [this.#accuse(from, 'malformed-partial', message, NO_SUBJECT)]
    }
    return opening.partials.size < this.#publicKey.threshold ? [] : this.#finish(opening)
  }

  #finish({ capsule, partials }: Opening): readonly OpenerEffect[] {
    try {
      const held = [...partials.values()].map(({ partial }) => partial)
      const key = openCapsule(this.#publicKey, capsule, held)
      this.#openings.delete(bytesToHex(capsule.digest))
      return [{ kind: 'opened', capsule: capsule.body, key }]
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      return error.culprits.map((index) => {
        const { message } = partials.get(index) as { readonly message: Attested }
        partials.delete(index)
        return this.#accuse(this.#publicKey.partyOf(index) as Party, 'bad-partial', message, capsule.body)
      })
    }
  }

  #onTimeout(body: Uint8Array): readonly OpenerEffect[] {
    const found = [...this.#openings].find(([, { capsule }]) => bytesToHex(capsule.body) === bytesToHex(body))
    if (found === undefined) return []
    const [name, { partials }] = found
    this.#openings.delete(name)
    const silent = this.#publicKey.members.filter(({ index, party }) => !partials.has(index) && !this.#accused.has(party))
    return [{ kind: 'fail', capsule: body, silent: silent.map(({ party }) => party) }]
  }
}
