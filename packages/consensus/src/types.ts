/**
 * The words of the voter. "View" in the Simplex paper (Chan and Pass, ePrint 2023/463) is `round` here, since a
 * view in Ringwall is the state that a node enforces.
 */

/** Lower-case hex of SHA-256 over a block's encoding: 64 characters. */
export type Digest = string & { readonly brand: 'Digest' }

/** A proposed block. `payload` means nothing to consensus. */
export interface Block {
  /** Round it was proposed in, from 1. The genesis block has round 0. */
  readonly round: number
  /** Number of ancestors: genesis is 0. */
  readonly height: number
  readonly parent: Digest
  /** Index of the proposing validator. */
  readonly proposer: number
  /** Unix milliseconds, claimed by the proposer and bounded by the application. */
  readonly timestampMs: number
  readonly payload: Uint8Array
  readonly digest: Digest
}

export type VoteKind = 'notarize' | 'nullify' | 'finalize'

/** One validator's signed vote. `digest` is undefined exactly when `kind` is `nullify`. */
export interface Vote {
  readonly kind: VoteKind
  readonly round: number
  readonly digest: Digest | undefined
  readonly signer: number
  readonly signature: Uint8Array
}

/** A quorum of votes of one kind for one round and digest; signers strictly ascending. */
export interface Certificate {
  readonly kind: VoteKind
  readonly round: number
  readonly digest: Digest | undefined
  readonly signatures: readonly { readonly signer: number; readonly signature: Uint8Array }[]
}

/**
 * A block with what lets a validator vote for it without asking anybody: the parent's notarization (undefined when
 * the parent is genesis) and a nullification for every round between parent and block. `signature` is the leader's
 * over the block.
 */
export interface Proposal {
  readonly block: Block
  readonly parentCertificate: Certificate | undefined
  readonly nullifications: readonly Certificate[]
  readonly signature: Uint8Array
}

export type Message =
  | { readonly kind: 'proposal'; readonly proposal: Proposal }
  | { readonly kind: 'vote'; readonly vote: Vote }
  | { readonly kind: 'certificate'; readonly certificate: Certificate }

/** What must be on disk before what follows it in the effects may leave the process. */
export type JournalRecord =
  | { readonly kind: 'vote'; readonly vote: Vote }
  | { readonly kind: 'proposal'; readonly proposal: Proposal }
  | { readonly kind: 'certificate'; readonly certificate: Certificate }

/** Two statements by one validator that no honest validator makes together. */
export type Evidence =
  | { readonly kind: 'votes'; readonly validator: number; readonly first: Vote; readonly second: Vote }
  | { readonly kind: 'proposals'; readonly validator: number; readonly first: Proposal; readonly second: Proposal }

/** What can happen to a voter. Every event carries the time, Unix milliseconds. */
export type VoterEvent =
  | { readonly kind: 'start' }
  /** A timer that was asked for ran out. */
  | { readonly kind: 'timeout'; readonly round: number }
  | { readonly kind: 'message'; readonly from: number; readonly message: Message }
  /** The answer to `propose`: what the block shall hold. */
  | { readonly kind: 'proposed'; readonly round: number; readonly payload: Uint8Array; readonly timestampMs: number }
  /** The answer to `verify`. */
  | { readonly kind: 'verified'; readonly digest: Digest; readonly valid: boolean }
  /** Something waits to be ordered: an idle round shall not stay idle. */
  | { readonly kind: 'pending' }
  /** A fetched block. Its digest is recomputed before it is believed. */
  | { readonly kind: 'block'; readonly block: Block }
  /** The shell caught up from peers with certified blocks up to `block`. */
  | { readonly kind: 'synced'; readonly block: Block; readonly certificate: Certificate }

/** What the shell must do, in this order. */
export type Effect =
  | { readonly kind: 'persist'; readonly record: JournalRecord }
  | { readonly kind: 'send'; readonly to: 'all' | number; readonly message: Message }
  /** Replaces any timer set before. */
  | { readonly kind: 'timer'; readonly round: number; readonly afterMs: number }
  /** Lead this round: build a payload on top of `parent`. Answer with `proposed`, at once or when there is something. */
  | { readonly kind: 'propose'; readonly round: number; readonly parent: Block }
  /** Is the block's payload valid on top of `parent`? Answer with `verified`. */
  | { readonly kind: 'verify'; readonly block: Block; readonly parent: Block }
  /** `blocks`, in order of height, are final; the last is certified by `certificate`. */
  | { readonly kind: 'finalized'; readonly blocks: readonly Block[]; readonly certificate: Certificate }
  /** A certificate names a block that is not here. Ask `from` first, then others; answer with `block` or `synced`. */
  | { readonly kind: 'fetch'; readonly digest: Digest; readonly round: number; readonly from: number }
  | { readonly kind: 'evidence'; readonly evidence: Evidence }

/** Cryptography, passed in so that the voter stays pure. All functions are deterministic and synchronous. */
export interface Scheme {
  /** Signs with this validator's own key. */
  sign(message: Uint8Array): Uint8Array
  verify(signer: number, message: Uint8Array, signature: Uint8Array): boolean
  /** Lower-case hex SHA-256. */
  hash(bytes: Uint8Array): Digest
}

export interface VoterConfig {
  /** Separates rings: goes into every signed message. */
  readonly ring: string
  /** Number of validators: n = 3f + 1 gives the best f. */
  readonly validators: number
  /** This validator's index. */
  readonly self: number
  /** Longest a round with work in it waits before it is nullified; grows on consecutive nullifications. */
  readonly roundMs: number
  /** An idle leader proposes an empty block after this long, as proof of freshness. */
  readonly heartbeatMs: number
}
