/** Tells whoever watches the WAF what was decided. */

import type { WafVerdict } from '@ringwall/waf'
import type { RequestJudgement } from './judgement.ts'
import type { WafWitness } from './types.ts'

const NO_VERDICT: WafVerdict = { blocked: false, status: 403, score: 0, matches: [] }

/** Nobody who watches can change what was decided, not by failing either. */
export function testify(
  witness: WafWitness,
  judgement: RequestJudgement,
  body: Uint8Array,
  truncated: boolean,
  nowMs: number,
): void {
  const { request, route, decision, waf, patches } = judgement
  const { verdict = NO_VERDICT } = judgement
  if (route === undefined || decision === undefined || (waf === undefined && patches.length === 0)) return
  const matched = judgement.patchMatches.length > 0 ? patches.find(({ run }) => run.audit.wanted) : undefined
  const audited = matched?.run ?? waf ?? patches[0]!.run
  try {
    const seen = body.length > route.bodyBytesMax ? body.subarray(0, route.bodyBytesMax) : body
    witness(
      { request, route, decision, verdict: { ...verdict, matches: judgement.matches }, waf: audited },
      seen,
      truncated || seen.length < body.length,
      nowMs,
    )
  } catch {
    // The request was judged: that is what counts.
  }
}
