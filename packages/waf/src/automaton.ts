/**
 * One pass over a text that says which of many literals occur in it (Aho and Corasick, CACM 18(6), 1975). Rows of a dense table, over
 * the few character classes that the literals use, for the states near the root, where a scan is most of the time; the many that only a
 * long beginning of a literal leads to are a list of children and a failure link each, so that megabytes of literals stay megabytes.
 * Case of A-Z is ignored. Characters above 255 match nothing.
 */
import type { LongText } from './long-text.ts'
import { NO_SLOTS, type Slots } from './slots.ts'

export interface Automaton {
  /** Bit sets are this many 32-bit words. */
  readonly words: number
  /**
   * Sets the bit of every slot that has a literal in `text`. Returns `NO_SLOTS`, shared, when there is none.
   *
   * @param long The same text, if somebody has it.
   */
  scan(text: string, long?: LongText): Slots
  /** A slot with the literal that ends first in `text`, or -1. */
  first(text: string): number
}

/** What a scan reads: all of an automaton. States are numbered level by level from the root, which is 0: children of one are in a row. */
export interface AutomatonTables {
  readonly slotCount: number
  readonly classCount: number
  /** The class of each of 256 characters; 0 is that of all which no literal has. */
  readonly classes: Uint8Array
  /** A row of `classCount` for each of the first states: the number of the next one, with `HAS_OUTPUTS`; or `NO_ROW`. */
  readonly table: Uint16Array
  /** By which class a state is reached. */
  readonly classOf: Uint8Array
  /** Its children, up to those of the next state. One more than there are states. */
  readonly childrenFrom: Int32Array
  /** The longest other beginning that it ends with. */
  readonly fails: Int32Array
  /** Where in `outputs` its slots begin and end. */
  readonly outputsFrom: Int32Array
  readonly outputsTo: Int32Array
  readonly outputs: Int32Array
}

/** @param slots For each slot, literals of which any one sets its bit. None may be empty. */
export function buildAutomaton(slots: readonly (readonly string[])[]): Automaton {
  return automatonOf(buildTables(slots))
}

const TABLE_WORDS_MAX = 1 << 20

/** Marks a state by which literals end. */
export const HAS_OUTPUTS = 0x8000
/** Of a state that has no row: its number is not in the table. */
export const NO_ROW = 0xffff
/** So that their numbers leave room for both. */
export const ROWS_MAX = 0x7fff

/**
 * @param slots As of `buildAutomaton`.
 * @param tableWordsMax What rows may take, but for that of the root.
 */
export function buildTables(slots: readonly (readonly string[])[], tableWordsMax = TABLE_WORDS_MAX): AutomatonTables {
  const { classes, classCount, charCount } = classesOf(slots)

  // The tree of all literals, numbered as it grows: children of a place are a list. Place 0 is the root, and nobody's child.
  const children = new Int32Array(charCount + 1)
  const siblings = new Int32Array(charCount + 1)
  const classAt = new Uint8Array(charCount + 1)
  const ends: (number[] | undefined)[] = [undefined]
  const rootChildren = new Int32Array(classCount)
  let stateCount = 1
  const child = (parent: number, c: number): number => {
    if (parent === 0 && rootChildren[c] !== 0) return rootChildren[c]!
    if (parent !== 0) for (let at = children[parent]!; at !== 0; at = siblings[at]!) if (classAt[at] === c) return at
    const made = stateCount++
    if (parent === 0) rootChildren[c] = made
    siblings[made] = children[parent]!
    children[parent] = made
    classAt[made] = c
    ends.push(undefined)
    return made
  }
  slots.forEach((literals, slot) => {
    for (const literal of literals) {
      let place = 0
      for (let i = 0; i < literal.length; i += 1) place = child(place, classes[lower(literal.charCodeAt(i)) & 255]!)
      const held = ends[place]
      if (held === undefined) ends[place] = [slot]
      else if (!held.includes(slot)) held.push(slot)
    }
  })

  // Level by level. A row is that of the longest other beginning that the state ends with, but for its own children.
  const rowCount = Math.min(stateCount, 1 + Math.floor(tableWordsMax / classCount), ROWS_MAX)
  const table = new Uint16Array(rowCount * classCount)
  const classOf = new Uint8Array(stateCount)
  const childrenFrom = new Int32Array(stateCount + 1)
  const fails = new Int32Array(stateCount)
  /** A state without literals of its own shares its longest end's. */
  const outputs: number[] = []
  const outputsFrom = new Int32Array(stateCount)
  const outputsTo = new Int32Array(stateCount)
  const tables = { slotCount: slots.length, classCount, classes, table, classOf, childrenFrom, fails, outputsFrom, outputsTo }
  const placeOf = new Int32Array(stateCount)
  let made = 1
  for (let state = 0; state < stateCount; state += 1) {
    childrenFrom[state] = made
    if (state !== 0 && state < rowCount) {
      const failRow = fails[state]! * classCount
      table.copyWithin(state * classCount, failRow, failRow + classCount)
    }
    for (let at = children[placeOf[state]!]!; at !== 0; at = siblings[at]!) {
      const c = classAt[at]!
      const fail = state === 0 ? 0 : next(tables, fails[state]!, c)
      const own = ends[at]
      if (own === undefined) {
        outputsFrom[made] = outputsFrom[fail]!
        outputsTo[made] = outputsTo[fail]!
      } else {
        outputsFrom[made] = outputs.length
        for (const slot of own) outputs.push(slot)
        for (let k = outputsFrom[fail]!; k < outputsTo[fail]!; k += 1) if (!own.includes(outputs[k]!)) outputs.push(outputs[k]!)
        outputsTo[made] = outputs.length
      }
      const shown = made < rowCount ? (outputsFrom[made] === outputsTo[made] ? made : made | HAS_OUTPUTS) : NO_ROW
      if (state < rowCount) table[state * classCount + c] = shown
      classOf[made] = c
      fails[made] = fail
      placeOf[made++] = at
    }
  }
  childrenFrom[stateCount] = made
  return { ...tables, outputs: Int32Array.from(outputs) }
}

/** What texts consist of mostly comes first, so that of a row few lines of the cache are needed. */
const FREQUENT = ' etaoinsrhldcumfpgwybvkxjqz0123456789-.,/=_"'

function classesOf(slots: readonly (readonly string[])[]): { classes: Uint8Array; classCount: number; charCount: number } {
  const used = new Uint8Array(256)
  let charCount = 0
  for (const literals of slots) {
    for (const literal of literals) {
      if (literal === '') throw new Error('an empty literal hits every text')
      charCount += literal.length
      for (let i = 0; i < literal.length; i += 1) {
        const code = lower(literal.charCodeAt(i))
        if (code < 256) used[code] = 1
      }
    }
  }
  const classes = new Uint8Array(256)
  let classCount = 1
  const add = (code: number): void => {
    if (used[code] === 1 && classes[code] === 0) classes[code] = classCount++
  }
  for (let i = 0; i < FREQUENT.length; i += 1) add(FREQUENT.charCodeAt(i))
  for (let code = 0; code < 256; code += 1) add(code)
  for (let code = 65; code <= 90; code += 1) classes[code] = classes[code + 32]!
  return { classes, classCount, charCount }
}

/** From one state to the next, by numbers. Takes as many steps back as the text took deeper: a scan stays linear. */
function next(
  { table, classCount, classOf, childrenFrom, fails }: Omit<AutomatonTables, 'outputs'>,
  from: number,
  c: number,
): number {
  const rowCount = table.length / classCount
  for (let state = from; ; state = fails[state]!) {
    if (state < rowCount) {
      const to = table[state * classCount + c]!
      if (to !== NO_ROW) return to & ~HAS_OUTPUTS
    }
    const end = childrenFrom[state + 1]!
    for (let child = childrenFrom[state]!; child < end; child += 1) if (classOf[child] === c) return child
  }
}

/** Of a long text, that are scanned at the same time. */
const PARTS = 4
/** A shorter text takes less than going through all states for what it met. */
const PARTS_CHARS_MIN = 16_384

/** @param partsCharsMin From this length on a text is scanned in parts. */
export function automatonOf(tables: AutomatonTables, partsCharsMin = PARTS_CHARS_MIN): Automaton {
  const { slotCount, classCount, classes, table, childrenFrom, fails, outputsFrom, outputsTo, outputs } = tables
  const words = (slotCount + 31) >>> 5
  const rowCount = table.length / classCount
  const stateCount = outputsFrom.length
  /** The scan in which a state was met last: what it adds to the slots is added once. */
  const met = new Uint32Array(stateCount)
  let scans = 0
  const noSlots: Slots = Array.from({ length: words }, () => 0)
  let found: number[] | undefined

  const note = (number: number): void => {
    if (met[number] === scans) return
    met[number] = scans
    const to = outputsTo[number]!
    for (let k = outputsFrom[number]!; k < to; k += 1) {
      const slot = outputs[k]!
      found ??= noSlots.slice()
      found[slot >>> 5]! |= 1 << (slot & 31)
    }
  }

  /** Goes on from a state without a row, met at `at`, to one that has a row. Returns where; `surfaced` is that state. */
  let surfaced = 0
  const dive = (text: string, at: number, from: number): number => {
    let i = at
    let number = from
    while (number >= rowCount) {
      note(number)
      i += 1
      if (i >= text.length) return i
      const code = text.charCodeAt(i)
      number = next(tables, number, code < 256 ? classes[code]! : 0)
    }
    note(number)
    surfaced = number
    return i
  }

  /** Likewise in bytes, which are followed by nobody else: all is noted until it comes up, and where that is returned. */
  const diveInBytes = (bytes: Uint8Array, at: number, from: number): number => {
    let i = at
    for (let number = from; number >= rowCount; number = next(tables, number, classes[bytes[i]!]!)) {
      note(number)
      i += 1
      if (i >= bytes.length) break
    }
    return i
  }

  /** By state without a row: the longest other beginning with a row that it ends with. Made when a long text goes so deep. */
  let rowsBelow: Uint16Array | undefined
  const rowBelow = (number: number): number => {
    if (rowsBelow === undefined) {
      rowsBelow = new Uint16Array(stateCount - rowCount)
      for (let state = rowCount; state < stateCount; state += 1) {
        const fail = fails[state]!
        rowsBelow[state - rowCount] = fail < rowCount ? fail : rowsBelow[fail - rowCount]!
      }
    }
    return rowsBelow[number - rowCount]!
  }

  /** States with rows that a long scan came through. */
  const through = new Uint8Array(rowCount)
  /** Further on whatever began in the part before is without a row, and was followed aside. */
  const overlap = depthOf(childrenFrom, rowCount) + 1
  /** Up to where each part of a long text was followed aside. */
  const aside = new Int32Array(PARTS)

  /** The state with a row that a part goes on from at `at`, where the next one has none: what begins with that is followed aside, once. */
  const rowAt = (bytes: Uint8Array, at: number, number: number, part: number): number => {
    const deep = next(tables, number, classes[bytes[at]!]!)
    if (at >= aside[part]!) aside[part] = diveInBytes(bytes, at, deep)
    return rowBelow(deep)
  }

  const scanPart = (bytes: Uint8Array, from: number, to: number, state: number, part: number): void => {
    let number = state
    for (let i = from; i < to; i += 1) {
      let shown = table[number * classCount + classes[bytes[i]!]!]!
      if (shown === NO_ROW) shown = rowAt(bytes, i, number, part)
      number = shown & ROWS_MAX
      through[number] = 1
    }
  }

  /**
   * Four parts at a time: each next state comes out of a table larger than the nearest cache, and four of them are waited for together.
   * What begins in one part and ends in the next is seen by the first, which goes on for as long as a state with a row may have begun before.
   */
  const scanLong = (bytes: Uint8Array): void => {
    const { length } = bytes
    const part = Math.floor(length / PARTS)
    const [second, third, fourth] = [part, 2 * part, 3 * part] as const
    const [rows, width, kinds, seen] = [table, classCount, classes, through]
    aside.fill(0)
    let a = 0
    let b = 0
    let c = 0
    let d = 0
    for (let i = 0; i < part; i += 1) {
      let nextA = rows[a * width + kinds[bytes[i]!]!]!
      let nextB = rows[b * width + kinds[bytes[second + i]!]!]!
      let nextC = rows[c * width + kinds[bytes[third + i]!]!]!
      let nextD = rows[d * width + kinds[bytes[fourth + i]!]!]!
      if (nextA === NO_ROW) nextA = rowAt(bytes, i, a, 0)
      if (nextB === NO_ROW) nextB = rowAt(bytes, second + i, b, 1)
      if (nextC === NO_ROW) nextC = rowAt(bytes, third + i, c, 2)
      if (nextD === NO_ROW) nextD = rowAt(bytes, fourth + i, d, 3)
      a = nextA & ROWS_MAX
      b = nextB & ROWS_MAX
      c = nextC & ROWS_MAX
      d = nextD & ROWS_MAX
      seen[a] = 1
      seen[b] = 1
      seen[c] = 1
      seen[d] = 1
    }
    scanPart(bytes, second, Math.min(length, second + overlap), a, 0)
    scanPart(bytes, third, Math.min(length, third + overlap), b, 1)
    scanPart(bytes, fourth, Math.min(length, fourth + overlap), c, 2)
    scanPart(bytes, fourth + part, length, d, 3)
    for (let number = 0; number < rowCount; number += 1) if (seen[number] === 1) note(number)
    seen.fill(0)
  }

  return {
    words,
    scan(text, long) {
      found = undefined
      scans = scans === 0xffff_ffff ? 1 : scans + 1
      if (scans === 1) met.fill(0)
      const { length } = text
      if (length >= partsCharsMin && long?.areCharacters === true) {
        scanLong(long.bytes)
        return found ?? NO_SLOTS
      }
      let number = 0
      for (let i = 0; i < length; i += 1) {
        const code = text.charCodeAt(i)
        const c = code < 256 ? classes[code]! : 0
        const shown = table[number * classCount + c]!
        if (shown < HAS_OUTPUTS) {
          number = shown
          continue
        }
        if (shown === NO_ROW) {
          i = dive(text, i, next(tables, number, c))
          number = surfaced
          continue
        }
        number = shown & ROWS_MAX
        if (met[number] !== scans) note(number)
      }
      return found ?? NO_SLOTS
    },
    first(text) {
      let number = 0
      for (let i = 0; i < text.length; i += 1) {
        const code = text.charCodeAt(i)
        number = next(tables, number, code < 256 ? classes[code]! : 0)
        if (outputsFrom[number] !== outputsTo[number]) return outputs[outputsFrom[number]!]!
      }
      return -1
    },
  }
}

/** Of the deepest of the first states, in characters from the root. */
function depthOf(childrenFrom: Int32Array, stateCount: number): number {
  let depth = 0
  for (let from = 0, to = 1; from < to && from < stateCount; depth += 1) [from, to] = [to, childrenFrom[to]!]
  return depth - 1
}

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code
}
