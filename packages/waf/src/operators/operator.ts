import type { Expandable } from '../macro.ts'

/** What an operator may ask of the transaction it runs in. */
export interface OperatorContext {
  /** Adds to the work of this request; see `WORK_CHARS_MAX`. */
  work: number
  expand(macro: Expandable): string
  /** Sets TX.0 to TX.9 when the rule captures. */
  capture(index: number, text: string): void
  /** Whether captures are wanted: operators skip the effort otherwise. */
  capturing: boolean
}

export interface CompiledOperator {
  matches(text: string, context: OperatorContext): boolean
  /** Literals of which one must occur in a text (in any case) for the operator to match; lets most calls be left out. */
  readonly literals?: readonly string[] | undefined
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
}

export type OperatorFactory = (argument: OperatorArgument) => CompiledOperator
