/**
 * Patterns that are asked about the same texts, and hardly ever match, are asked together: one automaton says of a text that none of them matches, and
 * each reads for itself only the few texts of which it cannot say so. Which patterns these are shows while requests run, and no answer depends on it.
 */
import { UNION_ASKS_MIN, UNION_PATTERNS_MAX, UNION_THREADS_MAX, WORK_CHARS_MAX } from './limits.ts'
import { LONG_TEXT_CHARS_MIN } from './long-text.ts'
import { type LinearMatcher, linearMatcher } from './regex/dfa.ts'
import type { Pattern } from './regex/syntax.ts'
import type { Subject, WorkMeter } from './subject.ts'

/** One bit of a number each. */
export const UNIONS_MAX = 31
/** Of what it is asked, a pattern that takes part may match. */
const MATCHING_SHARE_MAX = 0.06
/** Of what it is asked, a union may leave to its patterns, before it is given up. */
const LEFT_SHARE_MAX = 0.4
/** Fewer are not parted into halves. */
const PARTED_PATTERNS_MIN = 4
/** A pattern that waits for company for so many times as many asks takes what there is. */
const PATIENCE = 4

/** A pattern of a rule, and how it fares. */
export interface Sharing {
  /** The same for the same pattern. */
  readonly source: string
  readonly parsed: () => Pattern
  readonly company: Company
  union: PatternUnion | undefined
  asks: number
  matches: number
  /** Not to take part any more. */
  alone: boolean
}

/** Patterns that see mostly the same texts: those of chains of transformations that few values tell apart. */
export class Company {
  readonly #unions: Unions
  #waiting: Sharing[] = []

  constructor(unions: Unions) {
    this.#unions = unions
  }

  get asksMin(): number {
    return this.#unions.asksMin
  }

  /** A pattern has said how it is with a text, for the `asksMin`th time once more. */
  consider(one: Sharing): void {
    if (one.alone || one.union !== undefined) return
    if (one.matches > one.asks * MATCHING_SHARE_MAX) {
      this.#waiting = this.#waiting.filter((other) => other !== one)
      return
    }
    if (!this.#waiting.includes(one)) this.#waiting.push(one)
    const sources = new Set(this.#waiting.map(({ source }) => source))
    if (sources.size < (one.asks >= PATIENCE * this.asksMin ? 2 : UNION_PATTERNS_MAX)) return
    this.#unions.make(this.#waiting)
    this.#waiting = []
  }
}

/** Counts what a pattern was asked by itself, and what it said. */
export function noteAsked(one: Sharing, isMatch: boolean): void {
  one.asks += 1
  if (isMatch) one.matches += 1
  if (one.asks % one.company.asksMin === 0) one.company.consider(one)
}

/** All unions of a rule set. */
export class Unions {
  readonly asksMin: number
  readonly #threadsMax: number
  #made = 0

  /** @param asksMin Of a pattern, before it takes part. @param threadsMax In all states of a union. */
  constructor({ asksMin = UNION_ASKS_MIN, threadsMax = UNION_THREADS_MAX } = {}) {
    this.asksMin = asksMin
    this.#threadsMax = threadsMax
  }

  /** How many there have been. */
  get made(): number {
    return this.#made
  }

  make(members: readonly Sharing[]): void {
    const matcher = this.#made < UNIONS_MAX ? matcherOf(members, this.#threadsMax) : undefined
    const union = matcher === undefined ? undefined : new PatternUnion(this, members, matcher, this.#made)
    if (union !== undefined) this.#made += 1
    for (const member of members) {
      member.union = union
      member.alone = union === undefined
    }
  }
}

function matcherOf(members: readonly Sharing[], threadsMax: number): LinearMatcher | undefined {
  const patterns = new Map(members.map(({ source, parsed }) => [source, parsed]))
  return linearMatcher({ kind: 'alt', items: [...patterns.values()].map((parsed) => parsed()) }, threadsMax)
}

export class PatternUnion {
  /** Below `UNIONS_MAX`. */
  readonly number: number
  readonly #unions: Unions
  readonly #members: readonly Sharing[]
  readonly #matcher: LinearMatcher
  #asks = 0
  #left = 0

  constructor(unions: Unions, members: readonly Sharing[], matcher: LinearMatcher, number: number) {
    this.#unions = unions
    this.#members = members
    this.#matcher = matcher
    this.number = number
  }

  /** Whether it is certain that none of the patterns matches. */
  rulesOut(subject: Subject, meter: WorkMeter): boolean {
    const bit = 1 << this.number
    if ((subject.unionsAsked & bit) !== 0) return (subject.unionsLeft & bit) === 0
    const { text } = subject
    // A long text is for each of them to leap through.
    if (text.length >= LONG_TEXT_CHARS_MIN) return false
    meter.work += text.length
    const isLeft = this.#matcher.search(text, meter, WORK_CHARS_MAX) >= 0
    // A search that the request's work cut short says nothing.
    if (meter.work > WORK_CHARS_MAX) return false
    subject.unionsAsked |= bit
    this.#asks += 1
    if (isLeft) {
      subject.unionsLeft |= bit
      this.#left += 1
    }
    if (this.#matcher.renewals > 0) this.#part()
    else if (this.#asks % this.#unions.asksMin === 0 && this.#left > this.#asks * LEFT_SHARE_MAX) this.#disband()
    return !isLeft
  }

  /** Together they have more states than they may: two halves have far fewer. */
  #part(): void {
    const sources = [...new Set(this.#members.map(({ source }) => source))]
    if (sources.length < PARTED_PATTERNS_MIN) {
      this.#disband()
      return
    }
    const first = new Set(sources.slice(0, sources.length >>> 1))
    this.#unions.make(this.#members.filter(({ source }) => first.has(source)))
    this.#unions.make(this.#members.filter(({ source }) => !first.has(source)))
  }

  #disband(): void {
    for (const member of this.#members) {
      member.union = undefined
      member.alone = true
    }
  }
}
