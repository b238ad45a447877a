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
  const classes = new Uint8Array(256)
  let classCount = 1
  let chars = 1
  for (const literals of slots) {
    for (const literal of literals) {
      if (literal === '') throw new Error('an empty literal hits every text')
      chars += literal.length
      for (let i = 0; i < literal.length; i += 1) {
        const code = lower(literal.charCodeAt(i))
        if (code < 256 && classes[code] === 0) classes[code] = classCount++
      }
    }
  }
  for (let code = 65; code <= 90; code += 1) classes[code] = classes[code + 32]!

  // One state a character at most; the table is cut to what is used.
  let next = new Int32Array(Math.min(chars, 4_096) * classCount).fill(-1)
  let stateCount = 1
  const ends: (number[] | undefined)[] = [undefined]
  slots.forEach((literals, slot) => {
    for (const literal of literals) {
      let state = 0
      for (let i = 0; i < literal.length; i += 1) {
        const edge = state * classCount + classes[lower(literal.charCodeAt(i)) & 255]!
        let target = next[edge]!
        if (target === -1) {
          target = stateCount++
          if (stateCount * classCount > next.length) {
            const larger = new Int32Array(next.length * 2).fill(-1)
            larger.set(next)
            next = larger
          }
          next[edge] = target
          ends.push(undefined)
        }
        state = target
      }
      const held = ends[state]
      if (held === undefined) ends[state] = [slot]
      else if (!held.includes(slot)) held.push(slot)
    }
  })

  const fails = new Int32Array(stateCount)
  const queue = new Int32Array(stateCount)
  let queued = 0
  for (let c = 0; c < classCount; c += 1) {
    if (next[c] === -1) next[c] = 0
    else queue[queued++] = next[c]!
  }
  for (let head = 0; head < queued; head += 1) {
    const state = queue[head]!
    const fail = fails[state]!
    const inherited = ends[fail]
    if (inherited !== undefined) {
      const own = ends[state]
      ends[state] = own === undefined ? inherited : [...own, ...inherited.filter((slot) => !own.includes(slot))]
    }
    const row = state * classCount
    const failRow = fail * classCount
    for (let c = 0; c < classCount; c += 1) {
      const target = next[row + c]!
      if (target === -1) next[row + c] = next[failRow + c]!
      else {
        fails[target] = next[failRow + c]!
        queue[queued++] = target
      }
    }
  }

  // States are stored multiplied by the class count; a state with outputs is stored negative, so the loop has one test.
  const table = next.slice(0, stateCount * classCount)
  for (let i = 0; i < table.length; i += 1) {
    const state = table[i]!
    table[i] = ends[state] === undefined ? state * classCount : -state * classCount
  }
  const outputs = ends.map((held) => (held === undefined ? NO_SLOTS : Int32Array.from(held)))
  const words = (slots.length + 31) >>> 5

  /** The scan in which a state was met last: what it adds to the slots is added once. */
  const met = new Uint32Array(outputs.length)
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

function lower(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code
}

const NO_SLOTS = new Int32Array(0)

/** What a scan without any hit returns. */
export const NOTHING_FOUND: Uint32Array = new Uint32Array(0)

export function hasSlot(found: Uint32Array, slot: number): boolean {
  return ((found[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}
