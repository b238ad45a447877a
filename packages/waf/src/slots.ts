/**
 * A set of slots of an automaton, 32 to a number; those behind the last number are not in it. As plain numbers, since each value of a request has some of
 * them, and an array with memory of its own costs more than what is in it.
 */
export type Slots = readonly number[]

/** Shared. */
export const NO_SLOTS: Slots = []

export function hasSlot(slots: Slots, slot: number): boolean {
  return ((slots[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
}

export function addSlot(slots: number[], slot: number): void {
  while (slots.length <= slot >>> 5) slots.push(0)
  slots[slot >>> 5]! |= 1 << (slot & 31)
}

export function addSlots(slots: number[], more: ArrayLike<number>): void {
  while (slots.length < more.length) slots.push(0)
  for (let i = 0; i < more.length; i += 1) slots[i]! |= more[i]!
}

export function haveCommonSlot(some: Slots, others: Slots): boolean {
  const words = Math.min(some.length, others.length)
  for (let i = 0; i < words; i += 1) if ((some[i]! & others[i]!) !== 0) return true
  return false
}
