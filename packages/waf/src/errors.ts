/** Where in a rule file. Lines and columns count from 1. */
export interface SourcePosition {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** A rule that cannot be used. The message is one sentence: where, what was found, what was expected, what to do. */
export class RuleSyntaxError extends Error {
  override readonly name = 'RuleSyntaxError'
  readonly code = 'RULE_SYNTAX'
  readonly file: string
  readonly line: number
  readonly column: number
  constructor(at: SourcePosition, problem: string, expected: string, remedy: string) {
    super(`${at.file}:${at.line}:${at.column}: ${problem}; expected ${expected}. ${remedy}`)
    this.file = at.file
    this.line = at.line
    this.column = at.column
  }
}
