/**
 * Signatures for simulations: a keyed hash that stands for the signer's private key. Cheap, deterministic, and not to be
 * forged by a liar, who is handed its own scheme only. (Real Ed25519 is what `e2e/` runs with.)
 */
import { hash } from 'node:crypto'
import type { Digest, Scheme } from '@ringwall/consensus'

const TAG_BYTES = 64

/** 64 bits of the message: two lanes of MurmurHash3's mixing (Appleby), kept here between calls. */
let a = 0
let b = 0
/** Who was hashed last: certificates are many signatures on one statement. */
let hashed: Uint8Array | undefined
let hashedA = 0
let hashedB = 0

function mix(word: number): void {
  a = Math.imul(a ^ word, 0xcc9e2d51)
  a ^= a >>> 15
  b = Math.imul(b ^ word, 0x1b873593)
  b ^= b >>> 13
}

function hashFor(signer: string, message: Uint8Array): void {
  if (hashed === message) {
    a = hashedA
    b = hashedB
  } else {
    a = 0x9747b28c ^ message.length
    b = 0x3c6ef372
    const whole = message.length & ~3
    for (let i = 0; i < whole; i += 4) {
      mix(
        (message[i] as number) |
          ((message[i + 1] as number) << 8) |
          ((message[i + 2] as number) << 16) |
          ((message[i + 3] as number) << 24),
      )
    }
    for (let i = whole; i < message.length; i += 1) mix(message[i] as number)
    hashed = message
    hashedA = a
    hashedB = b
  }
  for (let i = 0; i < signer.length; i += 1) mix(signer.charCodeAt(i))
  mix(signer.length)
}

/** As many bytes as an Ed25519 signature has: the two lanes, again and again. Messages are never written to once they were made. */
export function tag(signer: string, message: Uint8Array): Uint8Array {
  hashFor(signer, message)
  const bytes = new Uint8Array(TAG_BYTES)
  for (let i = 0; i < TAG_BYTES; i += 8) {
    for (let j = 0; j < 4; j += 1) {
      bytes[i + j] = a >>> (8 * j)
      bytes[i + j + 4] = b >>> (8 * j)
    }
  }
  return bytes
}

export function isTag(signer: string, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== TAG_BYTES) return false
  hashFor(signer, message)
  for (let i = 0; i < TAG_BYTES; i += 8) {
    for (let j = 0; j < 4; j += 1) {
      if (signature[i + j] !== ((a >>> (8 * j)) & 0xff) || signature[i + j + 4] !== ((b >>> (8 * j)) & 0xff)) return false
    }
  }
  return true
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** The scheme of `self` among validators whose names, in the order of their indexes, are `signers`. */
export function schemeFor(signers: readonly string[], self: string): Scheme {
  return {
    sign: (message) => tag(self, message),
    verify: (signer, message, signature) => {
      const name = signers[signer]
      return name !== undefined && isTag(name, message, signature)
    },
    hash: (bytes) => hash('sha256', bytes, 'hex') as Digest,
  }
}
