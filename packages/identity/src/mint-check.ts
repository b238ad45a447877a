/**
 * Who may have what signed by the ring's key, and the bytes to sign. Each holder of a share asks this of its own view before it signs:
 * what a coordinator says is not believed, and no bytes are signed that were not made here.
 *
 * Operators may ask for tokens and SVIDs of services; services that have an SVID for more, and for tokens, of themselves; nodes for SVIDs of
 * themselves; anybody for the ring's own certificate, in which
 * there is nothing to choose.
 */
import { createPublicKey, hash, X509Certificate } from 'node:crypto'
import { ringIssuer, type View } from '@ringwall/ring'
import { canonicalJson, decodeBase64url, EncodingInvalid } from '@ringwall/ring/tx'
import {
  type MintRequest,
  mintSigningBytes,
  parseAsker,
  type SignedMintRequest,
  type SvidWanted,
  svidProofBytes,
} from './mint-request.ts'
import { verifiesEd25519, verifiesSpki } from './signature-memo.ts'
import { type Authority, authorityToSign, SVID_BACKDATED_MS, spiffeId, subjectKey, svidToSign } from './svid.ts'

/** How old a request may be, and how far ahead its signer's clock. */
export const MINT_REQUEST_MS_MAX = 60_000

export type MintRefusalCode =
  | 'MINT_NO_KEY'
  | 'MINT_OTHER_RING'
  | 'MINT_STALE'
  | 'MINT_ISSUER_UNKNOWN'
  | 'MINT_SIGNATURE'
  | 'MINT_NOT_ENTITLED'
  | 'MINT_DENIED'
  | 'MINT_KEY'
  | 'MINT_PROOF'
  | 'MINT_CERTIFICATE'

export interface MintRefusal {
  readonly ok: false
  readonly code: MintRefusalCode
  readonly reason: string
}

/** What a request comes to. `message` is what is signed. */
export interface Mintable {
  readonly ok: true
  readonly message: Uint8Array
}

/** Of the view, what minting looks at. */
export type MintView = Pick<View, 'ring' | 'operators' | 'nodes' | 'denials' | 'signingKey'>

const refuse = (code: MintRefusalCode, reason: string): MintRefusal => ({ ok: false, code, reason })

/** A key of the ring as a JSON Web Key; its id is its thumbprint (RFC 7638). @param key Ed25519, raw, base64url. */
export function ringJwk(key: string): {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly x: string
  readonly kid: string
  readonly alg: 'EdDSA'
  readonly use: 'sig'
} {
  return { kty: 'OKP', crv: 'Ed25519', x: key, kid: ringKeyId(key), alg: 'EdDSA', use: 'sig' }
}

let lastKeyId = { key: '', id: '' }

function ringKeyId(key: string): string {
  if (lastKeyId.key !== key) {
    const id = Buffer.from(hash('sha256', `{"crv":"Ed25519","kty":"OKP","x":"${key}"}`, 'buffer')).toString('base64url')
    lastKeyId = { key, id }
  }
  return lastKeyId.id
}

/** The ring as an issuer of certificates; undefined as long as it has no key. */
export function authorityOf({ ring, signingKey }: Pick<MintView, 'ring' | 'signingKey'>): Authority | undefined {
  if (signingKey.key === undefined) return undefined
  return { ring, key: decodeBase64url(signingKey.key), madeAtMs: signingKey.madeAtMs }
}

/** The ring's own certificate: what it says follows from the view. */
export function checkAuthority(view: MintView): Mintable | MintRefusal {
  const authority = authorityOf(view)
  return authority === undefined ? noKey() : { ok: true, message: authorityToSign(authority) }
}

function noKey(): MintRefusal {
  return refuse('MINT_NO_KEY', 'the ring has no signing key (yet): ringwall key ls shows how it stands')
}

export function checkMint({ request, signature }: SignedMintRequest, view: MintView, nowMs: number): Mintable | MintRefusal {
  const authority = authorityOf(view)
  if (authority === undefined) return noKey()
  const { ring, issuer, atMs, want } = request
  if (ring !== view.ring)
    return refuse('MINT_OTHER_RING', `it is for the ring ${ring.slice(0, 12)}, this is ${view.ring.slice(0, 12)}`)
  if (Math.abs(nowMs - atMs) > MINT_REQUEST_MS_MAX) {
    const s = Math.round((nowMs - atMs) / 1_000)
    return refuse(
      'MINT_STALE',
      `it was signed ${s} s ago by this node’s clock, ${MINT_REQUEST_MS_MAX / 1_000} s are allowed: sign anew, or set the clock`,
    )
  }
  const asker = parseAsker(issuer)
  if (asker === undefined) return unknown(issuer)
  const signed = mintSigningBytes(request)
  const untrue = askerRefusal(request, signed, signature, view, nowMs)
  if (untrue !== undefined) return untrue
  if (asker.kind === 'node' && !(want.type === 'svid' && want.of === 'node' && want.name === asker.name))
    return refuse('MINT_NOT_ENTITLED', 'a node may have a certificate of itself, and nothing else; ask as an operator')
  if (asker.kind === 'operator' && want.type === 'svid' && want.of === 'node')
    return refuse('MINT_NOT_ENTITLED', 'only the node itself may have its certificate')
  if (
    asker.kind === 'service' &&
    !(want.type === 'token' ? want.service === asker.name : want.of === 'service' && want.name === asker.name)
  )
    return refuse('MINT_NOT_ENTITLED', 'a service may have tokens and certificates of itself, and of nobody else')
  const id = want.type === 'token' ? spiffeId(ring, 'service', want.service) : spiffeId(ring, want.of, want.name)
  const denied = view.denials.matchCredential({ issuer: ringIssuer(ring), subject: id, issuedAtMs: atMs }, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', `${id} is denied by ${denied.issuer}: ${denied.reason}`)
  if (want.type === 'token') return { ok: true, message: tokenToSign(request, authority, signed) }
  return checkSvid(request, want, authority, signed)
}

/** Who says to ask, and shows it with a signature. */
export interface AskerClaim {
  readonly ring: string
  /** `operator:NAME`, `node:ID` or `service:NAME`. */
  readonly issuer: string
  /** Of a service: its X.509-SVID, DER, base64url. */
  readonly certificate: string
}

/** Undefined when `signed` is signed by the issuer, who is one of the ring and not denied. */
export function askerRefusal(
  claim: AskerClaim,
  signed: Uint8Array,
  signature: string,
  view: MintView,
  nowMs: number,
): MintRefusal | undefined {
  const { issuer } = claim
  const asker = parseAsker(issuer)
  if (asker === undefined) return unknown(issuer)
  if (asker.kind === 'service') return serviceRefusal(claim, asker.name, view, nowMs, signed, signature)
  const key =
    asker.kind === 'operator'
      ? view.operators.find(({ name }) => name === asker.name)?.publicKey
      : view.nodes.find(({ id }) => id === asker.name)?.publicKey
  if (key === undefined) return unknown(issuer)
  if (verifiesRaw(key, signed, signature)) return undefined
  return refuse('MINT_SIGNATURE', `the request is not signed by ${issuer}’s key`)
}

function unknown(issuer: string): MintRefusal {
  return refuse('MINT_ISSUER_UNKNOWN', `${issuer} is none of this ring’s operators and nodes`)
}

/** A service is who holds the key of a certificate that the ring made for it, and that is good now. */
function serviceRefusal(
  { ring, certificate }: AskerClaim,
  name: string,
  { signingKey, denials }: MintView,
  nowMs: number,
  signed: Uint8Array,
  signature: string,
): MintRefusal | undefined {
  const der = decodeBase64url(certificate)
  let shown: X509Certificate
  try {
    shown = new X509Certificate(der)
  } catch {
    return refuse('MINT_CERTIFICATE', 'the certificate cannot be read')
  }
  const keys = [...(signingKey.key === undefined ? [] : [signingKey.key]), ...signingKey.former.map((one) => one.key)]
  const by = keys.find((key) => shown.verify(createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key }, format: 'jwk' })))
  const id = spiffeId(ring, 'service', name)
  if (by === undefined || shown.ca || shown.subjectAltName !== `URI:${id}` || Buffer.compare(shown.raw, der) !== 0)
    return refuse('MINT_CERTIFICATE', `the certificate is none that the ring made for the service ${name}`)
  if (nowMs < Date.parse(shown.validFrom) || nowMs > Date.parse(shown.validTo))
    return refuse('MINT_CERTIFICATE', 'the certificate is not good now: an operator gives the service a new one')
  // By its thumbprint too (RFC 8705 section 3.1), and by when it was made: a stolen certificate must not renew itself past that.
  const thumbprint = Buffer.from(hash('sha256', der, 'buffer')).toString('base64url')
  const issuedAtMs = Date.parse(shown.validFrom) + SVID_BACKDATED_MS
  const credential = { issuer: ringIssuer(ring), subject: id, keys: [ringKeyId(by), thumbprint], issuedAtMs }
  const denied = denials.matchCredential(credential, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', `the certificate is denied by ${denied.issuer}: ${denied.reason}`)
  const spki = shown.publicKey.export({ format: 'der', type: 'spki' })
  return verifiesSpki(spki, signed, decodeBase64url(signature))
    ? undefined
    : refuse('MINT_SIGNATURE', 'the request is not signed by the certificate’s key')
}

function checkSvid(request: MintRequest, want: SvidWanted, authority: Authority, signed: Uint8Array): Mintable | MintRefusal {
  const { of, name, ttlS } = want
  const publicKey = decodeBase64url(want.publicKey)
  if (subjectKey(publicKey) === undefined)
    return refuse('MINT_KEY', 'publicKey must be an Ed25519 or P-256 key, as SubjectPublicKeyInfo in DER')
  if (!verifiesSpki(publicKey, svidProofBytes(request.ring, want), decodeBase64url(want.proof)))
    return refuse('MINT_PROOF', 'the proof that the key is held does not verify')
  return { ok: true, message: svidToSign(authority, { of, name, publicKey, ttlS, atMs: request.atMs, seed: signed }) }
}

const encoded = (value: unknown): string => Buffer.from(canonicalJson(value)).toString('base64url')

/** The header of every token that the ring signs with the key of this id. */
export function ringHeader(kid: string): string {
  return encoded({ alg: 'EdDSA', kid, typ: 'JWT' })
}

/** Header and claims of a token as they are signed (RFC 7515 section 5.1). */
function tokenToSign({ ring, atMs, want }: MintRequest, { key }: Authority, signed: Uint8Array): Uint8Array {
  if (want.type !== 'token') throw new Error('bug: no token is wanted')
  const iat = Math.floor(atMs / 1_000)
  const claims = {
    ...want.claims,
    aud: want.audience,
    ...(want.cnf === undefined ? {} : { cnf: want.cnf }),
    exp: iat + want.ttlS,
    iat,
    iss: ringIssuer(ring),
    jti: hash('sha256', signed, 'hex').slice(0, 32),
    sub: spiffeId(ring, 'service', want.service),
  }
  return Buffer.from(`${ringHeader(ringKeyId(Buffer.from(key).toString('base64url')))}.${encoded(claims)}`)
}

/** @param key Ed25519, raw, base64url. False for anything malformed. */
export function verifiesRaw(key: string, message: Uint8Array, signature: string): boolean {
  try {
    return verifiesEd25519(decodeBase64url(key), message, decodeBase64url(signature))
  } catch (error) {
    if (error instanceof EncodingInvalid) return false
    throw error
  }
}
