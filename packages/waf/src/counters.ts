/** How often the rules of a rule set matched, and what they cost. Owned by the rule set: it outlives policies that share it. */

/** By number of the rule (`RuleSet.rules[].index`). Written while requests run; read whenever somebody asks. */
export interface RuleCounters {
  /** Requests that began. */
  requests: number
  /** Of these, the ones whose rules were timed. */
  timedRequests: number
  readonly hits: Float64Array
  /** How often the rule was timed, and microseconds in all and at most. */
  readonly timed: Float64Array
  readonly micros: Float64Array
  readonly microsMax: Float64Array
}

export function createCounters(rules: number): RuleCounters {
  const column = (): Float64Array => new Float64Array(rules)
  return { requests: 0, timedRequests: 0, hits: column(), timed: column(), micros: column(), microsMax: column() }
}

/** Times one rule after the other: what passes between two calls belongs to the rule named first. */
export class RuleLaps {
  readonly #counters: RuleCounters
  readonly #clockUs: () => number
  #rule = -1
  #sinceUs = 0

  constructor(counters: RuleCounters, clockUs: () => number) {
    this.#counters = counters
    this.#clockUs = clockUs
    counters.timedRequests += 1
  }

  next(rule: number): void {
    const nowUs = this.#clockUs()
    if (this.#rule >= 0) this.#add(this.#rule, Math.max(0, nowUs - this.#sinceUs))
    this.#rule = rule
    this.#sinceUs = nowUs
  }

  end(): void {
    this.next(-1)
  }

  #add(rule: number, tookUs: number): void {
    const { timed, micros, microsMax } = this.#counters
    timed[rule]! += 1
    micros[rule]! += tookUs
    if (tookUs > microsMax[rule]!) microsMax[rule] = tookUs
  }
}
