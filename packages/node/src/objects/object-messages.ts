/**
 * What a node and its object thread say to each other: encryption, erasure code and hashes of segments. Content and pieces lie in memory that both
 * see (`slabs.ts`); whoever asks keeps it until it is answered.
 */
import type { DigestName } from './digests.ts'

export interface SegmentOf {
  /** Of the blob, 32 bytes. */
  readonly key: Uint8Array
  /** The label of the object's capsule. */
  readonly about: Uint8Array
  readonly number: number
  readonly isLast: boolean
  readonly data: number
  readonly shards: number
}

export type ObjectTask =
  /** Plaintext to pieces, one a shard, which are overwritten. Digests of that number go on with the plaintext. */
  | ({
      readonly kind: 'seal'
      readonly plain: Uint8Array
      readonly pieces: readonly Uint8Array[]
      readonly digests: number | undefined
    } & SegmentOf)
  /** Verified pieces to plaintext, which is overwritten; pieces of data that are missing are made in `spare`. */
  | ({
      readonly kind: 'open'
      readonly pieces: readonly (Uint8Array | undefined)[]
      readonly spare: readonly Uint8Array[]
      readonly sealedBytes: number
      readonly plain: Uint8Array
    } & SegmentOf)
  /** Verified pieces to the one that is missing, which is overwritten. */
  | {
      readonly kind: 'restore'
      readonly pieces: readonly (Uint8Array | undefined)[]
      readonly index: number
      readonly target: Uint8Array
      readonly data: number
      readonly shards: number
    }
  | { readonly kind: 'hash'; readonly bytes: Uint8Array }
  | { readonly kind: 'digests'; readonly number: number; readonly names: readonly DigestName[] }
  /** They are forgotten then. */
  | { readonly kind: 'digested'; readonly number: number }

export type ObjectAnswer =
  /** SHA-256 of each piece, one after the other; of what was to be hashed. */
  | { readonly kind: 'hashes'; readonly hashes: Uint8Array }
  | { readonly kind: 'done' }
  /** As hex, in the order of their names. */
  | { readonly kind: 'digests'; readonly values: readonly string[] }
  | { readonly kind: 'failed'; readonly reason: string; readonly isCorrupt: boolean }

export interface ToObjectThread {
  readonly id: number
  readonly task: ObjectTask
}

export interface FromObjectThread {
  readonly id: number
  readonly answer: ObjectAnswer
}
