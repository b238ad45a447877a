import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Policy } from './policy.ts'
import { anomaliesOf } from './policy-anomalies.ts'
import { detectionRulesOf, STANDARD_DETECTION, wantsSignals } from './policy-detection.ts'
import { parsePolicyDocument } from './policy-document.ts'

const BASE = `version: 1
services:
  shop:
    upstreams: [{ url: "http://127.0.0.1:1" }]
    routes: [{ name: login, path: /login, login: { account: email } }, { name: coupon, path: /coupon }]
`
const rule = (text: string): string =>
  `${BASE}detectors:\n  rules:\n    - { name: mine, reason: why, within: 1h, over: { events: 5 }, ${text} }\n`

function policy(text: string): Policy {
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

test('a rule has its defaults: it observes, and counts all that its service gets', () => {
  const [mine] = policy(rule('by: [source]')).detectors.rules
  assert.deepEqual(mine, {
    name: 'mine',
    attack: [],
    mode: 'observe',
    by: ['source'],
    when: {},
    over: { events: 5 },
    within: 3_600_000,
    denyFor: 900_000,
    reason: 'why',
  })
})

test('standard rules are off unless asked for; those of one’s own take the place of those with their name, and off means off', () => {
  assert.deepEqual(detectionRulesOf(policy(BASE)), [])
  const observed = detectionRulesOf(policy(`${BASE}detectors: { standard: observe }\n`))
  assert.equal(observed.length, STANDARD_DETECTION.length)
  assert.ok(observed.every(({ mode }) => mode === 'observe'))
  const enforced = detectionRulesOf(policy(`${BASE}detectors: { standard: enforce }\n`))
  for (const { name, mode, by } of enforced)
    assert.equal(mode, by.includes('source') && name !== 'beaconing' ? 'enforce' : 'observe', name)
  const text = rule('by: [source], mode: off')
    .replace('name: mine', 'name: scanning')
    .replace('detectors:', 'detectors:\n  standard: observe')
  assert.deepEqual(
    detectionRulesOf(policy(text)).map(({ name }) => name),
    STANDARD_DETECTION.map(({ name }) => name).filter((name) => name !== 'scanning'),
  )
})

test('every standard rule says which technique it is about, in words, and is what a policy may hold', () => {
  for (const { name, attack, reason } of STANDARD_DETECTION) {
    assert.ok(attack.length > 0, name)
    assert.ok(reason.length > 10, name)
  }
  const own = JSON.stringify(STANDARD_DETECTION.map((one) => ({ ...one, within: `${one.within / 60_000}m`, denyFor: '1h' })))
  assert.equal(policy(`${BASE}detectors: { rules: ${own} }\n`).detectors.rules.length, STANDARD_DETECTION.length)
})

const FAULTS: readonly (readonly [string, string, RegExp])[] = [
  [
    'an unknown route',
    'by: [source], when: { routes: [logn] }',
    /\/detectors\/rules\/0\/when\/routes\/0.*there is no route logn.*did you mean login\?/,
  ],
  ['an unknown route before', 'by: [source], after: { when: { routes: [x] }, within: 1h }', /\/after\/when\/routes\/0/],
  ['an unknown service', 'by: [source], service: shpo', /there is no service shpo.*did you mean shop\?/],
  [
    'nobody to deny',
    'by: [session], mode: enforce',
    /\/detectors\/rules\/0\/mode.*only what is counted by source has somebody to deny/,
  ],
  ['usual of a source', 'by: [source], usual: 3', /\/usual.*what is usual is known of services only/],
  ['service with another key', 'by: [service, source]', /\/by.*service stands alone/],
  ['one key twice', 'by: [source, source]', /\/by.*the same key twice/],
  ['among without share', 'by: [source], among: { login: any }', /\/among.*there is no share/],
  ['no key', 'by: []', /\/by/],
  ['an unknown word', 'by: [source], when: { staus: [404] }', /staus/],
  ['a technique that is none', 'by: [source], attack: [brute]', /\/attack\/0.*T1110\.004/],
]

for (const [what, text, expected] of FAULTS) {
  test(`refused, with its place: ${what}`, () => {
    const document = parsePolicyDocument(rule(text))
    assert.ok(!document.ok)
    assert.match(JSON.stringify(document.problems), expected)
  })
}

test('refused, with its place: a window of seconds, one of months, and limits that are none', () => {
  for (const [from, to] of [
    ['within: 1h', 'within: 5s'],
    ['within: 1h', 'within: 60d'],
    ['over: { events: 5 }', 'over: {}'],
  ] as const) {
    const document = parsePolicyDocument(rule('by: [source]').replace(from, to))
    assert.ok(!document.ok, to)
  }
})

test('anomalies: off unless they are asked for, then observed after a day; what nobody can mean is said with its place', () => {
  assert.equal(anomaliesOf(policy(BASE)), undefined)
  assert.equal(wantsSignals(policy(BASE)), false)
  const asked = policy(`${BASE}detectors: { anomalies: {} }\n`)
  assert.deepEqual(anomaliesOf(asked), { mode: 'observe', deviations: 6, learn: 86_400_000, perHour: 6 })
  assert.equal(wantsSignals(asked), true)
  assert.equal(anomaliesOf(policy(`${BASE}detectors: { anomalies: { mode: off } }\n`)), undefined)
  for (const [settings, where] of [
    ['{ mode: enforce }', '/detectors/anomalies/mode'],
    ['{ deviations: 2 }', '/detectors/anomalies/deviations'],
    ['{ learn: 10m }', '/detectors/anomalies/learn'],
    ['{ perHour: 0 }', '/detectors/anomalies/perHour'],
  ] as const) {
    const document = parsePolicyDocument(`${BASE}detectors: { anomalies: ${settings} }\n`)
    assert.ok(!document.ok)
    assert.ok(JSON.stringify(document).includes(where), JSON.stringify(document))
  }
})
