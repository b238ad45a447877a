/**
 * Proofs of possession by whoever presents a token (RFC 9449, DPoP): a JWT that the token's key signs for one request. Every point of section 4.3 is
 * checked, the cheap ones first, and what is replayed is refused. Nonces of the server (section 8) are not asked for: a proof's age is bounded
 * instead.
 */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'
import type { Presentation } from '@ringwall/guard'
import type { ProofReplays } from './proof-replays.ts'
import { parseStrictObject } from './strict-json.ts'

/** `dpop_signing_alg_values_supported`. */
export const DPOP_ALGORITHMS = ['EdDSA', 'ES256', 'ES384'] as const
type ProofAlgorithm = (typeof DPOP_ALGORITHMS)[number]

export type ProofRefusalCode =
  | 'PROOF_MISSING'
  | 'PROOF_SCHEME'
  | 'PROOF_REPEATED'
  | 'PROOF_MALFORMED'
  | 'PROOF_TYPE'
  | 'PROOF_ALGORITHM'
  | 'PROOF_CRITICAL'
  | 'PROOF_KEY'
  | 'PROOF_PRIVATE_KEY'
  | 'PROOF_OTHER_KEY'
  | 'PROOF_METHOD'
  | 'PROOF_URI'
  | 'PROOF_STALE'
  | 'PROOF_EARLY'
  | 'PROOF_OTHER_TOKEN'
  | 'PROOF_SIGNATURE'
  | 'PROOF_REPLAYED'
  | 'PROOF_TOO_MANY'

export interface ProofRefusal {
  readonly code: ProofRefusalCode
  readonly reason: string
}

/** How old a proof may be, and how far ahead its maker's clock. */
export const PROOF_AGE_MS_MAX = 60_000
export const PROOF_AHEAD_MS_MAX = 5_000
const PROOF_CHARS_MAX = 4_096
const JTI_CHARS_MAX = 256
const KEYS_MAX = 1_024

interface Curve {
  readonly kty: 'OKP' | 'EC'
  readonly crv: string
  /** The public members, in the order of RFC 7638, and the bytes of each. */
  readonly members: readonly string[]
  readonly bytes: number
  readonly digest: 'sha256' | 'sha384' | null
}

const CURVES: Readonly<Record<ProofAlgorithm, Curve>> = {
  EdDSA: { kty: 'OKP', crv: 'Ed25519', members: ['x'], bytes: 32, digest: null },
  ES256: { kty: 'EC', crv: 'P-256', members: ['x', 'y'], bytes: 32, digest: 'sha256' },
  ES384: { kty: 'EC', crv: 'P-384', members: ['x', 'y'], bytes: 48, digest: 'sha384' },
}
/** What a private or a symmetric key has besides (RFC 7518 section 6, RFC 8037 section 2). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

const refuse = (code: ProofRefusalCode, reason: string): ProofRefusal => ({ code, reason })

/**
 * Why the request does not show that its sender holds the key; undefined when it does. A proof that passes is used up.
 *
 * @param thumbprint Of the key that the token is bound to (`cnf.jkt`).
 */
export function proofRefusal(
  token: string,
  thumbprint: string,
  shown: Presentation,
  nowMs: number,
  replays: ProofReplays,
): ProofRefusal | undefined {
  if (shown.scheme !== 'DPoP')
    return refuse('PROOF_SCHEME', 'the token is bound to a key: it comes as Authorization: DPoP, with a proof')
  const proved = proofKey(shown, nowMs, { token, thumbprint, replays })
  return 'code' in proved ? proved : undefined
}

/**
 * Whose key the request was signed for with; a proof that passes is used up, where it is remembered.
 *
 * @param of What it is shown with. Without a token it is a request for one (section 5): it has no `ath`.
 */
export function proofKey(
  shown: Omit<Presentation, 'scheme' | 'certificate'>,
  nowMs: number,
  of: { readonly token?: string; readonly thumbprint?: string; readonly replays?: ProofReplays } = {},
): { readonly thumbprint: string } | ProofRefusal {
  const [proof, ...others] = shown.proofs
  if (proof === undefined) return refuse('PROOF_MISSING', 'the token is bound to a key, and no DPoP field shows a proof')
  if (others.length > 0) return refuse('PROOF_REPEATED', 'there is more than one DPoP field')
  const parts = proof.length > PROOF_CHARS_MAX ? null : /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/.exec(proof)
  if (parts === null) return refuse('PROOF_MALFORMED', `the proof is no compact JWS of at most ${PROOF_CHARS_MAX} characters`)
  const [, encodedHeader, encodedClaims, encodedSignature] = parts as unknown as [string, string, string, string]
  const header = parseStrictObject(Buffer.from(encodedHeader, 'base64url').toString('utf8'))
  const claims = parseStrictObject(Buffer.from(encodedClaims, 'base64url').toString('utf8'))
  if (header === undefined || claims === undefined)
    return refuse('PROOF_MALFORMED', 'header and claims of a proof are JSON objects without doubled names')
  if (header.typ !== 'dpop+jwt') return refuse('PROOF_TYPE', 'the typ of a proof is dpop+jwt')
  if ('crit' in header || 'b64' in header) return refuse('PROOF_CRITICAL', 'the proof demands an extension that is not supported')
  const algorithm = DPOP_ALGORITHMS.find((allowed) => allowed === header.alg)
  if (algorithm === undefined) return refuse('PROOF_ALGORITHM', `a proof is signed with ${DPOP_ALGORITHMS.join(', ')}`)
  const curve = CURVES[algorithm]
  const jwk = publicMembers(header.jwk, algorithm)
  if ('code' in jwk) return jwk
  const thumbprint = thumbprintOf(curve, jwk.members)
  if (of.thumbprint !== undefined && thumbprint !== of.thumbprint)
    return refuse('PROOF_OTHER_KEY', 'the token is bound to another key than that of the proof')
  return (
    claimsRefusal(claims, of.token, shown, nowMs) ??
    signatureRefusal(curve, thumbprint, jwk.members, `${encodedHeader}.${encodedClaims}`, encodedSignature) ??
    (of.replays === undefined ? undefined : replayRefusal(of.replays, thumbprint, claims.jti as string, nowMs)) ?? { thumbprint }
  )
}

/** The public half of the proof's key, one spelling of each member. */
function publicMembers(
  jwk: unknown,
  algorithm: ProofAlgorithm,
): { readonly members: Readonly<Record<string, string>> } | ProofRefusal {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk))
    return refuse('PROOF_KEY', 'the header of a proof holds its public key, jwk')
  const key = jwk as Readonly<Record<string, unknown>>
  if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(key, name)))
    return refuse('PROOF_PRIVATE_KEY', 'the proof gives a private key away: make a new key')
  const { kty, crv, members, bytes } = CURVES[algorithm]
  if (key.kty !== kty || key.crv !== crv) return refuse('PROOF_KEY', `${algorithm} takes a key of ${kty} ${crv}`)
  if ((key.alg !== undefined && key.alg !== algorithm) || (key.use !== undefined && key.use !== 'sig'))
    return refuse('PROOF_KEY', 'the key is for something else, as it says itself')
  const held: Record<string, string> = {}
  for (const name of members) {
    const value = key[name]
    if (typeof value !== 'string' || decoded(value, bytes) === undefined)
      return refuse('PROOF_KEY', `${name} of the key must be ${bytes} bytes in base64url`)
    held[name] = value
  }
  return { members: held }
}

/** RFC 7638, for members that were checked. */
function thumbprintOf({ kty, crv }: Curve, members: Readonly<Record<string, string>>): string {
  const { x, y } = members
  const last = y === undefined ? '' : `,"y":"${y}"`
  return hash('sha256', `{"crv":"${crv}","kty":"${kty}","x":"${x}"${last}}`, 'base64url')
}

/** One spelling only: base64url ignores spare bits. */
function decoded(text: string, bytes: number): Buffer | undefined {
  if (text.length > bytes * 2) return undefined
  const value = Buffer.from(text, 'base64url')
  return value.length === bytes && value.toString('base64url') === text ? value : undefined
}

function claimsRefusal(
  claims: Readonly<Record<string, unknown>>,
  token: string | undefined,
  shown: Pick<Presentation, 'method' | 'target' | 'host' | 'isSecure'>,
  nowMs: number,
): ProofRefusal | undefined {
  const { htm, htu, iat, jti, ath } = claims
  if (typeof jti !== 'string' || jti.length === 0 || jti.length > JTI_CHARS_MAX)
    return refuse('PROOF_MALFORMED', `jti must be 1 to ${JTI_CHARS_MAX} characters`)
  if (typeof htm !== 'string' || typeof htu !== 'string' || (token !== undefined && typeof ath !== 'string'))
    return refuse('PROOF_MALFORMED', 'a proof shown with a token has htm, htu and ath')
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return refuse('PROOF_MALFORMED', 'iat must be a number')
  if (htm !== shown.method) return refuse('PROOF_METHOD', 'the proof is for another method')
  if (!isSameUri(htu, shown)) return refuse('PROOF_URI', 'the proof is for another address')
  const ageMs = nowMs - iat * 1_000
  if (ageMs > PROOF_AGE_MS_MAX)
    return refuse('PROOF_STALE', `the proof is ${Math.round(ageMs / 1_000)} s old, ${PROOF_AGE_MS_MAX / 1_000} s are allowed`)
  if (ageMs < -PROOF_AHEAD_MS_MAX)
    return refuse('PROOF_EARLY', `the proof is of ${Math.round(-ageMs / 1_000)} s from now: set the clock`)
  if (token !== undefined && ath !== hash('sha256', token, 'base64url'))
    return refuse('PROOF_OTHER_TOKEN', 'the proof is for another token')
  return undefined
}

/**
 * Query and fragment do not count (section 4.3); what RFC 3986 sections 6.2.2 and 6.2.3 call the same is the same. Over a plain connection the client may
 * have said https: something before us ended its TLS.
 */
function isSameUri(htu: string, { isSecure, host, target }: Pick<Presentation, 'isSecure' | 'host' | 'target'>): boolean {
  if (!/^https?:\/\//i.test(htu)) return false
  const said = parsed(htu)
  if (said === undefined || said.username !== '' || said.password !== '') return false
  if (isSecure && said.protocol !== 'https:') return false
  // By the scheme that the client says, so that its default port is left out as there.
  const asked = parsed(target.startsWith('/') ? `${said.protocol}//${host}${target}` : target)
  return asked !== undefined && asked.host === said.host && normalized(asked.pathname) === normalized(said.pathname)
}

function parsed(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

const UNRESERVED = /^[A-Za-z0-9._~-]$/

/** Escapes in capitals, and none where none is needed (RFC 3986 sections 6.2.2.1 and 6.2.2.2). */
function normalized(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (escaped) => {
    const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
    return UNRESERVED.test(character) ? character : escaped.toUpperCase()
  })
}

/** By thumbprint: a client shows the same key with each request. */
const keys = new Map<string, KeyObject>()

function signatureRefusal(
  curve: Curve,
  thumbprint: string,
  members: Readonly<Record<string, string>>,
  signed: string,
  encoded: string,
): ProofRefusal | undefined {
  let key = keys.get(thumbprint)
  if (key === undefined) {
    try {
      key = createPublicKey({ key: { kty: curve.kty, crv: curve.crv, ...members }, format: 'jwk' })
    } catch {
      return refuse('PROOF_KEY', 'the key of the proof is no point of its curve')
    }
    if (keys.size >= KEYS_MAX) keys.delete(keys.keys().next().value as string)
    keys.set(thumbprint, key)
  }
  const signature = decoded(encoded, curve.bytes * 2)
  const bytes = Buffer.from(signed)
  const isGood =
    signature !== undefined &&
    (curve.digest === null
      ? verify(null, bytes, key, signature)
      : verify(curve.digest, bytes, { key, dsaEncoding: 'ieee-p1363' }, signature))
  return isGood ? undefined : refuse('PROOF_SIGNATURE', 'the signature of the proof does not verify')
}

function replayRefusal(replays: ProofReplays, thumbprint: string, jti: string, nowMs: number): ProofRefusal | undefined {
  const taken = replays.take(thumbprint, jti, nowMs)
  if (taken === 'replayed') return refuse('PROOF_REPLAYED', 'the proof was shown before: each request has its own')
  if (taken === 'full') return refuse('PROOF_TOO_MANY', 'more proofs than this node remembers at a time: later')
  return undefined
}
