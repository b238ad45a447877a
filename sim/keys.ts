/**
 * Signatures for simulations: a keyed hash that stands for the signer's private key. Cheap, deterministic, and not to be
 * forged by a liar, who is handed its own scheme only. (Real Ed25519 is what `e2e/` runs with.)
 */
import { hash } from 'node:crypto'
import type { Digest, Scheme } from '@ringwall/consensus'

/** 64 bits of the message under the signer's name: two lanes of MurmurHash3's mixing (Appleby). */
export function tag(signer: string, message: Uint8Array): Uint8Array {
  let a = 0x9747b28c
  let b = 0x3c6ef372
  for (let i = 0; i < signer.length; i += 1) {
    a = Math.imul(a ^ signer.charCodeAt(i), 0xcc9e2d51)
    b = Math.imul(b ^ signer.charCodeAt(i), 0x1b873593)
  }
  for (let i = 0; i < message.length; i += 1) {
    const byte = message[i] as number
    a = Math.imul(a ^ byte, 0xcc9e2d51)
    a ^= a >>> 15
    b = Math.imul(b ^ byte, 0x1b873593)
    b ^= b >>> 13
  }
  return Uint8Array.of(a, a >>> 8, a >>> 16, a >>> 24, b, b >>> 8, b >>> 16, b >>> 24)
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

export function schemeOf(self: number): Scheme {
  return {
    sign: (message) => tag(String(self), message),
    verify: (signer, message, signature) => same(tag(String(signer), message), signature),
    hash: (bytes) => hash('sha256', bytes, 'hex') as Digest,
  }
}
