import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compilePolicy } from './policy-compile.ts'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'
import { lapseFaults } from './policy-fit.ts'
import { compile } from './test-ring.ts'

const policy = (exceptions: string): string => `version: 1
services:
  shop:
    upstreams: [{ url: "http://127.0.0.1:3000" }]
    routes: [{ name: search, path: /search }, { name: editor, path: /editor }]
exceptions:
${exceptions}`

const GOOD = `name: a, rule: 7, service: shop, route: search, path: /search, variable: "ARGS:q", owner: ada, reason: why, until: "2027-01-31T12:00:00Z"`

function problemsOf(exceptions: string): string {
  const document = parsePolicyDocument(policy(exceptions))
  return document.ok ? '' : formatProblems(document.problems, 'p')
}

test('a whole exception is taken', () => assert.equal(problemsOf(`  - { ${GOOD} }`), ''))

const wrong: readonly [string, string, string, RegExp][] = [
  ['a rule that is no number', 'rule: 7', 'rule: sqli', /7:20: expected a whole number|expected a number/],
  ['an unknown service', 'service: shop', 'service: shpo', /no service shpo \(did you mean shop\?\)/],
  ['an unknown route', 'route: search', 'route: serach', /no route serach \(did you mean search\?\)/],
  ['a pattern for a path', 'path: /search', 'path: "/s*ch"', /expected a path/],
  ['a path that is none', 'path: /search', 'path: search', /begins with \//],
  ['a variable in lower case', '"ARGS:q"', '"args:q"', /expected a variable such as ARGS:q/],
  ['a list of variables', '"ARGS:q"', '"ARGS|FILES"', /expected a variable/],
  ['a local time', '12:00:00Z"', '12:00:00"', /expected a time/],
  ['a day that is none', '01-31', '02-31', /is no moment/],
  ['no owner', 'owner: ada, ', '', /owner is missing/],
  ['a reason of two lines', 'reason: why', 'reason: "a\\nb"', /one printable line/],
]
for (const [name, from, to, expected] of wrong) {
  test(`refused: ${name}`, () => assert.match(problemsOf(`  - { ${GOOD.replace(from, to)} }`), expected))
}

test('refused: a name used twice, and more than 200', () => {
  assert.match(problemsOf(`  - { ${GOOD} }\n  - { ${GOOD} }`), /exception a occurs twice/)
  const many = Array.from({ length: 201 }, (_, i) => `  - { ${GOOD.replace('name: a', `name: a${i}`)} }`).join('\n')
  assert.match(problemsOf(many), /200/)
})

test('an exception is refused when it would last more than 90 days; a lapsed one is none and no fault', () => {
  const document = parsePolicyDocument(policy(`  - { ${GOOD} }`))
  assert.ok(document.ok)
  const until = Date.parse('2027-01-31T12:00:00Z')
  const days = 86_400_000
  assert.match(lapseFaults(document.policy, until - 90 * days - 1)[0]?.message ?? '', /last 91 days, at most 90/)
  assert.deepEqual(lapseFaults(document.policy, until - 90 * days), [])
  assert.deepEqual(lapseFaults(document.policy, until + 1), [])
})

test('an exception belongs to its route and path only', () => {
  const list = [
    GOOD,
    GOOD.replace('name: a', 'name: b').replace('route: search, ', '').replace('path: /search', 'path: "/editor/*"'),
  ]
  const document = parsePolicyDocument(policy(list.map((one) => `  - { ${one} }`).join('\n')))
  assert.ok(document.ok)
  const compiled = compilePolicy(document.policy, compile, new Map([['base', []]]))
  assert.ok(compiled.ok)
  const names = (path: string): readonly string[] =>
    compiled.compiled
      .route('shop', path, 'GET')!
      .exceptions.filter(({ covers }) => covers(path))
      .map(({ exception }) => exception.name)
  assert.deepEqual(names('/search'), ['a'])
  assert.deepEqual(names('/search/more'), [])
  assert.deepEqual(names('/editor/1'), ['b'])
  assert.deepEqual(names('/editor'), [])
  assert.deepEqual(names('/'), [])
  assert.equal(compiled.compiled.routes.length, 3)
})
