/** A response that waits until the rules have seen its beginning. */
import { type ContentCoding, codingOf } from './decoded-body.ts'
import { HeldBody } from './held-body.ts'
import type { ResponseHead } from './response-parser.ts'

export class HeldResponse {
  readonly head: ResponseHead
  readonly body = new HeldBody()
  readonly coding: ContentCoding | undefined
  /** Bytes that the rules want to see. */
  readonly wanted: number
  /** Set once the response is complete. */
  trailers: readonly string[] | undefined
  judging = false
  #timer: NodeJS.Timeout | undefined

  constructor(head: ResponseHead, wanted: number) {
    this.head = head
    this.wanted = wanted
    this.coding = codingOf(head.rawHeaders)
  }

  /** Whether there is as much as will be looked at, and more to come. */
  get full(): boolean {
    return this.body.length >= this.wanted && this.body.length !== this.head.bodyBytes
  }

  /**
   * A page that is sent in parts as they become ready is not to wait for its last. Nothing is let out before its first: then
   * nothing would have been looked at.
   */
  hurry(ms: number, late: () => void): void {
    if (this.#timer !== undefined || this.judging || this.head.bodyBytes !== undefined || this.body.length === 0) return
    this.#timer = setTimeout(late, ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
