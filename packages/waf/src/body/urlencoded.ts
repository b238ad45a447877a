/** `a=1&b=2`: queries and application/x-www-form-urlencoded bodies (WHATWG URL, section 5.1). */
import { urlDecodeUni } from '../transformations/decode.ts'
import { ARGUMENTS_MAX, type ParsedBody } from './arguments.ts'

export function parseUrlencoded(text: string): ParsedBody {
  const found: { name: string; value: string }[] = []
  let at = 0
  while (at < text.length && found.length < ARGUMENTS_MAX) {
    let end = text.indexOf('&', at)
    if (end === -1) end = text.length
    if (end > at) {
      const equals = text.indexOf('=', at)
      const split = equals === -1 || equals > end ? end : equals
      found.push({ name: urlDecodeUni(text.slice(at, split)), value: urlDecodeUni(text.slice(split + 1, end)) })
    }
    at = end + 1
  }
  return { arguments: found, files: [], error: undefined, tooMany: at < text.length }
}
