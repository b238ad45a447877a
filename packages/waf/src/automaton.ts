/**
 * One pass over a text that says which of many literals occur in it (Aho and Corasick, CACM 18(6), 1975), as a dense table
 * over the few character classes that the literals use. Case of A-Z is ignored. Characters above 255 match nothing.
 */
export interface Automaton {
  /** Bit sets are this many 32-bit words. */
  readonly words: number
  /** Sets the bit of every slot that has a literal in `text`. Returns `NOTHING_FOUND`, shared, when there is none. */
  scan(text: string): Uint32Array
}

/** @param slots For each slot, literals of which any one sets its bit. None may be empty. */
export function buildAutomaton(slots: readonly (readonly string[])[]): Automaton {
  const classes = new Uint8Array(256)
  let classCount = 1
  for (const literals of slots) {
    for (const literal of literals) {
      if (literal === '') throw new Error('an empty literal hits every text')
      for (const char of literal.toLowerCase()) {
        const code = char.charCodeAt(0)
        if (code < 256 && classes[code] === 0) classes[code] = classCount++
      }
    }
  }
  for (let code = 65; code <= 90; code += 1) classes[code] = classes[code + 32]!

  const next: number[] = new Array<number>(classCount).fill(-1)
  const ends: Set<number>[] = [new Set()]
  slots.forEach((literals, slot) => {
    for (const literal of literals) {
      let state = 0
      for (let i = 0; i < literal.length; i += 1) {
        const edge = state * classCount + classes[literal.charCodeAt(i) & 255]!
        if (next[edge] === -1) {
          next[edge] = ends.length
          ends.push(new Set())
          for (let c = 0; c < classCount; c += 1) next.push(-1)
        }
        state = next[edge]!
      }
      ends[state]!.add(slot)
    }
  })

  const fails = new Int32Array(ends.length)
  const queue: number[] = []
  for (let c = 0; c < classCount; c += 1) {
    if (next[c] === -1) next[c] = 0
    else queue.push(next[c]!)
  }
  for (let head = 0; head < queue.length; head += 1) {
    const state = queue[head]!
    const fail = fails[state]!
    for (const slot of ends[fail]!) ends[state]!.add(slot)
    for (let c = 0; c < classCount; c += 1) {
      const edge = state * classCount + c
      const fallback = next[fail * classCount + c]!
      if (next[edge] === -1) next[edge] = fallback
      else {
        fails[next[edge]!] = fallback
        queue.push(next[edge]!)
      }
    }
  }

  // States are stored multiplied by the class count; a state with outputs is stored negative, so the loop has one test.
  const table = Int32Array.from(next, (state) => (ends[state]!.size > 0 ? -state * classCount : state * classCount))
  const outputs = ends.map((set) => (set.size > 0 ? Int32Array.from(set) : NO_SLOTS))
  const words = (slots.length + 31) >>> 5

  return {
    words,
    scan(text) {
      let found: Uint32Array | undefined
      let state = 0
      for (let i = 0; i < text.length; i += 1) {
        const code = text.charCodeAt(i)
        state = table[state + (code < 256 ? classes[code]! : 0)]!
        if (state < 0) {
          state = -state
          found ??= new Uint32Array(words)
          for (const slot of outputs[state / classCount]!) found[slot >>> 5]! |= 1 << (slot & 31)
        }
      }
      return found ?? NOTHING_FOUND
    },
  }
}

const NO_SLOTS = new Int32Array(0)

/** What a scan without any hit returns. */
export const NOTHING_FOUND: Uint32Array = new Uint32Array(0)

export function hasSlot(found: Uint32Array, slot: number): boolean {
  return ((found[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}
