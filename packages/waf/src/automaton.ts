/**
 * One pass over a text that says which of many literals occur in it (Aho and Corasick, CACM 18(6), 1975). Rows of a dense table, over
 * the few character classes that the literals use, for the states near the root, where a scan is most of the time; the many that only a
 * long beginning of a literal leads to are a list of children and a failure link each, so that megabytes of literals stay megabytes.
 * Case of A-Z is ignored. Characters above 255 match nothing.
 */
export interface Automaton {
  /** Bit sets are this many 32-bit words. */
  readonly words: number
  /** Sets the bit of every slot that has a literal in `text`. Returns `NOTHING_FOUND`, shared, when there is none. */
  scan(text: string): Uint32Array
  /** A slot with the literal that ends first in `text`, or -1. */
  first(text: string): number
}

/** What a scan reads: all of an automaton. States are numbered level by level from the root, which is 0: children of one are in a row. */
export interface AutomatonTables {
  readonly slotCount: number
  readonly classCount: number
  /** The class of each of 256 characters; 0 is that of all which no literal has. */
  readonly classes: Uint8Array
  /**
   * A row of `classCount` for each of the first states: the next one, multiplied by `classCount`; or, where that one has outputs or no
   * row, its number, negative: the loop of a scan has one test.
   */
  readonly table: Int32Array
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
  const rowCount = Math.min(stateCount, 1 + Math.floor(tableWordsMax / classCount))
  const table = new Int32Array(rowCount * classCount)
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
      const isPlain = made < rowCount && outputsFrom[made] === outputsTo[made]
      if (state < rowCount) table[state * classCount + c] = isPlain ? made * classCount : -made
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
  let state = from
  for (const rowCount = table.length / classCount; state >= rowCount; state = fails[state]!) {
    const end = childrenFrom[state + 1]!
    for (let child = childrenFrom[state]!; child < end; child += 1) if (classOf[child] === c) return child
  }
  const to = table[state * classCount + c]!
  return to < 0 ? -to : to / classCount
}

export function automatonOf(tables: AutomatonTables): Automaton {
  const { slotCount, classCount, classes, table, outputsFrom, outputsTo, outputs } = tables
  const words = (slotCount + 31) >>> 5
  /** The scan in which a state was met last: what it adds to the slots is added once. */
  const met = new Uint32Array(outputsFrom.length)
  let scans = 0

  let found: Uint32Array | undefined

  const note = (number: number): void => {
    if (met[number] === scans) return
    met[number] = scans
    const to = outputsTo[number]!
    for (let k = outputsFrom[number]!; k < to; k += 1) {
      const slot = outputs[k]!
      found ??= new Uint32Array(words)
      found[slot >>> 5]! |= 1 << (slot & 31)
    }
  }

  /** Goes on from a state without a row, met at `at`, to one that has a row. Returns where; `surfaced` is that state. */
  let surfaced = 0
  const dive = (text: string, at: number, from: number): number => {
    let i = at
    let number = from
    for (const rowCount = table.length / classCount; number >= rowCount; ) {
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

  return {
    words,
    scan(text) {
      found = undefined
      scans = scans === 0xffff_ffff ? 1 : scans + 1
      if (scans === 1) met.fill(0)
      const { length } = text
      let state = 0
      for (let i = 0; i < length; i += 1) {
        const code = text.charCodeAt(i)
        state = table[state + (code < 256 ? classes[code]! : 0)]!
        if (state < 0) {
          i = dive(text, i, -state)
          state = surfaced * classCount
        }
      }
      return found ?? NOTHING_FOUND
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

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code
}

/** What a scan without any hit returns. */
export const NOTHING_FOUND: Uint32Array = new Uint32Array(0)

export function hasSlot(found: Uint32Array, slot: number): boolean {
  return ((found[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}
