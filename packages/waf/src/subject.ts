import { type Automaton, NOTHING_FOUND } from './automaton.ts'
import { MEMO_VALUE_CHARS_MAX, MEMO_VALUES_MAX } from './limits.ts'
import type { Transformation } from './transformations/index.ts'

/** Counts the work of one request; see `WORK_CHARS_MAX`. */
export interface WorkMeter {
  work: number
  /** The part of it that built automata: what is built once costs the next request nothing. */
  building: number
}

/**
 * A text together with all that was found out about it: each transformation is applied once, the automaton runs once. A
 * transformation that changes nothing gives the same subject back, so what is known of a plain value is shared by all chains.
 */
export class Subject {
  readonly text: string
  #steps: Map<Transformation, Subject> | undefined
  #chains: (Subject | undefined)[] | undefined
  #found: Uint32Array | undefined
  /** Of a remembered value: the links of which it is known that their operators say no; see `RequestState.quietIn`. */
  quiet: Bits | undefined
  /** That they say yes. */
  loud: Bits | undefined
  /** Those that need a literal which does not occur are among the quiet. */
  settled = false
  /** Kept between requests: worth knowing about. */
  readonly remembered: boolean
  #screen: Slots | undefined

  constructor(text: string, remembered = false) {
    this.text = text
    this.remembered = remembered
  }

  through(chain: TransformationChain, meter: WorkMeter): Subject {
    if (chain.steps.length === 0) return this
    const known = this.#chains?.[chain.index]
    if (known !== undefined) return known
    let subject: Subject = this
    for (const step of chain.steps) subject = subject.after(step, meter)
    this.#chains ??= []
    this.#chains[chain.index] = subject
    return subject
  }

  after(step: Transformation, meter: WorkMeter): Subject {
    const known = this.#steps?.get(step)
    if (known !== undefined) return known
    meter.work += this.text.length
    const changed = step(this.text)
    const subject = changed === this.text ? this : new Subject(changed)
    this.#steps ??= new Map()
    this.#steps.set(step, subject)
    return subject
  }

  /** Which literals of the rule set occur in the text. */
  found(automaton: Automaton, meter: WorkMeter): Uint32Array {
    if (this.#found !== undefined) return this.#found
    meter.work += this.text.length
    return (this.#found = this.text === '' ? NOTHING_FOUND : automaton.scan(this.text))
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

/** A set of slots of the automaton, 32 to a number; those behind the last number are not in it. */
export type Slots = readonly number[]

export function addSlot(slots: number[], slot: number): void {
  while (slots.length <= slot >>> 5) slots.push(0)
  slots[slot >>> 5]! |= 1 << (slot & 31)
}

export function addSlots(slots: number[], more: ArrayLike<number>): void {
  while (slots.length < more.length) slots.push(0)
  for (let i = 0; i < more.length; i += 1) slots[i]! |= more[i]!
}

export function isSlotOf(slots: Slots, slot: number): boolean {
  return ((slots[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}

export function haveCommonSlot(some: Slots, others: Slots): boolean {
  const words = Math.min(some.length, others.length)
  for (let i = 0; i < words; i += 1) if ((some[i]! & others[i]!) !== 0) return true
  return false
}

/** The transformations of a rule in order; `index` is unique within a rule set. */
export interface TransformationChain {
  readonly index: number
  readonly steps: readonly Transformation[]
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
