import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { automatonOf, buildTables } from './automaton.ts'
import { LongText } from './long-text.ts'
import { hasSlot } from './slots.ts'

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

test('property: a text that is scanned in parts has the slots that it has otherwise', () => {
  const literal = fc.string({ unit: fc.constantFrom('a', 'b', 'c', "'"), minLength: 1, maxLength: 9 })
  const piece = fc.tuple(literal, fc.nat(6)).map(([text, times]) => text.repeat(times))
  const texts = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
  const sets = fc.array(fc.array(literal, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 40 })
  let slotsFound = 0
  fc.assert(
    fc.property(
      sets,
      fc.array(texts, { maxLength: 4 }),
      fc.constantFrom(0, 12, 60, 1_000_000),
      (slots, subjects, tableWordsMax) => {
        const automaton = automatonOf(buildTables(slots, tableWordsMax), 0)
        const other = automatonOf(buildTables(slots, tableWordsMax))
        for (const text of [...subjects, ...subjects]) {
          const found = [...other.scan(text)]
          slotsFound += found.length
          assert.deepEqual([...automaton.scan(text, new LongText(text))], found, `${JSON.stringify(slots)} in ${text}`)
        }
      },
    ),
    { numRuns: 3_000 },
  )
  assert.ok(slotsFound > 5_000)
})

test('a scan in parts takes steps in proportion to the length too, and characters above 255 match nothing', () => {
  const literals = [`${'a'.repeat(400)}b`, `${'a'.repeat(200)}c`]
  const automaton = automatonOf(buildTables([literals], 0), 0)
  const deep = `${'a'.repeat(399)}d`.repeat(2_000)
  assert.equal(automaton.scan(deep, new LongText(deep)).length, 0)
  const found = `${deep}${literals[1]}`
  assert.ok(hasSlot(automaton.scan(found, new LongText(found)), 0))
  const high = `${'a'.repeat(200)}\u0163`
  assert.equal(automaton.scan(high, new LongText(high)).length, 0)
})
