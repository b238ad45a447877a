/** Whoever catches a validator at lying shows it to the ring, which lets it go. */
import type { EvidenceStatement, LedgerEvidence } from '@ringwall/ledger'
import type { SignedStatement } from '@ringwall/ring'
import { encodeBase64url, orderStatements } from '@ringwall/ring/tx'
import type { EventLog } from '../events.ts'
import type { OwnName } from './own-name.ts'
import type { RingView } from './ring-view.ts'

export function evidenceShower(own: OwnName, now: RingView, events: EventLog): (evidence: LedgerEvidence) => void {
  return ({ validator, epoch, round, first, second }) => {
    const [a, b] = orderStatements(statementOf(first), statementOf(second))
    own.submit({ type: 'evidence', validator, epoch, round, first: a, second: b }).catch((error: Error) => {
      // Others may have shown it already.
      if (now.isMember(validator)) events.add('node', 'warn', `evidence against ${validator} is not agreed on: ${error.message}`)
    })
  }
}

function statementOf({ kind, digest, signature }: EvidenceStatement): SignedStatement {
  return { kind, digest: digest ?? null, signature: encodeBase64url(signature) }
}
