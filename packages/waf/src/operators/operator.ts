import type { LongText } from '../long-text.ts'
import type { Expandable } from '../macro.ts'
import type { PatternFacts } from '../prepared.ts'
import type { Pattern } from '../regex/syntax.ts'
import type { WafEnvironment } from '../types.ts'

/** What an operator may ask of the transaction it runs in. */
export interface OperatorContext {
  /** Adds to the work of this request; see `WORK_CHARS_MAX`. */
  work: number
  building: number
  spared?: number
  expand(macro: Expandable): string
  /** Sets TX.0 to TX.9 when the rule captures. */
  capture(index: number, text: string): void
  /** Captures from `index` on have no value. */
  captured(index: number): void
  /** For what takes long to find out: most captures give way to others before anybody asks for them. */
  captureLater(find: () => void): void
  /** Whether captures are wanted: operators skip the effort otherwise. */
  capturing: boolean
  /** The text that is looked at, if it is long. */
  long?: LongText | undefined
  /** What may be asked beyond the request. */
  readonly environment: WafEnvironment | undefined
  /** What `@geoLookup` found. */
  geo: ReadonlyMap<string, string> | undefined
}

export type Relation = 'eq' | 'ne' | 'ge' | 'gt' | 'le' | 'lt'

export interface CompiledOperator {
  matches(text: string, context: OperatorContext): boolean
  /** Literals of which one must occur in a text (in any case) for the operator to match; lets most calls be left out. */
  readonly literals?: readonly string[] | undefined
  /** Any of the literals is all that it takes to match. */
  readonly exact?: boolean
  /** What it is that it looks for, where that is a pattern. */
  readonly pattern?: { readonly source: string; readonly parsed: () => Pattern } | undefined
  /** Depends on more than the text: macros, or what the caller knows. */
  readonly impure?: boolean
  /** Compares the number that a text begins with to this one, or to the one that the variable of TX holds, when that is all it does. */
  readonly comparison?: { readonly relation: Relation; readonly to: number; readonly toName: string | undefined } | undefined
}

/** Thrown by an operator that cannot be made from its argument; the compiler adds the place. */
export class OperatorArgumentError extends Error {
  override readonly name = 'OperatorArgumentError'
  readonly offset: number
  readonly expected: string
  readonly remedy: string
  constructor(offset: number, problem: string, expected: string, remedy: string) {
    super(problem)
    this.offset = offset
    this.expected = expected
    this.remedy = remedy
  }
}

export interface OperatorArgument {
  readonly text: string
  readonly macro: Expandable
  /** The text of a data file. @throws {RuleSyntaxError} When there is none of this name. */
  readonly data: (name: string) => string
  /** Facts of patterns, by their texts: those that are known, and those that this compilation has. */
  readonly prepared?: { readonly read: ReadonlyMap<string, PatternFacts>; readonly write: Map<string, PatternFacts> }
}

export type OperatorFactory = (argument: OperatorArgument) => CompiledOperator
