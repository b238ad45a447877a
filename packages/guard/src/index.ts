export { exclusionsFor } from './api-waf-checks.ts'
export type { BotNames, BotStanding } from './bots.ts'
export {
  bindingOf,
  CHALLENGE_PATH,
  type ChallengeTerms,
  type GrantedPass,
  PASS_COOKIE,
  type Passes,
  SOLUTION_FIELD,
} from './challenge.ts'
export { createGuard, type GuardOptions, loginFailed } from './guard.ts'
export type { Indicators } from './indicators.ts'
export { viewAgeMs } from './judgement.ts'
export { budgetOf, cookieValues, type SharedLimiter, type SourceSubject, sourceKey, subjectOfSource } from './limits.ts'
export { LOGIN_BODY_BYTES_MAX } from './login-names.ts'
export {
  ENROL_PATH,
  LOGIN_PATH,
  LOGOUT_PATH,
  OPENID_PATHS,
  OUTSIDE_PATHS,
  PORTAL_BODY_BYTES_MAX,
  SAML_IDP_PATHS,
  SAML_PATHS,
  SESSION_COOKIES,
  SIGNAL_PATHS,
  sessionCookie,
  sessionOf,
} from './people.ts'
export { judgePolicy } from './policy-judge.ts'
export { type Budget, createRateLimiter, type RateLimiter, type RateLimiterOptions, sharedRateMemory } from './rate-limiter.ts'
export { ASKS_MAX, type LimitMessage, RingLimiter, type RingLimiterOptions } from './ring-limiter.ts'
export { normalizeRoutingPath, readingsOf } from './routing-path.ts'
export { NOWHERE, type Place, type Places } from './sources.ts'
export type {
  ApiVerdict,
  Breaches,
  Check,
  Decision,
  Guard,
  GuardEnvironment,
  GuardRequest,
  Judgement,
  LoginAttempt,
  ModelVerdict,
  Outcome,
  Peer,
  Presentation,
  RequestModel,
  ShownSession,
  TokenVerdict,
  TokenVerifier,
  WafJudgement,
  WafWitness,
} from './types.ts'
