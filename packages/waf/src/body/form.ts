import { ARGS_MAX } from '../limits.ts'
import { urlDecodePart } from '../transformations/url-decode.ts'

/** A name with its value; `over` says that there were more than the bound, `malformed` that a percent escape was broken. */
export interface ParsedForm {
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly over: boolean
  readonly malformed: boolean
}

/** `application/x-www-form-urlencoded` (WHATWG URL section 5.1), over bytes, with `SecArgumentSeparator` if it is another. At most `ARGS_MAX` fields. */
export function parseForm(text: string, separator = '&'): ParsedForm {
  const fields: (readonly [string, string])[] = []
  let over = false
  let from = 0
  while (from < text.length) {
    let end = text.indexOf(separator, from)
    if (end < 0) end = text.length
    if (end > from) {
      if (fields.length === ARGS_MAX) {
        over = true
        break
      }
      const equals = text.indexOf('=', from)
      if (equals < 0 || equals >= end) fields.push([urlDecodePart(text, from, end), ''])
      else fields.push([urlDecodePart(text, from, equals), urlDecodePart(text, equals + 1, end)])
    }
    from = end + 1
  }
  return { fields, over, malformed: text.includes('%') && /%(?![0-9a-fA-F]{2})/.test(text) }
}
