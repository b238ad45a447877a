/** Names of secrets, and of the transit's keys, as people give them. */
import { SECRET_NAME, SECRET_NAME_CHARS_MAX } from '@ringwall/ring/tx'
import { UsageError } from './errors.ts'
import { printable } from './format.ts'

const SHOWN_CHARS_MAX = 60
const EXPECTED = `1 to 8 parts with / between them, each of 1 to 63 of A-Z a-z 0-9 . _ - and not beginning with . or -, ${SECRET_NAME_CHARS_MAX} characters in all`

/** Refused here: the ring would say the same of a whole transaction, after the secret was sealed. @throws {UsageError} */
export function parseSecretName(text: string): string {
  if (SECRET_NAME.test(text) && text.length <= SECRET_NAME_CHARS_MAX) return text
  const shown = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text
  throw new UsageError(`${printable(JSON.stringify(shown))} cannot be a name; expected ${EXPECTED}`)
}
