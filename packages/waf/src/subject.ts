import type { Automaton } from './automaton.ts'
import { MEMO_VALUE_CHARS_MAX, MEMO_VALUES_MAX } from './limits.ts'
import { LONG_TEXT_CHARS_MIN, LongText } from './long-text.ts'
import { addSlots, NO_SLOTS, type Slots } from './slots.ts'
import type { Transformation } from './transformations/index.ts'

/** Counts the work of one request; see `WORK_CHARS_MAX`. */
export interface WorkMeter {
  work: number
  /** The part of it that built automata: what is built once costs the next request nothing. */
  building: number
  /** What may still be built for the first time without its counting: whoever comes first would pay for all. */
  spared?: number
}

/**
 * A text together with all that was found out about it: each transformation is applied once, the automaton runs once. A
 * transformation that changes nothing gives the same subject back, so what is known of a plain value is shared by all chains.
 */
export class Subject {
  readonly text: string
  /** By number of the step. */
  #steps: (Subject | undefined)[] | undefined
  #found: Slots | undefined
  /** Of a remembered value: the links of which it is known that their operators say no; see `RequestState.quietIn`. */
  quiet: Bits | undefined
  /** That they say yes. */
  loud: Bits | undefined
  /** Those that need a literal which does not occur are among the quiet. */
  settled = false
  /** Kept between requests: worth knowing about. */
  readonly remembered: boolean
  /** Of unions of patterns, a bit each: those that were asked, and those of which some pattern may match; see `PatternUnion`. */
  unionsAsked = 0
  unionsLeft = 0
  /** The same text but for the case of letters. */
  #otherCase: Subject | undefined
  #screen: Slots | undefined
  #long: LongText | undefined

  constructor(text: string, remembered = false) {
    this.text = text
    this.remembered = remembered
  }

  /** The text for those who read long ones; undefined for one that is not. */
  get long(): LongText | undefined {
    if (this.text.length < LONG_TEXT_CHARS_MIN) return undefined
    return (this.#long ??= new LongText(this.text))
  }

  through(chain: TransformationChain, meter: WorkMeter): Subject {
    let subject: Subject = this
    const { steps } = chain
    for (let i = 0; i < steps.length; i += 1) {
      const step = steps[i]!
      subject = subject.#steps?.[step.index] ?? subject.after(step, meter)
    }
    return subject
  }

  after({ index, apply, caseOnly }: Step, meter: WorkMeter): Subject {
    const known = this.#steps?.[index]
    if (known !== undefined) return known
    meter.work += this.text.length
    const changed = apply(this.text)
    const subject = changed === this.text ? this : new Subject(changed)
    if (caseOnly && subject !== this) subject.#otherCase = this
    this.#steps ??= []
    this.#steps[index] = subject
    return subject
  }

  /** Which literals of the rule set occur in the text. */
  found(automaton: Automaton, meter: WorkMeter): Slots {
    if (this.#found !== undefined) return this.#found
    if (this.#otherCase !== undefined) return (this.#found = this.#otherCase.found(automaton, meter))
    meter.work += this.text.length
    return (this.#found = this.text === '' ? NO_SLOTS : automaton.scan(this.text, this.long))
  }

  /** The same, when somebody has asked already. */
  get knownFound(): Slots | undefined {
    return this.#found
  }

  get screened(): boolean {
    return this.#screen !== undefined
  }

  /**
   * Which literals occur in the text after any of the chains: what is not among them, no rule finds. Takes every chain, so it is for
   * what is remembered.
   */
  screen(chains: readonly TransformationChain[], automaton: Automaton, meter: WorkMeter): Slots {
    if (this.#screen !== undefined) return this.#screen
    const slots: number[] = []
    for (const chain of chains) addSlots(slots, this.through(chain, meter).found(automaton, meter))
    return (this.#screen = slots)
  }
}

/** A set of numbers, 32 to a word. */
export type Bits = Int32Array

export const wordsFor = (count: number): number => (count + 31) >>> 5

export function addBit(bits: Bits, number: number): void {
  bits[number >>> 5]! |= 1 << (number & 31)
}

export function hasBit(bits: Bits, number: number): boolean {
  return (bits[number >>> 5]! & (1 << (number & 31))) !== 0
}

/** The transformations of a rule in order; `index` is unique within a rule set. */
export interface TransformationChain {
  readonly index: number
  readonly steps: readonly Step[]
}

/** A transformation; `index` is unique within a rule set. */
export interface Step {
  readonly index: number
  readonly apply: Transformation
  /** Changes nothing but the case of A-Z. */
  readonly caseOnly: boolean
}

/**
 * Subjects of short values, remembered between requests in two generations: header values and argument names repeat. Only
 * results of pure functions are kept, so a remembered subject answers exactly as a fresh one.
 */
export class SubjectMemo {
  readonly #valuesMax: number
  #young = new Map<string, Subject>()
  #old = new Map<string, Subject>()

  constructor(valuesMax: number = MEMO_VALUES_MAX) {
    this.#valuesMax = valuesMax
  }

  /** Of values that are remembered. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  of(text: string): Subject {
    if (text.length > MEMO_VALUE_CHARS_MAX) return new Subject(text)
    const young = this.#young.get(text)
    if (young !== undefined) return young
    const subject = this.#old.get(text) ?? new Subject(text, true)
    if (this.#young.size >= this.#valuesMax / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(text, subject)
    return subject
  }
}
