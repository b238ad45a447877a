/** The words of a detection rule: which signals, counted by what, over what, within what time. Durations are milliseconds. */
import type { Signal } from '../signal.ts'

export const RULE_KEYS = ['source', 'network', 'fingerprint', 'account', 'session', 'path', 'service'] as const
export type RuleKey = (typeof RULE_KEYS)[number]

/** What is counted as different things. */
export const DISTINCT_MEASURES = ['accounts', 'sources', 'networks', 'fingerprints', 'sessions', 'paths', 'routes'] as const
export type DistinctMeasure = (typeof DISTINCT_MEASURES)[number]
/** `beats`: one after the other that came as far apart as those before. */
export type Measure = 'events' | 'bytes' | 'beats' | DistinctMeasure

/** All that is given must hold. */
export interface SignalFilter {
  readonly routes?: readonly string[] | undefined
  readonly methods?: readonly string[] | undefined
  readonly status?: readonly number[] | undefined
  /** Whether a login failed or was good; `any`: it was one. */
  readonly login?: 'failed' | 'good' | 'any' | undefined
  /** Whether an account was made. */
  readonly signup?: boolean | undefined
  /** Whether somebody is logged in. */
  readonly session?: boolean | undefined
  /** `new`: no login was good from there lately. */
  readonly source?: 'new' | 'known' | undefined
  /** `new`: no login to the account was good from this program or this network lately. */
  readonly device?: 'new' | 'known' | undefined
  /** `impossible`: nobody can have come there from where the account was last logged in to. */
  readonly travel?: 'impossible' | undefined
}

export interface DetectionRule {
  readonly name: string
  readonly service?: string | undefined
  /** One or two. */
  readonly by: readonly RuleKey[]
  readonly when: SignalFilter
  /** Each must be reached. */
  readonly over: Readonly<Partial<Record<Measure, number | undefined>>>
  /** Of `among`, since the first signal of the key that matched: at least this part matches. */
  readonly share?: number | undefined
  readonly among?: SignalFilter | undefined
  /** Times what is usual at that time of the day; by service. */
  readonly usual?: number | undefined
  /** What the same key must have done before, and how long ago at most. */
  readonly after?: { readonly when: SignalFilter; readonly within: number } | undefined
  readonly within: number
}

/** A rule that is over its limits. */
export interface RuleFinding {
  readonly rule: string
  readonly service: string
  readonly key: readonly (readonly [RuleKey, string])[]
  /** Sources that this node saw at it, those that did most first; at most `SOURCES_NAMED_MAX`. */
  readonly sources: readonly string[]
  readonly count: number
  readonly nodes: number
  /** 0 to 1: how far beyond its limits. */
  readonly confidence: number
  /** What was counted. */
  readonly reason: string
}

/** What only memory can say of a signal. */
export interface Novelty {
  source(signal: Signal): boolean
  device(signal: Signal): boolean
  impossible(signal: Signal): boolean
}

type Test = (signal: Signal, isNew: Novelty) => boolean

/** One function for all that a filter asks; cheapest first. */
export function compileFilter(filter: SignalFilter): Test {
  const tests: Test[] = []
  const { login, signup, session, source, device, travel } = filter
  const among = <T>(list: readonly T[] | undefined): ReadonlySet<T> | undefined =>
    list === undefined || list.length === 0 ? undefined : new Set(list)
  if (login !== undefined) tests.push((signal) => (login === 'any' ? signal.login !== undefined : signal.login === login))
  if (signup !== undefined) tests.push((signal) => signal.signup === signup)
  const status = among(filter.status)
  if (status !== undefined) tests.push((signal) => status.has(signal.status))
  const routes = among(filter.routes)
  if (routes !== undefined) tests.push((signal) => signal.route !== undefined && routes.has(signal.route))
  const methods = among(filter.methods)
  if (methods !== undefined) tests.push((signal) => methods.has(signal.method))
  if (session !== undefined) tests.push((signal) => (signal.session !== undefined) === session)
  if (source !== undefined) tests.push((signal, isNew) => isNew.source(signal) === (source === 'new'))
  if (device !== undefined) tests.push((signal, isNew) => isNew.device(signal) === (device === 'new'))
  if (travel !== undefined) tests.push((signal, isNew) => isNew.impossible(signal))
  return (signal, isNew) => {
    for (const test of tests) if (!test(signal, isNew)) return false
    return true
  }
}
