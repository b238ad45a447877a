import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KINDS } from './attacks/kinds.ts'
import { table } from './attacks/report.ts'
import { run } from './attacks/run.ts'

/** Those with much to do are for the command. */
const LARGE = ['scraping', 'scraping-spread', 'stuffing-fast', 'stuffing-slow', 'spraying']
const SMALL = { seed: 5, users: 200, days: 1, instances: 1, kinds: KINDS.filter(({ name }) => !LARGE.includes(name)) }

test('attacks of fifteen kinds among two hundred people, by the real guards and detectors: found as promised, and nobody else refused', () => {
  const { score, wrong } = run(SMALL)
  const found = new Map(score.kinds.map((kind) => [kind.kind, kind]))
  assert.ok(found.size >= 15)
  for (const kind of ['brute-force', 'flood']) {
    assert.equal(found.get(kind)!.found, 1, kind)
    assert.ok(found.get(kind)!.refusedShare > 0.8, `${kind} goes on`)
  }
  assert.deepEqual(wrong, [])
  assert.equal(score.refusedPeople, 0)
  assert.match(table(score, { ...SMALL, denials: 0, cpuS: 0 }), /enumeration +T1589\.002/)
})

test('the same seed is the same traffic, the same findings and the same score; another is another', () => {
  const small = { ...SMALL, users: 100, kinds: [] }
  const first = run(small).score
  assert.deepEqual(run(small).score, first)
  assert.notEqual(run({ ...small, seed: 6 }).score.plays, first.plays)
})

test('one attempt of each node in eight hours from rotating addresses against one account over three days: caught, all addresses listed', () => {
  const subjects: (readonly string[])[] = []
  const { score } = run({
    seed: 9,
    users: 100,
    days: 4,
    instances: 1,
    kinds: KINDS.filter(({ name }) => name === 'guessing-spread'),
    onFound: ({ detector, subjects: named }) => void (detector === 'slow-logins' && subjects.push(named)),
  })
  assert.equal(score.kinds[0]!.found, 1)
  assert.equal(score.kinds[0]!.namedShare, 1, 'all of its 45 addresses')
  assert.equal(new Set(subjects.map(([account]) => account)).size, 1)
})

/** A yardstick that cannot show a failure measures nothing. */
test('without detectors nothing is found', () => {
  const policy = `version: 1
services:
  shop: { hosts: [shop.example], upstreams: [{ url: 'http://127.0.0.1:9' }], waf: { mode: off, rules: [] } }
detectors: { floods: { mode: off } }
`
  const { score } = run({ ...SMALL, users: 50, policy })
  assert.ok(score.kinds.every(({ found, refusedShare }) => found === 0 && refusedShare === 0))
})
