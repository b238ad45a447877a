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

const from = (source: string) => ({ headers: { 'x-forwarded-for': source } })
const search = (value: string, parameter = 'q', path = '/find'): string => `${path}?${parameter}=${encodeURIComponent(value)}`
const SQL = "1' UNION SELECT password FROM users--"

test('rule except lets exactly that parameter of that path pass, shows what else would pass, and a dry run changes nothing', async () => {
  const { id } = await at.ask(search(SQL))
  const others = [
    await at.ask(search(`${SQL} x`), from('198.51.100.9')),
    await at.ask(search(SQL, 'other'), from('198.51.100.8')),
  ]
  assert.deepEqual(
    others.map(({ status }) => status),
    [403, 403],
  )
  const before = (await at.client.policy()).version
  const dry = await at.run('rule', 'except', id, '--reason', 'people search for SQL', '--dry-run')
  assert.equal(dry.code, 0)
  assert.match(dry.stderr, /rule 140001 \(SQL injection\) does not look at ARGS:q on \/find, until 20/)
  assert.match(dry.stderr, /3 are to this path; 3 of these are refused now/)
  assert.match(
    dry.stderr,
    /also let through 1 of them, from 1 source:\n.*198\.51\.100\.9 .*\n.*ARGS:q = 1' UNION SELECT password FROM users-- x/,
  )
  assert.equal((await at.client.policy()).version, before)
  const done = await at.run('rule', 'except', id, '--reason', 'people search for SQL', '--ttl', '2d', '--yes')
  assert.equal(done.code, 0, done.stderr)
  assert.equal((await at.ask(search(SQL))).status, 200)
  assert.equal((await at.ask(search(SQL, 'other'))).status, 403)
  assert.equal((await at.ask(search(SQL, 'q', '/find/more'))).status, 403)
  assert.equal((await at.ask(search('<script>alert(1)</script>'))).status, 403)
  const { text } = await at.client.policy()
  assert.match(text, /^# kept by every edit/)
  const [held] = (await at.client.exceptions()).exceptions
  assert.deepEqual(
    [held?.rule, held?.variable, held?.path, held?.owner, held?.lapsed],
    [140_001, 'ARGS:q', '/find', 'local', false],
  )
  const [row] = (await at.client.rules()).rules.filter((one) => one.id === 140_001)
  assert.equal(row?.exceptions, 1)
  assert.match(
    (await at.run('rule', 'show', '140001')).stdout,
    /what it does not look at:\n +exc-140001-\w+: ARGS:q of app \/find/,
  )
  const again = await at.run('rule', 'except', id, '--reason', 'again', '--yes')
  assert.equal(again.code, 1)
  assert.match(again.stderr, /nothing to except/)
})

test('exceptions are listed and removed; what was excepted is refused again', async () => {
  const [name] = (await at.run('rule', 'except', 'ls', '-o', 'name')).stdout.trim().split('\n')
  assert.match((await at.run('rule', 'exceptions')).stdout, /exc-140001-\w+ +140001 +ARGS:q +app \/find +1d +local/)
  assert.equal((await at.run('rule', 'except', 'rm', 'nothing', '--yes')).code, 2)
  assert.equal((await at.run('rule', 'except', 'rm', name!, '--yes')).code, 0)
  assert.equal((await at.ask(search(SQL))).status, 403)
  assert.deepEqual((await at.client.exceptions()).exceptions, [])
})

test('an exception lapses by itself', async () => {
  const { id } = await at.ask(search(SQL))
  assert.equal((await at.run('rule', 'except', id, '--reason', 'for a moment', '--ttl', '3s', '--yes')).code, 0)
  const deadline = Date.now() + 20_000
  let status = 0
  while (status !== 403 && Date.now() < deadline) {
    status = (await at.ask(search(SQL))).status
    await new Promise((wake) => setTimeout(wake, 100))
  }
  assert.equal(status, 403)
  assert.equal((await at.client.exceptions()).exceptions[0]?.lapsed, true)
  assert.equal((await at.run('rule', 'except', 'rm', '--lapsed', '--yes')).code, 0)
})

test('rule except refuses what it cannot do, and says why', async () => {
  const { id } = await at.ask(search(SQL))
  const wrong: readonly [readonly string[], number, RegExp][] = [
    [[id, '--yes'], 2, /--reason: say why/],
    [[id, '--reason', 'x', '--ttl', '91d', '--yes'], 2, /--ttl: expected 1s to 90d/],
    [[id, '--reason', 'x', '--path', '/elsewhere', '--yes'], 2, /does not cover \/find/],
    [[id, '--reason', 'x'], 2, /not a terminal: say --yes/],
    [['n1-unknown', '--reason', 'x', '--yes'], 1, /no node holds the request/],
  ]
  for (const [args, code, message] of wrong) {
    const told = await at.run('rule', 'except', ...args)
    assert.equal(told.code, code, told.stderr)
    assert.match(told.stderr, message)
  }
})

test('an exception that the policy’s own tests forbid is refused, with the test that fails', async () => {
  const { id } = await at.ask(search(SQL))
  const { text, version } = await at.client.policy()
  const forbids = `tests:\n  - { name: no SQL, request: { path: "${search(SQL).replaceAll("'", '%27')}" }, expect: deny }\n`
  await at.client.policyApply(text + forbids, version)
  const told = await at.run('rule', 'except', id, '--reason', 'x', '--yes')
  assert.equal(told.code, 1)
  assert.match(told.stderr, /the test no SQL fails: expected deny, got allow/)
  await at.client.policyApply(text, version + 1)
})

test('a request that two rules refuse needs an exception from each that counts, and from no more', async () => {
  const { id } = await at.ask('/both?a=%3Cscript%3Ealert(1)%3C/script%3E&b=1%27%20UNION%20SELECT%20a%20FROM%20b--')
  const told = await at.run('rule', 'except', id, '--reason', 'x', '--dry-run', '-o', 'json')
  const { exceptions, passes } = JSON.parse(told.stdout) as { exceptions: { rule: number; variable: string }[]; passes: boolean }
  assert.equal(passes, true)
  const variables = new Set(exceptions.map(({ variable }) => variable))
  assert.ok(variables.has('ARGS:a') && variables.has('ARGS:b'))
  assert.equal(new Set(exceptions.map(({ rule, variable }) => `${rule} ${variable}`)).size, exceptions.length)
  const one = await at.run('rule', 'except', id, '--reason', 'x', '--dry-run', '--rule', '140001')
  assert.match(one.stderr, /would still be refused/)
})

test('a route that learns lets all pass, calls nothing refused, and rule estimate tells good clients from attackers', async () => {
  const { text, version } = await at.client.policy()
  const routes =
    '    routes: [{ name: notes, path: /notes, waf: { mode: learn } }, { name: drafts, path: /drafts, waf: { mode: shadow } }]\n'
  await at.client.policyApply(text.replace('    upstreams', `${routes}    upstreams`), version)
  for (let client = 1; client <= 4; client += 1) {
    const own = from(`198.51.100.${client}`)
    for (let i = 0; i < 6; i += 1) await at.ask(`/notes?text=hello${i}`, own)
    assert.equal((await at.ask(search(SQL, 'text', '/notes'), own)).status, 200)
  }
  for (let i = 0; i < 5; i += 1) assert.equal((await at.ask(search(SQL, `p${i}`, '/notes'), from('203.0.113.9'))).status, 200)
  const learned = await at.ask(search(SQL, 'text', '/notes'))
  const shadowed = await at.ask(search(SQL, 'text', '/drafts'))
  const outcome = async (id: string) => (await at.client.explain(id)).decision.shadowOutcome
  assert.deepEqual([await outcome(learned.id), await outcome(shadowed.id)], ['allow', 'deny'])
  const told = await at.run('rule', 'estimate')
  assert.equal(told.code, 0)
  assert.match(told.stderr, /app notes: learn for .*; 34 requests of about 6 clients/)
  assert.match(told.stderr, /10 would be refused .* 5 look like false positives .*, 5 like attacks/)
  assert.match(told.stdout, /app notes +140001 +ARGS:text +5 +5 +4 +false positive +n1-/)
  assert.match(told.stdout, /app notes +140001 +ARGS:p0 +1 +1 +0 +attack/)
  assert.match((await at.run('rule', 'ls', '--hit')).stdout, /140001 .* mixed/)
  const one = JSON.parse((await at.run('rule', 'estimate', '--route', 'app drafts', '-o', 'json')).stdout) as { mode: string }[]
  assert.deepEqual(
    one.map(({ mode }) => mode),
    ['shadow'],
  )
  assert.equal((await at.run('rule', 'estimate', '--route', 'nothing')).code, 2)
  // What it names can be excepted at once, though nothing was refused.
  const excepted = await at.run('rule', 'except', learned.id, '--reason', 'notes hold SQL', '--yes')
  assert.equal(excepted.code, 0, excepted.stderr)
  await at.ask('/notes?text=again')
  const [after] = (await at.client.estimate()).routes.filter(({ label }) => label === 'app notes')
  assert.deepEqual([after?.requests, after?.refused], [1, 0])
})

test('a request that its head refused says that its body is not known', async () => {
  const { id, status } = await at.ask('/post', { method: 'POST', body: 'q=1', headers: { 'user-agent': 'sqlmap/1.7' } })
  assert.equal(status, 403)
  const told = await at.run('rule', 'except', id, '--reason', 'our own scanner', '--dry-run')
  assert.equal(told.code, 0, told.stderr)
  assert.match(told.stderr, /does not look at REQUEST_HEADERS:user-agent on \/post/i)
  assert.match(told.stderr, /refused before its body was read/)
})

test('rule install refuses wrong usage and what does not match its checksum', async () => {
  writeFileSync(join(at.folder, 'crs.tar.gz'), 'no archive')
  const install = (...args: readonly string[]) => runCli(['rule', 'install', ...args], {}, at.folder)
  assert.equal((await install('crs', '--version', '4.7.0')).code, 2)
  assert.equal((await install('base', '--version', '4.7.0', '--sha256', 'a'.repeat(64))).code, 2)
  const other = await install('crs', '--version', '4.7.0', '--sha256', 'a'.repeat(64), '--from', 'crs.tar.gz')
  assert.equal(other.code, 1)
  assert.match(other.stderr, /crs\.tar\.gz: its SHA-256 is [0-9a-f]{64}, not a{64}; nothing was installed/)
})

test('a model is trained on what rules said, judges by stages, explains itself, learns what operators say, and is reverted', async () => {
  const { text, version } = await at.client.policy()
  await at.client.policyApply(`${text}detectors: { model: { train: true, threshold: 0.5, refuseMax: 1 } }\n`, version)
  assert.match((await at.run('model', 'train')).stderr, /at least 50 of either are needed/)
  const attacks = [
    "1'+UNION+SELECT+a+FROM+b--",
    '%3Cscript%3Ealert(1)%3C/script%3E',
    '../../../../etc/passwd',
    ';cat+/etc/passwd;id',
  ]
  // Noise is part of each step: of 240 examples either way it drowns nothing.
  for (let number = 0; number < 240; number += 1) {
    await at.ask(`/search?n=${number}&q=${attacks[number % attacks.length]}`)
    await at.ask(`/search?n=${number}&q=${['red+shoes', 'rock+and+roll', '12345', 'green,blue'][number % 4]}`)
  }
  const trained = await at.run('model', 'train', '-o', 'json')
  assert.equal(trained.code, 0, trained.stderr)
  const { hash, auc } = JSON.parse(trained.stdout) as { hash: string; auc: number }
  assert.ok(auc > 0.7, String(auc))
  assert.match((await at.run('model', 'ls')).stdout, new RegExp(`^ ?${hash.slice(0, 12)} `, 'm'))

  assert.equal((await at.run('model', 'use', hash.slice(0, 8), '--stage', 'node:n1', '--yes')).code, 0)
  // Rules let it pass where they are told to: the model does not.
  const before = await at.client.policy()
  const open = before.text.replace(
    '    upstreams',
    '    waf: { exclude: [140001, 140002, 140003, 140004, 140005, 140006] }\n    upstreams',
  )
  await at.client.policyApply(open, before.version)
  const ids: string[] = []
  for (const attack of ["1'+UNION+SELECT+a+FROM+b--", "2'+or+'a'='a", "x'+AND+sleep(5)--", "7'+GROUP+BY+1--"]) {
    const { status, id } = await at.ask(`/search?n=9&q=${attack}`)
    if (status === 403 && /model:/.test((await at.run('explain', id)).stdout)) ids.push(id)
  }
  assert.ok(ids.length > 0, 'the model refuses none of them')
  const told = await at.run('model', 'explain', ids[0]!)
  assert.match(told.stdout, /^model [0-9a-f]{12} scores (?:0\.[5-9]\d*|1\.0+) /)
  assert.match(told.stdout, /[+]\d+\.\d+ {2}the (word|structure) /)
  assert.equal((await at.run('model', 'label', ids[0]!, 'honest')).code, 0)
  assert.match((await at.run('model', 'show')).stdout, /refuses here[\s\S]*1 by operators/)
  assert.match((await at.run('model', 'explain', 'n1-nothing')).stderr, /keeps no request/)
  assert.equal((await at.run('model', 'revert', '--yes')).code, 0)
  assert.match((await at.run('model', 'show')).stdout, /the policy names no model/)
  assert.equal((await at.ask('/search?n=9&q=red+hats')).status, 200)
  await at.client.policyApply(text, (await at.client.policy()).version)
})
