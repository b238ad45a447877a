/**
 * What is asked of the holders of the sealing key: secrets, opened for whoever holds the private half of a one-time key. Who asks signs it with
 * a key that the ring knows; every holder checks that by itself (`open-check.ts`).
 */
import {
  canonicalJson,
  fieldReaders,
  PASS_TOKEN_CHARS_MAX,
  SECRET_CAPSULE_BYTES_MAX,
  SECRET_NAME,
  SECRET_NAME_CHARS_MAX,
  SECRET_NAME_EXPECTED,
  type SealedBody,
  type ServicePass,
} from '@ringwall/ring'
import { VaultError } from './errors.ts'

const DOMAIN = 'RINGWALL_OPEN_V1\n'
/** Secrets that one request may ask for. */
export const OPEN_SECRETS_MAX = 64
const CERTIFICATE_BYTES_MAX = 1_024
const ISSUER =
  /^(operator:[A-Za-z0-9][A-Za-z0-9._-]{0,62}|service:[a-z0-9][a-z0-9._-]{0,62}|node:[a-z0-9][a-z0-9-]{0,31}|key:RW[A-Z2-7]{18})$/
/** What is handed along: of objects, one at a time. */
const BODIES_MAX = 4
const HASH = /^[0-9a-f]{64}$/

export interface SecretWanted {
  readonly name: string
  /** 0: the newest, as each holder sees it. */
  readonly version: number
}

/** Who asks, and how it is answered: of every request to the holders. */
export interface AskerFields {
  readonly ring: string
  /**
   * `operator:NAME` or `service:NAME`, for secrets; `node:ID`, for access keys; `key:ID` of an access key, for objects, whose names are
   * `BUCKET/VERSION`.
   */
  readonly issuer: string
  /** Of a service: its X.509-SVID, DER, base64url, whose key signs the request. Empty for operators. */
  readonly certificate: string
  /** Of a service without a certificate: what it acts by. Its key signs the request. */
  readonly pass?: ServicePass
  readonly atMs: number
  /** 16 random bytes, base64url. */
  readonly nonce: string
  /** X25519, raw, base64url: the answers are encrypted to it. For this request only. */
  readonly replyTo: string
  /** With proofs: after an opening that did not come out right. */
  readonly proven: boolean
}

export interface OpenRequest extends AskerFields {
  readonly secrets: readonly SecretWanted[]
}

export interface SignedOpenRequest {
  readonly request: OpenRequest
  /** Over `openSigningBytes`, base64url: Ed25519, or ECDSA in DER with SHA-256 by a service's P-256 key. */
  readonly signature: string
  /** Of objects: what is to be opened, as the ledger has it by its hash. In the order of the request. */
  readonly bodies?: readonly SealedBody[]
}

export function openSigningBytes(request: OpenRequest): Uint8Array {
  return new TextEncoder().encode(DOMAIN + canonicalJson(request))
}

/** @throws {VaultError} VAULT_MALFORMED, saying which member is wrong, and what is expected. */
export function parseSignedOpenRequest(value: unknown): SignedOpenRequest {
  const isHanded = typeof value === 'object' && value !== null && 'bodies' in value
  const top = record(value, 'the request', isHanded ? ['bodies', 'request', 'signature'] : ['request', 'signature'])
  const { request, signature } = top
  const { asker, rest } = parseAskerFields(request, ['secrets'])
  const { secrets } = rest
  if (!Array.isArray(secrets) || secrets.length === 0 || secrets.length > OPEN_SECRETS_MAX)
    fail('request.secrets', `a list of 1 to ${OPEN_SECRETS_MAX}`)
  const wanted = secrets.map((one: unknown, at) => parseWanted(one, `request.secrets[${at}]`))
  if (new Set(wanted.map(({ name, version }) => `${name} ${version}`)).size !== wanted.length)
    fail('request.secrets', 'a list that names nothing twice')
  return {
    request: { ...asker, secrets: wanted },
    signature: bytes(signature, 'signature', 64, 80),
    ...(isHanded ? { bodies: parseBodies(top.bodies, wanted.length) } : {}),
  }
}

function parseBodies(value: unknown, count: number): readonly SealedBody[] {
  if (!Array.isArray(value) || value.length !== count || count > BODIES_MAX)
    return fail('bodies', `a list of ${count}, at most ${BODIES_MAX}`)
  return value.map((one: unknown, at) => {
    const { capsule, ciphertext } = record(one, `bodies[${at}]`, ['capsule', 'ciphertext'])
    return {
      capsule: bytes(capsule, `bodies[${at}].capsule`, 1, SECRET_CAPSULE_BYTES_MAX),
      ciphertext: bytes(ciphertext, `bodies[${at}].ciphertext`, 1, 128),
    }
  })
}

/**
 * @param others The members of the request that it has besides.
 * @throws {VaultError} VAULT_MALFORMED
 */
export function parseAskerFields(
  request: unknown,
  others: readonly string[],
): { readonly asker: AskerFields; readonly rest: Readonly<Record<string, unknown>> } {
  const hasPass = typeof request === 'object' && request !== null && Object.hasOwn(request, 'pass')
  const members = ['atMs', 'certificate', 'issuer', 'nonce', 'proven', 'replyTo', 'ring', ...(hasPass ? ['pass'] : []), ...others]
  const fields = record(request, 'request', members)
  const issuer = text(fields.issuer, 'request.issuer', ISSUER, 'operator:NAME, service:NAME, node:ID or key:ID')
  const isCertified = issuer.startsWith('service:') && !hasPass
  if (hasPass && !issuer.startsWith('service:')) fail('request.issuer', 'service:NAME, where there is a pass')
  if (typeof fields.proven !== 'boolean') fail('request.proven', 'true or false')
  const asker = {
    atMs: wholeNumber(fields.atMs, 'request.atMs'),
    certificate: bytes(fields.certificate, 'request.certificate', isCertified ? 1 : 0, isCertified ? CERTIFICATE_BYTES_MAX : 0),
    issuer,
    nonce: bytes(fields.nonce, 'request.nonce', 16, 16),
    ...(hasPass ? { pass: parsePass(fields.pass) } : {}),
    proven: fields.proven,
    replyTo: bytes(fields.replyTo, 'request.replyTo', 32, 32),
    ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
  }
  return { asker, rest: fields }
}

const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

function parsePass(value: unknown): ServicePass {
  const fields = record(value, 'request.pass', ['key', 'token'])
  const token = text(fields.token, 'request.pass.token', TOKEN, 'a token of the ring')
  if (token.length > PASS_TOKEN_CHARS_MAX) fail('request.pass.token', `at most ${PASS_TOKEN_CHARS_MAX} characters`)
  return { key: bytes(fields.key, 'request.pass.key', 32, 32), token }
}

function parseWanted(value: unknown, where: string): SecretWanted {
  const fields = record(value, where, ['name', 'version'])
  const name = text(fields.name, `${where}.name`, SECRET_NAME, SECRET_NAME_EXPECTED)
  if (name.length > SECRET_NAME_CHARS_MAX) fail(`${where}.name`, SECRET_NAME_EXPECTED)
  return { name, version: wholeNumber(fields.version, `${where}.version`) }
}

function fail(where: string, expected: string): never {
  throw new VaultError('VAULT_MALFORMED', `${where} must be ${expected}`)
}

const { record, whole, text, bytes } = fieldReaders(fail)

function wholeNumber(value: unknown, where: string): number {
  return whole(value, where, 0, Number.MAX_SAFE_INTEGER, 'a whole number, 0 or more')
}
