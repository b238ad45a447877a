/**
 * One signature over many transactions: checking an Ed25519 signature costs more than all else that a validator does with a
 * transaction, and whoever states a thousand things at once need sign but once. Signed is the root of a Merkle tree over the
 * signing bytes (hashes as in RFC 9162 section 2.1.1, so that no leaf passes for an inner node); each transaction carries
 * the signature and its own path to the root, and so is as complete and as good alone as one that was signed alone.
 *
 * Safe for browsers. A batched signature, in bytes: the Ed25519 signature (64) of the domain line and the root, the path from
 * the leaf to the root (32 each), the number of leaves (2, big-endian) and the index of this one (2).
 */
import { concatBytes } from '@noble/hashes/utils.js'
import { decodeHexInto, encodeHex, encodeUtf8 } from './encoding.ts'
import { portableSha256, type Sha256 } from './sha256.ts'

const SIGNATURE_BYTES = 64
const HASH_BYTES = 32
const COUNTS_BYTES = 4
/** 2^10 leaves: ten hashes of path. */
export const BATCH_MAX = 1_024
const PATH_MAX = 10
const DOMAIN = encodeUtf8('RINGWALL_BATCH_V1\n')
const LEAF = Uint8Array.of(0)
const INNER = Uint8Array.of(1)
/** Roots known to be signed: as many as the batches of which some transactions are still on their way. */
const KNOWN_MAX = 512

/** Ed25519 over raw keys; false for anything malformed. */
export type VerifyEd25519 = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

/** What batched signatures have for their length: 64 bytes are a plain signature, and none of these. */
export const BATCHED_BYTES: ReadonlySet<number> = new Set(
  Array.from({ length: PATH_MAX }, (_, at) => SIGNATURE_BYTES + (at + 1) * HASH_BYTES + COUNTS_BYTES),
)

/**
 * What there is to sign for these signing bytes, and the signature of each once that is signed.
 *
 * @param leaves 2 to `BATCH_MAX`.
 * @throws {RangeError} For another number of them.
 */
export function batchOf(
  leaves: readonly Uint8Array[],
  hash: Sha256 = portableSha256,
): { readonly message: Uint8Array; readonly signatures: (signature: Uint8Array) => readonly Uint8Array[] } {
  if (leaves.length < 2 || leaves.length > BATCH_MAX) throw new RangeError(`a batch has 2 to ${BATCH_MAX} transactions`)
  const { root, paths } = treeOf(
    leaves.map((bytes) => hashed(hash, LEAF, bytes)),
    hash,
  )
  return {
    message: concatBytes(DOMAIN, root),
    signatures: (signature) => paths.map((path, index) => concatBytes(signature, ...path, countsOf(leaves.length, index))),
  }
}

/** RFC 9162 section 2.1.1: the left part has the largest power of two of leaves that leaves some for the right. */
function treeOf(
  hashes: readonly Uint8Array[],
  hash: Sha256,
): { readonly root: Uint8Array; readonly paths: readonly (readonly Uint8Array[])[] } {
  const [only] = hashes
  if (hashes.length === 1 && only !== undefined) return { root: only, paths: [[]] }
  let split = 1
  while (split * 2 < hashes.length) split *= 2
  const left = treeOf(hashes.slice(0, split), hash)
  const right = treeOf(hashes.slice(split), hash)
  return {
    root: hashed(hash, INNER, left.root, right.root),
    paths: [...left.paths.map((path) => [...path, right.root]), ...right.paths.map((path) => [...path, left.root])],
  }
}

function hashed(hash: Sha256, ...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES)
  decodeHexInto(hash(concatBytes(...parts)), bytes, 0)
  return bytes
}

function countsOf(size: number, index: number): Uint8Array {
  return Uint8Array.of(size >> 8, size & 0xff, index >> 8, index & 0xff)
}

/** Verifies signatures of transactions, plain and batched, and each root of a batch once. */
export class SignatureChecker {
  readonly #verify: VerifyEd25519
  readonly #hash: Sha256
  readonly #known = new Set<string>()

  constructor(verify: VerifyEd25519, hash: Sha256 = portableSha256) {
    this.#verify = verify
    this.#hash = hash
  }

  /** Whether `signature` is one of `publicKey` over `signed`. False for anything malformed. */
  isSigned(publicKey: Uint8Array, signed: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length === SIGNATURE_BYTES) return this.#verify(publicKey, signed, signature)
    if (!BATCHED_BYTES.has(signature.length)) return false
    const root = rootOf(signed, signature, this.#hash)
    if (root === undefined) return false
    const plain = signature.subarray(0, SIGNATURE_BYTES)
    const name = encodeHex(concatBytes(publicKey, plain, root))
    if (this.#known.has(name)) return true
    if (!this.#verify(publicKey, concatBytes(DOMAIN, root), plain)) return false
    // Only what the key signed gets in: nobody else can push others out.
    const [oldest] = this.#known
    if (this.#known.size >= KNOWN_MAX && oldest !== undefined) this.#known.delete(oldest)
    this.#known.add(name)
    return true
  }
}

/** The root to which the path leads (RFC 9162 section 2.1.3.2); undefined: there is no such leaf, or it is further or nearer. */
function rootOf(signed: Uint8Array, signature: Uint8Array, hash: Sha256): Uint8Array | undefined {
  const end = signature.length - COUNTS_BYTES
  const size = (signature[end]! << 8) | signature[end + 1]!
  const index = (signature[end + 2]! << 8) | signature[end + 3]!
  if (size > BATCH_MAX || index >= size) return undefined
  let [here, last] = [index, size - 1]
  let root = hashed(hash, LEAF, signed)
  for (let at = SIGNATURE_BYTES; at < end; at += HASH_BYTES) {
    if (last === 0) return undefined
    const sibling = signature.subarray(at, at + HASH_BYTES)
    const isRight = (here & 1) === 1 || here === last
    root = isRight ? hashed(hash, INNER, sibling, root) : hashed(hash, INNER, root, sibling)
    // The last leaf of a level has no sibling there: it goes up as it is.
    while (isRight && (here & 1) === 0 && here !== 0) [here, last] = [here >> 1, last >> 1]
    ;[here, last] = [here >> 1, last >> 1]
  }
  return last === 0 ? root : undefined
}
