/** What a node says by itself of a source or an account that its detectors found: it enforces that at once, and tells the ring. */
import { type Denial, type DenialSubject, denialOf, type RingApplication, type RingState, type View } from '@ringwall/ring'
import { parseTx, subjectId, type TxBody } from '@ringwall/ring/tx'
import type { EarlyDenials } from './provisional.ts'

export interface OwnDenialsOptions {
  readonly application: RingApplication
  readonly early: EarlyDenials
  readonly state: () => RingState
  readonly view: () => View
  /** In the node's name. */
  readonly sign: (body: TxBody, atMs: number) => Uint8Array
  /** Ends what the subject has under way. */
  readonly cut: (subject: DenialSubject) => void
  /** To the others, and to the ledger. */
  readonly propose: (bytes: Uint8Array, subject: DenialSubject) => void
}

/** @param atMs Unix milliseconds: now. */
export type DenyInOwnName = (subject: DenialSubject, ttlMs: number, reason: string, atMs: number) => void

export function ownDenials(options: OwnDenialsOptions): DenyInOwnName {
  const { application, early, state, view, sign, cut, propose } = options
  return (subject, ttlMs, reason, atMs) => {
    const ownTtlMs = Math.min(ttlMs, view().policy.denials.nodeTtlMax)
    // A denial that others wanted to be short must not keep this node from saying what it saw.
    if ((view().denials.find(subjectId(subject), atMs)?.expiresAtMs ?? 0) > atMs + ownTtlMs / 2) return
    const bytes = sign({ type: 'deny.add', subject, ttlMs: ownTtlMs, reason }, atMs)
    const checked = application.provisional(state(), bytes, atMs)
    const own: Denial | undefined = checked.ok
      ? checked.denial
      : isFull(checked.code)
        ? denialOf(parseTx(bytes).content, undefined)
        : undefined
    // What this node saw itself it needs nobody’s leave to refuse, for as long as its statement waits in the state: so long
    // an operator can lift it.
    const ownUntilMs = Math.min(atMs + ownTtlMs, atMs + application.corroboration(state()).withinMs)
    if (own !== undefined && early.keepOwn({ ...own, expiresAtMs: ownUntilMs })) cut(subject)
    if (own !== undefined && !checked.ok) return
    propose(bytes, subject)
  }
}

/** Nothing is wrong with the denial but that the ring takes no more of them. */
function isFull(code: string): boolean {
  return code === 'QUOTA_EXCEEDED' || code === 'PENDING_FULL' || code === 'DENIALS_FULL'
}
