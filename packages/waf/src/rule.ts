/** A rule after compilation. */

import type { Expandable } from './macro.ts'
import type { CompiledOperator } from './operators/operator.ts'
import type { PairOfListAndChain, RequestState } from './state.ts'
import type { TransformationChain } from './subject.ts'
import type { WafMatch } from './types.ts'
import type { TargetList } from './variables.ts'

/** One SecRule of a chain, or the whole of a rule that has none. */
export interface Link {
  /** Nothing for SecAction, which always matches. */
  readonly list: TargetList | undefined
  readonly chain: TransformationChain
  readonly operator: CompiledOperator
  readonly negated: boolean
  readonly capture: boolean
  /** The automaton's slot of the operator's literals, or -1. */
  readonly slot: number
  /** Set when the literals of all values can be looked up at once. */
  readonly pair: PairOfListAndChain | undefined
  /** Run for every value that matches. */
  readonly effects: readonly ((run: RuleRun) => void)[]
}

/** What effects act on. */
export interface RuleRun {
  readonly state: RequestState
  /** Ids, and ranges of them, that are out for the rest of this request. */
  readonly removed: (readonly [low: number, high: number])[]
  readonly removedTags: string[]
  engine: 'On' | 'Off' | 'DetectionOnly'
}

export interface CompiledRule {
  readonly id: number
  readonly phase: 1 | 2
  readonly message: Expandable
  readonly severity: WafMatch['severity']
  readonly tags: readonly string[]
  readonly at: string
  readonly log: boolean
  readonly blocks: boolean
  readonly status: number
  readonly links: readonly Link[]
  /** Where to go on after a match: an index into the rules of the phase. */
  readonly skipTo: number | undefined
}
