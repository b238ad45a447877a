/** What `ringwall check` says of measured states. */
import { type DevicesPolicy, endorsementOf, mustAttest, type RingState, recordOf } from '@ringwall/ring'
import type { CheckFinding } from '../check.ts'
import { trustState } from './trust.ts'

/** Nothing where the policy asks for no attestation. */
export function checkAttestation(state: RingState, policy: DevicesPolicy, nowMs: number): readonly CheckFinding[] {
  const { least } = policy.attestation
  const { trust } = state.enrolment
  const findings: CheckFinding[] = []
  let trusted = 0
  for (const { id } of state.nodes) {
    const record = recordOf(trust, id)
    if (record === undefined || !mustAttest(state, id, policy)) continue
    const how = trustState(record, nowMs)
    if (how === 'trusted') {
      trusted += 1
      continue
    }
    const isUnbound = least === 'tpm' && endorsementOf(state, id) === null
    const fix = isUnbound
      ? `bind its TPM: ringwall device tpm on its machine, then ringwall device bind ${id} DIGEST`
      : `is ${id} running? Its events say why it could not attest: ringwall events --node ${id}`
    const untilMs = Math.max(0, record.untilMs - nowMs)
    const what = {
      waiting: `${id} has not attested yet; it has ${Math.ceil(untilMs / 1_000)} s`,
      stale: `${id} is late with its attestation; its trust lapses in ${Math.ceil(untilMs / 1_000)} s`,
      lapsed: `${id} has not attested in time: nothing that it says counts`,
    }[how]
    findings.push({ group: 'attestation', level: how === 'lapsed' ? 'bad' : 'warn', what, fix })
  }
  if (trusted > 0) {
    const what = `${trusted} ${trusted === 1 ? 'node is' : 'nodes are'} trusted, by ${least === 'tpm' ? 'their TPMs' : 'what they measure of themselves'}`
    findings.push({ group: 'attestation', level: 'ok', what, fix: null })
  }
  return findings
}
