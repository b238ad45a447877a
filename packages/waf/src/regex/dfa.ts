/**
 * Says whether a pattern matches anywhere in a text, in time linear in the text whatever the pattern: a deterministic automaton
 * over bytes that is built while it runs, state by state, and thrown away when it grows too large (Thompson, CACM 11(6), 1968;
 * Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009). It does not say what groups captured. Where the first match begins is found by
 * halves: whether one begins up to a place is known once no thread is left of those that began there.
 *
 * Look-around and back-references are not regular. They are read as if they always held, so for a pattern with one of them "no"
 * is certain and "yes" is not; `exact` tells which kind a pattern is.
 */
import { DFA_GROWN_THREADS_MAX, DFA_SPARE_THREADS, DFA_TABLE_CELLS_MAX, DFA_THREADS_MAX } from '../limits.ts'
import { LONG_TEXT_CHARS_MIN, LongText } from '../long-text.ts'
import type { WorkMeter } from '../subject.ts'
import { beginningsOf } from './beginnings.ts'
import { assemble, MATCH, type Program, SET, SPLIT, START, TooLarge } from './program.ts'
import type { Pattern } from './syntax.ts'

export interface LinearMatcher {
  readonly exact: boolean
  /** How often its states were thrown away. */
  readonly renewals: number
  /**
   * Where the first match that ends ends, -1 for none. What it costs beyond a look at each character, building states, is added
   * to the meter's work; the search gives up with -1 when that exceeds `workMax`.
   *
   * @param long The same text, if somebody has it.
   */
  search(text: string, meter: WorkMeter, workMax: number, long?: LongText): number
  /**
   * Where the first match that begins begins.
   * @param end Where a match ends: as `search` says.
   * @returns -1 when the work exceeds `workMax`.
   */
  startOf(text: string, end: number, meter: WorkMeter, workMax: number): number
}

// A state is named by the place of its row in the table; the first rows are empty, so that these are none.
const UNKNOWN = 0
const DEAD = 1
const MATCHED = 2
const EMPTY_ROWS = 2

// What is so at a place of the text, and which of it an assertion asks for.
const HELD = 1
const AT_START = 2
const AT_END = 4
const BOUNDARY = 8
const NO_BOUNDARY = 16
const ASSERTED: readonly number[] = [0, 0, 0, AT_START, AT_END, BOUNDARY, NO_BOUNDARY]

/** Units of work for a state, and for each thread in it; measured against a character's unit. */
const STATE_WORK = 200
const THREAD_WORK = 24

/** What a leap costs, in characters that an automaton takes; and how much of a text may be lost by them before it is read without. */
const LEAP_CHARS = 6
const LEAP_LOSS_CHARS_MAX = 512

/** Most matches are shorter. */
const MATCH_CHARS = 64

/** Bytes that no set tells apart are one class. */
function partition(
  sets: readonly Uint8Array[],
  words: boolean,
): { readonly classes: Uint8Array; readonly samples: readonly number[] } {
  const classes = new Uint8Array(256)
  let count = 1
  const split = (has: (code: number) => boolean): void => {
    const numbers = new Int16Array(count * 2).fill(-1)
    let next = 0
    for (let code = 0; code < 256; code += 1) {
      const at = classes[code]! * 2 + (has(code) ? 1 : 0)
      if (numbers[at] === -1) numbers[at] = next++
      classes[code] = numbers[at]!
    }
    count = next
  }
  if (words) split(isWord)
  for (const set of sets) split((code) => set[code] === 1)
  const samples = Array.from({ length: count }, (_, c) => classes.indexOf(c))
  return { classes, samples }
}

const isWord = (code: number): boolean =>
  (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122)

/** What all automata of a thread may grow by together; what one has taken is back when it is gone. */
let spareThreads = DFA_SPARE_THREADS
const gone = new FinalizationRegistry<{ readonly taken: number }>(({ taken }) => {
  spareThreads += taken
})

interface State {
  /** Instructions that threads wait at: sets, and assertions about the next character. */
  readonly threads: Int32Array
  readonly asserting: boolean
  readonly afterWord: boolean
  readonly atStart: boolean
}

class LazyAutomaton {
  readonly #program: Program
  /** A match may begin at every place, and not only where the first state is. */
  readonly #restarts: boolean
  /** Class of each byte; the last class is the end of the text. */
  readonly #classes: Uint8Array
  readonly #classCount: number
  readonly #wordClass: readonly boolean[]
  /** Whether set s has class c, at s * classCount + c. */
  readonly #members: Uint8Array
  readonly #marks: Int32Array
  readonly #stack: Int32Array
  #mark = 0
  #table = new Int32Array(0)
  #states: State[] = []
  #threads = 0
  #rows = new Map<string, number>()
  #start = UNKNOWN
  /** Null before they are asked for. */
  #beginnings: Uint32Array | undefined | null = null
  /** Where a search within a text begins: behind no word character, and behind one. */
  readonly #inner = [UNKNOWN, UNKNOWN]
  /** States of this automaton in the one that follows what began. */
  readonly #inRest = new Map<number, number>()
  #restGeneration = 0
  /** How often the table was thrown away: numbers of states mean nothing beyond it. */
  #generation = 0
  #threadsMax: number
  readonly #grownMax: number
  #growth: { taken: number } | undefined

  constructor(program: Program, restarts = true, threadsMax = DFA_THREADS_MAX, grownMax = DFA_GROWN_THREADS_MAX) {
    this.#program = program
    this.#restarts = restarts
    this.#threadsMax = threadsMax
    this.#grownMax = grownMax
    const { sets, words } = program
    const { classes, samples } = partition(sets, words)
    this.#classes = classes
    this.#classCount = samples.length + 1
    this.#wordClass = [...samples.map(isWord), false]
    this.#members = new Uint8Array(sets.length * this.#classCount)
    sets.forEach((set, s) => {
      samples.forEach((code, c) => {
        this.#members[s * this.#classCount + c] = set[code]!
      })
    })
    this.#marks = new Int32Array(program.kinds.length)
    this.#stack = new Int32Array(program.kinds.length * 2 + 2)
  }

  get renewals(): number {
    return this.#generation
  }

  search(text: string, meter: WorkMeter, workMax: number, long?: LongText): number {
    const classes = this.#classes
    const { length } = text
    let row = this.#begun(meter)
    if (row === MATCHED) return 0
    if (row === DEAD) return -1
    let table = this.#table
    if (long?.text === text) return this.#searchLong(long, row, meter, workMax)
    if (length >= LONG_TEXT_CHARS_MIN) return this.#searchLong(new LongText(text), row, meter, workMax)
    for (let i = 0; i < length; i += 1) {
      let c = classes[text.charCodeAt(i) & 255]!
      let next = table[row + c]!
      // Most characters change nothing. While the row is the same, no look waits for the one before it.
      while (next === row) {
        i += 1
        if (i === length) return this.#endsIn(row, meter) ? length : -1
        c = classes[text.charCodeAt(i) & 255]!
        next = table[row + c]!
      }
      if (next <= MATCHED) {
        if (next === UNKNOWN) {
          next = this.#advance(row, c, meter)
          table = this.#table
          if (meter.work > workMax) return -1
        }
        if (next === MATCHED) return i + 1
        if (next === DEAD) return -1
      }
      row = next
    }
    return this.#endsIn(row, meter) ? length : -1
  }

  /** `search` in a long text: from one place where a match may begin to the next, whenever nothing that has begun is under way. */
  #searchLong(text: LongText, start: number, meter: WorkMeter, workMax: number): number {
    const { bytes, threes } = text
    const classes = this.#classes
    const { length } = bytes
    const last = threes.length
    const beginnings = this.#beginningsFor(meter)
    let generation = this.#generation
    let row = start
    let idle = beginnings === undefined ? UNKNOWN : this.#beginAt(false, meter)
    let idleAfterWord = beginnings === undefined ? UNKNOWN : this.#beginAt(true, meter)
    if (generation !== this.#generation) {
      idle = idleAfterWord = UNKNOWN
      row = this.#begun(meter)
      generation = this.#generation
    }
    let table = this.#table
    let gain = 0
    let i = 0
    for (;;) {
      while (i < length) {
        const c = classes[bytes[i]!]!
        let next = table[row + c]!
        i += 1
        if (next <= MATCHED) {
          if (next === UNKNOWN) {
            next = this.#advance(row, c, meter)
            table = this.#table
            if (meter.work > workMax) return -1
            if (generation !== this.#generation) idle = idleAfterWord = UNKNOWN
          }
          if (next === MATCHED) return i
          if (next === DEAD) return -1
        }
        row = next
        if (next === idle || next === idleAfterWord) break
        // Most characters change nothing. While the row is the same, no look waits for the one before it.
        while (i < length && table[next + classes[bytes[i]!]!]! === next) i += 1
      }
      if (i === length) return this.#endsIn(row, meter) ? length : -1
      const from = i
      for (; i < last; i += 1) {
        const three = threes[i]!
        if (((beginnings![three >>> 5]! >>> three) & 1) !== 0) break
      }
      if (i > from) row = this.#wordClass[classes[bytes[i - 1]!]!]! ? idleAfterWord : idle
      gain += i - from - LEAP_CHARS
      if (i >= last || gain < -LEAP_LOSS_CHARS_MAX) idle = idleAfterWord = UNKNOWN
    }
  }

  /** Undefined where leaps would find nothing to leap over. */
  #beginningsFor(meter: WorkMeter): Uint32Array | undefined {
    if (this.#beginnings === null) this.#beginnings = beginningsOf(this.#program, meter)
    return this.#beginnings
  }

  /**
   * Whether a match begins in the text from `from` to `to`; undefined when the work exceeds `workMax`.
   * @param rest Follows what began until then.
   */
  begins(text: string, from: number, to: number, rest: LazyAutomaton, meter: WorkMeter, workMax: number): boolean | undefined {
    const first =
      from === 0 ? this.#begun(meter) : this.#beginAt(this.#wordClass[this.#classes[text.charCodeAt(from - 1) & 255]!]!, meter)
    const row = this.#run(text, first, from, to, meter, workMax)
    if (row <= MATCHED) return row === UNKNOWN ? undefined : row === MATCHED
    const last = rest.#run(text, this.#into(rest, row, meter), to, text.length, meter, workMax)
    if (last <= MATCHED) return last === UNKNOWN ? undefined : last === MATCHED
    return rest.#endsIn(last, meter)
  }

  #into(rest: LazyAutomaton, row: number, meter: WorkMeter): number {
    if (this.#restGeneration !== rest.#generation) {
      this.#inRest.clear()
      this.#restGeneration = rest.#generation
    }
    const known = this.#inRest.get(row)
    if (known !== undefined) return known
    const { threads, afterWord, atStart } = this.#states[row / this.#classCount - EMPTY_ROWS]!
    const made = rest.#row(threads, afterWord, atStart, meter)
    if (this.#restGeneration === rest.#generation) this.#inRest.set(row, made)
    return made
  }

  /** From a row on; the row at `to`, or one of the constants: `UNKNOWN` when the work exceeds `workMax`. */
  #run(text: string, first: number, from: number, to: number, meter: WorkMeter, workMax: number): number {
    let row = first
    meter.work += to - from
    for (let i = from; i < to && row > MATCHED; i += 1) {
      const c = this.#classes[text.charCodeAt(i) & 255]!
      let next = this.#table[row + c]!
      if (next === UNKNOWN) next = this.#advance(row, c, meter)
      if (meter.work > workMax) return UNKNOWN
      row = next
    }
    return row
  }

  /** Within a text. */
  #beginAt(afterWord: boolean, meter: WorkMeter): number {
    const at = afterWord ? 1 : 0
    if (this.#inner[at] !== UNKNOWN) return this.#inner[at]!
    const found: number[] = []
    this.#mark += 1
    const row = this.#follow(this.#program.start, found, 0) ? MATCHED : this.#row(found, afterWord, false, meter)
    this.#inner[at] = row
    return row
  }

  /** Whether the text may end in this state with a match. */
  #endsIn(row: number, meter: WorkMeter): boolean {
    const end = this.#classCount - 1
    let next = this.#table[row + end]!
    if (next === UNKNOWN) next = this.#advance(row, end, meter)
    return next === MATCHED
  }

  #begun(meter: WorkMeter): number {
    if (this.#start === UNKNOWN) this.#start = this.#begin(meter)
    return this.#start
  }

  #begin(meter: WorkMeter): number {
    const found: number[] = []
    this.#mark += 1
    if (this.#follow(this.#program.start, found, AT_START)) return MATCHED
    return this.#row(found, false, true, meter)
  }

  /** From a state over a class of characters to the next. */
  #advance(from: number, c: number, meter: WorkMeter): number {
    const { kinds, first, second, start } = this.#program
    const classCount = this.#classCount
    const atEnd = c === classCount - 1
    const generation = this.#generation
    const enter = (to: number): number => {
      if (generation === this.#generation) this.#table[from + c] = to
      return to
    }
    const state = this.#states[from / classCount - EMPTY_ROWS]!
    let threads: readonly number[] | Int32Array = state.threads
    if (state.asserting) {
      // The next character is known now, which decides the assertions about it.
      const holds = HELD + (state.atStart ? AT_START : 0) + (atEnd ? AT_END : 0)
      const decided = holds + (state.afterWord !== this.#wordClass[c] ? BOUNDARY : NO_BOUNDARY)
      const resolved: number[] = []
      this.#mark += 1
      for (const thread of state.threads) if (this.#follow(thread, resolved, decided)) return enter(MATCHED)
      threads = resolved
    }
    if (atEnd) return enter(DEAD)
    const found: number[] = []
    this.#mark += 1
    for (let i = 0; i < threads.length; i += 1) {
      const thread = threads[i]!
      if (kinds[thread] !== SET || this.#members[second[thread]! * classCount + c] === 0) continue
      if (this.#follow(first[thread]!, found, 0)) return enter(MATCHED)
    }
    if (this.#restarts && this.#follow(start, found, 0)) return enter(MATCHED)
    return enter(this.#row(found, this.#wordClass[c]!, false, meter))
  }

  /**
   * Adds all that is reached without a character. True when that is a match.
   *
   * @param holds What is so at this place. Without `HELD`, assertions about the next character wait for it.
   */
  #follow(pc: number, found: number[], holds: number): boolean {
    const { kinds, first, second } = this.#program
    const stack = this.#stack
    let depth = 0
    stack[depth++] = pc
    while (depth > 0) {
      const at = stack[--depth]!
      if (this.#marks[at] === this.#mark) continue
      this.#marks[at] = this.#mark
      const kind = kinds[at]!
      if (kind === SPLIT) {
        stack[depth++] = second[at]!
        stack[depth++] = first[at]!
      } else if (kind === MATCH) return true
      else if (kind === SET || (kind !== START && (holds & HELD) === 0)) found.push(at)
      else if ((holds & ASSERTED[kind]!) !== 0) stack[depth++] = first[at]!
    }
    return false
  }

  /** The row of a state in the table, which is its name. */
  #row(found: ArrayLike<number>, afterWord: boolean, atStart: boolean, meter: WorkMeter): number {
    if (found.length === 0) return DEAD
    const work = STATE_WORK + found.length * THREAD_WORK
    if (this.#generation === 0 && (meter.spared ?? 0) >= work) meter.spared! -= work
    else {
      meter.work += work
      meter.building += work
    }
    const threads = Int32Array.from(found).sort()
    const { kinds, words } = this.#program
    const wordBefore = words && afterWord
    const key = `${atStart ? '^' : wordBefore ? 'w' : ''}${threads.join()}`
    const known = this.#rows.get(key)
    if (known !== undefined) return known
    const classCount = this.#classCount
    let row = (this.#states.length + EMPTY_ROWS) * classCount
    this.#threads += threads.length
    let isFull = this.#isFull(row + classCount)
    while (isFull && this.#grow()) isFull = this.#isFull(row + classCount)
    if (isFull) {
      this.#threads = threads.length
      this.#states = []
      this.#rows = new Map()
      this.#table = new Int32Array(0)
      this.#start = UNKNOWN
      this.#inner.fill(UNKNOWN)
      this.#inRest.clear()
      this.#generation += 1
      row = EMPTY_ROWS * classCount
    }
    if (row + classCount > this.#table.length) {
      const larger = new Int32Array(Math.max(row + 8 * classCount, this.#table.length * 2))
      larger.set(this.#table)
      this.#table = larger
    }
    this.#states.push({ threads, asserting: threads.some((thread) => kinds[thread] !== SET), afterWord: wordBefore, atStart })
    this.#rows.set(key, row)
    return row
  }

  #isFull(cells: number): boolean {
    return cells > Math.max(DFA_TABLE_CELLS_MAX, this.#threadsMax) || this.#threads > this.#threadsMax
  }

  /** Few patterns need so many states, and those need the same ones again: there is room for these few. */
  #grow(): boolean {
    const more = this.#threadsMax
    if (more * 2 > this.#grownMax || more > spareThreads) return false
    if (this.#growth === undefined) {
      this.#growth = { taken: 0 }
      gone.register(this, this.#growth)
    }
    this.#growth.taken += more
    spareThreads -= more
    this.#threadsMax += more
    return true
  }
}

/**
 * @param threadsMax In all states together, before they are thrown away; it does not grow then.
 * @returns undefined when repeat counts make the pattern's program too large.
 */
export function linearMatcher(pattern: Pattern, threadsMax?: number): LinearMatcher | undefined {
  try {
    const program = assemble(pattern)
    const automaton = new LazyAutomaton(program, true, threadsMax, threadsMax)
    // Asked for where something captures: most patterns never need it.
    let rest: LazyAutomaton | undefined
    return {
      exact: program.exact,
      get renewals() {
        return automaton.renewals
      },
      search: (text, meter, workMax, long) => automaton.search(text, meter, workMax, long),
      startOf: (text, end, meter, workMax) => {
        rest ??= new LazyAutomaton(program, false)
        let from = 0
        let to = end
        for (let middle = Math.max(0, end - MATCH_CHARS); from < to; middle = (from + to) >>> 1) {
          const begins = automaton.begins(text, from, middle, rest, meter, workMax)
          if (begins === undefined) return -1
          if (begins) to = middle
          else from = middle + 1
        }
        return from
      },
    }
  } catch (error) {
    if (error instanceof TooLarge) return undefined
    throw error
  }
}
