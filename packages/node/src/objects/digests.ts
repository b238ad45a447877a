/**
 * Digests of what clients put: their ETag, and the checksums that they send along. Each goes over every byte, so that the object thread makes them.
 * Not cryptographic, but for SHA-1 and SHA-256.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const CHECKSUMS = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
export type ChecksumName = (typeof CHECKSUMS)[number]

export type DigestName = ChecksumName | 'md5'

export interface Digest {
  update(bytes: Uint8Array): void
  digest(): Buffer
}

/** CRC-32C (RFC 3385, Castagnoli), reflected: one table. */
const CRC32C_POLYNOMIAL = 0x82f6_3b78
const crc32cTable = new Int32Array(256)
for (let byte = 0; byte < 256; byte += 1) {
  let value = byte
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1
  crc32cTable[byte] = value
}

/** CRC-64/NVME (NVM Express command set specification 1.0, section 5.2.1.3.4), reflected, in halves of 32 bits. */
const CRC64_HIGH = 0x9a6c_9329
const CRC64_LOW = 0xac4b_c9b5
const crc64High = new Int32Array(256)
const crc64Low = new Int32Array(256)
for (let byte = 0; byte < 256; byte += 1) {
  let [high, low] = [0, byte]
  for (let bit = 0; bit < 8; bit += 1) {
    const isOdd = (low & 1) === 1
    low = (low >>> 1) | (high << 31)
    high >>>= 1
    if (isOdd) {
      high ^= CRC64_HIGH
      low ^= CRC64_LOW
    }
  }
  crc64High[byte] = high
  crc64Low[byte] = low
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [at, value] of values.entries()) bytes.writeInt32BE(value, 4 * at)
  return bytes
}

export function createDigest(name: DigestName): Digest {
  if (name === 'md5' || name === 'sha1' || name === 'sha256') {
    const hasher = createHash(name)
    return { update: (bytes) => void hasher.update(bytes), digest: () => hasher.digest() }
  }
  if (name === 'crc32') {
    let value = 0
    return {
      update: (bytes) => {
        value = crc32(bytes, value)
      },
      digest: () => words(value | 0),
    }
  }
  if (name === 'crc32c') {
    let value = -1
    return {
      update: (bytes) => {
        for (const byte of bytes) value = (value >>> 8) ^ (crc32cTable[(value ^ byte) & 255] as number)
      },
      digest: () => words(~value),
    }
  }
  let [high, low] = [-1, -1]
  return {
    update: (bytes) => {
      for (const byte of bytes) {
        const at = (low ^ byte) & 255
        low = ((low >>> 8) | (high << 24)) ^ (crc64Low[at] as number)
        high = (high >>> 8) ^ (crc64High[at] as number)
      }
    },
    digest: () => words(~high, ~low),
  }
}
