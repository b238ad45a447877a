/** A response that waits until the rules have seen its beginning. */
import { type ContentCoding, codingOf, decodedBody } from './decoded-body.ts'
import { HeldBody } from './held-body.ts'
import type { ResponseHead } from './response-parser.ts'

/** Who has it judged, and sends it on. */
export interface HeldResponseOwner {
  /** Whether nobody waits for it any more. */
  readonly cancelled: boolean
  /** Returns whether the response may go on; one that may not has been refused. @param truncated More of the body follows, or may. */
  judgeResponseBody(body: Uint8Array, truncated: boolean): boolean
  /** It goes on. @param trailers Undefined: it has not ended yet. */
  onReleased(head: ResponseHead, body: HeldBody, trailers: readonly string[] | undefined): void
  onQuiet(): void
  onInspectionFailure(error: Error): void
  pauseUpstream(): void
  resumeUpstream(): void
}

export class HeldResponse {
  readonly #owner: HeldResponseOwner
  readonly #head: ResponseHead
  readonly #body = new HeldBody()
  readonly #coding: ContentCoding | undefined
  /** Bytes that the rules want to see. */
  readonly #wanted: number
  /** Set once the response is complete. */
  #trailers: readonly string[] | undefined
  #judging = false
  #timer: NodeJS.Timeout | undefined

  constructor(owner: HeldResponseOwner, head: ResponseHead, wanted: number) {
    this.#owner = owner
    this.#head = head
    this.#wanted = wanted
    this.#coding = codingOf(head.rawHeaders)
  }

  /** Copies. It is judged when there is as much as will be looked at, and more to come. */
  add(bytes: Buffer): void {
    this.#body.add(bytes, this.#head.bodyBytes ?? Number.POSITIVE_INFINITY)
    if (this.#body.length >= this.#wanted && this.#body.length !== this.#head.bodyBytes) this.#inspect(true)
  }

  end(trailers: readonly string[]): void {
    this.#trailers = trailers
    this.#inspect(false)
  }

  /**
   * Nothing more has come for now. A page that is sent in parts as they become ready is not to wait for its last. Nothing is let out
   * before its first: then nothing would have been looked at.
   */
  hurry(ms: number): void {
    if (this.#timer !== undefined || this.#judging || this.#head.bodyBytes !== undefined || this.#body.length === 0) return
    this.#timer = setTimeout(() => {
      this.#inspect(true)
      if (this.#coding === undefined) this.#owner.onQuiet()
    }, ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** @param truncated More of the body follows, or may. */
  #inspect(truncated: boolean): void {
    if (this.#judging) return
    this.#judging = true
    this.stop()
    const { bytes } = this.#body
    if (this.#coding === undefined) {
      this.#judge(bytes, truncated)
      return
    }
    const wanted = this.#wanted
    this.#owner.pauseUpstream()
    decodedBody(this.#coding, bytes, wanted + 1)
      .then((text) => {
        this.#judge(text.subarray(0, wanted), truncated || text.length > wanted)
        if (this.#owner.cancelled) return
        this.#owner.resumeUpstream()
        this.#owner.onQuiet()
      })
      .catch((error: Error) => this.#owner.onInspectionFailure(error))
  }

  #judge(body: Uint8Array, truncated: boolean): void {
    if (this.#owner.cancelled || !this.#owner.judgeResponseBody(body, truncated)) return
    this.#owner.onReleased(this.#head, this.#body, this.#trailers)
  }
}
