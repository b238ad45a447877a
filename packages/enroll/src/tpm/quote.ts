/**
 * A TPM's quote: TPMS_ATTEST over selected PCRs (TPM 2.0 Library, part 2, section 10.12) and TPMT_SIGNATURE (section 11.3). Only SHA-256, one bank.
 * Verifying says what the TPM said and that it said it now; whether that is as it should be is for who knows the reference values.
 */
import { createHash, timingSafeEqual, verify } from 'node:crypto'
import { ALG, parseTpmPublic } from './public-area.ts'
import { TpmMalformed, TpmReader } from './reader.ts'

const MAGIC = 0xff544347
const ATTEST_QUOTE = 0x8018
const EXTRA_BYTES_MAX = 64
const QUOTE_BYTES_MAX = 1_024
export const PCRS = 24

export interface Quote {
  /** What the verifier gave. */
  readonly extra: Buffer
  /** Milliseconds that the TPM was powered, over its life: never goes back. */
  readonly clockMs: number
  readonly resetCount: number
  readonly restartCount: number
  /** Indexes, ascending. */
  readonly pcrs: readonly number[]
  /** SHA-256 of their values, in that order. */
  readonly digest: Buffer
}

/** @throws {TpmMalformed} */
export function parseQuote(bytes: Uint8Array): Quote {
  const reader = new TpmReader(bytes, 'the quote')
  if (bytes.length > QUOTE_BYTES_MAX) reader.fail(`it has more than ${QUOTE_BYTES_MAX} bytes`)
  reader.expect(reader.u32(), MAGIC, 'its magic')
  reader.expect(reader.u16(), ATTEST_QUOTE, 'its type')
  reader.sized(70)
  const extra = reader.sized(EXTRA_BYTES_MAX)
  const clock = reader.u64()
  const [resetCount, restartCount] = [reader.u32(), reader.u32()]
  if (reader.u8() > 1) reader.fail('its safe flag is neither yes nor no')
  reader.take(8)
  if (clock > BigInt(Number.MAX_SAFE_INTEGER)) reader.fail('its clock is beyond all time')
  reader.expect(reader.u32(), 1, 'the count of its banks')
  reader.expect(reader.u16(), ALG.sha256, 'the algorithm of its bank')
  const select = reader.take(reader.u8())
  if (select.length !== PCRS / 8) reader.fail(`it selects of ${select.length * 8} registers, not of ${PCRS}`)
  const pcrs = Array.from({ length: PCRS }, (_, index) => index).filter(
    (index) => ((select[index >> 3] ?? 0) & (1 << (index & 7))) !== 0,
  )
  const digest = reader.sized(32)
  if (digest.length !== 32) reader.fail('its digest is no SHA-256')
  reader.end()
  return { extra, clockMs: Number(clock), resetCount, restartCount, pcrs, digest }
}

/** The signature as OpenSSL takes it. */
function parseSignature(bytes: Uint8Array, kind: 'rsa' | 'ecc'): Buffer {
  const reader = new TpmReader(bytes, 'the quote’s signature')
  reader.expect(reader.u16(), kind === 'rsa' ? ALG.rsassa : ALG.ecdsa, 'its algorithm')
  reader.expect(reader.u16(), ALG.sha256, 'its hash')
  if (kind === 'rsa') {
    const signature = reader.sized(256)
    reader.end()
    return signature
  }
  const [r, s] = [reader.sized(32), reader.sized(32)]
  reader.end()
  return Buffer.concat([Buffer.alloc(32 - r.length), r, Buffer.alloc(32 - s.length), s])
}

/** Is the quote signed by this attestation key (TPM2B_PUBLIC)? @throws {TpmMalformed} */
export function isQuoteSigned(quote: Uint8Array, signature: Uint8Array, attestationKey: Uint8Array): boolean {
  const { kind, key, isAttestationKey } = parseTpmPublic(attestationKey)
  if (!isAttestationKey) throw new TpmMalformed('the key is no restricted signing key of a TPM: it could sign what no TPM said')
  return verify('sha256', quote, { key, dsaEncoding: 'ieee-p1363' }, parseSignature(signature, kind))
}

/** Do these values make the digest that was quoted? */
export function matchesDigest({ digest }: Quote, values: readonly Uint8Array[]): boolean {
  return timingSafeEqual(createHash('sha256').update(Buffer.concat(values)).digest(), digest)
}
