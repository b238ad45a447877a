/**
 * What is asked of the holders of the sealing key by who uses keys of the transit: to open capsules that encrypt to one, or to authenticate by one.
 * Signed, answered and recorded as requests for secrets are (`open-request.ts`).
 */
import { canonicalJson, fieldReaders, SECRET_NAME, SECRET_NAME_CHARS_MAX, SECRET_NAME_EXPECTED } from '@ringwall/ring'
import { VaultError } from './errors.ts'
import { type AskerFields, parseAskerFields } from './open-request.ts'

const DOMAIN = 'RINGWALL_TRANSIT_V1\n'
/** Uses that one request may ask for. */
export const TRANSIT_USES_MAX = 16
/** A label has at most some 440 bytes, and the rest of a capsule 169. */
export const TRANSIT_CAPSULE_BYTES_MAX = 768

export interface TransitUseWanted {
  readonly key: string
  readonly version: number
  /** To decrypt: SHA-256 of the context that was given when it was encrypted, base64url, or empty. Empty to authenticate. */
  readonly context: string
  /** Base64url. To decrypt: the capsule. To authenticate: SHA-512 of the message. */
  readonly input: string
}

export interface TransitRequest extends AskerFields {
  readonly act: 'decrypt' | 'mac'
  readonly uses: readonly TransitUseWanted[]
}

export interface SignedTransitRequest {
  readonly request: TransitRequest
  /** Over `transitSigningBytes`, as of `SignedOpenRequest`. */
  readonly signature: string
}

export function transitSigningBytes(request: TransitRequest): Uint8Array {
  return new TextEncoder().encode(DOMAIN + canonicalJson(request))
}

/** @throws {VaultError} VAULT_MALFORMED, saying which member is wrong, and what is expected. */
export function parseSignedTransitRequest(value: unknown): SignedTransitRequest {
  const { request, signature } = record(value, 'the request', ['request', 'signature'])
  const { asker, rest } = parseAskerFields(request, ['act', 'uses'])
  const { act, uses } = rest
  if (act !== 'decrypt' && act !== 'mac') fail('request.act', 'decrypt or mac')
  if (!Array.isArray(uses) || uses.length === 0 || uses.length > TRANSIT_USES_MAX)
    fail('request.uses', `a list of 1 to ${TRANSIT_USES_MAX}`)
  if (act === 'mac' && !asker.proven) fail('request.proven', 'true: what is authenticated is judged by proofs alone')
  return {
    request: { ...asker, act, uses: uses.map((one: unknown, at) => parseUse(one, act, `request.uses[${at}]`)) },
    signature: bytes(signature, 'signature', 64, 80),
  }
}

function parseUse(value: unknown, act: TransitRequest['act'], where: string): TransitUseWanted {
  const fields = record(value, where, ['context', 'input', 'key', 'version'])
  const key = text(fields.key, `${where}.key`, SECRET_NAME, SECRET_NAME_EXPECTED)
  if (key.length > SECRET_NAME_CHARS_MAX) fail(`${where}.key`, SECRET_NAME_EXPECTED)
  const isMac = act === 'mac'
  return {
    context: fields.context === '' ? '' : bytes(fields.context, `${where}.context`, isMac ? 0 : 32, isMac ? 0 : 32),
    input: bytes(fields.input, `${where}.input`, isMac ? 64 : 1, isMac ? 64 : TRANSIT_CAPSULE_BYTES_MAX),
    key,
    version: whole(fields.version, `${where}.version`, 1, Number.MAX_SAFE_INTEGER, 'a whole number, 1 or more'),
  }
}

function fail(where: string, expected: string): never {
  throw new VaultError('VAULT_MALFORMED', `${where} must be ${expected}`)
}

const { record, whole, text, bytes } = fieldReaders(fail)
