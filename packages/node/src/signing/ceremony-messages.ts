/** What a node and its ceremony thread say to each other. Plans, messages and shares are in the encodings of `@ringwall/threshold`. */
import type { CeremonyEvent, Finding } from '@ringwall/threshold'

/** What the board says, as `step` takes it. */
export type BoardEvent = Extract<CeremonyEvent, { kind: 'posted' | 'close' }>

/** Secrets are transferred, and wiped by the thread. */
export type CeremonyTask =
  /** The public half of the encryption key that follows from `encryption`, 32 secret bytes. */
  | { readonly kind: 'enrol'; readonly encryption: Uint8Array }
  /** @property dealing 32 secret bytes that the dealing follows from. @property share `KeyShare.encodeSecret`, in a resharing. */
  | {
      readonly kind: 'deal'
      readonly plan: Uint8Array
      readonly self: string
      readonly dealing: Uint8Array
      readonly share: Uint8Array | undefined
    }
  | {
      readonly kind: 'answer' | 'open'
      readonly plan: Uint8Array
      readonly self: string
      readonly encryption: Uint8Array
      readonly board: readonly BoardEvent[]
    }
  /** Public work ahead of time: on the board, and on what may come next on it. */
  | {
      readonly kind: 'foresee'
      readonly plan: Uint8Array
      readonly board: readonly BoardEvent[]
      readonly next: readonly BoardEvent[]
    }

export type CeremonyOutcome =
  /** Of `enrol`, `deal` and `answer`; undefined when there is nothing to say. */
  | { readonly kind: 'said'; readonly body: Uint8Array | undefined }
  /**
   * Of `open` and `answer`. `stranger`: the plan gives this party nothing, or encrypts it to another key. `withheld`: a dealer lied to it and
   * still counts.
   */
  | { readonly kind: 'none'; readonly why: 'stranger' | 'withheld' }
  /** `KeyShare.encodeSecret`. */
  | { readonly kind: 'share'; readonly share: Uint8Array }
  | { readonly kind: 'foreseen' }
  /** A defect, or bad arguments: no secret is in it. */
  | { readonly kind: 'failed'; readonly reason: string }

export interface ToCeremonyThread {
  readonly id: number
  readonly task: CeremonyTask
}

export interface FromCeremonyThread {
  readonly id: number
  readonly answer: CeremonyOutcome
  /** What was found out on the way, for the ring to learn. */
  readonly findings: readonly Finding[]
}
