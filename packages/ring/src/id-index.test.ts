import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { IdIndex, seek, seekNear } from './id-index.ts'

interface Entry {
  readonly high: number
  readonly low: number
  readonly idHigh: number
  readonly idLow: number
}

const keyOf = ({ high, low, idHigh, idLow }: Entry): string => [high, low, idHigh, idLow].join()

function found(index: IdIndex, high: number, low: number): string[] {
  const bucket = index.bucket(high)
  const ids: string[] = []
  assert.equal(seekNear(bucket, high, low), seek(bucket, high, low))
  for (let at = seek(bucket, high, low); bucket[at] === high && bucket[at + 1] === low; at += 4)
    ids.push([high, low, bucket[at + 2], bucket[at + 3]].join())
  return ids
}

function same(index: IdIndex, plain: ReadonlyMap<string, Entry>): void {
  assert.equal(index.size, plain.size)
  const byHash = Map.groupBy(plain.values(), ({ high, low }) => `${high},${low}`)
  for (const entries of byHash.values()) {
    const [{ high, low }] = entries as [Entry]
    assert.deepEqual(found(index, high, low).sort(), entries.map(keyOf).sort())
  }
}

const word = fc.oneof(
  fc.nat(3),
  fc.constantFrom(0, -1, -0x80000000, 0x7fffffff),
  fc.integer({ min: -0x80000000, max: 0x7fffffff }),
)
const entry = fc.record({ high: word, low: word, idHigh: word, idLow: word })

test('property: holds what a map holds, with hashes that meet; an index made before does not change', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), entry), { maxLength: 120 }), (steps) => {
      const plain = new Map<string, Entry>()
      let index = IdIndex.empty
      const before: [IdIndex, Map<string, Entry>][] = []
      for (const [add, one] of steps) {
        index = add ? index.with(one) : index.without(one)
        if (add) plain.set(keyOf(one), one)
        else plain.delete(keyOf(one))
        before.push([index, new Map(plain)])
      }
      for (const [held, wanted] of before) same(held, wanted)
    }),
    { numRuns: 60 },
  )
})

test('tens of thousands of entries are divided and joined again, also where all hashes are one', () => {
  const spread = (at: number): Entry => ({ high: Math.imul(at, 0x9e3779b1), low: at, idHigh: 1, idLow: at })
  const alike = (at: number): Entry => ({ high: 5, low: 5, idHigh: 0, idLow: at })
  for (const [make, count] of [
    [spread, 40_000],
    [alike, 2_000],
  ] as const) {
    const plain = new Map<string, Entry>()
    let index = IdIndex.empty
    for (let at = 0; at < count; at += 1) {
      index = index.with(make(at))
      plain.set(keyOf(make(at)), make(at))
    }
    same(index, plain)
    assert.equal(index.with(make(7)), index, 'what is there already changes nothing')
    assert.equal(index.without({ ...make(7), idHigh: 9 }), index, 'what is not there cannot be taken out')
    const whole = index
    for (let at = 0; at < count; at += 1) {
      if (at % 100 === 0) continue
      index = index.without(make(at))
      plain.delete(keyOf(make(at)))
    }
    same(index, plain)
    assert.equal(whole.size, count)
    for (let at = 0; at < count; at += 100) index = index.without(make(at))
    assert.equal(index.size, 0)
    assert.deepEqual(found(index, 5, 5), [])
  }
})
