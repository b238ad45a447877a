/**
 * How the other nodes behave: takes what every part of this node notices of them, looks at their links and clocks now and then, and says what is a pattern.
 * Nothing follows from it here: evidence on the ledger evicts, and operators do the rest.
 */
import { CONDUCT, Conduct, type ConductName } from '@ringwall/detect'
import type { LinkStatus } from '@ringwall/fabric'
import type { LedgerFault } from '@ringwall/ledger'
import type { NewFinding } from '@ringwall/respond'
import { KEY_NAMES, type RingState } from '@ringwall/ring'

const LOOK_MS = 10_000
/** A link that came up a moment ago says nothing yet. */
const LINKED_MS_MIN = 30_000
/** As validators refuse blocks for. */
const CLOCK_OFF_MS = 4_000
/** So many clocks, this node's among them, have a middle. */
const CLOCKS_MIN = 4

/** What this node sees of the ring by itself. */
export interface RingLook {
  readonly links: readonly Pick<LinkStatus, 'id' | 'connected' | 'clockOffsetMs'>[]
  readonly validators: readonly string[]
  /** Validators that said something about the ledger lately, this node among them. */
  readonly reachable: readonly string[]
  readonly quorum: number
  /** Nodes whose word on denials counts no more until others confirm it: issuers, and how many nobody confirmed. */
  readonly unconfirmed: readonly { readonly issuer: string; readonly count: number }[]
}

export interface ConductWatchOptions {
  readonly self: string
  readonly look: () => RingLook
  /** From how many unconfirmed denials on a node is not believed early. */
  readonly unconfirmedMax: number
  readonly onSeen: (node: string, kind: ConductName) => void
  readonly onNote: (line: string) => void
  readonly onFinding: (finding: NewFinding) => void
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

/** Faults of a ceremony that a node that was away has as well. */
const ABSENT: ReadonlySet<string> = new Set(['silent-dealer', 'silent-receiver', 'wrong-transcript'])
/** Expelled for what an honest machine that is switched off has, too. */
const LATE = 'ATTESTATION_LATE'
const DETAIL_CHARS_MAX = 300

export class ConductWatch {
  readonly #options: ConductWatchOptions
  readonly #now: () => number
  readonly #conduct = new Conduct()
  /** Since when links are up. */
  readonly #linkedMs = new Map<string, number>()
  /** Unconfirmed denials that were told of. */
  readonly #unconfirmed = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: ConductWatchOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** @param detail What it was this time, for people. */
  seen(node: string, kind: ConductName, detail: string, weight = 1): void {
    if (node === this.#options.self) return
    const atMs = this.#now()
    this.#options.onSeen(node, kind)
    const verdict = this.#conduct.observe({ atMs, node, kind, weight })
    if (verdict === undefined) return
    const { attack, severity, reason } = CONDUCT[kind]
    const what = detail.replace(/\p{Cc}/gu, ' ').slice(0, DETAIL_CHARS_MAX)
    if (verdict.is === 'note') {
      this.#options.onNote(`${node}: ${what}; noted, as it may be an accident: a pattern of it is a finding`)
      return
    }
    const often = verdict.times === 1 ? '' : ` (${verdict.times} times)`
    this.#options.onFinding({
      atMs,
      detector: `node-${kind}`,
      attack,
      service: undefined,
      subject: { kind: 'node', value: node },
      sources: [],
      reason: `${reason}: ${what}${often}`,
      denied: false,
      severity,
    })
  }

  /** What the ledger noticed of a peer. */
  ledgerFault({ peer, what, kind, isMuted }: LedgerFault): void {
    if (isMuted) this.seen(peer, 'muted', what)
    // What is too much or too late an honest node sends as well, when it starts or is slow.
    if (kind !== 'excess') this.seen(peer, kind, what)
  }

  liars(parties: readonly string[], what: string): void {
    for (const party of parties) this.seen(party, 'partial', what)
  }

  /** What the ring agreed on with a block: faults in ceremonies, and whom attestation put out. */
  agreed(before: RingState, now: RingState): void {
    for (const name of KEY_NAMES) {
      const known = before.key(name).faults
      for (const { party, fault, attempt } of now.key(name).faults.filter((one) => !known.includes(one)))
        this.seen(party, ABSENT.has(fault) ? 'absent' : 'ceremony', `${fault} in ceremony ${attempt} of the ${name} key`)
    }
    const { expelled } = before.enrolment.trust
    if (now.enrolment.trust.expelled === expelled) return
    for (const { node, code, atMs } of now.enrolment.trust.expelled)
      if (code !== LATE && !expelled.some((one) => one.node === node && one.atMs === atMs)) this.seen(node, 'expelled', code)
  }

  /** Every few seconds. */
  look(): void {
    const look = this.#options.look()
    this.#lookAtLinks(look)
    this.#lookAtClocks(look)
    for (const { issuer, count } of look.unconfirmed) {
      const before = this.#unconfirmed.get(issuer) ?? 0
      this.#unconfirmed.set(issuer, count)
      if (!issuer.startsWith('node:') || count < this.#options.unconfirmedMax || count <= before) continue
      this.seen(issuer.slice('node:'.length), 'denials', `${count} within an hour that nobody confirmed`)
    }
    const standing = new Set(look.unconfirmed.map(({ issuer }) => issuer))
    for (const issuer of this.#unconfirmed.keys()) if (!standing.has(issuer)) this.#unconfirmed.delete(issuer)
  }

  #lookAtLinks({ links, validators, reachable, quorum }: RingLook): void {
    const atMs = this.#now()
    for (const { id, connected } of links) {
      if (!connected) this.#linkedMs.delete(id)
      else if (!this.#linkedMs.has(id)) this.#linkedMs.set(id, atMs)
    }
    for (const id of this.#linkedMs.keys()) if (!links.some((link) => link.id === id)) this.#linkedMs.delete(id)
    // Whoever hears nobody says nothing about the others.
    if (reachable.length < quorum) return
    for (const id of validators) {
      const sinceMs = this.#linkedMs.get(id)
      if (sinceMs === undefined || reachable.includes(id)) this.#conduct.clear(id, 'silent')
      else if (atMs - sinceMs >= LINKED_MS_MIN) this.seen(id, 'silent', 'nothing was heard for some seconds')
    }
  }

  /** Against the middle of all: where this node's own clock is off, the others agree. */
  #lookAtClocks({ links }: RingLook): void {
    const clocks = links.flatMap(({ id, connected, clockOffsetMs }) =>
      connected && clockOffsetMs !== undefined ? [[id, clockOffsetMs] as const] : [],
    )
    if (clocks.length + 1 < CLOCKS_MIN) return
    const sorted = [0, ...clocks.map(([, offsetMs]) => offsetMs)].sort((a, b) => a - b)
    const middle = sorted[Math.floor((sorted.length - 1) / 2)]!
    for (const [id, offsetMs] of clocks) {
      const off = offsetMs - middle
      if (Math.abs(off) <= CLOCK_OFF_MS) this.#conduct.clear(id, 'clock')
      else this.seen(id, 'clock', `${(Math.abs(off) / 1_000).toFixed(1)} s ${off > 0 ? 'ahead' : 'behind'}`)
    }
  }
}

/** One line for people. */
export function describeConduct({ detector, attack, subject, reason }: NewFinding): string {
  return `${detector} (${attack.join(', ')}): node ${subject.value}: ${reason}`
}
