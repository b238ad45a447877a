/**
 * Judges one request against one view. Cheapest checks first; the first that objects ends it: denied source, route, where the source is,
 * staleness, bots, challenge, rate limits, the service's API, WAF, identity, authorization, limits by subject, and with the body denied
 * accounts, limits about accounts, passwords, the API and the WAF's second phase. The API stands before the WAF: it costs a few microseconds, and it refuses what parsers read
 * differently before the WAF's parsers read it.
 *
 * Pure and total: time and view are arguments, and a check that fails unexpectedly refuses the request with status 500
 * rather than letting it pass. Synchronous, unless the token verifier, another node's count or the list of passwords is not.
 */
import {
  type AccessAnswer,
  type AccessQuestion,
  accountKey,
  type CompiledRoute,
  callerRefusal,
  type Denial,
  type DenialIndex,
  mayAttest,
  ringIssuer,
} from '@ringwall/ring'
import {
  type CompiledExclusions,
  createCollectionStore,
  MASKED,
  type WafMatch,
  type WafTransaction,
  type WafVerdict,
} from '@ringwall/waf'
import type { ApiExamination, ApiProblem } from '@ringwall/waf/api'
import { bearerToken, presentationOf } from './bearer.ts'
import { type BotClaim, type BotNames, botClaim } from './bots.ts'
import {
  bindingOf,
  type ChallengeTerms,
  challenges,
  type GrantedPass,
  isChallenged,
  isVisit,
  type Passes,
  passOf,
  solutionOf,
  termsOf,
} from './challenge.ts'
import { judgeIndicators } from './indicators.ts'
import {
  type Asker,
  type Charge,
  chargeAnswer,
  chargeCost,
  type LimitPhase,
  type LimitRefusal,
  needsAccount,
  needsSubject,
  release,
  type SharedLimiter,
  takeLimits,
} from './limits.ts'
import { isField, LOGIN_BODY_BYTES_MAX, loginNames } from './login-names.ts'
import { isLogin, isPortal, OUTSIDE_PATHS, personRefusal, portalBodyBytesMax, sessionOf } from './people.ts'
import { type Budget, createRateLimiter, type RateLimiter } from './rate-limiter.ts'
import { readingsOf } from './routing-path.ts'
import { NOWHERE, type Place, type Places, refusedSource, type Source } from './sources.ts'
import type {
  ApiVerdict,
  Breaches,
  Check,
  Decision,
  Guard,
  GuardEnvironment,
  GuardRequest,
  Judgement,
  LoginAttempt,
  Outcome,
  Peer,
  RequestModel,
  ShownSession,
  TokenVerdict,
  WafWitness,
} from './types.ts'

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

/** When a client may ask again: a ring whose quorum is back certifies a block within some seconds. */
const STALE_RETRY_S = 5

const NO_MATCHES: readonly WafMatch[] = []

/** A token that verified. */
type TokenCredential = Extract<TokenVerdict, { readonly ok: true }>

/** What a check that objects says. */
interface Objection {
  readonly outcome: Exclude<Outcome, 'allow'>
  readonly status: number
  readonly reason: string
  readonly rule?: string
  readonly provisional?: boolean
  readonly retryAfterS?: number
  readonly budget?: Budget
}

/** One request's way through the checks. */
class RequestJudgement implements Judgement {
  readonly request: GuardRequest
  route: CompiledRoute | undefined
  decision: Decision | undefined
  login: LoginAttempt | undefined
  challenge: ChallengeTerms | undefined
  granted: GrantedPass | undefined
  bot: BotClaim | undefined
  portal = false
  loginWanted = false
  session: ShownSession | undefined
  /** `accountKey` of the name that the body gives. */
  account: string | undefined
  /** The body holds a password that is known from breaches. */
  breached = false
  credential: TokenCredential | undefined
  /** Whose certificate of the ring came with the request. */
  peer: Peer | undefined
  /** The check being made: named when it fails unexpectedly. */
  check: Check = 'none'
  waf: WafTransaction | undefined
  verdict: WafVerdict | undefined
  /** What would have been done where a check only watches. */
  shadowed: 'deny' | 'challenge' | 'throttle' | undefined
  shadowReason: string | undefined
  /** What the answer is counted by. */
  charges: Charge[] | undefined
  /** By which keys it is under way. */
  lent: string[] | undefined
  responseWanted = false
  examination: ApiExamination | undefined
  /** What is outside of the service's API, refused or only watched. */
  apiProblem: ApiProblem | undefined
  /** Patches in force here, and what they matched. */
  patches: readonly PatchRun[] = NO_PATCHES
  patchMatches: readonly WafMatch[] = NO_MATCHES
  /** The view is older than the route tolerates. */
  stale = false
  /** It was let in before, or nobody comes with it. */
  isReview = false

  readonly #passes: Passes | undefined
  readonly #places: Places | undefined
  readonly #nowMs: number
  #place: Place | undefined
  #pass: string | undefined
  #passSought = false

  constructor(request: GuardRequest, places: Places | undefined, passes?: Passes, nowMs = 0) {
    this.request = request
    this.#places = places
    this.#passes = passes
    this.#nowMs = nowMs
  }

  /** Of limits and lists of sources. */
  get source(): Source {
    return this
  }

  get address(): string {
    return this.request.remoteAddress
  }

  get place(): Place {
    this.#place ??= this.#places?.of(this.request.remoteAddress) ?? NOWHERE
    return this.#place
  }

  /** Looked for once, when somebody asks. Whoever is a bot that is welcome needs none: all of it have one budget. */
  get pass(): string | undefined {
    if (this.bot?.standing === 'verified') return `bot ${this.bot.name}`
    if (!this.#passSought) {
      this.#passSought = true
      this.#pass = passOf(this.#passes, this.request, this.route!.service.name, this.#nowMs)
    }
    return this.#pass
  }

  get bodyBytesWanted(): number {
    if (this.decision !== undefined || this.route === undefined) return 0
    if (this.portal) return portalBodyBytesMax(this.request)
    const inspected =
      this.waf === undefined && this.examination === undefined && this.patches.length === 0 ? 0 : this.route.bodyBytesMax
    return accountsOf(this.route) === undefined ? inspected : Math.max(inspected, LOGIN_BODY_BYTES_MAX)
  }

  get api(): ApiVerdict | undefined {
    if (this.examination === undefined) return undefined
    return { operation: this.examination.operation, problem: this.apiProblem }
  }

  get responseBytesWanted(): number {
    return this.responseWanted ? this.waf!.responseBytesWanted : 0
  }

  shadow({ name, action }: LimitRefusal): void {
    this.shadowed ??= action
    this.shadowReason ??= `nothing objected; the limit ${name} is used up, and only watches`
  }

  lend(key: string): void {
    ;(this.lent ??= []).push(key)
  }

  charge(charge: Charge): void {
    ;(this.charges ??= []).push(charge)
  }

  object(objection: Objection, environment: GuardEnvironment): this {
    this.responseWanted = false
    if (objection.outcome === 'challenge') this.challenge ??= termsOf(this.route!.service, this.request)
    this.decision = this.#decision(objection.outcome, objection.status, objection.reason, environment, objection)
    return this
  }

  allow(environment: GuardEnvironment): this {
    this.check = 'none'
    const watched = this.apiProblem
    const reason =
      watched === undefined ? undefined : `nothing objected; outside of the api, which only watches: ${watched.reason}`
    const rule = watched === undefined ? {} : { rule: watched.rule }
    this.decision = this.#decision('allow', 200, reason ?? this.shadowReason ?? 'nothing objected', environment, rule)
    return this
  }

  get matches(): readonly WafMatch[] {
    const own = this.verdict?.matches ?? NO_MATCHES
    const all = this.patchMatches.length === 0 ? own : [...own, ...this.patchMatches]
    const password = all.length === 0 || this.route === undefined ? undefined : accountsOf(this.route)?.password
    return password === undefined ? all : withoutPassword(all, password)
  }

  #decision(outcome: Outcome, status: number, reason: string, environment: GuardEnvironment, more: Partial<Objection>): Decision {
    return {
      outcome,
      status,
      check: this.check,
      reason,
      rule: more.rule,
      height: environment.view.height,
      viewAgeMs: viewAgeMs(environment),
      stale: this.stale,
      provisional: more.provisional ?? false,
      retryAfterS: more.retryAfterS,
      matches: this.matches,
      wafScore: this.verdict?.score ?? 0,
      shadowOutcome: outcome === 'allow' ? (this.shadowed ?? outcome) : outcome,
      ...(more.budget === undefined ? {} : { budget: more.budget }),
    }
  }
}

/** Milliseconds since the last certified block became final here; since its timestamp when none has since start. */
export function viewAgeMs({ nowMs, certifiedAtMs, view }: GuardEnvironment): number {
  return Math.max(0, nowMs - (certifiedAtMs ?? view.blockTimestampMs))
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

  const beforeLimits = (judgement: RequestJudgement, environment: GuardEnvironment): Objection | undefined => {
    const objection = routeObjection(judgement, environment) ?? placeObjection(judgement)
    if (objection !== undefined) return objection
    const route = judgement.route!

    judgement.check = 'staleness'
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

  /** Whose requests the route takes. A challenge stops those who come, not what is under way, and not who may. */
  const placeObjection = (judgement: RequestJudgement): Objection | undefined => {
    judgement.check = 'source'
    const refused = refusedSource(judgement.route!, judgement.source)
    return refused?.action === 'deny' ? { outcome: 'deny', status: 403, reason: refused.reason, rule: refused.rule } : undefined
  }

  const challengeObjection = (judgement: RequestJudgement): Objection | undefined => {
    judgement.check = 'challenge'
    const { request, route } = judgement
    const refused = refusedSource(route!, judgement.source)
    if (refused?.action === 'challenge' && judgement.pass === undefined)
      return { outcome: 'challenge', status: 403, reason: refused.reason, rule: refused.rule }
    if (!isChallenged(route!, request.pressed) || judgement.pass !== undefined) return undefined
    const reason = request.pressed === true ? 'no pass is shown, and there is too little time for all' : 'no pass is shown'
    return { outcome: 'challenge', status: 403, reason }
  }

  const botObjection = (judgement: RequestJudgement, { view }: GuardEnvironment): Objection | undefined => {
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
  const redeemed = (judgement: RequestJudgement, { view, nowMs }: GuardEnvironment): Objection | undefined => {
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

  const apiAndWafHead = (judgement: RequestJudgement, { nowMs, stopwatch }: GuardEnvironment): Objection | undefined => {
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
    const objection = apiAndWafHead(judgement, environment)
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
          redeemed(judgement, environment) ??
          beforeLimits(judgement, environment) ??
          botObjection(judgement, environment) ??
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
        const early = sourceObjection(judgement, environment) ?? beforeLimits(judgement, environment)
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

const NO_VERDICT: WafVerdict = { blocked: false, status: 403, score: 0, matches: [] }

/** Nobody who watches can change what was decided, not by failing either. */
function testify(witness: WafWitness, judgement: RequestJudgement, body: Uint8Array, truncated: boolean, nowMs: number): void {
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

/** What the policy excepts from single rules in a request to this path, now. */
export function exclusionsFor({ exceptions }: CompiledRoute, path: string, nowMs: number): CompiledExclusions | undefined {
  if (exceptions.length === 0) return undefined
  return exceptions.filter(({ untilMs, covers }) => nowMs < untilMs && covers(path)).map(({ exclusion }) => exclusion)
}

const MALFORMED: TokenVerdict = { ok: false, code: 'TOKEN_MALFORMED', reason: 'the Authorization field is malformed' }

/** Closed, not open: what went wrong might be what an attacker wanted to go wrong. */
function failed(judgement: RequestJudgement, environment: GuardEnvironment): RequestJudgement {
  return judgement.object({ outcome: 'deny', status: 500, reason: 'internal' }, environment)
}

/** Certified denials first, then those by gossip. */
function denial(environment: GuardEnvironment, find: (index: DenialIndex) => Denial | undefined): Objection | undefined {
  const certified = find(environment.view.denials)
  const found = certified ?? find(environment.provisional)
  if (found === undefined) return undefined
  const { id, reason } = found
  return { outcome: 'deny', status: 403, reason, rule: `denial:${id}`, provisional: certified === undefined }
}

const SEVERITIES = ['notice', 'warning', 'error', 'critical'] as const

/** One patch on its way through a request. */
interface PatchRun {
  readonly run: WafTransaction
  readonly enforced: boolean
}

const NO_PATCHES: readonly PatchRun[] = []

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

function patchesOnBody(judgement: RequestJudgement, body: Uint8Array, truncated: boolean): Objection | undefined {
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
function wafObjection(judgement: RequestJudgement, verdict: WafVerdict): Objection | undefined {
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
function modelObjection(judgement: RequestJudgement, model: RequestModel | undefined, body: Uint8Array): Objection | undefined {
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

/** Whom a login or a sign-up is for must not be denied. Notes what it looked like. */
function loginObjection(
  judgement: RequestJudgement,
  body: Uint8Array,
  truncated: boolean,
  environment: GuardEnvironment,
): Objection | undefined {
  const route = judgement.route!
  const declared = accountsOf(route)
  if (declared === undefined) return undefined
  judgement.check = 'denial'
  const service = route.service.name
  const names = truncated ? undefined : loginNames(judgement.request.headers, body, declared.account)
  // Whom it is for must be known: a denied account must not get in behind padding or among many others.
  if (names === undefined) {
    const reason = truncated ? `a login of more than ${body.length} bytes is not read` : 'a login that names many accounts'
    return { outcome: 'deny', status: truncated ? 413 : 400, reason }
  }
  const accounts = [...new Set(names.map((name) => accountKey(environment.view.ring, service, name)))]
  ;[judgement.account] = accounts
  if (route.route!.login !== undefined) judgement.login = { service, account: accounts[0] }
  for (const account of accounts) {
    const denied = denial(environment, (index) => index.matchAccount(service, account, environment.nowMs))
    if (denied !== undefined) return denied
  }
  // Which of them the server takes is not known: an attacker’s own would stand for the one that is tried.
  if (accounts.length > 1 && route.route!.limits.some(needsAccount))
    return { outcome: 'deny', status: 400, reason: 'a login that names several accounts' }
  return undefined
}

/** A form of ours: whom it is for must not be denied. */
function portalObjection(
  judgement: RequestJudgement,
  body: Uint8Array,
  truncated: boolean,
  environment: GuardEnvironment,
): Objection | undefined {
  judgement.check = 'denial'
  if (truncated) {
    const most = portalBodyBytesMax(judgement.request)
    return { outcome: 'deny', status: 413, reason: `a form of more than ${most} bytes is not read` }
  }
  // What is no form of ours names nobody who logs in.
  if (body.length === 0 || judgement.request.target === OUTSIDE_PATHS.signals) return undefined
  const service = judgement.route!.service.name
  const names = loginNames(judgement.request.headers, body, 'name')
  if (names === undefined || names.length > 1)
    return { outcome: 'deny', status: 400, reason: 'a login that names several people' }
  const [name] = names
  if (name === undefined || !isLogin(judgement.request)) return undefined
  const account = accountKey(environment.view.ring, service, name)
  judgement.login = { service, account }
  return denial(environment, (index) => index.matchAccount(service, account, environment.nowMs))
}

/** Names that the policy alone knows for a password's. A message may quote what matched. */
function withoutPassword(matches: readonly WafMatch[], field: string): readonly WafMatch[] {
  const own = matches.filter(({ variable }) => isField(variable.slice(variable.indexOf(':') + 1), field))
  const secrets = own.map(({ excerpt }) => excerpt).filter((excerpt) => excerpt.length >= 4)
  if (own.length === 0) return matches
  const masked = (text: string): string => secrets.reduce((left, secret) => left.replaceAll(secret, MASKED), text)
  return matches.map((match) => ({
    ...match,
    message: masked(match.message),
    excerpt: own.includes(match) ? MASKED : masked(match.excerpt),
  }))
}

type Accounts = NonNullable<NonNullable<CompiledRoute['route']>['signup']>

function accountsOf({ route }: CompiledRoute): Accounts | undefined {
  return route?.login ?? route?.signup
}

function askerOf({ credential, account }: RequestJudgement): Asker {
  const { issuer, subject } = credential ?? {}
  // Two issuers may each have a subject of one name.
  return { subject: subject === undefined ? undefined : `${issuer}\n${subject}`, account }
}

/** A promise where the list is not in memory. What is not found out in time is not breached. */
function breachObjection(
  judgement: RequestJudgement,
  breaches: Breaches | undefined,
  { password, breached: action }: Accounts,
  body: Uint8Array,
): Objection | undefined | Promise<Objection | undefined> {
  if (breaches === undefined || password === undefined || body.length === 0) return undefined
  judgement.check = 'account'
  // Many of them are refused as many accounts are: any may be the one that counts.
  const given = loginNames(judgement.request.headers, body, password, (value) => value)
  if (given === undefined) return { outcome: 'deny', status: 400, reason: 'a login with many passwords' }
  const said = (any: boolean): Objection | undefined => {
    judgement.breached = any
    if (!any || action === 'pass' || (action === 'challenge' && judgement.pass !== undefined)) return undefined
    return { outcome: action, status: 403, reason: 'the password is known from breaches', rule: 'password:breached' }
  }
  const answers = given.map((one) => breaches.has(one))
  if (answers.every((answer) => typeof answer === 'boolean')) return said(answers.includes(true))
  return Promise.all(answers).then((all) => said(all.includes(true)))
}

interface InspectedPart {
  readonly bytes: Uint8Array
  readonly cut: boolean
  /** Why a body of which not all is looked at is to be refused. */
  readonly oversize: string | undefined
}

/** As much of the body as is looked at. */
function inspectedPart(judgement: RequestJudgement, body: Uint8Array, truncated: boolean): InspectedPart {
  const route = judgement.route!
  const bytes = body.length > route.bodyBytesMax ? body.subarray(0, route.bodyBytesMax) : body
  const cut = truncated || bytes.length < body.length
  const isOver = cut && route.service.waf.oversize === 'deny'
  const oversize = isOver ? `the body is longer than the ${route.bodyBytesMax} bytes that are inspected` : undefined
  return { bytes, cut, oversize }
}

function apiBodyObjection(judgement: RequestJudgement, { bytes, cut, oversize }: InspectedPart): Objection | undefined {
  judgement.check = 'api'
  const { examination } = judgement
  if (examination === undefined || judgement.apiProblem !== undefined) return undefined
  if (cut && oversize !== undefined) return apiObjection(judgement, { rule: 'api:body', reason: oversize })
  // The beginning of a body says nothing about the whole.
  return apiObjection(judgement, cut && examination.takesBody ? undefined : examination.body(bytes))
}

function sourceObjection(judgement: RequestJudgement, environment: GuardEnvironment): Objection | undefined {
  judgement.check = 'denial'
  return denial(environment, (index) => index.matchAddress(judgement.request.remoteAddress, environment.nowMs))
}

/** What lists of others say of the source. */
function indicatorObjection(
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

/** Finds the route. */
function routeObjection(judgement: RequestJudgement, { view }: GuardEnvironment): Objection | undefined {
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

/** A token that was believed when it came, by the policy in force now. */
function believed(credential: TokenCredential | undefined, { view }: GuardEnvironment): TokenVerdict | undefined {
  if (credential === undefined || credential.issuer === ringIssuer(view.ring)) return credential
  if (view.policy.issuers.some(({ issuer }) => issuer === credential.issuer)) return credential
  return { ok: false, code: 'TOKEN_ISSUER_UNKNOWN', reason: 'the policy trusts no such issuer any more' }
}

/** Who it is, whether that is denied, and whether they may. */
function accessObjection(
  judgement: RequestJudgement,
  environment: GuardEnvironment,
  verdict: TokenVerdict | undefined,
): Objection | undefined {
  const { service, route, authorizer } = judgement.route!
  const identity = route?.identity ?? service.identity
  const { nowMs } = environment
  const shown = judgement.request.peer
  const peer = shown !== undefined && isStanding(shown, environment) ? shown : undefined
  if (peer !== undefined) {
    judgement.peer = peer
    judgement.check = 'denial'
    const denied = peerDenial(peer, environment)
    if (denied !== undefined) return denied
  }
  if (verdict?.ok === true) {
    judgement.credential = verdict
    judgement.check = 'denial'
    const denied = denial(environment, (index) => index.matchCredential(verdict, nowMs))
    if (denied !== undefined) return denied
  }
  if (verdict?.ok === true && verdict.claims.use === 'session' && judgement.session === undefined && !judgement.isReview)
    return { outcome: 'deny', status: 401, reason: 'a session is shown as a token', rule: 'people:login' }
  judgement.check = 'login'
  const outside = personRefusal(judgement.route!, verdict, environment.view)
  if (outside !== undefined) {
    judgement.loginWanted = outside.status === 401
    return { outcome: 'deny', ...outside }
  }
  judgement.check = 'identity'
  const objection = identity === undefined ? undefined : identityObjection(identity, verdict, service.name)
  if (objection !== undefined) return objection
  judgement.check = 'authorization'
  // Where an issuer’s tokens are not taken, they say nothing about who it is.
  const taken =
    verdict?.ok === true &&
    (verdict.audience === undefined || verdict.audience === service.name) &&
    (identity === undefined || isTaken(identity, verdict))
  const token = taken ? verdict : undefined
  const refused = callerObjection(judgement, environment, token, peer)
  if (refused !== undefined || authorizer === undefined) return refused
  // Who shows a token acts by it; a service that shows none acts for itself.
  const principal = token ?? (peer === undefined ? undefined : { ...peer, ok: true as const, claims: NO_CLAIMS })
  const { request } = judgement
  const question = {
    principal,
    method: request.method,
    action: route?.action,
    route: route?.name,
    host: request.host,
    remoteAddress: request.remoteAddress,
    nowMs,
  }
  const own = authorizationObjection(judgement.route!, authorizer.decide({ ...question, path: request.path }), principal)
  if (own !== undefined) return own
  // What the server behind may read must be allowed as well, or a spelling would be a way round.
  for (const path of readingsOf(request.target)) {
    if (path === request.path) continue
    const other = authorizationObjection(judgement.route!, authorizer.decide({ ...question, path }), principal)
    if (other !== undefined) return { ...other, reason: `the path reads otherwise, too: ${other.reason}` }
  }
  return undefined
}

/** Is a certificate that verified when it was shown still good? */
function isStanding({ subject, attestedBy, expiresAtMs }: Peer, { view, nowMs }: GuardEnvironment): boolean {
  if (nowMs >= expiresAtMs) return false
  if (attestedBy === undefined) return true
  const service = subject.slice(subject.lastIndexOf('/') + 1)
  return view.nodes.some(({ id }) => id === attestedBy) && mayAttest(view.policy, attestedBy, service)
}

/** Of the certificate, or of the node that vouched for it. */
function peerDenial(peer: Peer, environment: GuardEnvironment): Objection | undefined {
  const { view, nowMs } = environment
  const own = denial(environment, (index) => index.matchCredential(peer, nowMs))
  if (own !== undefined || peer.attestedBy === undefined) return own
  const { issuer, attestedBy, issuedAtMs } = peer
  const node = { issuer, subject: `spiffe://${view.ring}/node/${attestedBy}`, issuedAtMs }
  return denial(environment, (index) => index.matchCredential(node, nowMs))
}

/** Which services may call this one. */
function callerObjection(
  judgement: RequestJudgement,
  { view }: GuardEnvironment,
  token: TokenCredential | undefined,
  peer: Peer | undefined,
): Objection | undefined {
  const { service, route } = judgement.route!
  const isOfRing =
    token !== undefined && token.issuer === ringIssuer(view.ring) && token.subject?.startsWith('spiffe://') === true
  const id = peer?.subject ?? (isOfRing ? token.subject : undefined)
  const refusal = callerRefusal(view.policy, view.ring, service, route, {
    id,
    isKnown: token !== undefined || peer !== undefined,
  })
  if (refusal === undefined) return undefined
  const { reason, rule, isShadow } = refusal
  if (!isShadow) return { outcome: 'deny', status: id === undefined && token === undefined ? 401 : 403, reason, rule }
  judgement.shadowed ??= 'deny'
  judgement.shadowReason ??= `nothing objected; ${reason}, which only watches`
  return undefined
}

const NO_CLAIMS: Readonly<Record<string, unknown>> = Object.freeze({})

function authorizationObjection(
  { service }: CompiledRoute,
  { allowed, policies, failed, reason: own }: AccessAnswer,
  principal: AccessQuestion['principal'],
): Objection | undefined {
  if (allowed) return undefined
  const broken = failed.length === 0 ? '' : `; could not be evaluated: ${failed.slice(0, 5).join(', ')}`
  const [first, ...more] = policies
  const others = more.length === 0 ? '' : ` (and ${more.slice(0, 5).join(', ')})`
  const said =
    first === undefined
      ? `no policy of ${service.name} permits it${broken}`
      : `the policy ${first}${others} of ${service.name} forbids it${broken}`
  const reason = own ?? said
  // Who is not known may become so.
  return { outcome: 'deny', status: principal === undefined ? 401 : 403, reason, rule: `authorization:${first ?? 'default'}` }
}

type IdentityPolicy = NonNullable<CompiledRoute['service']['identity']>

/** The ring’s own tokens, which alone are bound to a service, go by the name `ring`. */
function isTaken({ issuers }: IdentityPolicy, { issuer, audience }: Extract<TokenVerdict, { ok: true }>): boolean {
  return issuers.length === 0 || issuers.includes(issuer) || (audience !== undefined && issuers.includes('ring'))
}

function identityObjection(identity: IdentityPolicy, verdict: TokenVerdict | undefined, service: string): Objection | undefined {
  if (verdict === undefined) {
    return identity.required ? { outcome: 'deny', status: 401, reason: 'a token is required' } : undefined
  }
  if (!verdict.ok) {
    return identity.required ? { outcome: 'deny', status: 401, reason: `the token is not valid: ${verdict.reason}` } : undefined
  }
  if (verdict.audience !== undefined && verdict.audience !== service) {
    return identity.required ? { outcome: 'deny', status: 401, reason: 'the token is for another audience' } : undefined
  }
  if (!isTaken(identity, verdict)) {
    return identity.required
      ? { outcome: 'deny', status: 401, reason: `tokens of ${verdict.issuer} are not taken here` }
      : undefined
  }
  for (const [claim, wanted] of Object.entries(identity.claims)) {
    const held = Object.hasOwn(verdict.claims, claim) ? verdict.claims[claim] : undefined
    if (held === wanted || (Array.isArray(held) && held.includes(wanted))) continue
    return { outcome: 'deny', status: 403, reason: `the token’s claim ${claim} is not what this route asks for` }
  }
  return undefined
}

/** Did the application answer a login request as it answers failed ones? */
export function loginFailed(judgement: Judgement, responseStatus: number): boolean {
  if (judgement.login === undefined) return false
  if (judgement.portal === true) return responseStatus === 401
  return judgement.route?.route?.login?.failure.includes(responseStatus) === true
}
