/** A TPM's public keys: TPM2B_PUBLIC (TPM 2.0 Library, part 2, section 12.2), of the two kinds that attest: RSA and NIST P-256. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { TpmReader } from './reader.ts'

export const ALG = {
  rsa: 0x0001,
  sha256: 0x000b,
  null: 0x0010,
  rsassa: 0x0014,
  ecdsa: 0x0018,
  ecc: 0x0023,
  aes: 0x0006,
  cfb: 0x0043,
} as const
const CURVE_P256 = 0x0003
const ATTRIBUTE = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
} as const
const PUBLIC_BYTES_MAX = 600

export interface TpmPublic {
  readonly kind: 'rsa' | 'ecc'
  /** nameAlg and digest: what credentials are bound to. */
  readonly name: Buffer
  readonly key: KeyObject
  /** Born in its TPM, never to leave it, and signs only what the TPM itself says. */
  readonly isAttestationKey: boolean
  /** Born in its TPM, never to leave it, and only decrypts: an endorsement key. */
  readonly isEndorsementKey: boolean
}

/** @param bytes TPM2B_PUBLIC. @throws {TpmMalformed} */
export function parseTpmPublic(bytes: Uint8Array): TpmPublic {
  const outer = new TpmReader(bytes, 'the public area')
  const area = outer.sized(PUBLIC_BYTES_MAX)
  outer.end()
  const reader = new TpmReader(area, 'the public area')
  const type = reader.u16()
  reader.expect(reader.u16(), ALG.sha256, 'the name’s algorithm')
  const attributes = reader.u32()
  reader.sized(64)
  if (type !== ALG.rsa && type !== ALG.ecc) reader.fail('it is neither an RSA nor an ECC key')
  const symmetric = reader.u16()
  if (symmetric === ALG.aes) {
    reader.expect(reader.u16(), 128, 'the bits of its AES key')
    reader.expect(reader.u16(), ALG.cfb, 'the mode of its AES key')
  } else reader.expect(symmetric, ALG.null, 'its symmetric algorithm')
  const scheme = reader.u16()
  if (scheme !== ALG.null) reader.expect(reader.u16(), ALG.sha256, 'the hash of its scheme')
  const key = type === ALG.rsa ? rsaKey(reader) : eccKey(reader)
  reader.end()
  const has = (...wanted: readonly (keyof typeof ATTRIBUTE)[]): boolean =>
    wanted.every((name) => (attributes & ATTRIBUTE[name]) !== 0)
  const isBound = has('fixedTpm', 'fixedParent', 'sensitiveDataOrigin', 'restricted')
  return {
    kind: type === ALG.rsa ? 'rsa' : 'ecc',
    name: Buffer.concat([Buffer.of(0, ALG.sha256), createHash('sha256').update(area).digest()]),
    key,
    isAttestationKey: isBound && has('sign') && !has('decrypt') && (scheme === ALG.rsassa || scheme === ALG.ecdsa),
    isEndorsementKey: isBound && has('decrypt') && !has('sign') && symmetric === ALG.aes,
  }
}

function rsaKey(reader: TpmReader): KeyObject {
  reader.expect(reader.u16(), 2_048, 'the bits of its modulus')
  const exponent = reader.u32()
  if (exponent !== 0 && exponent !== 65_537) reader.fail('its exponent must be 65537')
  const modulus = reader.sized(256)
  if (modulus.length !== 256 || (modulus[0] ?? 0) < 0x80) reader.fail('its modulus must have 2048 bits')
  return createPublicKey({ key: { kty: 'RSA', n: modulus.toString('base64url'), e: 'AQAB' }, format: 'jwk' })
}

function eccKey(reader: TpmReader): KeyObject {
  reader.expect(reader.u16(), CURVE_P256, 'its curve')
  reader.expect(reader.u16(), ALG.null, 'its key derivation')
  const [x, y] = [reader.sized(32), reader.sized(32)]
  const whole = (coordinate: Buffer): string =>
    Buffer.concat([Buffer.alloc(32 - coordinate.length), coordinate]).toString('base64url')
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: whole(x), y: whole(y) }, format: 'jwk' })
  } catch {
    return reader.fail('its point is not on the curve')
  }
}
