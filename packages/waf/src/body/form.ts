import { bytesToText, scratchBytes } from '../bytes.ts'
import { ARGS_MAX } from '../limits.ts'
import { urlDecodeInto } from '../transformations/url-decode.ts'

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
  // All that is decoded goes into one text, of which names and values are parts: a text of its own for each takes several times as long.
  const bytes = /[%+]/.test(text) ? scratchBytes(text.length) : undefined
  const ends: number[] = []
  let size = 0
  while (from < text.length) {
    let end = text.indexOf(separator, from)
    if (end < 0) end = text.length
    if (end > from) {
      if (fields.length + ends.length / 2 === ARGS_MAX) {
        over = true
        break
      }
      let equals = text.indexOf('=', from)
      if (equals < 0 || equals > end) equals = end
      if (bytes === undefined) fields.push([text.slice(from, equals), text.slice(equals + 1, end)])
      else {
        size = urlDecodeInto(bytes, size, text, from, equals)
        ends.push(size)
        size = urlDecodeInto(bytes, size, text, equals + 1, end)
        ends.push(size)
      }
    }
    from = end + 1
  }
  if (bytes !== undefined) addParts(fields, bytesToText(bytes.subarray(0, size)), ends)
  return { fields, over, malformed: text.includes('%') && /%(?![0-9a-fA-F]{2})/.test(text) }
}

/** @param ends Of each name, and of the value after it. */
function addParts(fields: (readonly [string, string])[], decoded: string, ends: readonly number[]): void {
  let at = 0
  for (let i = 0; i < ends.length; i += 2) {
    const middle = ends[i]!
    const end = ends[i + 1]!
    fields.push([decoded.slice(at, middle), decoded.slice(middle, end)])
    at = end
  }
}
