import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestNode, type TestNode } from './test-node.ts'

const ATTACK = "/search?q=1'+UNION+SELECT+password+FROM+users--"
let at: TestNode

before(async () => {
  at = await startTestNode()
})

after(() => at?.stop())

test('rule ls counts what matched, on all nodes that answer, and sorts and filters', async () => {
  assert.equal((await at.ask(ATTACK)).status, 403)
  assert.equal((await at.ask('/search?q=lighthouse')).status, 200)
  const { code, stdout, stderr } = await at.run('rule', 'ls', '--hit', '--sort', 'hits')
  assert.equal(code, 0)
  assert.match(stdout, /^ +ID +PHASE +SEVERITY +MODE +HITS/)
  assert.match(stdout, /^140001 +2 +critical +enforce +1 .* 40-sqli\.conf:\d+ +SQL injection/m)
  assert.match(stderr, /requests on n1 in/)
  const all = JSON.parse((await at.run('rule', 'ls', '-o', 'json', '--tag', 'SQLI')).stdout) as { id: number; hits: number }[]
  assert.ok(all.length >= 3 && all.every(({ id }) => id >= 140_000 && id < 150_000))
  const names = (await at.run('rule', 'ls', '-o', 'name', '--hit', '--local')).stdout.trim().split('\n')
  assert.ok(names.includes('140001') && !names.includes('110003'))
})

test('rule show tells text, meaning and counters of one rule; one that is not there is refused', async () => {
  const { stdout } = await at.run('rule', 'show', '140001')
  assert.match(stdout, /SQL injection/)
  assert.match(stdout, /It matches when every argument, .*the header field referer/)
  assert.match(stdout, /SecRule ARGS\|UNPARSED_BODY/)
  assert.match(stdout, /n1 +1 matches; timed/)
  const unknown = await at.run('rule', 'show', '77')
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /no rule 77/)
  assert.equal((await at.run('rule', 'show', 'sqli')).code, 2)
})

test('a rule that the policy leaves out is listed as excluded, and its counters stay', async () => {
  const { text, version } = await at.client.policy()
  const service = text.replace('    upstreams', '    waf: { exclude: [140001] }\n    upstreams')
  await at.client.policyApply(service, version)
  const [row] = (await at.client.rules()).rules.filter(({ id }) => id === 140_001)
  assert.equal(row?.mode, 'excluded')
  assert.ok((row?.hits ?? 0) >= 1)
  await at.client.policyApply(text, version + 1)
})
