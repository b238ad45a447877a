/**
 * Verification of bearer JSON Web Tokens (RFC 7519, as compact JWS of RFC 7515) against the issuers that the policy
 * trusts, after the advice of RFC 8725: algorithms are the issuer's, never the token's; keys are the policy's, never the
 * token's; issuer, audience and expiry are required.
 */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'
import type { Presentation, TokenVerdict, TokenVerifier } from '@ringwall/guard'
import { type IssuerPolicy, ringIssuer } from '@ringwall/ring'
import { type CryptoKey, calculateJwkThumbprint, compactVerify, importJWK, type JWK } from 'jose'
import { PROOF_AGE_MS_MAX, PROOF_AHEAD_MS_MAX, type ProofRefusalCode, proofRefusal } from './dpop.ts'
import { ringHeader, ringJwk } from './mint-check.ts'
import { ProofReplays } from './proof-replays.ts'
import { parseStrictObject } from './strict-json.ts'

export type TokenRefusal =
  | 'TOKEN_MALFORMED'
  | 'TOKEN_TOO_LONG'
  | 'TOKEN_ISSUER_UNKNOWN'
  | 'TOKEN_AUDIENCE'
  | 'TOKEN_ALGORITHM'
  | 'TOKEN_CRITICAL'
  | 'TOKEN_KEY_UNKNOWN'
  | 'TOKEN_SIGNATURE'
  | 'TOKEN_EXPIRED'
  | 'TOKEN_NOT_YET'
  | 'TOKEN_NO_EXPIRY'
  | 'TOKEN_NOT_BOUND'
  | 'TOKEN_CERTIFICATE'
  | ProofRefusalCode

export interface TokenVerifierOptions {
  readonly issuers: readonly IssuerPolicy[]
  /** Takes tokens of the ring as well. Whether the audience is this service is for the guard to see, which knows the service. */
  readonly ring?: { readonly ring: string; readonly keys: readonly string[] }
  /** Tokens whose answers are remembered; 10,000 unless given. */
  readonly cacheEntriesMax?: number
  /** The proofs that were seen: those of the verifier before this one, so that none serves twice. Its own unless given. */
  readonly replays?: ProofReplays
  /** How far clocks may differ; 30 unless given. */
  readonly clockToleranceS?: number
}

const TOKEN_CHARS_MAX = 8_192
const CACHE_ENTRIES_MAX = 10_000
const CLOCK_TOLERANCE_S = 30
/** A refusal is remembered for a while, so that a flood of one bad token costs one verification. */
const REFUSAL_MS = 10_000

/** Key types that an algorithm signs with (RFC 7518, section 3.1; RFC 8037). */
const KEY_TYPES = { EdDSA: 'OKP', ES256: 'EC', ES384: 'EC', PS256: 'RSA', RS256: 'RSA' } as const
const CURVES: Readonly<Record<string, string>> = { EdDSA: 'Ed25519', ES256: 'P-256', ES384: 'P-384' }
type Algorithm = keyof typeof KEY_TYPES

type Accepted = Extract<TokenVerdict, { ok: true }>

/** What a token is bound to: thumbprints of a key (RFC 9449 section 6.1) and of a certificate (RFC 8705 section 3.1). */
interface Binding {
  readonly key: string | undefined
  readonly certificate: string | undefined
}

type Remembered =
  | {
      readonly kind: 'accepted'
      readonly verdict: Accepted
      readonly binding: Binding
      readonly notBeforeS: number
      readonly expiresS: number
    }
  | { readonly kind: 'refused'; readonly verdict: TokenVerdict; readonly untilMs: number }

interface Parsed {
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
}

const refuse = (code: TokenRefusal, reason: string): TokenVerdict => ({ ok: false, code, reason })

/** For as long as a proof may be shown. @param memory Of `sharedProofMemory`; of its own unless given. */
export function createProofReplays(memory?: SharedArrayBuffer): ProofReplays {
  return new ProofReplays(PROOF_AGE_MS_MAX + PROOF_AHEAD_MS_MAX, memory)
}

/** Verifies against `issuers` until it is replaced: a changed policy makes a new one, with an empty memory. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  return new IssuerTokens(options)
}

class IssuerTokens implements TokenVerifier {
  readonly #issuers: ReadonlyMap<string, IssuerPolicy>
  readonly #keys = new Map<JWK, Promise<CryptoKey | Uint8Array>>()
  readonly #thumbprints = new Map<JWK, Promise<string>>()
  readonly #remembered = new Map<string, Remembered>()
  readonly #entriesMax: number
  readonly #toleranceS: number
  readonly #ring: string | undefined
  readonly #replays: ProofReplays
  /** By key id. */
  readonly #ringKeys = new Map<string, KeyObject>()
  /** By the header as the ring spells it: whose signature follows on one of these was made by the ring, claims included. */
  readonly #ringHeaders = new Map<string, { readonly kid: string; readonly key: KeyObject }>()

  constructor({ issuers, cacheEntriesMax, clockToleranceS, ring, replays }: TokenVerifierOptions) {
    this.#replays = replays ?? createProofReplays()
    this.#ring = ring === undefined ? undefined : ringIssuer(ring.ring)
    for (const key of ring?.keys ?? []) {
      const { kid, kty, crv, x } = ringJwk(key)
      const imported = createPublicKey({ key: { kty, crv, x }, format: 'jwk' })
      this.#ringKeys.set(kid, imported)
      this.#ringHeaders.set(ringHeader(kid), { kid, key: imported })
    }
    this.#issuers = new Map(issuers.map((issuer) => [issuer.issuer, issuer]))
    this.#entriesMax = cacheEntriesMax ?? CACHE_ENTRIES_MAX
    this.#toleranceS = clockToleranceS ?? CLOCK_TOLERANCE_S
  }

  verify(token: string, nowMs: number, shown?: Presentation): TokenVerdict | Promise<TokenVerdict> {
    if (token.length > TOKEN_CHARS_MAX) return refuse('TOKEN_TOO_LONG', `a token has at most ${TOKEN_CHARS_MAX} characters`)
    const name = hash('sha256', token, 'base64')
    const known = this.#remembered.get(name)
    if (known?.kind === 'accepted' || (known?.kind === 'refused' && nowMs < known.untilMs))
      return this.#verdict(known, token, nowMs, shown)
    const minted = this.#examineMinted(token, nowMs)
    const own = minted === undefined || minted === 'unsigned' ? this.#examineOwn(token, nowMs, minted) : minted
    if (own !== undefined) {
      this.#remember(name, own)
      return this.#verdict(own, token, nowMs, shown)
    }
    return this.#examine(token, nowMs).then((result) => {
      this.#remember(name, result.kind === 'refused' ? { ...result, untilMs: nowMs + REFUSAL_MS } : result)
      return this.#verdict(result, token, nowMs, shown)
    })
  }

  /** What is known of the token, at this time and from whom shows it. */
  #verdict(known: Remembered, token: string, nowMs: number, shown: Presentation | undefined): TokenVerdict {
    if (known.kind === 'refused') return known.verdict
    const verdict = this.#inTime(known, nowMs)
    return verdict.ok && shown !== undefined ? (this.#bindingRefusal(known.binding, token, nowMs, shown) ?? verdict) : verdict
  }

  /** Whoever shows a bound token has to show what it is bound to. */
  #bindingRefusal({ key, certificate }: Binding, token: string, nowMs: number, shown: Presentation): TokenVerdict | undefined {
    if (certificate !== undefined && certificate !== shown.certificate)
      return shown.certificate === undefined
        ? refuse('TOKEN_CERTIFICATE', 'the token is bound to a certificate, and the client showed none')
        : refuse('TOKEN_CERTIFICATE', 'the token is bound to another certificate than the client showed')
    if (key === undefined)
      return shown.scheme === 'DPoP'
        ? refuse('TOKEN_NOT_BOUND', 'the token is bound to no key: it comes as Authorization: Bearer')
        : undefined
    const refusal = proofRefusal(token, key, shown, nowMs, this.#replays)
    return refusal === undefined ? undefined : refuse(refusal.code, refusal.reason)
  }

  #remember(name: string, entry: Remembered): void {
    this.#remembered.delete(name)
    this.#remembered.set(name, entry)
    if (this.#remembered.size > this.#entriesMax) this.#remembered.delete(this.#remembered.keys().next().value as string)
  }

  #inTime({ verdict, notBeforeS, expiresS }: Extract<Remembered, { kind: 'accepted' }>, nowMs: number): TokenVerdict {
    const nowS = nowMs / 1_000
    if (nowS >= expiresS + this.#toleranceS) return refuse('TOKEN_EXPIRED', 'the token has expired')
    if (nowS < notBeforeS - this.#toleranceS) return refuse('TOKEN_NOT_YET', 'the token is not valid yet')
    return verdict
  }

  /**
   * A token that the ring signed under the header that it writes. Its claims are then the ring's own too, spelled as it spells them, so that they
   * need no search for doubles. Undefined for any other; `unsigned` for one under such a header that the ring did not sign.
   */
  #examineMinted(token: string, nowMs: number): Remembered | 'unsigned' | undefined {
    const afterHeader = token.indexOf('.')
    const by = this.#ringHeaders.get(token.slice(0, afterHeader))
    if (by === undefined) return undefined
    const at = token.lastIndexOf('.')
    const signature = decodeSignature(token.slice(at + 1))
    if (signature === undefined || !verify(null, Buffer.from(token.slice(0, at)), by.key, signature)) return 'unsigned'
    try {
      const claims = JSON.parse(Buffer.from(token.slice(afterHeader + 1, at), 'base64url').toString('utf8')) as Parsed['claims']
      return claims.iss === this.#ring ? this.#acceptedOwn(claims, by.kid, nowMs) : undefined
    } catch {
      return undefined
    }
  }

  /** A token of the ring itself, at once; undefined for any other. @param known That the ring did not sign it, where that was looked at. */
  #examineOwn(token: string, nowMs: number, known: 'unsigned' | undefined): Remembered | undefined {
    if (this.#ring === undefined) return undefined
    const parsed = parseToken(token)
    if (parsed === undefined || parsed.claims.iss !== this.#ring) return undefined
    const refused = (code: TokenRefusal, reason: string): Remembered => ({
      kind: 'refused',
      verdict: refuse(code, reason),
      untilMs: nowMs + REFUSAL_MS,
    })
    const { header, claims } = parsed
    if ('crit' in header || 'b64' in header)
      return refused('TOKEN_CRITICAL', 'the token demands an extension that is not supported')
    if (header.alg !== 'EdDSA') return refused('TOKEN_ALGORITHM', 'the ring signs with EdDSA')
    const key = typeof header.kid === 'string' ? this.#ringKeys.get(header.kid) : undefined
    if (key === undefined) return refused('TOKEN_KEY_UNKNOWN', 'the ring has no such key (any more)')
    const at = token.lastIndexOf('.')
    const signature = known === 'unsigned' ? undefined : decodeSignature(token.slice(at + 1))
    if (signature === undefined || !verify(null, Buffer.from(token.slice(0, at)), key, signature))
      return refused('TOKEN_SIGNATURE', 'the signature does not verify')
    return this.#acceptedOwn(claims, header.kid as string, nowMs)
  }

  /** What claims that the ring signed with the key `kid` come to. */
  #acceptedOwn(claims: Parsed['claims'], kid: string, nowMs: number): Remembered {
    const refused = (code: TokenRefusal, reason: string): Remembered => ({
      kind: 'refused',
      verdict: refuse(code, reason),
      untilMs: nowMs + REFUSAL_MS,
    })
    const { exp, sub, jti } = claims
    if (typeof exp !== 'number' || typeof sub !== 'string' || typeof jti !== 'string' || typeof claims.aud !== 'string')
      return refused('TOKEN_MALFORMED', 'the ring’s tokens have exp, sub, jti and aud')
    const { sid, device_id: deviceId, iat, cnf } = claims
    const binding = bindingIn(cnf)
    if (!isTextOrNothing(sid) || !isTextOrNothing(deviceId) || typeof iat !== 'number' || binding === undefined || hasJwk(cnf))
      return refused('TOKEN_MALFORMED', 'what the token can be denied by cannot be read')
    const verdict: Accepted = {
      ok: true,
      issuer: this.#ring as string,
      subject: sub,
      tokenId: jti,
      sessionId: sid,
      deviceId,
      // The id of a key of the ring is its thumbprint.
      keys: [kid, ...thumbprintsOf(binding)],
      // A session that is renewed is as old as its login: what was before a moment stays before it.
      issuedAtMs: (claims.use === 'session' && typeof claims.auth_time === 'number' ? claims.auth_time : iat) * 1_000,
      claims,
      audience: claims.aud,
    }
    return { kind: 'accepted', verdict, binding, notBeforeS: Number.NEGATIVE_INFINITY, expiresS: exp }
  }

  async #examine(token: string, nowMs: number): Promise<Remembered> {
    const refused = (code: TokenRefusal, reason: string): Remembered => ({
      kind: 'refused',
      verdict: refuse(code, reason),
      untilMs: nowMs + REFUSAL_MS,
    })
    const parsed = parseToken(token)
    if (parsed === undefined) return refused('TOKEN_MALFORMED', 'not a compact JWS with a JSON header and JSON claims')
    const { header, claims } = parsed
    // Extensions that must be understood are not, and `b64: false` would change what is signed (RFC 7797).
    if ('crit' in header || 'b64' in header)
      return refused('TOKEN_CRITICAL', 'the token demands an extension that is not supported')
    const issuer = typeof claims.iss === 'string' ? this.#issuers.get(claims.iss) : undefined
    if (issuer === undefined) return refused('TOKEN_ISSUER_UNKNOWN', 'the policy trusts no such issuer')
    const algorithm = issuer.algorithms.find((allowed) => allowed === header.alg)
    if (algorithm === undefined) return refused('TOKEN_ALGORITHM', `the issuer signs with ${issuer.algorithms.join(' or ')}`)
    const key = chooseKey(issuer, algorithm, header.kid)
    if (key === undefined) return refused('TOKEN_KEY_UNKNOWN', 'the policy holds no such key of the issuer')
    try {
      await compactVerify(token, await this.#import(key, algorithm), { algorithms: [algorithm] })
    } catch {
      return refused('TOKEN_SIGNATURE', 'the signature does not verify')
    }
    const audience = Array.isArray(claims.aud) ? (claims.aud as unknown[]) : [claims.aud]
    if (!audience.includes(issuer.audience)) return refused('TOKEN_AUDIENCE', 'the token is for another audience')
    const { exp, nbf, iat, sub, jti, sid, device_id: deviceId } = claims
    if (typeof exp !== 'number' || !Number.isFinite(exp)) return refused('TOKEN_NO_EXPIRY', 'the token has no expiry')
    if (nbf !== undefined && (typeof nbf !== 'number' || !Number.isFinite(nbf)))
      return refused('TOKEN_MALFORMED', 'nbf is no number')
    if (iat !== undefined && (typeof iat !== 'number' || !Number.isFinite(iat)))
      return refused('TOKEN_MALFORMED', 'iat is no number')
    // What a token can be denied by must be readable, or it could not be denied.
    if (!isTextOrNothing(sub) || !isTextOrNothing(jti) || !isTextOrNothing(sid) || !isTextOrNothing(deviceId)) {
      return refused('TOKEN_MALFORMED', 'sub, jti, sid and device_id are strings')
    }
    const binding = await fullBindingIn(claims.cnf)
    if (binding === undefined) return refused('TOKEN_MALFORMED', 'cnf is no confirmation that can be read')
    const verdict: Accepted = {
      ok: true,
      issuer: issuer.issuer,
      subject: sub,
      tokenId: jti,
      sessionId: sid,
      deviceId,
      keys: [...new Set([await this.#thumbprint(key), ...thumbprintsOf(binding)])],
      issuedAtMs: iat === undefined ? undefined : iat * 1_000,
      claims,
    }
    return { kind: 'accepted', verdict, binding, notBeforeS: nbf ?? Number.NEGATIVE_INFINITY, expiresS: exp }
  }

  #thumbprint(key: JWK): Promise<string> {
    let thumbprint = this.#thumbprints.get(key)
    if (thumbprint === undefined) {
      thumbprint = calculateJwkThumbprint(key)
      this.#thumbprints.set(key, thumbprint)
    }
    return thumbprint
  }

  #import(key: JWK, algorithm: Algorithm): Promise<CryptoKey | Uint8Array> {
    let imported = this.#keys.get(key)
    if (imported === undefined) {
      // Only the public members: a policy that holds a private key by mistake must not make it usable.
      const { kty, crv, x, y, n, e } = key
      const members = Object.fromEntries(Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined))
      imported = importJWK(members as JWK, algorithm)
      this.#keys.set(key, imported)
    }
    return imported
  }
}

/** One spelling only: base64url ignores spare bits, and a token must not have two forms. */
function decodeSignature(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.length === 64 && bytes.toString('base64url') === text ? bytes : undefined
}

function isTextOrNothing(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}

const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/

/**
 * What the token is bound to (RFC 7800 section 3, RFC 9449, RFC 8705), a key that stands there whole by its thumbprint; undefined when `cnf` cannot be
 * read, or names two keys.
 */
async function fullBindingIn(cnf: unknown): Promise<Binding | undefined> {
  const binding = bindingIn(cnf)
  if (binding === undefined || !hasJwk(cnf)) return binding
  try {
    const key = await calculateJwkThumbprint((cnf as { readonly jwk: JWK }).jwk)
    return binding.key === undefined || binding.key === key ? { ...binding, key } : undefined
  } catch {
    return undefined
  }
}

function hasJwk(cnf: unknown): boolean {
  return typeof cnf === 'object' && cnf !== null && 'jwk' in cnf
}

function thumbprintsOf({ key, certificate }: Binding): readonly string[] {
  return [key, certificate].filter((thumbprint) => thumbprint !== undefined)
}

/** By the thumbprints that stand there as such. */
function bindingIn(cnf: unknown): Binding | undefined {
  if (cnf === undefined) return { key: undefined, certificate: undefined }
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) return undefined
  const { jkt, 'x5t#S256': x5t } = cnf as Readonly<Record<string, unknown>>
  const isRead = (value: unknown): value is string | undefined =>
    value === undefined || (typeof value === 'string' && THUMBPRINT.test(value))
  return isRead(jkt) && isRead(x5t) ? { key: jkt, certificate: x5t } : undefined
}

function parseToken(token: string): Parsed | undefined {
  if (!/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token)) return undefined
  const [head, body] = token.split('.') as [string, string, string]
  const header = parseStrictObject(Buffer.from(head, 'base64url').toString('utf8'))
  const claims = parseStrictObject(Buffer.from(body, 'base64url').toString('utf8'))
  return header === undefined || claims === undefined ? undefined : { header, claims }
}

/** By `kid` when the token names one; without, only when the issuer has a single key that fits. */
function chooseKey(issuer: IssuerPolicy, algorithm: Algorithm, kid: unknown): JWK | undefined {
  const fitting = (issuer.jwks.keys as readonly JWK[]).filter(
    (key) =>
      key.kty === KEY_TYPES[algorithm] &&
      (CURVES[algorithm] === undefined || key.crv === CURVES[algorithm]) &&
      (key.alg === undefined || key.alg === algorithm) &&
      (key.use === undefined || key.use === 'sig'),
  )
  if (kid !== undefined) return fitting.find((key) => key.kid === kid)
  return fitting.length === 1 ? fitting[0] : undefined
}
