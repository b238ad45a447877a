/** Whose request it is by its address and by what it says of itself: denials, lists of others, places, bots, challenges. */

import type { Denial, DenialIndex } from '@ringwall/ring'
import { type BotNames, botClaim } from './bots.ts'
import { bindingOf, challenges, isChallenged, isVisit, type Passes, solutionOf } from './challenge.ts'
import { judgeIndicators } from './indicators.ts'
import type { Objection, RequestJudgement } from './judgement.ts'
import type { RateLimiter } from './rate-limiter.ts'
import { refusedSource } from './sources.ts'
import type { GuardEnvironment } from './types.ts'

const forbidden = (): 401 | 403 => 403

/** Certified denials first, then those by gossip. @param statusOf How it is answered: 403 unless given. */
export function denial(
  environment: GuardEnvironment,
  find: (index: DenialIndex) => Denial | undefined,
  statusOf: (denied: Denial) => 401 | 403 = forbidden,
): Objection | undefined {
  const certified = find(environment.view.denials)
  const found = certified ?? find(environment.provisional)
  if (found === undefined) return undefined
  const { id, reason } = found
  return { outcome: 'deny', status: statusOf(found), reason, rule: `denial:${id}`, provisional: certified === undefined }
}

export function sourceObjection(judgement: RequestJudgement, environment: GuardEnvironment): Objection | undefined {
  judgement.check = 'denial'
  return denial(environment, (index) => index.matchAddress(judgement.request.remoteAddress, environment.nowMs))
}

/** What lists of others say of the source. */
export function indicatorObjection(
  judgement: RequestJudgement,
  { view, indicators, nowMs }: GuardEnvironment,
  limiter: RateLimiter | undefined,
): Objection | undefined {
  if (indicators === undefined || view.policy.indicators.length === 0) return undefined
  judgement.check = 'denial'
  const verdict = judgeIndicators(view.policy, indicators, judgement.request.remoteAddress, limiter, nowMs)
  if (verdict === undefined) return undefined
  const { mode, reason, rule, retryAfterS } = verdict
  if (mode === 'deny') return { outcome: 'deny', status: 403, reason, rule }
  if (mode === 'limit') return { outcome: 'throttle', status: 429, reason, rule, retryAfterS }
  judgement.shadowed ??= 'deny'
  judgement.shadowReason ??= `nothing objected; ${reason}, which only watches`
  return undefined
}

/** Whose requests the route takes. A challenge stops those who come, not what is under way, and not who may. */
export function placeObjection(judgement: RequestJudgement): Objection | undefined {
  judgement.check = 'source'
  const refused = refusedSource(judgement.route!, judgement.source)
  return refused?.action === 'deny' ? { outcome: 'deny', status: 403, reason: refused.reason, rule: refused.rule } : undefined
}

export function challengeObjection(judgement: RequestJudgement): Objection | undefined {
  judgement.check = 'challenge'
  const { request, route } = judgement
  const refused = refusedSource(route!, judgement.source)
  if (refused?.action === 'challenge' && judgement.pass === undefined)
    return { outcome: 'challenge', status: 403, reason: refused.reason, rule: refused.rule }
  if (!isChallenged(route!, request.pressed) || judgement.pass !== undefined) return undefined
  const reason = request.pressed === true ? 'no pass is shown, and there is too little time for all' : 'no pass is shown'
  return { outcome: 'challenge', status: 403, reason }
}

export function botObjection(
  judgement: RequestJudgement,
  { view }: GuardEnvironment,
  botNames: BotNames | undefined,
): Objection | undefined {
  judgement.check = 'source'
  const bot = botClaim(view.policy.bots, judgement.request, botNames)
  judgement.bot = bot
  const { pretenders } = judgement.route!.service
  if (bot?.standing !== 'pretender' || pretenders === 'pass') return undefined
  if (pretenders === 'challenge' && judgement.pass !== undefined) return undefined
  const reason = `says that it is ${bot.name}, from an address that is not of it`
  return { outcome: pretenders, status: 403, reason, rule: `bot:${bot.name}` }
}

/** Somebody brings a proof of work. Undefined: nobody does. */
export function redeemed(
  judgement: RequestJudgement,
  { view, nowMs }: GuardEnvironment,
  passes: Passes | undefined,
): Objection | undefined {
  const { request } = judgement
  const solution = passes === undefined ? undefined : solutionOf(request)
  if (solution === undefined && (passes === undefined || !isVisit(request))) return undefined
  const route = view.route(request.host, request.path, request.method)
  if (route === undefined || !challenges(route.service)) return undefined
  judgement.route = route
  judgement.check = 'challenge'
  if (solution === undefined) return { outcome: 'challenge', status: 403, reason: 'the challenge was asked for' }
  const answer = passes!.redeem(solution, bindingOf(route.service.name, request), nowMs)
  if ('refused' in answer) return { outcome: 'deny', status: 403, reason: answer.refused }
  judgement.granted = answer
  return { outcome: 'challenge', status: 200, reason: 'a proof of work was brought, and a pass given for it' }
}
