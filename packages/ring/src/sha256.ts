import { sha256 } from '@noble/hashes/sha2.js'
import { encodeHex } from './encoding.ts'

/** SHA-256 as lower-case hex. The platform's own is several times faster than the portable one. */
export type Sha256 = (bytes: Uint8Array) => string

export const portableSha256: Sha256 = (bytes) => encodeHex(sha256(bytes))
