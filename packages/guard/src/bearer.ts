/** The bearer token of a request (RFC 6750 section 2.1). */
import type { HeaderField } from '@ringwall/waf'

/** Longest token looked at, characters. */
const TOKEN_CHARS_MAX = 8_192

export type BearerToken =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string }
  /** Two Authorization fields, another character set, or too long: no two readers need agree on it. */
  | { readonly kind: 'malformed' }

export function bearerToken(headers: readonly HeaderField[]): BearerToken {
  let found: string | undefined
  for (const [name, value] of headers) {
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue
    if (found !== undefined) return { kind: 'malformed' }
    found = value
  }
  if (found === undefined) return { kind: 'none' }
  // Another scheme, such as Basic, is the application's own business.
  if (!/^\s*bearer(?:\s|$)/i.test(found)) return { kind: 'none' }
  if (found.length > TOKEN_CHARS_MAX + 32) return { kind: 'malformed' }
  const token = found.trim().slice('bearer'.length).trim()
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) return { kind: 'malformed' }
  return { kind: 'token', token }
}
