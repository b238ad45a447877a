/** One request going through the compiled rules. */
import type { SetVar } from './actions.ts'
import type { CompiledLink, CompiledPhase, CompiledRule } from './compile.ts'
import type { Matched } from './operators/index.ts'
import { type Datum, RequestData } from './request-data.ts'
import type { WafMatch, WafRequest, WafTransaction, WafVerdict } from './types.ts'

const MATCHES_MAX = 128
const EXCERPT_CHARS = 120
/**
 * Work that one request may cost: characters that operators look at. A request that would cost more is refused by the rule of
 * this id, so that no request, however made, holds up the others.
 */
const WORK_MAX = 60_000_000
export const WORK_RULE_ID = 100_999
/** What an operator costs besides the characters. */
const WORK_PER_TEST = 16

export class RuleTransaction implements WafTransaction {
  readonly #phases: readonly [CompiledPhase, CompiledPhase]
  readonly #transformed = new Map<string, Map<string, string>>()
  readonly #matches: WafMatch[] = []
  readonly #removed: (readonly [number, number])[] = []
  #engine: 'On' | 'Off' | 'DetectionOnly'
  #data: RequestData | undefined
  #work = 0
  #phase: 1 | 2 = 1
  #denied: { readonly status: number } | undefined

  constructor(phases: readonly [CompiledPhase, CompiledPhase], detectionOnly: boolean) {
    this.#phases = phases
    this.#engine = detectionOnly ? 'DetectionOnly' : 'On'
  }

  requestHead(request: WafRequest): WafVerdict {
    this.#data = new RequestData(request)
    this.#run(this.#phases[0], this.#data)
    return this.#verdict(this.#data)
  }

  requestBody(body: Uint8Array, truncated: boolean): WafVerdict {
    const data = this.#data
    if (data === undefined) throw new Error('requestHead comes before requestBody')
    if (this.#denied === undefined || this.#engine === 'DetectionOnly') {
      this.#phase = 2
      data.setBody(body, truncated)
      this.#run(this.#phases[1], data)
    }
    return this.#verdict(data)
  }

  #verdict(data: RequestData): WafVerdict {
    const score = Number.parseInt(data.tx.get('inbound_anomaly_score') ?? '0', 10) || 0
    const blocked = this.#denied !== undefined && this.#engine === 'On'
    return { blocked, status: this.#denied?.status ?? 403, score, matches: this.#matches }
  }

  #run({ rules }: CompiledPhase, data: RequestData): void {
    for (let i = 0; i < rules.length && this.#engine !== 'Off'; ) {
      const rule = rules[i] as CompiledRule
      i += 1
      if (this.#removed.length > 0 && this.#removed.some(([first, last]) => rule.id >= first && rule.id <= last)) continue
      const matched = this.#matchChain(rule, data)
      if (this.#work > WORK_MAX) {
        this.#refuseWork(data)
        return
      }
      if (!matched) continue
      if (rule.actions.disruption === 'deny') {
        this.#denied ??= { status: rule.actions.status ?? 403 }
        if (this.#engine === 'On') return
      }
      if (rule.skipTo > i) i = rule.skipTo
    }
  }

  #refuseWork(data: RequestData): void {
    this.#denied ??= { status: 403 }
    this.#matches.push({
      ruleId: WORK_RULE_ID,
      message: 'The request costs more work than one request may',
      severity: 'critical',
      tags: ['attack-dos'],
      phase: this.#phase,
      variable: 'REQUEST_LINE',
      excerpt: excerpt(data.request.target),
    })
  }

  /** All links hold. The actions of each link run as it matches, as in ModSecurity. */
  #matchChain(rule: CompiledRule, data: RequestData): boolean {
    for (const link of rule.links) {
      const found = this.#matchLink(link, data)
      if (found === undefined) return false
      // A later link that looks at MATCHED_VAR says more about the same place.
      if (found.datum.name !== 'MATCHED_VAR') data.matched = found.datum
      if (link.actions.capture) data.captured = found.matched.slice(0, 10)
      for (const setVar of link.actions.setVars) apply(setVar, data)
      this.#removed.push(...link.actions.removedIds)
      if (link.actions.engine !== undefined) this.#engine = link.actions.engine
    }
    if (rule.actions.log && this.#matches.length < MATCHES_MAX) this.#matches.push(this.#describe(rule, data.matched))
    return true
  }

  #matchLink(link: CompiledLink, data: RequestData): { readonly datum: Datum; readonly matched: Matched } | undefined {
    if (link.collect === undefined) return { datum: { name: '', value: '' }, matched: [''] }
    for (const datum of link.collect(data)) {
      const value = link.cacheKey === '' ? datum.value : this.#transform(link, datum.value)
      this.#work += value.length + WORK_PER_TEST
      if (this.#work > WORK_MAX) return undefined
      const matched = link.test(value)
      if (matched !== undefined) return { datum, matched }
    }
    return undefined
  }

  /** Each chain of transformations runs once for each value, however many rules ask. */
  #transform({ cacheKey, actions }: CompiledLink, value: string): string {
    let known = this.#transformed.get(cacheKey)
    if (known === undefined) {
      known = new Map()
      this.#transformed.set(cacheKey, known)
    }
    let out = known.get(value)
    if (out === undefined) {
      out = value
      for (const transformation of actions.transformations) out = transformation(out)
      this.#work += value.length * actions.transformations.length
      known.set(value, out)
    }
    return out
  }

  #describe({ id, actions }: CompiledRule, datum: Datum): WafMatch {
    const { message, severity, tags, phase } = actions
    return { ruleId: id, message, severity, tags, phase, variable: datum.name, excerpt: excerpt(datum.value) }
  }
}

function excerpt(value: string): string {
  return value.length <= EXCERPT_CHARS ? value : `${value.slice(0, EXCERPT_CHARS - 1)}…`
}

function apply({ name, operation, value }: SetVar, data: RequestData): void {
  if (operation === 'unset') {
    data.tx.delete(name)
    return
  }
  const expanded = value.includes('%{') ? expand(value, data) : value
  if (operation === 'set') {
    data.tx.set(name, expanded)
    return
  }
  const change = Number.parseInt(expanded, 10) || 0
  const before = Number.parseInt(data.tx.get(name) ?? '0', 10) || 0
  data.tx.set(name, String(operation === 'add' ? before + change : before - change))
}

/** `%{tx.name}`, `%{MATCHED_VAR}`, `%{REQUEST_HEADERS.host}`. */
function expand(text: string, data: RequestData): string {
  return text.replace(/%\{([A-Za-z_]{1,40})(?:[.:]([^}]{1,128}))?\}/g, (_, variable: string, member: string | undefined) => {
    if (variable.toLowerCase() === 'tx' && member !== undefined) return data.tx.get(member.toLowerCase()) ?? ''
    const wanted = member?.toLowerCase()
    return (
      data.collect(variable.toUpperCase()).find(({ name }) => wanted === undefined || name.toLowerCase() === wanted)?.value ?? ''
    )
  })
}
