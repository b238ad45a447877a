/**
 * Signatures of the ring's key: any node coordinates, the threshold's number of holders sign. What is asked for travels with each request, and
 * each holder finds out from its own view whether the asker may have it and which bytes that is: it signs those and no others.
 *
 * On the channel `signing`, first byte: what it is.
 *
 *     'c' key(32) count(1)               request: commitments, please; answer: '+' and them, or '-' and why not
 *     's' length(4) asked request        request: a signature share; `asked` is JSON; answer likewise
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Fabric } from '@ringwall/fabric'
import {
  checkAuthority,
  checkMint,
  checkPerson,
  type Mintable,
  type MintRefusal,
  MintRequestInvalid,
  type PersonRequest,
  type PersonView,
  parsePersonRequest,
  parseSignedMintRequest,
  type SignedMintRequest,
} from '@ringwall/identity'
import type { People, TransitKeys, View } from '@ringwall/ring'
import { type Fault, type PublicKey, requestedMessage, ThresholdError } from '@ringwall/threshold'
import type { EventLog } from '../events.ts'
import { every } from '../in-step.ts'
import type { NodeShare } from './node-share.ts'
import type { NonceNumbers } from './nonce-numbers.ts'
import { SigningThread } from './signing-thread.ts'
import type { CoordinatorWish, ThreadAnswer } from './thread-messages.ts'

/** Signatures that are made at a time, and that wait. */
const MINTS_MAX = 512
const ASKED_BYTES_MAX = 98_304
const ANSWER_MS_MAX = 3_000
/** Signers may be busy with a hand-over of the key for some seconds. */
const TRIES_MAX = 12
const PAUSE_MS = { first: 50, most: 800 } as const
/** Pairs of each signer kept in stock: few while nothing is minted, more with what is. */
const STOCK_IDLE = 4
const STOCK_MAX = 96
const BATCH_MAX = 16
const RESTOCK_EVERY_MS = 500
/** What is left of one signature after some 13 s. */
const RECENT_LEAST = 0.01
/** What a coordinator may ask for within ten seconds; about five times what a machine can use. */
const PAIRS_PER_WINDOW = 2_048
const WINDOW_MS = 10_000
const REASONS_MAX = 8

/** What is asked of the key: what somebody signed for, or logged in for, or the ring's own certificate. */
export type Asked = { readonly mint: SignedMintRequest } | { readonly person: PersonRequest } | { readonly authority: true }

export type SigningCode = 'SIGNING_NO_KEY' | 'SIGNING_BUSY' | 'SIGNING_SHORT' | 'SIGNING_TIMEOUT'

export class SigningError extends Error {
  override readonly name = 'SigningError'
  readonly code: SigningCode
  constructor(code: SigningCode, message: string) {
    super(message)
    this.code = code
  }
}

export interface SigningServiceOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'request' | 'onRequest'>
  readonly view: () => View
  /** As of the same block. */
  readonly people: () => People
  /** Likewise. */
  readonly transit: () => TransitKeys
  /** Of outside providers, as this node fetched them. */
  readonly providerKeys?: PersonView['providerKeys']
  /** Has what a request is verified by; does not throw. */
  readonly prepare?: (request: PersonRequest) => Promise<void>
  /** By the node's own key: what people log in for, in a ring of one validator. */
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly numbers: NonceNumbers
  readonly events: Pick<EventLog, 'add'>
  /** A holder answered wrongly, under its own signature. */
  readonly onFault?: (party: string, fault: string) => void
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

interface Session {
  readonly asked: Uint8Array
  readonly settle: (signature: Uint8Array) => void
  readonly fail: (reason: string) => void
  readonly reasons: string[]
}

/** Who lied with its share of the key, seen from here. */
export interface SigningFault {
  readonly party: string
  readonly fault: Fault
  readonly atMs: number
}

export class SigningService {
  readonly #options: SigningServiceOptions
  readonly #now: () => number
  readonly #thread: SigningThread
  readonly #sessions = new Map<string, Session>()
  readonly #faults: SigningFault[] = []
  /** Since this node started. `shares` and `refused`: as a holder. */
  readonly counts = { coordinated: 0, failed: 0, shares: 0, refused: 0 }
  /** Of this epoch. */
  readonly #accused = new Set<string>()
  readonly #given = new Map<string, { sinceMs: number; pairs: number }>()
  readonly #stopTending: () => void
  #publicKey: PublicKey | undefined
  #share: NodeShare | undefined
  #stock: Readonly<Record<string, number>> = {}
  #restocking: Promise<void> | undefined
  #minting = 0
  #recent = 0
  #target = STOCK_IDLE
  #nextSession = 1
  #stopped = false

  constructor(options: SigningServiceOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#thread = new SigningThread(options.self, (stock) => {
      this.#stock = stock
    })
    options.fabric.onRequest('signing', (from, payload) => this.#answer(from, payload))
    this.#stopTending = every(RESTOCK_EVERY_MS, () => this.#tend())
  }

  /** The key in force; undefined as long as there is none. */
  get publicKey(): PublicKey | undefined {
    return this.#publicKey
  }

  /** Does this node hold a share of the key in force? */
  get holdsShare(): boolean {
    return this.#share !== undefined
  }

  get faults(): readonly SigningFault[] {
    return this.#faults
  }

  /** The key as of the newest block, and this node's share; one of another epoch is not used. */
  use(publicKey: PublicKey | undefined, share: NodeShare | undefined): void {
    if (publicKey === undefined) return
    const fitting = share?.keyName === publicKey.name ? share : undefined
    if (this.#publicKey?.name === publicKey.name && this.#share === fitting) return
    this.#publicKey = publicKey
    this.#share = fitting
    this.#stock = {}
    this.#accused.clear()
    this.#thread.use(publicKey, fitting)
    for (const { fail } of [...this.#sessions.values()]) fail('the key was handed on')
  }

  /**
   * The bytes that the request comes to, with the ring's signature over them.
   *
   * @throws {SigningError} @throws {MintRefused} When this node's own view refuses it.
   */
  async mint(asked: Asked, timeoutMs: number): Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }> {
    if ('person' in asked) await this.#options.prepare?.(asked.person)
    if (this.#publicKey === undefined && 'person' in asked && this.#isAlone()) {
      const checked = this.#check(asked)
      if (!checked.ok) throw new MintRefused(checked)
      return { message: checked.message, signature: this.#options.sign(checked.message) }
    }
    if (this.#publicKey === undefined)
      throw new SigningError('SIGNING_NO_KEY', 'the ring has no signing key (yet): ringwall key ls shows how it stands')
    if (this.#minting >= MINTS_MAX)
      throw new SigningError('SIGNING_BUSY', `${MINTS_MAX} signatures are being made already: try again`)
    const checked = this.#check(asked)
    if (!checked.ok) throw new MintRefused(checked)
    this.#minting += 1
    this.#recent += 1
    // Many at once are not made to wait for the next look at what is taken: two rounds of them.
    this.#target = Math.min(STOCK_MAX, Math.max(this.#target, 2 * this.#minting))
    const bytes = Buffer.from(JSON.stringify(asked))
    const deadline = this.#now() + timeoutMs
    const reasons: string[] = []
    try {
      for (let tries = 0; tries < TRIES_MAX && !this.#stopped; tries += 1) {
        if (tries > 0) await delay(Math.min(PAUSE_MS.most, PAUSE_MS.first * 2 ** (tries - 1)))
        if (!this.#isStocked(1)) await this.#restock(Math.max(2, Math.min(BATCH_MAX, this.#minting)))
        const leftMs = deadline - this.#now()
        if (leftMs <= 0) break
        // Anew with each try: another key makes other bytes of the same request.
        const again = this.#check(asked)
        if (!again.ok) throw new MintRefused(again)
        // A Buffer would take all of the memory that it is a part of to the thread.
        const message = Uint8Array.from(again.message)
        const signature = await this.#sign(message, bytes, leftMs, reasons)
        if (signature !== undefined) {
          this.counts.coordinated += 1
          return { message, signature }
        }
      }
    } finally {
      this.#minting -= 1
      if (this.#target > STOCK_IDLE && this.#isShortOf(this.#target / 2)) void this.#restock(BATCH_MAX)
    }
    this.counts.failed += 1
    const { threshold } = this.#publicKey
    const why = [...new Set(reasons)].slice(-REASONS_MAX).join('; ')
    if (this.#now() >= deadline) throw new SigningError('SIGNING_TIMEOUT', `no ${threshold} holders signed in time: ${why}`)
    throw new SigningError('SIGNING_SHORT', `it takes ${threshold} holders of the key to sign: ${why}`)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#stopTending()
    for (const { fail } of [...this.#sessions.values()]) fail('the node stops')
    await this.#thread.stop()
  }

  /** The only validator: there is nobody to hold a key with. */
  #isAlone(): boolean {
    const validators = this.#options.view().nodes.filter(({ roles }) => roles.includes('validator'))
    return validators.length === 1 && validators[0]?.id === this.#options.self
  }

  #check(asked: Asked): Mintable | MintRefusal {
    const view = this.#options.view()
    if ('person' in asked) {
      const { people, providerKeys } = this.#options
      const more = providerKeys === undefined ? {} : { providerKeys }
      return checkPerson(asked.person, { ...view, ...more, people: people() }, this.#now())
    }
    return 'mint' in asked
      ? checkMint(asked.mint, { ...view, transit: this.#options.transit() }, this.#now())
      : checkAuthority(view)
  }

  /** Undefined when it failed and may be tried again. */
  #sign(message: Uint8Array, asked: Uint8Array, leftMs: number, reasons: string[]): Promise<Uint8Array | undefined> {
    const name = String(this.#nextSession)
    this.#nextSession += 1
    return new Promise((settle) => {
      const end = (signature: Uint8Array | undefined): void => {
        clearTimeout(timer)
        this.#sessions.delete(name)
        settle(signature)
      }
      const fail = (reason: string): void => {
        reasons.push(reason)
        end(undefined)
      }
      const timer = setTimeout(() => fail('time is over'), leftMs)
      this.#sessions.set(name, { asked, settle: end, fail, reasons })
      this.#thread.run({ kind: 'begin', session: name, message }).then(
        (answer) => this.#fulfil(answer),
        (error: Error) => fail(error.message),
      )
    })
  }

  #fulfil(answer: ThreadAnswer): void {
    if (answer.kind !== 'done') return
    for (const wish of answer.wishes) this.#wish(wish)
  }

  #wish(wish: CoordinatorWish): void {
    switch (wish.kind) {
      case 'request':
        void this.#ask(wish.session, wish.to, wish.body)
        return
      case 'signature':
        this.#sessions.get(wish.session)?.settle(wish.signature)
        return
      case 'accuse':
        this.#accused.add(wish.party)
        this.#faults.push({ party: wish.party, fault: wish.fault, atMs: this.#now() })
        if (this.#faults.length > 64) this.#faults.shift()
        this.#options.onFault?.(wish.party, wish.fault)
        this.#options.events.add(
          'key',
          'warn',
          `${wish.party} lied with its share of the signing key (${wish.fault}): it is not asked again until the next hand-over`,
        )
        return
      case 'fail':
        this.#sessions.get(wish.session)?.fail(wish.reason)
        return
    }
  }

  async #ask(session: string, to: string, request: Uint8Array): Promise<void> {
    const waiting = this.#sessions.get(session)
    if (waiting === undefined) return
    const { asked, reasons } = waiting
    try {
      const answer =
        to === this.#options.self ? await this.#signShare(to, asked, request) : await this.#askPeer(to, asked, request)
      if ('body' in answer) {
        this.#fulfil(await this.#thread.run({ kind: 'share-of', from: to, body: answer.body }))
        return
      }
      reasons.push(`${to}: ${answer.reason}`)
    } catch (error) {
      reasons.push(`${to}: ${(error as Error).message}`)
    }
    // Whoever does not answer, or not this, is left out; others are asked in its place.
    await this.#thread.run({ kind: 'refused', session, from: to }).then(
      (answer) => this.#fulfil(answer),
      (error: Error) => waiting.fail(error.message),
    )
  }

  async #askPeer(to: string, asked: Uint8Array, request: Uint8Array): Promise<PeerAnswer> {
    const head = Buffer.alloc(5)
    head[0] = 's'.charCodeAt(0)
    head.writeUInt32BE(asked.length, 1)
    return readAnswer(await this.#options.fabric.request(to, 'signing', Buffer.concat([head, asked, request]), ANSWER_MS_MAX))
  }

  // The holder's side.

  async #answer(from: string, payload: Uint8Array): Promise<Uint8Array> {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    let answer: PeerAnswer
    try {
      if (!this.#options.view().nodes.some(({ id }) => id === from)) answer = { reason: 'the ring has no such node' }
      else if (bytes[0] === 'c'.charCodeAt(0) && bytes.length === 34) {
        answer = await this.#provide(from, bytes.toString('hex', 1, 33), bytes[33] as number)
      } else if (bytes[0] === 's'.charCodeAt(0) && bytes.length > 5) {
        const length = bytes.readUInt32BE(1)
        if (length > ASKED_BYTES_MAX || bytes.length < 5 + length) answer = { reason: 'a malformed request' }
        else answer = await this.#signShare(from, bytes.subarray(5, 5 + length), bytes.subarray(5 + length))
      } else answer = { reason: 'a malformed request' }
    } catch (error) {
      answer = { reason: (error as Error).message }
    }
    if (bytes[0] === 's'.charCodeAt(0)) this.counts['body' in answer ? 'shares' : 'refused'] += 1
    return 'body' in answer ? Buffer.concat([Buffer.from('+'), answer.body]) : Buffer.from(`-${answer.reason.slice(0, 500)}`)
  }

  /** Commitments for a coordinator. */
  async #provide(coordinator: string, key: string, count: number): Promise<PeerAnswer> {
    if (this.#share === undefined || this.#publicKey?.name !== key) return { reason: 'this node holds no share of this key' }
    if (count < 1 || count > BATCH_MAX) return { reason: `from 1 to ${BATCH_MAX} pairs at a time` }
    const nowMs = this.#now()
    const given = this.#given.get(coordinator)
    const window = given === undefined || nowMs >= given.sinceMs + WINDOW_MS ? { sinceMs: nowMs, pairs: 0 } : given
    if (window.pairs + count > PAIRS_PER_WINDOW) return { reason: 'too many pairs of nonces asked for; later' }
    window.pairs += count
    this.#given.set(coordinator, window)
    const first = await this.#options.numbers.take(key, coordinator, count)
    if (first === undefined) return { reason: 'no numbers are left: ringwall key refresh makes new ones' }
    const answer = await this.#thread.run({
      kind: 'provision',
      key,
      coordinator,
      first,
      count,
    })
    return answer.kind === 'message' ? { body: answer.body } : { reason: answer.kind === 'refused' ? answer.reason : 'no answer' }
  }

  /** A signature share, when the request asks for what the asker may have. */
  async #signShare(coordinator: string, asked: Uint8Array, request: Uint8Array): Promise<PeerAnswer> {
    const publicKey = this.#publicKey
    if (this.#share === undefined || publicKey === undefined) return { reason: 'this node holds no share of the key' }
    const parsed = parseAsked(asked)
    if ('reason' in parsed) return parsed
    if ('person' in parsed) await this.#options.prepare?.(parsed.person)
    const checked = this.#check(parsed)
    if (!checked.ok) return { reason: `${checked.code}: ${checked.reason}` }
    let wanted: Uint8Array
    try {
      wanted = requestedMessage(publicKey, request)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      return { reason: error.message }
    }
    if (Buffer.compare(wanted, checked.message) !== 0) return { reason: 'what is to be signed is not what the request asks for' }
    const answer = await this.#thread.run({ kind: 'sign', coordinator, request: new Uint8Array(request) })
    return answer.kind === 'message' ? { body: answer.body } : { reason: answer.kind === 'refused' ? answer.reason : 'no answer' }
  }

  // The coordinator's stock.

  #tend(): void {
    if (this.#publicKey === undefined || this.#stopped) return
    // What two seconds took, half forgotten every two.
    this.#target = Math.max(STOCK_IDLE, Math.min(STOCK_MAX, Math.ceil(this.#recent * 2)))
    this.#recent *= 0.84
    // A node without a share signs for its own clients only: what nobody asks for is not kept ready, and its thread ends.
    if (this.#share === undefined && this.#recent < RECENT_LEAST) return
    if (this.#isShortOf(this.#target / 2 + 1)) void this.#restock(BATCH_MAX)
  }

  /** Do the threshold's number of signers have so many pairs each? */
  #isStocked(pairs: number): boolean {
    const { threshold = 0 } = this.#publicKey ?? {}
    return Object.values(this.#stock).filter((held) => held >= pairs).length >= threshold
  }

  /** Also of its own pairs, which go first: a signature that this node has no share in costs it as much again. */
  #isShortOf(pairs: number): boolean {
    const { self } = this.#options
    return !this.#isStocked(pairs) || (this.#share !== undefined && !this.#accused.has(self) && (this.#stock[self] ?? 0) < pairs)
  }

  /** Asks those who are short for more, up to the target. */
  #restock(most: number): Promise<void> {
    this.#restocking ??= this.#fill(most).finally(() => {
      this.#restocking = undefined
    })
    return this.#restocking
  }

  async #fill(most: number): Promise<void> {
    const publicKey = this.#publicKey
    if (publicKey === undefined) return
    const short = publicKey.members.filter(({ party }) => !this.#accused.has(party) && (this.#stock[party] ?? 0) < this.#target)
    await Promise.all(
      short.map(async ({ party }) => {
        const count = Math.max(1, Math.min(most, this.#target - (this.#stock[party] ?? 0)))
        const body = await this.#fetch(publicKey, party, count)
        if (body === undefined || this.#publicKey?.name !== publicKey.name) return
        await this.#thread.run({ kind: 'commitments', from: party, body }).then(
          (answer) => this.#fulfil(answer),
          () => {},
        )
      }),
    )
  }

  async #fetch(publicKey: PublicKey, party: string, count: number): Promise<Uint8Array | undefined> {
    const { self, fabric } = this.#options
    try {
      const ask = Buffer.concat([Buffer.from('c'), publicKey.id, Uint8Array.of(count)])
      const answer =
        party === self
          ? await this.#provide(self, publicKey.name, count)
          : readAnswer(await fabric.request(party, 'signing', ask, ANSWER_MS_MAX))
      return 'body' in answer ? answer.body : undefined
    } catch {
      // Out of reach: others sign.
      return undefined
    }
  }
}

/** This node's own view refuses what was asked. */
export class MintRefused extends Error {
  override readonly name = 'MintRefused'
  readonly code: MintRefusal['code']
  constructor({ code, reason }: MintRefusal) {
    super(reason)
    this.code = code
  }
}

type PeerAnswer = { readonly body: Uint8Array } | { readonly reason: string }

function readAnswer(payload: Uint8Array): PeerAnswer {
  const bytes = Buffer.from(payload)
  if (bytes[0] === '+'.charCodeAt(0)) return { body: new Uint8Array(bytes.subarray(1)) }
  // A peer's words go into messages for people.
  return { reason: bytes.toString('utf8', 1, 501).replace(/\p{Cc}/gu, ' ') || 'no answer' }
}

function parseAsked(bytes: Uint8Array): Asked | { readonly reason: string } {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof value === 'object' && value !== null) {
      const keys = Object.keys(value)
      if ('authority' in value && value.authority === true && keys.length === 1) return { authority: true }
      if ('person' in value && keys.length === 1) return { person: parsePersonRequest(value.person) }
      if ('mint' in value && keys.length === 1) return { mint: parseSignedMintRequest(value.mint) }
    }
  } catch (error) {
    if (error instanceof MintRequestInvalid) return { reason: error.message }
    if (!(error instanceof SyntaxError)) throw error
  }
  return { reason: 'nothing that the key signs is asked for' }
}
