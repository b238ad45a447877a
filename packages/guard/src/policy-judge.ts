/**
 * What `ring` needs to try out a policy before anybody votes for it: a guard of its own for each test, with an empty ledger, a
 * clock that stands still and limits that begin unused.
 */
import {
  type CompiledPolicy,
  type CompiledRoute,
  createDenialIndex,
  NO_SIGNING_KEY_VIEW,
  type PolicyJudge,
  type RehearsedRequest,
  ringIssuer,
} from '@ringwall/ring'
import type { RuleSet } from '@ringwall/waf'
import { createGuard } from './guard.ts'
import { createRateLimiter } from './rate-limiter.ts'
import { normalizeRoutingPath } from './routing-path.ts'
import { NOWHERE } from './sources.ts'
import type { GuardEnvironment, Peer, TokenVerdict } from './types.ts'

const NOW_MS = 1_700_000_000_000
/** A test is one client: it draws on few limits. */
const LIMITS_MAX = 256
const RING = '0'.repeat(64)
/** What counts its own work. */
interface Worked {
  readonly work: number
}

/** Stands for the token of the test. */
const TOKEN = 'rehearsed'
const NO_DENIALS = createDenialIndex([])

export const judgePolicy: PolicyJudge = (compiled) => {
  let place = NOWHERE
  const guard = createGuard({
    limiter: createRateLimiter({ entriesMax: LIMITS_MAX }),
    pairsMax: LIMITS_MAX,
    places: { of: () => place },
  })
  return (request) => {
    place = request.place ?? NOWHERE
    const routing = normalizeRoutingPath(request.target)
    if (routing === undefined) {
      return {
        outcome: 'deny',
        status: 400,
        check: 'route',
        rule: undefined,
        ruleIds: [],
        reason: 'the target cannot be read',
        work: 0,
      }
    }
    const runs: Worked[] = []
    const environment = environmentOf(compiled, request, runs)
    const headers =
      request.token === undefined ? request.headers : [...request.headers, ['Authorization', `Bearer ${TOKEN}`] as const]
    const peer = request.caller === undefined ? undefined : peerOf(request.caller)
    const head = guard.head({ ...request, headers, path: routing.path, peer }, environment)
    if (head instanceof Promise) throw new Error('the guard waits for something')
    const wanted = Math.min(head.bodyBytesWanted, request.body.length)
    const judged = guard.body(head, request.body.subarray(0, wanted), wanted < request.body.length, environment)
    const { outcome, status, check, rule, matches, reason } = judged.decision!
    if (reason === 'internal') throw new Error(`the check ${check} failed`)
    const work = runs.reduce((sum, run) => sum + run.work, 0)
    return { outcome, status, check, rule, ruleIds: matches.map(({ ruleId }) => ruleId), reason, work }
  }
}

function peerOf(caller: string): Peer {
  const expiresAtMs = NOW_MS + 3_600_000
  return { issuer: ringIssuer(RING), subject: `spiffe://${RING}/${caller}`, issuedAtMs: NOW_MS, expiresAtMs, hash: '' }
}

function environmentOf(compiled: CompiledPolicy, { token }: RehearsedRequest, runs: Worked[]): GuardEnvironment {
  const { policy } = compiled
  /** Rules that remember nothing; their work and the API's is counted. */
  const counted = (route: CompiledRoute): CompiledRoute => {
    const { rules, api, patches } = route
    const counting = <T extends Worked>(run: T): T => {
      runs.push(run)
      return run
    }
    const apart = (set: RuleSet): RuleSet => ({ ...set, begin: (_, exclusions) => counting(set.rehearse(exclusions)) })
    return {
      ...route,
      rules: rules && apart(rules),
      api: api && { ...api, begin: (asked) => counting(api.begin(asked)) },
      patches: patches.map((patch) => ({ ...patch, rules: apart(patch.rules) })),
    }
  }
  const verdict: TokenVerdict =
    token !== undefined && policy.issuers.some(({ issuer }) => issuer === token.issuer)
      ? { ok: true, issuer: token.issuer, subject: token.subject, tokenId: undefined, claims: token.claims }
      : { ok: false, code: 'TOKEN_INVALID', reason: 'no issuer that the policy trusts signed it' }
  return {
    view: {
      ring: RING,
      height: 0,
      blockTimestampMs: NOW_MS,
      policyVersion: 0,
      policy,
      policyText: '',
      denials: NO_DENIALS,
      operators: [],
      nodes: [],
      epoch: 0,
      signingKey: NO_SIGNING_KEY_VIEW,
      routes: compiled.routes,
      route: (host, path, method) => {
        const found = compiled.route(host, path, method)
        return found === undefined ? undefined : counted(found)
      },
    },
    provisional: NO_DENIALS,
    tokens: {
      verify: (given) => (given === TOKEN ? verdict : { ok: false, code: 'TOKEN_INVALID', reason: 'not a token of this test' }),
    },
    nowMs: NOW_MS,
    certifiedAtMs: NOW_MS,
  }
}
