import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from '@ringwall/waf'
import { compilePolicy } from './policy-compile.ts'
import { parsePolicyDocument } from './policy-document.ts'
import { rehearse } from './rehearsal.ts'

const RULE = `SecRule ARGS:id "!@rx ^[0-9]{1,9}$" "id:500001,phase:2,msg:'id is a number'"`
const TESTS = `[{ name: a word, request: { path: "/?id=x" }, expect: match }, { name: a number, request: { path: "/?id=7" }, expect: pass }]`

function problemsOf(rules: string, tests = TESTS, more = ''): string {
  const text = `version: 1
services:
  shop:
    upstreams: [{ url: "http://127.0.0.1:3000" }]
    waf: { rules: [none] }
    routes: [{ name: item, path: /item }]
patches:
  - { name: p1, service: shop, route: item, mode: shadow, rules: ${JSON.stringify(rules)}, tests: ${tests}, owner: ada, reason: why, until: "2027-01-31T12:00:00Z" }
${more}`
  const document = parsePolicyDocument(text)
  if (!document.ok) return document.problems.map(({ message }) => message).join('; ')
  const library = new Map([['none', [{ file: 'none.conf', text: 'SecAction "id:1,phase:1,pass,nolog"' }]]])
  const compiled = compilePolicy(document.policy, compileRules, library)
  if (!compiled.ok) return compiled.problems.join('; ')
  const { faults } = rehearse(compiled.compiled, () => () => {
    throw new Error('no test of the policy runs')
  })
  return faults.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
}

test('a patch whose tests hold is taken', () => assert.equal(problemsOf(RULE), ''))

test('a chain, a status and comments are taken', () => {
  const rules = `# only posts\nSecRule REQUEST_METHOD "@streq POST" "id:1,phase:2,deny,status:400,chain"\n  SecRule ARGS:id "@rx x" \\\n  "t:lowercase"\n`
  const tests = `[{ name: a, request: { method: POST, path: "/?id=X" }, expect: match }, { name: b, request: { path: "/?id=x" }, expect: pass }]`
  assert.equal(problemsOf(rules, tests), '')
})

const wrong: readonly [string, string, RegExp, string?][] = [
  [
    'a test that fails, with its place',
    RULE.replace('1,9', '1,1'),
    /patches\.0\.tests\.2\.expect: the test patch p1: big fails: expected pass, got match/,
    TESTS.replace(']', ', { name: big, request: { path: "/?id=77" }, expect: pass }]'),
  ],
  [
    'no test that it lets something pass',
    RULE,
    /has no test that expects pass/,
    TESTS.replace('expect: pass', 'expect: match').replace('id=7"', 'id=y"'),
  ],
  ['one test', RULE, />=2 items/, TESTS.replace(/, \{ name: a number.*\}/, '')],
  ['rules with a mistake, with its place', 'SecRule ARGS "@rxx a" "id:1"', /patch p1:1:15: the operator @rxx/],
  ['a directive that switches', `SecRuleEngine Off\n${RULE}`, /SecRuleEngine Off: expected SecRule and nothing else/],
  ['a rule that lets pass', RULE.replace('phase:2', 'phase:2,allow'), /expected deny/],
  [
    'a rule that switches others off',
    RULE.replace('phase:2', 'phase:2,deny,ctl:ruleEngine=Off'),
    /the action ctl is nothing for a patch/,
  ],
  ['a rule that keeps a score', RULE.replace('phase:2', 'phase:2,deny,setvar:tx.a=1'), /the action setvar/],
  ['a rule about responses', 'SecRule RESPONSE_STATUS "@eq 500" "id:1,phase:3,deny"', /expected phase 1 or 2/],
]
for (const [name, rules, message, tests] of wrong) {
  test(`refused: ${name}`, () => assert.match(problemsOf(rules, tests), message))
}
