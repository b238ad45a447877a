/** One request's way through the checks: what each of them found out, for the next ones and for the decision. */

import type { CompiledRoute } from '@ringwall/ring'
import { MASKED, type WafMatch, type WafTransaction, type WafVerdict } from '@ringwall/waf'
import type { ApiExamination, ApiProblem } from '@ringwall/waf/api'
import type { BotClaim } from './bots.ts'
import { type ChallengeTerms, type GrantedPass, type Passes, passOf, termsOf } from './challenge.ts'
import type { Charge, LimitRefusal } from './limits.ts'
import { isField, LOGIN_BODY_BYTES_MAX } from './login-names.ts'
import { portalBodyBytesMax } from './people.ts'
import type { Budget } from './rate-limiter.ts'
import { NOWHERE, type Place, type Places, type Source } from './sources.ts'
import type {
  ApiVerdict,
  Check,
  Decision,
  GuardEnvironment,
  GuardRequest,
  Judgement,
  LoginAttempt,
  Outcome,
  Peer,
  ShownSession,
  TokenVerdict,
} from './types.ts'

const NO_MATCHES: readonly WafMatch[] = []

/** A token that verified. */
export type TokenCredential = Extract<TokenVerdict, { readonly ok: true }>

/** What a check that objects says. */
export interface Objection {
  readonly outcome: Exclude<Outcome, 'allow'>
  readonly status: number
  readonly reason: string
  readonly rule?: string
  readonly provisional?: boolean
  readonly retryAfterS?: number
  readonly budget?: Budget
}

/** One request's way through the checks. */
export class RequestJudgement implements Judgement {
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

/** Closed, not open: what went wrong might be what an attacker wanted to go wrong. */
export function failed(judgement: RequestJudgement, environment: GuardEnvironment): RequestJudgement {
  return judgement.object({ outcome: 'deny', status: 500, reason: 'internal' }, environment)
}

/** One patch on its way through a request. */
export interface PatchRun {
  readonly run: WafTransaction
  readonly enforced: boolean
}

const NO_PATCHES: readonly PatchRun[] = []

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

export type Accounts = NonNullable<NonNullable<CompiledRoute['route']>['signup']>

export function accountsOf({ route }: CompiledRoute): Accounts | undefined {
  return route?.login ?? route?.signup
}
