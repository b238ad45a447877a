/** What ACME needs of X.509: a request for a certificate (RFC 2986), certificates signed by their own key, and the name of one for ARI. P-256 and SHA-256. */
import { createHash, createPublicKey, type KeyObject, randomBytes, sign, type X509Certificate } from 'node:crypto'
import { certificatePem, der } from '@ringwall/identity'

const { bits, boolean, explicit, implicit, integer, objectId, octets, sequence, set, time, utf8Text } = der

const ECDSA_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'))
const COMMON_NAME = objectId('2.5.4.3')
const ALTERNATIVE_NAME = objectId('2.5.29.17')
const EXTENSION_REQUEST = objectId('1.2.840.113549.1.9.14')
/** RFC 8737 section 3. */
const ACME_IDENTIFIER = objectId('1.3.6.1.5.5.7.1.31')
const PLACEHOLDER = 'Ringwall waits for a certificate'
const BACKDATED_MS = 3_600_000

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: 'der', type: 'spki' })

function alternativeNames(names: readonly string[]): Uint8Array {
  const entries = names.map((name) => implicit(2, Buffer.from(name, 'latin1')))
  return sequence(ALTERNATIVE_NAME, octets(sequence(...entries)))
}

function signed(contents: Uint8Array, key: KeyObject): Uint8Array {
  return sequence(contents, ECDSA_SHA256, bits(sign('sha256', contents, key)))
}

/** DER of a request for these names; the subject is left empty, as the names say all. */
export function certificateRequest(names: readonly string[], key: KeyObject): Uint8Array {
  const extensions = sequence(EXTENSION_REQUEST, set(sequence(alternativeNames(names))))
  return signed(sequence(integer(Uint8Array.of(0)), sequence(), spkiOf(key), explicit(0, extensions)), key)
}

function selfSigned(
  names: readonly string[],
  key: KeyObject,
  nowMs: number,
  validMs: number,
  more: readonly Uint8Array[],
): string {
  const name = sequence(set(sequence(COMMON_NAME, utf8Text(PLACEHOLDER))))
  const serial = randomBytes(16)
  serial[0] = (serial[0]! & 0x7f) | 0x40
  const contents = sequence(
    explicit(0, integer(Uint8Array.of(2))),
    integer(serial),
    ECDSA_SHA256,
    name,
    sequence(time(nowMs - BACKDATED_MS), time(nowMs + validMs)),
    name,
    spkiOf(key),
    explicit(3, sequence(alternativeNames(names), ...more)),
  )
  return certificatePem(signed(contents, key))
}

/** Stands where a certificate will be. No client takes it for one. PEM. */
export function placeholder(names: readonly string[], key: KeyObject, nowMs: number): string {
  return selfSigned(names, key, nowMs, 365 * 86_400_000, [])
}

export function isPlaceholder({ subject, issuer }: X509Certificate): boolean {
  return subject === `CN=${PLACEHOLDER}` && issuer === subject
}

/** What a TLS-ALPN-01 validation is shown (RFC 8737 section 3). PEM. */
export function challengeCertificate(name: string, keyAuthorization: string, key: KeyObject, nowMs: number): string {
  const digest = createHash('sha256').update(keyAuthorization).digest()
  const identifier = sequence(ACME_IDENTIFIER, boolean(true), octets(octets(digest)))
  return selfSigned([name], key, nowMs, 7 * 86_400_000, [identifier])
}

/** The unique name of a certificate for renewal information (RFC 9773 section 4.1); undefined when it does not say which key signed it. */
export function renewalName(certificate: X509Certificate): string | undefined {
  const authority = authorityKeyId(certificate.raw)
  if (authority === undefined) return undefined
  const hex = certificate.serialNumber.length % 2 === 0 ? certificate.serialNumber : `0${certificate.serialNumber}`
  const serial = Buffer.from(hex, 'hex')
  const positive = (serial[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), serial]) : serial
  return `${authority.toString('base64url')}.${positive.toString('base64url')}`
}

/** The extension of the authority's key identifier, as it stands in DER: its OID, then an OCTET STRING around a SEQUENCE that begins with [0]. */
const AUTHORITY_KEY_ID = Buffer.from('0603551d23', 'hex')

function authorityKeyId(raw: Buffer): Buffer | undefined {
  for (let at = raw.indexOf(AUTHORITY_KEY_ID); at >= 0; at = raw.indexOf(AUTHORITY_KEY_ID, at + 1)) {
    const outer = element(raw, at + AUTHORITY_KEY_ID.length, 0x04)
    const list = outer && element(raw, outer.from, 0x30)
    const id = list && element(raw, list.from, 0x80)
    if (outer !== undefined && list?.to === outer.to && id !== undefined && id.to <= list.to) return raw.subarray(id.from, id.to)
  }
  return undefined
}

function element(bytes: Buffer, at: number, tag: number): { readonly from: number; readonly to: number } | undefined {
  const length = bytes[at + 1]
  // All of these are short.
  if (bytes[at] !== tag || length === undefined || length >= 0x80 || at + 2 + length > bytes.length) return undefined
  return { from: at + 2, to: at + 2 + length }
}
