/** A ring of four real processes in front of the demo shop, as a user meets it. Steps build on one another, in order. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, eventually, type Reply, TestRing } from './local-ring.ts'

const ALL = [1, 2, 3, 4]
const INJECTION = `/search?q=${encodeURIComponent("1' UNION SELECT password FROM users--")}`
const from = (address: string): { headers: Record<string, string> } => ({ headers: { 'x-forwarded-for': address } })

let ring: TestRing

before(async () => {
  ring = await TestRing.start()
})

after(async () => {
  await ring?.destroy()
})

test('01 every node serves a benign request with a request id, and refuses an injection without saying why', async () => {
  for (const node of ALL) {
    const benign = await ask(ring.traffic(node), '/search?q=lighthouse')
    assert.equal(benign.status, 200)
    assert.match(String(benign.headers['x-request-id']), new RegExp(`^n${node}-`))
    const attack = await ask(ring.traffic(node), INJECTION)
    assert.equal(attack.status, 403)
    assert.match(String(attack.headers['x-request-id']), /^n\d-/)
    assert.doesNotMatch(attack.body, /sql|union|rule|waf/i)
  }
})

test('02 explain tells of a request on another node than the one asked', async () => {
  const attack = await ask(ring.traffic(3), INJECTION)
  const story = ring.cli('explain', String(attack.headers['x-request-id']), '--node', 'n1')
  assert.equal(story.code, 0, story.stderr)
  assert.match(story.stdout, /deny/i)
  assert.match(story.stdout, /ARGS:q/)
})

test('03 a ban by the command line holds on all four nodes, and lifting it lifts it everywhere', async () => {
  const everybody = ring.cli('deny', 'add', 'cidr', '0.0.0.0/0', '--dry-run')
  assert.equal(everybody.code, 1)
  assert.match(everybody.stderr, /refused: /)
  for (const node of ALL) assert.equal((await ask(ring.traffic(node), '/', from('203.0.113.7'))).status, 200)
  const ban = ring.cli('deny', 'add', 'ip', '203.0.113.7', '--ttl', '10m', '--reason', 'e2e')
  assert.equal(ban.code, 0, ban.stderr)
  for (const node of ALL) {
    await eventually(`n${node} refuses`, async () => (await ask(ring.traffic(node), '/', from('203.0.113.7'))).status === 403)
    assert.equal((await ask(ring.traffic(node), '/', from('203.0.113.8'))).status, 200)
  }
  const lift = ring.cli('deny', 'rm', '203.0.113.7', '--reason', 'e2e')
  assert.equal(lift.code, 0, lift.stderr)
  for (const node of ALL)
    await eventually(
      `n${node} serves again`,
      async () => (await ask(ring.traffic(node), '/', from('203.0.113.7'))).status === 200,
    )
})

test('04 a policy is planned, applied and swapped in on every node while a kept connection goes on; then there is nothing to plan', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const kept = (path: string): Promise<{ status: number; port: number | undefined }> =>
    new Promise((settle, refuse) => {
      request({ host: '127.0.0.1', port: ring.traffic(2), path, agent }, (response) => {
        const port = response.socket.localPort
        response.resume().on('end', () => settle({ status: response.statusCode ?? 0, port }))
      })
        .on('error', refuse)
        .end()
    })
  const first = await kept('/')
  const { text } = await ring.client(1).policy()
  const file = join(ring.data, 'changed.yaml')
  writeFileSync(file, text.replace('mode: enforce', 'mode: shadow'))
  const plan = ring.cli('policy', 'plan', file)
  assert.equal(plan.code, 0, plan.stderr)
  assert.match(plan.stdout, /services\.shop\.waf\.mode/)
  const apply = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(apply.code, 0, apply.stderr)
  for (const node of ALL)
    await eventually(`n${node} only watches`, async () => (await ask(ring.traffic(node), INJECTION)).status === 200)
  const second = await kept('/')
  assert.deepEqual(second, first, 'the kept connection survived the swap')
  agent.destroy()
  assert.match(ring.cli('policy', 'plan', file).stdout, /no changes/i)
  writeFileSync(file, text)
  assert.equal(ring.cli('policy', 'apply', file, '--yes').code, 0)
  for (const node of ALL)
    await eventually(`n${node} enforces`, async () => (await ask(ring.traffic(node), INJECTION)).status === 403)
})

test('05 a policy with a mistake is refused with line and column, and what it probably meant', async () => {
  const file = join(ring.data, 'wrong.yaml')
  const { text } = await ring.client(1).policy()
  writeFileSync(file, text.replace('    limits:', '    limts:'))
  const plan = ring.cli('policy', 'plan', file)
  assert.equal(plan.code, 1)
  assert.match(plan.stdout + plan.stderr, /:\d+:\d+: .*limts.*limits/s)
  writeFileSync(file, 'version: 1\nservices: [')
  assert.match(ring.cli('policy', 'apply', file, '--yes').stderr, /:\d+:\d+: /)
})

test('06 failed logins from one source, spread over all nodes, become a denial on all nodes', async () => {
  const source = '198.51.100.20'
  for (let attempt = 0; attempt < 24; attempt += 1) {
    const body = `email=user${attempt}%40example.test&password=wrong${attempt}`
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-for': source }
    // Connections of a denied source are cut, so that the last ones may get no answer at all.
    await ask(ring.traffic((attempt % 4) + 1), '/login', { method: 'POST', headers, body }).catch(() => {})
  }
  for (const node of ALL)
    await eventually(`n${node} refuses the source`, async () => (await ask(ring.traffic(node), '/', from(source))).status === 403)
  const { denials } = await ring.client(2).denials()
  const denial = denials.find(({ subject }) => subject.kind === 'ip' && subject.value === source)
  assert.match(String(denial?.issuer), /^node:n[1-4]$/)
})

test('07 the trace context goes through to the application, and the spans make one tree', async () => {
  const traceId = 'a0b1c2d3e4f5061728394a5b6c7d8e9f'
  const reply = await ask(ring.traffic(1), '/api/echo-headers', { headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } })
  assert.equal(reply.status, 200)
  assert.match(reply.body, new RegExp(`00-${traceId}-`))
  assert.match(reply.body, new RegExp(String(reply.headers['x-request-id'])))
  await eventually('the spans are kept', async () => (await ring.client(2).trace(traceId)).spans.length >= 3)
  const { spans } = await ring.client(2).trace(traceId)
  const ids = new Set(spans.map(({ spanId }) => spanId))
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined || parentSpanId === null || !ids.has(parentSpanId))
  assert.equal(roots.length, 1, 'one tree')
  assert.equal(roots[0]?.kind, 'server')
  assert.ok(
    spans.some(({ kind }) => kind === 'client'),
    'down to the upstream',
  )
})

test('08 the application down: 502 with a request id, and check says so', async () => {
  const { text } = await ring.client(1).policy()
  const file = join(ring.data, 'elsewhere.yaml')
  writeFileSync(file, text.replace(/url: http:\/\/127\.0\.0\.1:\d+/, 'url: http://127.0.0.1:9'))
  assert.equal(ring.cli('policy', 'apply', file, '--yes').code, 0)
  await eventually('502', async () => (await ask(ring.traffic(1), '/')).status === 502)
  assert.match(String((await ask(ring.traffic(1), '/')).headers['x-request-id']), /^n1-/)
  const check = ring.cli('check', '--node', 'n1')
  assert.equal(check.code, 1)
  assert.match(check.stdout, /127\.0\.0\.1:9/)
  writeFileSync(file, text)
  assert.equal(ring.cli('policy', 'apply', file, '--yes').code, 0)
  await eventually('back', async () => (await ask(ring.traffic(1), '/')).status === 200)
})

test('08b labels select nodes; a drained node serves on, tells balancers to go elsewhere, and is back once it is lifted', async () => {
  assert.equal(ring.cli('node', 'label', 'n2', 'role=edge').code, 0)
  const selected = ring.cli('fleet', 'ls', '--select', 'role=edge,region in (us-east)', '-o', 'name')
  assert.equal(selected.stdout.trim(), 'n2', selected.stderr)
  assert.equal(ring.cli('fleet', 'ls', '--select', 'role in edge').code, 2)
  const { text } = await ring.client(1).policy()
  const { url } = /(?<url>http:\/\/127\.0\.0\.1:\d+)/.exec(text)?.groups ?? {}
  const file = join(ring.data, 'edges.yaml')
  const service = `services:\n  edges: { hosts: [edges.example], nodes: role=edge, upstreams: [{ url: "${url}" }], limits: [{ name: few, key: [ip], rate: 3/h, scope: ring }], routes: [{ name: closed, path: /search, deny: true }] }\n`
  writeFileSync(file, text.replace('services:\n', service))
  assert.match(ring.cli('policy', 'apply', file, '--yes').stderr, /edges is served by n2 \(role=edge\)/)
  const search = async (node: number): Promise<number> =>
    (await ask(ring.traffic(node), '/search?q=lamp', { headers: { host: 'edges.example' } })).status
  await eventually('n2 has the service, the others know nothing of it', async () => (await search(2)) === 403)
  assert.deepEqual([await search(1), await search(3), await search(4)], [200, 200, 200])
  for (const source of ['198.51.100.31', '198.51.100.32', '198.51.100.33', '198.51.100.34']) {
    const headers = { host: 'edges.example', 'x-forwarded-for': source }
    const statuses: number[] = []
    for (let asked = 0; asked < 4; asked += 1) statuses.push((await ask(ring.traffic(2), '/', { headers })).status)
    assert.deepEqual(statuses, [200, 200, 200, 429], 'whichever node counts, its limit is the ring’s')
  }
  assert.equal(ring.cli('node', 'label', 'n3', 'role=edge').code, 0)
  await eventually('a label is enough', async () => (await search(3)) === 403)
  writeFileSync(file, text)
  assert.equal(ring.cli('policy', 'apply', file, '--yes').code, 0)
  const readyz = (): Promise<Reply> => ask(ring.base + 1_002, '/readyz')
  assert.equal((await readyz()).status, 200)
  assert.equal(ring.cli('node', 'drain', 'n2', '--for', '1h', '--reason', 'new disk').code, 0)
  await eventually('its readiness says so', async () => (await readyz()).status === 503)
  assert.match((await readyz()).body, /drained by operator:local: new disk/)
  const served = await ask(ring.traffic(2), '/', { headers: { connection: 'keep-alive' } })
  assert.deepEqual([served.status, served.headers.connection], [200, 'close'])
  const { ledger, hold } = await ring.client(2).status()
  assert.deepEqual([hold?.kind, ledger.reachable.length], ['drain', 4], 'its links stay')
  assert.equal(ring.cli('node', 'uncordon', 'n2').code, 0)
  await eventually('it is ready again', async () => (await readyz()).status === 200)
})

test('09 a node killed: the others enforce and agree; restarted, it catches up alone', async () => {
  await ring.kill(2)
  assert.equal((await ask(ring.traffic(1), INJECTION)).status, 403)
  const ban = ring.cli('deny', 'add', 'ip', '203.0.113.9', '--ttl', '10m', '--node', 'n3')
  assert.equal(ban.code, 0, ban.stderr)
  for (const node of [1, 3, 4])
    await eventually(`n${node} refuses`, async () => (await ask(ring.traffic(node), '/', from('203.0.113.9'))).status === 403)
  const { ledger } = await ring.client(3).status()
  await ring.restart(2)
  await eventually('n2 caught up', async () => (await ring.client(2).status()).ledger.height >= ledger.height)
  assert.equal((await ask(ring.traffic(2), '/', from('203.0.113.9'))).status, 403)
})

test('10 two nodes killed: denials still spread, grants wait and say for whom; with one back, they pass', async () => {
  await ring.kill(3)
  await ring.kill(4)
  await ring
    .client(1)
    .submit(
      { type: 'deny.add', subject: { kind: 'ip', value: '203.0.113.10' }, ttlMs: 600_000, reason: 'no quorum' },
      { waitMs: 300 },
    )
  for (const node of [1, 2])
    await eventually(
      `n${node} refuses provisionally`,
      async () => (await ask(ring.traffic(node), '/', from('203.0.113.10'))).status === 403,
    )
  await assert.rejects(
    ring.client(1).denyRemove((await denialOf('203.0.113.9')) as string, 'must wait', { waitMs: 1_500 }),
    /n3.*n4|quorum/s,
  )
  await ring.restart(3)
  await eventually('the denial is certified', async () => {
    const { denials } = await ring.client(3).denials()
    return denials.some(({ subject, provisional }) => subject.kind === 'ip' && subject.value === '203.0.113.10' && !provisional)
  })
  await ring.restart(4)
})

async function denialOf(address: string): Promise<string | undefined> {
  const { denials } = await ring.client(1).denials()
  return denials.find(({ subject }) => subject.kind === 'ip' && subject.value === address)?.id
}

test('11 Ctrl-C stops cleanly; a second start resumes the same ledger, and a corrupt ledger file is restored from peers', async () => {
  const before = (await ring.client(1).ledger({ limit: 1 })).blocks[0]
  assert.ok(before)
  assert.equal(await ring.stop(), 0)
  const home = join(ring.data, 'n4', 'ledger')
  const log = join(home, readdirSync(home).find((name) => /^blocks.*\.log$/.test(name)) as string)
  const bytes = readFileSync(log)
  bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 0xff
  writeFileSync(log, bytes)
  await ring.up()
  const same = await ring.client(1).block(before.height)
  assert.equal(same.digest, before.digest)
  await eventually('n4 restored what was corrupt', async () => (await ring.client(4).status()).ledger.height >= before.height)
  assert.equal((await ring.client(4).block(before.height)).digest, before.digest)
  const { ledger } = await ring.client(4).status()
  assert.ok(ledger.repairs.length > 0, 'and says so')
})
