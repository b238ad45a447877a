/** What a node and its opening thread say to each other. Keys, shares and capsules are in the encodings of `@ringwall/threshold`. */

export type OpeningTask =
  /** Another key, another epoch, or another share; undefined when this node has none. Transferred, and wiped by the thread. */
  | { readonly kind: 'use'; readonly share: Uint8Array | undefined }
  | { readonly kind: 'open'; readonly works: readonly OpeningWork[]; readonly proven: boolean }

/**
 * `stored`: a capsule that every validator verified when it was put. `capsule`: one that somebody hands in, to be verified first. `input`: of an
 * evaluation, which is answered with its proof always.
 */
export interface OpeningWork {
  readonly kind: 'stored' | 'capsule' | 'input'
  readonly bytes: Uint8Array
  /** Of `capsule`: what it must be bound to, where somebody knows that. */
  readonly label?: Uint8Array
}

export type OpeningAnswer =
  | { readonly kind: 'used' }
  /** In the order of the works. */
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
