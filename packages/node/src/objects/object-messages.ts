/** What a node and its object thread say to each other: encryption, erasure code and hashes of segments. */

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
  /** Plaintext to pieces, one a shard. The plaintext is transferred. */
  | ({ readonly kind: 'seal'; readonly plain: Uint8Array } & SegmentOf)
  /** Verified pieces to plaintext. */
  | ({ readonly kind: 'open'; readonly pieces: readonly (Uint8Array | undefined)[]; readonly sealedBytes: number } & SegmentOf)
  /** Verified pieces to the one that is missing. */
  | {
      readonly kind: 'restore'
      readonly pieces: readonly (Uint8Array | undefined)[]
      readonly index: number
      readonly data: number
      readonly shards: number
    }

export type ObjectAnswer =
  /** `hashes`: SHA-256 of each piece, one after the other. */
  | { readonly kind: 'sealed'; readonly pieces: readonly Uint8Array[]; readonly hashes: Uint8Array }
  | { readonly kind: 'opened'; readonly plain: Uint8Array }
  | { readonly kind: 'restored'; readonly piece: Uint8Array }
  | { readonly kind: 'failed'; readonly reason: string; readonly isCorrupt: boolean }

export interface ToObjectThread {
  readonly id: number
  readonly task: ObjectTask
}

export interface FromObjectThread {
  readonly id: number
  readonly answer: ObjectAnswer
}
