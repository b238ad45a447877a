import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { patchOf } from './commands/rule-patch.ts'
import { startTestNode, type TestNode } from './test-node.ts'

let at: TestNode

before(async () => {
  at = await startTestNode()
})

after(() => at?.stop())

const PATCH = `name: cve-1
service: app
when: { id: 500001, methods: [GET, POST], path: "^/report$", variable: "ARGS:id", unless: "^[0-9]{1,9}$" }
tests:
  - { name: a path, request: { path: "/report?id=..%2Fx" }, expect: match }
  - { name: a number, request: { path: "/report?id=77" }, expect: pass }
  - { name: another page, request: { path: "/other?id=x" }, expect: pass }
`

function file(name: string, text: string): string {
  writeFileSync(join(at.folder, name), text)
  return name
}

test('a patch watches first, then refuses, then goes; each step by the policy', async () => {
  const added = await at.run('rule', 'patch', file('p.yaml', PATCH), '--reason', 'CVE-1', '--ttl', '2d', '--yes')
  assert.equal(added.code, 0, added.stderr)
  assert.match(added.stderr, /✓ patch cve-1: a path/)
  const watched = await at.ask('/report?id=abc')
  assert.equal(watched.status, 200)
  const { decision } = await at.client.explain(watched.id)
  assert.deepEqual(
    [decision.outcome, decision.shadowOutcome, decision.matches.map(({ ruleId }) => ruleId)],
    ['allow', 'deny', [500_001]],
  )
  assert.match((await at.run('rule', 'patch', 'ls')).stdout, /cve-1 +app +shadow +500001 +1 +3 +1d +local +CVE-1/)

  assert.equal((await at.run('rule', 'patch', 'enforce', 'cve-1', '--yes')).code, 0)
  const refused = await at.ask('/report?id=abc')
  assert.equal(refused.status, 403)
  assert.match(
    (await at.run('explain', refused.id)).stdout,
    /rule:500001[\s\S]*500001 +critical virtual patch cve-1[\s\S]*ARGS:id \(link 3\) = abc/,
  )
  assert.equal((await at.ask('/report?id=12')).status, 200)
  assert.equal((await at.ask('/other?id=abc')).status, 200)
  assert.equal((await at.ask('/report', { method: 'POST', body: new URLSearchParams({ id: 'x' }) })).status, 403)
  const [row] = (await at.client.rules()).rules.filter(({ id }) => id === 500_001)
  assert.equal(row?.mode, 'enforce')
  assert.ok((row?.hits ?? 0) >= 3)
  assert.match((await at.run('rule', 'show', '500001')).stdout, /app: enforce[\s\S]*SecRule REQUEST_METHOD/)

  assert.equal((await at.run('rule', 'patch', 'rm', 'cve-1', '--yes')).code, 0)
  assert.equal((await at.ask('/report?id=abc')).status, 200)
  assert.match((await at.client.policy()).text, /^# kept by every edit/)
})

test('a patch whose own tests fail is refused, with which; nothing changes', async () => {
  const { version } = await at.client.policy()
  const told = await at.run('rule', 'patch', file('bad.yaml', PATCH.replace('{1,9}', '{1,1}')), '--reason', 'x', '--yes')
  assert.equal(told.code, 1)
  assert.match(told.stderr, /✗ patch cve-1: a number: expected pass, got match/)
  assert.equal((await at.client.policy()).version, version)
})

test('an enforced patch refuses also where the WAF is off, and lapses by itself', async () => {
  const { text, version } = await at.client.policy()
  await at.client.policyApply(text.replace('    upstreams', '    waf: { mode: "off" }\n    upstreams'), version)
  assert.equal((await at.run('rule', 'patch', 'p.yaml', '--reason', 'x', '--mode', 'enforce', '--ttl', '20s', '--yes')).code, 0)
  assert.equal((await at.ask('/report?id=abc')).status, 403)
  const deadline = Date.now() + 60_000
  let status = 403
  while (status === 403 && Date.now() < deadline) {
    await new Promise((wake) => setTimeout(wake, 250))
    status = (await at.ask('/report?id=abc')).status
  }
  assert.equal(status, 200)
})

const wrong: readonly [string, string, RegExp][] = [
  ['no map', '- a', /expected a patch/],
  ['broken YAML', 'name: [', /p\.yaml: /],
  ['both forms', `${PATCH}rules: x\n`, /both rules and when/],
  ['an unknown key', PATCH.replace('unless', 'unles'), /when: unles is not known/],
  ['no id', PATCH.replace('id: 500001, ', ''), /when: id: expected a number/],
  ['neither pattern', PATCH.replace(', unless: "^[0-9]{1,9}$"', ''), /either matches or unless/],
  ['a variable that is none', PATCH.replace('"ARGS:id"', '"ARGS id"'), /when: variable/],
  ['a pattern of two lines', PATCH.replace('"^/report$"', '"a\\nb"'), /path: expected one line/],
]
for (const [name, text, message] of wrong) {
  test(`a file is refused: ${name}`, () => assert.throws(() => patchOf(text, 'p.yaml'), message))
}

test('quotes in a pattern and a message stay what they are', () => {
  const patch = patchOf(PATCH.replace('unless: "^[0-9]{1,9}$"', `matches: 'a"b\\d', message: "it's"`), 'p.yaml')
  assert.match(String(patch.rules), /"@rx a\\"b\\d"/)
  assert.match(String(patch.rules), /msg:'it\\'s'/)
})
