/**
 * A pass: a token of the ring for a service, bound to a key (`cnf.jkt`, RFC 9449), for the vault alone. Who has the key acts as the service until the token
 * ends or is denied; the token by itself, which stands in requests and on the ledger, is of no use to anybody.
 */
import { canonicalJson } from './canonical-json.ts'
import { decodeBase64url, decodeUtf8, encodeBase64url, encodeUtf8 } from './encoding.ts'
import { EncodingInvalid } from './errors.ts'
import type { LeaseCredential } from './leases.ts'
import type { ServicePass, SignedPass } from './pass-shape.ts'
import { portableSha256 } from './sha256.ts'
import type { RingState } from './state.ts'
import { isSignedByRing, ringIssuer } from './token-revocation.ts'
import type { DenialIndex, TxContent } from './types.ts'

/** `aud` of such tokens. */
export const PASS_AUDIENCE = 'ringwall-vault'
const DOMAIN = 'RINGWALL_PASS_V1\n'
const SUBJECT = /^spiffe:\/\/([0-9a-f]{64})\/service\/([a-z0-9][a-z0-9._-]{0,62})$/
const CLOCK_MS = 5_000

export interface ReadPass {
  readonly service: string
  readonly expiresAtMs: number
  readonly credential: LeaseCredential
}

/** RFC 7638, of an Ed25519 key. */
function thumbprint(key: string): string {
  const hex = portableSha256(encodeUtf8(`{"crv":"Ed25519","kty":"OKP","x":"${key}"}`))
  return encodeBase64url(Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)))
}

/** What a pass says, if it is one of this ring and of this key; whether the ring signed it is not looked at. */
export function readPass(ring: string, { key, token }: ServicePass): ReadPass | undefined {
  try {
    const [head = '', body = ''] = token.split('.')
    const { alg, kid } = JSON.parse(decodeUtf8(decodeBase64url(head))) as Record<string, unknown>
    const claims = JSON.parse(decodeUtf8(decodeBase64url(body))) as Record<string, unknown>
    const { iss, aud, sub, exp, iat, jti, cnf } = claims
    const subject = typeof sub === 'string' ? SUBJECT.exec(sub) : null
    const bound = thumbprint(key)
    if (alg !== 'EdDSA' || typeof kid !== 'string' || iss !== ringIssuer(ring) || aud !== PASS_AUDIENCE) return undefined
    if (subject?.[1] !== ring || typeof jti !== 'string' || !Number.isSafeInteger(exp) || !Number.isSafeInteger(iat))
      return undefined
    if (typeof cnf !== 'object' || cnf === null || (cnf as Record<string, unknown>).jkt !== bound) return undefined
    const issuedAtMs = (iat as number) * 1_000
    const credential = { issuer: iss, subject: sub as string, tokenId: jti, keys: [kid, bound], issuedAtMs }
    return { service: subject[2] as string, expiresAtMs: (exp as number) * 1_000, credential }
  } catch (error) {
    if (error instanceof EncodingInvalid || error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** What is known of the ring by who judges a pass. */
export interface PassJudge {
  /** Did the ring sign it? */
  isSigned(token: string): boolean
  readonly denials: Pick<DenialIndex, 'matchCredential'>
}

type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

/** The service whose pass it is, or why it is none that is good now. */
export function judgePass(
  ring: string,
  pass: ServicePass,
  nowMs: number,
  { isSigned, denials }: PassJudge,
): { readonly service: string } | { readonly fault: string } {
  const read = readPass(ring, pass)
  if (read === undefined || !isSigned(pass.token))
    return { fault: 'the pass is none that the ring made: ringwall vault pass makes one' }
  if (read.expiresAtMs <= nowMs) return { fault: 'the pass is over: ringwall vault pass makes another' }
  if (read.credential.issuedAtMs > nowMs + CLOCK_MS) return { fault: 'the pass begins later, by this node’s clock' }
  const denied = denials.matchCredential(read.credential, nowMs)
  if (denied !== undefined) return { fault: `the pass is denied by ${denied.issuer}: ${denied.reason}` }
  return { service: read.service }
}

/** What the key of a pass signs of a statement that a node proposes for its holder: all of it, so that it is proposed once. */
export function passSigningBytes(content: TxContent): Uint8Array {
  const { body } = content
  const pass = 'pass' in body && body.pass !== undefined ? { key: body.pass.key, token: body.pass.token } : undefined
  return encodeUtf8(DOMAIN + canonicalJson({ ...content, body: { ...body, pass } }))
}

/** Who stated it: the service, by a statement's own pass. */
export function passHolder(
  state: Pick<RingState, 'signingKey' | 'validators' | 'denials'>,
  content: TxContent,
  pass: SignedPass,
  nowMs: number,
  verify: Verify,
): { readonly service: string } | { readonly fault: string } {
  if (!verify(decodeBase64url(pass.key), passSigningBytes(content), decodeBase64url(pass.signature)))
    return { fault: 'the statement is not signed by the key of its pass' }
  const isSigned = (token: string): boolean => isSignedByRing(token, state.signingKey, state.validators, verify)
  return judgePass(content.ring, pass, nowMs, { isSigned, denials: state.denials })
}
