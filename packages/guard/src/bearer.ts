/** The token of a request (RFC 6750 section 2.1; RFC 9449 section 7.1), and how it comes. */
import type { HeaderField } from '@ringwall/waf'
import type { GuardRequest, Presentation } from './types.ts'

/** Longest token looked at, characters. */
const TOKEN_CHARS_MAX = 8_192

export type BearerToken =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly scheme: Presentation['scheme']; readonly token: string }
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
  const named = /^\s*(bearer|dpop)(?:\s|$)/i.exec(found)?.[1]
  if (named === undefined) return { kind: 'none' }
  if (found.length > TOKEN_CHARS_MAX + 32) return { kind: 'malformed' }
  const token = found.trim().slice(named.length).trim()
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) return { kind: 'malformed' }
  return { kind: 'token', scheme: named.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer', token }
}

/** How the token of this request comes. */
export function presentationOf(request: GuardRequest, scheme: Presentation['scheme']): Presentation {
  const { method, target, headers, ja4, clientCertificate } = request
  const proofs: string[] = []
  let { host } = request
  for (const [name, value] of headers) {
    if (name.length !== 4) continue
    const lower = name.toLowerCase()
    if (lower === 'dpop') proofs.push(value.trim())
    else if (lower === 'host') host = value.trim()
  }
  return { scheme, proofs, method, target, host, isSecure: ja4 !== undefined, certificate: clientCertificate }
}
