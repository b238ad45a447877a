import type { Automaton } from './automaton.ts'
import { detached } from './bytes.ts'
import { MEMO_VALUE_CHARS_MAX, MEMO_VALUES_MAX } from './limits.ts'
import { LONG_TEXT_CHARS_MIN, LongText } from './long-text.ts'
import { addSlots, NO_SLOTS, type Slots } from './slots.ts'
import { CASE_ONLY, REWRITING, type Transformation } from './transformations/index.ts'

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
  /** Steps that change nothing; see `Step.bit`. */
  #idle = 0
  /** What other steps make of it: the first of them, each with the step and the next one. */
  #changed: Subject | undefined
  #by = -1
  #sibling: Subject | undefined
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
    const { steps, bits } = chain
    // Most values are the same after all of them.
    if (bits !== undefined && (this.#idle & bits) === bits) return this
    let subject: Subject = this
    for (let i = 0; i < steps.length; i += 1) subject = subject.after(steps[i]!, meter)
    return subject
  }

  after({ index, bit, apply, caseOnly }: Step, meter: WorkMeter): Subject {
    if ((this.#idle & bit) !== 0) return this
    for (let known = this.#changed; known !== undefined; known = known.#sibling) if (known.#by === index) return known
    meter.work += this.text.length
    const changed = apply(this.text)
    if (changed === this.text) {
      this.#idle |= bit
      return this
    }
    const subject = new Subject(changed)
    if (caseOnly) subject.#otherCase = this
    subject.#by = index
    subject.#sibling = this.#changed
    this.#changed = subject
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

/** A set of numbers, 32 to a word; plain numbers, as `Slots` are: each remembered value has two. */
export type Bits = number[]

/** None of so many numbers. */
export const noBits = (count: number): Bits => Array.from({ length: (count + 31) >>> 5 }, () => 0)

export function addBit(bits: Bits, number: number): void {
  bits[number >>> 5]! |= 1 << (number & 31)
}

export function hasBit(bits: Readonly<Bits>, number: number): boolean {
  return (bits[number >>> 5]! & (1 << (number & 31))) !== 0
}

/** The transformations of a rule in order; `index` is unique within a rule set. */
export interface TransformationChain {
  readonly index: number
  readonly steps: readonly Step[]
  /** Of all its steps; undefined when one has none. */
  readonly bits: number | undefined
}

/** A transformation; `index` is unique within a rule set. */
export interface Step {
  readonly index: number
  /** One bit of a number, for the first 31 of a rule set; the others have none, and whether they change a value is found out every time. */
  readonly bit: number
  readonly apply: Transformation
  /** Changes nothing but the case of A-Z. */
  readonly caseOnly: boolean
  /** Changes most values; the others most values pass as they are. */
  readonly rewrites: boolean
}

export function chainOf(index: number, steps: readonly Step[]): TransformationChain {
  const bits = steps.reduce((all, { bit }) => all | bit, 0)
  return { index, steps, bits: steps.every(({ bit }) => bit !== 0) ? bits : undefined }
}

export function stepOf(index: number, apply: Transformation): Step {
  const bit = index < STEP_BITS ? 1 << index : 0
  return { index, bit, apply, caseOnly: CASE_ONLY.has(apply), rewrites: REWRITING.has(apply) }
}

const STEP_BITS = 31

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
    const subject = this.#old.get(text) ?? new Subject(detached(text), true)
    if (this.#young.size >= this.#valuesMax / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(subject.text, subject)
    return subject
  }
}
