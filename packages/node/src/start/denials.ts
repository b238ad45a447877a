/** Denials on their way: heard from others, passed on, proposed, said in this node's own name, and taken back. */
import { LedgerError } from '@ringwall/ledger'
import { type DenialSubject, denialOf } from '@ringwall/ring'
import { parseTx, subjectId } from '@ringwall/ring/tx'
import { isKnownDenial } from '../known-denials.ts'
import { type DenyInOwnName, ownDenials } from '../own-denials.ts'
import type { RingLedger } from '../running-node.ts'
import { describeSubject } from '../subject-text.ts'
import type { Agreement } from './agreement.ts'
import { type Cut, cutting } from './cutting.ts'
import type { Ground } from './ground.ts'
import type { LateParts } from './late-parts.ts'
import { OWN_WAIT_MS, type OwnName } from './own-name.ts'

const REDEEM_WAIT_MS = 8_000

export interface Denials {
  readonly cut: Cut
  /** Enforces a denial at once and tells the others; anything else goes to the ledger alone. */
  readonly propose: (bytes: Uint8Array, waitMs: number) => ReturnType<RingLedger['submit']>
  /** Whether this is the first redemption of a token that serves once. */
  readonly redeem: (token: string) => Promise<boolean>
  /** At once here, and to the ring. */
  readonly denyAt: DenyInOwnName
  readonly deny: (subject: DenialSubject, ttlMs: number, reason: string) => void
  /** What it said for this reason, and for no other, it says no longer. */
  readonly withdraw: (subject: DenialSubject, reason: string, why: string) => void
}

export function openDenials(ground: Ground, agreement: Agreement, own: OwnName, late: LateParts): Denials {
  const cut = cutting(late, ground.events)
  followGossip(agreement, cut)
  const propose = proposer(agreement, cut)
  const denyAt = denyInOwnName(ground, agreement, own, cut, propose)
  return {
    cut,
    propose,
    redeem: redeemer(agreement, own, propose),
    denyAt,
    deny: (subject, ttlMs, reason) => denyAt(subject, ttlMs, reason, Date.now()),
    withdraw: withdrawer(ground, agreement, own),
  }
}

/** What other nodes say. */
function followGossip({ early, fabric, ledger, now }: Agreement, cut: Cut): void {
  /** Answers whether it is worth passing on further. */
  const hear = (payload: Uint8Array): 'news' | 'known' | 'bad' => {
    const { kind, denial } = early.hear(ledger.state(), payload, Date.now())
    if (kind === 'bad') return isKnownDenial(now.view, early, payload) ? 'known' : 'bad'
    if (kind === 'known' || denial === undefined) return 'known'
    if (kind === 'enforced') cut(denial.subject)
    // Whoever hears of a denial helps to get it agreed: its first node may be gone by now.
    ledger.submit(payload, OWN_WAIT_MS).catch(() => {})
    return 'news'
  }
  fabric.onGossip((_from, payload) => hear(payload) !== 'bad')
  // A node that was away has missed what went around: its neighbours tell it, and it tells the rest.
  fabric.onMessage('gossip', (_from, payload) => {
    if (hear(payload) === 'news') fabric.gossip(payload)
  })
  fabric.onLink(({ id, connected }) => {
    if (connected) for (const bytes of early.transactions()) fabric.send(id, 'gossip', bytes)
  })
}

function proposer({ early, fabric, ledger }: Agreement, cut: Cut): Denials['propose'] {
  return (bytes, waitMs) => {
    const { kind, denial } = early.hear(ledger.state(), bytes, Date.now())
    if (denial !== undefined) {
      if (kind === 'enforced') cut(denial.subject)
      fabric.gossip(bytes)
    }
    return ledger.submit(bytes, waitMs)
  }
}

/** Whose redemption of a token that serves once was the first? The ledger says: it dates and names each. */
function redeemer({ ledger }: Agreement, own: OwnName, propose: Denials['propose']): Denials['redeem'] {
  return async (token) => {
    const bytes = own.transaction({ type: 'token.use', token })
    const { content } = parseTx(bytes)
    const use = denialOf(content, undefined)
    if (use === undefined) return false
    try {
      await propose(bytes, REDEEM_WAIT_MS)
    } catch (error) {
      if (error instanceof LedgerError && error.code === 'TX_REFUSED') return false
      throw error
    }
    return ledger.state().denial(use.id)?.reason === use.reason
  }
}

function denyInOwnName(
  { events }: Ground,
  { application, early, ledger, now }: Agreement,
  own: OwnName,
  cut: Cut,
  propose: Denials['propose'],
): DenyInOwnName {
  return ownDenials({
    application,
    early,
    state: () => ledger.state(),
    view: () => now.view,
    sign: (body, atMs) => own.transaction(body, atMs),
    cut,
    propose: (bytes, subject) =>
      void propose(bytes, OWN_WAIT_MS).catch((error: Error) => {
        const waiting = error instanceof LedgerError && error.code === 'NO_QUORUM'
        events.add(
          'denial',
          'warn',
          waiting
            ? `denial of ${describeSubject(subject)} waits for a quorum: ${error.message}`
            : `denial of ${describeSubject(subject)} refused: ${error.message}`,
        )
      }),
  })
}

function withdrawer({ events }: Ground, { early, ledger, now }: Agreement, own: OwnName): Denials['withdraw'] {
  return (subject, reason, why) => {
    const id = subjectId(subject)
    const { issuer: self } = own
    const said = ledger
      .state()
      .pending.get(id)
      ?.statements.find(({ issuer }) => issuer === self)
    if (said !== undefined && said.reason !== reason) return
    early.forgetOwn(id, reason)
    const standing = now.view.denials.find(id, Date.now())
    const isOurs = standing !== undefined && (standing.statedBy?.includes(self) ?? standing.issuer === self)
    if (said === undefined && !isOurs) return
    own.submit({ type: 'deny.withdraw', id, reason: why }).catch((error: Error) => {
      events.add('denial', 'warn', `the word on ${describeSubject(subject)} is not taken back, and lapses: ${error.message}`)
    })
  }
}
