/** What rules that only watch would do, and how much of it would be wrong: told by every request on routes that learn or shadow. */
import { estimateFalsePositives, FalsePositiveWatch, type JudgedRequest, type WatchReport } from '@ringwall/detect'
import type { WafJudgement } from '@ringwall/guard'
import type { CompiledRoute, View } from '@ringwall/ring'
import { z } from 'zod'

const count = z.number().min(0)
const text = z.string().max(512)

/** A node's report as others tell it. */
export const WatchReportShape: z.ZodType<WatchReport> = z.strictObject({
  routes: z
    .array(
      z.strictObject({
        label: text,
        choice: z.string().max(262_144),
        sinceMs: count,
        requests: count,
        refused: count,
        unsorted: count,
        clients: z.array(z.int().min(0).max(32)).length(1_024),
        refusedClients: z.array(z.int().min(0).max(32)).length(1_024),
        combinations: z
          .array(
            z.strictObject({
              pairs: z.array(text).max(16),
              requests: count,
              lastMs: count,
              requestId: text,
              clients: z.array(text).max(256),
            }),
          )
          .max(1_000),
      }),
    )
    .max(200),
  clients: z.array(z.strictObject({ client: text, clean: count, pairs: z.array(text).max(16) })).max(70_000),
})

/** Variables that rules make for themselves. */
const MADE = /^(?:TX|MATCHED_VAR|RULE|IP|GLOBAL|SESSION|USER|RESOURCE)\b|^$/

/** What is told of one request. */
export type Sighting = JudgedRequest

/** Tells of requests on routes that learn or shadow. */
export class RuleSightings {
  readonly #choices = new WeakMap<CompiledRoute, string>()

  of({ request, route, verdict }: WafJudgement): Sighting | undefined {
    if (route.wafMode !== 'shadow' && route.wafMode !== 'learn') return undefined
    const matches = verdict.blocked
      ? verdict.matches
          .filter(({ variable }) => !MADE.test(variable))
          .map(({ ruleId, variable }) => ({ ruleId, variable: own(variable) }))
      : NO_MATCHES
    return {
      label: route.label,
      choice: this.#choice(route),
      client: own(request.remoteAddress),
      requestId: request.requestId ?? '',
      refused: verdict.blocked,
      matches,
    }
  }

  #choice(route: CompiledRoute): string {
    const known = this.#choices.get(route)
    if (known !== undefined) return known
    const { rules, paranoia, exclude } = route.service.waf
    const exceptions = route.exceptions.map(({ exception: { rule, path, variable } }) => [rule, path, variable])
    const made = JSON.stringify([rules, paranoia, exclude, route.route?.waf?.exclude ?? [], exceptions])
    this.#choices.set(route, made)
    return made
  }
}

export class RuleWatch {
  readonly #watch = new FalsePositiveWatch()
  readonly #sightings = new RuleSightings()

  observe(judged: WafJudgement, nowMs: number): void {
    const sighting = this.#sightings.of(judged)
    if (sighting !== undefined) this.add(sighting, nowMs)
  }

  add(sighting: Sighting, nowMs: number): void {
    this.#watch.observe(sighting, nowMs)
  }

  report(): WatchReport {
    return this.#watch.report()
  }
}

const NO_MATCHES: JudgedRequest['matches'] = []

/** Not a piece of a connection's buffer, which would stay with it. */
function own(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('latin1')
}

/** Routes of the policy in force that only watch, with what their rules would do. */
export function estimateOf(view: View, reports: ReadonlyMap<string, WatchReport | undefined>): unknown {
  const present = [...reports.values()].filter((report) => report !== undefined)
  const modes = new Map(view.routes.map(({ label, wafMode }) => [label, wafMode]))
  return {
    nodes: [...reports].filter(([, report]) => report !== undefined).map(([id]) => id),
    silent: [...reports].filter(([, report]) => report === undefined).map(([id]) => id),
    routes: estimateFalsePositives(present).flatMap((route) => {
      const mode = modes.get(route.label)
      return mode === 'shadow' || mode === 'learn' ? [{ ...route, mode }] : []
    }),
  }
}
