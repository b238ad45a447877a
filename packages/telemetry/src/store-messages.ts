/** What the store's thread and its owner say to each other. */
import type { DecisionRow, SpanRow } from './store-rows.ts'
import type { DecisionFilter, TopKey } from './types.ts'

export type StoreQuery =
  | { readonly kind: 'decision'; readonly requestId: string }
  | { readonly kind: 'decisions'; readonly filter: DecisionFilter }
  | { readonly kind: 'trace'; readonly traceId: string }
  | { readonly kind: 'top'; readonly by: TopKey; readonly sinceMs: number; readonly limit: number }
  | { readonly kind: 'close' }

export type ToStore =
  | { readonly kind: 'insert'; readonly decisions: readonly DecisionRow[]; readonly spans: readonly SpanRow[] }
  | { readonly kind: 'query'; readonly id: number; readonly query: StoreQuery }

export type FromStore =
  | { readonly kind: 'ready'; readonly putAside: string | undefined }
  | { readonly kind: 'failed'; readonly message: string }
  /** An insert ended; nothing of it was written when there is an error. */
  | { readonly kind: 'inserted'; readonly error: string | undefined }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown; readonly error: string | undefined }
  | { readonly kind: 'log'; readonly line: string }
