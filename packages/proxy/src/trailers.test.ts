import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { rawExchange, testProxy, upstreamServer } from './test-ring.ts'
import { keptTrailers } from './trailers.ts'

const KEPT = [
  'grpc-status',
  '0',
  'Grpc-Message',
  'fine',
  'X-Sum',
  '1',
  'Server-Timing',
  'a',
  'ETag',
  '"a"',
  'digest',
  'x',
  'x-ringwall',
  'y',
]

const REFUSED = [
  ...['Connection', 'Keep-Alive', 'Proxy-Connection', 'TE', 'Transfer-Encoding', 'Upgrade', 'HTTP2-Settings', 'Trailer'],
  ...['Content-Length', 'content-type', 'Content-Encoding', 'Content-Range', 'Host', 'Location', 'Expect'],
  ...['Set-Cookie', 'WWW-Authenticate', 'Authorization', 'Proxy-Authenticate', 'Cookie'],
  ...['Cache-Control', 'Expires', 'Vary', 'Age', 'Date', 'Strict-Transport-Security', 'Content-Security-Policy'],
  ...['X-Request-Id', 'X-Ringwall-Decision', 'x-ringwall-peer', 'X-Forwarded-For', 'Forwarded', 'traceparent'],
  ...['Access-Control-Allow-Origin', 'Clear-Site-Data'],
]

test('trailers add to an answer; none of them frames it, routes it, says who is who, or speaks for us', () => {
  const refused = REFUSED.flatMap((name) => [name, 'x'])
  assert.deepEqual(keptTrailers([...refused, ...KEPT, ...refused]), KEPT)
  assert.deepEqual(keptTrailers([]), [])
})

test('trailers that belong to a connection do not cost a client of HTTP/2 the answer', async (t) => {
  const server = createServer((request) => {
    const trailers = `${REFUSED.map((name) => `${name}: x\r\n`).join('')}X-Sum: 1\r\n`
    request.socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const listeners = [{ host: '127.0.0.1', port: 0, http2: true }]
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url }] } }, { listeners })
  const session = connect(`http://127.0.0.1:${port}`)
  t.after(async () => {
    session.destroy()
    await proxy.stop(0)
    server.close()
    server.closeAllConnections()
  })
  const stream = session.request({ ':path': '/', ':authority': 'a' })
  const trailers = new Promise((resolve) => stream.on('trailers', (fields) => resolve(Object.entries(fields))))
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  assert.equal(text, 'ok')
  assert.deepEqual(await trailers, [['x-sum', '1']])
  const plain = await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(plain.text, /\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n$/)
})

test('trailers of a request reach nobody, whatever they say', async (t) => {
  const upstream = await upstreamServer((request, response) => {
    request.resume().on('end', () => response.end(JSON.stringify([request.rawHeaders, request.rawTrailers])))
  })
  const listeners = [{ host: '127.0.0.1', port: 0, http2: true }]
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { listeners })
  const session = connect(`http://127.0.0.1:${port}`)
  t.after(async () => {
    session.destroy()
    await proxy.stop(0)
    upstream.close()
  })
  const forged = 'X-Ringwall-Peer: forged\r\nAuthorization: forged\r\nContent-Length: 3\r\nX-Any: forged\r\n'
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-any\r\nTransfer-Encoding: chunked\r\n\r\n'
  const plain = await rawExchange(port, `${head}1\r\na\r\n0\r\n${forged}\r\n`)
  assert.match(plain.text, /^HTTP\/1\.1 200 /)
  assert.doesNotMatch(plain.text, /forged|"trailer"/i)
  const stream = session.request(
    { ':method': 'POST', ':path': '/', ':authority': 'a' },
    { endStream: false, waitForTrailers: true },
  )
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-ringwall-peer': 'forged', 'x-any': 'forged' }))
  stream.end('a')
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  assert.match(text, /x-request-id/)
  assert.doesNotMatch(text, /forged/)
})
