/** The certificate in which SAML metadata carry a key: signed by that key, and worth nothing but to hold it. RSA with SHA-256. */
import { createPublicKey, hash, type KeyObject, sign } from 'node:crypto'
import { bits, explicit, integer, objectId, sequence, set, time, utf8Text } from '../der.ts'

const RSA_SHA256 = sequence(objectId('1.2.840.113549.1.1.11'), Uint8Array.of(5, 0))
const COMMON_NAME = objectId('2.5.4.3')
/** Nobody looks at its dates: parties take it from metadata, and metadata say when it is over. */
const VALID_MS = 20 * 365 * 86_400_000

/** DER. @param key RSA, private. */
export function samlCertificate(commonName: string, key: KeyObject, nowMs: number): Uint8Array {
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' })
  const name = sequence(set(sequence(COMMON_NAME, utf8Text(commonName))))
  const serial = hash('sha256', publicKey, 'buffer').subarray(0, 16)
  serial[0] = (serial[0]! & 0x7f) | 0x40
  const validity = sequence(time(nowMs - 86_400_000), time(nowMs + VALID_MS))
  const contents = sequence(explicit(0, integer(Uint8Array.of(2))), integer(serial), RSA_SHA256, name, validity, name, publicKey)
  return sequence(contents, RSA_SHA256, bits(sign('sha256', contents, key)))
}
