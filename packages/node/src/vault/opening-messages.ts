/** What a node and its opening thread say to each other. Keys, shares and capsules are in the encodings of `@ringwall/threshold`. */

export type OpeningTask =
  /** Another key, another epoch, or another share; undefined when this node has none. Transferred, and wiped by the thread. */
  | { readonly kind: 'use'; readonly share: Uint8Array | undefined }
  /** Of capsules that every validator verified when they were put. */
  | {
      readonly kind: 'open'
      readonly capsules: readonly Uint8Array[]
      readonly proven: boolean
      /** Of those that no validator verified: what they must be bound to, in the order of the capsules. */
      readonly labels?: readonly (Uint8Array | undefined)[]
    }

export type OpeningAnswer =
  | { readonly kind: 'used' }
  /** In the order of the capsules. */
  | { readonly kind: 'opened'; readonly partials: readonly Uint8Array[] }
  /** A defect, or bad arguments: no secret is in it. */
  | { readonly kind: 'failed'; readonly reason: string }

export interface ToOpeningThread {
  readonly id: number
  readonly task: OpeningTask
}

export interface FromOpeningThread {
  readonly id: number
  readonly answer: OpeningAnswer
}
