/** Upstreams that speak HTTP/2, behind clients of either version. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { type ClientHttp2Session, connect, createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type AnyProxyError, RequestFault } from './errors.ts'
import { INTERIMS_MAX, type ResponseHead } from './response-parser.ts'
import { policyOf, rawExchange, testProxy, until, viewOf } from './test-ring.ts'
import { IndifferentListener } from './upstream-connection.ts'
import { Http2UpstreamConnection } from './upstream-http2.ts'

type OnStream = (stream: ServerHttp2Stream, headers: Record<string, unknown>, raw: readonly string[], server: Http2Server) => void

async function scene(t: TestContext, onStream: OnStream, rest: object = {}) {
  const server = createServer({ maxSessionMemory: 100 })
  const sessions = new Set<{ destroy(): void }>()
  let opened = 0
  server.on('session', (session) => {
    opened += 1
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream, headers, _flags, raw) => {
    stream.on('error', () => {})
    onStream(stream, headers, raw as unknown as readonly string[], server)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const proxy = await testProxy(
    { shop: { upstreams: [{ url, http2: true }], ...rest } },
    { listeners: [{ host: '127.0.0.1', port: 0, http2: true }] },
  )
  t.after(async () => {
    await proxy.proxy.stop(0)
    for (const session of sessions) session.destroy()
    server.close()
  })
  const session = (): ClientHttp2Session => {
    const made = connect(`http://127.0.0.1:${proxy.port}`, { maxSessionMemory: 100 })
    made.on('error', () => {})
    t.after(() => made.destroy())
    return made
  }
  const cut = (): void => {
    for (const one of sessions) one.destroy()
  }
  return { ...proxy, session, cut, opened: () => opened }
}

async function get(port: number, path = '/', method = 'GET', body?: string): Promise<IncomingMessage & { text: string }> {
  const call = httpRequest({
    port,
    path,
    method,
    agent: false,
    headers: body === undefined ? {} : { 'content-type': 'text/plain' },
  })
  call.end(body)
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return Object.assign(response, { text })
}

test('a request goes out as HTTP/2 says, the answer comes back with interim responses, cookies and trailers', async (t) => {
  let seen: readonly string[] = []
  const { session } = await scene(t, (stream, _headers, raw) => {
    seen = raw
    stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' })
    stream.respond(
      { ':status': 200, 'set-cookie': ['a=1', 'b=2'], 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'fine' }))
    stream.end('body')
  })
  const stream = session().request({
    ':method': 'POST',
    ':path': '/echo.Echo/Unary?x=1',
    ':authority': 'shop.example',
    te: 'trailers',
    'x-two': ['one', 'two'],
    'content-type': 'application/grpc',
  })
  const [interim, head, trailers]: [unknown[], Record<string, unknown>, Record<string, unknown>] = [[], {}, {}]
  stream.on('headers', (headers) => interim.push(headers[':status']))
  stream.on('response', (headers) => Object.assign(head, headers))
  stream.on('trailers', (headers) => Object.assign(trailers, headers))
  stream.end('question')
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  assert.deepEqual(interim, [103])
  assert.equal(head[':status'], 200)
  assert.deepEqual(head['set-cookie'], ['a=1', 'b=2'])
  assert.equal(text, 'body')
  assert.equal(trailers['grpc-status'], '0')
  assert.equal(trailers['grpc-message'], 'fine')
  const fields = new Map<string, string[]>()
  for (let at = 0; at < seen.length; at += 2) fields.set(seen[at]!, [...(fields.get(seen[at]!) ?? []), seen[at + 1]!])
  assert.deepEqual(fields.get(':method'), ['POST'])
  assert.deepEqual(fields.get(':path'), ['/echo.Echo/Unary?x=1'])
  assert.deepEqual(fields.get(':authority'), ['shop.example'])
  assert.deepEqual(fields.get(':scheme'), ['http'])
  assert.deepEqual(fields.get('te'), ['trailers'])
  assert.equal(fields.get('x-two')?.join(', '), 'one, two')
  assert.deepEqual(fields.get('x-forwarded-for'), ['127.0.0.1'])
  for (const name of ['connection', 'transfer-encoding', 'host', 'upgrade']) assert.ok(!fields.has(name), name)
})

test('clients of HTTP/1.1 get the same: lengths, chunks, HEAD, 204, an answer that is only trailers', async (t) => {
  const { port, opened } = await scene(t, (stream, headers) => {
    const path = headers[':path']
    if (path === '/long') stream.respond({ ':status': 200, 'content-length': '5' })
    else if (path === '/none') {
      stream.respond({ ':status': 204 }, { endStream: true })
      return
    } else if (path === '/only') {
      stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true })
      return
    } else stream.respond({ ':status': 200 })
    if (headers[':method'] === 'HEAD') stream.end()
    else stream.end('hello')
  })
  const long = await get(port, '/long')
  // One of them was only looked whether anybody listens.
  const before = opened()
  assert.deepEqual([long.statusCode, long.headers['content-length'], long.text], [200, '5', 'hello'])
  const chunked = await get(port, '/chunked')
  assert.deepEqual([chunked.statusCode, chunked.headers['transfer-encoding'], chunked.text], [200, 'chunked', 'hello'])
  const bare = await get(port, '/long', 'HEAD')
  assert.deepEqual([bare.statusCode, bare.headers['content-length'], bare.text], [200, '5', ''])
  assert.equal((await get(port, '/none')).statusCode, 204)
  const only = await get(port, '/only')
  assert.deepEqual([only.statusCode, only.headers['grpc-status'], only.text], [200, '5', ''])
  assert.equal(opened(), before, 'the connection is kept')
})

test('a long upload goes on as the upstream takes it, and comes back whole', { timeout: 30_000 }, async (t) => {
  const { session } = await scene(t, (stream) => {
    stream.respond({ ':status': 200 })
    stream.pipe(stream)
  })
  const stream = session().request({ ':method': 'POST', ':path': '/' })
  const size = 20_000_000
  stream.end(Buffer.alloc(size, 'x'))
  let bytes = 0
  for await (const chunk of stream) bytes += (chunk as Buffer).length
  assert.equal(bytes, size)
})

test('a client that reads nothing holds the upstream up, and no more than windows of its answer', async (t) => {
  let written = 0
  const { session } = await scene(t, (stream) => {
    stream.respond({ ':status': 200 })
    const more = (): void => {
      while (written < 50_000_000) {
        written += 65_536
        if (!stream.write(Buffer.alloc(65_536))) return
      }
    }
    stream.on('drain', more)
    more()
  })
  const stream = session().request({ ':path': '/' })
  await once(stream, 'response')
  let [before, sinceMs] = [-1, 0]
  await until('the upstream to be held up', () => {
    if (before !== written) [before, sinceMs] = [written, performance.now()]
    return performance.now() - sinceMs > 400
  })
  assert.ok(written < 4_000_000, `${written} bytes`)
  stream.destroy()
})

test('a stream that the upstream resets is 502, or cut when it had begun', async (t) => {
  let asked = 0
  const { port, session, proxy } = await scene(t, (stream, headers) => {
    asked += 1
    if (headers[':path'] === '/begun') {
      stream.respond({ ':status': 200 })
      stream.write('some')
      // Unlike `close`, which ends the body in good order first.
      setTimeout(() => stream.destroy(new Error('broken')), 50)
    } else stream.close(2)
  })
  assert.equal((await get(port, '/', 'POST', 'x')).statusCode, 502)
  assert.equal(asked, 1)
  const begun = session().request({ ':path': '/begun' })
  begun.resume()
  await assert.rejects(once(begun, 'end'))
  assert.equal(proxy.stats().upstreamErrors, 2)
})

test('a kept connection that is gone is found out by the next request, which is sent on a new one', async (t) => {
  const { port, cut, opened } = await scene(t, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  assert.equal((await get(port)).text, 'ok')
  cut()
  for (let at = 0; at < 5; at += 1) assert.equal((await get(port)).text, 'ok')
  assert.ok(opened() >= 2)
})

test('an upstream that speaks HTTP/1.1 after all is 502', async (t) => {
  const plain = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
  }).listen(0, '127.0.0.1')
  await once(plain, 'listening')
  const url = `http://127.0.0.1:${(plain.address() as AddressInfo).port}`
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url, http2: true }] } })
  t.after(async () => {
    await proxy.stop(0)
    plain.close()
  })
  assert.equal((await get(port)).statusCode, 502)
})

const WEBSOCKET =
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

test('a WebSocket goes to those that speak HTTP/1.1; where none does it is 501, and no upstream is to blame', async (t) => {
  const { port, proxy, opened, state } = await scene(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }))
  assert.equal((await get(port)).statusCode, 200)
  const before = opened()
  for (let at = 0; at < 6; at++) assert.match((await rawExchange(port, WEBSOCKET, 500)).text, /^HTTP\/1\.1 501 /)
  assert.equal((await get(port)).statusCode, 200)
  const [upstream] = proxy.upstreams()
  assert.deepEqual([upstream!.failures, proxy.stats().upstreamErrors, opened()], [0, 0, before])
  const plain = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'),
    )
  }).listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.after(() => plain.close())
  const other = { url: `http://127.0.0.1:${(plain.address() as AddressInfo).port}` }
  state.view = viewOf(policyOf({ shop: { upstreams: [{ url: upstream!.url, http2: true }, other] } }))
  for (let at = 0; at < 6; at++) assert.match((await rawExchange(port, WEBSOCKET, 100)).text, /^HTTP\/1\.1 101 /)
})

test('fields that come twice reach the upstream as they are, and so do bytes beyond ASCII', async (t) => {
  let seen: readonly string[] = []
  const { port, proxy, opened } = await scene(t, (stream, _headers, raw) => {
    seen = raw
    stream.respond({ ':status': 200 }, { endStream: true })
  })
  assert.equal((await get(port)).statusCode, 200)
  const before = opened()
  const names = ['dnt', 'user-agent', 'referer', 'authorization', 'if-none-match', 'range', 'access-control-request-method']
  for (const name of names) {
    const ask = `GET / HTTP/1.1\r\nHost: a\r\n${name}: 1\r\nx-between: \u00e9\u00a0\r\n${name}: 2\r\nConnection: close\r\n\r\n`
    assert.match((await rawExchange(port, Buffer.from(ask, 'latin1'))).text, /^HTTP\/1\.1 200 /, name)
    const from = seen.indexOf(name)
    assert.deepEqual(seen.slice(from, from + 6), [name, '1', 'x-between', '\u00e9\u00a0', name, '2'])
  }
  assert.deepEqual([proxy.upstreams()[0]!.failures, opened()], [0, before])
})

test('interim responses without end are cut off, as many as HTTP/1.1 may have are passed on', async (t) => {
  const { session, proxy } = await scene(t, (stream, headers) => {
    const count = headers[':path'] === '/few' ? INTERIMS_MAX : INTERIMS_MAX + 1
    for (let at = 0; at < count; at++) stream.additionalHeaders({ ':status': 103, link: `</${at}.css>; rel=preload` })
    stream.respond({ ':status': 200 }, { endStream: true })
  })
  const asked = async (path: string): Promise<readonly unknown[]> => {
    const stream = session().request({ ':path': path })
    let interims = 0
    stream.on('headers', () => interims++)
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>]
    stream.resume()
    return [head[':status'], interims]
  }
  assert.deepEqual(await asked('/few'), [200, INTERIMS_MAX])
  assert.equal((await asked('/many'))[0], 502)
  assert.equal(proxy.upstreams()[0]!.failures, 1)
})

test('what cannot be said in HTTP/2 is the request’s fault: the connection goes on', async (t) => {
  const server = createServer()
  server.on('stream', (stream) => stream.respond({ ':status': 204 }, { endStream: true }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  let gone = 0
  const connection = await new Promise<Http2UpstreamConnection>((resolve, reject) => {
    const made = new Http2UpstreamConnection(socket, false, 65_536, {
      onFree: () => resolve(made),
      onGone: () => gone++,
    })
    const sending = { method: 'GET', complete: true, upgrade: false, chunked: false, timeoutMs: 1_000 }
    const faults: AnyProxyError[] = []
    class Refused extends IndifferentListener {
      override onFailure(error: AnyProxyError): void {
        faults.push(error)
        if (!(error instanceof RequestFault) || error.status !== 400) reject(error)
      }
    }
    made.send(new Refused(), 'GET / HTTP/1.1\r\nHost: a\r\nno token: x\r\n\r\n', undefined, sending, performance.now())
    assert.equal(faults.length, 0, 'whoever sends has not got the connection back yet')
  })
  t.after(() => {
    connection.destroy()
    server.close()
  })
  const status = await new Promise<number>((resolve, reject) => {
    class Answered extends IndifferentListener {
      override onHead(head: ResponseHead): void {
        resolve(head.status)
      }
      override onFailure(error: AnyProxyError): void {
        reject(error)
      }
    }
    const sending = { method: 'GET', complete: true, upgrade: false, chunked: false, timeoutMs: 1_000 }
    connection.send(new Answered(), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', undefined, sending, performance.now())
  })
  assert.deepEqual([status, gone], [204, 0])
})
