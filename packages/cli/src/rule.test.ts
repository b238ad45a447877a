import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { runCli, startTestNode, type TestNode } from './test-node.ts'

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

test('explain shows the part that each rule matched, marked, and masks credentials', async () => {
  const attack = "1' UNION SELECT password FROM users--"
  const { id, status } = await at.ask(`/search?q=${encodeURIComponent(attack)}&token=${encodeURIComponent(`s3cr3t${attack}`)}`, {
    headers: { cookie: `sid=s3cr3t${attack.replaceAll(' ', '+')}`, authorization: 'Basic czNjcjN0' },
  })
  assert.equal(status, 403)
  const told = await at.run('explain', id)
  assert.match(told.stdout, /140001 +critical SQL injection +40-sqli\.conf:\d+ +score 0 → 15/)
  assert.match(told.stdout, /ARGS:q = 1' UNION SELECT password FROM users--/)
  assert.match(told.stdout, /ARGS:token = \[masked\]/)
  assert.match(told.stdout, /@detectSQLi/)
  const recorded = JSON.stringify(await at.client.explain(id))
  assert.doesNotMatch(told.stdout + recorded, /s3cr3t|czNjcjN0/)
  const probe = await at.ask('/x.php?f=../../../../etc/passwd%00', { headers: { 'user-agent': 'sqlmap/1.7' } })
  assert.match((await at.run('explain', probe.id)).stdout, /REQUEST_HEADERS:user-agent = «sqlmap»\/1\.7/i)
})

test('rule test and explain work without a ring: 0 as expected, 1 not, 2 for what cannot be read', async () => {
  const offline = (...args: readonly string[]) => runCli(['rule', ...args], {}, at.folder)
  assert.equal((await offline('test', ATTACK.replaceAll("'", '%27'), '--expect', 'deny', '--expect-rule', '140001')).code, 0)
  const failing = await offline('test', '/search?q=a', '--expect', 'deny')
  assert.equal(failing.code, 1)
  assert.match(failing.stdout, /✗ GET \/search\?q=a: expected deny, got allow/)
  assert.equal((await offline('test', '/search?q=a')).code, 2)
  assert.equal((await offline('test', '/search', '--request', 'nowhere.http')).code, 2)
  writeFileSync(join(at.folder, 'bad.conf'), 'SecRule ARGS "@rx (" "id:1"\n')
  const bad = await offline('explain', '/', '--rules', 'bad.conf')
  assert.equal(bad.code, 1)
  assert.match(bad.stderr, /bad\.conf:1:\d+: /)
  assert.equal(bad.stderr.trim().split('\n').length, 1)
  writeFileSync(
    join(at.folder, 'cases.yaml'),
    'cases:\n  - { name: one, request: { path: /a }, expect: allow }\n  - { name: two, request: { path: "/?q=<script>alert(1)</script>" }, expect: allow }\n',
  )
  const cases = await offline('test', 'cases.yaml')
  assert.equal(cases.code, 1)
  assert.match(cases.stdout, /✓ one\n✗ two: expected allow, got deny 403/)
  assert.match(cases.stderr, /1 of 2 pass/)
  const explained = await offline(
    'explain',
    '/login',
    '-d',
    `password=${encodeURIComponent("x' OR 1=1--")}&q=<script>alert(1)</script>`,
    '-H',
    'Cookie: a=b',
  )
  assert.match(explained.stdout, /^DENY 403 +POST \/login/)
  assert.match(explained.stdout, /ARGS:q = .*script/)
  assert.doesNotMatch(explained.stdout, /OR 1=1/)
  const json = JSON.parse((await offline('explain', '/a', '-o', 'json')).stdout) as { outcome: string }
  assert.equal(json.outcome, 'allow')
})
