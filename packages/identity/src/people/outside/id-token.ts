/**
 * ID tokens of outside OpenID Providers (OpenID Connect Core 1.0 section 3.1.3.7), verified from the arguments alone: every holder of the ring's key does it
 * by itself. What is signed for here is bound by `nonce` to the occasion of one login.
 */
import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { OpenIdProviderPolicy } from '@ringwall/ring'
import { parseStrictObject } from '../../strict-json.ts'
import { type OutsideRefusal, type OutsideWord, refuseOutside } from './outside.ts'

export const ID_TOKEN_CHARS_MAX = 8_192
export const PROVIDER_KEYS_MAX = 32
const COMPACT = /^([A-Za-z0-9_-]{1,1024})\.([A-Za-z0-9_-]{1,7168})\.([A-Za-z0-9_-]{1,1024})$/
const RSA_BITS = { least: 2_048, most: 8_192 } as const
/** How far the provider's clock may differ. */
const SKEW_S = 60
const VALUES_MAX = 256
const VALUE_CHARS_MAX = 256

/** Of JWA (RFC 7518 section 3.1, RFC 8037): the type of key, its curve, its digest. */
const ALGORITHMS = {
  EdDSA: { kty: 'OKP', crv: 'Ed25519', digest: null, pss: false },
  ES256: { kty: 'EC', crv: 'P-256', digest: 'sha256', pss: false },
  ES384: { kty: 'EC', crv: 'P-384', digest: 'sha384', pss: false },
  PS256: { kty: 'RSA', crv: undefined, digest: 'sha256', pss: true },
  RS256: { kty: 'RSA', crv: undefined, digest: 'sha256', pss: false },
} as const
export type SigningAlgorithm = keyof typeof ALGORITHMS

/** A public key as a provider publishes it (RFC 7517). */
export type ProviderKey = Readonly<Record<string, unknown>>

/** Header and claims of a compact JWS; undefined: it is none, or has a name twice. */
export interface ReadJws {
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  readonly signed: string
  readonly signature: Buffer
}

export function readJws(token: string): ReadJws | undefined {
  const [, head, body, tail] = (token.length > ID_TOKEN_CHARS_MAX ? null : COMPACT.exec(token)) ?? []
  if (head === undefined || body === undefined || tail === undefined) return undefined
  const header = parseStrictObject(Buffer.from(head, 'base64url').toString('utf8'))
  const claims = parseStrictObject(Buffer.from(body, 'base64url').toString('utf8'))
  const signature = Buffer.from(tail, 'base64url')
  if (header === undefined || claims === undefined || signature.toString('base64url') !== tail) return undefined
  return { header, claims, signed: `${head}.${body}`, signature }
}

/**
 * Why none of the keys made the signature; undefined: one did. The algorithm is one that the reader allows, never merely what the header says.
 */
export function jwsFault(
  { header, signed, signature }: ReadJws,
  allowed: readonly string[],
  keys: readonly ProviderKey[],
): OutsideRefusal | undefined {
  if ('crit' in header || 'b64' in header)
    return refuseOutside('OUTSIDE_ALGORITHM', 'the token demands an extension that is not supported')
  const name = allowed.find((one) => one === header.alg) as SigningAlgorithm | undefined
  if (name === undefined) return refuseOutside('OUTSIDE_ALGORITHM', `signed by another algorithm than ${allowed.join(', ')}`)
  const { kty, crv, digest, pss } = ALGORITHMS[name]
  const fitting = keys.filter(
    (key) =>
      key.kty === kty &&
      (crv === undefined || key.crv === crv) &&
      (key.alg === undefined || key.alg === name) &&
      (key.use === undefined || key.use === 'sig') &&
      (header.kid === undefined || key.kid === header.kid),
  )
  if (fitting.length === 0) return refuseOutside('OUTSIDE_KEY', 'the signer has no such key')
  // Without an id each that fits may have made it; the number of keys is bounded where they are read.
  for (const jwk of fitting.slice(0, PROVIDER_KEYS_MAX)) {
    const key = importedKey(jwk)
    if (key === undefined) continue
    const options = {
      key,
      ...(kty === 'EC' ? { dsaEncoding: 'ieee-p1363' as const } : {}),
      ...(pss ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {}),
    }
    if (verify(digest, Buffer.from(signed), options, signature)) return undefined
  }
  return refuseOutside('OUTSIDE_SIGNATURE', 'the signature does not verify')
}

/** Only of public members: a document that shows a private key by mistake makes nothing of it. */
export function importedKey({ kty, crv, x, y, n, e }: ProviderKey): KeyObject | undefined {
  const members = Object.fromEntries(Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => typeof value === 'string'))
  try {
    const key = createPublicKey({ key: members, format: 'jwk' })
    if (key.asymmetricKeyType !== 'rsa') return key
    const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
    const isStrong = modulusLength >= RSA_BITS.least && modulusLength <= RSA_BITS.most
    return isStrong && publicExponent >= 3n && publicExponent <= 0xffff_ffffn ? key : undefined
  } catch {
    return undefined
  }
}

/** What an ID token has to be for. */
export interface IdTokenExpected {
  readonly nonce: string
  /** When the login began, Unix milliseconds: the token is of after that. */
  readonly sinceMs: number
  readonly nowMs: number
}

/** What the provider says of somebody on this occasion. */
export function readIdToken(
  token: string,
  provider: OpenIdProviderPolicy,
  keys: readonly ProviderKey[],
  expected: IdTokenExpected,
): OutsideWord | OutsideRefusal {
  const read = readJws(token)
  if (read === undefined) return refuseOutside('OUTSIDE_MALFORMED', 'the ID token is no compact JWS of JSON objects')
  const { claims } = read
  if (claims.iss !== provider.issuer) return refuseOutside('OUTSIDE_ISSUER', 'the ID token is of another issuer')
  const fault = jwsFault(read, provider.algorithms, keys)
  if (fault !== undefined) return fault
  const { aud, azp, exp, iat, nbf, nonce, sub } = claims
  const audience: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audience.includes(provider.clientId) || (azp !== undefined && azp !== provider.clientId))
    return refuseOutside('OUTSIDE_AUDIENCE', 'the ID token is for another client')
  if (audience.length > 1 && azp === undefined)
    return refuseOutside('OUTSIDE_AUDIENCE', 'the ID token is for several, and does not say who asked for it')
  if (nonce !== expected.nonce) return refuseOutside('OUTSIDE_OCCASION', 'the ID token is of another login')
  const nowS = expected.nowMs / 1_000
  if (typeof exp !== 'number' || typeof iat !== 'number' || (nbf !== undefined && typeof nbf !== 'number'))
    return refuseOutside('OUTSIDE_MALFORMED', 'exp and iat are numbers')
  if (!(exp > nowS - SKEW_S)) return refuseOutside('OUTSIDE_TIME', 'the ID token is over')
  if (iat > nowS + SKEW_S || (nbf !== undefined && nbf > nowS + SKEW_S))
    return refuseOutside('OUTSIDE_TIME', 'the ID token is of a time to come: look at the clocks')
  if (iat < expected.sinceMs / 1_000 - SKEW_S) return refuseOutside('OUTSIDE_TIME', 'the ID token is older than the login')
  if (typeof sub !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(sub))
    return refuseOutside('OUTSIDE_SUBJECT', 'sub is 1 to 255 printable characters without blanks')
  const name = claims[provider.claims.name]
  const isMail = typeof claims.email === 'string' && claims.email.length <= VALUE_CHARS_MAX && claims.email_verified === true
  return {
    subject: sub,
    name: typeof name === 'string' && name.length <= VALUE_CHARS_MAX ? name : undefined,
    groups: texts(claims[provider.claims.groups]),
    email: isMail ? (claims.email as string) : undefined,
  }
}

function texts(value: unknown): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value]
  return values
    .slice(0, VALUES_MAX)
    .filter((one): one is string => typeof one === 'string' && one.length > 0 && one.length <= VALUE_CHARS_MAX)
}
