import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryMalformed } from './errors.ts'
import { KeptReader, KeptWriter } from './kept.ts'
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

const kept = (known: Known) =>
  [...known.memory((kind) => new KeptWriter().u8(kind === 'known' ? 0 : 1))].map((piece) => Uint8Array.from(piece))
function takenUp(pieces: readonly Uint8Array[], keptMs: number, nowMs: number, into = make()): Known {
  for (const piece of pieces) {
    const from = new KeptReader(piece)
    into.restore(from.u8('kind') === 0 ? 'known' : 'block', from, { keptMs, nowMs, learnMs: DAY })
    from.end()
  }
  return into
}

test('property: what is kept is known again, few or many, and keeps the same', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1, maxLength: 100 }), fc.integer({ min: 0, max: 12_000 }), (texts, more) => {
      const known = make()
      for (const text of texts) known.add(entry(text), DAY)
      for (let at = 0; at < more; at += 1) known.add(entry(`more ${at}`), 20 * DAY)
      const pieces = kept(known)
      const other = takenUp(pieces, 20 * DAY, 20 * DAY)
      for (const text of texts) assert.equal(other.has(entry(text)), known.has(entry(text)))
      assert.deepEqual(kept(other).slice(1), pieces.slice(1))
      assert.equal(other.sinceMs, 20 * DAY - DAY)
    }),
    { numRuns: 20 },
  )
})

test('away for a while it has as long yet to learn, a day at most; what it began to learn is not learned by being away', () => {
  const known = make()
  known.add(entry('a'), DAY)
  const pieces = kept(known)
  const learned = (keptMs: number, nowMs: number): number => nowMs - takenUp(pieces, keptMs, nowMs).sinceMs
  assert.equal(learned(10 * DAY, 10 * DAY + 60_000), DAY - 60_000)
  assert.equal(learned(10 * DAY, 15 * DAY), 0)
  assert.equal(learned(10 * DAY, 8 * DAY), 0, 'a clock that was set back')
  assert.equal(learned(DAY + 3_600_000, DAY + 3_660_000), 3_600_000 - 60_000)
})

test('what is another size, twice, beyond its block or cut is refused', () => {
  const known = make()
  for (let at = 0; at < 3_000; at += 1) known.add(entry(`${at}`), DAY)
  const [head, ...blocks] = kept(known)
  const read = (pieces: readonly Uint8Array[], into?: Known) => takenUp(pieces, DAY, DAY, into)
  read([head!, ...blocks])
  for (const wrong of [
    [head!, head!],
    blocks,
    [head!, blocks[0]!, blocks[0]!],
    [head!, blocks[0]!.subarray(0, 900)],
    [head!, Uint8Array.from([1, 0, 0, 200, 0])],
    [head!, Uint8Array.from([1, 0, 0, 0, 0, 0xff, 0xff, 0x7f, 0])],
    [head!, Uint8Array.from([1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1, 0])],
  ])
    assert.throws(() => read(wrong), MemoryMalformed)
  assert.throws(() => read([head!], make(77)), MemoryMalformed)
})

test('after a clock that was a year ahead it learns within a day, and what is known is forgotten in time', () => {
  const known = make()
  known.add(entry('ahead'), 400 * DAY)
  known.add(entry('now'), 35 * DAY)
  assert.equal(known.sinceMs, 35 * DAY)
  known.add(entry('later'), 51 * DAY)
  known.add(entry('more'), 67 * DAY)
  assert.ok(!known.has(entry('now')))
})
