/** Ends what somebody who is denied has under way at this node. */
import { type DenialSubject, isCredentialSubject } from '@ringwall/ring'
import type { EventLog } from '../events.ts'
import { describeSubject } from '../subject-text.ts'
import type { LateParts } from './late-parts.ts'

export type Cut = (subject: DenialSubject) => void

export function cutting(late: Pick<LateParts, 'traffic' | 'workloads'>, events: EventLog): Cut {
  /** About tokens, to be cut together: many denials may come in one message or block. */
  let revoked: DenialSubject[] = []
  const cutRevoked = (): void => {
    const subjects = revoked
    revoked = []
    late.workloads?.review()
    const count = late.traffic?.cutCredentials(subjects)
    if (count === undefined || count === 0) return
    const more = subjects.length === 1 ? '' : ` and ${subjects.length - 1} more`
    const what = `${describeSubject(subjects[0]!)}${more}`
    events.add('denial', 'info', `${what}: ${count} open requests and WebSockets ended`)
  }
  return (subject) => {
    if (subject.kind === 'ip' || subject.kind === 'cidr') late.traffic?.cutSource(subject.value)
    else if (isCredentialSubject(subject) && revoked.push(subject) === 1) setImmediate(cutRevoked)
  }
}
