/**
 * Collects what a signature needs: holds the commitments that signers sent ahead, asks the threshold's number of them, checks what
 * comes, names who lied, and asks others in their place.
 *
 * Pure: no clock, network or randomness. It holds no secret and needs no trust: a coordinator that lies can keep a signature from
 * being made, not make one. Each try excludes at least one party that lied or was silent, so a signature takes at most one try more
 * than there are such parties.
 */
import { bytesToHex } from '@noble/hashes/utils.js'
import { type Accusation, type Fault, NO_SUBJECT } from './blame.ts'
import { fail, type ThresholdCode, ThresholdError } from './errors.ts'
import {
  aggregate,
  type NonceCommitment,
  type SignatureVerifier,
  type SignerCommitment,
  type SigningContext,
  signingContext,
  verifyShare,
} from './frost.ts'
import type { PublicKey } from './key.ts'
import type { Scalar } from './scalar.ts'
import {
  CommitmentMemo,
  decodeCommitments,
  decodeSignatureShare,
  digestOf,
  encodeRequest,
  SIGNED_BYTES_MAX,
} from './signing-wire.ts'
import { type Attested, isFor, MESSAGE_BYTES_MAX, type Party, sameBytes } from './wire.ts'

export type CoordinatorEvent =
  | { readonly kind: 'commitments'; readonly from: Party; readonly body: Uint8Array; readonly attestation: Uint8Array }
  /** `session` is the caller's name for this signature. */
  | { readonly kind: 'sign'; readonly session: string; readonly message: Uint8Array }
  | { readonly kind: 'share'; readonly from: Party; readonly body: Uint8Array; readonly attestation: Uint8Array }
  /** A signer has no such nonces any more, as after a restart: what it sent ahead is void. */
  | { readonly kind: 'refused'; readonly session: string; readonly from: Party }
  /** The caller waited long enough. */
  | { readonly kind: 'timeout'; readonly session: string }

/** What the shell does, in this order. */
export type CoordinatorEffect =
  | { readonly kind: 'request'; readonly session: string; readonly to: Party; readonly body: Uint8Array }
  | { readonly kind: 'signature'; readonly session: string; readonly signature: Uint8Array }
  | { readonly kind: 'accuse'; readonly accusation: Accusation }
  /** Asked and not heard in time: not asked again for this signature. */
  | { readonly kind: 'silent'; readonly session: string; readonly party: Party }
  /** Too few signers. `wanting` are those that may help once they have sent commitments. */
  | {
      readonly kind: 'fail'
      readonly session: string
      readonly code: ThresholdCode
      readonly reason: string
      readonly wanting: readonly Party[]
    }

interface Stocked {
  readonly commitment: NonceCommitment
  readonly message: Attested
}

interface Session {
  readonly name: string
  readonly message: Uint8Array
  readonly excluded: Set<Party>
  request: Uint8Array
  digest: string
  list: readonly SignerCommitment[]
  asked: readonly { readonly party: Party; readonly index: number }[]
  readonly shares: Map<number, { readonly share: Scalar; readonly message: Attested }>
}

export const SESSIONS_MAX = 1_024
/** Pairs kept of one signer. */
export const STOCKED_MAX = 512

export interface CoordinatorOptions {
  /** Who asks: of those that could sign it is asked first, as its share costs least. */
  readonly self?: Party
  /** As for `aggregate`. */
  readonly verify?: SignatureVerifier
}

export class Coordinator {
  readonly #publicKey: PublicKey
  readonly #memo: CommitmentMemo
  readonly #options: CoordinatorOptions
  readonly #stock = new Map<Party, Map<number, Stocked>>()
  readonly #highest = new Map<Party, number>()
  readonly #accused = new Set<Party>()
  readonly #sessions = new Map<string, Session>()
  readonly #byDigest = new Map<string, Session>()

  constructor(publicKey: PublicKey, memo: CommitmentMemo = new CommitmentMemo(), options: CoordinatorOptions = {}) {
    if (publicKey.suite !== 'ed25519') fail('THRESHOLD_CONFIG', `a key of ${publicKey.suite} does not sign`)
    this.#publicKey = publicKey
    this.#memo = memo
    this.#options = options
  }

  get accused(): ReadonlySet<Party> {
    return this.#accused
  }

  stockOf(party: Party): number {
    return this.#stock.get(party)?.size ?? 0
  }

  /** @throws {ThresholdError} Only for what the caller itself asks wrongly; what others send never throws. */
  step(event: CoordinatorEvent): readonly CoordinatorEffect[] {
    switch (event.kind) {
      case 'commitments':
        return this.#onCommitments(event.from, {
          body: new Uint8Array(event.body),
          attestation: new Uint8Array(event.attestation),
        })
      case 'sign':
        return this.#begin(event.session, event.message)
      case 'share':
        return this.#onShare(event.from, { body: new Uint8Array(event.body), attestation: new Uint8Array(event.attestation) })
      case 'refused':
        return this.#onRefused(event.session, event.from)
      case 'timeout':
        return this.#onTimeout(event.session)
    }
  }

  #accuse(party: Party, fault: Fault, evidence: readonly Attested[], subject: Uint8Array = NO_SUBJECT): CoordinatorEffect {
    this.#accused.add(party)
    this.#stock.delete(party)
    return { kind: 'accuse', accusation: { party, fault, evidence, subject } }
  }

  #onCommitments(from: Party, message: Attested): readonly CoordinatorEffect[] {
    const index = this.#publicKey.indexOf(from)
    if (index === undefined || this.#accused.has(from)) return []
    if (message.body.length > MESSAGE_BYTES_MAX || !isFor(message.body, 'commitments', this.#publicKey.id)) return []
    try {
      const { first, commitments } = decodeCommitments(this.#publicKey, index, message.body, this.#memo)
      const stock = this.#stock.get(from) ?? new Map<number, Stocked>()
      const highest = this.#highest.get(from) ?? -1
      for (const [i, commitment] of commitments.entries()) {
        const number = first + i
        const held = stock.get(number)
        if (held !== undefined && !sameCommitment(held.commitment, commitment))
          return [this.#accuse(from, 'equivocation', [held.message, message])]
        // A number at or below the highest was used or let go: a replay does not bring its nonces back.
        if (held === undefined && number > highest && stock.size < STOCKED_MAX) stock.set(number, { commitment, message })
      }
      this.#highest.set(from, Math.max(highest, first + commitments.length - 1))
      this.#stock.set(from, stock)
      return []
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      return [this.#accuse(from, 'malformed-commitments', [message])]
    }
  }

  #begin(name: string, message: Uint8Array): readonly CoordinatorEffect[] {
    if (this.#sessions.has(name)) fail('THRESHOLD_VALUE', `there is a session ${name} already`)
    if (this.#sessions.size >= SESSIONS_MAX) fail('THRESHOLD_LIMIT', `${SESSIONS_MAX} signatures are being made already`)
    if (message.length > SIGNED_BYTES_MAX)
      fail('THRESHOLD_LIMIT', `${message.length} bytes, at most ${SIGNED_BYTES_MAX} are signed`)
    const session: Session = {
      name,
      message: new Uint8Array(message),
      excluded: new Set(),
      request: NO_SUBJECT,
      digest: '',
      list: [],
      asked: [],
      shares: new Map(),
    }
    this.#sessions.set(name, session)
    return this.#ask(session)
  }

  #end(session: Session): void {
    this.#sessions.delete(session.name)
    this.#byDigest.delete(session.digest)
  }

  /** Asks those with the most commitments left, so that stocks run down evenly. Each pair is asked for once. */
  #ask(session: Session): readonly CoordinatorEffect[] {
    const { members, threshold } = this.#publicKey
    const { self } = this.#options
    const preference = ({ party }: { readonly party: Party }): number => (party === self ? STOCKED_MAX + 1 : this.stockOf(party))
    this.#byDigest.delete(session.digest)
    const willing = members.filter(({ party }) => !this.#accused.has(party) && !session.excluded.has(party))
    const chosen = willing
      .filter(({ party }) => this.stockOf(party) > 0)
      .sort((a, b) => preference(b) - preference(a) || a.index - b.index)
      .slice(0, threshold)
      .sort((a, b) => a.index - b.index)
    if (chosen.length < threshold) {
      this.#end(session)
      const wanting = willing.filter(({ party }) => this.stockOf(party) === 0).map(({ party }) => party)
      const reason = `${chosen.length} signers have commitments left, ${threshold} are needed`
      return [{ kind: 'fail', session: session.name, code: 'THRESHOLD_SHORT', reason, wanting }]
    }
    const commitments = chosen.map(({ party, index }) => {
      const stock = this.#stock.get(party) as Map<number, Stocked>
      const [number, { commitment }] = stock.entries().next().value as [number, Stocked]
      stock.delete(number)
      return { index, number, ...commitment }
    })
    session.request = encodeRequest(this.#publicKey, { message: session.message, commitments })
    session.digest = bytesToHex(digestOf(session.request))
    session.list = commitments
    session.asked = chosen
    session.shares.clear()
    this.#byDigest.set(session.digest, session)
    return chosen.map(({ party }) => ({ kind: 'request', session: session.name, to: party, body: session.request }))
  }

  #onShare(from: Party, message: Attested): readonly CoordinatorEffect[] {
    const index = this.#publicKey.indexOf(from)
    if (index === undefined || this.#accused.has(from)) return []
    if (message.body.length > MESSAGE_BYTES_MAX || !isFor(message.body, 'signatureShare', this.#publicKey.id)) return []
    let session: Session | undefined
    try {
      const { request, share } = decodeSignatureShare(this.#publicKey, index, message.body)
      session = this.#byDigest.get(bytesToHex(request))
      // Of a request that is over, or of nobody's: no fault can be shown by it.
      if (session === undefined || !session.asked.some((asked) => asked.index === index) || session.shares.has(index)) return []
      session.shares.set(index, { share, message })
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      const effects: CoordinatorEffect[] = [this.#accuse(from, 'malformed-signature-share', [message])]
      for (const waiting of [...this.#sessions.values()])
        if (waiting.asked.some(({ party }) => party === from)) effects.push(...this.#askAgain(waiting))
      return effects
    }
    return session.shares.size === session.asked.length ? this.#aggregate(session) : []
  }

  #aggregate(session: Session): readonly CoordinatorEffect[] {
    const shares = new Map([...session.shares].map(([index, { share }]) => [index, share]))
    try {
      const signature = aggregate(this.#contextOf(session), shares, this.#options.verify)
      this.#end(session)
      return [{ kind: 'signature', session: session.name, signature }]
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      if (error.culprits.length === 0) throw new Error('bug: a signature that does not verify of shares that do')
      const effects: CoordinatorEffect[] = error.culprits.map((index) => {
        const evidence = [(session.shares.get(index) as { message: Attested }).message]
        return this.#accuse(this.#publicKey.partyOf(index) as Party, 'bad-signature-share', evidence, session.request)
      })
      return [...effects, ...this.#ask(session)]
    }
  }

  /** Made when shares are there: signers do not wait for it. */
  #contextOf({ digest, message, list }: Session): SigningContext {
    return this.#memo.contextOf(digest, () => signingContext(this.#publicKey, message, list))
  }

  /** Before what is there is let go of, whoever sent a bad share is named by it. */
  #askAgain(session: Session): readonly CoordinatorEffect[] {
    const context = session.shares.size === 0 ? undefined : this.#contextOf(session)
    const bad = [...session.shares].filter(([index, { share }]) => context !== undefined && !verifyShare(context, index, share))
    const effects = bad.map(([index, { message }]) =>
      this.#accuse(this.#publicKey.partyOf(index) as Party, 'bad-signature-share', [message], session.request),
    )
    return [...effects, ...this.#ask(session)]
  }

  #onRefused(name: string, from: Party): readonly CoordinatorEffect[] {
    const session = this.#sessions.get(name)
    if (session === undefined || !session.asked.some(({ party }) => party === from)) return []
    this.#stock.delete(from)
    session.excluded.add(from)
    return this.#askAgain(session)
  }

  #onTimeout(name: string): readonly CoordinatorEffect[] {
    const session = this.#sessions.get(name)
    if (session === undefined) return []
    const silent = session.asked.filter(({ index }) => !session.shares.has(index))
    for (const { party } of silent) session.excluded.add(party)
    const effects: CoordinatorEffect[] = silent.map(({ party }) => ({ kind: 'silent', session: name, party }))
    return [...effects, ...this.#askAgain(session)]
  }
}

function sameCommitment(a: NonceCommitment, b: NonceCommitment): boolean {
  return sameBytes(a.hidingBytes, b.hidingBytes) && sameBytes(a.bindingBytes, b.bindingBytes)
}
