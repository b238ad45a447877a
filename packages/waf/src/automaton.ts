/**
 * One pass over a text that says which of many literals occur in it (Aho and Corasick, CACM 18(6), 1975), as a dense table
 * over the few character classes that the literals use. Case of A-Z is ignored. Characters above 255 match nothing.
 */
export interface Automaton {
  /** Bit sets are this many 32-bit words. */
  readonly words: number
  /** Sets the bit of every slot that has a literal in `text`. Returns `NOTHING_FOUND`, shared, when there is none. */
  scan(text: string): Uint32Array
  /** A slot with the literal that ends first in `text`, or -1. */
  first(text: string): number
}

/** @param slots For each slot, literals of which any one sets its bit. None may be empty. */
export function buildAutomaton(slots: readonly (readonly string[])[]): Automaton {
  const used = new Uint8Array(256)
  let statesMax = 1
  for (const literals of slots) {
    for (const literal of literals) {
      if (literal === '') throw new Error('an empty literal hits every text')
      statesMax += literal.length
      for (let i = 0; i < literal.length; i += 1) {
        const code = lower(literal.charCodeAt(i))
        if (code < 256) used[code] = 1
      }
    }
  }
  // What texts consist of mostly comes first, so that of a row few lines of the cache are needed.
  const classes = new Uint8Array(256)
  let classCount = 1
  const add = (code: number): void => {
    if (used[code] === 1 && classes[code] === 0) classes[code] = classCount++
  }
  for (let i = 0; i < FREQUENT.length; i += 1) add(FREQUENT.charCodeAt(i))
  for (let code = 0; code < 256; code += 1) add(code)
  for (let code = 65; code <= 90; code += 1) classes[code] = classes[code + 32]!

  // The tree of all literals: children of a state are a list. State 0 is the root, and nobody's child.
  const children = new Int32Array(statesMax)
  const siblings = new Int32Array(statesMax)
  const classOf = new Uint8Array(statesMax)
  const ends: (number[] | undefined)[] = [undefined]
  const rootChildren = new Int32Array(classCount)
  let stateCount = 1
  const child = (parent: number, c: number): number => {
    if (parent === 0 && rootChildren[c] !== 0) return rootChildren[c]!
    if (parent !== 0) for (let at = children[parent]!; at !== 0; at = siblings[at]!) if (classOf[at] === c) return at
    const made = stateCount++
    if (parent === 0) rootChildren[c] = made
    siblings[made] = children[parent]!
    children[parent] = made
    classOf[made] = c
    ends.push(undefined)
    return made
  }
  slots.forEach((literals, slot) => {
    for (const literal of literals) {
      let state = 0
      for (let i = 0; i < literal.length; i += 1) state = child(state, classes[lower(literal.charCodeAt(i)) & 255]!)
      const held = ends[state]
      if (held === undefined) ends[state] = [slot]
      else if (!held.includes(slot)) held.push(slot)
    }
  })

  // Level by level: a row is that of the longest other beginning that the state ends with, but for its own children. States are
  // stored multiplied by the class count; a state with outputs is stored negative, so that the loop of a scan has one test. Rows
  // are in the order of levels: those near the root, where a scan is most of the time, share few pages of memory.
  const table = new Int32Array(stateCount * classCount)
  /** Slots of the states that have any: `hits` from one place to another. A state without literals of its own shares its longest end's. */
  const hits: number[] = []
  const hitsFrom = new Int32Array(stateCount)
  const hitsTo = new Int32Array(stateCount)
  const fails = new Int32Array(stateCount)
  const queue = new Int32Array(stateCount)
  let queued = 1
  for (let place = 0; place < queued; place += 1) {
    const row = place * classCount
    const failRow = fails[place]! * classCount
    if (place !== 0) table.copyWithin(row, failRow, failRow + classCount)
    for (let at = children[queue[place]!]!; at !== 0; at = siblings[at]!) {
      const c = classOf[at]!
      const fail = place === 0 ? 0 : Math.abs(table[failRow + c]!) / classCount
      const own = ends[at]
      if (own === undefined) {
        hitsFrom[queued] = hitsFrom[fail]!
        hitsTo[queued] = hitsTo[fail]!
      } else {
        hitsFrom[queued] = hits.length
        for (const slot of own) hits.push(slot)
        for (let k = hitsFrom[fail]!; k < hitsTo[fail]!; k += 1) if (!own.includes(hits[k]!)) hits.push(hits[k]!)
        hitsTo[queued] = hits.length
      }
      table[row + c] = queued * classCount * (hitsFrom[queued] === hitsTo[queued] ? 1 : -1)
      fails[queued] = fail
      queue[queued++] = at
    }
  }
  const slotOf = Int32Array.from(hits)
  const words = (slots.length + 31) >>> 5

  /** The scan in which a state was met last: what it adds to the slots is added once. */
  const met = new Uint32Array(stateCount)
  let scans = 0

  return {
    words,
    scan(text) {
      let found: Uint32Array | undefined
      let state = 0
      scans = scans === 0xffff_ffff ? 1 : scans + 1
      if (scans === 1) met.fill(0)
      const { length } = text
      for (let i = 0; i < length; i += 1) {
        const code = text.charCodeAt(i)
        state = table[state + (code < 256 ? classes[code]! : 0)]!
        if (state < 0) {
          state = -state
          const number = state / classCount
          if (met[number] === scans) continue
          met[number] = scans
          found ??= new Uint32Array(words)
          const to = hitsTo[number]!
          for (let k = hitsFrom[number]!; k < to; k += 1) {
            const slot = slotOf[k]!
            found[slot >>> 5]! |= 1 << (slot & 31)
          }
        }
      }
      return found ?? NOTHING_FOUND
    },
    first(text) {
      let state = 0
      for (let i = 0; i < text.length; i += 1) {
        const code = text.charCodeAt(i)
        state = table[state + (code < 256 ? classes[code]! : 0)]!
        if (state < 0) return slotOf[hitsFrom[-state / classCount]!]!
      }
      return -1
    },
  }
}

const FREQUENT = ' etaoinsrhldcumfpgwybvkxjqz0123456789-.,/=_"'

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code
}

/** What a scan without any hit returns. */
export const NOTHING_FOUND: Uint32Array = new Uint32Array(0)

export function hasSlot(found: Uint32Array, slot: number): boolean {
  return ((found[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}
