/** A node on trial judges itself: it takes traffic, answers without too many errors, and the ring believes what it measures of itself. */
import type { TrialTerms } from './launcher-messages.ts'

/** Fewer answers than this say nothing of errors. */
const ANSWERS_MIN = 20
/** How long it may be without a certified view, or take to get one. */
const UNREADY_MS_MAX = 60_000

export interface TrialSample {
  readonly isReady: boolean
  readonly whyOut: string | undefined
  readonly requests: number
  readonly errors: number
  /** False while it has to attest and the ring has not believed a quote of this process. */
  readonly isBelieved: boolean
}

export type Verdict = { readonly is: 'open' } | { readonly is: 'good' } | { readonly is: 'bad'; readonly reason: string }

export class TrialWatch {
  readonly #terms: TrialTerms
  readonly #startedAtMs: number
  #readyAtMs: number

  constructor(terms: TrialTerms, nowMs: number) {
    this.#terms = terms
    this.#startedAtMs = nowMs
    this.#readyAtMs = nowMs
  }

  look(sample: TrialSample, nowMs: number): Verdict {
    const { isReady, whyOut, requests, errors, isBelieved } = sample
    const { trialMs, errors: share } = this.#terms
    if (whyOut !== undefined) return { is: 'bad', reason: whyOut }
    if (isReady) this.#readyAtMs = nowMs
    if (nowMs - this.#readyAtMs > UNREADY_MS_MAX) return { is: 'bad', reason: `it was not ready for ${UNREADY_MS_MAX / 1_000} s` }
    if (requests >= ANSWERS_MIN && errors / requests > share)
      return { is: 'bad', reason: `${errors} of its ${requests} answers were errors, more than ${Math.round(share * 100)} %` }
    const isOver = nowMs - this.#startedAtMs >= trialMs
    return isOver && isReady && isBelieved ? { is: 'good' } : { is: 'open' }
  }
}
