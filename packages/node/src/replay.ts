/** Judges recorded requests again: by the policy in force, and by one with more exceptions. The WAF only: no limits, no denials. */
import { exclusionsFor } from '@ringwall/guard'
import type { CompiledException, CompiledRoute, View } from '@ringwall/ring'
import type { RuleFinding, RuleSet } from '@ringwall/waf'
import type { ArchivedRequest } from './request-archive.ts'

export interface Replayed {
  readonly route: CompiledRoute | undefined
  /** What the rules say; whether it is done depends on the route's mode. */
  readonly blocked: boolean
  readonly status: number
  readonly score: number
  readonly findings: readonly RuleFinding[]
}

const NOTHING = { blocked: false, status: 200, score: 0, findings: [] } as const

/** @param more Exceptions beyond those of the policy, whatever their time. */
export function replay(
  view: View,
  { request, body, truncated, requestId }: ArchivedRequest,
  nowMs: number,
  more: readonly CompiledException[] = [],
): Replayed {
  const route = view.route(request.host, request.path, request.method)
  if (route === undefined || (route.rules === undefined && route.patches.length === 0)) return { route, ...NOTHING }
  const exclusions = [
    ...(exclusionsFor(route, request.path, nowMs) ?? []),
    ...more.filter((exception) => appliesTo(exception, route, request.path)).map(({ exclusion }) => exclusion),
  ]
  const environment = { clock: () => nowMs, uniqueId: requestId }
  const inspected = body.subarray(0, route.bodyBytesMax)
  const judged = (rules: RuleSet): Omit<Replayed, 'route'> => {
    const run = rules.examine(environment, exclusions)
    const head = run.requestHead(request)
    if (!head.blocked) run.requestBody(inspected, truncated)
    return { ...run.log(), findings: run.findings }
  }
  const patches = route.patches
    .filter(({ untilMs }) => nowMs < untilMs)
    .map(({ patch, rules }) => ({ enforced: patch.mode === 'enforce', ...judged(rules) }))
  const { blocked, status, score, findings } = route.rules === undefined ? NOTHING : judged(route.rules)
  const patched = patches.find((one) => one.enforced && one.blocked)
  return {
    route,
    blocked: blocked || patched !== undefined,
    status: patched?.status ?? status,
    score,
    findings: [...patches.flatMap((one) => one.findings), ...findings],
  }
}

export function appliesTo({ exception, covers }: CompiledException, { service, route }: CompiledRoute, path: string): boolean {
  return exception.service === service.name && (exception.route === undefined || exception.route === route?.name) && covers(path)
}

/** What people want to see of findings: what is reported, and what changed the score. */
export function tellingFindings(findings: readonly RuleFinding[]): readonly RuleFinding[] {
  return findings.filter(({ reported, scoreBefore, scoreAfter }) => reported || scoreAfter !== scoreBefore).slice(0, 60)
}
