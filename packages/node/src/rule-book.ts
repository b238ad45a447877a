/** What operators ask about rules: which are in use and where, what they say, how often they matched and what they cost. */
import type { CompiledRoute, View } from '@ringwall/ring'
import type { LinkDescription, RuleCounters, RuleDescription, RuleListing, RuleSet, RuleSource } from '@ringwall/waf'
import { ApiProblem } from './admin/problem.ts'
import type { RuleCounts } from './queries.ts'
import type { RunningNode } from './running-node.ts'

const SOURCE_LINES_MAX = 500

/** Where a choice of rules is used, and how. */
interface Use {
  readonly label: string
  readonly mode: CompiledRoute['wafMode']
  readonly rules: RuleSet
}

/** Rule sets of the policy in force, each with all places that use it or a part of it. */
function setsInUse({ routes }: View): ReadonlyMap<RuleCounters, readonly Use[]> {
  const sets = new Map<RuleCounters, Use[]>()
  const add = (use: Use): void => {
    const known = sets.get(use.rules.counters)
    if (known === undefined) sets.set(use.rules.counters, [use])
    else known.push(use)
  }
  for (const { rules, label, wafMode, patches } of routes) {
    if (rules !== undefined) add({ label, mode: wafMode, rules })
    for (const { patch, rules: own, untilMs } of patches) if (untilMs > Date.now()) add({ label, mode: patch.mode, rules: own })
  }
  return sets
}

export function ruleCountsOf(node: RunningNode): RuleCounts {
  const own = countRules(node.view(), node.startedAtMs)
  return node.workers === undefined ? own : summed([own, ...node.workers.ruleCounts()], node.startedAtMs)
}

/** Of threads of one node. */
function summed(counts: readonly RuleCounts[], startedAtMs: number): RuleCounts {
  const sum = (of: (one: RuleCounts) => number): number => counts.reduce((left, one) => left + of(one), 0)
  return {
    startedAtMs,
    requests: sum(({ requests }) => requests),
    timedRequests: sum(({ timedRequests }) => timedRequests),
    rules: [...merged(counts)].map(([id, [hits, timed, micros, most]]) => [id, hits, timed, micros, most]),
  }
}

/** What the rules of a view did on this thread. */
export function countRules(view: View, startedAtMs: number): RuleCounts {
  const byId = new Map<number, [number, number, number, number, number]>()
  let requests = 0
  let timedRequests = 0
  for (const [counters, uses] of setsInUse(view)) {
    requests += counters.requests
    timedRequests += counters.timedRequests
    for (const { id, index } of uses[0]!.rules.all) {
      const { hits, timed, micros, microsMax } = counters
      const [, h, t, m, x] = byId.get(id) ?? [id, 0, 0, 0, 0]
      const most = Math.max(x, round(microsMax[index]!))
      byId.set(id, [id, h + hits[index]!, t + timed[index]!, m + round(micros[index]!), most])
    }
  }
  return { startedAtMs, requests, timedRequests, rules: [...byId.values()] }
}

function round(us: number): number {
  return Math.round(us * 1_000) / 1_000
}

interface Place {
  readonly label: string
  readonly mode: CompiledRoute['wafMode']
  readonly excluded: boolean
}

interface Known {
  readonly listing: RuleListing
  readonly leftOut: 'paranoia' | 'removed' | null
  readonly places: Place[]
}

function knownRules(view: View): ReadonlyMap<number, Known> {
  const known = new Map<number, Known>()
  for (const uses of setsInUse(view).values()) {
    const kept = uses.map(({ rules }) => new Set(rules.rules.map(({ id }) => id)))
    const { all, leftOut } = uses[0]!.rules
    for (const listing of all) {
      const entry = known.get(listing.id) ?? { listing, leftOut: null, places: [] }
      for (const [at, { label, mode }] of uses.entries()) entry.places.push({ label, mode, excluded: !kept[at]!.has(listing.id) })
      known.set(listing.id, entry.leftOut === null ? entry : { ...entry, listing, leftOut: null })
    }
    for (const { why, ...listing } of leftOut)
      if (!known.has(listing.id)) known.set(listing.id, { listing, leftOut: why, places: [] })
  }
  return known
}

type Mode = 'enforce' | 'shadow' | 'learn' | 'mixed' | 'excluded' | 'paranoia' | 'removed'

function modeOf({ leftOut, places }: Known): Mode {
  if (leftOut !== null) return leftOut
  const modes = new Set(places.filter(({ excluded }) => !excluded).map(({ mode }) => mode))
  if (modes.size === 0) return 'excluded'
  const [only] = modes
  return modes.size === 1 && only !== 'off' ? only! : 'mixed'
}

/** Counts of several nodes as one. */
function merged(counts: Iterable<RuleCounts>): ReadonlyMap<number, readonly [number, number, number, number]> {
  const all = new Map<number, readonly [number, number, number, number]>()
  for (const { rules } of counts) {
    for (const [id, hits, timed, micros, most] of rules) {
      const [h, t, m, x] = all.get(id) ?? [0, 0, 0, 0]
      all.set(id, [h + hits, t + timed, m + micros, Math.max(x, most)])
    }
  }
  return all
}

async function countsOf(node: RunningNode, isLocal: boolean): Promise<ReadonlyMap<string, RuleCounts | undefined>> {
  return isLocal ? new Map([[node.config.id, ruleCountsOf(node)]]) : node.queries.ruleCounts()
}

const present = (counts: ReadonlyMap<string, RuleCounts | undefined>): readonly RuleCounts[] =>
  [...counts.values()].filter((one) => one !== undefined)

function costs(timed: number, micros: number, most: number): { readonly meanUs: number | null; readonly maxUs: number | null } {
  return timed === 0 ? { meanUs: null, maxUs: null } : { meanUs: round(micros / timed), maxUs: most }
}

function row(known: Known, count: readonly [number, number, number, number] | undefined, view: View, nowMs: number): unknown {
  const { listing, places } = known
  const [hits, timed, micros, most] = count ?? [0, 0, 0, 0]
  return {
    id: listing.id,
    at: listing.at,
    phase: listing.phase,
    severity: listing.severity,
    tags: listing.tags,
    message: listing.message,
    mode: modeOf(known),
    where: places,
    exceptions: exceptionsOf(view, listing.id).filter(({ untilMs }) => untilMs > nowMs).length,
    hits,
    timed,
    ...costs(timed, micros, most),
  }
}

interface Exceptional {
  readonly untilMs: number
}

function exceptionsOf({ policy }: View, id: number): readonly (View['policy']['exceptions'][number] & Exceptional)[] {
  return policy.exceptions
    .filter(({ rule }) => rule === id)
    .map((exception) => ({ ...exception, untilMs: Date.parse(exception.until) }))
}

/** Every rule that the policy in force knows. @param isLocal Counts of this node only. */
export async function listRules(node: RunningNode, isLocal: boolean): Promise<unknown> {
  const counts = await countsOf(node, isLocal)
  const view = node.view()
  const all = merged(present(counts))
  const nowMs = Date.now()
  const rules = [...knownRules(view).values()]
    .sort((a, b) => a.listing.id - b.listing.id)
    .map((known) => row(known, all.get(known.listing.id), view, nowMs))
  return {
    nodes: [...counts].filter(([, count]) => count !== undefined).map(([id]) => id),
    silent: [...counts].filter(([, count]) => count === undefined).map(([id]) => id),
    sinceMs: Math.min(...present(counts).map(({ startedAtMs }) => startedAtMs)),
    requests: present(counts).reduce((sum, { requests }) => sum + requests, 0),
    timedRequests: present(counts).reduce((sum, { timedRequests }) => sum + timedRequests, 0),
    rules,
  }
}

/** One rule with its text. @throws {ApiProblem} 404. */
export async function showRule(node: RunningNode, idText: string, isLocal: boolean): Promise<unknown> {
  const view = node.view()
  const id = /^[1-9][0-9]{0,8}$/.test(idText) ? Number(idText) : undefined
  const known = id === undefined ? undefined : knownRules(view).get(id)
  const found = known === undefined ? undefined : describeIn(view, known.listing)
  if (known === undefined || found === undefined)
    throw new ApiProblem(
      404,
      'NO_RULE',
      `no rule ${idText.slice(0, 20)} in the rule sets that the policy uses; ringwall rule ls lists them`,
    )
  const counts = await countsOf(node, isLocal)
  const nowMs = Date.now()
  const { file, line, disruption, status, links } = found
  return {
    ...(row(known, merged(present(counts)).get(known.listing.id), view, nowMs) as object),
    file,
    line,
    source: sourceOf(node, file, line, links),
    disruption,
    status,
    links,
    exceptionsInForce: exceptionsOf(view, known.listing.id)
      .filter(({ untilMs }) => untilMs > nowMs)
      .map(({ untilMs: _, ...exception }) => exception),
    byNode: [...counts].map(([name, count]) => {
      const own = count?.rules.find(([ruleId]) => ruleId === known.listing.id)
      const [, hits, timed, micros, most] = own ?? [0, 0, 0, 0, 0]
      return { node: name, answered: count !== undefined, hits, timed, ...costs(timed, micros, most) }
    }),
  }
}

function describeIn(view: View, { id, at }: RuleListing): RuleDescription | undefined {
  for (const uses of setsInUse(view).values()) {
    const found = uses[0]!.rules.describe(id)
    if (found?.at === at) return found
  }
  return undefined
}

/** The rule as it stands in its file, comments right above it included. */
function sourceOf(node: RunningNode, file: string, line: number, links: readonly LinkDescription[]): string {
  const patch = node.view().policy.patches.find(({ name }) => file === `patch ${name}`)
  if (patch !== undefined) return patch.rules.trimEnd()
  const source = [...node.rules.values()].flat().find((one: RuleSource) => one.file === file && one.kind !== 'data')
  if (source === undefined) return ''
  const lines = source.text.split(/\r?\n/)
  let from = line - 1
  while (from > 0 && /^\s*#/.test(lines[from - 1]!) && line - from < 20) from -= 1
  let to = (links.at(-1)?.line ?? line) - 1
  while (to < lines.length - 1 && lines[to]!.endsWith('\\')) to += 1
  return lines.slice(from, Math.min(to + 1, from + SOURCE_LINES_MAX)).join('\n')
}
