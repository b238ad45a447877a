import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Policy } from './policy.ts'
import { diffPolicies } from './policy-diff.ts'
import { parsePolicyDocument } from './policy-document.ts'
import { mayAttest, servicesOf, type UnixFacts, workloadOf } from './policy-workloads.ts'

const BASE = `version: 1
services:
  shop: { upstreams: [{ url: "http://127.0.0.1:1" }] }
`
const HASH = 'ab'.repeat(32)
const WORKLOADS = `workloads:
  billing:
    nodes: [n1, n2]
    unix:
      - { uid: 1001, path: /opt/billing/bin/billing, sha256: ${HASH} }
      - { uid: 1002, gid: 1002 }
  mailer: { nodes: [n2], unix: [{ uid: 1002 }], ttl: 10m }
`

function policy(text: string): Policy {
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

const facts = (uid: number, more: Partial<UnixFacts> = {}): UnixFacts => ({
  uid,
  gid: 7,
  path: undefined,
  sha256: undefined,
  ...more,
})

test('a program is each service that one of its selectors fits in all that it says, on the nodes that it names', () => {
  const { workloads } = policy(BASE + WORKLOADS)
  assert.deepEqual(workloads.mailer, { nodes: ['n2'], unix: [{ uid: 1_002 }], ttl: 600_000 })
  const ask = (node: string, asked: UnixFacts): readonly string[] => servicesOf({ workloads }, node, asked)
  const binary = { path: '/opt/billing/bin/billing', sha256: HASH }
  assert.deepEqual(ask('n1', facts(1_001, binary)), ['billing'])
  assert.deepEqual(ask('n1', facts(1_001, { path: binary.path })), [], 'the hash could not be found out')
  assert.deepEqual(ask('n1', facts(1_001, { ...binary, path: '/tmp/billing' })), [])
  assert.deepEqual(ask('n1', facts(1_001, { ...binary, sha256: HASH.replace('a', 'b') })), [])
  assert.deepEqual(ask('n1', facts(0, binary)), [], 'root is nobody in particular')
  assert.deepEqual(ask('n2', facts(1_002, { gid: 1_002 })), ['billing', 'mailer'])
  assert.deepEqual(ask('n2', facts(1_002)), ['mailer'])
  assert.deepEqual(ask('n1', facts(1_002)), [])
  assert.deepEqual(ask('n3', facts(1_001, binary)), [])
  assert.equal(mayAttest({ workloads }, 'n2', 'mailer'), true)
  assert.equal(mayAttest({ workloads }, 'n1', 'mailer'), false)
  for (const name of ['none', '__proto__', 'constructor', 'hasOwnProperty']) {
    assert.equal(workloadOf({ workloads }, name), undefined, name)
    assert.equal(mayAttest({ workloads }, 'n1', name), false, name)
  }
})

test('property: without every selector’s user there is no service', () => {
  const { workloads } = policy(BASE + WORKLOADS)
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.string(), fc.string(), (uid, gid, path, sha256) => {
      fc.pre(uid !== 1_001 && uid !== 1_002)
      for (const node of ['n1', 'n2']) assert.deepEqual(servicesOf({ workloads }, node, { uid, gid, path, sha256 }), [])
    }),
  )
})

test('what is wrong with workloads is told by its place', () => {
  const bad = (text: string): readonly string[] => {
    const document = parsePolicyDocument(`${BASE}workloads:\n  billing: ${text}\n`)
    assert.ok(!document.ok, text)
    return document.problems.map(({ path, message }) => `${path}: ${message}`)
  }
  const cases: readonly (readonly [string, RegExp])[] = [
    ['{ nodes: [], unix: [{ uid: 1 }] }', /^\/workloads\/billing\/nodes: /],
    ['{ nodes: [N1], unix: [{ uid: 1 }] }', /^\/workloads\/billing\/nodes\/0: expected the id of a node/],
    ['{ nodes: [n1, n1], unix: [{ uid: 1 }] }', /^\/workloads\/billing\/nodes\/1: the node n1 occurs twice/],
    ['{ nodes: [n1], unix: [] }', /^\/workloads\/billing\/unix: /],
    ['{ nodes: [n1] }', /^\/workloads\/billing\/unix: workloads.billing.unix is missing/],
    ['{ nodes: [n1], unix: [{ path: /bin/x }] }', /^\/workloads\/billing\/unix\/0\/uid: .*missing/],
    ['{ nodes: [n1], unix: [{ uid: -1 }] }', /^\/workloads\/billing\/unix\/0\/uid: /],
    ['{ nodes: [n1], unix: [{ uid: 4294967295 }] }', /^\/workloads\/billing\/unix\/0\/uid: /],
    ['{ nodes: [n1], unix: [{ uid: root }] }', /^\/workloads\/billing\/unix\/0\/uid: /],
    ['{ nodes: [n1], unix: [{ uid: 1, path: bin/x }] }', /^\/workloads\/billing\/unix\/0\/path: expected an absolute path/],
    [
      '{ nodes: [n1], unix: [{ uid: 1, path: /opt/../bin/x }] }',
      /^\/workloads\/billing\/unix\/0\/path: .* is no path of a binary/,
    ],
    ['{ nodes: [n1], unix: [{ uid: 1, path: /opt/ }] }', /^\/workloads\/billing\/unix\/0\/path: .* is no path of a binary/],
    [`{ nodes: [n1], unix: [{ uid: 1, sha256: ${HASH.toUpperCase()} }] }`, /^\/workloads\/billing\/unix\/0\/sha256: expected 64/],
    ['{ nodes: [n1], unix: [{ uid: 1 }, { uid: 1 }] }', /^\/workloads\/billing\/unix\/1: this program is named twice/],
    ['{ nodes: [n1], unix: [{ uid: 1 }], ttl: 59s }', /^\/workloads\/billing\/ttl: expected 1m to 24h/],
    ['{ nodes: [n1], unix: [{ uid: 1 }], ttl: 25h }', /^\/workloads\/billing\/ttl: expected 1m to 24h/],
    ['{ nodes: [n1], unix: [{ uid: 1 }], selectors: [] }', /^\/workloads\/billing\/selectors: selectors is not known/],
  ]
  for (const [text, expected] of cases) assert.match(bad(text).join('\n'), expected, text)
})

test('a difference of workloads is named by the service', () => {
  const after =
    BASE +
    WORKLOADS.replace('[n1, n2]', '[n1]')
      .replace('uid: 1001', 'uid: 1003')
      .replace(/ {2}mailer.*\n/, '')
  const changes = diffPolicies(policy(BASE + WORKLOADS), policy(after)).map(({ kind, path }) => `${kind} ${path}`)
  assert.deepEqual(changes, ['change workloads.billing.nodes', 'change workloads.billing.unix', 'remove workloads.mailer'])
})
