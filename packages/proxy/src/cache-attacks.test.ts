/** What somebody could make of a shared cache: answers meant for others, answers meant for none, memory, and waiting. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Guard, Judgement, Peer } from '@ringwall/guard'
import { type Asked, ask, cachingProxy } from './test-cache.ts'
import { openSocket, policyOf, rawExchange, testGuard, until, viewOf } from './test-ring.ts'

const FRESH = { 'cache-control': 'max-age=60' }

/** What one client sends, and then another: the other must not get the first one's. */
const poisonings: Record<string, readonly [first: Asked & { path?: string }, second: Asked & { path?: string }]> = {
  'a field that no browser sends': [{ headers: { 'x-host': 'evil.example' } }, {}],
  'a method in a field': [{ headers: { 'x-http-method-override': 'DELETE' } }, {}],
  'a key of an API': [{ headers: { 'x-api-key': 'secret' } }, {}],
  'an Origin that is reflected': [{ headers: { origin: 'https://evil.example' } }, {}],
  'a scheme in a field': [{ headers: { 'x-url-scheme': 'http' } }, {}],
  'a GET with a body': [{ headers: { 'content-length': '2' }, body: 'a=' }, {}],
  cookies: [{ headers: { cookie: 'session=1' } }, {}],
  'another host': [{ headers: { host: 'evil.example' } }, {}],
  'the host with a port': [{ headers: { host: 'shop.example:8080' } }, {}],
  'the host in capitals': [{ headers: { host: 'SHOP.example' } }, {}],
  'the host with a dot': [{ headers: { host: 'shop.example.' } }, {}],
  'a segment parameter': [{ path: '/account;x.css' }, { path: '/account;x.css' }],
  'an encoded slash': [{ path: '/account%2fx.css' }, { path: '/account%2fx.css' }],
  'dot segments': [{ path: '/static/../account' }, { path: '/static/../account' }],
  'an encoded end of the path': [{ path: '/account%3fx.css' }, { path: '/account%3fx.css' }],
  'two slashes': [{ path: '//account/x.css' }, { path: '//account/x.css' }],
  'another query': [{ path: '/a?x=1' }, { path: '/a?x=2' }],
  'a field that Connection takes away': [
    { headers: { connection: 'accept-language, close', 'accept-language': 'de' } },
    { headers: { 'accept-language': 'de' } },
  ],
}

for (const [name, [first, second]] of Object.entries(poisonings)) {
  test(`${name}: what it brought answers nobody else`, async () => {
    const ring = await cachingProxy((_request, response) =>
      response.writeHead(200, { ...FRESH, vary: 'accept-language' }).end('x'),
    )
    await ring.get(first.path ?? '/a', first)
    const answer = await ring.get(second.path ?? '/a', second)
    assert.deepEqual([ring.seen.length, answer.status], [2, 200])
    await ring.close()
  })
}

test('a client’s own X-Forwarded-Host never reaches the upstream: there is nothing to poison with', async () => {
  const ring = await cachingProxy((request, response) =>
    response.writeHead(200, FRESH).end(`${request.headers['x-forwarded-host']} ${request.headers['x-original-url']}`),
  )
  await ring.get('/a', { headers: { 'x-forwarded-host': 'evil.example', 'x-original-url': '/admin' } })
  const answer = await ring.get()
  assert.deepEqual([answer.text, ring.seen.length], ['shop.example undefined', 1])
  await ring.close()
})

test('a field that the policy ignores, and one that Vary names, may be there', async () => {
  const ring = await cachingProxy(
    (request, response) => response.writeHead(200, { ...FRESH, vary: 'Origin' }).end(String(request.headers.origin)),
    { ignoreHeaders: ['X-Client-Version'] },
  )
  await ring.get('/a', { headers: { 'x-client-version': '1', origin: 'https://a.example' } })
  assert.equal((await ring.get('/a', { headers: { origin: 'https://a.example' } })).text, 'https://a.example')
  assert.equal(ring.seen.length, 1)
  assert.equal((await ring.get('/a', { headers: { origin: 'https://b.example' } })).text, 'https://b.example')
  await ring.close()
})

test('with cookies only what is everybody’s is shared; where the policy ignores them, all', async () => {
  const withCookie = { headers: { cookie: 'id=1' } }
  for (const [control, policy, asked] of [
    ['max-age=60', {}, 2],
    ['public, max-age=60', {}, 1],
    ['max-age=60', { cookies: 'ignore' }, 1],
  ] as const) {
    const ring = await cachingProxy(
      (_request, response) => response.writeHead(200, { 'cache-control': control }).end('x'),
      policy,
    )
    await ring.get('/a', withCookie)
    await ring.get('/a', withCookie)
    assert.equal(ring.seen.length, asked, control)
    await ring.close()
  }
})

const peerNamed = (name: string): Peer => ({
  issuer: 'urn:ringwall:test',
  subject: `spiffe://test/service/${name}`,
  keys: [],
  hash: name,
  issuedAtMs: 0,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
})

/** Like `testGuard`, with callers that are known by their certificates: each by what it calls itself. */
function guardOfPeers(): Guard {
  const guard = testGuard()
  return {
    ...guard,
    head(request, environment) {
      const judgement = guard.head(request, environment) as Judgement
      const name = request.headers.find(([field]) => field.toLowerCase() === 'user-agent')?.[1]
      return name === undefined ? judgement : { ...judgement, peer: peerNamed(name) }
    },
  }
}

const as = (name: string): Asked => ({ headers: { 'user-agent': name } })

test('what a caller got whom its certificate names answers no other, unless it is everybody’s', async () => {
  for (const [fields, asked] of [
    [FRESH, 4],
    [{ 'cache-control': 'public, max-age=60', vary: 'X-Forwarded-Client-Cert' }, 4],
    [{ 'cache-control': 'public, max-age=60', vary: 'x-ringwall-peer' }, 4],
    [{ 'cache-control': 'public, max-age=60' }, 1],
  ] as const) {
    const ring = await cachingProxy(
      (request, response) => response.writeHead(200, fields).end(String(request.headers['x-ringwall-peer'])),
      {},
      {},
      { guard: guardOfPeers() },
    )
    const answers = [await ring.get('/a', as('billing')), await ring.get('/a', as('shop')), await ring.get()]
    answers.push(await ring.get('/a', as('billing')))
    const own = ['spiffe://test/service/billing', 'spiffe://test/service/shop', 'undefined', 'spiffe://test/service/billing']
    assert.deepEqual(
      [ring.seen.length, answers.map(({ text }) => text)],
      [asked, asked === 1 ? Array(4).fill(own[0]) : own],
      JSON.stringify(fields),
    )
    await ring.close()
  }
})

test('nor is it compressed, which tells its length: a certificate is a credential', async () => {
  const text = 'a'.repeat(4_000)
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(text),
    {},
    { compress: {} },
    { guard: guardOfPeers() },
  )
  const gzip = { 'accept-encoding': 'gzip' }
  assert.equal((await ring.get('/a', { headers: gzip })).headers['content-encoding'], 'gzip')
  assert.equal((await ring.get('/a', { headers: { ...gzip, ...as('shop').headers } })).headers['content-encoding'], undefined)
  await ring.close()
})

test('what varies by the field in which the upstream is told who it is answers nobody else', async () => {
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, { 'cache-control': 's-maxage=60', vary: 'X-User' }).end('x'),
    {},
    { people: { userHeader: 'X-User', groupsHeader: 'X-Groups' } },
  )
  await ring.get()
  await ring.get()
  assert.deepEqual([ring.seen.length, ring.status().entries], [2, 0])
  await ring.close()
})

test('a compressed answer that does not say so in Vary is told apart all the same', async () => {
  const ring = await cachingProxy((_request, response) =>
    response.writeHead(200, { ...FRESH, 'content-encoding': 'br' }).end('x'),
  )
  await ring.get('/a', { headers: { 'accept-encoding': 'br' } })
  await ring.get('/a', { headers: { 'accept-encoding': 'gzip' } })
  assert.equal(ring.seen.length, 2)
  await ring.close()
})

test('the guard judges each request, also one that what is kept could answer', async () => {
  const ring = await cachingProxy((_request, response) => response.writeHead(200, FRESH).end('x'))
  await ring.get('/denied')
  assert.equal((await ring.get('/denied')).status, 403)
  await ring.get('/ok')
  await ring.get('/ok')
  assert.deepEqual([ring.seen.length, ring.records.map(({ outcome }) => outcome)], [1, ['deny', 'deny', 'allow', 'allow']])
  await ring.close()
})

test('what response rules refuse is not kept; what they let out answers without them', async () => {
  const ring = await cachingProxy((_request, response, count) =>
    response.writeHead(200, FRESH).end(count === 1 ? 'a leak' : 'fine'),
  )
  assert.equal((await ring.get('/inspected')).status, 403)
  assert.equal((await ring.get('/inspected')).text, 'fine')
  assert.equal((await ring.get('/inspected')).text, 'fine')
  assert.equal(ring.seen.length, 2)
  await ring.close()
})

test('another policy begins with nothing kept', async () => {
  const ring = await cachingProxy((_request, response) => response.writeHead(200, FRESH).end('x'))
  await ring.get()
  ring.state.view = viewOf(policyOf({ shop: { upstreams: [{ url: ring.upstream.url }], cache: {} } }), 2)
  await ring.get()
  assert.equal(ring.seen.length, 2)
  await ring.close()
})

test('what is purged is of that service, at that path and below it; what is on its way is not kept either', async () => {
  const ring = await cachingProxy(
    (_request, response, count) => setTimeout(() => response.writeHead(200, FRESH).end(`version ${count}`), 50),
    {},
    { routes: [{ name: 'docs', path: '/docs' }] },
  )
  const paths = ['/docs', '/docs/a', '/docs/b?q=1', '/docs?q=1', '/docs2', '/other']
  const asked = async (): Promise<readonly string[]> => {
    ring.seen.length = 0
    for (const path of paths) await ring.get(path)
    return ring.seen.map(({ url }) => url!)
  }
  assert.deepEqual(await asked(), paths)
  assert.deepEqual(await asked(), [])
  ring.proxy.purge('shop', '/docs')
  assert.deepEqual(await asked(), ['/docs', '/docs/a', '/docs/b?q=1', '/docs?q=1'])
  ring.proxy.purge('shop', '/docs/')
  assert.deepEqual(await asked(), ['/docs/a', '/docs/b?q=1'])
  ring.proxy.purge('shop2', '/')
  ring.proxy.purge('sho', '/')
  assert.deepEqual(await asked(), [])
  ring.proxy.purge('shop', '/')
  assert.deepEqual(await asked(), paths)
  const old = ring.get('/late')
  await until('it is asked for', () => ring.seen.some(({ url }) => url === '/late'))
  ring.proxy.purge('shop', '/late')
  await old
  ring.seen.length = 0
  await ring.get('/late')
  assert.equal(ring.seen.length, 1)
  await ring.close()
})

test('an answer that ends with the connection might be half of one, and is not kept', async () => {
  const ring = await cachingProxy((_request, response) => {
    response.socket!.end('HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\r\nhalf')
  })
  await ring.get()
  assert.equal(ring.status().entries, 0)
  await ring.close()
})

test('an answer that breaks off is not kept', async () => {
  const ring = await cachingProxy((_request, response) => {
    response.writeHead(200, { ...FRESH, 'content-length': 100 })
    response.write('some')
    setTimeout(() => response.destroy(), 20)
  })
  await assert.rejects(ring.get())
  assert.equal(ring.status().entries, 0)
  await ring.close()
})

test('a thousand requests for one address are one for the upstream', async () => {
  const ring = await cachingProxy((_request, response) => setTimeout(() => response.writeHead(200, FRESH).end('x'), 100))
  const answers = await Promise.all(Array.from({ length: 200 }, () => ring.get()))
  assert.deepEqual([ring.seen.length, answers.every(({ text }) => text === 'x')], [1, true])
  const [counts] = ring.status().services
  assert.deepEqual([counts!.misses, counts!.hits, counts!.collapsed], [1, 199, 199])
  await ring.close()
})

test('those who wait for what turns out not to be kept go at once, and the next do not wait at all', async () => {
  let most = 0
  let active = 0
  const ring = await cachingProxy((_request, response) => {
    most = Math.max(most, ++active)
    setTimeout(() => {
      active--
      response.end('each its own')
    }, 60)
  })
  await Promise.all(Array.from({ length: 10 }, () => ring.get()))
  assert.deepEqual([ring.seen.length, most], [10, 9])
  await Promise.all(Array.from({ length: 10 }, () => ring.get()))
  assert.equal(most, 10)
  await ring.close()
})

test('a client that leaves, or reads nothing, holds up none of those who wait', async () => {
  const body = randomBytes(900_000)
  const ring = await cachingProxy((_request, response) =>
    setTimeout(() => response.writeHead(200, { ...FRESH, 'content-length': body.length }).end(body), 50),
  )
  const idle = await openSocket(ring.port)
  idle.pause()
  idle.write('GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n')
  await until('the upstream to be asked', () => ring.seen.length === 1)
  const others = await Promise.all([ring.get(), ring.get()])
  assert.deepEqual([ring.seen.length, others.every((answer) => answer.body.equals(body))], [1, true])
  idle.destroy()
  const leaving = await openSocket(ring.port)
  leaving.write('GET /b HTTP/1.1\r\nHost: shop.example\r\n\r\n')
  await until('the upstream to be asked again', () => ring.seen.length === 2)
  const waits = ring.get('/b')
  leaving.destroy()
  assert.equal((await waits).body.length, body.length)
  await ring.close()
})

test('who has waited for as long as the policy says goes to the upstream itself', async () => {
  const ring = await cachingProxy(
    (_request, response, count) => {
      if (count > 1) response.writeHead(200, FRESH).end('own')
    },
    { wait: '100ms' },
  )
  const stuck = await openSocket(ring.port)
  stuck.write('GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n')
  await until('the upstream to be asked', () => ring.seen.length === 1)
  assert.equal((await ring.get()).text, 'own')
  stuck.destroy()
  await ring.close()
})

test('memory stays within the budget, whatever is asked for; a scan leaves what is in use', async () => {
  const ring = await cachingProxy(
    (request, response) => response.writeHead(200, { ...FRESH, 'content-length': 20_000 }).end(Buffer.alloc(20_000, request.url)),
    {},
    {},
    { cacheBytes: 500_000 },
  )
  await ring.get('/hot')
  await ring.get('/hot')
  for (let at = 0; at < 60; at++) await ring.get(`/scan?${at}`)
  const { bytes, bytesMax, entries, evictions } = ring.status()
  assert.ok(bytes <= bytesMax && entries > 10 && evictions > 30, JSON.stringify(ring.status()))
  await ring.get('/hot')
  assert.equal(ring.seen.filter(({ url }) => url === '/hot').length, 1)
  await ring.close()
})

test('a client that reads nothing of what is kept takes no copy of it', async () => {
  const body = randomBytes(8_000_000)
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, FRESH).end(body),
    { objectBytesMax: 16_000_000 },
    {},
    { cacheBytes: 64_000_000 },
  )
  await ring.get()
  const before = process.memoryUsage().rss
  const sockets = await Promise.all(Array.from({ length: 20 }, () => openSocket(ring.port)))
  for (const socket of sockets) {
    socket.pause()
    socket.write('GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n')
  }
  await until('all to be answered', () => ring.status().services[0]!.hits === 20)
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.ok(process.memoryUsage().rss - before < 80_000_000)
  for (const socket of sockets) socket.destroy()
  await until('all to have gone', () => ring.proxy.stats().activeRequests === 0)
  assert.deepEqual((await ring.get()).body, body)
  await ring.close()
})

test('many variants of one address do not drive out others for good', async () => {
  const ring = await cachingProxy((_request, response) => response.writeHead(200, { ...FRESH, vary: 'accept-language' }).end('x'))
  for (let at = 0; at < 40; at++) await ring.get('/a', { headers: { 'accept-language': `x-${at}` } })
  assert.equal(ring.status().entries, 16)
  await ring.close()
})

test('requests on one connection, HEAD and pipelined among them, get each its own', async () => {
  const ring = await cachingProxy((request, response) =>
    response.writeHead(200, { ...FRESH, 'content-length': 2 }).end(request.url),
  )
  await ask(ring.port, '/a')
  const request = (method: string, path: string): string => `${method} ${path} HTTP/1.1\r\nHost: shop.example\r\n\r\n`
  const { text } = await rawExchange(
    ring.port,
    request('HEAD', '/a') + request('GET', '/a') + request('GET', '/b') + request('GET', '/a'),
  )
  const bodies = text.split(/HTTP\/1\.1 200 OK\r\n/).map((part) => part.split('\r\n\r\n')[1])
  assert.deepEqual(bodies.slice(1), ['', '/a', '/b', '/a'])
  assert.equal(ring.seen.length, 2)
  await ring.close()
})

test('HTTP/2 clients get what is kept, whole and in parts', async () => {
  const { connect } = await import('node:http2')
  const body = randomBytes(700_000)
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, { ...FRESH, etag: '"a"' }).end(body),
    {},
    {},
    {
      listeners: [{ host: '127.0.0.1', port: 0, http2: true }],
    },
  )
  const session = connect(ring.url)
  const get = (headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: Buffer }>((resolve, reject) => {
      const stream = session.request({ ':path': '/a', ':authority': 'shop.example', ...headers })
      const chunks: Buffer[] = []
      let status = 0
      stream.on('response', (fields) => {
        status = Number(fields[':status'])
      })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => resolve({ status, body: Buffer.concat(chunks) }))
      stream.on('error', reject)
    })
  await get()
  const answers = await Promise.all([get(), get(), get({ range: 'bytes=5-9' }), get({ 'if-none-match': '"a"' })])
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 206, 304],
  )
  assert.ok(answers[0]!.body.equals(body) && answers[1]!.body.equals(body) && answers[2]!.body.equals(body.subarray(5, 10)))
  assert.equal(ring.seen.length, 1)
  session.close()
  await ring.close()
})

test('what a 304 tells one client with credentials is not told to others', async () => {
  const ring = await cachingProxy((_request, response, count) => {
    if (count === 1) response.writeHead(200, { 'cache-control': 'public, max-age=1', age: '9', etag: '"a"', 'x-a': '1' }).end('x')
    else
      response
        .writeHead(304, {
          'cache-control': 'public, max-age=60',
          etag: '"a"',
          'x-a': 'for alice',
          'x-user': 'alice',
          'set-cookie': 'alice=1',
        })
        .end()
  })
  await ring.get()
  const alice = await ring.get('/a', { headers: { cookie: 'id=alice' } })
  assert.deepEqual([alice.status, alice.text], [200, 'x'])
  const bob = await ring.get()
  assert.match(bob.cache, /hit/)
  assert.deepEqual(
    [bob.headers['x-a'], bob.headers['x-user'], bob.headers['set-cookie'], ring.seen.length],
    ['1', undefined, undefined, 2],
  )
  await ring.close()
})

test('an unusual request neither asks about what is kept nor drives it out', async () => {
  const ring = await cachingProxy((request, response, count) => {
    if (count === 1) response.writeHead(200, { 'cache-control': 'max-age=1', age: '9', etag: '"a"' }).end('x')
    else if (request.headers['if-none-match'] !== undefined)
      response.writeHead(304, { 'cache-control': 'max-age=60', etag: '"a"' }).end()
    else response.writeHead(200, { 'cache-control': 'max-age=60' }).end('other')
  })
  await ring.get()
  assert.equal((await ring.get('/a', { headers: { 'x-odd': '1' } })).text, 'other')
  assert.deepEqual([(await ring.get()).text, (await ring.get()).text, ring.seen.length], ['x', 'x', 3])
  await ring.close()
})

test('cookies that we gave the client ourselves are no credentials, alone; beside others they are', async () => {
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, FRESH).end('x'),
    {},
    { sticky: { cookie: 'seat' } },
  )
  await ring.get('/a', { headers: { cookie: 'ringwall_pass=x; seat=y' } })
  assert.match((await ring.get('/a', { headers: { cookie: 'seat=z' } })).cache, /hit/)
  assert.doesNotMatch((await ring.get('/a', { headers: { cookie: 'seat=z; sid=1' } })).cache, /hit/)
  assert.doesNotMatch((await ring.get('/a', { headers: { cookie: 'sid' } })).cache, /hit/)
  await ring.close()
})
