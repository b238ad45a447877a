/** Whether something is denied already. */

import { type Denial, type DenialSubject, denialOf, type View } from '@ringwall/ring'
import { parseTx, subjectId } from '@ringwall/ring/tx'
import type { EarlyDenials } from './provisional.ts'

function currentDenial(view: View, subject: DenialSubject): Denial | undefined {
  const id = subjectId(subject)
  return view.denials.find(id, Date.now())
}

export function isDenied(view: View, subject: DenialSubject): boolean {
  return currentDenial(view, subject) !== undefined
}

/** By a block, or by what nodes said and no block yet. */
export function denialOfCredential(
  view: View,
  { enforced }: Pick<EarlyDenials, 'enforced'>,
  credential: Parameters<View['denials']['matchCredential']>[0],
  nowMs = Date.now(),
): Denial | undefined {
  return view.denials.matchCredential(credential, nowMs) ?? enforced.matchCredential(credential, nowMs)
}

/** A denial that is enforced already is no fault of the peer that passed it on. */
export function isKnownDenial(view: View, early: EarlyDenials, payload: Uint8Array): boolean {
  try {
    const said = denialOf(parseTx(payload).content, undefined)
    if (said === undefined) return false
    return isDenied(view, said.subject) || early.index.find(said.id, Date.now()) !== undefined
  } catch {
    return false
  }
}
