/** A rule after compilation. */

import type { Expandable } from './macro.ts'
import type { CompiledOperator, Relation } from './operators/operator.ts'
import type { EngineMode } from './settings.ts'
import type { PairOfListAndChain, RequestState } from './state.ts'
import type { TransformationChain } from './subject.ts'
import type { LinkDescription, WafMatch } from './types.ts'
import type { Sharing } from './unions.ts'
import type { Target, TargetList } from './variables.ts'

export type Phase = 1 | 2 | 3 | 4 | 5

/** One SecRule of a chain, or the whole of a rule that has none. */
export interface Link {
  /** Nothing for SecAction, which always matches. */
  readonly list: TargetList | undefined
  readonly chain: TransformationChain
  readonly operator: CompiledOperator
  readonly negated: boolean
  readonly capture: boolean
  /** The operator sees the value after each transformation, not only after the last. */
  readonly multiMatch: boolean
  /** The automaton's slot of the operator's literals, or -1. */
  readonly slot: number
  /** The same for a link that also looks at what it sees on the way, none of which is scanned for that alone; else -1. */
  readonly hint: number
  /** Set when the literals of all values can be looked up at once. */
  readonly pair: PairOfListAndChain | undefined
  /** Of a pattern that may be asked together with others. */
  readonly sharing: Sharing | undefined
  /** Run for every value that matches. */
  readonly effects: readonly Effect[]
  /** Number of the link in its rule set, where what the operator says depends on the text alone; else -1. */
  readonly memoIndex: number
  readonly told: LinkDescription
}

export interface Effect {
  (run: RuleRun): void
  /** What is known of it before any request. */
  readonly about?: EffectFacts | undefined
}

export type EffectFacts =
  | {
      readonly kind: 'tx'
      /** The variable of TX that it sets or removes; where the name has macros, what it begins with. In lower case. */
      readonly name: string
      readonly whole: boolean
      /** What it sets depends on TX alone. */
      readonly ofTx: boolean
    }
  | {
      readonly kind: 'removal'
      /** Takes a rule out, or variables of TX out of what it looks at. */
      removes(rule: CompiledRule): boolean
    }

/** What effects act on. */
export interface RuleRun {
  readonly state: RequestState
  /** Ids, and ranges of them, that are out for the rest of this request. */
  readonly removed: (readonly [low: number, high: number])[]
  /** Rules that are out by another property. */
  readonly removedIf: ((rule: CompiledRule) => boolean)[]
  /** Variables that some rules do not look at for the rest of this request. */
  readonly removedTargets: RemovedTarget[]
  engine: EngineMode
  auditEngine: 'On' | 'Off' | 'RelevantOnly' | undefined
  auditParts: string | undefined
  requestBodyAccess: boolean
  requestBodyLimit: number
  requestBodyProcessor: 'URLENCODED' | 'MULTIPART' | 'JSON' | 'XML' | undefined
  responseBodyAccess: boolean
  responseBodyLimit: number
}

export interface RemovedTarget {
  readonly target: Target
  from(rule: CompiledRule): boolean
}

/** `block` has been resolved to what the phase's defaults say. */
export type Disruption = 'deny' | 'pass' | 'allow' | 'allow:phase' | 'allow:request'

/** A rule that asks first for one number in TX, as most rules of a scoring rule set do. */
export interface TxGate {
  readonly name: string
  /** It is asked whether it is there. */
  readonly counted: boolean
  readonly relation: Relation
  readonly to: number
  /** The variable of TX that holds what to compare with, in place of `to`. */
  readonly toName: string | undefined
  readonly negated: boolean
}

export interface CompiledRule {
  /** Asks in its first link what an earlier rule matched. */
  readonly readsEarlierMatch: boolean
  /** What has to hold for its first link to match, where that is quickly said. */
  readonly gate: TxGate | undefined
  /** Its number among all rules of the set. */
  readonly index: number
  readonly id: number
  readonly phase: Phase
  readonly message: Expandable
  readonly logData: Expandable
  readonly severity: WafMatch['severity']
  /** 0 (emergency) to 7 (debug), where the rule says. */
  readonly level: number | undefined
  readonly rev: string
  readonly ver: string
  readonly tags: readonly string[]
  readonly at: string
  readonly log: boolean
  /** A match makes the request one for the audit log. */
  readonly audit: boolean
  readonly disruption: Disruption
  readonly status: number
  readonly links: readonly Link[]
  /** Of `SOURCES`: without any of these in a request, its first link has nothing to look at. */
  readonly sources: number
  /** Where to go on after a match: an index into the rules of the phase. */
  readonly skipTo: number | undefined
}
