/**
 * Judges one request against one view. Cheapest checks first; the first that objects ends it: denied source, route,
 * staleness, rate limits, WAF, identity, limits by subject, and with the body the WAF's second phase and denied accounts.
 *
 * Pure and total: time and view are arguments, and a check that fails unexpectedly refuses the request with status 500
 * rather than letting it pass. Synchronous, unless the token verifier is not.
 */
import { accountKey, type CompiledRoute, type Denial, type DenialIndex } from '@ringwall/ring'
import {
  type CompiledExclusions,
  createCollectionStore,
  type WafMatch,
  type WafTransaction,
  type WafVerdict,
} from '@ringwall/waf'
import { bearerToken } from './bearer.ts'
import { needsSubject, takeLimits } from './limits.ts'
import { LOGIN_BODY_BYTES_MAX, loginNames } from './login-names.ts'
import { createRateLimiter, type RateLimiter } from './rate-limiter.ts'
import { readingsOf } from './routing-path.ts'
import type {
  Check,
  Decision,
  Guard,
  GuardEnvironment,
  GuardRequest,
  Judgement,
  LoginAttempt,
  Outcome,
  TokenVerdict,
  WafWitness,
} from './types.ts'

export interface GuardOptions {
  /** Shared by those that count together; one of its own unless given. */
  readonly limiter?: RateLimiter
  readonly witness?: WafWitness
}

/** When a client may ask again: a ring whose quorum is back certifies a block within some seconds. */
const STALE_RETRY_S = 5

const NO_MATCHES: readonly WafMatch[] = []

/** What a check that objects says. */
interface Objection {
  readonly outcome: Exclude<Outcome, 'allow'>
  readonly status: number
  readonly reason: string
  readonly rule?: string
  readonly provisional?: boolean
  readonly retryAfterS?: number
}

/** One request's way through the checks. */
class RequestJudgement implements Judgement {
  readonly request: GuardRequest
  route: CompiledRoute | undefined
  decision: Decision | undefined
  login: LoginAttempt | undefined
  /** The check being made: named when it fails unexpectedly. */
  check: Check = 'none'
  waf: WafTransaction | undefined
  verdict: WafVerdict | undefined
  /** Patches in force here, and what they matched. */
  patches: readonly PatchRun[] = NO_PATCHES
  patchMatches: readonly WafMatch[] = NO_MATCHES
  /** What the WAF would have done where it only watches. */
  shadowed = false
  /** The view is older than the route tolerates. */
  stale = false

  constructor(request: GuardRequest) {
    this.request = request
  }

  get bodyBytesWanted(): number {
    if (this.decision !== undefined || this.route === undefined) return 0
    const forWaf = this.waf === undefined && this.patches.length === 0 ? 0 : this.route.bodyBytesMax
    return this.route.route?.login === undefined ? forWaf : Math.max(forWaf, LOGIN_BODY_BYTES_MAX)
  }

  object(objection: Objection, environment: GuardEnvironment): this {
    this.decision = this.#decision(objection.outcome, objection.status, objection.reason, environment, objection)
    return this
  }

  allow(environment: GuardEnvironment): this {
    this.check = 'none'
    this.decision = this.#decision('allow', 200, 'nothing objected', environment, {})
    return this
  }

  get matches(): readonly WafMatch[] {
    const own = this.verdict?.matches ?? NO_MATCHES
    return this.patchMatches.length === 0 ? own : [...own, ...this.patchMatches]
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
      shadowOutcome: outcome === 'allow' && this.shadowed ? 'deny' : outcome,
    }
  }
}

/** Milliseconds since the last certified block became final here; since its timestamp when none has since start. */
export function viewAgeMs({ nowMs, certifiedAtMs, view }: GuardEnvironment): number {
  return Math.max(0, nowMs - (certifiedAtMs ?? view.blockTimestampMs))
}

export function createGuard(options: GuardOptions = {}): Guard {
  const limiter = options.limiter ?? createRateLimiter()
  const { witness } = options
  const tell = (judgement: RequestJudgement, body: Uint8Array, truncated: boolean, nowMs: number): void => {
    if (witness !== undefined) testify(witness, judgement, body, truncated, nowMs)
  }
  /** What rules remember between requests. */
  const collections = createCollectionStore()

  const beforeIdentity = (judgement: RequestJudgement, environment: GuardEnvironment): Objection | undefined => {
    const { request } = judgement
    const { view, nowMs } = environment
    judgement.check = 'denial'
    const denied = denial(environment, (index) => index.matchAddress(request.remoteAddress, nowMs))
    if (denied !== undefined) return denied

    judgement.check = 'route'
    const route = view.route(request.host, request.path, request.method)
    if (route === undefined) return { outcome: 'deny', status: 404, reason: 'no service answers to this host' }
    judgement.route = route
    if (route.route?.deny === true) return { outcome: 'deny', status: 403, reason: `the route ${route.route.name} is closed` }
    // Whoever made `path` may have read the target otherwise than the server behind will.
    for (const path of readingsOf(request.target)) {
      const other = view.route(request.host, path, request.method)
      if (other !== undefined && other.route !== route.route) {
        return { outcome: 'deny', status: 403, reason: `the path reads as ${route.label} and as ${other.label}` }
      }
    }

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

    judgement.check = 'limit'
    const over = limitObjection(judgement, undefined, false, nowMs)
    if (over !== undefined) return over

    judgement.check = 'waf'
    const patched = patchObjection(judgement, environment)
    if (patched !== undefined || route.rules === undefined) return patched
    const { stopwatch } = environment
    const known = { clock: () => nowMs, uniqueId: request.requestId ?? '', collections, stopwatch }
    const waf = route.rules.begin(known, exclusionsFor(route, request.path, nowMs))
    judgement.waf = waf
    const verdict = waf.requestHead(request)
    return wafObjection(judgement, verdict.blocked ? waf.log() : verdict)
  }

  const limitObjection = (
    judgement: RequestJudgement,
    subject: string | undefined,
    afterIdentity: boolean,
    nowMs: number,
  ): Objection | undefined => {
    const over = takeLimits(limiter, judgement.route!, judgement.request, subject, afterIdentity, nowMs)
    if (over === undefined) return undefined
    const { name, retryAfterS } = over
    return { outcome: 'throttle', status: 429, reason: `the limit ${name} is used up`, rule: `limit:${name}`, retryAfterS }
  }

  const afterToken = (
    judgement: RequestJudgement,
    environment: GuardEnvironment,
    verdict: TokenVerdict | undefined,
  ): Objection | undefined => {
    judgement.check = 'identity'
    const { service, route } = judgement.route!
    const identity = route?.identity ?? service.identity
    const { nowMs } = environment
    let subject: string | undefined
    if (verdict?.ok === true) {
      const { tokenId } = verdict
      subject = verdict.subject
      judgement.check = 'denial'
      const denied =
        (tokenId === undefined ? undefined : denial(environment, (index) => index.matchToken(tokenId, nowMs))) ??
        (subject === undefined ? undefined : denial(environment, (index) => index.matchSubject(subject!, nowMs)))
      if (denied !== undefined) return denied
      judgement.check = 'identity'
    }
    if (identity !== undefined) {
      const objection = identityObjection(identity, verdict)
      if (objection !== undefined) return objection
    }
    judgement.check = 'limit'
    if (!service.limits.some(needsSubject) && route?.limits.some(needsSubject) !== true) return undefined
    // Two issuers may each have a subject of one name.
    const drawer = verdict?.ok === true && subject !== undefined ? `${verdict.issuer}\n${subject}` : undefined
    return limitObjection(judgement, drawer, true, nowMs)
  }

  /** The end of `head`, when the token's verdict is known. */
  const settle = (judgement: RequestJudgement, environment: GuardEnvironment, verdict: TokenVerdict | undefined): Judgement => {
    try {
      const objection = afterToken(judgement, environment, verdict)
      if (objection === undefined) return judgement
      judgement.object(objection, environment)
      tell(judgement, NO_BODY, false, environment.nowMs)
      return judgement
    } catch {
      return failed(judgement, environment)
    }
  }

  return {
    head(request, environment) {
      const judgement = new RequestJudgement(request)
      try {
        const objection = beforeIdentity(judgement, environment)
        if (objection !== undefined) {
          judgement.object(objection, environment)
          tell(judgement, NO_BODY, false, environment.nowMs)
          return judgement
        }
        judgement.check = 'identity'
        const { service, route } = judgement.route!
        const identity = route?.identity ?? service.identity
        if (environment.view.policy.issuers.length === 0 && identity === undefined)
          return settle(judgement, environment, undefined)
        const bearer = bearerToken(request.headers)
        if (bearer.kind === 'none') return settle(judgement, environment, undefined)
        if (bearer.kind === 'malformed') return settle(judgement, environment, MALFORMED)
        const verdict = environment.tokens.verify(bearer.token, environment.nowMs)
        if (!(verdict instanceof Promise)) return settle(judgement, environment, verdict)
        return verdict.then(
          (settled) => settle(judgement, environment, settled),
          () => failed(judgement, environment),
        )
      } catch {
        return failed(judgement, environment)
      }
    },

    body(judgement, body, truncated, environment) {
      if (!(judgement instanceof RequestJudgement)) throw new TypeError('the judgement is not one of this guard’s')
      if (judgement.decision !== undefined) return judgement
      try {
        const objection = bodyObjection(judgement, body, truncated, environment)
        if (objection === undefined) judgement.allow(environment)
        else judgement.object(objection, environment)
        tell(judgement, body, truncated, environment.nowMs)
        return judgement
      } catch {
        return failed(judgement, environment)
      }
    },
  }
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
function patchObjection(judgement: RequestJudgement, { nowMs, stopwatch }: GuardEnvironment): Objection | undefined {
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
    else judgement.shadowed = true
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
    judgement.shadowed ||= wafMode === 'shadow'
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

function bodyObjection(
  judgement: RequestJudgement,
  body: Uint8Array,
  truncated: boolean,
  environment: GuardEnvironment,
): Objection | undefined {
  const route = judgement.route!
  const { request, waf } = judgement
  const login = route.route?.login
  if (login !== undefined) {
    judgement.check = 'denial'
    const service = route.service.name
    const names = truncated ? undefined : loginNames(request.headers, body, login.account)
    // Whom it is for must be known: a denied account must not get in behind padding or among many others.
    if (names === undefined) {
      const reason = truncated ? `a login of more than ${body.length} bytes is not read` : 'a login that names many accounts'
      return { outcome: 'deny', status: truncated ? 413 : 400, reason }
    }
    const accounts = names.map((name) => accountKey(environment.view.ring, service, name))
    judgement.login = { service, account: accounts[0] }
    for (const account of accounts) {
      const denied = denial(environment, (index) => index.matchAccount(service, account, environment.nowMs))
      if (denied !== undefined) return denied
    }
  }
  judgement.check = 'waf'
  if (waf === undefined && judgement.patches.length === 0) return undefined
  const inspected = body.length > route.bodyBytesMax ? body.subarray(0, route.bodyBytesMax) : body
  const cut = truncated || inspected.length < body.length
  if (cut && route.service.waf.oversize === 'deny') {
    if (route.wafMode === 'enforce') {
      return {
        outcome: 'deny',
        status: 403,
        reason: `the body is longer than the ${route.bodyBytesMax} bytes that are inspected`,
      }
    }
    judgement.shadowed ||= route.wafMode === 'shadow'
  }
  const patched = patchesOnBody(judgement, inspected, cut)
  if (patched !== undefined || waf === undefined) return patched
  waf.requestBody(inspected, cut)
  return wafObjection(judgement, waf.log())
}

type IdentityPolicy = NonNullable<CompiledRoute['service']['identity']>

function identityObjection(identity: IdentityPolicy, verdict: TokenVerdict | undefined): Objection | undefined {
  if (verdict === undefined) {
    return identity.required ? { outcome: 'deny', status: 401, reason: 'a token is required' } : undefined
  }
  if (!verdict.ok) {
    return identity.required ? { outcome: 'deny', status: 401, reason: `the token is not valid: ${verdict.reason}` } : undefined
  }
  if (identity.issuers.length > 0 && !identity.issuers.includes(verdict.issuer)) {
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
  return judgement.login !== undefined && judgement.route?.route?.login?.failure.includes(responseStatus) === true
}

/** May the request not go on? True as long as nothing is decided. */
export function isBlocked({ decision }: Judgement): boolean {
  return decision?.outcome !== 'allow'
}
