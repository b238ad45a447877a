import { COOKIES_MAX } from '../limits.ts'
import { trim } from '../transformations/blanks.ts'

/** The pairs of a `Cookie` header (RFC 6265 section 4.2.1), not decoded. At most `COOKIES_MAX`; more sets `over`. */
export function parseCookies(header: string): { readonly pairs: readonly (readonly [string, string])[]; readonly over: boolean } {
  const pairs: (readonly [string, string])[] = []
  let from = 0
  while (from < header.length) {
    let end = header.indexOf(';', from)
    if (end < 0) end = header.length
    const pair = trim(header.slice(from, end))
    if (pair !== '') {
      if (pairs.length === COOKIES_MAX) return { pairs, over: true }
      const equals = pair.indexOf('=')
      pairs.push(equals < 0 ? ['', pair] : [pair.slice(0, equals), pair.slice(equals + 1)])
    }
    from = end + 1
  }
  return { pairs, over: false }
}
