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
  const outputs: Int32Array[] = [NO_SLOTS]
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
      const inherited = outputs[fail]!
      const all = own === undefined ? inherited : withOwn(own, inherited)
      table[row + c] = queued * classCount * (all.length === 0 ? 1 : -1)
      fails[queued] = fail
      outputs.push(all)
      queue[queued++] = at
    }
  }
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
          const hits = outputs[number]!
          for (let k = 0; k < hits.length; k += 1) {
            const slot = hits[k]!
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
        if (state < 0) return outputs[-state / classCount]![0]!
      }
      return -1
    },
  }
}

const FREQUENT = ' etaoinsrhldcumfpgwybvkxjqz0123456789-.,/=_"'

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code
}

function withOwn(own: readonly number[], inherited: Int32Array): Int32Array {
  return inherited.length === 0 ? Int32Array.from(own) : Int32Array.from(new Set([...own, ...inherited]))
}

const NO_SLOTS = new Int32Array(0)

/** What a scan without any hit returns. */
export const NOTHING_FOUND: Uint32Array = new Uint32Array(0)

export function hasSlot(found: Uint32Array, slot: number): boolean {
  return ((found[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}
