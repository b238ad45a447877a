/** A pattern as a program of threads over bytes (Thompson, CACM 11(6), 1968). */
import { DFA_PROGRAM_MAX } from '../limits.ts'
import type { Pattern } from './syntax.ts'

// Kinds of instruction.
export const SET = 0
export const SPLIT = 1
export const MATCH = 2
export const START = 3
export const END = 4
export const WORD = 5
export const NOT_WORD = 6

export interface Program {
  readonly kinds: readonly number[]
  readonly first: readonly number[]
  readonly second: readonly number[]
  readonly sets: readonly Uint8Array[]
  readonly start: number
  readonly exact: boolean
  readonly words: boolean
}

/** Repeat counts make the program too large. */
export class TooLarge extends Error {}

/** @throws {TooLarge} */
export function assemble(pattern: Pattern): Program {
  const kinds: number[] = []
  const first: number[] = []
  const second: number[] = []
  const sets: Uint8Array[] = []
  const byArray = new Map<Uint8Array, number>()
  const byMembers = new Map<string, number>()
  let exact = true
  let words = false

  const add = (kind: number, x: number, y: number): number => {
    if (kinds.length >= DFA_PROGRAM_MAX) throw new TooLarge()
    kinds.push(kind)
    first.push(x)
    second.push(y)
    return kinds.length - 1
  }
  const set = (members: Uint8Array, next: number): number => {
    let number = byArray.get(members)
    if (number === undefined) {
      const key = packed(members)
      number = byMembers.get(key) ?? sets.push(members) - 1
      byMembers.set(key, number)
      byArray.set(members, number)
    }
    return add(SET, next, number)
  }
  const star = (body: (loop: number) => number, next: number): number => {
    const loop = add(SPLIT, -1, next)
    first[loop] = body(loop)
    return loop
  }
  const emit = (node: Pattern, next: number): number => {
    switch (node.kind) {
      case 'set':
        return set(node.set, next)
      case 'group':
        return emit(node.item, next)
      case 'seq':
        return node.items.reduceRight((after, item) => emit(item, after), next)
      case 'alt':
        return node.items.map((item) => emit(item, next)).reduceRight((rest, entry) => add(SPLIT, entry, rest))
      case 'repeat': {
        const { item, min, max } = node
        let entry = next
        if (max === Number.POSITIVE_INFINITY) entry = star((loop) => emit(item, loop), next)
        else for (let i = min; i < max; i += 1) entry = add(SPLIT, emit(item, entry), next)
        for (let i = 0; i < min; i += 1) entry = emit(item, entry)
        return entry
      }
      case 'assert':
        words ||= node.what === 'word' || node.what === 'notWord'
        return add({ start: START, end: END, word: WORD, notWord: NOT_WORD }[node.what], next, -1)
      case 'look':
        exact = false
        return next
      case 'backref':
        exact = false
        return star((loop) => set(ANY, loop), next)
    }
  }
  const start = emit(pattern, add(MATCH, -1, -1))
  return { kinds, first, second, sets, start, exact, words }
}

/** A set of bytes as 16 characters of 16 bits. */
function packed(members: Uint8Array): string {
  let text = ''
  for (let at = 0; at < 256; at += 16) {
    let bits = 0
    for (let i = 0; i < 16; i += 1) bits |= members[at + i]! << i
    text += String.fromCharCode(bits)
  }
  return text
}

const ANY = new Uint8Array(256).fill(1)
