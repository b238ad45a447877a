/** Who is challenged while there is too little time for all, by a real guard, over real sockets. */
import assert from 'node:assert/strict'
import { type IncomingHttpHeaders, request } from 'node:http'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createGuard } from '@ringwall/guard'
import { Challenges, isProof, WORK_BLOCK_BYTES } from './challenges.ts'
import { testProxy, upstreamServer } from './test-ring.ts'

interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function ask(
  port: number,
  localAddress: string,
  headers: Record<string, string> = {},
  method = 'GET',
  path = '/',
): Promise<Reply> {
  return new Promise((settle, refuse) => {
    const asked = request({ host: '127.0.0.1', port, localAddress, method, path, headers, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (body += chunk))
      response.on('end', () => settle({ status: response.statusCode!, headers: response.headers, body }))
    })
    asked.on('error', refuse)
    asked.end()
  })
}

const HTML = { accept: 'text/html' }

test('while there is too little time for all, whoever shows no pass works for one, and with it is served', {
  timeout: 30_000,
}, async (t) => {
  const upstream = await upstreamServer((_, response) => response.end('hello'))
  t.after(() => upstream.close())
  const challenges = new Challenges()
  const { proxy, port } = await testProxy(
    { shop: { upstreams: [{ url: upstream.url }], challenge: { when: 'overload', difficulty: 4 } } },
    { guard: createGuard({ passes: challenges }), challenges },
  )
  t.after(() => proxy.stop(100))
  // Networks of their own.
  const [flood, other, person] = ['127.0.1.1', '127.0.2.1', '127.0.3.1'] as const
  assert.equal((await ask(port, person, HTML)).status, 200)
  let challenged: Reply | undefined
  for (let round = 0; round < 10 && challenged?.status !== 403; round++) {
    const asked = Promise.all([...Array.from({ length: 20 }, () => ask(port, flood)), ask(port, other)])
    // The loop stands still whenever it is to be looked at, as it does when there is too much to do.
    for (let look = 0; look < 5; look++) {
      const untilMs = performance.now() + 150
      while (performance.now() < untilMs);
      await turn()
    }
    await asked
    challenged = await ask(port, person, HTML)
  }
  assert.equal(challenged?.status, 403, challenged?.body)
  assert.match(challenged.body, /data-challenge/)
  assert.equal(challenged.headers['cache-control'], 'no-store')
  const challenge = /data-challenge="([\w-]+)"/.exec(challenged.body)![1]!
  const block = Buffer.alloc(WORK_BLOCK_BYTES)
  let counter = 0
  while (!isProof(block, challenge, counter, 4)) counter++
  const brought = await ask(port, person, { 'ringwall-solution': `${challenge}.${counter}` }, 'POST', '/.ringwall/challenge')
  assert.equal(brought.status, 200, brought.body)
  const cookie = String(brought.headers['set-cookie']).split(';')[0]!
  assert.equal((await ask(port, person, { ...HTML, cookie })).status, 200)
  assert.equal((await ask(port, '127.0.4.1', { ...HTML, cookie })).status, 403, 'another network’s')
  assert.ok(proxy.stats().challenged >= 2)
})

test('the upstream hears of a breached password from us alone, whatever a client calls its field', async (t) => {
  const upstream = await upstreamServer((_, response) => response.end('hello'))
  t.after(() => upstream.close())
  const breaches = { has: (password: string) => Promise.resolve(password === '123456') }
  const routes = [{ name: 'login', path: '/login', login: { account: 'email', password: 'password' } }]
  const { proxy, port } = await testProxy(
    { shop: { upstreams: [{ url: upstream.url }], routes } },
    { guard: createGuard({ breaches }) },
  )
  t.after(() => proxy.stop(100))
  const login = async (password: string, headers: Record<string, string> = {}): Promise<void> => {
    const body = `email=ada&password=${password}`
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await fetch(`http://127.0.0.1:${port}/login`, { method: 'POST', body, headers: { ...form, ...headers } })
    assert.equal(answer.status, 200)
  }
  await login('123456')
  for (const name of ['ringwall-password', 'Ringwall_Password', 'RINGWALL-PASSWORD'])
    await login('secret', { [name]: 'breached' })
  assert.deepEqual(
    upstream.seen.map(({ headers }) =>
      Object.entries(headers).filter(([name]) => name.replaceAll('_', '-') === 'ringwall-password'),
    ),
    [[['ringwall-password', 'breached']], [], [], []],
  )
})
