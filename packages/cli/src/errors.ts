/** Wrong usage: exit code 2, one line, no stack. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Something is bad, and was said already: exit code 1 and nothing more. */
export class QuietFailure extends Error {
  override readonly name = 'QuietFailure'
}
