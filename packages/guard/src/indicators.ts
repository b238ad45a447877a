/** What the policy does with sources that a set of indicators names: only watch, refuse, or hold each to a rate. */
import { formatAddress, type Policy, parseAddress, prefixSetOf } from '@ringwall/ring'
import type { RateLimiter } from './rate-limiter.ts'

/** Sets of indicators by name, as a node loaded them. */
export interface Indicators {
  /** The most specific indicator in force about the address, of at least this confidence. */
  match(
    set: string,
    version: 4 | 6,
    words: readonly number[],
    confidenceMin: number,
    nowMs: number,
  ): { readonly confidence: number; readonly label: string; readonly length: number } | undefined
}

export interface IndicatorVerdict {
  readonly mode: 'shadow' | 'deny' | 'limit'
  readonly rule: string
  readonly reason: string
  /** Of `limit`. */
  readonly retryAfterS: number
}

/**
 * Rules in their order: the first that refuses ends it; else the first that only watches. What is safe is no indicator’s business.
 *
 * @param limiter Undefined where nothing is to be taken from budgets: then `limit` lets pass.
 */
export function judgeIndicators(
  { indicators: rules, denials }: Policy,
  indicators: Indicators,
  source: string,
  limiter: RateLimiter | undefined,
  nowMs: number,
): IndicatorVerdict | undefined {
  const address = parseAddress(source)
  if (address === undefined || prefixSetOf(denials.safe).containsText(source)) return undefined
  let watched: IndicatorVerdict | undefined
  for (const { set, mode, confidenceMin, rate } of rules) {
    const match = indicators.match(set, address.version, address.words, confidenceMin, nowMs)
    if (match === undefined) continue
    const named = match.label === '' ? '' : ` (${match.label})`
    const reason = `the source is in the indicators ${set}, confidence ${match.confidence}${named}`
    const verdict = { mode, rule: `indicator:${set}`, reason, retryAfterS: 0 }
    if (mode === 'deny') return verdict
    if (mode === 'shadow') watched ??= verdict
    else if (limiter !== undefined && rate !== undefined) {
      // Whoever has one address of an IPv6 /64 has them all.
      const words = address.version === 6 ? [address.words[0]!, address.words[1]!, 0, 0] : address.words
      const key = `indicator\n${set}\n${formatAddress({ version: address.version, words })}`
      const waitMs = limiter.take(key, { ...rate, burst: rate.count }, nowMs)
      if (waitMs > 0) return { ...verdict, reason: `${reason}, and its rate is used up`, retryAfterS: Math.ceil(waitMs / 1_000) }
    }
  }
  return watched
}
