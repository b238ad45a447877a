/** A rule that cannot be used. One sentence: where, what was expected, what to do. */
export class RuleSyntaxError extends Error {
  override readonly name = 'RuleSyntaxError'
  readonly code = 'RULE_SYNTAX'
  readonly file: string
  readonly line: number
  readonly column: number
  constructor(file: string, line: number, column: number, what: string) {
    super(`${file}:${line}:${column}: ${what}`)
    this.file = file
    this.line = line
    this.column = column
  }
}
