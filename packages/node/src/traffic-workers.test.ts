import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { TxBody } from '@ringwall/ring/tx'
import { freePort } from './free-port.ts'
import { readOperator, signAsOperator } from './local/operator.ts'
import { contextFile } from './local/provision.ts'
import type { ProtectOptions } from './protect.ts'
import { startProtect } from './protect.ts'
import { ruleCountsOf } from './rule-book.ts'
import type { RunningNode } from './running-node.ts'
import { application, protectOptions } from './test-protect.ts'
import type { TrafficWorkers } from './traffic-workers.ts'

interface Answer {
  readonly status: number
  readonly id: string
  readonly text: string
}

interface Site {
  readonly node: RunningNode
  readonly workers: TrafficWorkers
  readonly port: number
  readonly data: string
  /** On a connection of its own unless an agent is given. */
  get(path?: string, more?: { headers?: Record<string, string>; agent?: Agent }): Promise<Answer>
  sign(body: TxBody): Uint8Array
}

async function site(
  t: TestContext,
  says: Parameters<typeof application>[1],
  policy: object | undefined,
  more: Partial<ProtectOptions> = {},
): Promise<Site> {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-workers-'))
  const port = await freePort()
  const url = await application(t, says)
  let config: string | undefined
  if (policy !== undefined) {
    config = join(data, 'policy.yaml')
    const { service = {}, ...rest } = policy as { service?: object }
    const app = { upstreams: [{ url }], waf: { mode: 'off' }, ...service }
    writeFileSync(config, JSON.stringify({ version: 1, services: { app }, ...rest }))
  }
  const node = await startProtect(protectOptions(data, url, port, { workers: 2, config, ...more }))
  t.after(async () => {
    await node.stop()
    rmSync(data, { recursive: true, force: true })
  })
  const operator = readOperator(contextFile(data))
  return {
    node,
    workers: node.workers!,
    port,
    data,
    get: (path = '/', { headers = {}, agent } = {}) =>
      new Promise((settle, refuse) => {
        const asked = request({ host: '127.0.0.1', port, path, headers, agent: agent ?? false }, (response: IncomingMessage) => {
          let text = ''
          response.setEncoding('latin1')
          response.on('data', (chunk: string) => {
            text += chunk
          })
          response.on('error', refuse)
          response.on('end', () => settle({ status: response.statusCode!, id: String(response.headers['x-request-id']), text }))
        })
        asked.on('error', refuse)
        asked.end()
      }),
    sign: (body) => signAsOperator(operator, body),
  }
}

/** Until it holds; the test's own time limit is the bound. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((wake) => setTimeout(wake, 5))
}

const repeated = <T>(count: number, run: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: count }, run))

test('two workers share the traffic, and what both decided is told in one place', async (t) => {
  const { node, workers, get } = await site(t, 'hello', undefined)
  const answers = await repeated(40, () => get())
  assert.deepEqual(
    answers.map(({ status, text }) => `${status} ${text}`),
    new Array(40).fill('200 hello'),
  )
  const attack = await get("/?q=1'+UNION+SELECT+1,2--")
  assert.equal(attack.status, 403)
  await until(() => node.proxy.stats().requests === 41)
  assert.equal(node.proxy.stats().denied, 1)
  assert.equal(node.proxy.upstreams()[0]!.requests, 40)
  const found = await node.telemetry.decision(attack.id)
  assert.equal(found?.outcome, 'deny')
  // A request counts from its beginning: of the other worker's last ones the records may be on their way still.
  for (const { id } of answers.slice(0, 5)) await until(async () => (await node.telemetry.decision(id))?.status === 200)
  await until(() => /^ringwall_requests_total\{check="none",outcome="allow",service="app"\} 40$/m.test(node.telemetry.metrics()))
  assert.equal(node.archive.find(attack.id)?.request.target, "/?q=1'+UNION+SELECT+1,2--")
  await until(() => ruleCountsOf(node).requests === 41)
  assert.ok(ruleCountsOf(node).rules.some(([, hits]) => hits > 0))
  await until(() => /^ringwall_workers 2$/m.test(node.telemetry.metrics()))
  assert.equal(workers.ruleCounts().length, 2)
})

test('a rate limit is one count over all workers', async (t) => {
  const { get } = await site(t, 'hello', { service: { limits: [{ name: 'few', rate: '25/h' }] } })
  const answers = await repeated(120, () => get())
  const passed = answers.filter(({ status }) => status === 200).length
  assert.equal(passed, 25)
  assert.equal(answers.filter(({ status }) => status === 429).length, 95)
})

test('a limit of the whole ring is asked for where it is counted', async (t) => {
  const { get } = await site(t, 'hello', { service: { limits: [{ name: 'few', rate: '10/h', scope: 'ring' }] } })
  const answers = await repeated(50, () => get())
  assert.equal(answers.filter(({ status }) => status === 200).length, 10)
  assert.equal(answers.filter(({ status }) => status === 429).length, 40)
})

test('a denial and a lift reach every worker, and cut what the denied has open', async (t) => {
  const { node, get, sign, port } = await site(t, 'hello', { trustedProxies: [] })
  const open = connect(port, '127.0.0.1')
  t.after(() => open.destroy())
  open.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(open, 'data')
  const closed = once(open, 'close')
  const subject = { kind: 'ip', value: '127.0.0.1' } as const
  await node.propose(sign({ type: 'deny.add', subject, ttlMs: 60_000, reason: 'test' }), 5_000)
  await closed
  const refused = await repeated(20, () => get().catch(() => ({ status: 403, id: '', text: '' })))
  assert.deepEqual(new Set(refused.map(({ status }) => status)), new Set([403]))
  const [denial] = node.view().denials.list(Date.now())
  await node.propose(sign({ type: 'deny.remove', id: denial!.id, reason: 'test' }), 5_000)
  await until(async () => (await repeated(12, () => get())).every(({ status }) => status === 200))
})

test('a session that is denied loses what it has open at every worker; another keeps its own', async (t) => {
  const keys = generateKeyPairSync('ed25519')
  const jwk = { ...keys.publicKey.export({ format: 'jwk' }), kid: 'k1' }
  const issuers = [{ issuer: 'https://id.example', audience: 'app', algorithms: ['EdDSA'], jwks: { keys: [jwk] } }]
  const token = (sid: string): string => {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const nowS = Math.floor(Date.now() / 1_000)
    const claims = { iss: 'https://id.example', aud: 'app', sub: 'ada', sid, iat: nowS, exp: nowS + 600 }
    const text = `${part({ alg: 'EdDSA', kid: 'k1' })}.${part(claims)}`
    return `${text}.${sign(null, Buffer.from(text), keys.privateKey).toString('base64url')}`
  }
  const {
    node,
    port,
    sign: signed,
    get,
  } = await site(t, (_, response) => void response.write('a part'), {
    issuers,
    service: { identity: { required: true } },
  })
  const opened = async (sid: string) => {
    const socket = connect(port, '127.0.0.1')
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token(sid)}\r\n\r\n`)
    const [data] = (await once(socket, 'data')) as [Buffer]
    assert.match(String(data), /^HTTP\/1.1 200 /)
    return { socket, closed: once(socket, 'close') }
  }
  const [stolen, own] = [await repeated(8, () => opened('stolen')), await repeated(8, () => opened('own'))]
  const subject = { kind: 'session', value: 'stolen' } as const
  await node.propose(signed({ type: 'deny.add', subject, ttlMs: 60_000, reason: 'test' }), 5_000)
  await Promise.all(stolen.map(({ closed }) => closed))
  assert.deepEqual(new Set(own.map(({ socket }) => socket.destroyed)), new Set([false]))
  const again = await repeated(12, () => get('/', { headers: { authorization: `Bearer ${token('stolen')}` } }))
  assert.deepEqual(new Set(again.map(({ status }) => status)), new Set([401]))
})

test('another policy is in force in all workers, without a request lost', async (t) => {
  const { node, get, sign } = await site(t, 'hello', {})
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  t.after(() => agent.destroy())
  const seen: number[] = []
  let going = true
  const load = repeated(8, async () => {
    while (going) seen.push((await get('/closed', { agent })).status)
  })
  await until(() => seen.length > 50)
  const { policyText, policyVersion } = node.view()
  const policy = JSON.parse(policyText) as { services: { app: { routes?: object[] } } }
  policy.services.app.routes = [{ name: 'closed', path: '/closed', deny: true }]
  const before = seen.length
  await node.propose(sign({ type: 'policy.set', policy: JSON.stringify(policy), expectVersion: policyVersion }), 5_000)
  await until(async () => (await repeated(12, () => get('/closed'))).every(({ status }) => status === 403))
  going = false
  await load
  assert.ok(seen.length > before)
  assert.deepEqual(new Set(seen), new Set([200, 403]))
})

test('a node serves what its labels select, in all workers, and checks no upstream of what it does not serve', async (t) => {
  const { node, get, sign } = await site(t, 'hello', {
    service: { nodes: 'role=edge', limits: [{ name: 'few', rate: '1000/h' }] },
  })
  const all = async (status: number): Promise<boolean> =>
    (await repeated(12, () => get())).every((answer) => answer.status === status)
  const label = (set: string[], unset: string[]): Promise<unknown> =>
    node.propose(sign({ type: 'fleet.label', of: 'node', id: node.config.id, set, unset, reason: 'moved' }), 5_000)
  assert.ok(await all(404))
  const { id } = await get()
  await until(async () => (await node.telemetry.decision(id)) !== undefined)
  assert.match((await node.telemetry.decision(id))?.reason ?? '', /on this node; by their selectors other nodes serve app/)
  assert.deepEqual(node.proxy.upstreams(), [])
  assert.deepEqual(Object.keys(node.view().policy.services), ['app'], 'what the ring agrees on goes by all of it')
  await label(['role=edge'], [])
  await until(() => all(200))
  await until(() => node.proxy.upstreams().length === 1)
  await label([], ['role'])
  await until(() => all(404))
  const said = node.events.last(50).map(({ what }) => what)
  for (const line of ['by its labels it begins to serve app', 'by its labels it no longer serves app'])
    assert.ok(said.includes(line), line)
})

test('a worker that ends takes its own requests with it and no others, and is started again', async (t) => {
  const waiting: (() => void)[] = []
  const { node, workers, get } = await site(
    t,
    (incoming, response) => {
      if (incoming.url === '/slow') waiting.push(() => response.end('late'))
      else response.end('hello')
    },
    {},
  )
  const slow = Array.from({ length: 16 }, () =>
    get('/slow').then(
      ({ text }) => text,
      () => 'lost',
    ),
  )
  await until(() => waiting.length === 16)
  // How many each worker carries is told a moment later.
  await until(() => node.proxy.stats().activeRequests === 16)
  await workers.end(1)
  for (const answer of waiting) answer()
  const ends = await Promise.all(slow)
  const lost = ends.filter((text) => text === 'lost').length
  t.diagnostic(`${lost} of 16 requests were on the worker that ended`)
  assert.ok(lost > 0 && lost < 16)
  assert.equal(ends.filter((text) => text === 'late').length, 16 - lost)
  // The port is the other's alone meanwhile.
  assert.ok((await repeated(20, () => get())).every(({ status }) => status === 200))
  await until(() => /^ringwall_worker_restarts 1$/m.test(node.telemetry.metrics()))
  await until(() => workers.ruleCounts().length === 2 && /^ringwall_workers 2$/m.test(node.telemetry.metrics()))
  const { requests } = node.proxy.stats()
  assert.ok(requests >= 20, `${requests} requests are counted, also those of the worker that ended`)
  assert.ok(node.events.last(100).some(({ what }) => /traffic worker 1 ended/.test(what)))
})

test('stopping lets what is under way end', async (t) => {
  const waiting: (() => void)[] = []
  const { node, get } = await site(t, (_, response) => waiting.push(() => response.end('late')), {})
  const slow = repeated(12, () => get())
  await until(() => waiting.length === 12)
  const stopping = node.stop()
  setTimeout(() => {
    for (const answer of waiting) answer()
  }, 100)
  assert.deepEqual(
    (await slow).map(({ text }) => text),
    new Array(12).fill('late'),
  )
  await stopping
  await assert.rejects(get())
})

test('a port that is taken is one clear error', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-workers-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const url = await application(t, 'hello')
  const options = protectOptions(data, url, Number(new URL(url).port), { workers: 2 })
  await assert.rejects(startProtect(options), /another program listens there/)
})
