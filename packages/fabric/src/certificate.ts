/**
 * A node's TLS certificate (RFC 5280) is a wrapper around its Ed25519 key: self-signed, made at start. Peers look at the key
 * alone, which the genesis document pins; names and dates in it mean nothing.
 */
import { createPublicKey, type KeyObject, sign, timingSafeEqual, X509Certificate } from 'node:crypto'

const DAY_MS = 86_400_000
const KEY_BYTES = 32
/** From here on, dates have four digits for the year (RFC 5280 section 4.1.2.5). */
const LONG_DATES_MS = Date.UTC(2050, 0)

// The few forms of DER (X.690) that are in such a certificate: a library for all of X.509 would take 7 MB of every node.
const SEQUENCE = 0x30
const SET = 0x31
const INTEGER = 0x02
const BIT_STRING = 0x03
const OBJECT_IDENTIFIER = 0x06
const UTF8_STRING = 0x0c
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const VERSION = 0xa0

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const { length } = Buffer.concat(contents)
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Uint8Array.of(tag, ...head), ...contents])
}

/** RFC 8410 section 3. */
const ED25519 = der(SEQUENCE, der(OBJECT_IDENTIFIER, Uint8Array.of(0x2b, 0x65, 0x70)))
const COMMON_NAME = der(OBJECT_IDENTIFIER, Uint8Array.of(0x55, 0x04, 0x03))
const NO_UNUSED_BITS = Uint8Array.of(0)

function time(atMs: number): Buffer {
  const digits = `${new Date(atMs).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`
  return atMs < LONG_DATES_MS ? der(UTC_TIME, Buffer.from(digits.slice(2))) : der(GENERALIZED_TIME, Buffer.from(digits))
}

/** PEM of a certificate over the node's own key. `id` is a node's: short, and ASCII. */
export function selfSignedCertificate(id: string, privateKey: KeyObject, nowMs: number): string {
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from(id)))))
  const content = der(
    SEQUENCE,
    der(VERSION, der(INTEGER, Uint8Array.of(2))),
    der(INTEGER, Uint8Array.of(1)),
    ED25519,
    name,
    // A clock that is wrong by days is a matter for the ledger, which says so; it must not cut links.
    der(SEQUENCE, time(nowMs - 365 * DAY_MS), time(nowMs + 3_650 * DAY_MS)),
    name,
    createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
  )
  const signature = der(BIT_STRING, NO_UNUSED_BITS, sign(null, content, privateKey))
  return new X509Certificate(der(SEQUENCE, content, ED25519, signature)).toString()
}

/** Raw Ed25519 key of a certificate in DER; undefined when it holds another kind. */
export function keyOfCertificate(der: Buffer): Uint8Array | undefined {
  try {
    const key = new X509Certificate(der).publicKey
    if (key.asymmetricKeyType !== 'ed25519') return undefined
    return new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES))
  } catch {
    return undefined
  }
}

export function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === KEY_BYTES && b.length === KEY_BYTES && timingSafeEqual(a, b)
}
