/**
 * What RFC 9110 (HTTP semantics) and RFC 9112 (HTTP/1.1) ask of an intermediary, case by case; each names its section.
 *
 * One MUST is left undone on purpose: no `Via` is added (RFC 9110 section 7.6.3), since widespread servers stop compressing for
 * requests that carry one.
 */
import assert from 'node:assert/strict'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { openSocket, testProxy, until, upstreamServer } from './test-ring.ts'

interface Case {
  readonly section: string
  readonly name: string
  readonly send: string
  /** What the upstream says, to be sent as it is; an echo of the request otherwise. */
  readonly answer?: string
  /** Of the first response. */
  readonly status?: number
  readonly closed?: boolean
  readonly matches?: RegExp
  readonly lacks?: RegExp
  /** Requests that reach the upstream. */
  readonly reached?: number
}

const GET = 'GET / HTTP/1.1\r\nHost: echo\r\n'
const POST = 'POST / HTTP/1.1\r\nHost: echo\r\n'
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`
const RAW = 'GET / HTTP/1.1\r\nHost: raw\r\n'
const OK = 'HTTP/1.1 200 OK\r\n'
const ranges = (count: number): string => Array.from({ length: count }, (_, i) => `${2 * i}-${2 * i}`).join()
const refused = (status: number) => ({ status, closed: true, reached: 0 }) as const
const long = (count: number): string => 'x'.repeat(count)

const CASES: readonly Case[] = [
  { section: '9112 2.2', name: 'an empty line before the request line is ignored', send: `\r\n${GET}\r\n`, status: 200 },
  { section: '9112 2.2', name: 'a second one is not', send: `\r\n\r\n${GET}\r\n`, ...refused(400) },
  { section: '9112 2.2', name: 'a bare LF ends no line', send: 'GET / HTTP/1.1\nHost: echo\r\n\r\n', ...refused(400) },
  { section: '9112 2.2', name: 'a bare LF ends no header section', send: `${GET}\n`, ...refused(400) },
  { section: '9112 2.2', name: 'a bare CR is no space', send: 'GET\r/ HTTP/1.1\r\nHost: echo\r\n\r\n', ...refused(400) },
  {
    section: '9112 2.2',
    name: 'white space before the first field',
    send: 'GET / HTTP/1.1\r\n Host: echo\r\n\r\n',
    ...refused(400),
  },
  { section: '9112 2.3', name: 'another major version', send: 'GET / HTTP/2.0\r\nHost: echo\r\n\r\n', ...refused(400) },
  { section: '9112 2.3', name: 'a version in lower case', send: 'GET / http/1.1\r\nHost: echo\r\n\r\n', ...refused(400) },
  { section: '9112 3', name: 'two spaces in the request line', send: 'GET  / HTTP/1.1\r\nHost: echo\r\n\r\n', ...refused(400) },
  { section: '9112 3', name: 'a tab in the request line', send: 'GET\t/ HTTP/1.1\r\nHost: echo\r\n\r\n', ...refused(400) },
  { section: '9112 3', name: 'a space after the version', send: 'GET / HTTP/1.1 \r\nHost: echo\r\n\r\n', ...refused(400) },
  {
    section: '9112 3',
    name: 'a target that is too long',
    send: `GET /${long(20_000)} HTTP/1.1\r\nHost: echo\r\n\r\n`,
    ...refused(414),
  },
  {
    section: '9112 3',
    name: 'a target of 16,000 bytes',
    send: `GET /${long(16_000)} HTTP/1.1\r\nHost: echo\r\n\r\n`,
    status: 200,
  },
  {
    section: '9110 9.1',
    name: 'methods are case-sensitive: get is none',
    send: 'get / HTTP/1.1\r\nHost: echo\r\n\r\n',
    ...refused(400),
  },
  {
    section: '9110 9.1',
    name: 'a method of others is passed on',
    send: 'M-SEARCH / HTTP/1.1\r\nHost: echo\r\n\r\n',
    status: 200,
  },
  { section: '9112 3.2', name: 'no Host', send: 'GET / HTTP/1.1\r\n\r\n', ...refused(400) },
  { section: '9112 3.2', name: 'two Hosts', send: `${GET}Host: raw\r\n\r\n`, ...refused(400) },
  { section: '9112 3.2', name: 'two equal Hosts', send: `${GET}Host: echo\r\n\r\n`, ...refused(400) },
  { section: '9112 3.2', name: 'a list as Host', send: 'GET / HTTP/1.1\r\nHost: echo, raw\r\n\r\n', ...refused(400) },
  {
    section: '9112 3.2.2',
    name: 'absolute form becomes origin form',
    send: 'GET http://echo/a?b HTTP/1.1\r\nHost: echo\r\n\r\n',
    matches: /GET \/a\?b\n/,
  },
  {
    section: '9112 3.2.2',
    name: 'absolute form of another host',
    send: 'GET http://raw/ HTTP/1.1\r\nHost: echo\r\n\r\n',
    ...refused(400),
  },
  { section: '9112 3.2.3', name: 'CONNECT', send: 'CONNECT echo:80 HTTP/1.1\r\nHost: echo:80\r\n\r\n', ...refused(405) },
  { section: '9110 9.3.8', name: 'TRACE', send: 'TRACE / HTTP/1.1\r\nHost: echo\r\n\r\n', ...refused(405) },
  { section: '9112 5.1', name: 'a space before the colon', send: `${GET}X : y\r\n\r\n`, ...refused(400) },
  { section: '9112 5.1', name: 'an empty field name', send: `${GET}: y\r\n\r\n`, ...refused(400) },
  {
    section: '9112 5.1',
    name: 'white space around a value is not part of it',
    send: `${GET}X: \t y z \t\r\n\r\n`,
    matches: /X: y z\n/,
  },
  { section: '9112 5.1', name: 'an empty value stays', send: `${GET}X:\r\n\r\n`, matches: /X: \n/ },
  { section: '9112 5.2', name: 'a folded line', send: `${GET}X: y\r\n z\r\n\r\n`, ...refused(400) },
  { section: '9110 5.5', name: 'a DEL in a value', send: `${GET}X: \x7f\r\n\r\n`, ...refused(400) },
  { section: '9110 5.5', name: 'bytes above ASCII pass unchanged', send: `${GET}X: \xe4\xff\r\n\r\n`, matches: /X: \xe4\xff\n/ },
  { section: '6585 5', name: 'too many fields', send: `${GET}${'X: y\r\n'.repeat(101)}\r\n`, ...refused(431) },
  { section: '6585 5', name: 'a field that is too long', send: `${GET}X: ${long(40_000)}\r\n\r\n`, ...refused(431) },
  {
    section: '9112 6.1',
    name: 'Transfer-Encoding and Content-Length',
    send: `${POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ...refused(400),
  },
  { section: '9112 6.1', name: 'chunked in HTTP/1.0', send: CHUNKED.replace('1.1', '1.0'), ...refused(400) },
  {
    section: '9112 6.1',
    name: 'chunked that is not last',
    send: `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n`,
    ...refused(501),
  },
  {
    section: '9112 6.1',
    name: 'chunked in capitals',
    send: `${POST}Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n`,
    matches: /\na$/,
  },
  { section: '9112 6.3', name: 'a length that is none', send: `${POST}Content-Length: 1a\r\n\r\n`, ...refused(400) },
  { section: '9112 6.3', name: 'a negative length', send: `${POST}Content-Length: -1\r\n\r\n`, ...refused(400) },
  { section: '9112 6.3', name: 'equal lengths in a list', send: `${POST}Content-Length: 1, 1\r\n\r\na`, ...refused(400) },
  { section: '9112 6.3', name: 'a request without a length has no body', send: `${POST}\r\n${GET}\r\n`, reached: 2 },
  {
    section: '9112 7.1',
    name: 'sizes in both cases and with zeros before',
    send: `${CHUNKED}0a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n`,
    matches: /\n01234567890123456789$/,
  },
  { section: '9112 7.1', name: 'a size with 0x', send: `${CHUNKED}0x1\r\na\r\n0\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1', name: 'a size with a space before', send: `${CHUNKED} 1\r\na\r\n0\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1', name: 'a size with a space after', send: `${CHUNKED}1 \r\na\r\n0\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1', name: 'an empty size', send: `${CHUNKED}\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1', name: 'data without its CR LF', send: `${CHUNKED}1\r\na0\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1', name: 'a bare LF after data', send: `${CHUNKED}1\r\na\n0\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1', name: 'a bare CR in the size line', send: `${CHUNKED}1\ra\r\n0\r\n\r\n`, ...refused(400) },
  { section: '9112 7.1.1', name: 'extensions are ignored', send: `${CHUNKED}1;a=b;c="d;e"\r\na\r\n0;f\r\n\r\n`, matches: /\na$/ },
  {
    section: '9112 7.1.1',
    name: 'an extension that is too long',
    send: `${CHUNKED}1;${long(300)}\r\na\r\n0\r\n\r\n`,
    ...refused(413),
  },
  {
    section: '9112 7.1.1',
    name: 'extensions that are too long together',
    send: `${CHUNKED}${`1;${long(200)}\r\na\r\n`.repeat(100)}0\r\n\r\n`,
    ...refused(413),
  },
  {
    section: '9112 7.1.2',
    name: 'trailers are read and left out',
    send: `${CHUNKED}1\r\na\r\n0\r\nX-T: y\r\n\r\n${GET}\r\n`,
    lacks: /X-T/,
    reached: 2,
  },
  { section: '9112 7.1.2', name: 'a folded trailer', send: `${CHUNKED}0\r\nX: y\r\n z\r\n\r\n`, ...refused(400) },
  {
    section: '9112 7.1.2',
    name: 'trailers that are too long',
    send: `${CHUNKED}0\r\nX: ${long(40_000)}\r\n\r\n`,
    ...refused(431),
  },
  { section: '9112 7.1.2', name: 'too many trailers', send: `${CHUNKED}0\r\n${'X: y\r\n'.repeat(101)}\r\n`, ...refused(431) },
  { section: '9112 9.3', name: 'HTTP/1.1 connections are kept', send: `${GET}\r\n`, closed: false, lacks: /^connection: close/m },
  {
    section: '9112 9.3',
    name: 'close is honoured and said',
    send: `${GET}Connection: close\r\n\r\n`,
    closed: true,
    matches: /\r\nconnection: close\r\n/,
  },
  { section: '9112 9.3', name: 'close is honoured in a list', send: `${GET}Connection: te, Close\r\n\r\n`, closed: true },
  { section: '9112 9.3', name: 'HTTP/1.0 connections are closed', send: 'GET / HTTP/1.0\r\nHost: echo\r\n\r\n', closed: true },
  {
    section: '9112 C.2.2',
    name: 'HTTP/1.0 connections are kept when asked for',
    send: 'GET / HTTP/1.0\r\nHost: raw\r\nConnection: keep-alive\r\n\r\n',
    answer: `${OK}Content-Length: 2\r\n\r\nab`,
    closed: false,
    matches: /\r\nconnection: keep-alive\r\n/,
  },
  {
    section: '9112 9.3.2',
    name: 'pipelined requests are answered in order',
    send: `${GET.replace('/', '/1')}\r\n${GET.replace('/', '/2')}\r\n`,
    matches: /GET \/1\n[\s\S]*GET \/2\n/,
    reached: 2,
  },
  {
    section: '9112 9.6',
    name: 'nothing is read after close',
    send: `${GET}Connection: close\r\n\r\n${GET}\r\n`,
    closed: true,
    reached: 1,
  },
  {
    section: '9110 6.6.1',
    name: 'Date is added where it lacks',
    send: `${RAW}\r\n`,
    answer: `${OK}Content-Length: 0\r\n\r\n`,
    matches: /\r\ndate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n/,
  },
  {
    section: '9110 6.6.1',
    name: 'and left alone where it is',
    send: `${RAW}\r\n`,
    answer: `${OK}Date: then\r\nContent-Length: 0\r\n\r\n`,
    matches: /\r\nDate: then\r\n/,
    lacks: /\r\ndate: [A-Z]/,
  },
  {
    section: '9110 7.6.1',
    name: 'what Connection names stays with its connection, on the way there',
    send: `${GET}Connection: X-Hop\r\nX-Hop: 1\r\n\r\n`,
    lacks: /X-Hop/i,
  },
  {
    section: '9110 7.6.1',
    name: 'and on the way back',
    send: `${RAW}\r\n`,
    answer: `${OK}Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n`,
    status: 200,
    lacks: /X-Hop|Keep-Alive/i,
  },
  {
    section: '9110 8.6',
    name: 'a 204 has no length',
    send: `${RAW}\r\n`,
    answer: 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
    status: 204,
    lacks: /content-length/i,
    closed: false,
  },
  {
    section: '9110 8.6',
    name: 'equal lengths become one',
    send: `${RAW}\r\n`,
    answer: `${OK}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab`,
    matches: /^(?!.*content-length.*content-length).*\r\n\r\nab$/is,
  },
  {
    section: '9110 8.6',
    name: 'different lengths',
    send: `${RAW}\r\n`,
    answer: `${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`,
    status: 502,
  },
  {
    section: '9110 9.3.2',
    name: 'HEAD keeps the length and has no body',
    send: `${RAW.replace('GET', 'HEAD')}\r\n${GET}\r\n`,
    answer: `${OK}Content-Length: 9\r\n\r\n`,
    matches: /content-length: 9\r\n(?:[^\r]+\r\n)*\r\nHTTP\/1\.1 200/,
    reached: 2,
  },
  {
    section: '9110 9.3.2',
    name: 'HEAD of a chunked answer has no body',
    send: `${RAW.replace('GET', 'HEAD')}\r\n`,
    answer: `${OK}Transfer-Encoding: chunked\r\n\r\n`,
    status: 200,
    lacks: /\r\n\r\n./,
    closed: false,
  },
  {
    section: '9110 15.4.5',
    name: 'a 304 keeps the length and has no body',
    send: `${RAW}\r\n`,
    answer: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
    status: 304,
    matches: /content-length: 9\r\n/,
    closed: false,
  },
  {
    section: '9110 10.1.1',
    name: '100-continue is answered',
    send: `${POST}Expect: 100-continue\r\nContent-Length: 1\r\n\r\na`,
    matches: /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /,
  },
  {
    section: '9110 10.1.1',
    name: 'but not for HTTP/1.0',
    send: `${POST.replace('1.1', '1.0')}Expect: 100-continue\r\nContent-Length: 1\r\n\r\na`,
    status: 200,
  },
  { section: '9110 10.1.1', name: 'nor without a body', send: `${GET}Expect: 100-continue\r\n\r\n`, status: 200 },
  { section: '9110 17.15', name: '64 ranges', send: `${GET}Range: bytes=${ranges(64)}\r\n\r\n`, status: 200 },
  { section: '9110 17.15', name: 'more ranges than that', send: `${GET}Range: bytes=${ranges(65)}\r\n\r\n`, ...refused(416) },
  { section: '9110 10.1.1', name: 'another expectation', send: `${GET}Expect: x\r\n\r\n`, ...refused(417) },
  {
    section: '9110 15.2',
    name: 'interim responses are passed on, without what is hop by hop',
    send: `${RAW}\r\n`,
    answer: `HTTP/1.1 103 Early Hints\r\nLink: <x>\r\nKeep-Alive: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${OK}Content-Length: 1\r\n\r\na`,
    matches: /^HTTP\/1\.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 [\s\S]*\r\n\r\na$/,
  },
  {
    section: '9110 15.2',
    name: 'but not to HTTP/1.0',
    send: `${RAW.replace('1.1', '1.0')}\r\n`,
    answer: `HTTP/1.1 103 Early Hints\r\n\r\n${OK}Content-Length: 1\r\n\r\na`,
    status: 200,
  },
  {
    section: '9112 6.3',
    name: 'a body that ends with its connection is chunked for HTTP/1.1',
    send: `${RAW}\r\n`,
    answer: `${OK}Connection: close\r\n\r\nall`,
    matches: /transfer-encoding: chunked\r\n(?:[^\r]+\r\n)*\r\n3\r\nall\r\n0\r\n\r\n$/,
    closed: false,
  },
  {
    section: '9112 7.1',
    name: 'a chunked body is unchunked for HTTP/1.0',
    send: `${RAW.replace('1.1', '1.0')}\r\n`,
    answer: `${OK}Transfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n`,
    matches: /\r\n\r\nall$/,
    lacks: /transfer-encoding/i,
    closed: true,
  },
  {
    section: '9112 7.1.2',
    name: 'trailers are passed back, but for framing ones',
    send: `${RAW}\r\n`,
    answer: `${OK}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: y\r\nContent-Length: 5\r\n\r\n`,
    matches: /\r\n0\r\nX-T: y\r\n\r\n$/,
  },
  {
    section: '9112 8',
    name: 'an answer cut short is cut short',
    send: `${RAW}\r\n`,
    answer: `${OK}Connection: close\r\nContent-Length: 9\r\n\r\npart`,
    matches: /\r\n\r\npart$/,
    closed: true,
  },
  {
    section: '9112 5.2',
    name: 'a folded line of the upstream',
    send: `${RAW}\r\n`,
    answer: `${OK}X: y\r\n z\r\nContent-Length: 0\r\n\r\n`,
    status: 502,
  },
  {
    section: '9112 6.1',
    name: 'an upstream that gives both framings',
    send: `${RAW}\r\n`,
    answer: `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    status: 502,
  },
]

/** What the proxy says until it closes, or until what was waited for is there and nothing has followed for a moment. */
async function said(bytes: Buffer, enough: (text: string) => boolean): Promise<{ text: string; closed: boolean }> {
  const socket = await openSocket(proxy.port)
  const state = { text: '', closed: false }
  socket.on('data', (chunk) => {
    state.text += chunk.toString('latin1')
  })
  socket.on('close', () => {
    state.closed = true
  })
  socket.write(bytes)
  await until('the answer', () => state.closed || enough(state.text)).catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 30))
  socket.destroy()
  return state
}

let proxy: Awaited<ReturnType<typeof testProxy>>
let echo: Awaited<ReturnType<typeof upstreamServer>>
let answer = ''
let asked = 0
const raw = createServer((socket) => {
  let text = ''
  socket.on('error', () => undefined)
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1')
    if (!text.includes('\r\n\r\n')) return
    text = ''
    asked++
    socket.write(answer, 'latin1')
    if (/connection: close/i.test(answer)) socket.end()
  })
})

before(async () => {
  echo = await upstreamServer(async (request, response) => {
    let text = `${request.method} ${request.url}\n`
    for (let at = 0; at < request.rawHeaders.length; at += 2) text += `${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}\n`
    for await (const chunk of request) text += chunk
    response.end(Buffer.from(text, 'latin1'))
  })
  await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(raw.address() as AddressInfo).port}`
  proxy = await testProxy({
    raw: { hosts: ['raw'], upstreams: [{ url }] },
    echo: { hosts: ['echo'], upstreams: [{ url: echo.url }] },
  })
})

after(async () => {
  await proxy.proxy.stop(100)
  echo.close()
  raw.close()
})

for (const each of CASES) {
  test(`RFC ${each.section}: ${each.name}`, async () => {
    answer = each.answer ?? ''
    const reachedBefore = echo.seen.length + asked
    const reached = (): number => echo.seen.length + asked - reachedBefore
    const { text, closed } = await said(Buffer.from(each.send, 'latin1'), (sofar) => {
      const whole = each.matches?.test(sofar) ?? sofar !== ''
      return whole && each.closed !== true && (each.reached === undefined || reached() >= each.reached)
    })
    if (each.status !== undefined) assert.match(text, new RegExp(`^HTTP/1\\.1 ${each.status} `))
    if (each.closed !== undefined) assert.equal(closed, each.closed)
    if (each.matches !== undefined) assert.match(text, each.matches)
    if (each.lacks !== undefined) assert.doesNotMatch(text, each.lacks)
    if (each.reached !== undefined) assert.equal(reached(), each.reached)
    assert.notEqual(text, '')
  })
}
