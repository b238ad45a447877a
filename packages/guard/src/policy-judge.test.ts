import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { compilePolicy, parsePolicyDocument, type Rehearsal, rehearse } from '@ringwall/ring'
import { compileRules } from '@ringwall/waf'
import { judgePolicy } from './policy-judge.ts'

const folder = resolve(import.meta.dirname, '../../waf/rules')
const base = readdirSync(folder)
  .filter((file) => file.endsWith('.conf'))
  .sort()
  .map((file) => ({ file, text: readFileSync(join(folder, file), 'utf8') }))

const POLICY = `version: 1
services:
  shop:
    hosts: [shop.example]
    upstreams: [{ url: "http://127.0.0.1:1" }]
    routes:
      - { name: admin, path: /admin, deny: true }
      - { name: slow, path: /slow, limits: [{ name: few, rate: 2/m }] }
      - { name: mine, path: /mine, identity: { claims: { role: customer } } }
      - { name: watched, path: /watched, waf: { mode: shadow } }
issuers:
  - { issuer: "https://id.example", audience: shop, jwks: { keys: [{ kty: OKP }] } }
`

function run(tests: readonly string[], library = base): Rehearsal {
  const document = parsePolicyDocument(
    `${POLICY}tests:${tests.length === 0 ? ' []' : ''}\n${tests.map((line) => `  - ${line}\n`).join('')}`,
  )
  assert.ok(document.ok, JSON.stringify(document))
  const compiled = compilePolicy(document.policy, compileRules, new Map([['base', library]]))
  assert.ok(compiled.ok)
  return rehearse(compiled.compiled, judgePolicy)
}

const AT = 'host: shop.example'

test('the tests of a policy go through the same checks as requests do', () => {
  const { tests, faults } = run([
    `{ name: page, request: { ${AT}, path: "/search?q=lamp" }, expect: { outcome: allow, status: 200 } }`,
    '{ name: other host, request: { host: other.example }, expect: { outcome: deny, status: 404 } }',
    `{ name: closed, request: { ${AT}, path: "/admin/x" }, expect: { outcome: deny, status: 403 } }`,
    `{ name: spelled otherwise, request: { ${AT}, path: "/%61dmin" }, expect: deny }`,
    `{ name: no path, request: { ${AT}, path: "/%ff" }, expect: { outcome: deny, status: 400 } }`,
    `{ name: injection, request: { ${AT}, path: "/search?q=1%27%20UNION%20SELECT%20password%20FROM%20users--" }, expect: deny }`,
    `{ name: injected body, request: { ${AT}, method: POST, path: /contact, headers: { content-type: application/x-www-form-urlencoded }, body: "q=1%27%20OR%201=1--" }, expect: deny }`,
    `{ name: watched, request: { ${AT}, path: "/watched?q=1%27%20OR%201=1--" }, expect: allow }`,
    `{ name: within the limit, request: { ${AT}, path: /slow }, repeat: 2, expect: allow }`,
    `{ name: over the limit, request: { ${AT}, path: /slow }, repeat: 3, expect: { outcome: throttle, status: 429, rule: "limit:few" } }`,
    `{ name: nobody, request: { ${AT}, path: /mine }, expect: { outcome: deny, status: 401 } }`,
    `{ name: customer, request: { ${AT}, path: /mine, token: { issuer: "https://id.example", claims: { role: customer } } }, expect: allow }`,
    `{ name: guest, request: { ${AT}, path: /mine, token: { issuer: "https://id.example", claims: { role: guest } } }, expect: { outcome: deny, status: 403 } }`,
    `{ name: stranger, request: { ${AT}, path: /mine, token: { issuer: "https://evil.example" } }, expect: { outcome: deny, status: 401 } }`,
  ])
  assert.deepEqual(faults, [])
  assert.ok(tests.every(({ ok }) => ok) && tests.length === 14)
})

test('a rule is known by its id, and what it did is told when it was another', () => {
  const attack = `{ name: x, request: { ${AT}, path: "/?q=1%27%20UNION%20SELECT%20a%20FROM%20b--" }, expect: { outcome: deny, rule: RULE } }`
  const [first] = run([attack.replace('RULE', '1')]).tests
  const id = /by rule:(\d+)/.exec(first?.got ?? '')?.[1]
  assert.ok(first?.ok === false && id !== undefined, first?.got)
  assert.deepEqual(run([attack.replace('RULE', id)]).faults, [])
  assert.deepEqual(run([attack.replace('RULE', `"rule:${id}"`)]).faults, [])
})

test('the same request does the same work, whatever was judged before it, and the base rules are far within the budget', () => {
  const lines = ['/search?q=lamp', '/search?q=lamp', '/a/b?c=d'].map(
    (path, n) => `{ name: t${n}, request: { ${AT}, path: "${path}" }, expect: allow }`,
  )
  const works = run(lines).tests.map(({ work }) => work)
  assert.equal(works[0], works[1])
  assert.deepEqual(
    run(lines.toReversed())
      .tests.map(({ work }) => work)
      .toReversed(),
    works,
  )
  for (const { work, budget } of run([]).costs) assert.ok(work > 1_000 && work * 10 < budget)
})

test('a rule that does much work on a test request is stopped and counted, not waited for', () => {
  const chain = Array.from({ length: 400 }, (_, n) => `SecRule REQUEST_BODY "@detectSQLi" "id:${n + 1},phase:2,pass,t:none"`)
  const library = [{ file: 'slow.conf', text: `SecRuleEngine On\n${chain.join('\n')}\n` }]
  const body = 'the union of words or a lamp '.repeat(1_400)
  const long = (repeat: number) =>
    run(
      [
        `{ name: long, request: { ${AT}, method: POST, headers: { content-type: application/x-www-form-urlencoded }, body: "${body}" }, repeat: ${repeat}, expect: allow }`,
      ],
      library,
    )
  assert.match(String(long(1).faults.at(-1)?.message), /the test long fails: .*took too much work/)
  assert.match(String(long(1_000).faults.at(-1)?.message), /the tests up to long take more than 64000000 units of work/)
  assert.ok(long(1).costs.every(({ work }) => work < 60_000_000))
})

test('a test that names labels is asked at a node that has them, and another at one that serves everything', () => {
  const text = `version: 1
services:
  eu: { hosts: [shop.example], nodes: "region in (eu-1)", upstreams: [{ url: "http://127.0.0.1:1" }], routes: [{ name: out, path: /x, deny: true }] }
  us: { hosts: [shop.example], nodes: role=edge, upstreams: [{ url: "http://127.0.0.1:2" }] }
tests:
  - { name: anywhere, request: { ${AT}, path: /x }, expect: { outcome: deny, status: 403 } }
  - { name: in eu, labels: { region: eu-1, role: edge }, request: { ${AT}, path: /x }, expect: { outcome: deny, status: 403 } }
  - { name: an edge, labels: { role: edge }, request: { ${AT}, path: /x }, expect: allow }
  - { name: nobody's, labels: {}, request: { ${AT}, path: /x }, expect: { outcome: deny, status: 404 } }
  - { name: wrong, labels: { role: office }, request: { ${AT}, path: /x }, expect: allow }
`
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  const compiled = compilePolicy(document.policy, compileRules, new Map([['base', base]]))
  assert.ok(compiled.ok)
  const { tests, faults } = rehearse(compiled.compiled, judgePolicy)
  assert.deepEqual(
    tests.map(({ ok }) => ok),
    [true, true, true, true, false],
  )
  assert.match(faults[0]?.message ?? '', /wrong fails: expected allow, got deny 404 by route/)
})
