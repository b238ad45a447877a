/**
 * Judges one request against one view. Cheapest checks first; the first that objects ends it: denied source, route, where the source is,
 * staleness, bots, challenge, rate limits, the service's API, WAF, identity, authorization, limits by subject, and with the body denied
 * accounts, limits about accounts, passwords, the API and the WAF's second phase. The API stands before the WAF: it costs a few microseconds, and it refuses what parsers read
 * differently before the WAF's parsers read it.
 *
 * Pure and total: time and view are arguments, and a check that fails unexpectedly refuses the request with status 500
 * rather than letting it pass. Synchronous, unless the token verifier, another node's count or the list of passwords is not.
 */

import { createCollectionStore, type WafTransaction, type WafVerdict } from '@ringwall/waf'
import { accessObjection, believed } from './access-checks.ts'
import { breachObjection, loginObjection, portalObjection } from './account-checks.ts'
import { apiAndWafHead, apiBodyObjection, inspectedPart, modelObjection, patchesOnBody, wafObjection } from './api-waf-checks.ts'
import { bearerToken, presentationOf } from './bearer.ts'
import type { BotNames } from './bots.ts'
import type { Passes } from './challenge.ts'
import { accountsOf, failed, type Objection, RequestJudgement } from './judgement.ts'
import {
  type Asker,
  chargeAnswer,
  chargeCost,
  type LimitPhase,
  type LimitRefusal,
  needsSubject,
  release,
  type SharedLimiter,
  takeLimits,
} from './limits.ts'
import { isPortal, sessionOf } from './people.ts'
import { createRateLimiter, type RateLimiter } from './rate-limiter.ts'
import { routeObjection, whereObjection } from './route-checks.ts'
import {
  botObjection,
  challengeObjection,
  indicatorObjection,
  placeObjection,
  redeemed,
  sourceObjection,
} from './source-checks.ts'
import type { Places } from './sources.ts'
import { testify } from './testimony.ts'
import type { Breaches, Guard, GuardEnvironment, Judgement, RequestModel, TokenVerdict, WafWitness } from './types.ts'

export interface GuardOptions {
  /** Shared by those that count together; one of its own unless given. */
  readonly limiter?: RateLimiter
  /** Counts for all nodes where a limit says so; each node for itself unless given. */
  readonly shared?: SharedLimiter
  readonly witness?: WafWitness
  /** Opens passes; without it nobody has any. */
  readonly passes?: Passes
  readonly breaches?: Breaches
  /** Without it nobody is anywhere. */
  readonly places?: Places
  /** Without it nobody is found out by name. */
  readonly botNames?: BotNames
  /** Asked last, of what the WAF lets pass. */
  readonly model?: RequestModel
  /** Accounts remembered beside what asked about them; 65,536 unless given. */
  readonly pairsMax?: number
}

export function createGuard(options: GuardOptions = {}): Guard {
  const limiters = {
    own: options.limiter ?? createRateLimiter(),
    pairs: createRateLimiter(options.pairsMax === undefined ? {} : { entriesMax: options.pairsMax }),
    shared: options.shared,
    open: new Map<string, number>(),
  }
  const { witness, passes, breaches, places, botNames, model } = options
  const tell = (judgement: RequestJudgement, body: Uint8Array, truncated: boolean, nowMs: number): void => {
    if (witness !== undefined) testify(witness, judgement, body, truncated, nowMs)
  }
  /** An objection before there is a body. */
  const objected = (judgement: RequestJudgement, objection: Objection, environment: GuardEnvironment): Judgement => {
    judgement.object(objection, environment)
    tell(judgement, NO_BODY, false, environment.nowMs)
    return judgement
  }
  /** What rules remember between requests. */
  const collections = createCollectionStore()

  const limitObjection = (
    judgement: RequestJudgement,
    phase: LimitPhase,
    nowMs: number,
    asker?: Asker,
  ): Objection | undefined | Promise<Objection | undefined> => {
    judgement.check = 'limit'
    const over = takeLimits(limiters, judgement.route!, judgement.request, asker, phase, nowMs, judgement)
    if (over instanceof Promise) return over.then((refusal) => refusal && objectionOf(refusal))
    return over && objectionOf(over)
  }

  const afterToken = (
    judgement: RequestJudgement,
    environment: GuardEnvironment,
    verdict: TokenVerdict | undefined,
  ): Objection | undefined | Promise<Objection | undefined> => {
    const { service, route } = judgement.route!
    const { nowMs } = environment
    const objection = accessObjection(judgement, environment, verdict)
    if (objection !== undefined) return objection
    if (!service.limits.some(needsSubject) && route?.limits.some(needsSubject) !== true) return undefined
    return limitObjection(judgement, 'identity', nowMs, askerOf(judgement))
  }

  /** What is about the account that the body names. */
  const accountObjection = (
    judgement: RequestJudgement,
    body: Uint8Array,
    truncated: boolean,
    environment: GuardEnvironment,
  ): Objection | undefined | Promise<Objection | undefined> => {
    const objection = loginObjection(judgement, body, truncated, environment)
    const declared = accountsOf(judgement.route!)
    if (objection !== undefined || declared === undefined) return objection
    const breached = (over: Objection | undefined): Objection | undefined | Promise<Objection | undefined> =>
      over ?? breachObjection(judgement, breaches, declared, body)
    const over = limitObjection(judgement, 'body', environment.nowMs, askerOf(judgement))
    return over instanceof Promise ? over.then(breached) : breached(over)
  }

  /** The end of `head`, when the token's verdict is known. */
  const settle = (
    judgement: RequestJudgement,
    environment: GuardEnvironment,
    verdict: TokenVerdict | undefined,
  ): Judgement | Promise<Judgement> => {
    const said = (objection: Objection | undefined): Judgement =>
      objection === undefined ? judgement : objected(judgement, objection, environment)
    try {
      const objection = afterToken(judgement, environment, verdict)
      if (!(objection instanceof Promise)) return said(objection)
      return objection.then(said, () => failed(judgement, environment))
    } catch {
      return failed(judgement, environment)
    }
  }

  /** The WAF and who it is, once no limit objects. */
  const afterLimits = (judgement: RequestJudgement, environment: GuardEnvironment): Judgement | Promise<Judgement> => {
    // Pages of ours read what they are sent strictly, and take passwords, which look like anything.
    if (isPortal(judgement.route!, judgement.request, environment.view)) {
      judgement.portal = true
      return judgement
    }
    const objection = apiAndWafHead(judgement, environment, collections)
    if (objection !== undefined) return objected(judgement, objection, environment)
    judgement.check = 'identity'
    const { request } = judgement
    const { service, route } = judgement.route!
    const identity = route?.identity ?? service.identity
    const session = sessionOf(request, service, environment)
    if (session !== undefined) {
      judgement.session = session
      return settle(judgement, environment, session.verdict)
    }
    // Without issuers no token is believed but the ring’s, and those where it matters: nothing is to be verified.
    const { issuers, segmentation } = environment.view.policy
    const asksCaller = (route?.callers ?? service.callers) !== undefined || segmentation.mode !== 'off'
    if (issuers.length === 0 && identity === undefined && !asksCaller) return settle(judgement, environment, undefined)
    const bearer = bearerToken(request.headers)
    if (bearer.kind === 'none') return settle(judgement, environment, undefined)
    if (bearer.kind === 'malformed') return settle(judgement, environment, MALFORMED)
    const verdict = environment.tokens.verify(bearer.token, environment.nowMs, presentationOf(request, bearer.scheme))
    if (!(verdict instanceof Promise)) return settle(judgement, environment, verdict)
    return verdict.then(
      (settled) => settle(judgement, environment, settled),
      () => failed(judgement, environment),
    )
  }

  return {
    head(request, environment) {
      const judgement = new RequestJudgement(request, places, passes, environment.nowMs)
      try {
        const early =
          sourceObjection(judgement, environment) ??
          redeemed(judgement, environment, passes) ??
          whereObjection(judgement, environment) ??
          botObjection(judgement, environment, botNames) ??
          challengeObjection(judgement)
        if (early !== undefined) return judgement.object(early, environment)
        const listed = indicatorObjection(judgement, environment, limiters.own)
        if (listed !== undefined) return judgement.object(listed, environment)
        const over = limitObjection(judgement, 'head', environment.nowMs)
        if (over === undefined) return afterLimits(judgement, environment)
        if (!(over instanceof Promise)) return judgement.object(over, environment)
        return over
          .then((late) => (late === undefined ? afterLimits(judgement, environment) : judgement.object(late, environment)))
          .catch(() => failed(judgement, environment))
      } catch {
        return failed(judgement, environment)
      }
    },

    body(judgement, body, truncated, environment) {
      const slice = this.bodyInSlices(judgement, body, truncated, environment)
      for (;;) {
        const judged = slice()
        if (judged instanceof Promise) throw new TypeError('something has to be waited for: judge in slices')
        if (judged !== undefined) return judged
      }
    },

    bodyInSlices(judgement, body, truncated, environment) {
      if (!(judgement instanceof RequestJudgement)) throw new TypeError('the judgement is not one of this guard’s')
      let inspect: (() => WafVerdict | undefined) | undefined
      let accountsJudged = false
      const decided = (objection: Objection | undefined): Judgement => {
        if (objection === undefined) judgement.allow(environment)
        else judgement.object(objection, environment)
        tell(judgement, body, truncated, environment.nowMs)
        return judgement
      }
      return () => {
        if (judgement.decision !== undefined) return judgement
        if (judgement.portal) return decided(portalObjection(judgement, body, truncated, environment))
        try {
          if (inspect === undefined) {
            const objection = accountsJudged ? undefined : accountObjection(judgement, body, truncated, environment)
            accountsJudged = true
            if (objection instanceof Promise) {
              return objection.then(
                (late) => {
                  if (late !== undefined) decided(late)
                },
                () => {
                  failed(judgement, environment)
                },
              )
            }
            if (objection !== undefined) return decided(objection)
            const part = inspectedPart(judgement, body, truncated)
            const outside = apiBodyObjection(judgement, part)
            if (outside !== undefined) return decided(outside)
            judgement.check = 'waf'
            const { waf, patches } = judgement
            if (waf === undefined && patches.length === 0) return decided(undefined)
            if (part.oversize !== undefined) {
              const { wafMode } = judgement.route!
              if (wafMode === 'enforce') return decided({ outcome: 'deny', status: 403, reason: part.oversize })
              if (wafMode === 'shadow') judgement.shadowed = 'deny'
            }
            const patched = patchesOnBody(judgement, part.bytes, part.cut)
            if (patched !== undefined || waf === undefined) return decided(patched)
            inspect = waf.requestBodyInSlices(part.bytes, part.cut)
          }
          const verdict = inspect()
          if (verdict === undefined) return undefined
          const waf = judgement.waf!
          const { responses } = judgement.route!.service.waf
          const learned = verdict.blocked ? undefined : modelObjection(judgement, model, body)
          judgement.responseWanted = !verdict.blocked && learned === undefined && responses === 'inspect' && waf.inspectsResponses
          // Phase 5 comes after the response, if that is looked at.
          const refused = wafObjection(judgement, judgement.responseWanted ? verdict : waf.log())
          if (refused === undefined && learned !== undefined) judgement.check = 'model'
          return decided(refused ?? learned)
        } catch {
          return failed(judgement, environment)
        }
      }
    },

    responseHead(judgement, response, environment) {
      return ofResponse(judgement, environment, (waf) => {
        const verdict = waf.responseHead(response)
        return verdict.blocked ? waf.log() : verdict
      })
    },

    responseBody(judgement, body, truncated, environment) {
      const judged = ofResponse(judgement, environment, (waf) => {
        waf.responseBody(body, truncated)
        return waf.log()
      })
      judged.responseWanted = false
      return judged
    },

    review(judgement, environment) {
      if (!(judgement instanceof RequestJudgement) || (judgement.decision?.outcome ?? 'allow') !== 'allow') return undefined
      const again = new RequestJudgement(judgement.request, places)
      again.isReview = true
      if (judgement.portal) return undefined
      try {
        const objection = sourceObjection(again, environment) ?? routeObjection(again, environment) ?? placeObjection(again)
        const standing = objection ?? accessObjection(again, environment, believed(judgement.credential, environment))
        return standing === undefined ? undefined : again.object(standing, environment).decision
      } catch {
        return failed(again, environment).decision
      }
    },

    access(request, verdict, environment) {
      const judgement = new RequestJudgement(request, places)
      judgement.isReview = true
      try {
        const early = sourceObjection(judgement, environment) ?? whereObjection(judgement, environment)
        const objection =
          early ?? indicatorObjection(judgement, environment, undefined) ?? accessObjection(judgement, environment, verdict)
        return (objection === undefined ? judgement.allow(environment) : judgement.object(objection, environment)).decision!
      } catch {
        return failed(judgement, environment).decision!
      }
    },

    lasting({ request, credential, decision }: RequestJudgement) {
      const { method, target, remoteAddress, host, path, peer } = request
      const kept = {
        method,
        target: detached(target),
        httpVersion: '',
        headers: [],
        remoteAddress,
        host: detached(host),
        path: detached(path),
        peer,
      }
      const lasting = new RequestJudgement(kept, places)
      lasting.credential = credential
      lasting.peer = peer
      lasting.decision = decision
      return lasting
    },

    release(judgement) {
      if (!(judgement instanceof RequestJudgement) || judgement.lent === undefined) return
      release(limiters, judgement.lent)
      judgement.lent = undefined
    },

    answered(judgement, answer, nowMs) {
      if (judgement instanceof RequestJudgement && judgement.charges !== undefined)
        chargeAnswer(limiters, judgement.charges, answer, nowMs)
    },

    sent(judgement, cost, nowMs) {
      if (judgement instanceof RequestJudgement && judgement.charges !== undefined)
        chargeCost(limiters, judgement.charges, cost, nowMs)
    },

    end(judgement) {
      if (!(judgement instanceof RequestJudgement) || !judgement.responseWanted) return
      judgement.responseWanted = false
      judgement.waf?.log()
    },
  }
}

/** What the WAF says to a response: another decision when it objects, and what matched in any case. */
function ofResponse(
  judgement: Judgement,
  environment: GuardEnvironment,
  inspect: (waf: WafTransaction) => WafVerdict,
): RequestJudgement {
  if (!(judgement instanceof RequestJudgement)) throw new TypeError('the judgement is not one of this guard’s')
  if (!judgement.responseWanted) return judgement
  judgement.check = 'waf'
  try {
    const verdict = inspect(judgement.waf!)
    if (verdict.blocked) judgement.responseWanted = false
    const objection = wafObjection(judgement, verdict)
    if (objection !== undefined) return judgement.object(objection, environment)
    const { decision, shadowed } = judgement
    const known = decision!.matches.length === judgement.matches.length && decision!.shadowOutcome === (shadowed ?? 'allow')
    return known ? judgement : judgement.allow(environment)
  } catch {
    return failed(judgement, environment)
  }
}

function objectionOf({ name, retryAfterS, budget, action }: LimitRefusal): Objection {
  const reason = `the limit ${name} is used up`
  const rule = `limit:${name}`
  if (action === 'deny') return { outcome: 'deny', status: 403, reason, rule }
  const throttled = { outcome: action, status: 429, reason, rule, retryAfterS } as const
  return budget === undefined ? throttled : { ...throttled, budget }
}

const [encoder, decoder] = [new TextEncoder(), new TextDecoder()]

/** A copy: the text may be a part of all that the client sent, which it would keep from being let go. */
function detached(text: string): string {
  return decoder.decode(encoder.encode(text))
}

const NO_BODY = new Uint8Array(0)

const MALFORMED: TokenVerdict = { ok: false, code: 'TOKEN_MALFORMED', reason: 'the Authorization field is malformed' }

function askerOf({ credential, account }: RequestJudgement): Asker {
  const { issuer, subject } = credential ?? {}
  // Two issuers may each have a subject of one name.
  return { subject: subject === undefined ? undefined : `${issuer}\n${subject}`, account }
}

/** Did the application answer a login request as it answers failed ones? */
export function loginFailed(judgement: Judgement, responseStatus: number): boolean {
  if (judgement.login === undefined) return false
  if (judgement.portal === true) return responseStatus === 401
  return judgement.route?.route?.login?.failure.includes(responseStatus) === true
}
