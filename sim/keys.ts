/**
 * Signatures for simulations: a keyed hash that stands for the signer's private key. Cheap, deterministic, and not to be
 * forged by a liar, who is handed its own scheme only. (Real Ed25519 is what `e2e/` runs with.)
 */
import { hash } from 'node:crypto'
import type { Digest, Scheme } from '@ringwall/consensus'

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

/** 8 bytes. Messages are never written to once they were made. */
export function tag(signer: string, message: Uint8Array): Uint8Array {
  hashFor(signer, message)
  const bytes = new Uint8Array(8)
  for (let i = 0; i < 4; i += 1) {
    bytes[i] = a >>> (8 * i)
    bytes[4 + i] = b >>> (8 * i)
  }
  return bytes
}

export function isTag(signer: string, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 8) return false
  hashFor(signer, message)
  for (let i = 0; i < 4; i += 1) {
    if (signature[i] !== ((a >>> (8 * i)) & 0xff) || signature[4 + i] !== ((b >>> (8 * i)) & 0xff)) return false
  }
  return true
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** Of validators, by index. */
export const SIGNERS: readonly string[] = Array.from({ length: 1_024 }, (_, i) => String(i))

export function schemeOf(self: number): Scheme {
  return {
    sign: (message) => tag(SIGNERS[self] as string, message),
    verify: (signer, message, signature) => isTag(SIGNERS[signer] ?? '', message, signature),
    hash: (bytes) => hash('sha256', bytes, 'hex') as Digest,
  }
}
