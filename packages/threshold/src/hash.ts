/** SHA-256 and SHA-512: `@noble/hashes`', or, where somebody has installed one, a faster implementation with the same results. */
import { sha256 as nobleSha256, sha512 as nobleSha512 } from '@noble/hashes/sha2.js'

/** What comes back is the caller's. */
type Hash = (bytes: Uint8Array) => Uint8Array

export interface Hashes {
  readonly sha256: Hash
  readonly sha512: Hash
}

export let sha256: Hash = nobleSha256
export let sha512: Hash = nobleSha512

/** For this thread, from now on; undefined: by `@noble/hashes`. */
export function installHashes(hashes: Hashes | undefined): void {
  sha256 = hashes?.sha256 ?? nobleSha256
  sha512 = hashes?.sha512 ?? nobleSha512
}
