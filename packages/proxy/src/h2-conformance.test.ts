/**
 * RFC 9113 by section, frame by frame: what must be taken is taken, what must be an error of the stream or of the connection is
 * one. After each error of a stream the connection must still serve.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import {
  ACK,
  block,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  headers,
  PADDED,
  POST,
  PREFACE,
  RawH2,
  settings,
  uint32,
} from './test-h2.ts'
import { testProxy, until, upstreamServer } from './test-ring.ts'

const PROTOCOL_ERROR = 1
const FLOW_CONTROL_ERROR = 3
const STREAM_CLOSED = 5
const FRAME_SIZE_ERROR = 6
const COMPRESSION_ERROR = 9
const ENHANCE_YOUR_CALM = 11

const bodies: { readonly url: string; readonly body: string; readonly headers: readonly string[] }[] = []
let upstream: Awaited<ReturnType<typeof upstreamServer>>
let proxy: Awaited<ReturnType<typeof testProxy>>

before(async () => {
  upstream = await upstreamServer((request, response) => {
    // Never read.
    if (request.url === '/stuck') return
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      bodies.push({ url: request.url!, body: Buffer.concat(chunks).toString('latin1'), headers: request.rawHeaders })
      if (request.url === '/slow') setTimeout(() => response.end('slow'), 300)
      else response.end(request.url === '/big' ? Buffer.alloc(200_000) : 'well')
    })
  })
  proxy = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }] } },
    { listeners: [{ host: '127.0.0.1', port: 0, http2: true }] },
  )
})

after(async () => {
  await proxy.proxy.stop(0)
  upstream.close()
})

const ask = (path: string, method = 'GET', ...more: readonly string[]): string[] => [
  ':method',
  method,
  ':scheme',
  'http',
  ':path',
  path,
  ':authority',
  'a',
  ...more,
]
/** No more is due than what has come. */
const settled = (h2: RawH2): Promise<void> =>
  until(
    'the connection to settle',
    () => h2.goaway !== undefined || h2.closed || h2.of('PING').some(({ flags }) => flags === ACK),
  )
const PING = frame('PING', 0, 0, '12345678')

/** `whole`: the request was complete before the error, and may have gone on. */
type Expected =
  | { readonly connection: number }
  | { readonly stream: number; readonly whole?: true }
  | { readonly status: number }
  | 'nothing'

/** Frames on a fresh connection, and what becomes of stream 1. */
function conforms(section: string, name: string, frames: readonly Buffer[], expected: Expected): void {
  test(`${section}: ${name}`, async () => {
    const h2 = new RawH2(proxy.port)
    const asked = bodies.length
    h2.write(...frames, PING)
    await settled(h2)
    if (typeof expected === 'object' && 'connection' in expected) {
      assert.equal(h2.goaway, expected.connection)
      await until('the connection to close', () => h2.closed)
      return
    }
    assert.equal(h2.goaway, undefined)
    if (expected === 'nothing') {
      assert.deepEqual([h2.reset(1), h2.of('HEADERS', 1).length], [undefined, 0])
    } else if ('stream' in expected) {
      assert.equal(h2.reset(1), expected.stream)
      if (expected.whole !== true) assert.equal(bodies.length, asked, 'nothing reaches the upstream')
    } else {
      await until('the response', () => h2.of('HEADERS', 1).length > 0)
    }
    h2.write(headers(99, ask('/after')))
    await until('the next request to be answered', () => h2.of('HEADERS', 99).length > 0)
    const statuses = h2.statuses()
    assert.equal(statuses.get(99), 200)
    if (typeof expected === 'object' && 'status' in expected) assert.equal(statuses.get(1), expected.status)
    h2.socket.destroy()
  })
}

test('3.4: the server begins with SETTINGS; what is no preface ends the connection', async () => {
  const h2 = new RawH2(proxy.port)
  await until('SETTINGS and its acknowledgement', () => h2.of('SETTINGS').length === 2)
  assert.equal(h2.frames[0]!.type, 4)
  assert.equal(h2.of('SETTINGS')[1]!.flags, ACK)
  h2.socket.destroy()
  const bad = new RawH2(proxy.port, Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'))
  await until('the end', () => bad.closed)
  assert.equal(bad.goaway, PROTOCOL_ERROR)
})

test('3.4: the preface must be followed by SETTINGS', async () => {
  for (const first of [PING, headers(1), frame('SETTINGS', ACK, 0)]) {
    const h2 = new RawH2(proxy.port, Buffer.concat([PREFACE, first]))
    await until('the end', () => h2.closed)
    assert.equal(h2.goaway, PROTOCOL_ERROR)
  }
})

test('3.4: preface and frames may come byte by byte', async () => {
  const h2 = new RawH2(proxy.port, Buffer.alloc(0))
  h2.socket.setNoDelay(true)
  const all = Buffer.concat([
    PREFACE,
    settings([3, 10]),
    headers(1, ask('/bytes', 'POST'), END_HEADERS),
    frame('DATA', END_STREAM, 1, 'hello'),
  ])
  for (const byte of all) {
    h2.socket.write(Buffer.from([byte]))
    await new Promise((wake) => setImmediate(wake))
  }
  await until('the response', () => h2.of('DATA', 1).length > 0)
  assert.equal(bodies.at(-1)!.body, 'hello')
  h2.socket.destroy()
})

conforms(
  '4.1',
  'unknown frames and flags are ignored',
  [frame(0xfa, 255, 0, 'x'), frame(0xfa, 255, 1, 'x'), frame('PING', 0xf0, 0, '12345678'), headers(1)],
  { status: 200 },
)
conforms(
  '4.1',
  'the reserved bit of a stream id is ignored',
  [frame('HEADERS', END_STREAM | END_HEADERS, 0x8000_0001 | 0, block(...GET))],
  { status: 200 },
)
conforms('4.2', 'a frame past the largest size', [Buffer.from([0, 0x40, 1, 0, 0, 0, 0, 0, 1])], { connection: FRAME_SIZE_ERROR })
conforms('4.3', 'a header block that is no HPACK', [frame('HEADERS', END_STREAM | END_HEADERS, 1, Buffer.from([0x80]))], {
  connection: COMPRESSION_ERROR,
})
conforms('4.3', 'a frame within a header block', [frame('HEADERS', END_STREAM, 1, block(...GET)), PING], {
  connection: PROTOCOL_ERROR,
})
conforms('4.3', 'a frame of another stream within a header block', [frame('HEADERS', END_STREAM, 1, block(...GET)), headers(3)], {
  connection: PROTOCOL_ERROR,
})
conforms('5.1', 'DATA on an idle stream', [frame('DATA', 0, 1, 'x')], { connection: PROTOCOL_ERROR })
conforms('5.1', 'RST_STREAM on an idle stream', [frame('RST_STREAM', 0, 1, uint32(8))], { connection: PROTOCOL_ERROR })
conforms('5.1', 'WINDOW_UPDATE on an idle stream', [frame('WINDOW_UPDATE', 0, 1, uint32(1))], { connection: PROTOCOL_ERROR })
conforms('5.1', 'CONTINUATION out of nowhere', [frame('CONTINUATION', END_HEADERS, 1, block(...GET))], {
  connection: PROTOCOL_ERROR,
})
conforms('5.1', 'DATA after the end of a stream', [headers(1, ask('/slow')), frame('DATA', END_STREAM, 1, 'x')], {
  stream: STREAM_CLOSED,
  whole: true,
})
conforms('5.1', 'HEADERS after the end of a stream', [headers(1, ask('/slow')), headers(1, ask('/slow'))], {
  stream: STREAM_CLOSED,
  whole: true,
})
conforms(
  '5.1',
  'DATA after the client reset the stream',
  [headers(1, POST, END_HEADERS), frame('RST_STREAM', 0, 1, uint32(8)), frame('DATA', END_STREAM, 1, 'x')],
  { connection: STREAM_CLOSED },
)
conforms(
  '5.1',
  'HEADERS after the client reset the stream',
  [headers(1, POST, END_HEADERS), frame('RST_STREAM', 0, 1, uint32(8)), headers(1)],
  { connection: STREAM_CLOSED },
)
conforms('5.1.1', 'an even stream id', [headers(2)], { connection: PROTOCOL_ERROR })
conforms('5.1.1', 'a stream id that goes back', [headers(5, ask('/slow')), headers(3)], { connection: STREAM_CLOSED })
conforms('5.5', 'settings that are unknown are ignored', [settings([0xff, 7]), headers(1)], { status: 200 })
conforms('6.1', 'DATA on stream 0', [frame('DATA', 0, 0, 'x')], { connection: PROTOCOL_ERROR })
conforms(
  '6.1',
  'DATA with more padding than there is',
  [headers(1, POST, END_HEADERS), frame('DATA', PADDED | END_STREAM, 1, Buffer.from([6, 1, 2, 3, 4, 5]))],
  { connection: PROTOCOL_ERROR },
)
conforms(
  '6.1',
  'DATA with padding',
  [headers(1, ask('/padded', 'POST'), END_HEADERS), frame('DATA', PADDED | END_STREAM, 1, Buffer.from([3, 104, 105, 0, 0, 0]))],
  { status: 200 },
)
conforms(
  '6.1',
  'padded DATA that is empty',
  [headers(1, POST, END_HEADERS), frame('DATA', PADDED | END_STREAM, 1, Buffer.from([0]))],
  { status: 200 },
)
conforms('6.2', 'HEADERS on stream 0', [headers(0)], { connection: PROTOCOL_ERROR })
conforms(
  '6.2',
  'HEADERS with more padding than there is',
  [frame('HEADERS', END_STREAM | END_HEADERS | PADDED, 1, Buffer.concat([Buffer.from([200]), block(...GET)]))],
  { connection: PROTOCOL_ERROR },
)
conforms(
  '6.2',
  'HEADERS with padding and priority',
  [
    frame(
      'HEADERS',
      END_STREAM | END_HEADERS | PADDED | 0x20,
      1,
      Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 16]), block(...GET), Buffer.alloc(2)]),
    ),
  ],
  { status: 200 },
)
conforms(
  '6.2',
  'HEADERS in several frames',
  [
    frame('HEADERS', END_STREAM, 1, block(...GET.slice(0, 4))),
    frame('CONTINUATION', 0, 1),
    frame('CONTINUATION', END_HEADERS, 1, block(...GET.slice(4))),
  ],
  { status: 200 },
)
conforms('6.3', 'PRIORITY of another length', [frame('PRIORITY', 0, 1, '1234')], { connection: FRAME_SIZE_ERROR })
conforms('6.3', 'PRIORITY on stream 0', [frame('PRIORITY', 0, 0, '12345')], { connection: PROTOCOL_ERROR })
conforms('6.3', 'PRIORITY is ignored', [frame('PRIORITY', 0, 1, Buffer.from([0, 0, 0, 0, 16])), headers(1)], { status: 200 })
conforms('6.4', 'RST_STREAM on stream 0', [frame('RST_STREAM', 0, 0, uint32(8))], { connection: PROTOCOL_ERROR })
conforms('6.4', 'RST_STREAM of another length', [headers(1, POST, END_HEADERS), frame('RST_STREAM', 0, 1, '123')], {
  connection: FRAME_SIZE_ERROR,
})
conforms('6.5', 'SETTINGS on a stream', [frame('SETTINGS', 0, 1)], { connection: PROTOCOL_ERROR })
conforms('6.5', 'SETTINGS of another length', [frame('SETTINGS', 0, 0, '12345')], { connection: FRAME_SIZE_ERROR })
conforms('6.5', 'an acknowledgement with a body', [frame('SETTINGS', ACK, 0, '123456')], { connection: FRAME_SIZE_ERROR })
conforms('6.5.2', 'ENABLE_PUSH of 2', [settings([2, 2])], { connection: PROTOCOL_ERROR })
conforms('6.5.2', 'a window past the largest', [settings([4, 0x8000_0000])], { connection: FLOW_CONTROL_ERROR })
conforms('6.5.2', 'a frame size below the least', [settings([5, 16_383])], { connection: PROTOCOL_ERROR })
conforms('6.5.2', 'a frame size past the largest', [settings([5, 16_777_216])], { connection: PROTOCOL_ERROR })
conforms('6.6', 'PUSH_PROMISE from a client', [frame('PUSH_PROMISE', END_HEADERS, 1, uint32(2))], { connection: PROTOCOL_ERROR })
conforms('6.7', 'PING on a stream', [frame('PING', 0, 1, '12345678')], { connection: PROTOCOL_ERROR })
conforms('6.7', 'PING of another length', [frame('PING', 0, 0, '1234567')], { connection: FRAME_SIZE_ERROR })
conforms('6.8', 'GOAWAY on a stream', [frame('GOAWAY', 0, 1, '12345678')], { connection: PROTOCOL_ERROR })
conforms(
  '6.8',
  'after the client’s GOAWAY its requests are still answered',
  [headers(1, ask('/slow')), frame('GOAWAY', 0, 0, Buffer.alloc(8))],
  { status: 200 },
)
conforms('6.9', 'WINDOW_UPDATE of 0 on the connection', [frame('WINDOW_UPDATE', 0, 0, uint32(0))], { connection: PROTOCOL_ERROR })
conforms('6.9', 'WINDOW_UPDATE of 0 on a stream', [headers(1, POST, END_HEADERS), frame('WINDOW_UPDATE', 0, 1, uint32(0))], {
  stream: PROTOCOL_ERROR,
})
conforms('6.9', 'WINDOW_UPDATE of another length', [frame('WINDOW_UPDATE', 0, 0, '123')], { connection: FRAME_SIZE_ERROR })
conforms(
  '6.9.1',
  'a connection’s window past the largest',
  [frame('WINDOW_UPDATE', 0, 0, uint32(0x7fff_ffff)), frame('WINDOW_UPDATE', 0, 0, uint32(1))],
  { connection: FLOW_CONTROL_ERROR },
)
conforms(
  '6.9.1',
  'a stream’s window past the largest',
  [headers(1, POST, END_HEADERS), frame('WINDOW_UPDATE', 0, 1, uint32(0x7fff_ffff))],
  { stream: FLOW_CONTROL_ERROR },
)
conforms(
  '6.9.2',
  'a window that settings make too large',
  [headers(1, POST, END_HEADERS), frame('WINDOW_UPDATE', 0, 1, uint32(0x7fff_0000 - 65_535)), settings([4, 0x7fff_ffff])],
  { connection: FLOW_CONTROL_ERROR },
)

const malformed: readonly [section: string, string, readonly string[]][] = [
  ['8.2.1', 'an upper-case field name', ask('/', 'GET', 'X-A', '1')],
  ['8.2.1', 'a field name with a blank', ask('/', 'GET', 'x a', '1')],
  ['8.2.1', 'an empty field name', ask('/', 'GET', '', '1')],
  ['8.2.1', 'a colon in a field name', ask('/', 'GET', 'x:a', '1')],
  [
    '8.2.1',
    'CR LF in a value: a field, or a request, smuggled over HTTP/1.1',
    ask('/', 'GET', 'x', 'a\r\ntransfer-encoding: chunked'),
  ],
  ['8.2.1', 'LF in a value', ask('/', 'GET', 'x', 'a\nb')],
  ['8.2.1', 'NUL in a value', ask('/', 'GET', 'x', 'a\0b')],
  ['8.2.1', 'another control character in a value', ask('/', 'GET', 'x', 'a\x7f')],
  ['8.2.1', 'a blank before a value', ask('/', 'GET', 'x', ' a')],
  ['8.2.1', 'a tab after a value', ask('/', 'GET', 'x', 'a\t')],
  ['8.2.1', 'CR LF in the path', ask('/ HTTP/1.1\r\nhost: b\r\n\r\n')],
  ['8.2.1', 'CR LF in the authority', [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a\r\nx: y']],
  ['8.2.1', 'CR LF in the method', [':method', 'GET / HTTP/1.1\r\nx: y\r\n', ':scheme', 'http', ':path', '/', ':authority', 'a']],
  ['8.2.2', 'Connection', ask('/', 'GET', 'connection', 'close')],
  ['8.2.2', 'Keep-Alive', ask('/', 'GET', 'keep-alive', 'timeout=5')],
  ['8.2.2', 'Proxy-Connection', ask('/', 'GET', 'proxy-connection', 'keep-alive')],
  ['8.2.2', 'Transfer-Encoding', ask('/', 'POST', 'transfer-encoding', 'chunked')],
  ['8.2.2', 'Upgrade', ask('/', 'GET', 'upgrade', 'websocket')],
  ['8.2.2', 'TE other than trailers', ask('/', 'GET', 'te', 'gzip')],
  ['8.3', 'an unknown pseudo-header', [...GET, ':x', '1']],
  ['8.3', 'a pseudo-header of responses', [...GET, ':status', '200']],
  ['8.3', 'a pseudo-header after a field', [...GET.slice(0, 6), 'x', '1', ':authority', 'a']],
  ['8.3', 'a pseudo-header after a cookie', [...GET.slice(0, 6), 'cookie', 'a=b', ':authority', 'a']],
  ['8.3.1', 'no method', GET.slice(2)],
  ['8.3.1', 'no scheme', [...GET.slice(0, 2), ...GET.slice(4)]],
  ['8.3.1', 'no path', [...GET.slice(0, 4), ...GET.slice(6)]],
  ['8.3.1', 'an empty path', ask('')],
  ['8.3.1', 'a path without a slash', ask('a')],
  ['8.3.1', 'a whole URL as the path', ask('http://a/')],
  ['8.3.1', 'two methods', [':method', 'GET', ...GET]],
  ['8.3.1', 'two paths', [':path', '/', ...GET]],
  ['8.3.1', 'two authorities', [':authority', 'a', ...GET]],
  ['8.3.1', 'a scheme that is not HTTP', [':method', 'GET', ':scheme', 'ftp', ':path', '/', ':authority', 'a']],
  ['8.3.1', 'a Host that is not the authority', ask('/', 'GET', 'host', 'b')],
  ['8.3.1', 'two Hosts', [...GET.slice(0, 6), 'host', 'a', 'host', 'a']],
  ['8.5', 'CONNECT with a path', ask('/', 'CONNECT')],
  ['8.4 of RFC 8441', 'extended CONNECT, which is not offered', [...ask('/', 'CONNECT'), ':protocol', 'websocket']],
  ['8.1.1', 'Content-Length without a body', ask('/', 'POST', 'content-length', '5')],
  ['8.1.1', 'two Content-Lengths', ask('/', 'POST', 'content-length', '0', 'content-length', '0')],
]
for (const [section, name, fields] of malformed)
  conforms(section, `malformed: ${name}`, [headers(1, fields)], { stream: PROTOCOL_ERROR })

conforms('8.3.1', 'Host in place of the authority', [headers(1, [...GET.slice(0, 6), 'host', 'a'])], { status: 200 })
conforms('8.3.1', 'Host that is the authority', [headers(1, ask('/', 'GET', 'host', 'A'))], { status: 200 })
conforms('8.3.1', 'neither authority nor Host', [headers(1, GET.slice(0, 6))], { status: 400 })
conforms('8.3.1', 'an authority that no host has', [headers(1, [...GET.slice(0, 6), ':authority', 'user@a'])], { status: 400 })
conforms('8.5', 'CONNECT', [headers(1, [':method', 'CONNECT', ':authority', 'a:443'])], { status: 405 })
conforms('8.2.2', 'TE: trailers', [headers(1, ask('/', 'GET', 'te', 'trailers'))], { status: 200 })
conforms('8.2.3', 'a cookie in crumbs', [headers(1, ask('/cookie', 'GET', 'cookie', 'a=1', 'cookie', 'b=2', 'cookie', 'c=3'))], {
  status: 200,
})
conforms(
  '8.1',
  'trailers end a request, and are dropped',
  [headers(1, ask('/trailed', 'POST'), END_HEADERS), frame('DATA', 0, 1, 'x'), headers(1, ['x-sum', '1'])],
  { status: 200 },
)
conforms(
  '8.1',
  'trailers that do not end the request',
  [headers(1, POST, END_HEADERS), frame('DATA', 0, 1, 'x'), headers(1, ['x-sum', '1'], END_HEADERS)],
  { stream: PROTOCOL_ERROR },
)
conforms('8.1', 'a pseudo-header in trailers', [headers(1, POST, END_HEADERS), headers(1, [':path', '/'])], {
  stream: PROTOCOL_ERROR,
})
conforms('8.1', 'CR LF in trailers', [headers(1, POST, END_HEADERS), headers(1, ['x', 'a\r\nb'])], { stream: PROTOCOL_ERROR })
conforms(
  '8.1.1',
  'more body than Content-Length says',
  [headers(1, ask('/', 'POST', 'content-length', '1'), END_HEADERS), frame('DATA', END_STREAM, 1, 'xy')],
  { status: 400 },
)
conforms(
  '8.1.1',
  'less body than Content-Length says',
  [headers(1, ask('/', 'POST', 'content-length', '3'), END_HEADERS), frame('DATA', END_STREAM, 1, 'xy')],
  { status: 400 },
)
conforms(
  '8.1.1',
  'less body than Content-Length says, ended by trailers',
  [headers(1, ask('/', 'POST', 'content-length', '3'), END_HEADERS), frame('DATA', 0, 1, 'xy'), headers(1, ['x', 'y'])],
  { status: 400 },
)
conforms('8.1.1', 'a Content-Length that is no number', [headers(1, ask('/', 'POST', 'content-length', '+1'), END_HEADERS)], {
  status: 400,
})
conforms(
  '10.5.1',
  'a header list past the bound',
  [
    frame('HEADERS', END_STREAM, 1, block(...GET, 'x', 'a'.repeat(16_000))),
    frame('CONTINUATION', 0, 1, block('y', 'b'.repeat(16_000))),
    frame('CONTINUATION', END_HEADERS, 1, block('z', 'c'.repeat(400))),
  ],
  { status: 431 },
)
conforms(
  '10.5.1',
  'too many fields',
  [headers(1, [...GET, ...Array.from({ length: 202 }, (_, at) => (at % 2 === 0 ? `x${at}` : 'v'))])],
  { status: 431 },
)

test('8.2.3, 8.1: what reached the upstream: cookies in one line, no trailers, one framing', () => {
  const of = (url: string) => bodies.find((each) => each.url === url)!
  const cookies = of('/cookie').headers
  assert.equal(cookies[cookies.findIndex((name) => name.toLowerCase() === 'cookie') + 1], 'a=1; b=2; c=3')
  assert.equal(of('/trailed').body, 'x')
  assert.equal(of('/padded').body, 'hi')
})

test('6.9: a response waits for the client’s window, on the stream and on the connection, and nothing is sent beyond it', async () => {
  const h2 = new RawH2(proxy.port, Buffer.concat([PREFACE, settings([4, 10])]))
  h2.write(headers(1, ask('/big')))
  const bytes = (id: number): number => h2.of('DATA', id).reduce((sum, { payload }) => sum + payload.length, 0)
  await until('as much as the window lets', () => bytes(1) === 10)
  h2.write(frame('WINDOW_UPDATE', 0, 1, uint32(1)))
  await until('one more', () => bytes(1) === 11)
  // Settings change the windows of open streams (section 6.9.2): to less than nothing, and back.
  h2.write(settings([4, 5]), frame('WINDOW_UPDATE', 0, 1, uint32(5)), PING)
  await settled(h2)
  assert.equal(bytes(1), 11)
  h2.write(settings([4, 1_000_000]))
  await until('the connection’s window to be full', () => bytes(1) === 65_535)
  h2.write(frame('WINDOW_UPDATE', 0, 0, uint32(1_000_000)))
  await until('all of it', () => bytes(1) === 200_000)
  assert.equal(h2.of('DATA', 1).at(-1)!.flags, END_STREAM)
  h2.socket.destroy()
})

test('6.9.1: more DATA than the window lets, while the upstream takes none, is an error', async () => {
  const h2 = new RawH2(proxy.port)
  h2.write(headers(1, ask('/stuck', 'POST'), END_HEADERS))
  const data = frame('DATA', 0, 1, Buffer.alloc(16_384))
  for (let sent = 0; sent < 2_000 && h2.reset(1) === undefined && !h2.closed; sent++) {
    h2.write(data)
    await new Promise((wake) => setImmediate(wake))
  }
  await until('the error', () => h2.reset(1) !== undefined || h2.goaway !== undefined)
  assert.equal(h2.reset(1) ?? h2.goaway, FLOW_CONTROL_ERROR)
  h2.socket.destroy()
})

test('5.1.2: streams past the bound that SETTINGS told are refused, and may be asked again', async () => {
  const h2 = new RawH2(proxy.port)
  h2.write(...Array.from({ length: 101 }, (_, at) => headers(at * 2 + 1, ask('/slow'))))
  await until('all answers', () => h2.of('HEADERS').length === 100)
  assert.equal(h2.reset(201), 7)
  h2.write(headers(203))
  await until('the next', () => h2.of('HEADERS', 203).length === 1)
  h2.socket.destroy()
})

const floods: readonly [string, () => Buffer][] = [
  ['PING', () => PING],
  ['SETTINGS', () => settings([4, 65_535])],
  ['empty DATA', () => frame('DATA', 0, 1)],
  ['DATA by the byte', () => frame('DATA', 0, 1, 'x')],
  ['DATA of padding alone', () => frame('DATA', PADDED, 1, Buffer.from([3, 0, 0, 0]))],
  ['PRIORITY', () => frame('PRIORITY', 0, 7, Buffer.from([0, 0, 0, 0, 16]))],
  ['WINDOW_UPDATE', () => frame('WINDOW_UPDATE', 0, 0, uint32(1))],
  ['unknown frames', () => frame(0xfa, 0, 0)],
  ['GOAWAY', () => frame('GOAWAY', 0, 0, Buffer.alloc(8))],
]
for (const [name, one] of floods) {
  test(`10.5: a flood of ${name} is told to calm down, and cut; others are served`, async () => {
    const h2 = new RawH2(proxy.port)
    h2.write(headers(1, ask('/flooded', 'POST'), END_HEADERS), ...Array.from({ length: 2_000 }, one))
    await until('the end', () => h2.closed)
    assert.equal(h2.goaway, ENHANCE_YOUR_CALM)
    const other = new RawH2(proxy.port)
    other.write(headers(1))
    await until('the other to be answered', () => other.of('HEADERS', 1).length === 1)
    other.socket.destroy()
  })
}

test('10.5: CONTINUATION without end, and settings without end, are cut', async () => {
  const continuation = new RawH2(proxy.port)
  continuation.write(
    frame('HEADERS', END_STREAM, 1, block(...GET)),
    ...Array.from({ length: 100 }, () => frame('CONTINUATION', 0, 1)),
  )
  const long = new RawH2(proxy.port)
  long.write(
    frame('HEADERS', END_STREAM, 1, Buffer.alloc(16_384)),
    ...Array.from({ length: 4 }, () => frame('CONTINUATION', 0, 1, Buffer.alloc(16_384))),
  )
  const many = new RawH2(proxy.port)
  many.write(settings(...Array.from({ length: 2_000 }, (_, at) => [4, at] as const)))
  for (const h2 of [continuation, long, many]) {
    await until('the end', () => h2.closed)
    assert.equal(h2.goaway, ENHANCE_YOUR_CALM)
  }
})

test('10.5: rapid reset: a client that takes back ten thousand requests is cut soon, and an honest one is served all the while', async () => {
  const honest = new RawH2(proxy.port)
  const attackers = Array.from({ length: 5 }, () => new RawH2(proxy.port))
  const before = upstream.seen.length
  for (const h2 of attackers) {
    const pairs = Array.from({ length: 2_000 }, (_, at) => [
      headers(at * 2 + 1, ask('/slow')),
      frame('RST_STREAM', 0, at * 2 + 1, uint32(8)),
    ])
    h2.write(...pairs.flat())
  }
  for (let at = 0; at < 20; at++) {
    honest.write(headers(at * 2 + 1))
    await until('the honest one to be answered', () => honest.of('HEADERS', at * 2 + 1).length === 1)
  }
  for (const h2 of attackers) {
    await until('the attacker to be cut', () => h2.closed)
    assert.equal(h2.goaway, ENHANCE_YOUR_CALM)
  }
  assert.ok(upstream.seen.length - before < 1_200, `${upstream.seen.length - before} requests reached the upstream`)
  await until('nothing to be left', () => proxy.proxy.stats().activeRequests === 0)
  honest.socket.destroy()
})

test('10.5: resets that the client makes the server send count as well', async () => {
  const h2 = new RawH2(proxy.port)
  h2.write(
    ...Array.from({ length: 1_000 }, (_, at) => [
      headers(at * 2 + 1, ask('/slow', 'POST'), END_HEADERS),
      frame('WINDOW_UPDATE', 0, at * 2 + 1, uint32(0)),
    ]).flat(),
  )
  await until('the end', () => h2.closed)
  assert.equal(h2.goaway, ENHANCE_YOUR_CALM)
})

test('property: no frames, in whatever order, break the proxy or leave a request behind', async () => {
  const id = fc.constantFrom(0, 1, 2, 3, 5, 7)
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom(
      block(...GET),
      block(...POST),
      uint32(0),
      uint32(1),
      uint32(0x7fff_ffff),
      Buffer.alloc(8),
      block(...POST, 'content-length', '3'),
    ),
  )
  const any = fc.tuple(fc.integer({ min: 0, max: 10 }), fc.constantFrom(0, 1, 4, 5, 8, 13, 0x20, 255), id, payload)
  await fc.assert(
    fc.asyncProperty(fc.array(any, { maxLength: 30 }), fc.boolean(), async (frames, sliced) => {
      const h2 = new RawH2(proxy.port)
      const bytes = Buffer.concat([headers(1, ask('/fuzz', 'POST'), END_HEADERS), ...frames.map((parts) => frame(...parts))])
      if (sliced) for (let at = 0; at < bytes.length; at += 7) h2.write(bytes.subarray(at, at + 7))
      else h2.write(bytes)
      await new Promise((wake) => setTimeout(wake, 5))
      h2.socket.destroy()
    }),
    { numRuns: 150 },
  )
  await until('nothing to be left', () => proxy.proxy.stats().activeRequests === 0 && proxy.proxy.stats().activeConnections === 0)
  assert.deepEqual(
    proxy.lines.filter((line) => /failed/.test(line)),
    [],
  )
  const h2 = new RawH2(proxy.port)
  h2.write(headers(1))
  await until('the next to be answered', () => h2.of('HEADERS', 1).length === 1)
  h2.socket.destroy()
})
