/** Whom the ring believes, as people see it. */
import type { Expelled, RingState, TrustRecord } from '@ringwall/ring'
import type { EventLog } from '../events.ts'

const WHY: Readonly<Record<Expelled['code'], string>> = {
  ATTESTATION_LATE: 'it did not attest for three intervals',
  CASE_OPENED: 'its case was opened',
  DEBUGGER_ATTACHED: 'a debugger was attached to it',
  CLONED: 'two processes speak with its key at once: it was copied',
  CLOCK_ROLLBACK: 'its clock went back',
  CONFIGURATION_CHANGED: 'its configuration is another than it joined with',
  PROGRAM_CHANGED: 'its program, dependencies or flags are others than they may be',
  TPM_CHANGED: 'its key speaks where its TPM is not: it was copied, or its TPM was replaced',
  PCRS_CHANGED: 'its TPM measured another start than it may have',
}

/** Tells of those that a block put out. @returns Their ids. */
export function showExpelled(before: RingState, now: RingState, events: Pick<EventLog, 'add'>): readonly string[] {
  const known = before.enrolment.trust.expelled
  if (now.enrolment.trust.expelled === known) return []
  const fresh = now.enrolment.trust.expelled.filter(
    (one) => !known.some(({ node, atMs }) => node === one.node && atMs === one.atMs),
  )
  for (const { node, code } of fresh) events.add('node', 'bad', `${node} is out: ${code}: ${WHY[code]}`)
  return fresh.map(({ node }) => node)
}

/** How a node that has to attest stands, by the clock of who looks: that needs no block. */
export function trustState({ atMs, staleAtMs, untilMs }: TrustRecord, nowMs: number): 'waiting' | 'trusted' | 'stale' | 'lapsed' {
  if (nowMs >= untilMs) return 'lapsed'
  if (nowMs >= staleAtMs) return 'stale'
  return atMs === null ? 'waiting' : 'trusted'
}
