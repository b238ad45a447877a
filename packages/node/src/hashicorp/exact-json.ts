/**
 * JSON from clients. Numbers of secrets come back as they were put: as JavaScript's they would be rounded (12345678901234567890) or spelled
 * otherwise (1.0).
 */

/** Arrays and objects within one another. Writing JSON goes as deep on the stack as what it writes. */
export const DEPTH_MAX = 64

/** A number as it is spelled, where JavaScript would spell it otherwise. */
export interface SpelledNumber {
  readonly rawJSON: string
}

/** Of Node 24, and not yet of the library that types here are checked by. */
const Json = JSON as unknown as {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown
  rawJSON(text: string): SpelledNumber
  isRawJSON(value: unknown): value is SpelledNumber
}

/** Nothing that a client can put is one: what has a member `rawJSON` is an object like others. */
export function isSpelledNumber(value: unknown): value is SpelledNumber {
  return Json.isRawJSON(value)
}

/** @throws {SyntaxError} */
export function parseKeepingNumbers(text: string): unknown {
  return Json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? Json.rawJSON(source) : value,
  )
}

/** By one look at each character, before anything is parsed; brackets within strings do not count. */
export function isTooDeep(text: string): boolean {
  let depth = 0
  let isWithinString = false
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (isWithinString) {
      if (character === '\\') at += 1
      else if (character === '"') isWithinString = false
    } else if (character === '"') isWithinString = true
    else if (character === '[' || character === '{') {
      depth += 1
      if (depth > DEPTH_MAX) return true
    } else if (character === ']' || character === '}') depth -= 1
  }
  return false
}
