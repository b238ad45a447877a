import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compilePolicy, createDenialIndex, parsePolicyDocument, type View } from '@ringwall/ring'
import { compileRules } from '@ringwall/waf'
import { createGuard } from './guard.ts'
import type { Decision, GuardEnvironment, GuardRequest, WafJudgement } from './types.ts'

const UNTIL = Date.parse('2027-01-31T12:00:00Z')
const document = parsePolicyDocument(`version: 1
services:
  shop:
    upstreams: [{ url: "http://127.0.0.1:1" }]
    waf: { rules: [own] }
    routes: [{ name: search, path: /search }, { name: learned, path: /learned, waf: { mode: learn } }]
exceptions:
  - { name: a, rule: 1, service: shop, route: search, path: /search, variable: "ARGS:q", owner: ada, reason: why, until: "2027-01-31T12:00:00Z" }
`)
assert.ok(document.ok)
const text = `SecRule ARGS "@contains evil" "id:1,phase:2,deny,msg:'evil'"\nSecRule ARGS "@contains bad" "id:2,phase:2,deny,msg:'bad'"`
const compilation = compilePolicy(document.policy, compileRules, new Map([['own', [{ file: 'own.conf', text }]]]))
assert.ok(compilation.ok)
const none = createDenialIndex([])
const view = { ring: 'r', height: 1, blockTimestampMs: 0, denials: none, ...compilation.compiled } as unknown as View

function decide(target: string, nowMs: number, witness?: (judged: WafJudgement, body: Uint8Array) => void, body = ''): Decision {
  const environment: GuardEnvironment = {
    view,
    provisional: none,
    tokens: { verify: () => ({ ok: false, code: 'X', reason: 'x' }) },
    nowMs,
    certifiedAtMs: nowMs,
  }
  const request: GuardRequest = {
    method: 'POST',
    target,
    path: target.split('?', 1)[0]!,
    host: 'shop.example',
    httpVersion: '1.1',
    headers: [['Content-Type', 'application/x-www-form-urlencoded']],
    remoteAddress: '192.0.2.1',
  }
  const guard = createGuard(witness === undefined ? {} : { witness })
  const head = guard.head(request, environment)
  assert.ok(!(head instanceof Promise))
  return guard.body(head, new TextEncoder().encode(body), false, environment).decision!
}

const cases: readonly [string, string, number, 'allow' | 'deny'][] = [
  ['the excepted parameter, rule and path', '/search?q=evil', UNTIL - 1, 'allow'],
  ['at the moment when it lapses', '/search?q=evil', UNTIL, 'deny'],
  ['another parameter', '/search?p=evil', UNTIL - 1, 'deny'],
  ['the same parameter beside another', '/search?q=evil&p=evil', UNTIL - 1, 'deny'],
  ['another rule', '/search?q=bad', UNTIL - 1, 'deny'],
  ['a path below', '/search/more?q=evil', UNTIL - 1, 'deny'],
  ['another route', '/other?q=evil', UNTIL - 1, 'deny'],
]
for (const [name, target, nowMs, outcome] of cases) {
  test(`an exception, ${name}: ${outcome}`, () => assert.equal(decide(target, nowMs).outcome, outcome))
}

test('it covers the parameter in the body as well', () => {
  assert.equal(decide('/search', UNTIL - 1, undefined, 'q=evil').outcome, 'allow')
  assert.equal(decide('/search', UNTIL - 1, undefined, 'p=evil').outcome, 'deny')
})

test('a route that learns refuses nothing and calls nothing refused, but tells what matched', () => {
  const { outcome, shadowOutcome, matches } = decide('/learned?q=evil', 0)
  assert.deepEqual([outcome, shadowOutcome, matches.length], ['allow', 'allow', 1])
})

test('a witness is told of what the WAF judged, once, with verdict and body', () => {
  const seen: [string, string, string, boolean][] = []
  const witness = ({ decision, route, verdict }: WafJudgement, body: Uint8Array): void => {
    seen.push([route.label, decision.outcome, new TextDecoder().decode(body), verdict.blocked])
  }
  decide('/other', 0, witness, 'a=evil')
  decide('/learned', 0, witness, 'a=b')
  assert.deepEqual(seen, [
    ['shop', 'deny', 'a=evil', true],
    ['shop learned', 'allow', 'a=b', false],
  ])
})

test('a witness that fails changes nothing', () => {
  const witness = (): void => {
    throw new Error('broken')
  }
  assert.equal(decide('/other?q=evil', 0, witness).outcome, 'deny')
  assert.equal(decide('/other?q=fine', 0, witness).outcome, 'allow')
})
