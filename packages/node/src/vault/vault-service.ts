/**
 * Openings of the vault: any node passes a request on, the threshold's number of holders answer, and only the asker can read their answers. Each
 * holder finds out from its own view whether the asker may, and has the opening on disk before it answers.
 *
 * On the channel `vault`, a request is the height of the coordinator's view (6 bytes) and the JSON of a signed request; an answer is '+' and the
 * reply, or '-' and why not. A holder whose view is behind waits for it, within bounds: what was put a moment ago opens.
 */
import { hash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Fabric } from '@ringwall/fabric'
import { askerRefusal, spiffeId, verifiesRaw } from '@ringwall/identity'
import { publicKeyOf, type RingState, ringIssuer, type View } from '@ringwall/ring'
import type { PublicKey } from '@ringwall/threshold'
import {
  type AskerFields,
  bodyDigest,
  checkOpen,
  checkTransit,
  OPEN_REQUEST_MS_MAX,
  type OpenAnswer,
  type OpenRefusal,
  openSigningBytes,
  parseSignedOpenRequest,
  parseSignedTransitRequest,
  ReplyMaker,
  requestDigest,
  type SignedOpenRequest,
  type SignedTransitRequest,
  transitSigningBytes,
  VaultError,
} from '@ringwall/vault'
import type { NodeShare } from '../signing/node-share.ts'
import { ThreadGone } from '../signing/task-thread.ts'
import type { OpeningLog } from './opening-log.ts'
import type { OpeningWork } from './opening-messages.ts'
import { OpeningThread } from './opening-thread.ts'

/** Of a request on its way: 64 names of 200 characters or 16 capsules, and a certificate. */
const REQUEST_BYTES_MAX = 32_768
/** Openings that this node passes on at a time. */
const OPENINGS_MAX = 256
const ANSWER_MS_MAX = 3_000
/** More for each capsule that holders verify themselves, and for each evaluation. */
const ANSWER_MS_EACH = 250
const HEIGHT_BYTES = 6
/** How long a holder waits for a block that the coordinator has, how often it looks, and how many wait at a time. */
const BEHIND = { msMax: 600, everyMs: 15, waitersMax: 64 } as const
/**
 * A holder that has not answered by then has another one asked beside it. Where much is under way it is likely that all are slow, and asking more
 * of them would make them slower: then they have longer.
 */
const HEDGE = { ms: 250, busyMs: 1_500, busyFrom: 6 } as const
/** Requests that are remembered until nobody takes them any more, so that each serves once: more than eight askers can make. */
const SEEN_MAX = 131_072
/** Secrets that one asker may have opened within ten seconds, those with proofs counted thrice. */
const SECRETS_PER_WINDOW = 6_000
const REQUESTS_PER_WINDOW = 2_500
const WINDOW_MS = 10_000
const ASKERS_MAX = 4_096
/** Partial decryptions that are kept for some time: hardly more telling than the share itself, and gone with its epoch. */
const KEPT_MAX = 4_096
const KEPT_MS = 60_000

export class OpenRefused extends Error {
  override readonly name = 'OpenRefused'
  readonly code: OpenRefusal['code'] | 'OPEN_BUSY'
  constructor({ code, reason }: { readonly code: OpenRefused['code']; readonly reason: string }) {
    super(reason)
    this.code = code
  }
}

export interface VaultServiceOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'request' | 'onRequest'>
  readonly view: () => View
  readonly state: () => RingState
  /** Ed25519, by this node's key. */
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly log: Pick<OpeningLog, 'add'>
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

/** What is asked of holders: secrets, or uses of keys of the transit. */
export type SignedAsk = SignedOpenRequest | SignedTransitRequest

/** One thing that is granted, and what a holder's share is to touch for it. */
interface Grant {
  /** As it is recorded. */
  readonly name: string
  readonly version: number
  readonly digest: Uint8Array
  readonly work: OpeningWork
}

function signedBytes({ request }: SignedAsk): Uint8Array {
  return 'act' in request ? transitSigningBytes(request) : openSigningBytes(request)
}

/** @throws {VaultError} VAULT_MALFORMED */
export function parseSignedAsk(value: unknown): SignedAsk {
  const request = typeof value === 'object' && value !== null && 'request' in value ? value.request : undefined
  const isTransit = typeof request === 'object' && request !== null && 'act' in request
  return isTransit ? parseSignedTransitRequest(value) : parseSignedOpenRequest(value)
}

type PeerAnswer = { readonly reply: Uint8Array } | { readonly reason: string }

export class VaultService {
  readonly #options: VaultServiceOptions
  readonly #now: () => number
  readonly #thread = new OpeningThread()
  readonly #maker: ReplyMaker
  /** By digest, until when it would be taken; about in that order. */
  readonly #seen = new Map<string, number>()
  readonly #asked = new Map<string, { sinceMs: number; secrets: number; requests: number }>()
  readonly #kept = new Map<string, { readonly partial: Uint8Array; readonly untilMs: number }>()
  /** Since this node started. `opened` and `refused`: as a holder. */
  readonly counts = { passedOn: 0, short: 0, opened: 0, refused: 0 }
  #publicKey: PublicKey | undefined
  #share: NodeShare | undefined
  #passingOn = 0
  #behind = 0

  constructor(options: VaultServiceOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#maker = new ReplyMaker(options.self, options.sign)
    options.fabric.onRequest('vault', (from, payload) => this.#answer(from, payload))
  }

  /** Does this node hold a share of the key in force? */
  get holdsShare(): boolean {
    return this.#share !== undefined
  }

  /** The key as of the newest block, and this node's share; one of another epoch is not used. */
  use(publicKey: PublicKey | undefined, share: NodeShare | undefined): void {
    const fitting = publicKey !== undefined && share?.keyName === publicKey.name ? share : undefined
    if (this.#publicKey?.name === publicKey?.name && this.#share === fitting) return
    this.#publicKey = publicKey
    this.#share = fitting
    for (const { partial } of this.#kept.values()) partial.fill(0)
    this.#kept.clear()
    this.#thread.use(fitting)
  }

  /**
   * This node's part of opening a capsule, with its proof. Who asks for it, and whether they may, is for the caller to find out.
   *
   * @throws {VaultError | ThreadGone} When this node holds no share, or the capsule is not of its key.
   */
  async prove(
    capsule: Uint8Array,
  ): Promise<{ readonly publicKey: PublicKey; readonly index: number; readonly partial: Uint8Array }> {
    const publicKey = this.#publicKey
    const index = publicKey?.indexOf(this.#options.self)
    if (publicKey === undefined || index === undefined || this.#share === undefined)
      throw new VaultError('VAULT_SHORT', 'this node holds no share of the sealing key')
    const [partial] = await this.#thread.open([{ kind: 'capsule', bytes: capsule }], true)
    if (this.#publicKey !== publicKey) throw new VaultError('VAULT_SHORT', 'the sealing key was handed on')
    return { publicKey, index, partial: partial as Uint8Array }
  }

  stop(): Promise<void> {
    return this.#thread.stop()
  }

  /**
   * Has holders answer: the threshold's number, or with proofs all who can.
   *
   * @throws {OpenRefused} When this node's own view refuses it.
   */
  async open(signed: SignedAsk): Promise<OpenAnswer> {
    const checked = this.#check(signed)
    if (!checked.ok) throw new OpenRefused(checked)
    const publicKey = publicKeyOf(this.#options.state().sealingKey) as PublicKey
    if (this.#passingOn >= OPENINGS_MAX)
      throw new OpenRefused({ code: 'OPEN_BUSY', reason: `${OPENINGS_MAX} openings are under way here already: try again` })
    this.#passingOn += 1
    try {
      const { replies, refusals } = await this.#gather(signed, publicKey)
      this.counts.passedOn += 1
      if (replies.length < publicKey.threshold) this.counts.short += 1
      return { replies, refusals, bodies: checked.bodies }
    } finally {
      this.#passingOn -= 1
    }
  }

  #check(
    signed: SignedAsk,
  ): { readonly ok: true; readonly grants: readonly Grant[]; readonly bodies: OpenAnswer['bodies'] } | OpenRefusal {
    const view = this.#options.view()
    const open = {
      ring: view.ring,
      policy: view.policy,
      state: this.#options.state(),
      askerFault: (request: AskerFields, bytes: Uint8Array, signature: string, nowMs: number) =>
        request.issuer.startsWith('key:')
          ? accessKeyFault(request, bytes, signature, view, this.#options.state(), nowMs)
          : askerRefusal(request, bytes, signature, view, nowMs)?.reason,
    }
    if ('act' in signed.request) {
      const checked = checkTransit(signed as SignedTransitRequest, open, this.#now())
      if (!checked.ok) return checked
      const grants = checked.grants.map(({ key, version, digest, kind, bytes }) => {
        return { name: `transit:${key}`, version, digest, work: { kind, bytes } }
      })
      return { ok: true, grants, bodies: [] }
    }
    const checked = checkOpen(signed as SignedOpenRequest, open, this.#now())
    if (!checked.ok) return checked
    const grants = checked.secrets.map(({ name, version, body, label }) => {
      const bytes = new Uint8Array(Buffer.from(body.capsule, 'base64url'))
      const work = label === undefined ? { kind: 'stored' as const, bytes } : { kind: 'capsule' as const, bytes, label }
      return { name, version, digest: bodyDigest(body), work }
    })
    return { ok: true, grants, bodies: checked.secrets.map(({ body: { capsule, ciphertext } }) => ({ capsule, ciphertext })) }
  }

  /** The same holders for the same secret, so that they have worked it out already: this node first, where it is one. */
  #order({ request }: SignedAsk, { members }: PublicKey): readonly string[] {
    const names = 'act' in request ? request.nonce : request.secrets.map(({ name }) => name).join(' ')
    const turn = hash('sha256', names, 'buffer').readUInt32BE(0) % members.length
    const parties = [...members.slice(turn), ...members.slice(0, turn)].map(({ party }) => party)
    const { self } = this.#options
    return parties.includes(self) ? [self, ...parties.filter((party) => party !== self)] : parties
  }

  #gather(signed: SignedAsk, publicKey: PublicKey): Promise<Pick<OpenAnswer, 'replies' | 'refusals'>> {
    const waiting = [...this.#order(signed, publicKey)]
    const needed = signed.request.proven ? waiting.length : publicKey.threshold
    const head = Buffer.alloc(HEIGHT_BYTES)
    head.writeUIntBE(this.#options.view().height, 0, HEIGHT_BYTES)
    const payload = Buffer.concat([head, Buffer.from(JSON.stringify(signed))])
    const replies: { party: string; reply: string }[] = []
    const refusals: { party: string; reason: string }[] = []
    return new Promise((settle) => {
      let isOver = false
      let under = 0
      const end = (): void => {
        isOver = true
        clearTimeout(timer)
        clearInterval(hedge)
        settle({ replies, refusals })
      }
      const next = (): void => {
        const party = waiting.shift()
        if (party === undefined) return
        under += 1
        void this.#ask(party, signed, payload).then((answer) => {
          if (isOver) return
          under -= 1
          if ('reply' in answer) replies.push({ party, reply: Buffer.from(answer.reply).toString('base64url') })
          else {
            refusals.push({ party, reason: answer.reason })
            next()
          }
          if (replies.length >= needed || (under === 0 && waiting.length === 0)) end()
        })
      }
      const timer = setTimeout(end, answerMsMax(signed))
      const hedge = setInterval(next, this.#passingOn < HEDGE.busyFrom ? HEDGE.ms : HEDGE.busyMs)
      for (let i = 0; i < needed; i += 1) next()
    })
  }

  async #ask(party: string, signed: SignedAsk, payload: Uint8Array): Promise<PeerAnswer> {
    const { self, fabric } = this.#options
    try {
      if (party === self) return await this.#reply(self, signed)
      return readAnswer(await fabric.request(party, 'vault', payload, answerMsMax(signed)))
    } catch (error) {
      return { reason: (error as Error).message }
    }
  }

  // The holder's side.

  async #answer(from: string, payload: Uint8Array): Promise<Uint8Array> {
    let answer: PeerAnswer
    try {
      if (!this.#options.view().nodes.some(({ id }) => id === from)) answer = { reason: 'the ring has no such node' }
      else if (payload.length > REQUEST_BYTES_MAX) answer = { reason: `a request has at most ${REQUEST_BYTES_MAX} bytes` }
      else {
        const bytes = Buffer.from(payload)
        const signed = parseSignedAsk(JSON.parse(bytes.toString('utf8', HEIGHT_BYTES)))
        await this.#caughtUp(bytes.readUIntBE(0, HEIGHT_BYTES))
        answer = await this.#reply(from, signed)
      }
    } catch (error) {
      answer = { reason: error instanceof VaultError ? error.message : 'a malformed request' }
    }
    return 'reply' in answer ? Buffer.concat([Buffer.from('+'), answer.reply]) : Buffer.from(`-${answer.reason.slice(0, 500)}`)
  }

  /** Resolves when this node's view is as far, or when it is not going to be soon. */
  async #caughtUp(height: number): Promise<void> {
    if (this.#options.view().height >= height || this.#behind >= BEHIND.waitersMax) return
    this.#behind += 1
    try {
      for (let waitedMs = 0; waitedMs < BEHIND.msMax && this.#options.view().height < height; waitedMs += BEHIND.everyMs)
        await delay(BEHIND.everyMs)
    } finally {
      this.#behind -= 1
    }
  }

  async #reply(coordinator: string, signed: SignedAsk): Promise<PeerAnswer> {
    const answer = await this.#opened(coordinator, signed)
    this.counts['reply' in answer ? 'opened' : 'refused'] += 1
    return answer
  }

  async #opened(coordinator: string, signed: SignedAsk): Promise<PeerAnswer> {
    const publicKey = this.#publicKey
    const share = this.#share
    if (publicKey === undefined || share === undefined) return { reason: 'this node holds no share of the sealing key' }
    const checked = this.#check(signed)
    if (!checked.ok) return { reason: `${checked.code}: ${checked.reason}` }
    const { request } = signed
    const digest = requestDigest(signedBytes(signed))
    const name = Buffer.from(digest).toString('base64url')
    const busy = this.#refusalOfLoad(name, request, costOf(checked.grants, request.proven))
    if (busy !== undefined) return { reason: busy }
    const secrets = checked.grants.map((one) => [one.name, one.version] as [string, number])
    const record = { atMs: this.#now(), issuer: request.issuer, request: name, coordinator, secrets }
    try {
      const [partials] = await Promise.all([
        this.#partials(publicKey, checked.grants, request.proven),
        this.#options.log.add(record),
      ])
      const index = publicKey.indexOf(this.#options.self)
      if (index === undefined || this.#publicKey !== publicKey) return { reason: 'the sealing key was handed on' }
      const openings = checked.grants.map(({ version, digest: body }, at) => ({
        version,
        body,
        partial: partials[at] as Uint8Array,
      }))
      return { reply: this.#maker.make({ epoch: publicKey.id, index, openings }, request.replyTo, digest) }
    } catch (error) {
      if (error instanceof ThreadGone || error instanceof VaultError) return { reason: error.message }
      return { reason: 'the opening could not be recorded' }
    }
  }

  /** Why nothing more is done for this asker now; undefined when it is counted. */
  #refusalOfLoad(digest: string, { issuer, atMs }: AskerFields, secrets: number): string | undefined {
    const nowMs = this.#now()
    for (const [held, untilMs] of this.#seen) {
      if (untilMs >= nowMs) break
      this.#seen.delete(held)
    }
    if (this.#seen.has(digest)) return 'OPEN_REPLAYED: this request was answered already; sign another one'
    if (this.#seen.size >= SEEN_MAX) return 'OPEN_BUSY: too many requests within a minute; later'
    const before = this.#asked.get(issuer)
    const window =
      before === undefined || nowMs >= before.sinceMs + WINDOW_MS ? { sinceMs: nowMs, secrets: 0, requests: 0 } : before
    if (window.secrets + secrets > SECRETS_PER_WINDOW)
      return `OPEN_BUSY: ${issuer} has had ${window.secrets} secrets opened within ten seconds; later`
    if (window.requests >= REQUESTS_PER_WINDOW)
      return `OPEN_BUSY: ${issuer} has asked ${window.requests} times within ten seconds; later, or for more secrets at a time`
    if (before === undefined && this.#asked.size >= ASKERS_MAX) this.#asked.delete(this.#asked.keys().next().value as string)
    window.secrets += secrets
    window.requests += 1
    this.#asked.set(issuer, window)
    this.#seen.set(digest, atMs + OPEN_REQUEST_MS_MAX)
    return undefined
  }

  async #partials(publicKey: PublicKey, grants: readonly Grant[], proven: boolean): Promise<readonly Uint8Array[]> {
    const worksOf = (some: readonly Grant[]): readonly OpeningWork[] => some.map(({ work }) => work)
    if (proven) return this.#thread.open(worksOf(grants), true)
    const nowMs = this.#now()
    const names = grants.map(({ digest }) => Buffer.from(digest).toString('base64url'))
    const known = names.map((name) => this.#keptPartial(name, nowMs))
    const missing = grants.filter((_, at) => known[at] === undefined)
    const made = missing.length === 0 ? [] : await this.#thread.open(worksOf(missing), false)
    let next = 0
    return names.map((name, at) => {
      const held = known[at]
      if (held !== undefined) return held
      const partial = made[next] as Uint8Array
      next += 1
      if (this.#publicKey === publicKey) this.#keep(name, partial, nowMs)
      return partial
    })
  }

  #keptPartial(name: string, nowMs: number): Uint8Array | undefined {
    const kept = this.#kept.get(name)
    return kept !== undefined && kept.untilMs > nowMs ? kept.partial.slice() : undefined
  }

  #keep(name: string, partial: Uint8Array, nowMs: number): void {
    for (const [held, { partial: old, untilMs }] of this.#kept) {
      if (untilMs > nowMs && this.#kept.size < KEPT_MAX) break
      old.fill(0)
      this.#kept.delete(held)
    }
    this.#kept.delete(name)
    this.#kept.set(name, { partial: partial.slice(), untilMs: nowMs + KEPT_MS })
  }
}

function answerMsMax({ request }: SignedAsk): number {
  return ANSWER_MS_MAX + ('act' in request ? request.uses.length * ANSWER_MS_EACH : 0)
}

/** In secrets that are opened without proofs: what somebody hands in has to be verified first. */
function costOf(grants: readonly Grant[], proven: boolean): number {
  return grants.reduce((sum, { work }) => sum + (proven || work.kind !== 'stored' ? 3 : 1), 0)
}

function readAnswer(payload: Uint8Array): PeerAnswer {
  const bytes = Buffer.from(payload)
  if (bytes[0] === '+'.charCodeAt(0)) return { reply: new Uint8Array(bytes.subarray(1)) }
  // A peer's words go into messages for people.
  return { reason: bytes.toString('utf8', 1, 501).replace(/\p{Cc}/gu, ' ') || 'no answer' }
}

/** Of an access key: what its secret signs with, for whom it was made, who must not be denied. */
function accessKeyFault(
  { issuer, ring }: AskerFields,
  signed: Uint8Array,
  signature: string,
  view: View,
  { objects }: RingState,
  nowMs: number,
): string | undefined {
  const key = objects.accessKey(issuer.slice('key:'.length))
  if (key === undefined) return `the ring has no access key ${issuer.slice('key:'.length)}`
  if (!verifiesRaw(key.publicKey, signed, signature)) return 'the request is not signed with the access key'
  const [kind, name] = key.identity.split(':') as [string, string]
  if (kind === 'operator')
    return view.operators.some((one) => one.name === name) ? undefined : `${key.identity} is none of this ring’s operators`
  const subject = spiffeId(ring, 'service', name)
  const denied = view.denials.matchCredential({ issuer: ringIssuer(ring), subject, issuedAtMs: key.atMs }, nowMs)
  return denied === undefined ? undefined : `${subject} is denied by ${denied.issuer}: ${denied.reason}`
}
