import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Denial } from '@ringwall/ring'
import { subjectId } from '@ringwall/ring/tx'
import fc from 'fast-check'
import { DecisionJournal, decisionJson, decisionOf, goDuration } from './decision-journal.ts'

const T0 = 1_800_000_000_000
const ALL = { contains: true } as const

function denial(kind: 'ip' | 'cidr' | 'session', value: string, more: Partial<Denial> = {}): Denial {
  const subject = { kind, value }
  const issuer = 'operator:ada'
  return { id: subjectId(subject), subject, reason: 'test', issuer, issuedAtMs: T0, expiresAtMs: T0 + 60_000, height: 1, ...more }
}

const values = (all: readonly { readonly value: string }[]): readonly string[] => all.map(({ value }) => value)

test('a decision has the fields of CrowdSec’s local API, and an id that an int64 and a double hold', () => {
  const one = denial('ip', '192.0.2.7', { expiresAtMs: T0 + 3_605_000 })
  const json = JSON.parse(decisionJson(decisionOf(one), T0))
  const { id, ...rest } = json
  assert.ok(Number.isSafeInteger(id) && id > 0)
  assert.deepEqual(rest, {
    duration: '1h0m5s',
    origin: 'ringwall-operator',
    scenario: 'test',
    scope: 'Ip',
    type: 'ban',
    value: '192.0.2.7',
  })
  assert.equal(decisionOf(denial('cidr', '192.0.2.0/24', { issuer: 'node:n1' })).origin, 'ringwall-node')
})

test('durations are written as Go writes them', () => {
  const table: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [400, '0s'],
    [-400, '0s'],
    [59_000, '59s'],
    [60_000, '1m0s'],
    [3_600_000, '1h0m0s'],
    [90_061_000, '25h1m1s'],
    [-61_000, '-1m1s'],
  ]
  for (const [ms, text] of table) assert.equal(goDuration(ms), text)
})

test('who asks is told what came and went since it asked; what is about no address is left out', () => {
  const journal = new DecisionJournal()
  const [a, b] = [denial('ip', '192.0.2.1'), denial('cidr', '198.51.100.0/24')]
  journal.follow([a, denial('session', 's1')])
  const first = journal.since(undefined, ALL)
  assert.deepEqual([values(first.added), values(first.deleted)], [['192.0.2.1'], []])
  assert.deepEqual(journal.since(first.sequence, ALL), { added: [], deleted: [], sequence: first.sequence })
  journal.follow([b])
  const second = journal.since(first.sequence, ALL)
  assert.deepEqual([values(second.added), values(second.deleted)], [['198.51.100.0/24'], ['192.0.2.1']])
  journal.follow([b, a])
  assert.deepEqual([values(journal.since(second.sequence, ALL).added), journal.gone], [['192.0.2.1'], 0])
})

test('a denial that lasts longer than before is told again, with its new end', () => {
  const journal = new DecisionJournal()
  journal.follow([denial('ip', '192.0.2.1')])
  const { sequence } = journal.since(undefined, ALL)
  journal.follow([denial('ip', '192.0.2.1', { expiresAtMs: T0 + 120_000 })])
  assert.equal(journal.since(sequence, ALL).added[0]?.expiresAtMs, T0 + 120_000)
})

test('what went is remembered up to a bound; who knows less is told everything again', () => {
  const journal = new DecisionJournal(10)
  const many = Array.from({ length: 40 }, (_, at) => denial('ip', `192.0.2.${at}`))
  journal.follow(many)
  const { sequence } = journal.since(undefined, ALL)
  journal.follow(many.slice(5))
  assert.equal(journal.since(sequence, ALL).deleted.length, 5)
  journal.follow(many.slice(30))
  assert.equal(journal.gone, 10)
  assert.equal(journal.since(sequence, ALL).added.length, 10, 'all that are in force')
})

test('a number from another life of the node is one of nobody’s: everything is told', () => {
  const journal = new DecisionJournal()
  journal.follow([denial('ip', '192.0.2.1')])
  assert.equal(journal.since(1_000_000, ALL).added.length, 1)
})

test('look-ups find what holds an address, or what a range holds; filters are AND', () => {
  const journal = new DecisionJournal()
  journal.follow([
    denial('ip', '192.0.2.1', { reason: 'ssh brute force' }),
    denial('cidr', '192.0.2.0/24', { issuer: 'node:n1' }),
    denial('cidr', '2001:db8::/48'),
    denial('ip', '2001:db8::1'),
  ])
  const about = (words: readonly number[], length: number, contains = true) => ({
    contains,
    about: { version: words.length === 1 ? (4 as const) : (6 as const), words, length },
  })
  assert.deepEqual(values(journal.find(about([0xc0000201], 32))).toSorted(), ['192.0.2.0/24', '192.0.2.1'])
  assert.deepEqual(values(journal.find(about([0xc0000202], 32))), ['192.0.2.0/24'])
  assert.deepEqual(values(journal.find(about([0x20010db8, 0, 0, 1], 128))).toSorted(), ['2001:db8::/48', '2001:db8::1'])
  assert.deepEqual(values(journal.find(about([0xc0000000], 16, false))).toSorted(), ['192.0.2.0/24', '192.0.2.1'])
  assert.deepEqual(values(journal.find({ ...ALL, origins: new Set(['ringwall-node']) })), ['192.0.2.0/24'])
  assert.deepEqual(values(journal.find({ ...ALL, scopes: new Set(['Ip']), scenariosWith: ['brute'] })), ['192.0.2.1'])
  assert.equal(journal.find({ ...ALL, scenariosWithout: ['brute'] }).length, 3)
  assert.equal(journal.find({ ...ALL, type: 'captcha' }).length, 0)
})

test('property: whoever applies what it is told has what is in force, however denials come and go and however seldom it asks', () => {
  const step = fc.record({ present: fc.uniqueArray(fc.nat({ max: 30 }), { maxLength: 20 }), asks: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1, max: 40 }), (steps, goneMax) => {
      const journal = new DecisionJournal(goneMax)
      let held = new Set<string>()
      let sequence: number | undefined
      for (const { present, asks } of [...steps, { present: [1, 2, 3], asks: true }]) {
        const now = present.map((at) => denial('ip', `192.0.2.${at}`))
        const forgot = journal.gone
        journal.follow(now)
        assert.ok(journal.gone <= goneMax && forgot <= goneMax)
        if (!asks) continue
        const news = journal.since(sequence, ALL)
        for (const value of values(news.deleted)) held.delete(value)
        for (const value of values(news.added)) held.add(value)
        sequence = news.sequence
        const expected = new Set(now.map(({ subject }) => subject.value))
        for (const value of expected) assert.ok(held.has(value), `${value} is denied, and the bouncer lets it pass`)
        // With room for all that can go, nothing is left over either.
        if (goneMax >= 31) assert.deepEqual([...held].toSorted(), [...expected].toSorted())
        held = new Set(expected)
      }
    }),
  )
})
