import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RecentDistinct, SAMPLE_MAX } from './recent-distinct.ts'
import { hashText } from './signal.ts'

type Seen = readonly (readonly [hash: number, atMs: number])[]

const things = (max: number) =>
  fc.array(fc.tuple(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 1, max: 1_000 })), { maxLength: max })

function of(seen: Seen): RecentDistinct {
  const distinct = new RecentDistinct()
  for (const [hash, atMs] of seen) distinct.add(hash, atMs)
  return distinct
}

const joined = (...all: readonly RecentDistinct[]): RecentDistinct => {
  const sum = new RecentDistinct()
  for (const one of all) sum.join(one)
  return sum
}

const content = (distinct: RecentDistinct): unknown => [distinct.level, [...distinct.hashes()].sort((a, b) => a - b)]

test('property: the union is associative, commutative and idempotent, and that of parts is what one alone would have seen', () => {
  fc.assert(
    fc.property(things(400), things(400), things(200), (a, b, c) => {
      const all = content(of([...a, ...b, ...c]))
      assert.deepEqual(content(joined(of(a), of(b), of(c))), all)
      assert.deepEqual(content(joined(of(c), joined(of(b), of(a)))), all)
      const twice = joined(of(a), of(b))
      twice.join(of(b))
      assert.deepEqual(content(twice), content(of([...a, ...b])))
    }),
    { numRuns: 60 },
  )
})

test('property: exact for as many as the sample holds', () => {
  fc.assert(
    fc.property(things(SAMPLE_MAX), (seen) => {
      assert.equal(of(seen).count, new Set(seen.map(([hash]) => hash)).size)
    }),
    { numRuns: 60 },
  )
})

test('off by less than three standard errors of 7.5 % for a thousand to a hundred thousand, and never holds more than its sample', () => {
  for (const count of [1_000, 10_000, 100_000]) {
    for (let run = 0; run < 5; run += 1) {
      const distinct = of(Array.from({ length: count }, (_, at) => [hashText(`thing ${run} ${at}`), at] as const))
      assert.ok(Math.abs(distinct.count - count) < 3 * 0.075 * count, `${distinct.count} for ${count}`)
      assert.ok(distinct.hashes().length <= SAMPLE_MAX)
    }
  }
})

test('what was not seen since leaves; seen again it stays', () => {
  const distinct = of([
    [1, 10],
    [2, 20],
    [3, 30],
    [1, 40],
  ])
  distinct.expire(25)
  assert.deepEqual(distinct.hashes(), [3, 1])
  distinct.expire(100)
  assert.equal(distinct.count, 0)
})
