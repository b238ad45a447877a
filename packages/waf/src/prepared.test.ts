import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { automatonOf, buildTables } from './automaton.ts'
import { compileRules } from './compile.ts'
import { type PatternFacts, type Prepared, readPrepared, writePrepared } from './prepared.ts'
import { baseRuleSources, send } from './test-requests.ts'

const text = fc.string({ unit: 'binary', maxLength: 12 })
const literal = text.filter((one) => one !== '')
const facts: fc.Arbitrary<PatternFacts> = fc
  .tuple(fc.boolean(), fc.option(fc.array(literal, { maxLength: 4 }), { nil: undefined }), fc.nat(1_000))
  .map(([anchored, literals, charsMin]) => ({ anchored, literals, charsMin }))
const patterns = fc.array(fc.tuple(text, facts), { maxLength: 6 }).map((pairs) => new Map(pairs))
const tables = fc
  .tuple(fc.array(fc.array(literal, { maxLength: 3 }), { maxLength: 5 }), fc.constantFrom(0, 40, 10_000))
  .map(([slots, tableWordsMax]) => buildTables(slots, tableWordsMax))
const ANY = Array.from({ length: 2_000 }, (_, i) => String.fromCharCode((i * 7919) % 300)).join('')
const whole: fc.Arbitrary<Prepared> = fc.record({ patterns, tables }, { noNullPrototype: true })

test('property: what is written is read back, wherever the bytes lie', () => {
  fc.assert(
    fc.property(whole, fc.nat(5), (of, shift) => {
      const bytes = writePrepared(of)
      const moved = new Uint8Array(bytes.length + shift)
      moved.set(bytes, shift)
      assert.deepEqual(readPrepared(moved.subarray(shift)), of)
    }),
  )
})

test('property: other bytes are refused or read as some patterns, never with an error', () => {
  const spoilt = fc
    .tuple(whole, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), fc.nat(9))
    .map(([of, flips, cut]) => {
      const bytes = writePrepared(of)
      for (const [at, value] of flips) bytes[at % bytes.length] = value
      return bytes.subarray(0, bytes.length - cut)
    })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), spoilt), (bytes) => {
      const read = readPrepared(bytes)
      if (read === undefined) return
      for (const { literals } of read.patterns.values()) assert.ok(literals?.includes('') !== true)
      automatonOf(read.tables).scan(ANY)
      automatonOf(read.tables).first(ANY)
    }),
    { numRuns: 2_000 },
  )
})

test('rules compiled with what was prepared judge as without it, and prepare nothing again', () => {
  const sources = baseRuleSources()
  let prepared: Uint8Array | undefined
  const cold = compileRules(sources, { paranoia: 4, onPrepared: (bytes) => (prepared = bytes) })
  assert.ok(prepared)
  const warm = compileRules(sources, { paranoia: 4, prepared, onPrepared: () => assert.fail('prepared again') })
  for (const target of ['/', "/?q=1'+or+1=1--", '/?q=%3Cscript%3Ealert(1)', '/.git/config', '/?q=;cat+/etc/passwd'])
    assert.deepEqual(send(warm, { target }), send(cold, { target }))
  let again = false
  compileRules(sources, { paranoia: 4, prepared: prepared.subarray(1), onPrepared: () => (again = true) })
  assert.equal(again, true)
})
