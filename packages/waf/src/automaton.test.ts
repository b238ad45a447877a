import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { automatonOf, buildTables, hasSlot } from './automaton.ts'

test('property: a slot is set when one of its literals occurs, in any case, and only then', () => {
  const literal = fc.string({ unit: fc.constantFrom('a', 'b', 'c', "'", '\xe9'), minLength: 1, maxLength: 4 })
  const subject = fc.string({ unit: fc.constantFrom('a', 'B', 'b', 'C', 'c', "'", '\xe9', '\u20ac'), maxLength: 20 })
  const sets = fc.array(fc.array(literal, { minLength: 1, maxLength: 3 }), { maxLength: 40 })
  fc.assert(
    // With a row for the root alone, for some states, for all.
    fc.property(sets, subject, fc.constantFrom(0, 12, 1_000_000), (slots, text, tableWordsMax) => {
      const automaton = automatonOf(buildTables(slots, tableWordsMax))
      const found = automaton.scan(text)
      const ends: number[] = []
      slots.forEach((literals, slot) => {
        const places = literals.map((wanted) => text.toLowerCase().indexOf(wanted) + wanted.length)
        const expected = literals.some((wanted) => text.toLowerCase().includes(wanted))
        assert.equal(hasSlot(found, slot), expected, `slot ${slot}: ${literals.join(' ')} in ${text}`)
        ends[slot] = Math.min(...literals.map((wanted, i) => (text.toLowerCase().includes(wanted) ? places[i]! : Infinity)))
      })
      const first = automaton.first(text)
      const least = Math.min(...ends, Infinity)
      if (least === Infinity) assert.equal(first, -1)
      else assert.equal(ends[first], least, `slot ${first} in ${text}`)
    }),
    { numRuns: 4_000 },
  )
})

test('a scan of a text that goes deep again and again takes steps in proportion to its length', () => {
  const literals = [`${'a'.repeat(400)}b`, `${'a'.repeat(200)}c`]
  const automaton = automatonOf(buildTables([literals], 0))
  assert.equal(automaton.scan(`${'a'.repeat(399)}d`.repeat(2_000)).length, 0)
  assert.equal(automaton.first(`${'a'.repeat(1_000_000)}b`), 0)
})
