/**
 * Signatures for simulations: a keyed hash that stands for the signer's private key. Cheap, deterministic, and not to be
 * forged by a liar, who is handed its own scheme only. (Real Ed25519 is what `e2e/` runs with.)
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { Digest, Scheme } from '@ringwall/consensus'

const SECRET = utf8ToBytes('simulated secret of ')

export function tag(signer: string, message: Uint8Array): Uint8Array {
  return sha256
    .create()
    .update(SECRET)
    .update(utf8ToBytes(`${signer}\n`))
    .update(message)
    .digest()
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** Good signatures are remembered: the same votes come in many messages. */
export function schemeOf(self: number): Scheme {
  const known = new Map<string, boolean>()
  return {
    sign: (message) => tag(String(self), message),
    verify: (signer, message, signature) => {
      const name = `${signer} ${bytesToHex(signature)} ${bytesToHex(message.subarray(-80))}`
      let good = known.get(name)
      if (good === undefined) {
        good = same(tag(String(signer), message), signature)
        known.set(name, good)
      }
      return good
    },
    hash: (bytes) => bytesToHex(sha256(bytes)) as Digest,
  }
}
