/**
 * What people who look after rules must not see of a request: credentials. By the name of the variable where it has one, and by
 * the names inside of a text that holds many, such as a query or a body.
 *
 * A guess by names: a secret under a name that says nothing is not recognized.
 */
import type { RuleFinding } from './types.ts'

export const MASKED = '[masked]'

const LONG =
  'passw|passphrase|passcode|secret|token|api[-_.]?key|access[-_.]?key|private[-_.]?key|credential|session|authorization|jwt'
const SHORT = 'pass|pwd|sid|otp|pin|cvv|cvc|ssn|auth|sess|card|iban'
const SECRET_NAME = new RegExp(`${LONG}|(?:^|[^a-z])(?:${SHORT})(?:$|[^a-z])`, 'i')

const SECRET_HEADERS: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie', 'set-cookie'])

/** Collections that hold names, sizes or what rules made up, not values of the request. */
const NO_VALUES = /^(?:&|.*_NAMES$|FILES_SIZES$)/

/** Copies of whatever matched before. */
const DERIVED: ReadonlySet<string> = new Set(['MATCHED_VAR', 'MATCHED_VARS', 'TX'])

const NAMED_VALUE = new RegExp(
  `((?:^|[?&;,{\\s])["']?(?:[\\w.[\\]-]{0,64}(?:${LONG})[\\w.[\\]-]{0,64}|(?:[\\w.[\\]-]{0,64}[^A-Za-z&?;,\\s])?(?:${SHORT})(?:[^A-Za-z=&:\\s"'][\\w.[\\]-]{0,64})?)["']?\\s{0,4}(?:=|:|%3[aAdD])\\s{0,4})("[^"]{0,4096}"?|'[^']{0,4096}'?|[^&;,\\s"'}]{1,4096})`,
  'gi',
)
const HEADER_LINE = /((?:^|\n)(?:authorization|proxy-authorization|cookie|set-cookie)[ \t]{0,8}:[ \t]{0,8})[^\r\n]+/gi
const BEARER = /\b(Bearer|Basic|Digest)(\s{1,4}|%20|\+)[A-Za-z0-9._~+/=-]{8,}/g

/** Whether all of a variable's value is a secret, e.g. `REQUEST_COOKIES:id`, `ARGS:password`. */
export function isSecretVariable(variable: string): boolean {
  const colon = variable.indexOf(':')
  const collection = colon < 0 ? variable : variable.slice(0, colon)
  if (NO_VALUES.test(collection)) return false
  const name = colon < 0 ? '' : variable.slice(colon + 1).toLowerCase()
  if (collection === 'REQUEST_COOKIES') return true
  if ((collection === 'REQUEST_HEADERS' || collection === 'RESPONSE_HEADERS') && SECRET_HEADERS.has(name)) return true
  return colon >= 0 && SECRET_NAME.test(name)
}

/** The text without what it gives away. */
export function maskSecrets(variable: string, text: string): string {
  if (text === '') return text
  if (isSecretVariable(variable)) return MASKED
  return text.replace(HEADER_LINE, `$1${MASKED}`).replace(BEARER, `$1$2${MASKED}`).replace(NAMED_VALUE, `$1${MASKED}`)
}

/** A finding fit to be shown: where a secret was matched, copies of it in the same rule are masked as well. */
export function maskFinding(finding: RuleFinding): RuleFinding {
  const secret = finding.parts.some(({ variable, value, seen }) => isMasked(variable, value) || isMasked(variable, seen))
  const parts = finding.parts.map((part) => {
    const collection = part.variable.split(':', 1)[0]!
    if (isSecretVariable(part.variable) || (secret && DERIVED.has(collection)))
      return { ...part, value: MASKED, seen: MASKED, from: undefined, to: undefined }
    const value = maskSecrets(part.variable, part.value)
    const seen = maskSecrets(part.variable, part.seen)
    // The place of the match is that in the text that was not masked.
    return seen === part.seen ? { ...part, value } : { ...part, value, seen, from: undefined, to: undefined }
  })
  return { ...finding, message: secret ? maskedMessage(finding) : finding.message, parts }
}

function isMasked(variable: string, text: string): boolean {
  return text !== '' && maskSecrets(variable, text) !== text
}

/** A message may quote what matched. */
function maskedMessage({ message, parts }: RuleFinding): string {
  let text = message
  for (const { value, seen } of parts)
    for (const secret of [value, seen]) if (secret.length >= 4) text = text.replaceAll(secret, MASKED)
  return text
}
