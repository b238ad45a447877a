/** Where a request goes to, and whether the view is young enough to judge it by. */
import { type Objection, type RequestJudgement, viewAgeMs } from './judgement.ts'
import { readingsOf } from './routing-path.ts'
import { placeObjection } from './source-checks.ts'
import type { GuardEnvironment } from './types.ts'

/** When a client may ask again: a ring whose quorum is back certifies a block within some seconds. */
const STALE_RETRY_S = 5

/** Finds the route. */
export function routeObjection(judgement: RequestJudgement, { view }: GuardEnvironment): Objection | undefined {
  const { request } = judgement
  judgement.check = 'route'
  const route = view.route(request.host, request.path, request.method)
  if (route === undefined) return { outcome: 'deny', status: 404, reason: unansweredReason(view) }
  judgement.route = route
  if (route.route?.deny === true) return { outcome: 'deny', status: 403, reason: `the route ${route.route.name} is closed` }
  // Whoever made `path` may have read the target otherwise than the server behind will.
  for (const path of readingsOf(request.target)) {
    const other = view.route(request.host, path, request.method)
    if (other !== undefined && other.route !== route.route) {
      return { outcome: 'deny', status: 403, reason: `the path reads as ${route.label} and as ${other.label}` }
    }
  }
  return undefined
}

const ELSEWHERE_NAMED_MAX = 5

/** For operators: the client hears of no service. */
function unansweredReason({ elsewhere }: GuardEnvironment['view']): string {
  if (elsewhere === undefined || elsewhere.size === 0) return 'no service answers to this host'
  const names = [...elsewhere].slice(0, ELSEWHERE_NAMED_MAX).join(', ')
  const more = elsewhere.size > ELSEWHERE_NAMED_MAX ? ' and more' : ''
  return `no service answers to this host on this node; by their selectors other nodes serve ${names}${more}`
}

/** Whether the view is older than the route tolerates. */
function stalenessObjection(judgement: RequestJudgement, environment: GuardEnvironment): Objection | undefined {
  judgement.check = 'staleness'
  const route = judgement.route!
  const { max, beyond } = route.route?.staleness ?? route.service.staleness
  judgement.stale = viewAgeMs(environment) > max
  if (judgement.stale && beyond === 'closed') {
    return {
      outcome: 'deny',
      status: 503,
      reason: `the view is ${viewAgeMs(environment)} ms old, this route tolerates ${max} ms`,
      rule: 'view:stale',
      retryAfterS: STALE_RETRY_S,
    }
  }
  return undefined
}

/** Where it goes to, whence it comes, and whether this node knows enough to say. */
export function whereObjection(judgement: RequestJudgement, environment: GuardEnvironment): Objection | undefined {
  return routeObjection(judgement, environment) ?? placeObjection(judgement) ?? stalenessObjection(judgement, environment)
}
