import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildAutomaton, hasSlot } from './automaton.ts'

test('property: a slot is set when one of its literals occurs, in any case, and only then', () => {
  const literal = fc.string({ unit: fc.constantFrom('a', 'b', 'c', "'", '\xe9'), minLength: 1, maxLength: 4 })
  const subject = fc.string({ unit: fc.constantFrom('a', 'B', 'b', 'C', 'c', "'", '\xe9', '\u20ac'), maxLength: 20 })
  fc.assert(
    fc.property(fc.array(fc.array(literal, { minLength: 1, maxLength: 3 }), { maxLength: 40 }), subject, (slots, text) => {
      const found = buildAutomaton(slots).scan(text)
      slots.forEach((literals, slot) => {
        const expected = literals.some((wanted) => text.toLowerCase().includes(wanted))
        assert.equal(hasSlot(found, slot), expected, `slot ${slot}: ${literals.join(' ')} in ${text}`)
      })
    }),
    { numRuns: 2_000 },
  )
})
