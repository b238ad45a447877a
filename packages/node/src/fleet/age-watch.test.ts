import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nodeSubject, parsePolicyDocument, type RingNode, RingState } from '@ringwall/ring'
import { subjectId } from '@ringwall/ring/tx'
import { AgeWatch, showAged } from './age-watch.ts'
import { checkAges, checkServed } from './check-fleet.ts'

const DAY = 86_400_000
const NOW = 1_800_000_000_000
const RING = 'ab'.repeat(32)
const TEXT = `version: 1
services: { app: { upstreams: [{ url: "http://127.0.0.1:1" }] } }
fleet:
  maxAge:
    - { select: node=n1, age: 30d, end: drain, spread: 0% }
    - { age: 10d, drain: 1h, spread: 0% }
`

const node = (id: string, role: 'validator' | 'edge'): RingNode => ({
  id,
  region: 'eu',
  address: '127.0.0.1:1',
  publicKey: `${id}${'A'.repeat(41)}`,
  roles: [role],
})
const document = parsePolicyDocument(TEXT)
assert.ok(document.ok)
const policy = document.policy.fleet
const nodes = [node('n1', 'validator'), node('n2', 'validator'), node('e3', 'edge')]
const begun = RingState.begin(TEXT, nodes).withFleet({
  devices: [],
  nodes: [],
  releases: [],
  since: ['e3', 'n1', 'n2'].map((id) => ({ id, atMs: NOW })),
})

function watchOf(self: string, state: () => RingState) {
  const said: string[] = []
  let ended = 0
  const watch = new AgeWatch({
    self,
    ring: RING,
    state,
    policy: () => policy,
    end: () => {
      ended += 1
    },
    events: { add: (_kind, level, what) => void said.push(`${level}: ${what}`) },
  })
  return { watch, said, ended: () => ended }
}

test('a node ends by its own clock, without a block, once; one that is to stay drained does not', () => {
  for (const self of ['n1', 'n2', 'e3']) {
    const { watch, said, ended } = watchOf(self, () => begun)
    watch.look(NOW + 10 * DAY - 1)
    assert.deepEqual([watch.why(NOW + 10 * DAY - 1), ended()], [undefined, 0])
    for (const days of [10, 11, 31]) watch.look(NOW + days * DAY)
    if (self === 'n1') assert.deepEqual([said, ended()], [[], 0])
    else {
      assert.equal(ended(), 1)
      assert.match(
        said.join('\n'),
        /^bad: it takes no more traffic: NODE_AGED: its age is over since 2027-01-25T08:00:00Z \(fleet\.maxAge\); set it up anew/,
      )
    }
  }
})

test('one that the ring let go while it was off says so when it starts again, and the others tell of it', () => {
  const subject = nodeSubject(RING, 'e3')
  const said = { reason: 'put out: NODE_AGED', issuer: 'node:e3', issuedAtMs: NOW, expiresAtMs: NOW + DAY, height: 9 }
  const after = begun.withoutNode('e3').withDenial({ id: subjectId(subject), subject, ...said })
  assert.match(watchOf('e3', () => after).watch.why(NOW + 1) ?? '', /^NODE_AGED: the ring has let it go/)
  const events: string[] = []
  const log = { add: (_kind: string, _level: string, what: string) => void events.push(what) }
  assert.deepEqual(showAged(begun, after, RING, NOW + 1, log), ['e3'])
  assert.deepEqual(showAged(begun, begun.withoutNode('e3'), RING, NOW + 1, log), [], 'an operator removed it')
  assert.deepEqual(events, ['e3 is out: NODE_AGED: its age is over (fleet.maxAge)'])
})

test('check tells of nodes in the last day of their age, and of those beyond it, with what becomes of them', () => {
  const found = (days: number): readonly string[] =>
    checkAges(begun, policy, NOW + days * DAY).map(
      ({ level, what }) => `${level} ${what.replace(/ (?:at|since) [^:]*:\d\dZ/, '')}`,
    )
  assert.deepEqual(found(8.9), [])
  assert.deepEqual(found(9.1), [
    'warn the age of n2 is over: then it votes on, and is given nothing else',
    'warn the age of e3 is over: then the ring lets it go',
  ])
  assert.deepEqual(found(30.5), [
    'bad n1 is older than it may be: it stays drained',
    'bad n2 is older than it may be: it votes on, and is given nothing else',
    'bad e3 is older than it may be: the ring lets it go',
  ])
})

test('a service that no node has the labels for is told of, others are not', () => {
  const service = (name: string, nodes: string): string =>
    `  ${name}: { hosts: [${name}.example], nodes: "${nodes}", upstreams: [{ url: "http://127.0.0.1:1" }] }\n`
  const read = parsePolicyDocument(`version: 1\nservices:\n${service('lost', 'role=edge')}${service('kept', 'node=e3')}`)
  assert.ok(read.ok)
  assert.deepEqual(
    checkServed(begun, read.policy).map(({ level, what }) => `${level} ${what}`),
    ['warn no node serves lost: none has the labels role=edge'],
  )
})
