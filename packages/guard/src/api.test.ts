import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CompiledPolicy, compilePolicy, createDenialIndex, parsePolicyDocument, rehearse } from '@ringwall/ring'
import { compileRules } from '@ringwall/waf'
import { createGuard } from './guard.ts'
import { judgePolicy } from './policy-judge.ts'
import { viewOf } from './test-view.ts'
import type { Decision, GuardEnvironment, Judgement } from './types.ts'

const RULES = new Map([
  ['evil', [{ file: 'evil.conf', text: 'SecRule ARGS|REQUEST_BODY "@contains evil" "id:1001,phase:2,deny,status:403"' }]],
])
const API = `
      paths:
        /orders:
          get: { parameters: [{ name: page, in: query, schema: { type: integer } }] }
          post:
            requestBody:
              required: true
              content: { application/json: { schema: { $ref: "#/schemas/Order" } } }
      schemas:
        Order: { type: object, required: [count], properties: { count: { type: integer }, note: {} }, additionalProperties: false }`

/** `more` is what else the service says. */
function policy(mode: string, more = 'waf: { rules: [evil], bodyBytesMax: 64 }', tests = ''): CompiledPolicy {
  const text = `version: 1
services:
  shop:
    upstreams: [{ url: "http://127.0.0.1:1" }]
    ${more}
    api:
      mode: "${mode}"${API}
${tests}`
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  const compilation = compilePolicy(document.policy, compileRules, RULES)
  assert.ok(compilation.ok, JSON.stringify(compilation))
  return compilation.compiled
}

const NOW = 1_800_000_000_000
const NO_DENIALS = createDenialIndex([])

function environmentOf(compiled: CompiledPolicy): GuardEnvironment {
  const view = viewOf(compiled, NOW)
  const tokens = { verify: () => ({ ok: false, code: 'TOKEN_INVALID', reason: 'none is known' }) as const }
  return { view, provisional: NO_DENIALS, tokens, nowMs: NOW, certifiedAtMs: NOW }
}

async function judge(compiled: CompiledPolicy, line: string, body = ''): Promise<Judgement> {
  const [method, target] = line.split(' ') as [string, string]
  const bytes = new TextEncoder().encode(body)
  const headers: (readonly [string, string])[] = [['Host', 'shop.example']]
  if (bytes.length > 0) headers.push(['Content-Type', 'application/json'], ['Content-Length', String(bytes.length)])
  const environment = environmentOf(compiled)
  const guard = createGuard()
  const request = {
    method,
    target,
    httpVersion: '1.1',
    headers,
    remoteAddress: '198.51.100.1',
    host: 'shop.example',
    path: target.split('?')[0]!,
  }
  const head = await guard.head(request, environment)
  const wanted = Math.min(head.bodyBytesWanted, bytes.length)
  return guard.body(head, bytes.subarray(0, wanted), wanted < bytes.length, environment)
}

const told = ({ outcome, status, check, rule, shadowOutcome }: Decision) => [outcome, status, check, rule, shadowOutcome]

test('what the api does not describe is refused with 403 and the rule that says what', async () => {
  const enforced = policy('enforce')
  for (const [line, body, rule] of [
    ['GET /orders', '', undefined],
    ['GET /orders?page=2', '', undefined],
    ['POST /orders', '{"count":1}', undefined],
    ['GET /admin', '', 'api:path'],
    ['DELETE /orders', '', 'api:method'],
    ['GET /orders?page=x', '', 'api:query page'],
    ['POST /orders', '{"count":"1"}', 'api:body /count'],
    ['POST /orders', '{"count":1,"count":2}', 'api:body'],
    ['POST /orders', '', 'api:body'],
  ] as const) {
    const { decision } = await judge(enforced, line, body)
    const expected = rule === undefined ? ['allow', 200, 'none', undefined, 'allow'] : ['deny', 403, 'api', rule, 'deny']
    assert.deepEqual(told(decision!), expected, `${line} ${body}`)
  }
})

test('in shadow the same is let pass, and recorded with what would have been refused', async () => {
  const watched = policy('shadow')
  const { decision, api } = await judge(watched, 'GET /admin')
  assert.deepEqual(told(decision!), ['allow', 200, 'none', 'api:path', 'deny'])
  assert.match(decision!.reason, /no such path is declared/)
  assert.deepEqual(api, { operation: undefined, problem: { rule: 'api:path', reason: 'no such path is declared' } })
  assert.deepEqual(told((await judge(watched, 'POST /orders', '{}')).decision!), ['allow', 200, 'none', 'api:body', 'deny'])
  assert.deepEqual((await judge(watched, 'POST /orders', '{"count":1}')).api, { operation: 'POST /orders', problem: undefined })
})

test('where it is off nothing is held against the api', async () => {
  const { decision, api } = await judge(policy('off'), 'GET /admin')
  assert.deepEqual([decision!.outcome, api], ['allow', undefined])
})

test('the api comes before the WAF; what conforms is still inspected, and what only watches does not end it', async () => {
  assert.equal((await judge(policy('enforce'), 'POST /orders', '{"evil":1}')).decision!.check, 'api')
  assert.equal((await judge(policy('enforce'), 'POST /orders', '{"count":1,"note":"evil"}')).decision!.check, 'waf')
  assert.deepEqual(told((await judge(policy('shadow'), 'GET /admin?q=evil')).decision!).slice(0, 3), ['deny', 403, 'waf'])
})

test('with the WAF off the body is still read', async () => {
  const alone = policy('enforce', 'waf: { mode: "off", rules: [] }')
  assert.equal((await judge(alone, 'POST /orders', '{"count":"1"}')).decision!.rule, 'api:body /count')
  assert.equal((await judge(alone, 'POST /orders', '{"count":1}')).decision!.outcome, 'allow')
})

test('a body longer than what is inspected follows waf.oversize', async () => {
  const long = `{"count":"${'x'.repeat(100)}"}`
  assert.equal((await judge(policy('enforce'), 'POST /orders', long)).decision!.outcome, 'allow')
  const strict = 'waf: { rules: [evil], bodyBytesMax: 64, oversize: deny }'
  assert.deepEqual(told((await judge(policy('enforce', strict), 'POST /orders', long)).decision!).slice(0, 4), [
    'deny',
    403,
    'api',
    'api:body',
  ])
  const off = 'waf: { mode: "off", rules: [], bodyBytesMax: 64, oversize: deny }'
  assert.equal((await judge(policy('enforce', off), 'POST /orders', long)).decision!.rule, 'api:body')
  assert.equal((await judge(policy('shadow', off), 'POST /orders', long)).decision!.shadowOutcome, 'deny')
})

test('a long body where none is declared is refused, whatever waf.oversize says', async () => {
  const { decision } = await judge(policy('enforce'), 'GET /orders', 'x'.repeat(100))
  assert.equal(decision!.rule, 'api:body')
  const environment = environmentOf(policy('enforce'))
  const guard = createGuard()
  const headers = [['Transfer-Encoding', 'chunked']] as const
  const request = {
    method: 'GET',
    target: '/orders',
    httpVersion: '1.1',
    headers,
    remoteAddress: '198.51.100.1',
    host: 'x',
    path: '/orders',
  }
  const head = await guard.head(request, environment)
  assert.equal(head.decision, undefined, 'chunks may be none')
  assert.equal(guard.body(head, new Uint8Array(64).fill(120), true, environment).decision!.rule, 'api:body')
})

test('the tests of a policy name what is outside of the api', () => {
  const tests = `tests:
  - { name: outside, request: { path: /admin }, expect: { outcome: deny, status: 403, rule: "api:path" } }
  - { name: inside, request: { path: /orders }, expect: allow }
  - { name: wrong value, request: { path: "/orders?page=x" }, expect: { outcome: deny, rule: "api:query page" } }
  - { name: expects otherwise, request: { path: "/orders?page=x" }, expect: { outcome: deny, rule: "api:path" } }
`
  const { tests: results, faults } = rehearse(policy('enforce', undefined, tests), judgePolicy)
  assert.deepEqual(
    results.map(({ ok }) => ok),
    [true, true, true, false],
  )
  assert.match(faults[0]!.message, /expected deny by api:path, got deny 403 by api:query page \(expected integer\)/)
})
