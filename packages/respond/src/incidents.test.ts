import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { FindingRecord } from './finding.ts'
import { Findings, type NewFinding } from './findings.ts'
import { correlate } from './incidents.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const T0 = 1_800_000_000_000

const found = (more: Partial<NewFinding> = {}): NewFinding => ({
  atMs: T0,
  detector: 'scanning',
  attack: ['T1595.003'],
  service: 'shop',
  subject: { kind: 'source', value: '203.0.113.7' },
  sources: ['203.0.113.7'],
  reason: 'asks for many paths',
  denied: false,
  ...more,
})

const node = (self: string, ...all: readonly NewFinding[]): Findings => {
  const findings = new Findings({ self, keepMs: 30 * DAY })
  for (const one of all) findings.add(one)
  return findings
}

/** Each hears all of the others. */
function told(...nodes: readonly Findings[]): void {
  for (const [at, from] of nodes.entries()) {
    const summary = from.summary()
    if (summary !== undefined) for (const to of nodes) to.merge(`n${at + 1}`, summary, T0 + DAY)
  }
}

test('one source, three nodes, two detectors: one incident with a timeline, what says the same counted', () => {
  const other = found({ detector: 'stuffing', attack: ['T1110.004'], atMs: T0 + 2 * HOUR })
  const nodes = [node('n1', found(), found({ atMs: T0 + HOUR })), node('n2', found({ atMs: T0 + 5 }), other), node('n3', other)]
  told(...nodes)
  const [incident, ...more] = correlate(nodes[2]!.all())
  assert.deepEqual(more, [])
  assert.equal(incident!.timeline.length, 2)
  assert.equal(incident!.duplicates, 3)
  assert.deepEqual(incident!.nodes, ['n1', 'n2', 'n3'])
  assert.deepEqual(incident!.detectors, ['scanning', 'stuffing'])
  assert.equal(incident!.severity, 'medium')
  assert.deepEqual(
    nodes.map((one) => correlate(one.all())),
    nodes.map(() => [incident]),
    'every node tells the same',
  )
})

test('of one campaign: other sources within the hour, the same kind of attack on the same service; not another service, another kind, or much later', () => {
  const from = (value: string, more: Partial<NewFinding> = {}): NewFinding =>
    found({ subject: { kind: 'source', value }, sources: [value], ...more })
  const count = (...all: readonly NewFinding[]): number => correlate(node('n1', ...all).all()).length
  assert.equal(
    count(from('192.0.2.1'), from('192.0.2.2', { atMs: T0 + 50 * MINUTE }), from('192.0.2.3', { atMs: T0 + 100 * MINUTE })),
    1,
  )
  assert.equal(count(from('192.0.2.1'), from('192.0.2.2', { service: 'mail' })), 2)
  assert.equal(count(from('192.0.2.1'), from('192.0.2.2', { attack: ['T1110'] })), 2)
  assert.equal(count(from('192.0.2.1'), from('192.0.2.2', { atMs: T0 + 2 * HOUR })), 2)
})

test('what links two incidents makes them one', () => {
  const account = { kind: 'account', value: 'a'.repeat(32) } as const
  const all = [
    found({ sources: ['192.0.2.1'], subject: account, attack: ['T1110.003'], detector: 'slow' }),
    found({
      sources: [],
      subject: { kind: 'session', value: 'b'.repeat(32) },
      attack: ['T1550.001'],
      detector: 'replay',
      atMs: T0 + HOUR,
    }),
  ]
  assert.equal(correlate(node('n1', ...all).all()).length, 2)
  const link = found({
    subject: { kind: 'session', value: 'b'.repeat(32) },
    sources: ['192.0.2.1'],
    attack: ['T1078'],
    detector: 'takeover',
    atMs: T0 + 2 * HOUR,
  })
  const [incident, ...more] = correlate(node('n1', ...all, link).all())
  assert.deepEqual(more, [])
  assert.equal(incident!.severity, 'high', 'somebody is inside')
})

const finding = fc.record({
  atMs: fc.integer({ min: T0, max: T0 + 20 * HOUR }),
  detector: fc.constantFrom('a', 'b'),
  value: fc.constantFrom('192.0.2.1', '192.0.2.2', '192.0.2.3'),
})

test('property: in whatever order and how often findings are told, all nodes end with the same', () => {
  fc.assert(
    fc.property(
      fc.array(finding, { maxLength: 20 }),
      fc.array(finding, { maxLength: 20 }),
      fc.array(fc.nat(3), { maxLength: 12 }),
      (one, two, order) => {
        const given = (all: readonly { atMs: number; detector: string; value: string }[]): readonly NewFinding[] =>
          all.map(({ atMs, detector, value }) => found({ atMs, detector, subject: { kind: 'source', value }, sources: [value] }))
        const [a, b] = [node('n1', ...given(one)), node('n2', ...given(two))]
        const [ofA, ofB] = [a.summary(), b.summary()]
        const late = new Findings({ self: 'n3', keepMs: 30 * DAY })
        for (const turn of [...order, 0, 1]) {
          if (turn % 2 === 0 && ofA !== undefined) late.merge('n1', ofA, T0 + DAY)
          if (turn % 2 === 1 && ofB !== undefined) late.merge('n2', ofB, T0 + DAY)
        }
        if (ofA !== undefined) b.merge('n1', ofA, T0 + DAY)
        assert.deepEqual(late.all(), b.all())
        assert.deepEqual(correlate(late.all()), correlate(b.all()))
      },
    ),
    { numRuns: 60 },
  )
})

test('property: whatever a peer tells, nothing throws, and what it says in another’s name counts nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.json(), (bytes, json) => {
      const findings = new Findings({ self: 'n1', keepMs: DAY })
      findings.merge('n2', bytes, T0)
      findings.merge('n2', Uint8Array.from([3, ...new TextEncoder().encode(json)]), T0)
      assert.deepEqual(findings.all(), [])
    }),
    { numRuns: 200 },
  )
  const honest = new Findings({ self: 'n1', keepMs: DAY })
  const tale = node('n3', found()).summary()!
  assert.deepEqual(honest.merge('n2', tale, T0), [])
  assert.equal(honest.merge('n3', tale, T0).length, 1)
  assert.deepEqual(honest.merge('n3', node('n3', found({ atMs: T0 + DAY })).summary()!, T0), [], 'of tomorrow')
})

test('bounded: of each node so many, those that ended last; what is over leaves', () => {
  const findings = new Findings({ self: 'n1', keepMs: DAY, perNodeMax: 50 })
  for (let at = 0; at < 500; at += 1)
    findings.add(found({ atMs: T0 + at, subject: { kind: 'source', value: `10.0.${at >> 8}.${at & 255}` } }))
  assert.equal(findings.all().length, 50)
  assert.equal(findings.dropped, 450)
  assert.equal(findings.all()[0]!.firstMs, T0 + 450)
  findings.expire(T0 + 2 * DAY)
  assert.deepEqual(findings.all(), [])
})

test('what was kept is there again, and goes on', () => {
  const before = node('n1', found())
  const after = new Findings({ self: 'n1', keepMs: 30 * DAY })
  after.restore(before.memory())
  after.add(found({ atMs: T0 + HOUR }))
  const [record] = after.all() as [FindingRecord]
  assert.equal(record.times, 2)
  assert.equal(record.firstMs, T0)
  after.restore(new TextEncoder().encode('[{"node": 1}, null, "x"'))
  assert.equal(after.all().length, 1)
})

test('everybody at once: a thousand findings of each of seven nodes are told together in well under a second of work', () => {
  const nodes = Array.from({ length: 7 }, (_, at) =>
    node(
      `n${at + 1}`,
      ...Array.from({ length: 1_000 }, (_, one) =>
        found({
          atMs: T0 + one * MINUTE,
          subject: { kind: 'source', value: `10.${at}.${one >> 8}.${one & 255}` },
          sources: [`10.9.${one >> 8}.${one & 255}`],
        }),
      ),
    ),
  )
  const incidents = correlate(nodes.flatMap((one) => one.all()).sort((a, b) => a.firstMs - b.firstMs))
  assert.equal(incidents.length, 1)
  assert.ok(incidents[0]!.timeline.length <= 200 && incidents[0]!.sources.length <= 256)
})
