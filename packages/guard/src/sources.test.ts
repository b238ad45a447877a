import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDenialIndex, parsePolicyDocument } from '@ringwall/ring'
import type { BotNames } from './bots.ts'
import { createGuard } from './guard.ts'
import { judgePolicy } from './policy-judge.ts'
import { NOWHERE, type Place } from './sources.ts'
import { compiledWithoutRules, viewOf } from './test-view.ts'
import type { Decision, GuardEnvironment } from './types.ts'

const NOW = 1_800_000_000_000
const PLACES: Readonly<Record<string, Place>> = {
  '203.0.113.7': { country: 'SE', asn: 64_500 },
  '203.0.113.8': { country: 'SE', asn: 64_501 },
  '198.51.100.7': { country: 'KP', asn: 64_502 },
  '198.51.100.8': { country: 'NO', asn: 64_502 },
}

function compiled(service: string, more = '') {
  const text = `version: 1\nservices:\n  shop:\n    upstreams: [{ url: "http://127.0.0.1:1" }]\n    waf: { mode: "off", rules: [] }\n${service}${more}`
  const document = parsePolicyDocument(text)
  if (!document.ok) return { problems: document.problems.map(({ path, message }) => `${path} ${message}`).join('\n') }
  return compiledWithoutRules(document.policy)
}

function asker(service: string, more = '', botNames?: BotNames): (source: string, path?: string, agent?: string) => Decision {
  const made = compiled(service, more)
  assert.ok('policy' in made, JSON.stringify(made))
  const guard = createGuard({
    ...(botNames === undefined ? {} : { botNames }),
    places: { of: (address) => PLACES[address] ?? NOWHERE },
  })
  const view = viewOf(made, NOW)
  const environment: GuardEnvironment = {
    view,
    provisional: createDenialIndex([]),
    tokens: { verify: () => ({ ok: false, code: '', reason: '' }) },
    nowMs: NOW,
    certifiedAtMs: NOW,
  }
  return (source, path = '/', agent) => {
    const request = {
      method: 'GET',
      target: path,
      path,
      httpVersion: '1.1',
      headers: agent === undefined ? [] : [['User-Agent', agent] as const],
      remoteAddress: source,
      host: 'shop.example',
    }
    const head = guard.head(request, environment)
    assert.ok(!(head instanceof Promise))
    return guard.body(head, new Uint8Array(0), false, environment).decision!
  }
}

test('denied countries, systems and prefixes are refused, others and the unknown are not', () => {
  const ask = asker('    sources: { deny: { countries: [KP], asns: [64501], prefixes: [192.0.2.0/24] } }\n')
  for (const source of ['198.51.100.7', '203.0.113.8', '192.0.2.99']) {
    const { outcome, status, check, rule } = ask(source)
    assert.deepEqual([outcome, status, check, rule], ['deny', 403, 'source', 'sources:deny'], source)
  }
  for (const source of ['203.0.113.7', '198.51.100.8', '8.8.8.8', '2001:db8::1'])
    assert.equal(ask(source).outcome, 'allow', source)
  assert.match(ask('198.51.100.7').reason, /KP, AS64502.*refused by sources\.deny/)
})

test('where only some are allowed, the unknown is refused, unless ZZ is named; deny goes before allow', () => {
  const ask = asker('    sources: { allow: { countries: [SE, NO] }, deny: { asns: [64502] } }\n')
  assert.equal(ask('203.0.113.7').outcome, 'allow')
  assert.equal(ask('198.51.100.8').outcome, 'deny')
  assert.match(ask('8.8.8.8').reason, /no known country, no known autonomous system.*not in sources\.allow/)
  assert.equal(asker('    sources: { allow: { countries: [SE, ZZ] } }\n')('8.8.8.8').outcome, 'allow')
  assert.equal(asker('    sources: { allow: { asns: [0] } }\n')('8.8.8.8').outcome, 'allow')
})

test('a route says otherwise than its service; a challenge in place of a refusal', () => {
  const ask = asker(
    '    sources: { deny: { countries: [KP] }, action: challenge }\n    routes: [{ name: admin, path: /admin, sources: { allow: { asns: [64500] } } }]\n',
  )
  assert.equal(ask('198.51.100.7').outcome, 'challenge')
  assert.equal(ask('198.51.100.7', '/admin').outcome, 'deny')
  assert.equal(ask('203.0.113.8', '/admin').outcome, 'deny')
  assert.equal(ask('203.0.113.7', '/admin').outcome, 'allow')
})

test('limits by country and by system: one budget for each; the unknown is told apart by network', () => {
  const ask = asker('    limits: [{ name: by-asn, key: [asn], rate: 2/m }]\n')
  const outcomes = (...sources: string[]): string => sources.map((source) => ask(source).outcome).join(' ')
  assert.equal(outcomes('198.51.100.7', '198.51.100.8', '198.51.100.7'), 'allow allow throttle')
  assert.equal(outcomes('203.0.113.7', '203.0.113.8'), 'allow allow')
  assert.equal(outcomes('8.8.8.8', '8.8.8.9', '8.8.8.8', '9.9.9.9'), 'allow allow throttle allow')
})

test('limits for some sources alone, and for all but some', () => {
  const ask = asker(
    '    limits:\n      - { name: far, from: { countries: [KP, ZZ] }, rate: 1/m }\n      - { name: all, except: { asns: [64500] }, rate: 3/m, key: [method] }\n',
  )
  const outcomes = (...sources: string[]): string => sources.map((source) => ask(source).rule ?? ask(source).outcome).join(' ')
  assert.equal(ask('198.51.100.7').outcome, 'allow')
  assert.equal(ask('198.51.100.7').rule, 'limit:far')
  assert.equal(ask('203.0.113.8').outcome, 'allow')
  assert.equal(ask('203.0.113.8').outcome, 'allow')
  assert.equal(ask('203.0.113.8').rule, 'limit:all')
  assert.equal(outcomes('203.0.113.7', '203.0.113.7'), 'allow allow')
})

test('the policy’s own tests say where a request comes from', () => {
  const made = compiled('    sources: { allow: { countries: [SE], asns: [64500] } }\n')
  assert.ok('policy' in made)
  const judge = judgePolicy(made)
  const request = {
    method: 'GET',
    target: '/',
    httpVersion: '1.1',
    headers: [],
    remoteAddress: '198.51.100.1',
    host: 'localhost',
  }
  const ask = (country: string, asn: number): string =>
    judge({ ...request, body: new Uint8Array(0), token: undefined, place: { country, asn } }).outcome
  assert.deepEqual([ask('SE', 0), ask('NO', 64_500), ask('NO', 0), ask('ZZ', 0)], ['allow', 'allow', 'deny', 'deny'])
})

const BOTS = `bots:
  example: { userAgent: ExampleBot, prefixes: [192.0.2.0/24] }
  named: { userAgent: NamedBot, domains: [named.example] }
`
const NAMES: BotNames = {
  standing: (_, address) => (address === '203.0.113.50' ? 'verified' : address === '203.0.113.51' ? 'pretender' : 'unknown'),
}
const EXAMPLE = 'Mozilla/5.0 (compatible; examplebot/2.1; +http://example.com/bot)'
const NAMED = 'NamedBot/1.0'

test('a bot where its own addresses are is not challenged; one that only says so is refused, one not yet known is like anybody', () => {
  const ask = asker('    challenge: { when: always }\n    pretenders: deny\n', BOTS, NAMES)
  assert.equal(ask('192.0.2.7', '/', EXAMPLE).outcome, 'allow')
  const pretender = ask('198.51.100.7', '/', EXAMPLE)
  assert.deepEqual([pretender.outcome, pretender.status, pretender.rule], ['deny', 403, 'bot:example'])
  assert.equal(ask('203.0.113.50', '/', NAMED).outcome, 'allow')
  assert.equal(ask('203.0.113.51', '/', NAMED).outcome, 'deny')
  assert.equal(ask('203.0.113.52', '/', NAMED).outcome, 'challenge')
  assert.equal(ask('192.0.2.7', '/', 'curl/8').outcome, 'challenge')
  assert.equal(ask('192.0.2.7').outcome, 'challenge')
  assert.equal(asker('    pretenders: deny\n', BOTS)('203.0.113.50', '/', NAMED).outcome, 'allow', 'nobody finds out here')
})

test('pretenders pass or are challenged where the policy says so; a bot has one budget of limits that challenge', () => {
  assert.equal(asker('', BOTS)('198.51.100.7', '/', EXAMPLE).outcome, 'allow')
  assert.equal(asker('    pretenders: challenge\n', BOTS)('198.51.100.7', '/', EXAMPLE).outcome, 'challenge')
  const ask = asker('    limits: [{ name: few, rate: 2/m, key: [method], action: challenge }]\n', BOTS)
  const outcomes = (...given: readonly (readonly [string, string])[]): string =>
    given.map(([source, agent]) => ask(source, '/', agent).outcome).join(' ')
  assert.equal(outcomes(['8.8.8.8', 'curl'], ['8.8.8.8', 'curl'], ['8.8.8.8', 'curl']), 'allow allow challenge')
  assert.equal(outcomes(['192.0.2.1', EXAMPLE], ['192.0.2.2', EXAMPLE], ['192.0.2.3', EXAMPLE]), 'allow allow throttle')
})

test('what is no country, system or prefix is refused in the policy', () => {
  const problems = (sources: string): string => {
    const made = compiled(`    sources: ${sources}\n`)
    assert.ok('problems' in made, sources)
    return made.problems
  }
  assert.match(problems('{ deny: { countries: [Sweden] } }'), /two capitals/)
  assert.match(problems('{ deny: {} }'), /countries, asns or prefixes/)
  assert.match(problems('{}'), /allow or deny/)
  assert.match(problems('{ deny: { prefixes: [10.0.0.1/8] } }'), /did you mean|bits set/)
})
