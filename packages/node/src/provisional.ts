/**
 * Deny early, grant late: a signed denial is enforced the moment it arrives over gossip, and lapses unless a quorum
 * confirms it. This file decides which gossiped transactions count, and for how long.
 *
 * - An operator’s denial stands while no quorum could confirm it.
 * - A node’s stands for `denials.corroboration.alone` of the policy, ten seconds unless it says so, unless as many nodes have said so as the policy asks for. Said again by the same node
 *   it does nothing: one liar cannot keep it alive.
 * - What lapses though a quorum was there to confirm it is counted against its signers, but for floods: one that meets a single
 *   node is confirmed by nobody. A node with too many of these is no longer enforced early; the ledger still takes its word for what it is.
 * - A network wider than one source takes the word of as many nodes as the policy asks for.
 * - What this node found by itself it enforces itself, confirmed or not: its own traffic it may judge alone.
 */
import {
  type Denial,
  type DenialIndex,
  type DenialSubject,
  DenialTable,
  isCorroborated,
  isFloodDenial,
  ProvisionalDenials,
  parsePrefix,
  type RingApplication,
  type RingState,
} from '@ringwall/ring'
import { parseTx } from '@ringwall/ring/tx'

/** A provisional denial lapses after this long with a live quorum (docs/architecture.md, "deny early, grant late"). */
export const LAPSE_MS = 10_000
/** Blocks come at least each heartbeat; after this long without one there is no quorum that could confirm. */
const QUORUM_SILENT_MS = 6_000
/** A quorum that was there for so long could have confirmed what is true. */
const CONFIRM_MS = 5_000
/** How long a lapsed denial is held against its signer. */
const MARK_MS = 3_600_000
/** A node with so many is not believed early any more. */
export const UNCONFIRMED_MAX = 20
const MARKS_PER_ISSUER_MAX = 1_000
/** Denials that this node found itself and enforces by itself. */
const OWN_MAX = 10_000
/** Statements of one node remembered as heard. */
const SPOKEN_PER_ISSUER_MAX = 5_000

interface Held {
  readonly arrivedAtMs: number
  /** Who said so, each with the statement. */
  readonly statements: Map<string, Uint8Array>
  /** Enough nodes have said so, or an operator has. */
  isEnough: boolean
  /** Held against its signers if nobody confirms it. */
  readonly counts: boolean
  /** How long it stands while it is not enough. */
  readonly aloneMs: number
}

/** Whoever has one address of an IPv6 /64 has them all. */
const SOURCE_BITS_V6 = 64

function isOneSource(subject: DenialSubject): boolean {
  if (subject.kind !== 'cidr') return true
  const prefix = parsePrefix(subject.value)
  return prefix?.version === 6 && prefix.length >= SOURCE_BITS_V6
}

/** What became of a gossiped transaction: enforced now; news that is not enforced but worth telling; known; no valid denial. */
export interface Hearing {
  readonly kind: 'enforced' | 'told' | 'known' | 'bad'
  readonly denial?: Denial
}

export class EarlyDenials {
  readonly index = new ProvisionalDenials()
  readonly #application: RingApplication
  /** When each held denial arrived and who said so, by denial id. Bounded by what `index` takes in. */
  readonly #held = new Map<string, Held>()
  /** Until when a node that spoke about a subject is not heard about it again: by issuer and denial id. */
  readonly #spoken = new Map<string, Map<string, number>>()
  /** Denials that lapsed unconfirmed, by issuer: id and when. */
  readonly #marks = new Map<string, Map<string, number>>()
  /** What this node found by itself, by denial id, and the same to look things up in. */
  readonly #own = new Map<string, Denial>()
  #ownTable = DenialTable.empty
  /** Since when a quorum has been certifying blocks without a pause; undefined while it is silent. */
  #liveSinceMs: number | undefined
  /** What guards look things up in: what was heard, and what this node found itself. */
  readonly enforced: DenialIndex
  /** Counts changes of it. */
  changes = 0

  constructor(application: RingApplication) {
    this.#application = application
    const early = this
    this.enforced = {
      get size() {
        return early.index.size + early.#ownTable.size
      },
      matchAddress: (address, nowMs) => this.index.matchAddress(address, nowMs) ?? this.#ownTable.matchAddress(address, nowMs),
      // A node by itself denies addresses and accounts only.
      matchCredential: (credential, nowMs) => this.index.matchCredential(credential, nowMs),
      matchAccount: (service, key, nowMs) =>
        this.index.matchAccount(service, key, nowMs) ?? this.#ownTable.matchAccount(service, key, nowMs),
      find: (id, nowMs) => this.index.find(id, nowMs) ?? this.#ownTable.find(id, nowMs),
      list: (nowMs) => {
        const heard = this.index.list(nowMs)
        const ids = new Set(heard.map(({ id }) => id))
        return [...heard, ...this.#ownTable.list(nowMs).filter(({ id }) => !ids.has(id))]
      },
    }
  }

  /** Takes in a transaction by gossip or from the admin API. */
  hear(state: RingState, bytes: Uint8Array, nowMs: number): Hearing {
    const checked = this.#application.provisional(state, bytes, nowMs)
    if (!checked.ok) return { kind: 'bad' }
    const { denial } = checked
    const { untilMs, body } = parseTx(bytes).content
    // Who revokes a token shows it: that takes nobody else's word.
    const byNode = denial.issuer.startsWith('node:') && body.type === 'deny.add'
    const aloneMs = this.#application.aloneMs(state)
    if (!byNode)
      return this.#enforce(denial, bytes, nowMs, untilMs, true, aloneMs) ? { kind: 'enforced', denial } : { kind: 'known' }
    const spoken = this.#spoken.get(denial.issuer) ?? new Map<string, number>()
    this.#spoken.set(denial.issuer, spoken)
    if ((spoken.get(denial.id) ?? 0) > nowMs || spoken.size >= SPOKEN_PER_ISSUER_MAX) return { kind: 'known' }
    spoken.set(denial.id, nowMs + MARK_MS)
    const held = this.#held.get(denial.id)
    if (held !== undefined) {
      held.statements.set(denial.issuer, Uint8Array.from(bytes))
      held.isEnough ||= this.#isEnough(state, held.statements.keys())
      return { kind: 'told', denial }
    }
    if (this.unconfirmed(denial.issuer, nowMs) >= UNCONFIRMED_MAX) return { kind: 'told', denial }
    const isEnough = this.#isEnough(state, [denial.issuer])
    if (!isEnough && !isOneSource(denial.subject)) return { kind: 'told', denial }
    return this.#enforce(denial, bytes, nowMs, untilMs, isEnough, aloneMs)
      ? { kind: 'enforced', denial }
      : { kind: 'told', denial }
  }

  /** As `hear`. @returns The denial when it is news and now enforced. */
  take(state: RingState, bytes: Uint8Array, nowMs: number): Denial | undefined {
    const { kind, denial } = this.hear(state, bytes, nowMs)
    return kind === 'enforced' ? denial : undefined
  }

  /** Without a quorum nothing can be confirmed: it then stands until its transaction can no longer be agreed. */
  #enforce(denial: Denial, bytes: Uint8Array, nowMs: number, untilMs: number, isEnough: boolean, aloneMs: number): boolean {
    if (!this.index.add(denial, nowMs, untilMs - nowMs)) return false
    this.changes += 1
    this.#held.set(denial.id, {
      arrivedAtMs: nowMs,
      statements: new Map([[denial.issuer, Uint8Array.from(bytes)]]),
      isEnough,
      counts: !isFloodDenial(denial),
      aloneMs,
    })
    return true
  }

  #isEnough(state: RingState, issuers: Iterable<string>): boolean {
    return isCorroborated(issuers, this.#application.corroboration(state), this.#application.members(state))
  }

  /** This node found it: enforced here for its whole time, whoever else says so. False when there is no room. */
  keepOwn(denial: Denial): boolean {
    if (this.#own.size >= OWN_MAX) return false
    this.#own.set(denial.id, denial)
    this.#ownTable = this.#ownTable.with(denial)
    this.changes += 1
    return true
  }

  /** The transactions of what is held: for a node that was away while they went around. */
  transactions(): readonly Uint8Array[] {
    return [...this.#held.values()].flatMap(({ statements }) => [...statements.values()])
  }

  /** These are denied by the ring now, as the state has them: whoever said so was right. */
  confirm(denials: Iterable<Denial>): void {
    for (const { id, subject } of denials) {
      if (this.index.confirm(id, subject)) this.#held.delete(id)
      this.changes += 1
      for (const marks of this.#marks.values()) marks.delete(id)
      for (const spoken of this.#spoken.values()) spoken.delete(id)
    }
  }

  /** An operator lifted these. */
  lift(ids: Iterable<string>): void {
    for (const id of ids) {
      this.#settle(id)
      this.#forgetOwn(id)
    }
  }

  /** Denials of the last hour that the issuer signed, that a quorum could have confirmed, and that nobody did. */
  unconfirmed(issuer: string, nowMs: number): number {
    let count = 0
    for (const at of this.#marks.get(issuer)?.values() ?? []) if (nowMs - at < MARK_MS) count += 1
    return count
  }

  /** Of every issuer that has some. */
  unconfirmedByIssuer(nowMs: number): readonly { readonly issuer: string; readonly count: number }[] {
    return [...this.#marks.keys()]
      .sort()
      .map((issuer) => ({ issuer, count: this.unconfirmed(issuer, nowMs) }))
      .filter(({ count }) => count > 0)
  }

  /** Lapses what a live quorum had its time to confirm and did not. A partition must not lift an operator’s denial. */
  tick(nowMs: number, certifiedAtMs: number | undefined): void {
    const live = certifiedAtMs !== undefined && nowMs - certifiedAtMs <= QUORUM_SILENT_MS
    this.#liveSinceMs = live ? (this.#liveSinceMs ?? nowMs) : undefined
    if (this.index.expire(nowMs) > 0) this.changes += 1
    const standing = new Set(this.index.list(nowMs).map(({ id }) => id))
    for (const [id, held] of this.#held) {
      if (!standing.has(id)) {
        // Signed for a moment only: it held as long, and nobody confirmed it.
        if (live && held.counts) for (const issuer of held.statements.keys()) this.#mark(issuer, id, nowMs)
        this.#held.delete(id)
        continue
      }
      const liveMs = this.#liveSinceMs === undefined ? 0 : nowMs - Math.max(held.arrivedAtMs, this.#liveSinceMs)
      const isOver = held.isEnough ? liveMs >= LAPSE_MS : nowMs - held.arrivedAtMs >= held.aloneMs
      if (!isOver) continue
      if (liveMs >= CONFIRM_MS && held.counts) for (const issuer of held.statements.keys()) this.#mark(issuer, id, nowMs)
      this.#settle(id)
    }
    for (const spoken of this.#spoken.values()) {
      for (const [id, untilMs] of spoken) if (untilMs <= nowMs) spoken.delete(id)
    }
    for (const [id, { expiresAtMs }] of this.#own) if (expiresAtMs <= nowMs) this.#forgetOwn(id)
    for (const [issuer, marks] of this.#marks) {
      for (const [id, at] of marks) if (nowMs - at >= MARK_MS) marks.delete(id)
      if (marks.size === 0) this.#marks.delete(issuer)
    }
  }

  #mark(issuer: string, id: string, nowMs: number): void {
    const marks = this.#marks.get(issuer) ?? new Map<string, number>()
    this.#marks.set(issuer, marks)
    if (marks.size < MARKS_PER_ISSUER_MAX) marks.set(id, nowMs)
  }

  /** @param reason Only what was found for it. */
  forgetOwn(id: string, reason: string): void {
    if (this.#own.get(id)?.reason === reason) this.#forgetOwn(id)
  }

  #forgetOwn(id: string): void {
    const own = this.#own.get(id)
    if (own === undefined) return
    this.#own.delete(id)
    this.#ownTable = this.#ownTable.without(own.subject, id)
    this.changes += 1
  }

  #settle(id: string): void {
    this.index.confirm(id)
    this.#held.delete(id)
    this.changes += 1
  }
}
