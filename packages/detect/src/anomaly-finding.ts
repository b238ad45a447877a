/** What an anomaly detector concludes, and how it says so to people. */
import { type ActorMeasure, amountOf, type RouteMeasure } from './anomaly-window.ts'

export const ANOMALY_RULES = ['anomaly-route', 'anomaly-account', 'anomaly-source'] as const
export type AnomalyRule = (typeof ANOMALY_RULES)[number]

/** One measure that is out of what is usual. */
export interface AnomalyFeature {
  readonly name: RouteMeasure | ActorMeasure
  /** Bits, as measured. */
  readonly value: number
  readonly median: number
  readonly deviation: number
  /** Standard deviations above the median. */
  readonly away: number
}

export interface AnomalyFinding {
  readonly rule: AnomalyRule
  readonly service: string
  readonly key: readonly [kind: 'route' | 'account' | 'session' | 'source', value: string]
  readonly sources: readonly string[]
  readonly atMs: number
  /** The highest first. */
  readonly features: readonly AnomalyFeature[]
  /** In bits, of accounts, sessions and sources: how rare the window is among those of all. */
  readonly rarity: number | undefined
  readonly reason: string
}

type Wording = (amount: string) => string
const WORDS: Readonly<
  Record<RouteMeasure | ActorMeasure, { readonly what: Wording; readonly unit: 'count' | 'share' | 'bytes' | 'ms' }>
> = {
  requests: { what: (amount) => `${amount} requests`, unit: 'count' },
  refused: { what: (amount) => `${amount} answered with 4xx`, unit: 'count' },
  failed: { what: (amount) => `${amount} answered with 5xx`, unit: 'count' },
  writes: { what: (amount) => `${amount} that change something`, unit: 'count' },
  bytes: { what: (amount) => `${amount} sent`, unit: 'bytes' },
  took: { what: (amount) => `95 of 100 answered within ${amount}`, unit: 'ms' },
  sources: { what: (amount) => `${amount} different addresses`, unit: 'count' },
  paths: { what: (amount) => `${amount} different paths`, unit: 'count' },
  others: { what: (amount) => `${amount} different addresses`, unit: 'count' },
  good: { what: (amount) => `${amount} answered`, unit: 'count' },
}

const FEATURES_SAID_MAX = 3
/** What is within so many deviations is usual. */
const USUAL_DEVIATIONS = 3

/** The highest first, with what would be usual: `820 requests (usual: 40 to 95)`. */
export function describeFeatures(rule: AnomalyRule, features: readonly AnomalyFeature[]): string {
  return features
    .slice(0, FEATURES_SAID_MAX)
    .map(({ name, value, median, deviation }) => {
      const isShare = rule === 'anomaly-route' && (name === 'refused' || name === 'failed')
      const unit = isShare ? 'share' : WORDS[name].unit
      const what =
        rule === 'anomaly-source' && name === 'others'
          ? (amount: string) => `${amount} accounts and sessions`
          : isShare
            ? (amount: string) => `at least ${WORDS[name].what(amount)}`
            : WORDS[name].what
      const say = (bits: number): string => sayAmount(amountOf(Math.max(0, bits)), unit)
      const [low, high] = [say(median - USUAL_DEVIATIONS * deviation), say(median + USUAL_DEVIATIONS * deviation)]
      return `${what(say(value))} (usual: ${low === high ? high : `${low} to ${high}`})`
    })
    .join(', ')
}

function sayAmount(amount: number, unit: 'count' | 'share' | 'bytes' | 'ms'): string {
  if (unit === 'share') return `${Math.min(100, Math.round(amount))} %`
  if (unit === 'ms') return amount < 10_000 ? `${Math.round(amount)} ms` : `${Math.round(amount / 1_000)} s`
  if (unit === 'count') return Math.round(amount).toString()
  if (amount < 10_000) return `${Math.round(amount)} B`
  return amount < 10_000_000 ? `${Math.round(amount / 1_000)} kB` : `${Math.round(amount / 1_000_000)} MB`
}
