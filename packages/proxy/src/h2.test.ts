/** HTTP/2 in front of the proxy, with Node's own client and with curl-like raw frames where that is too polite. */
import assert from 'node:assert/strict'
import http2, { type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import { type TestContext, test } from 'node:test'
import { pairFiles, temporaryFolder } from './test-certificates.ts'
import { rawExchange, testProxy, until, upstreamServer } from './test-ring.ts'
import type { ProxyOptions } from './types.ts'

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly trailers: IncomingHttpHeaders
  readonly body: string
  readonly interim: readonly number[]
  /** Code of the stream's end. */
  readonly code: number
}

/** `localhost` may be ::1 as well, where nobody listens. */
const LOOPBACK = (_: string, __: object, done: (error: null, addresses: readonly object[]) => void): void =>
  done(null, [{ address: '127.0.0.1', family: 4 }])

/** The proxy over TLS with ALPN, and plain with prior knowledge, in front of one upstream. */
async function h2Proxy(
  t: TestContext,
  listener: Parameters<typeof upstreamServer>[0] | undefined = undefined,
  options: Partial<ProxyOptions> = {},
  rest: object = {},
) {
  const upstream = await upstreamServer(
    listener ??
      ((request, response) => {
        const chunks: Buffer[] = []
        request.on('data', (chunk: Buffer) => chunks.push(chunk))
        request.on('end', () => {
          const body = Buffer.concat(chunks)
          response.end(
            JSON.stringify({ method: request.method, url: request.url, headers: request.rawHeaders, bytes: body.length }),
          )
        })
      }),
  )
  t.after(() => upstream.close())
  const tls = {
    certificates: [await pairFiles(temporaryFolder(t), ['localhost'])],
    unknownNames: 'first',
    minVersion: 'TLSv1.2',
    hsts: undefined,
  } as const
  const place = { host: '127.0.0.1', port: 0, http2: true }
  const proxy = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }], ...rest } },
    { listeners: [{ ...place, tls }, place], ...options },
  )
  t.after(() => proxy.proxy.stop(0))
  const session = (which = 0): ClientHttp2Session => {
    const url = `${which === 0 ? 'https' : 'http'}://localhost:${proxy.ports[which]}`
    const opened = http2.connect(url, { rejectUnauthorized: false, lookup: LOOPBACK } as object)
    opened.on('error', () => undefined)
    t.after(() => opened.destroy())
    return opened
  }
  return { ...proxy, upstream, session }
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: Buffer | string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = session.request({ ':path': '/', ...headers }, { endStream: body === undefined })
    let answer = { status: 0, headers: {} as IncomingHttpHeaders, trailers: {} as IncomingHttpHeaders }
    const interim: number[] = []
    const chunks: Buffer[] = []
    request.on('headers', (head) => interim.push(Number(head[':status'])))
    request.on('response', (head) => {
      answer = { ...answer, status: Number(head[':status']), headers: head }
    })
    request.on('trailers', (trailers) => {
      answer = { ...answer, trailers }
    })
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', (error) => {
      if (answer.status === 0) reject(error)
    })
    request.on('close', () => resolve({ ...answer, body: Buffer.concat(chunks).toString(), interim, code: request.rstCode ?? 0 }))
    if (body !== undefined) request.end(body)
  })
}

test('draining says GOAWAY to HTTP/2, lets its streams end, and serves who comes all the same', async (t) => {
  const { session, proxy, seen } = await h2Proxy(t, (_request, response) => void setTimeout(() => response.end('done'), 100))
  const client = session()
  let away: number | undefined
  client.on('goaway', (code: number) => {
    away = code
  })
  const running = ask(client, {})
  await until('the upstream to be asked', () => seen.length === 1)
  proxy.drain(true)
  assert.equal((await running).body, 'done')
  await until('the session to end', () => client.destroyed)
  assert.equal(away, 0)
  assert.equal((await ask(session(), {})).status, 200)
})

test('requests go to the upstream as HTTP/1.1, over TLS and by prior knowledge; the guard sees HTTP/2', async (t) => {
  const { session, seen, records } = await h2Proxy(t)
  for (const [which, proto] of [
    [0, 'https'],
    [1, 'http'],
  ] as const) {
    const client = session(which)
    const { status, headers, body } = await ask(client, { ':path': '/a?b=c', 'X-Own': 'é', cookie: ['a=1', 'b=2'] })
    assert.equal(status, 200)
    assert.match(String(headers['x-request-id']), /^n1-/)
    assert.equal(headers.connection, undefined)
    assert.equal(headers['transfer-encoding'], undefined)
    assert.ok(headers.date)
    const got = JSON.parse(body)
    assert.equal(got.method, 'GET')
    assert.equal(got.url, '/a?b=c')
    const fields = new Map<string, string>()
    for (let at = 0; at < got.headers.length; at += 2) fields.set(got.headers[at].toLowerCase(), got.headers[at + 1])
    assert.match(fields.get('host')!, /^localhost:/)
    assert.equal(fields.get('x-forwarded-proto'), proto)
    assert.equal(fields.get('cookie'), 'a=1; b=2')
    assert.equal(fields.get('x-own'), 'é')
    client.close()
  }
  assert.equal(seen[0]!.httpVersion, '2.0')
  assert.equal(seen[0]!.host, 'localhost')
  assert.deepEqual(
    seen[0]!.headers.find(([name]) => name === 'cookie'),
    ['cookie', 'a=1; b=2'],
  )
  assert.equal(records.length, 2)
})

test('plain HTTP/1.1 goes on beside HTTP/2, and without http2 the preface is refused', async (t) => {
  const { ports } = await h2Proxy(t)
  assert.match(
    (await rawExchange(ports[1]!, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 10_000)).text,
    /^HTTP\/1\.1 200 /,
  )
})

test('a hundred requests at once on one connection are each answered', async (t) => {
  const { session, upstream } = await h2Proxy(t)
  const client = session()
  const answers = await Promise.all(Array.from({ length: 100 }, (_, at) => ask(client, { ':path': `/${at}` })))
  assert.deepEqual(
    answers.map(({ body }) => JSON.parse(body).url),
    Array.from({ length: 100 }, (_, at) => `/${at}`),
  )
  assert.equal(upstream.seen.length, 100)
})

test('bodies of every size go both ways, with and without Content-Length, beyond all windows', async (t) => {
  const { session } = await h2Proxy(t, (request, response) => {
    if (request.headers['x-chunked'] === undefined) response.setHeader('content-length', request.headers['x-length']!)
    request.pipe(response)
  })
  const client = session()
  for (const bytes of [0, 1, 1_024, 1_025, 16_384, 16_385, 131_072, 1_000_000, 5_000_000]) {
    const body = Buffer.alloc(bytes, 'abcdefg')
    for (const more of [{}, { 'content-length': bytes }, { 'x-chunked': '1' }]) {
      const answer = await ask(client, { ':method': 'POST', 'x-length': bytes, ...more }, body)
      assert.equal(answer.status, 200, `${bytes}`)
      assert.ok(Buffer.from(answer.body).equals(body), `${bytes} bytes, ${JSON.stringify(more)}`)
    }
  }
})

test('many bodies at once share the connection, each whole', async (t) => {
  const { session } = await h2Proxy(t, (request, response) => request.pipe(response))
  const client = session()
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) => ask(client, { ':method': 'POST' }, Buffer.alloc(300_000, at + 65))),
  )
  for (const [at, { body }] of answers.entries()) assert.equal(body, String.fromCharCode(at + 65).repeat(300_000))
})

test('what is refused is refused with its status, and the body of an attack never reaches the upstream', async (t) => {
  const { session, upstream, records } = await h2Proxy(t)
  const client = session()
  assert.equal((await ask(client, { ':path': '/denied' })).status, 403)
  const limited = await ask(client, { ':path': '/limited' })
  assert.deepEqual([limited.status, limited.headers['retry-after']], [429, '3'])
  assert.equal((await ask(client, { ':path': '/private' })).status, 401)
  assert.equal((await ask(client, { ':path': '/broken' })).status, 503)
  assert.equal((await ask(client, { ':method': 'POST' }, 'an attack')).status, 403)
  assert.equal((await ask(client, { ':method': 'TRACE' })).status, 405)
  assert.equal((await ask(client, { ':path': '/%00' })).status, 400)
  const head = await ask(client, { ':method': 'HEAD', ':path': '/denied' })
  assert.deepEqual([head.status, head.body], [403, ''])
  assert.equal((await ask(client, { ':path': `/${'a'.repeat(20_000)}` })).status, 414)
  assert.equal(upstream.seen.length, 0)
  assert.equal((await ask(client, {})).status, 200)
  assert.equal(records.length, 10)
})

test('interim responses and trailers pass; HEAD, 204 and 304 have no body', async (t) => {
  const { session } = await h2Proxy(t, (request, response) => {
    if (request.url === '/hints') response.writeEarlyHints({ link: '</a.css>; rel=preload' })
    if (request.url === '/204') response.statusCode = 204
    if (request.url === '/304') response.statusCode = 304
    if (request.url === '/trailers') {
      response.setHeader('trailer', 'x-sum')
      response.write('body')
      response.addTrailers({ 'X-Sum': '7' })
    }
    if (request.url === '/head') response.setHeader('content-length', '5')
    request.resume()
    response.end(request.url === '/head' ? 'hello' : undefined)
  })
  const client = session()
  assert.deepEqual((await ask(client, { ':path': '/hints' })).interim, [103])
  const trailed = await ask(client, { ':path': '/trailers' })
  assert.equal(trailed.body, 'body')
  assert.equal(trailed.trailers['x-sum'], '7')
  assert.equal((await ask(client, { ':path': '/204' })).status, 204)
  assert.equal((await ask(client, { ':path': '/304' })).status, 304)
  const head = await ask(client, { ':path': '/head', ':method': 'HEAD' })
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '5', ''])
  const expected = await ask(client, { ':method': 'POST', expect: '100-continue' }, 'x')
  assert.deepEqual([expected.status, expected.interim], [200, [100]])
})

test('an upstream that breaks off is told as an error of the stream, and the connection goes on', async (t) => {
  const { session } = await h2Proxy(t, (request, response) => {
    if (request.url === '/breaks') {
      response.write('part')
      setTimeout(() => response.destroy(), 50)
    } else response.end('well')
  })
  const client = session()
  const broken = await ask(client, { ':path': '/breaks' })
  assert.equal(broken.body, 'part')
  assert.notEqual(broken.code, 0)
  assert.equal((await ask(client, { ':path': '/' })).body, 'well')
})

test('a request that is taken back ends its upstream request; others on the connection go on', async (t) => {
  const gone: string[] = []
  const { session, upstream, proxy } = await h2Proxy(t, (request, response) => {
    response.on('close', () => gone.push(request.url!))
    if (request.url === '/kept') setTimeout(() => response.end('kept'), 200)
  })
  const client = session()
  const kept = ask(client, { ':path': '/kept' })
  const request = client.request({ ':path': '/back' })
  request.on('error', () => undefined)
  await until('both to arrive', () => upstream.seen.length === 2)
  request.close(http2.constants.NGHTTP2_CANCEL)
  await until('the upstream to hear of it', () => gone.includes('/back'))
  assert.equal((await kept).body, 'kept')
  assert.equal(proxy.stats().clientAborts, 1)
  assert.equal(proxy.stats().activeRequests, 0)
})

test('a client that reads nothing holds up the upstream, not memory, and is cut off in the end', async (t) => {
  let written = 0
  const { session, proxy } = await h2Proxy(
    t,
    (_, response) => {
      const chunk = Buffer.alloc(65_536)
      const write = (): void => {
        while (written < 100_000_000 && response.write(chunk)) written += chunk.length
        if (written < 100_000_000) response.once('drain', write)
      }
      write()
    },
    { limits: { clientStallMsMax: 400 } },
  )
  const client = session()
  const request = client.request({ ':path': '/' })
  request.on('error', () => undefined)
  const ended = new Promise<void>((resolve) => request.on('close', () => resolve()))
  // Not resumed: its window stays shut.
  await ended
  assert.ok(written < 20_000_000, `${written} bytes were taken from the upstream`)
  assert.equal(proxy.stats().activeRequests, 0)
})

test('cutting a source closes its connections; stopping lets what is under way end', async (t) => {
  const { session, proxy, upstream } = await h2Proxy(t, (_, response) => setTimeout(() => response.end('done'), 300))
  const cut = session()
  const lost = ask(cut, {}).catch(() => undefined)
  await until('it to arrive', () => upstream.seen.length === 1)
  assert.equal(proxy.cutSource('127.0.0.1'), 1)
  assert.notEqual((await lost)?.status, 200)
  const other = session()
  const answer = ask(other, {})
  await until('it to arrive', () => upstream.seen.length === 2)
  const stopped = proxy.stop(5_000)
  assert.equal((await answer).body, 'done')
  await stopped
})
