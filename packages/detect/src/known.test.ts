import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Known, type KnownEntry } from './known.ts'
import { hashText } from './signal.ts'

const DAY = 86_400_000
const entry = (text: string): KnownEntry => [hashText(text), hashText(text, 7)]
const make = (entriesMax = 10_000): Known => new Known({ entriesMax, spanMs: 30 * DAY })

test('property: nothing that was added is missed, here or told, in whatever order', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 200 }), fc.array(fc.string(), { maxLength: 200 }), (own, others) => {
      const [one, other] = [make(), make()]
      for (const text of own) one.add(entry(text), DAY)
      for (const text of others) other.add(entry(text), DAY)
      const news = other.news()
      one.merge('other', news, DAY)
      one.merge('other', news, DAY)
      for (const text of [...own, ...others]) assert.ok(one.has(entry(text)))
    }),
    { numRuns: 50 },
  )
})

test('one in 600 of what was never added is taken for known when both halves are full', () => {
  const known = make()
  for (let at = 0; at < 20_000; at += 1) known.add(entry(`in ${at}`), DAY)
  let wrong = 0
  for (let at = 0; at < 60_000; at += 1) if (known.has(entry(`out ${at}`))) wrong += 1
  assert.ok(wrong > 0 && wrong < 200, `${wrong} of 60,000`)
})

test('what was not seen for its span is forgotten; for half of it, it is not', () => {
  const known = make()
  known.add(entry('old'), DAY)
  known.add(entry('other'), 17 * DAY)
  assert.ok(known.has(entry('old')))
  known.add(entry('third'), 33 * DAY)
  assert.ok(!known.has(entry('old')))
  assert.ok(known.has(entry('other')))
})

test('a node that lies adds a sixteenth of it and no more', () => {
  const known = make(1_600)
  const lies = Array.from({ length: 5_000 }, (_, at) => entry(`lie ${at}`))
  known.merge('liar', lies, DAY)
  assert.ok(lies.slice(0, 100).every((lie) => known.has(lie)))
  const taken = lies.slice(200).filter((lie) => known.has(lie)).length
  assert.ok(taken < 50, `${taken} beyond`)
})

test('what is known already is not told again', () => {
  const known = make()
  known.add(entry('a'), DAY)
  known.add(entry('a'), DAY + 1)
  assert.equal(known.news().length, 1)
  assert.equal(known.news().length, 0)
})
