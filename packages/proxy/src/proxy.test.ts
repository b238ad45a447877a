import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createNetServer } from 'node:net'
import { test } from 'node:test'
import { createGuard } from '@ringwall/guard'
import { openSocket, policyOf, rawExchange, testProxy, until, upstreamServer, viewOf } from './test-ring.ts'
import type { LoginEvent } from './types.ts'

const service = (url: string, rest: object = {}) => ({ shop: { upstreams: [{ url }], ...rest } })

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('requests on one kept connection pass, each with its own request id, over kept upstream connections', async () => {
  const upstream = await upstreamServer((request, response) => response.setHeader('x-request-id', 'mine').end(request.url))
  const { proxy, port, records, seen } = await testProxy(service(upstream.url))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const ids = new Set<string>()
  const sockets = new Set<number | undefined>()
  for (let at = 0; at < 20; at++) {
    const response = await new Promise<IncomingMessage>((resolve, reject) =>
      httpRequest({ port, path: `/p${at}?a=b`, agent }, resolve)
        .on('error', reject)
        .end(),
    )
    assert.equal(String(await readAll(response)), `/p${at}?a=b`)
    ids.add(String(response.headers['x-request-id']))
    sockets.add(upstream.seen.at(-1)?.socket.remotePort)
  }
  agent.destroy()
  assert.equal(ids.size, 20)
  assert.equal(sockets.size, 1)
  assert.deepEqual(
    [...ids],
    records.map((record) => record.requestId),
  )
  assert.equal(records[0]!.path, '/p0')
  assert.equal(seen[0]!.target, '/p0?a=b')
  await proxy.stop(100)
  upstream.close()
})

for (const [path, status, header] of [
  ['/denied?q=1', 403, undefined],
  ['/limited', 429, ['retry-after', '3']],
  ['/private', 401, ['www-authenticate', 'Bearer, DPoP algs="EdDSA ES256 ES384"']],
  ['/broken', 503, undefined],
] as const) {
  test(`${path} is refused with ${status}, a request id and nothing of the reason; the upstream sees nothing`, async () => {
    const upstream = await upstreamServer((_request, response) => response.end())
    const { proxy, url, records } = await testProxy(service(upstream.url))
    const response = await fetch(url + path, { method: 'POST', body: 'x'.repeat(5_000) })
    const text = await response.text()
    assert.equal(response.status, status)
    assert.equal(response.headers.get('x-request-id'), records[0]!.requestId)
    assert.ok(text.includes(records[0]!.requestId))
    assert.doesNotMatch(text, /942100|SQL|rule|guard/)
    assert.equal(response.headers.get('x-ringwall-rules'), null)
    if (header !== undefined) assert.equal(response.headers.get(header[0]), header[1])
    const asJson = await fetch(url + path, { headers: { accept: 'application/json' } })
    assert.equal(asJson.headers.get('content-type'), 'application/problem+json')
    assert.deepEqual(Object.keys((await asJson.json()) as object), ['type', 'title', 'status', 'requestId'])
    assert.equal(upstream.seen.length, 0)
    await proxy.stop(100)
    upstream.close()
  })
}

test('with the explaining header on, a denial names its rules once each and an allow says allow', async () => {
  const upstream = await upstreamServer((_request, response) => response.setHeader('x-ringwall-decision', 'forged').end())
  const { proxy, url } = await testProxy(service(upstream.url), { explainHeader: true })
  const denied = await fetch(`${url}/denied`)
  assert.deepEqual([denied.headers.get('x-ringwall-decision'), denied.headers.get('x-ringwall-rules')], ['deny', '942100'])
  assert.equal((await fetch(`${url}/ok`)).headers.get('x-ringwall-decision'), 'allow')
  await proxy.stop(100)
  upstream.close()
})

for (const framing of ['content-length', 'chunked'] as const) {
  test(`an upload far beyond the inspection limit arrives whole, ${framing}`, async () => {
    const upstream = await upstreamServer(async (request, response) => {
      const body = await readAll(request)
      response.end(`${body.length} ${createHash('sha256').update(body).digest('hex')}`)
    })
    const { proxy, port } = await testProxy(service(upstream.url))
    const body = randomBytes(3_000_001)
    const headers = framing === 'chunked' ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({ port, method: 'POST', path: '/upload', headers }, resolve).on('error', reject)
      for (let at = 0; at < body.length; at += 70_000) request.write(body.subarray(at, at + 70_000))
      request.end()
    })
    assert.equal(String(await readAll(response)), `${body.length} ${createHash('sha256').update(body).digest('hex')}`)
    await proxy.stop(100)
    upstream.close()
  })
}

test('a chunked body within the limit is judged whole and sent on with its length', async () => {
  const upstream = await upstreamServer(async (request, response) => {
    response.end(`${request.headers['content-length']} ${await readAll(request)}`)
  })
  const { proxy, url } = await testProxy(service(upstream.url))
  const chunks = async function* () {
    yield Buffer.from('hel')
    yield Buffer.from('lo')
  }
  const response = await fetch(`${url}/later`, { method: 'POST', body: chunks(), duplex: 'half' } as RequestInit)
  assert.equal(await response.text(), '5 hello')
  await proxy.stop(100)
  upstream.close()
})

test('a body that the guard denies never reaches the upstream, however it is cut into pieces', async () => {
  const upstream = await upstreamServer((_request, response) => response.end())
  const { proxy, port } = await testProxy(service(upstream.url))
  const socket = await openSocket(port)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nat')
  for (const piece of ['ta', 'ck', 'now!']) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    socket.write(piece)
  }
  await until('a refusal', () => text.includes('request id'))
  assert.match(text, /^HTTP\/1\.1 403 /)
  assert.equal(upstream.seen.length, 0)
  socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('a large response is streamed whole to a client that reads slowly', async () => {
  const body = randomBytes(4_000_000)
  const upstream = await upstreamServer((_request, response) => response.end(body))
  const { proxy, port } = await testProxy(service(upstream.url))
  const response = await new Promise<IncomingMessage>((resolve) => httpRequest({ port }, resolve).end())
  const hash = createHash('sha256')
  for await (const chunk of response) {
    hash.update(chunk as Buffer)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  assert.equal(hash.digest('hex'), createHash('sha256').update(body).digest('hex'))
  await proxy.stop(100)
  upstream.close()
})

test('a client that pauses within bounds keeps its connection; one that stops reading is cut, and its upstream with it', async () => {
  let closed = 0
  const upstream = await upstreamServer((request, response) => {
    request.socket.on('close', () => closed++)
    // Many small chunks: more of them arrive in one packet after the client's buffer is full.
    for (let at = 0; at < 20_000; at++) response.write('x'.repeat(request.url === '/endless' ? 2_000 : 200))
    response.end()
  })
  const { proxy, port } = await testProxy(service(upstream.url), { limits: { clientStallMsMax: 300 } })
  const socket = await openSocket(port)
  let bytes = 0
  socket.on('data', (chunk) => {
    bytes += chunk.length
  })
  for (const turn of [1, 2]) {
    socket.pause()
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await new Promise((resolve) => setTimeout(resolve, 100))
    socket.resume()
    await until(`response ${turn}`, () => bytes > turn * 4_000_000)
    await new Promise((resolve) => setTimeout(resolve, 400))
    assert.equal(socket.destroyed, false)
  }
  socket.destroy()
  const before = closed
  const stopped = await openSocket(port)
  stopped.pause()
  stopped.write('GET /endless HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('the upstream to be let go', () => closed > before)
  assert.equal(proxy.stats().clientAborts, 1)
  stopped.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('server-sent events arrive one by one, and the head before the first', async () => {
  let send: ((text: string) => void) | undefined
  const upstream = await upstreamServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    send = (text) => response.write(text)
  })
  const { proxy, url } = await testProxy(service(upstream.url))
  const response = await fetch(`${url}/events`)
  const reader = response.body!.getReader()
  for (const text of ['data: 1\n\n', 'data: 2\n\n']) {
    send!(text)
    assert.equal(Buffer.from((await reader.read()).value!).toString(), text)
  }
  await reader.cancel()
  await proxy.stop(100)
  upstream.close()
})

test('HEAD, 204, 304 and trailers keep their framing on a kept connection', async () => {
  const upstream = await upstreamServer((request, response) => {
    if (request.url === '/204') response.writeHead(204).end()
    else if (request.url === '/304') response.writeHead(304, { etag: '"x"' }).end()
    else if (request.url === '/trailers') {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('body')
      response.addTrailers({ 'x-sum': '7', 'content-length': '1' })
      response.end()
    } else response.writeHead(200, { 'content-length': '10' }).end(request.method === 'HEAD' ? undefined : '0123456789')
  })
  const { proxy, port } = await testProxy(service(upstream.url))
  const lines = ['HEAD /h', 'GET /204', 'GET /304', 'GET /trailers', 'GET /last'].map(
    (line) => `${line} HTTP/1.1\r\nHost: a\r\n\r\n`,
  )
  const { text } = await rawExchange(port, lines.join(''))
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])
  assert.deepEqual(statuses, ['200', '204', '304', '200', '200'])
  assert.match(text, /0\r\nx-sum: 7\r\n\r\n/)
  assert.match(text, /0123456789$/)
  await proxy.stop(100)
  upstream.close()
})

test('Expect: 100-continue is answered only once the guard has passed the head', async () => {
  const upstream = await upstreamServer(async (request, response) => response.end(await readAll(request)))
  const { proxy, port } = await testProxy(service(upstream.url))
  const head = (path: string) => `POST ${path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`
  const denied = await rawExchange(port, head('/denied'))
  assert.match(denied.text, /^HTTP\/1\.1 403 /)
  assert.equal(denied.closed, true)
  const socket = await openSocket(port)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write(head('/ok'))
  await until('100', () => text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'))
  socket.write('body')
  await until('200', () => /HTTP\/1\.1 200 [\s\S]*body$/.test(text))
  socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('an upstream that is down is a 502 with a request id, and shows as unhealthy', async () => {
  const gone = await upstreamServer(() => undefined)
  gone.close()
  const { proxy, url, records } = await testProxy(service(gone.url))
  for (let at = 0; at < 2; at++) {
    const response = await fetch(url, { method: 'POST', body: 'x' })
    assert.equal(response.status, 502)
    assert.equal(response.headers.get('x-request-id'), records[at]!.requestId)
  }
  const [status] = proxy.upstreams()
  assert.equal(status!.healthy, false)
  assert.match(status!.reason, /ECONNREFUSED/)
  assert.equal(proxy.stats().upstreamErrors, 2)
  await proxy.stop(100)
})

test('with the upstream of its own region down, requests go to another region; when it is back, home again', async () => {
  const far = await upstreamServer((_request, response) => response.end('far'))
  const near = await upstreamServer((_request, response) => response.end('near'))
  const port = Number(new URL(near.url).port)
  near.close()
  const upstreams = [
    { url: far.url, region: 'us' },
    { url: near.url, region: 'eu' },
  ]
  const { proxy, url } = await testProxy({ shop: { upstreams } })
  for (let at = 0; at < 5; at++) assert.equal(await (await fetch(url, { method: 'POST', body: 'x' })).text(), 'far')
  const back = await upstreamServer((_request, response) => response.end('near'), port)
  await until('the probe to find it', () => proxy.upstreams().every(({ healthy }) => healthy))
  assert.equal(await (await fetch(url)).text(), 'near')
  await proxy.stop(100)
  far.close()
  back.close()
})

test('an upstream that never answers is a 504 after its timeout', async () => {
  const upstream = await upstreamServer(() => undefined)
  const { proxy, url } = await testProxy(service(upstream.url, { upstreamTimeout: '150ms' }))
  const response = await fetch(url)
  assert.equal(response.status, 504)
  assert.ok(response.headers.has('x-request-id'))
  await proxy.stop(100)
  upstream.close()
})

test('a response cut off in the middle is cut off for the client too, never ended as if whole', async () => {
  const upstream = await upstreamServer((request, response) => {
    response.writeHead(200, request.url === '/length' ? { 'content-length': '100' } : {})
    response.write('part')
    setTimeout(() => response.destroy(), 20)
  })
  const { proxy, port, records } = await testProxy(service(upstream.url))
  for (const path of ['/length', '/chunked']) {
    const { text, closed } = await rawExchange(port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, 2_000)
    assert.equal(closed, true)
    assert.doesNotMatch(text, /0\r\n\r\n$/)
  }
  assert.match(records[0]!.reason, /PROXY_UPSTREAM_BROKEN/)
  await proxy.stop(100)
  upstream.close()
})

test('an upstream that speaks something else, or two responses at once, is a 502 and its second response goes nowhere', async () => {
  const answers = [
    'SSH-2.0-OpenSSH\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled',
    'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine',
  ]
  let at = 0
  const server = createNetServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => socket.write(answers[at++]!))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { proxy, url } = await testProxy(service(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
  const got: string[] = []
  for (let turn = 0; turn < 4; turn++) {
    const response = await fetch(url, { method: 'POST', body: 'x' })
    got.push(response.status === 200 ? await response.text() : String(response.status))
  }
  assert.deepEqual(got, ['502', '502', 'ok', 'fine'])
  await proxy.stop(100)
  server.close()
})

test('a kept upstream connection that died is replaced without the client noticing', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const { proxy, url } = await testProxy(service(upstream.url))
  for (let at = 0; at < 5; at++) {
    assert.equal(await (await fetch(url)).text(), 'ok')
    // Dies with the request on its way, as a keep-alive timeout does.
    const { socket } = upstream.seen.at(-1)!
    socket.removeAllListeners('data')
    socket.once('readable', () => socket.destroy())
  }
  assert.equal(proxy.stats().upstreamErrors, 0)
  await proxy.stop(100)
  upstream.close()
})

test('a client that leaves takes its upstream request with it', async () => {
  let aborted = false
  const upstream = await upstreamServer((request) => {
    request.socket.on('close', () => {
      aborted = true
    })
  })
  const { proxy, port, records } = await testProxy(service(upstream.url))
  const socket = await openSocket(port)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('the upstream to be asked', () => upstream.seen.length === 1)
  socket.destroy()
  await until('the upstream connection to close', () => aborted)
  assert.equal(proxy.stats().clientAborts, 1)
  assert.equal(records[0]!.status, 499)
  assert.equal(proxy.stats().activeRequests, 0)
  await proxy.stop(100)
  upstream.close()
})

test('a client that sends its header byte by byte is cut, and one that never sends its body is refused', async () => {
  const upstream = await upstreamServer((_request, response) => response.end())
  const { proxy, port } = await testProxy(service(upstream.url), { limits: { headersMsMax: 200, inspectedBodyMsMax: 100 } })
  const slow = await rawExchange(port, 'GET / HTTP/1.1\r\nHo', 4_000)
  assert.equal(slow.closed, true)
  assert.match(slow.text, /^HTTP\/1\.1 408 [\s\S]*x-request-id: n1-/)
  const bodiless = await rawExchange(port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx', 1_000)
  assert.match(bodiless.text, /^HTTP\/1\.1 408 /)
  assert.equal(upstream.seen.length, 0)
  await proxy.stop(100)
  upstream.close()
})

test('the trace goes on: the client’s trace id, our span as the upstream’s parent, one tree of spans', async () => {
  const upstream = await upstreamServer((_request, response) => response.end())
  const { proxy, url, spans } = await testProxy(service(upstream.url))
  const traceId = 'a'.repeat(32)
  await fetch(url, {
    headers: { traceparent: `00-${traceId}-${'b'.repeat(16)}-01`, tracestate: 'v=1', 'x-request-id': 'forged' },
  })
  await until('three spans', () => spans.length === 3)
  const [server, guard, client] = spans as [(typeof spans)[0], (typeof spans)[0], (typeof spans)[0]]
  assert.deepEqual([server.parentSpanId, guard.parentSpanId, client.parentSpanId], ['b'.repeat(16), server.spanId, server.spanId])
  const { headers } = upstream.seen[0]!
  assert.equal(headers.traceparent, `00-${traceId}-${client.spanId}-01`)
  assert.equal(headers.tracestate, 'v=1')
  assert.equal(headers['x-request-id'], server.attributes['ringwall.request_id'])
  await proxy.stop(100)
  upstream.close()
})

test('a login’s outcome is reported with the source that a trusted proxy names', async () => {
  const upstream = await upstreamServer((request, response) => response.writeHead(request.url === '/login?ok' ? 200 : 401).end())
  const events: LoginEvent[] = []
  const routes = [{ name: 'login', path: '/login', login: { account: 'user' } }]
  const onLogin = (event: LoginEvent) => events.push(event)
  const { proxy, url } = await testProxy(service(upstream.url, { routes }), { onLogin }, { trustedProxies: ['127.0.0.1/32'] })
  for (const query of ['', '?ok']) {
    await fetch(`${url}/login${query}`, { method: 'POST', body: 'user=x', headers: { 'x-forwarded-for': '203.0.113.7' } })
  }
  assert.deepEqual(
    events.map(({ failed, source, account }) => [failed, source, account]),
    [
      [true, '203.0.113.7', 'hash'],
      [false, '203.0.113.7', 'hash'],
    ],
  )
  await proxy.stop(100)
  upstream.close()
})

test('policy swapped under load, with its upstream replaced: no request is lost', async () => {
  const first = await upstreamServer((_request, response) => setTimeout(() => response.end('first'), 3))
  const second = await upstreamServer((_request, response) => response.end('second'))
  const { proxy, port, state } = await testProxy(service(first.url))
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  const get = () =>
    new Promise<string>((resolve, reject) => {
      httpRequest({ port, agent }, (response) =>
        readAll(response).then((body) => resolve(`${response.statusCode} ${body}`), reject),
      )
        .on('error', reject)
        .end()
    })
  const results: string[] = []
  let swaps = 0
  const worker = async () => {
    for (let at = 0; at < 60; at++) results.push(await get())
  }
  const swapper = setInterval(() => {
    state.view = viewOf(policyOf(service(++swaps % 2 === 0 ? first.url : second.url)), swaps)
  }, 5)
  await Promise.all(Array.from({ length: 8 }, worker))
  clearInterval(swapper)
  agent.destroy()
  assert.equal(results.length, 480)
  assert.deepEqual([...new Set(results)].sort(), ['200 first', '200 second'])
  assert.ok(swaps > 5)
  assert.equal(proxy.stats().upstreamErrors, 0)
  await proxy.stop(100)
  first.close()
  second.close()
})

test('stopping lets a running request end, and refuses new connections', async () => {
  const upstream = await upstreamServer((_request, response) => setTimeout(() => response.end('done'), 100))
  const { proxy, url } = await testProxy(service(upstream.url))
  const running = fetch(url)
  await until('the upstream to be asked', () => upstream.seen.length === 1)
  const stopped = proxy.stop(5_000)
  assert.equal(await (await running).text(), 'done')
  await stopped
  await assert.rejects(fetch(url))
  upstream.close()
})

test('draining ends connections with the answer under way, serves who comes all the same, and can be taken back', async (t) => {
  const upstream = await upstreamServer((_request, response) => setTimeout(() => response.end('done'), 50))
  t.after(() => upstream.close())
  const { proxy, port } = await testProxy(service(upstream.url))
  t.after(() => proxy.stop(0))
  const idle = await openSocket(port)
  const busy = await openSocket(port)
  const heard = { idle: '', busy: '' }
  const ended: string[] = []
  for (const [name, socket] of [
    ['idle', idle],
    ['busy', busy],
  ] as const) {
    socket.on('data', (chunk: Buffer) => (heard[name] += chunk.toString()))
    socket.on('end', () => ended.push(name))
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  }
  await until('both to be answered', () => heard.idle.endsWith('done') && heard.busy.endsWith('done'))
  busy.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('the third to be asked', () => upstream.seen.length === 3)
  proxy.drain(true)
  await until('both to end', () => ended.length === 2)
  assert.doesNotMatch(heard.idle, /connection: close/)
  assert.match(heard.busy, /connection: close[\s\S]*done$/)
  const late = await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(late.text, /^HTTP\/1\.1 200 [\s\S]*connection: close/)
  proxy.drain(false)
  const kept = await openSocket(port)
  t.after(() => kept.destroy())
  let answers = ''
  kept.on('data', (chunk: Buffer) => (answers += chunk.toString()))
  for (const count of [1, 2]) {
    kept.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('an answer', () => answers.split('done').length === count + 1)
  }
  assert.doesNotMatch(answers, /connection: close/)
})

test('a port in use is one clear error', async () => {
  const upstream = await upstreamServer(() => undefined)
  const port = Number(new URL(upstream.url).port)
  await assert.rejects(testProxy(service(upstream.url), { listeners: [{ host: '127.0.0.1', port }] }), {
    code: 'PROXY_LISTEN_FAILED',
    message: /another program listens/,
  })
  upstream.close()
})

test('cutting a source closes its connections and leaves others; behind a trusted proxy, only its own requests', async () => {
  const upstream = await upstreamServer(() => undefined)
  const { proxy, port, state } = await testProxy(service(upstream.url), {}, { trustedProxies: ['127.0.0.1/32'] })
  const closed: string[] = []
  for (const source of ['203.0.113.7', '203.0.113.8', '198.51.100.1']) {
    const socket = await openSocket(port)
    socket.on('close', () => closed.push(source))
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${source}\r\n\r\n`)
  }
  await until('all to be asked', () => upstream.seen.length === 3)
  assert.equal(proxy.cutSource('203.0.113.7'), 1)
  await until('the first to close', () => closed.length === 1)
  assert.equal(proxy.cutSource('203.0.113.0/24'), 1)
  await until('the second to close', () => closed.length === 2)
  assert.deepEqual(closed, ['203.0.113.7', '203.0.113.8'])
  assert.equal(proxy.cutSource('127.0.0.1'), 0)
  state.view = viewOf(policyOf(service(upstream.url)))
  assert.equal(proxy.cutSource('127.0.0.1'), 1)
  await proxy.stop(100)
  upstream.close()
})

test('with the real guard: a limit by source throttles, a denied route is refused, a login is reported, the rest passes', async () => {
  const upstream = await upstreamServer((request, response) => {
    request.resume().on('end', () => response.writeHead(request.url === '/login' ? 401 : 200).end('ok'))
  })
  const events: LoginEvent[] = []
  const waf = { mode: 'off' }
  const routes = [
    { name: 'admin', path: '/admin', deny: true },
    { name: 'login', path: '/login', login: { account: 'user' } },
    { name: 'few', path: '/few', limits: [{ name: 'few', rate: '1/h' }] },
  ]
  const { proxy, url, records } = await testProxy(service(upstream.url, { waf, routes }), {
    guard: createGuard(),
    onLogin: (event) => events.push(event),
  })
  const statuses: number[] = []
  for (const path of ['/', '/admin/x', '/few', '/few', '/%61dmin']) statuses.push((await fetch(url + path)).status)
  assert.deepEqual(statuses, [200, 403, 200, 429, 403])
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  assert.equal((await fetch(`${url}/login`, { method: 'POST', body: 'user=ann&password=x', headers })).status, 401)
  assert.deepEqual(
    events.map(({ failed, service: name, source }) => [failed, name, source]),
    [[true, 'shop', '127.0.0.1']],
  )
  assert.notEqual(events[0]!.account, undefined)
  assert.deepEqual(
    records.map(({ outcome }) => outcome),
    ['allow', 'deny', 'allow', 'throttle', 'deny', 'allow'],
  )
  await proxy.stop(100)
  upstream.close()
})
