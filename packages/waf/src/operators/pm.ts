/** `@pm`: any of several words, case ignored, by one automaton (Aho and Corasick, "Efficient string matching", 1975). */
import type { Test } from './index.ts'

interface State {
  readonly next: Map<number, number>
  fail: number
  /** Index of the word that ends here, or -1. */
  word: number
}

export function pm(words: readonly string[]): Test {
  const lower = words.map((word) => word.toLowerCase())
  const states = build(lower)
  return (value) => {
    const text = value.toLowerCase()
    let at = 0
    for (let i = 0; i < text.length; i += 1) {
      const code = text.charCodeAt(i)
      let next = (states[at] as State).next.get(code)
      while (next === undefined && at !== 0) {
        at = (states[at] as State).fail
        next = (states[at] as State).next.get(code)
      }
      at = next ?? 0
      const { word } = states[at] as State
      if (word !== -1) return [lower[word] as string]
    }
    return undefined
  }
}

function build(words: readonly string[]): readonly State[] {
  const states: State[] = [{ next: new Map(), fail: 0, word: -1 }]
  for (const [index, word] of words.entries()) {
    let at = 0
    for (let i = 0; i < word.length; i += 1) {
      const code = word.charCodeAt(i)
      let next = (states[at] as State).next.get(code)
      if (next === undefined) {
        next = states.length
        states.push({ next: new Map(), fail: 0, word: -1 })
        ;(states[at] as State).next.set(code, next)
      }
      at = next
    }
    ;(states[at] as State).word = index
  }
  const queue = [...(states[0] as State).next.values()]
  for (let head = 0; head < queue.length; head += 1) {
    const at = queue[head] as number
    for (const [code, next] of (states[at] as State).next) {
      let back = (states[at] as State).fail
      while (back !== 0 && !(states[back] as State).next.has(code)) back = (states[back] as State).fail
      const target = (states[back] as State).next.get(code) ?? 0
      ;(states[next] as State).fail = target === next ? 0 : target
      if ((states[next] as State).word === -1) (states[next] as State).word = (states[(states[next] as State).fail] as State).word
      queue.push(next)
    }
  }
  return states
}
