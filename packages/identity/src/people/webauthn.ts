/**
 * Passkeys (WebAuthn level 3), as far as a relying party needs it that asks for no attestation: what an authenticator says when it makes a
 * credential, and when it uses it. Not here: where challenges come from, and who knows which key.
 *
 * Synchronous and from its arguments alone, since every holder of the ring's key verifies the assertion by itself before it signs a session.
 */
import { createPublicKey, hash, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import { decodeBase64url, EncodingInvalid } from '@ringwall/ring/tx'

const CLIENT_DATA_BYTES_MAX = 2_048
const AUTHENTICATOR_DATA_BYTES_MAX = 2_048
/** rpIdHash, flags, signCount (section 6.1). */
const HEAD_BYTES = 37
const AAGUID_BYTES = 16
const FLAG = { userPresent: 0x01, userVerified: 0x04, backupEligible: 0x08, backedUp: 0x10, attested: 0x40 } as const
const RSA_BITS = { least: 2_048, most: 4_096 } as const

/** Base64url, as the browser has them. */
export interface PasskeyAssertion {
  readonly authenticatorData: string
  readonly clientDataJSON: string
  readonly signature: string
}

export interface PasskeyRegistration {
  readonly authenticatorData: string
  readonly clientDataJSON: string
  readonly id: string
  /** SubjectPublicKeyInfo, as `getPublicKey()` gives it. */
  readonly publicKey: string
}

export interface PasskeyExpected {
  /** Base64url. */
  readonly challenge: string
  readonly rpId: string
}

/** Why the assertion does not hold (section 7.2); undefined: it does. @param publicKey As it was registered, base64url. */
export function assertionFault(assertion: PasskeyAssertion, publicKey: string, expected: PasskeyExpected): string | undefined {
  try {
    const clientData = decodeBase64url(assertion.clientDataJSON)
    const data = decodeBase64url(assertion.authenticatorData)
    const fault = clientDataFault(clientData, 'webauthn.get', expected) ?? authenticatorFault(data, expected.rpId)
    if (fault !== undefined) return fault
    const key = passkeyKey(decodeBase64url(publicKey))
    if (key === undefined) return 'its key is of no kind that is taken'
    const signed = Buffer.concat([data, hash('sha256', clientData, 'buffer')])
    const algorithm = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
    return verify(algorithm, signed, key, decodeBase64url(assertion.signature)) ? undefined : 'the signature does not verify'
  } catch (error) {
    if (error instanceof EncodingInvalid) return 'it is not base64url'
    throw error
  }
}

/**
 * Why the new credential cannot be taken (section 7.1); undefined: it can. Without attestation there is nothing to verify of the key but that it
 * is one: whoever holds the invitation says which is theirs.
 */
export function registrationFault(made: PasskeyRegistration, expected: PasskeyExpected): string | undefined {
  try {
    const data = decodeBase64url(made.authenticatorData)
    const fault =
      clientDataFault(decodeBase64url(made.clientDataJSON), 'webauthn.create', expected) ??
      authenticatorFault(data, expected.rpId)
    if (fault !== undefined) return fault
    if (((data[32] as number) & FLAG.attested) === 0) return 'it has no credential'
    const at = HEAD_BYTES + AAGUID_BYTES
    if (data.length < at + 2) return 'its credential is cut off'
    const length = ((data[at] as number) << 8) | (data[at + 1] as number)
    const id = data.subarray(at + 2, at + 2 + length)
    if (id.length !== length || Buffer.compare(id, decodeBase64url(made.id)) !== 0) return 'it is of another credential'
    return passkeyKey(decodeBase64url(made.publicKey)) === undefined ? 'its key is of no kind that is taken' : undefined
  } catch (error) {
    if (error instanceof EncodingInvalid) return 'it is not base64url'
    throw error
  }
}

/** ES256, EdDSA or RS256 (COSE -7, -8, -257), by its key in one spelling; undefined for any other. */
function passkeyKey(der: Uint8Array): KeyObject | undefined {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
    if (Buffer.compare(key.export({ format: 'der', type: 'spki' }), der) !== 0) return undefined
  } catch {
    return undefined
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'ed25519') return key
  if (type === 'ec') return details?.namedCurve === 'prime256v1' ? key : undefined
  const bits = details?.modulusLength ?? 0
  return type === 'rsa' && bits >= RSA_BITS.least && bits <= RSA_BITS.most ? key : undefined
}

function clientDataFault(bytes: Uint8Array, type: string, { challenge, rpId }: PasskeyExpected): string | undefined {
  if (bytes.length > CLIENT_DATA_BYTES_MAX) return 'its client data is too long'
  let data: unknown
  try {
    data = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return 'its client data is no JSON'
  }
  if (typeof data !== 'object' || data === null) return 'its client data is no object'
  const { type: held, challenge: shown, origin, crossOrigin, topOrigin } = data as Readonly<Record<string, unknown>>
  if (held !== type) return `it is no ${type}`
  if (shown !== challenge) return 'it answers another challenge'
  if (crossOrigin === true || topOrigin !== undefined) return 'it was made within another site’s page'
  return typeof origin === 'string' && isOriginOf(origin, rpId) ? undefined : 'it was made on another site'
}

/** A secure context whose host is the domain or below it. */
export function isOriginOf(origin: string, rpId: string): boolean {
  const url = URL.parse(origin)
  if (url === null || url.origin !== origin) return false
  const { hostname, protocol } = url
  if (protocol !== 'https:' && !(protocol === 'http:' && (hostname === 'localhost' || hostname.endsWith('.localhost'))))
    return false
  return hostname === rpId || hostname.endsWith(`.${rpId}`)
}

/** Present and verified: a passkey is all that is asked for, and so it takes more than holding it. */
function authenticatorFault(data: Uint8Array, rpId: string): string | undefined {
  if (data.length < HEAD_BYTES || data.length > AUTHENTICATOR_DATA_BYTES_MAX)
    return 'its authenticator data is of no length that is taken'
  if (!timingSafeEqual(data.subarray(0, 32), hash('sha256', rpId, 'buffer'))) return 'it is for another domain'
  const flags = data[32] as number
  if ((flags & FLAG.userPresent) === 0 || (flags & FLAG.userVerified) === 0) return 'the user was not verified'
  if ((flags & FLAG.backedUp) !== 0 && (flags & FLAG.backupEligible) === 0) return 'its flags contradict each other'
  return undefined
}
