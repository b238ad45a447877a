/** What a node and its signing thread say to each other. Keys and shares are in the encodings of `@ringwall/threshold`. */
import type { Fault } from '@ringwall/threshold'

export type ThreadTask =
  /** Another key, or another epoch: all nonces and commitments of the one before are gone. */
  | { readonly kind: 'key'; readonly publicKey: Uint8Array }
  /** This node's share of that key; undefined when it has none. */
  | { readonly kind: 'share'; readonly share: Uint8Array | undefined }
  /** Makes pairs of nonces for a coordinator, numbered from `first` on, for the key of that name. */
  | {
      readonly kind: 'provision'
      readonly key: string
      readonly coordinator: string
      readonly first: number
      readonly count: number
    }
  /** A request that was found rightful. */
  | { readonly kind: 'sign'; readonly coordinator: string; readonly request: Uint8Array }
  /** Commitments for this node as a coordinator. */
  | { readonly kind: 'commitments'; readonly from: string; readonly body: Uint8Array }
  | { readonly kind: 'begin'; readonly session: string; readonly message: Uint8Array }
  | { readonly kind: 'share-of'; readonly from: string; readonly body: Uint8Array }
  | { readonly kind: 'refused'; readonly session: string; readonly from: string }

/** What the coordinator wants done. */
export type CoordinatorWish =
  | { readonly kind: 'request'; readonly session: string; readonly to: string; readonly body: Uint8Array }
  | { readonly kind: 'signature'; readonly session: string; readonly signature: Uint8Array }
  | { readonly kind: 'accuse'; readonly party: string; readonly fault: Fault }
  | { readonly kind: 'fail'; readonly session: string; readonly reason: string; readonly wanting: readonly string[] }

export type ThreadAnswer =
  | { readonly kind: 'done'; readonly wishes: readonly CoordinatorWish[] }
  /** Of `provision` and `sign`. */
  | { readonly kind: 'message'; readonly body: Uint8Array }
  | { readonly kind: 'refused'; readonly reason: string }

export interface ToThread {
  readonly id: number
  readonly task: ThreadTask
}

export interface FromThread {
  readonly id: number
  readonly answer: ThreadAnswer
  /** Pairs left of each signer, where a task may have changed it. */
  readonly stock: Readonly<Record<string, number>> | undefined
}
