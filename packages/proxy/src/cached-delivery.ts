/** A kept answer on its way to the client: in the coding that this one likes, and no faster than it reads. */

import type { CacheStore } from './cache-store.ts'
import { type CachedAnswer, PART_BYTES } from './cache-turn.ts'
import { type Compressing, type Compressor, compressedHead } from './compression.ts'
import type { ResponseHead } from './response-parser.ts'

/** The head that decides on the coding: what a 304 stands for is what would have been sent otherwise. */
export function representedHead({ head, stored }: CachedAnswer): ResponseHead {
  if (head.status !== 304) return head
  return { ...head, status: stored.status, rawHeaders: stored.fields, contentLength: String(stored.body.length) }
}

/** The answer in that form. @param form Undefined: it goes out as it is, whatever the client likes. */
export function packedAnswer(
  answer: CachedAnswer,
  form: Compressing | undefined,
  isHead: boolean,
  compressor: Compressor,
  store: CacheStore,
): CachedAnswer | Promise<CachedAnswer> {
  const { head, stored, body } = answer
  if (form === undefined) return answer
  if (head.status === 304 || isHead) return { ...answer, head: compressedHead(head, form) }
  const isWhole = head.status === stored.status && body.length === stored.body.length && body.length > 0
  const made = form.coding === undefined || !isWhole ? undefined : compressor.kept(store, stored, form.coding)
  const packed = (bytes: Buffer | undefined): CachedAnswer =>
    bytes === undefined
      ? { ...answer, head: compressedHead(head, { coding: undefined }) }
      : { ...answer, head: compressedHead(head, form, bytes.length), body: bytes }
  return made instanceof Promise ? made.then(packed) : packed(made)
}

/** What is kept is not copied for a client that does not read. */
export class CachedDelivery {
  readonly status: number
  /** As far as it has not been sent yet. */
  #rest: Buffer

  constructor(status: number, body: Buffer) {
    this.status = status
    this.#rest = body
  }

  /** The next bytes; undefined: all are sent. */
  next(): Buffer | undefined {
    if (this.#rest.length === 0) return undefined
    const part = this.#rest.subarray(0, PART_BYTES)
    this.#rest = this.#rest.subarray(PART_BYTES)
    return part
  }
}
