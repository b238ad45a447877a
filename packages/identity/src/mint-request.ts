/**
 * What is asked of the ring's signing key: a token, or an X.509-SVID. Whoever may have it signs the request with a key that the ring
 * knows; every holder of a share checks that by itself (`mint-check.ts`). Safe for browsers: the console can ask.
 *
 * All that is signed follows from the request: one request makes one token or certificate, however often it is shown.
 */
import {
  canonicalJson,
  fieldReaders,
  PASS_TOKEN_CHARS_MAX,
  parseIssuer,
  SECRET_NAME,
  SECRET_NAME_CHARS_MAX,
  SECRET_NAME_EXPECTED,
  type ServicePass,
} from '@ringwall/ring/tx'

const DOMAIN = 'RINGWALL_MINT_V1\n'
const PROOF_DOMAIN = 'RINGWALL_SVID_PROOF_V1\n'

export const TOKEN_TTL_S_DEFAULT = 300
/** As long as a key that was replaced still verifies. */
export const TOKEN_TTL_S_MAX = 3_600
export const SVID_TTL_S_DEFAULT = 3_600
export const SVID_TTL_S_MAX = 86_400
/** Of devices that are no nodes: the policy says how much of it. */
const DEVICE_SVID_TTL_S_MAX = 2_592_000
export const CLAIMS_MAX = 16
/** The ring makes none that is longer. */
const CERTIFICATE_BYTES_MAX = 1_024
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/

export interface TokenWanted {
  readonly type: 'token'
  /** Name of the service that is to have it. */
  readonly service: string
  /** Who is to take it: the name of a service of this ring, or anybody outside. */
  readonly audience: string
  readonly ttlS: number
  /** More claims, as text. */
  readonly claims: Readonly<Record<string, string>>
  /** What whoever presents it has to show; a bearer token without. */
  readonly cnf?: TokenConfirmation
}

/** What a token is bound to (RFC 7800): SHA-256, base64url, one of the two or both. */
export interface TokenConfirmation {
  /** The thumbprint (RFC 7638) of a key: each request comes with a proof by it (RFC 9449). */
  readonly jkt?: string
  /** Of the client's certificate in DER (RFC 8705). */
  readonly 'x5t#S256'?: string
}

export interface SvidWanted {
  readonly type: 'svid'
  readonly of: 'node' | 'service' | 'device'
  readonly name: string
  /** SubjectPublicKeyInfo in DER (Ed25519 or P-256), base64url. */
  readonly publicKey: string
  /** By that key, over `svidProofBytes`, base64url: ECDSA in DER with SHA-256. Empty for a device: the ring has seen its request. */
  readonly proof: string
  readonly ttlS: number
}

/** A signature by a key of the transit. */
export interface TransitWanted {
  readonly type: 'transit'
  readonly key: string
  /** The ring's key signs by the newest versions that were made under it. */
  readonly version: number
  /** SHA-512 of the message, base64url. */
  readonly digest: string
}

export interface MintRequest {
  readonly ring: string
  /** `operator:NAME`, `node:ID` or `service:NAME`. */
  readonly issuer: string
  /** Of a service: its X.509-SVID, DER, base64url, whose key signs the request. Empty for others. */
  readonly certificate: string
  /** Of a service without a certificate, for signatures of the transit alone. */
  readonly pass?: ServicePass
  readonly atMs: number
  /** 16 random bytes, base64url. */
  readonly nonce: string
  readonly want: TokenWanted | SvidWanted | TransitWanted
}

export interface SignedMintRequest {
  readonly request: MintRequest
  /** Over `mintSigningBytes`, base64url: Ed25519, or ECDSA in DER with SHA-256 by a service's P-256 key. */
  readonly signature: string
}

/** Who asks. Undefined for anything else. */
export function parseAsker(issuer: string):
  | {
      readonly kind: 'operator' | 'node' | 'service'
      readonly name: string
    }
  | undefined {
  const name = /^service:(.+)$/.exec(issuer)?.[1]
  return name !== undefined && NAME.test(name) ? { kind: 'service', name } : parseIssuer(issuer)
}

export class MintRequestInvalid extends Error {
  override readonly name = 'MintRequestInvalid'
  readonly code = 'MINT_REQUEST_INVALID'
}

const utf8 = new TextEncoder()

export function mintSigningBytes(request: MintRequest): Uint8Array {
  return utf8.encode(DOMAIN + canonicalJson(request))
}

/** What the key of an SVID signs, to show that whoever asks holds it. */
export function svidProofBytes(ring: string, { of, name, publicKey }: Pick<SvidWanted, 'of' | 'name' | 'publicKey'>): Uint8Array {
  return utf8.encode(PROOF_DOMAIN + canonicalJson({ ring, of, name, publicKey }))
}

const HASH = /^[0-9a-f]{64}$/
/** Printable ASCII without blanks, as in a URI. */
const AUDIENCE = /^[\x21-\x7e]{1,256}$/
const CLAIM = /^[a-z][a-z0-9_]{0,31}$/
const CLAIM_VALUE = /^[\x20-\x7e]{0,256}$/
const RESERVED = new Set(['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'cnf', 'act', 'azp', 'sid', 'use', 'session_end'])

/** @throws {MintRequestInvalid} Saying which member is wrong, and what is expected. */
export function parseSignedMintRequest(value: unknown): SignedMintRequest {
  const { request, signature } = record(value, 'the request', ['request', 'signature'])
  return { request: parseMintRequest(request), signature: bytes(signature, 'signature', 64, 80) }
}

/** @throws {MintRequestInvalid} */
export function parseMintRequest(value: unknown): MintRequest {
  const hasPass = typeof value === 'object' && value !== null && Object.hasOwn(value, 'pass')
  const members = ['atMs', 'certificate', 'issuer', 'nonce', ...(hasPass ? ['pass'] : []), 'ring', 'want']
  const fields = record(value, 'request', members)
  const { atMs, issuer, nonce, ring, want } = fields
  if (typeof issuer !== 'string' || parseAsker(issuer) === undefined)
    fail('request.issuer', 'operator:NAME, node:ID or service:NAME')
  const isService = issuer.startsWith('service:') && !hasPass
  if (hasPass && !issuer.startsWith('service:')) fail('request.issuer', 'service:NAME, where there is a pass')
  return {
    certificate: bytes(fields.certificate, 'request.certificate', isService ? 1 : 0, isService ? CERTIFICATE_BYTES_MAX : 0),
    atMs: whole(atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
    issuer,
    nonce: bytes(nonce, 'request.nonce', 16, 16),
    ...(hasPass ? { pass: parsePass(fields.pass) } : {}),
    ring: text(ring, 'request.ring', HASH, '64 hex digits'),
    want: parseWanted(want),
  }
}

const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}$/

function parsePass(value: unknown): ServicePass {
  const fields = record(value, 'request.pass', ['key', 'token'])
  const token = text(fields.token, 'request.pass.token', TOKEN, 'a token of the ring')
  if (token.length > PASS_TOKEN_CHARS_MAX) fail('request.pass.token', `at most ${PASS_TOKEN_CHARS_MAX} characters`)
  return { key: bytes(fields.key, 'request.pass.key', 32, 32), token }
}

function parseWanted(value: unknown): MintRequest['want'] {
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
  if (type === 'token') {
    const isBound = 'cnf' in (value as object)
    const fields = record(value, 'want', ['audience', 'claims', ...(isBound ? ['cnf'] : []), 'service', 'ttlS', 'type'])
    return {
      ...(isBound ? { cnf: parseConfirmation(fields.cnf) } : {}),
      audience: text(fields.audience, 'want.audience', AUDIENCE, '1 to 256 printable characters without blanks'),
      claims: parseClaims(fields.claims),
      service: text(fields.service, 'want.service', NAME, 'the name of a service'),
      ttlS: whole(fields.ttlS, 'want.ttlS', 1, TOKEN_TTL_S_MAX),
      type,
    }
  }
  if (type === 'svid') {
    const fields = record(value, 'want', ['name', 'of', 'proof', 'publicKey', 'ttlS', 'type'])
    if (fields.of !== 'node' && fields.of !== 'service' && fields.of !== 'device') fail('want.of', 'node, service or device')
    const isDevice = fields.of === 'device'
    return {
      name: text(fields.name, 'want.name', NAME, 'the name of a node or a service'),
      of: fields.of,
      proof: bytes(fields.proof, 'want.proof', isDevice ? 0 : 8, isDevice ? 0 : 80),
      publicKey: bytes(fields.publicKey, 'want.publicKey', 44, 91),
      ttlS: whole(fields.ttlS, 'want.ttlS', 60, isDevice ? DEVICE_SVID_TTL_S_MAX : SVID_TTL_S_MAX),
      type,
    }
  }
  if (type === 'transit') {
    const fields = record(value, 'want', ['digest', 'key', 'type', 'version'])
    const key = text(fields.key, 'want.key', SECRET_NAME, SECRET_NAME_EXPECTED)
    if (key.length > SECRET_NAME_CHARS_MAX) fail('want.key', SECRET_NAME_EXPECTED)
    const version = whole(fields.version, 'want.version', 1, Number.MAX_SAFE_INTEGER, 'a whole number, 1 or more')
    return { digest: bytes(fields.digest, 'want.digest', 64, 64), key, type, version }
  }
  return fail('want.type', 'token, svid or transit')
}

function parseConfirmation(value: unknown): TokenConfirmation {
  const names = ['jkt', 'x5t#S256'].filter((name) => typeof value === 'object' && value !== null && Object.hasOwn(value, name))
  if (names.length === 0) fail('want.cnf', 'an object of jkt, x5t#S256 or both')
  const held = record(value, 'want.cnf', names)
  return Object.fromEntries(names.map((name) => [name, bytes(held[name], `want.cnf.${name}`, 32, 32)]))
}

function parseClaims(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail('want.claims', 'an object of texts')
  const entries = Object.entries(value)
  if (entries.length > CLAIMS_MAX) fail('want.claims', `at most ${CLAIMS_MAX} claims`)
  for (const [name, held] of entries) {
    if (!CLAIM.test(name) || RESERVED.has(name))
      fail('want.claims', 'lower-case names that no standard gives a meaning of its own')
    text(held, `want.claims.${name}`, CLAIM_VALUE, 'up to 256 printable characters')
  }
  return Object.fromEntries(entries) as Record<string, string>
}

function fail(where: string, expected: string): never {
  throw new MintRequestInvalid(`${where} must be ${expected}`)
}

const { record, whole, text, bytes } = fieldReaders(fail)
