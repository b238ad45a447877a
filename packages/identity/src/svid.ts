/**
 * X.509-SVIDs (the SPIFFE project's X509-SVID) under the ring's signing key: what is to be signed, and the certificate around a signature.
 * Everything in a certificate follows from its arguments, so that each holder of a share makes the same bytes by itself.
 */
import { hash } from 'node:crypto'
import { bits, boolean, explicit, implicit, integer, objectId, octets, sequence, set, time, utf8Text } from './der.ts'

/** Clocks of those who verify may be behind by so much. */
export const SVID_BACKDATED_MS = 60_000
const CA_BACKDATED_MS = 3_600_000
const CA_VALID_MS = 10 * 365 * 86_400_000
const KEY_ID_BYTES = 20
const SERIAL_BYTES = 16

const ED25519 = sequence(objectId('1.3.101.112'))
const COMMON_NAME = objectId('2.5.4.3')
const ORGANIZATION = objectId('2.5.4.10')
const ORGANIZATIONAL_UNIT = objectId('2.5.4.11')
const SUBJECT_KEY_ID = objectId('2.5.29.14')
const KEY_USAGE = objectId('2.5.29.15')
const ALTERNATIVE_NAME = objectId('2.5.29.17')
const BASIC_CONSTRAINTS = objectId('2.5.29.19')
const AUTHORITY_KEY_ID = objectId('2.5.29.35')
const EXTENDED_KEY_USAGE = objectId('2.5.29.37')
const SERVER_AUTH = objectId('1.3.6.1.5.5.7.3.1')
const CLIENT_AUTH = objectId('1.3.6.1.5.5.7.3.2')

/** SubjectPublicKeyInfo of Ed25519 (RFC 8410) and of an uncompressed point on P-256 (RFC 5480), before the key itself. */
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex')
const SPKI_P256 = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')

/** Who signs: the ring and its key. */
export interface Authority {
  readonly ring: string
  /** Ed25519, raw. */
  readonly key: Uint8Array
  /** When the key was made, by the ledger's clock. */
  readonly madeAtMs: number
}

/** The SPIFFE id of a node or service; of the trust domain itself without them. */
export function spiffeId(ring: string, of?: 'node' | 'service' | 'device', name?: string): string {
  return of === undefined ? `spiffe://${ring}` : `spiffe://${ring}/${of}/${name}`
}

function digest(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(hash('sha256', Buffer.concat(parts), 'buffer'))
}

/** RFC 7093 section 2, method 1, over the key's bits. */
const keyId = (key: Uint8Array): Uint8Array => digest(key).subarray(0, KEY_ID_BYTES)

function nameOf(common: string, unit?: string): Uint8Array {
  return sequence(
    set(sequence(ORGANIZATION, utf8Text('Ringwall'))),
    ...(unit === undefined ? [] : [set(sequence(ORGANIZATIONAL_UNIT, utf8Text(unit)))]),
    set(sequence(COMMON_NAME, utf8Text(common))),
  )
}

/** The node that asked for the certificate of one of its workloads; undefined when somebody else did. @param subject As node:crypto has it. */
export function attestingNode(subject: string): string | undefined {
  return /^OU=node ([a-z0-9-]{1,32})$/m.exec(subject)?.[1]
}

function extension(id: Uint8Array, value: Uint8Array, isCritical = false): Uint8Array {
  return isCritical ? sequence(id, boolean(true), octets(value)) : sequence(id, octets(value))
}

/** Positive, so that no reader takes it for a negative one. */
function serialOf(seed: Uint8Array): Uint8Array {
  const serial = seed.slice(0, SERIAL_BYTES)
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40
  return integer(serial)
}

const alternativeName = (uri: string): Uint8Array =>
  extension(ALTERNATIVE_NAME, sequence(implicit(6, new TextEncoder().encode(uri))))

/** What the ring signs of itself: a certificate authority that makes certificates of nodes and services, and nothing below. */
export function authorityToSign({ ring, key, madeAtMs }: Authority): Uint8Array {
  const name = nameOf(ring)
  return sequence(
    explicit(0, integer(Uint8Array.of(2))),
    serialOf(digest(new TextEncoder().encode(`RINGWALL_CA_V1\n${ring}\n`), key)),
    ED25519,
    name,
    sequence(time(madeAtMs - CA_BACKDATED_MS), time(madeAtMs + CA_VALID_MS)),
    name,
    Buffer.concat([SPKI_ED25519, key]),
    explicit(
      3,
      sequence(
        extension(BASIC_CONSTRAINTS, sequence(boolean(true), integer(Uint8Array.of(0))), true),
        extension(KEY_USAGE, bits(Uint8Array.of(0b0000_0110), 1), true),
        extension(SUBJECT_KEY_ID, octets(keyId(key))),
        alternativeName(spiffeId(ring)),
      ),
    ),
  )
}

export interface Svid {
  readonly of: 'node' | 'service' | 'device'
  readonly name: string
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  readonly atMs: number
  readonly ttlS: number
  /** What it was made from: makes its serial number. */
  readonly seed: Uint8Array
  /** Of a service: the node that says that a program on its machine is that service. The certificate names it. */
  readonly attestedBy?: string
}

/** The raw key of a SubjectPublicKeyInfo that an SVID may be of; undefined for any other. */
export function subjectKey(spki: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(spki)
  if (bytes.length === 44 && bytes.subarray(0, SPKI_ED25519.length).equals(SPKI_ED25519))
    return bytes.subarray(SPKI_ED25519.length)
  if (bytes.length === 91 && bytes.subarray(0, SPKI_P256.length).equals(SPKI_P256)) return bytes.subarray(SPKI_P256.length - 1)
  return undefined
}

/** The TBSCertificate (RFC 5280 section 4.1) of an SVID. @throws {RangeError} For a key that `subjectKey` does not know. */
export function svidToSign({ ring, key }: Authority, { of, name, publicKey, atMs, ttlS, seed, attestedBy }: Svid): Uint8Array {
  const own = subjectKey(publicKey)
  if (own === undefined) throw new RangeError('an SVID is of an Ed25519 or a P-256 key')
  return sequence(
    explicit(0, integer(Uint8Array.of(2))),
    serialOf(digest(seed)),
    ED25519,
    nameOf(ring),
    sequence(time(atMs - SVID_BACKDATED_MS), time(atMs + ttlS * 1_000)),
    nameOf(`${of} ${name}`.slice(0, 64), attestedBy === undefined ? undefined : `node ${attestedBy}`),
    publicKey,
    explicit(
      3,
      sequence(
        extension(BASIC_CONSTRAINTS, sequence(), true),
        extension(KEY_USAGE, bits(Uint8Array.of(0b1000_0000), 7), true),
        extension(EXTENDED_KEY_USAGE, sequence(SERVER_AUTH, CLIENT_AUTH)),
        extension(SUBJECT_KEY_ID, octets(keyId(own))),
        extension(AUTHORITY_KEY_ID, sequence(implicit(0, keyId(key)))),
        alternativeName(spiffeId(ring, of, name)),
      ),
    ),
  )
}

/** The certificate, DER. @param toSign As above. @param signature Over it, by the ring's key. */
export function certificateOf(toSign: Uint8Array, signature: Uint8Array): Uint8Array {
  return sequence(toSign, ED25519, bits(signature))
}

/** PEM (RFC 7468). */
export function certificatePem(der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g) as readonly string[]
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
