import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CONDUCT, Conduct, type ConductName } from './conduct.ts'

const T0 = 1_800_000_000_000
const KINDS = Object.keys(CONDUCT) as ConductName[]

for (const kind of KINDS)
  test(`${kind}: ${CONDUCT[kind].limit === 1 ? 'a finding at once' : 'a note at first, a finding when it is a pattern'}, said once an hour`, () => {
    const conduct = new Conduct()
    const { limit } = CONDUCT[kind]
    const said = Array.from({ length: 3 * limit }, (_, at) => conduct.observe({ atMs: T0 + at, node: 'n3', kind })?.is)
    const findings = said.flatMap((is, at) => (is === 'finding' ? [at] : []))
    assert.equal(findings.length, 1)
    assert.ok(findings[0]! >= limit - 1 && findings[0]! <= limit)
    assert.equal(said[0], limit === 1 ? 'finding' : 'note')
    assert.equal(said.filter((is) => is === 'note').length, limit === 1 ? 0 : 1)
    assert.equal(conduct.observe({ atMs: T0 + 3_600_100, node: 'n3', kind, weight: limit })?.is, 'finding')
  })

test('one flipped bit now and then is a note, however long it goes on', () => {
  const conduct = new Conduct()
  for (let day = 0; day < 60; day += 1)
    for (const kind of ['shard', 'forged', 'malformed'] as const)
      assert.equal(conduct.observe({ atMs: T0 + day * 86_400_000, node: 'n3', kind })?.is, 'note')
})

test('of one node nothing is held against another; who does well begins anew', () => {
  const conduct = new Conduct()
  for (let at = 0; at < 8; at += 1) conduct.observe({ atMs: T0, node: 'n3', kind: 'silent' })
  assert.equal(conduct.observe({ atMs: T0, node: 'n2', kind: 'silent' })?.is, 'note')
  conduct.clear('n3', 'silent')
  assert.equal(conduct.observe({ atMs: T0, node: 'n3', kind: 'silent' }), undefined)
  for (let node = 0; node < 1_000; node += 1) conduct.observe({ atMs: T0, node: `x${node}`, kind: 'shard' })
  assert.equal(conduct.size, 256)
})

test('property: in whatever order times come, what is said is a note or a finding, and findings of a node and kind are an hour apart', () => {
  const seen = fc.record({ atMs: fc.integer({ min: 0, max: 20_000_000 }), kind: fc.constantFrom(...KINDS) })
  fc.assert(
    fc.property(fc.array(seen, { maxLength: 60 }), (all) => {
      const conduct = new Conduct()
      const last = new Map<string, number>()
      for (const { atMs, kind } of all) {
        const verdict = conduct.observe({ atMs: T0 + atMs, node: 'n1', kind })
        if (verdict?.is !== 'finding') continue
        assert.ok(Math.abs(atMs - (last.get(kind) ?? Number.NEGATIVE_INFINITY)) >= 3_600_000)
        assert.ok(verdict.times >= 1)
        last.set(kind, atMs)
      }
    }),
  )
})

test('a clock that was days ahead for a while neither keeps findings back nor makes counts last', () => {
  const conduct = new Conduct()
  const ahead = T0 + 5 * 86_400_000
  for (let at = 0; at < 4; at += 1) conduct.observe({ atMs: ahead + at, node: 'n3', kind: 'shard' })
  for (let at = 0; at < 7; at += 1) conduct.observe({ atMs: ahead + at, node: 'n3', kind: 'clock' })
  assert.equal(conduct.observe({ atMs: T0, node: 'n3', kind: 'clock' })?.is, 'note')
  for (let at = 1; at < 6; at += 1)
    assert.notEqual(conduct.observe({ atMs: T0 + at * 600_000, node: 'n3', kind: 'clock' })?.is, 'finding')
  assert.equal(conduct.observe({ atMs: T0, node: 'n3', kind: 'shard', weight: 3 })?.is, 'finding')
})
