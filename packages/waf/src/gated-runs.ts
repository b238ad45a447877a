/**
 * Rules one after the other whose first link needs a literal in its values: most of a rule set's. For most requests none of a whole
 * stretch of them has any, and that is known from a few words of bits. The same for rules of which it is remembered that they match none of the values: most of
 * what clients send comes again. Pure.
 */
import type { CompiledRule } from './rule.ts'
import { addSlot, type Slots } from './slots.ts'
import type { PairOfListAndChain, RequestState } from './state.ts'
import { addBit, type Bits, noBits } from './subject.ts'
import type { Part } from './variables.ts'

export interface GatedRun {
  /** The first rule behind it. */
  readonly end: number
  readonly parts: readonly WantedOfPart[]
  readonly wanted: readonly Wanted[]
}

/** Slots of the automaton that rules of the run wait for in the values of one pair. */
interface Wanted {
  readonly pair: PairOfListAndChain
  readonly slots: Slots
}

/** The same for all lists that have a part, with any chain. */
interface WantedOfPart {
  readonly part: Part
  readonly slots: Slots
}

/** Rules one after the other whose first links depend on nothing but the values that they look at. */
export interface SilentRun {
  /** The first rule behind it. */
  readonly end: number
  readonly parts: readonly { readonly part: Part; readonly links: Bits }[]
}

const LEAST_RULES = 3

/** For each rule: the run that begins with it, if one does. */
export function gatedRuns(rules: readonly CompiledRule[]): readonly (GatedRun | undefined)[] {
  const runs = new Array<GatedRun | undefined>(rules.length).fill(undefined)
  for (let from = 0; from < rules.length; from += 1) {
    let end = from
    while (end < rules.length && isGated(rules[end]!)) end += 1
    if (end - from >= LEAST_RULES) runs[from] = { end, ...wantedBy(rules.slice(from, end)) }
    from = end
  }
  return runs
}

/** For each rule: the run that begins with it, if one does. */
export function silentRuns(rules: readonly CompiledRule[]): readonly (SilentRun | undefined)[] {
  const runs = new Array<SilentRun | undefined>(rules.length).fill(undefined)
  for (let from = 0; from < rules.length; from += 1) {
    let end = from
    while (end < rules.length && mayBeSilent(rules[end]!)) end += 1
    if (end - from >= LEAST_RULES) runs[from] = { end, parts: linksOfParts(rules.slice(from, end)) }
    from = end
  }
  return runs
}

function mayBeSilent({ links: [first] }: CompiledRule): boolean {
  return first!.memoIndex >= 0 && first!.list !== undefined && !first!.list.volatile
}

function linksOfParts(rules: readonly CompiledRule[]): SilentRun['parts'] {
  const count = Math.max(...rules.map(({ links }) => links[0]!.memoIndex)) + 1
  const ofParts = new Map<Part, Bits>()
  for (const { links } of rules) {
    const { memoIndex, list } = links[0]!
    for (const part of list!.parts) {
      const bits = ofParts.get(part) ?? noBits(count)
      ofParts.set(part, bits)
      addBit(bits, memoIndex)
    }
  }
  return Array.from(ofParts, ([part, links]) => ({ part, links }))
}

/**
 * The first links of the run of which it is not remembered that they match none of the values; undefined: there are none.
 * @param into Is what is returned, and long enough for all links.
 */
export function liveLinks({ parts }: SilentRun, state: RequestState, into: Bits): Bits | undefined {
  let any = 0
  into.fill(0)
  for (let i = 0; i < parts.length; i += 1) {
    const { part, links } = parts[i]!
    const quiet = state.quietIn(part)
    for (let k = 0; k < links.length; k += 1) {
      const live = links[k]! & ~quiet[k]!
      into[k]! |= live
      any |= live
    }
  }
  return any === 0 ? undefined : into
}

function isGated({ gate, links }: CompiledRule): boolean {
  return gate === undefined && links[0]!.pair !== undefined
}

function wantedBy(rules: readonly CompiledRule[]): Pick<GatedRun, 'parts' | 'wanted'> {
  const ofPairs = new Map<PairOfListAndChain, number[]>()
  const ofParts = new Map<Part, number[]>()
  for (const { links } of rules) {
    const { pair, slot } = links[0]!
    addSlot(slotsOf(ofPairs, pair!), slot)
    for (const part of pair!.list.parts) addSlot(slotsOf(ofParts, part), slot)
  }
  return {
    parts: Array.from(ofParts, ([part, slots]) => ({ part, slots })),
    wanted: Array.from(ofPairs, ([pair, slots]) => ({ pair, slots })),
  }
}

function slotsOf<K>(wanted: Map<K, number[]>, key: K): number[] {
  const slots = wanted.get(key) ?? []
  wanted.set(key, slots)
  return slots
}

/**
 * What rules of the run have to wait for to be worth a look: the literals that values of this request have, whatever chain they go
 * through. Undefined where that is not known of all values.
 */
export function heldBy({ parts }: GatedRun, state: RequestState): Slots | undefined {
  let held: number[] | undefined
  for (let i = 0; i < parts.length; i += 1) {
    const { part, slots: wanted } = parts[i]!
    const { slots, strangers } = state.screenOf(part)
    if (strangers.length > 0) return undefined
    const words = Math.min(slots.length, wanted.length)
    for (let k = 0; k < words; k += 1) {
      const both = slots[k]! & wanted[k]!
      if (both === 0) continue
      held ??= []
      while (held.length <= k) held.push(0)
      held[k]! |= both
    }
  }
  return held ?? NOTHING
}

const NOTHING: Slots = []

/** None of its rules can match: what they wait for is in none of the values. */
export function isQuiet({ wanted }: GatedRun, state: RequestState): boolean {
  for (let i = 0; i < wanted.length; i += 1) {
    const { pair, slots } = wanted[i]!
    const found = state.foundIn(pair)
    if (found.length === 0) continue
    for (let k = 0; k < slots.length; k += 1) if ((found[k]! & slots[k]!) !== 0) return false
  }
  return true
}
