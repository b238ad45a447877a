/** What we decide ourselves, before the guard is asked or in its place. */
import type { Decision, GuardEnvironment, Judgement } from '@ringwall/guard'

/** @param environment Of the request; undefined: it was never judged by any view. */
export function ownDecision(
  environment: GuardEnvironment | undefined,
  outcome: 'allow' | 'deny',
  status: number,
  reason: string,
): Decision {
  return {
    outcome,
    status,
    check: 'none',
    reason,
    height: environment?.view.height ?? 0,
    viewAgeMs: environment?.certifiedAtMs === undefined ? 0 : Math.max(0, environment.nowMs - environment.certifiedAtMs),
    rule: undefined,
    stale: false,
    provisional: false,
    retryAfterS: undefined,
    matches: [],
    wafScore: 0,
    shadowOutcome: outcome,
  }
}

/** A judgement that says this and nothing else. @param route Where it is known. */
export function ownJudgement(route: Judgement['route'], decision: Decision): Judgement {
  return {
    route,
    decision,
    bodyBytesWanted: 0,
    login: undefined,
    api: undefined,
    responseWanted: false,
    responseBytesWanted: 0,
  }
}
