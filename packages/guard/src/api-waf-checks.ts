/** What a request holds: the service's API, virtual patches, the WAF, and the model of requests. */

import type { CompiledRoute } from '@ringwall/ring'
import type { CollectionStore, CompiledExclusions, WafMatch, WafVerdict } from '@ringwall/waf'
import type { ApiProblem } from '@ringwall/waf/api'
import type { Objection, PatchRun, RequestJudgement } from './judgement.ts'
import type { GuardEnvironment, RequestModel } from './types.ts'

/** What the policy excepts from single rules in a request to this path, now. */
export function exclusionsFor({ exceptions }: CompiledRoute, path: string, nowMs: number): CompiledExclusions | undefined {
  if (exceptions.length === 0) return undefined
  return exceptions.filter(({ untilMs, covers }) => nowMs < untilMs && covers(path)).map(({ exclusion }) => exclusion)
}

const SEVERITIES = ['notice', 'warning', 'error', 'critical'] as const

/** Begins the patches that are in force for this route, and asks them about the head. */
function patchObjection(
  judgement: RequestJudgement,
  { nowMs, stopwatch }: Pick<GuardEnvironment, 'nowMs' | 'stopwatch'>,
): Objection | undefined {
  const { request, route } = judgement
  if (route === undefined || route.patches.length === 0) return undefined
  const exclusions = exclusionsFor(route, request.path, nowMs)
  const known = { clock: () => nowMs, uniqueId: request.requestId ?? '', stopwatch }
  judgement.patches = route.patches
    .filter(({ untilMs }) => nowMs < untilMs)
    .map(({ patch, rules }) => ({ run: rules.begin(known, exclusions), enforced: patch.mode === 'enforce' }))
  return patchVerdicts(judgement, ({ run }) => run.requestHead(request))
}

export function patchesOnBody(judgement: RequestJudgement, body: Uint8Array, truncated: boolean): Objection | undefined {
  return patchVerdicts(judgement, ({ run }) => run.requestBody(body, truncated))
}

/** Every patch is asked, so that all that match are recorded; the first that is enforced decides. */
function patchVerdicts(judgement: RequestJudgement, ask: (patch: PatchRun) => WafVerdict): Objection | undefined {
  let objection: Objection | undefined
  const matches: WafMatch[] = []
  for (const patch of judgement.patches) {
    const verdict = ask(patch)
    matches.push(...verdict.matches)
    if (!verdict.blocked) continue
    const [match] = verdict.matches
    if (patch.enforced)
      objection ??= {
        outcome: 'deny',
        status: verdict.status,
        reason: match?.message || 'a virtual patch matched',
        rule: `rule:${match?.ruleId ?? 0}`,
      }
    else judgement.shadowed = 'deny'
  }
  judgement.patchMatches = matches
  return objection
}

/** Keeps the verdict; objects when it blocks and the route enforces. */
export function wafObjection(judgement: RequestJudgement, verdict: WafVerdict): Objection | undefined {
  judgement.verdict = verdict
  if (!verdict.blocked) return undefined
  const { wafMode } = judgement.route!
  if (wafMode !== 'enforce') {
    if (wafMode === 'shadow') judgement.shadowed = 'deny'
    return undefined
  }
  // The gravest match says most; of equals the last, which tipped the scale.
  let worst: WafMatch | undefined
  for (const match of verdict.matches) {
    if (worst === undefined || SEVERITIES.indexOf(match.severity) >= SEVERITIES.indexOf(worst.severity)) worst = match
  }
  const reason = worst === undefined ? 'the WAF blocked it' : worst.message
  return { outcome: 'deny', status: verdict.status, reason, ...(worst === undefined ? {} : { rule: `rule:${worst.ruleId}` }) }
}

/** Objects where the model refuses and the route’s rules do, too; else it is noted. */
export function modelObjection(
  judgement: RequestJudgement,
  model: RequestModel | undefined,
  body: Uint8Array,
): Objection | undefined {
  const said = model?.judge(judgement.request, body)
  if (said === undefined) return undefined
  if (said.refuses && judgement.route!.wafMode === 'enforce')
    return { outcome: 'deny', status: 403, reason: said.reason, rule: said.rule }
  judgement.shadowed ??= 'deny'
  judgement.shadowReason ??= `nothing objected; ${said.rule} only watches: ${said.reason}`
  return undefined
}

/** Keeps the problem; objects when the route enforces. */
function apiObjection(judgement: RequestJudgement, found: ApiProblem | undefined): Objection | undefined {
  if (found === undefined) return undefined
  judgement.apiProblem = found
  if (judgement.route!.apiMode === 'enforce') return { outcome: 'deny', status: 403, ...found }
  judgement.shadowed = 'deny'
  return undefined
}

interface InspectedPart {
  readonly bytes: Uint8Array
  readonly cut: boolean
  /** Why a body of which not all is looked at is to be refused. */
  readonly oversize: string | undefined
}

/** As much of the body as is looked at. */
export function inspectedPart(judgement: RequestJudgement, body: Uint8Array, truncated: boolean): InspectedPart {
  const route = judgement.route!
  const bytes = body.length > route.bodyBytesMax ? body.subarray(0, route.bodyBytesMax) : body
  const cut = truncated || bytes.length < body.length
  const isOver = cut && route.service.waf.oversize === 'deny'
  const oversize = isOver ? `the body is longer than the ${route.bodyBytesMax} bytes that are inspected` : undefined
  return { bytes, cut, oversize }
}

export function apiBodyObjection(judgement: RequestJudgement, { bytes, cut, oversize }: InspectedPart): Objection | undefined {
  judgement.check = 'api'
  const { examination } = judgement
  if (examination === undefined || judgement.apiProblem !== undefined) return undefined
  if (cut && oversize !== undefined) return apiObjection(judgement, { rule: 'api:body', reason: oversize })
  // The beginning of a body says nothing about the whole.
  return apiObjection(judgement, cut && examination.takesBody ? undefined : examination.body(bytes))
}

export function apiAndWafHead(
  judgement: RequestJudgement,
  { nowMs, stopwatch }: GuardEnvironment,
  collections: CollectionStore,
): Objection | undefined {
  const { request, route } = judgement
  judgement.check = 'api'
  judgement.examination = route!.api?.begin(request)
  const outside = apiObjection(judgement, judgement.examination?.problem)
  if (outside !== undefined) return outside

  judgement.check = 'waf'
  const patched = patchObjection(judgement, { nowMs, stopwatch })
  if (patched !== undefined || route!.rules === undefined) return patched
  const { overrun } = route!.service.waf
  const known = { clock: () => nowMs, uniqueId: request.requestId ?? '', collections, stopwatch, overrun }
  const waf = route!.rules.begin(known, exclusionsFor(route!, request.path, nowMs))
  judgement.waf = waf
  const verdict = waf.requestHead(request)
  return wafObjection(judgement, verdict.blocked ? waf.log() : verdict)
}
