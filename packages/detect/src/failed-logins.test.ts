import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SummaryMalformed } from './errors.ts'
import { FailedLogins } from './failed-logins.ts'
import type { Finding } from './types.ts'

const LIMITS = { perAccount: 10, perSource: 8, windowMs: 300_000 }
const NODES = ['n1', 'n2', 'n3', 'n4']
const T0 = 1_700_000_000_000

const make = (self: string): FailedLogins => new FailedLogins({ self, limits: LIMITS, rearmMs: 900_000 })
const failed = (source: string, account: string, atMs = T0) => ({ service: 'shop', source, account, atMs })

test('failures for one account from rotating sources, spread over four nodes, cross the limit of the ring', () => {
  const nodes = NODES.map(make)
  const findings: Finding[] = []
  for (let i = 0; i < 12; i += 1) findings.push(...nodes[i % 4]!.observe(failed(`198.51.100.${i}`, 'alice', T0 + i)))
  assert.equal(findings.length, 0, 'no node alone has seen enough')
  for (const [i, node] of nodes.entries()) {
    const summary = node.summary()
    if (i > 0) findings.push(...nodes[0]!.merge(NODES[i]!, summary as Uint8Array, T0 + 100))
  }
  assert.equal(findings.length, 1)
  assert.deepEqual(findings[0]?.subject, { kind: 'account', service: 'shop', value: 'alice' })
  assert.equal(findings[0]?.nodes, 4)
})

test('a finding comes once, and again only when it is re-armed', () => {
  const node = make('n1')
  const count = (from: number, atMs: number) =>
    Array.from({ length: 20 }, (_, i) => node.observe(failed('192.0.2.1', `user${from + i}`, atMs))).flat().length
  assert.equal(count(0, T0), 1)
  assert.equal(count(100, T0 + 60_000), 0)
  assert.equal(count(200, T0 + 1_000_000), 1)
})

test('failures older than the window do not count', () => {
  const node = make('n1')
  for (let i = 0; i < 7; i += 1) node.observe(failed('192.0.2.1', `u${i}`))
  assert.deepEqual(node.observe(failed('192.0.2.1', 'u8', T0 + 400_000)), [])
})

test('property: summaries may be lost, repeated and reordered; the sum is the same', () => {
  const events = fc.array(
    fc.record({ node: fc.nat({ max: 3 }), source: fc.constantFrom('192.0.2.1', '192.0.2.2'), offset: fc.nat({ max: 200_000 }) }),
    { maxLength: 40 },
  )
  fc.assert(
    fc.property(events, fc.infiniteStream(fc.nat({ max: 1_000 })), (list, order) => {
      const nodes = NODES.map(make)
      const summaries: [string, Uint8Array][] = []
      for (const { node, source, offset } of list) {
        nodes[node]!.observe(failed(source, 'x', T0 + offset))
        const summary = nodes[node]!.summary()
        if (summary !== undefined) summaries.push([NODES[node]!, summary])
      }
      // As many of its own as all others together: what they tell counts in full.
      const own = list.length
      const merged = (sequence: readonly [string, Uint8Array][]) => {
        const judge = new FailedLogins({
          self: 'judge',
          limits: {
            perAccount: 1e9,
            perSource: own + Math.max(1, list.filter(({ source }) => source === '192.0.2.1').length),
            windowMs: 300_000,
          },
          rearmMs: 1,
        })
        for (let i = 0; i < own; i += 1) judge.observe(failed('192.0.2.1', `own${i}`, T0 + 200_000))
        return sequence
          .flatMap(([node, summary]) => judge.merge(node, summary, T0 + 200_000))
          .filter(({ subject }) => subject.value === '192.0.2.1')
          .at(-1)?.count
      }
      const shuffled = summaries.map((entry) => ({ entry, at: order.next().value as number })).sort((a, b) => a.at - b.at)
      const again = [...shuffled, ...shuffled].map(({ entry }) => entry)
      assert.equal(merged(again), merged(summaries))
    }),
  )
})

test('a peer counts in its own name only: its own summary told back, or in another name, adds nothing of ours', () => {
  const [a, b] = [make('n1'), make('n2')] as const
  for (let i = 0; i < 5; i += 1) a.observe(failed('192.0.2.1', `u${i}`))
  const summary = a.summary() as Uint8Array
  assert.deepEqual(a.merge('n1', summary, T0), [])
  b.merge('n1', summary, T0)
  b.merge('n1', summary, T0)
  assert.deepEqual(b.observe(failed('192.0.2.1', 'u9')), [], 'six, not eleven')
})

/** What a node that lies tells: as many failures as it likes. */
function invented(source: string, count: number): Uint8Array {
  const bucket = Math.floor(T0 / 10_000)
  return new TextEncoder().encode(JSON.stringify([[JSON.stringify(['ip', source]), [[bucket, count]]]]))
}

test('a node that invents counts makes nobody accuse a source that it never saw fail', () => {
  const honest = make('n1')
  assert.deepEqual(honest.merge('liar', invented('192.0.2.1', 1_000_000), T0), [])
  const believed = make('n1')
  believed.merge('liar', invented('192.0.2.2', 7), T0)
  assert.equal(believed.observe(failed('192.0.2.2', 'u')).length, 0, 'one failure is one of its own and one that it may believe')
})

test('property: f nodes that invent counts lower the limit of an honest node to a part of f + 1 at most', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 4 }),
      fc.array(fc.nat({ max: 1_000_000 }), { maxLength: 20 }),
      fc.nat({ max: 12 }),
      (f, tales, failures) => {
        const honest = make('n1')
        for (const [i, count] of tales.entries()) if (f > 0) honest.merge(`liar${i % f}`, invented('192.0.2.1', count), T0)
        const found = Array.from({ length: failures }, (_, i) => honest.observe(failed('192.0.2.1', `u${i}`))).flat()
        const accused = found.some(({ subject }) => subject.kind === 'ip')
        assert.ok(!accused || failures * (f + 1) >= LIMITS.perSource)
      },
    ),
  )
})

test('an attack on one node alone is found there; the next node that it turns to needs half as much', () => {
  const [first, second] = [make('n1'), make('n2')] as const
  const found = Array.from({ length: 8 }, (_, i) => first.observe(failed('192.0.2.1', `u${i}`)))
  assert.deepEqual(
    found.map(({ length }) => length),
    [0, 0, 0, 0, 0, 0, 0, 1],
  )
  second.merge('n1', first.summary() as Uint8Array, T0)
  const then = Array.from({ length: 4 }, (_, i) => second.observe(failed('192.0.2.1', `v${i}`)))
  assert.deepEqual(
    then.map(({ length }) => length),
    [0, 0, 0, 1],
  )
})

test('clocks that differ by some seconds are tolerated; counts from far outside the window are not', () => {
  const [ahead, behind] = [make('n1'), make('n2')] as const
  for (let i = 0; i < 7; i += 1) ahead.observe(failed('192.0.2.1', `u${i}`, T0 + 8_000))
  behind.merge('n1', ahead.summary() as Uint8Array, T0)
  for (let i = 0; i < 3; i += 1) assert.deepEqual(behind.observe(failed('192.0.2.1', `w${i}`)), [])
  assert.equal(behind.observe(failed('192.0.2.1', 'z')).length, 1, 'four of its own and as many of the other’s')
  const liar = make('n3')
  for (let i = 0; i < 7; i += 1) liar.observe(failed('192.0.2.9', `u${i}`, T0 + 3_600_000))
  behind.merge('n3', liar.summary() as Uint8Array, T0)
  for (let i = 0; i < 7; i += 1) assert.deepEqual(behind.observe(failed('192.0.2.9', `z${i}`)), [])
})

test('property: garbage is refused as malformed, and nothing else is thrown', () => {
  const node = make('n1')
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.json().map((text) => new TextEncoder().encode(text)),
      ),
      (bytes) => {
        try {
          node.merge('n2', bytes, T0)
        } catch (error) {
          assert.ok(error instanceof SummaryMalformed, String(error))
        }
      },
    ),
  )
})

test('memory is bounded: more keys than the bound push out the oldest, and are counted', () => {
  const node = make('n1')
  for (let i = 0; i < 50_010; i += 1)
    node.observe({ service: 's', source: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, account: undefined, atMs: T0 })
  assert.equal(node.evicted, 10)
})
