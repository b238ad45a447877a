/** What body parsers bring out, within bounds. */

export interface Argument {
  readonly name: string
  readonly value: string
}

/** More are not looked at one by one: the request is refused by rule instead (`ARGS_LIMIT_EXCEEDED`). */
export const ARGUMENTS_MAX = 1_000

export interface ParsedBody {
  readonly arguments: readonly Argument[]
  readonly files: readonly { readonly name: string; readonly filename: string }[]
  /** Why the body is not what its Content-Type says; undefined when it is. */
  readonly error: string | undefined
  readonly tooMany: boolean
}
