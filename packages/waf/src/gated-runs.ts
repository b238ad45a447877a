/**
 * Rules one after the other whose first link needs a literal in its values: most of a rule set's. For most requests none of a whole
 * stretch of them has any, and that is known from a few words of bits. Pure.
 */
import type { CompiledRule } from './rule.ts'
import type { PairOfListAndChain, RequestState } from './state.ts'

export interface GatedRun {
  /** The first rule behind it. */
  readonly end: number
  readonly wanted: readonly Wanted[]
}

/** Slots of the automaton that rules of the run wait for in the values of one pair. */
interface Wanted {
  readonly pair: PairOfListAndChain
  /** A place among the words of what was found, and the bits of it, in turn. */
  readonly words: Int32Array
}

const LEAST_RULES = 3

/** For each rule: the run that begins with it, if one does. */
export function gatedRuns(rules: readonly CompiledRule[]): readonly (GatedRun | undefined)[] {
  const runs = new Array<GatedRun | undefined>(rules.length).fill(undefined)
  for (let from = 0; from < rules.length; from += 1) {
    let end = from
    while (end < rules.length && isGated(rules[end]!)) end += 1
    if (end - from >= LEAST_RULES) runs[from] = { end, wanted: wantedBy(rules.slice(from, end)) }
    from = end
  }
  return runs
}

function isGated({ gate, links }: CompiledRule): boolean {
  return gate === undefined && links[0]!.pair !== undefined
}

function wantedBy(rules: readonly CompiledRule[]): readonly Wanted[] {
  const bits = new Map<PairOfListAndChain, Map<number, number>>()
  for (const { links } of rules) {
    const { pair, slot } = links[0]!
    const words = bits.get(pair!) ?? new Map<number, number>()
    bits.set(pair!, words.set(slot >>> 5, (words.get(slot >>> 5) ?? 0) | (1 << (slot & 31))))
  }
  return Array.from(bits, ([pair, words]) => ({ pair, words: Int32Array.from([...words].flat()) }))
}

/** None of its rules can match: what they wait for is in none of the values. */
export function isQuiet({ wanted }: GatedRun, state: RequestState): boolean {
  for (let i = 0; i < wanted.length; i += 1) {
    const { pair, words } = wanted[i]!
    const found = state.foundIn(pair)
    if (found.length === 0) continue
    for (let k = 0; k < words.length; k += 2) if ((found[words[k]!]! & words[k + 1]!) !== 0) return false
  }
  return true
}
