import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawExchange, testProxy, upstreamServer } from './test-ring.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n'
const POST = 'POST / HTTP/1.1\r\nHost: a\r\n'
const CHUNKED = 'Transfer-Encoding: chunked\r\n'

/** Each must get an error with a request id and a closed connection, and the upstream must see nothing. */
const PROBES: readonly (readonly [string, string])[] = [
  ['two Host headers', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
  ['no Host header', 'GET / HTTP/1.1\r\n\r\n'],
  ['an empty Host header', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
  ['a Host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
  ['a Host with user info', 'GET / HTTP/1.1\r\nHost: x@a\r\n\r\n'],
  ['a target of another host', 'GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a target with user info', 'GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['a target without slash', 'GET x HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an asterisk target', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a path in raw UTF-8', 'GET /caf\xc3\xa9/x HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a query in raw Latin-1', 'GET /?q=\xe9 HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a fragment in the target', 'GET /#x HTTP/1.1\r\nHost: a\r\n\r\n'],
  [
    'Content-Length and Transfer-Encoding',
    `${POST}Content-Length: 4\r\n${CHUNKED}\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n`,
  ],
  ['Transfer-Encoding and Content-Length', `${POST}${CHUNKED}Content-Length: 4\r\n\r\n0\r\n\r\n`],
  ['two different Content-Lengths', `${POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
  ['two equal Content-Lengths', `${POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`],
  ['a list of Content-Lengths', `${POST}Content-Length: 1, 1\r\n\r\na`],
  ['a Content-Length with a sign', `${POST}Content-Length: +1\r\n\r\na`],
  ['a Content-Length in hex', `${POST}Content-Length: 0x1\r\n\r\na`],
  ['a Content-Length beyond bounds', `${POST}Content-Length: 99999999999999999999\r\n\r\na`],
  ['Transfer-Encoding in HTTP/1.0', `POST / HTTP/1.0\r\nHost: a\r\n${CHUNKED}\r\n0\r\n\r\n`],
  ['chunked twice', `${POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`],
  ['two Transfer-Encodings', `${POST}${CHUNKED}${CHUNKED}\r\n0\r\n\r\n`],
  ['gzip under chunked', `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  ['an unknown Transfer-Encoding', `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ['Transfer-Encoding behind a tab', `${POST}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n`],
  ['space before a colon', `${GET}X : y\r\n\r\n`],
  ['a folded line', `${GET}X: y\r\n z\r\n\r\n`],
  ['a folded Transfer-Encoding', `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`],
  ['a bare LF as line end', 'GET / HTTP/1.1\nHost: a\n\n'],
  ['a bare CR in a value', `${GET}X: a\rTransfer-Encoding: chunked\r\n\r\n`],
  ['a NUL in a value', `${GET}X: a\0b\r\n\r\n`],
  ['a header name with a space', `${GET}X Y: z\r\n\r\n`],
  ['a header without colon', `${GET}Nonsense\r\n\r\n`],
  ['an unknown version', 'GET / HTTP/3.7\r\nHost: a\r\n\r\n'],
  ['no version', 'GET /\r\n\r\n'],
  ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n'],
  ['TRACE', 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an upgrade to h2c', `${GET}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`],
  ['a WebSocket upgrade with a body', `${GET}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nGET`],
  ['a WebSocket upgrade by POST', `${POST}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`],
  ['Connection naming Authorization', `${GET}Connection: close, Authorization\r\nAuthorization: x\r\n\r\n`],
  ['Connection naming X-Forwarded-For', `${GET}Connection: x-forwarded-for\r\n\r\n`],
  ['an expectation we do not know', `${POST}Expect: miracles\r\nContent-Length: 0\r\n\r\n`],
  ['a header of 40 KiB', `${GET}X: ${'y'.repeat(40_000)}\r\n\r\n`],
  ['101 headers', `${GET}${Array.from({ length: 100 }, (_, at) => `x${at}: y\r\n`).join('')}\r\n`],
  ['TLS on a plain port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
]

test('every smuggling probe gets an error with a request id, a closed connection, and nothing of it reaches the upstream', async (t) => {
  const upstream = await upstreamServer((_request, response) => response.end('reached'))
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  await Promise.all(
    PROBES.map(([name, bytes]) =>
      t.test(name, async () => {
        const { text, closed } = await rawExchange(port, Buffer.from(bytes, 'latin1'), 2_500)
        assert.match(text, /^HTTP\/1\.1 (400|405|408|417|431|501) [\s\S]*x-request-id: n1-[0-9a-f]{20}\r\n/)
        assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1)
        assert.equal(closed, true)
      }),
    ),
  )
  assert.deepEqual(
    upstream.seen.map((request) => request.rawHeaders),
    [],
  )
  const { malformed, requests, activeRequests } = proxy.stats()
  assert.deepEqual([malformed, requests, activeRequests], [PROBES.length, PROBES.length, 0])
  await proxy.stop(100)
  upstream.close()
})

for (const [name, chunks] of [
  ['a chunk size that is no number', 'zz\r\nab\r\n0\r\n\r\n'],
  ['a chunk longer than its size', '1\r\nab\r\n0\r\n\r\n'],
  ['a chunk size beyond bounds', 'fffffffffffffffff\r\nab\r\n0\r\n\r\n'],
  ['a bare LF after a chunk size', '2\nab\r\n0\r\n\r\n'],
] as const) {
  test(`${name} ends the connection, and the upstream is not asked`, async () => {
    const upstream = await upstreamServer((_request, response) => response.end('reached'))
    const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
    const { text, closed } = await rawExchange(port, `${POST}${CHUNKED}\r\n${chunks}`, 2_000)
    assert.equal(closed, true)
    assert.doesNotMatch(text, /^HTTP\/1\.1 200/)
    assert.equal(upstream.seen.length, 0)
    await proxy.stop(100)
    upstream.close()
  })
}

test('positive control: a plain request, an absolute target of its own host and a chunked body do reach the upstream', async () => {
  const upstream = await upstreamServer((request, response) => {
    request.resume().on('end', () => response.end('reached'))
  })
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  for (const bytes of [
    `${GET}\r\n`,
    'GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n',
    `${POST}${CHUNKED}\r\n2;ext=1\r\nab\r\n0\r\n\r\n`,
  ]) {
    assert.match((await rawExchange(port, bytes)).text, /^HTTP\/1\.1 200 [\s\S]*reached/)
  }
  assert.deepEqual(
    upstream.seen.map(({ url }) => url),
    ['/', '/x?y', '/'],
  )
  await proxy.stop(100)
  upstream.close()
})

test('a client’s own X-Forwarded-*, X-Ringwall-*, X-Real-IP and hop-by-hop headers stay behind, in every spelling', async () => {
  const upstream = await upstreamServer((_request, response) => response.end())
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const forged = [
    'X-Forwarded-For: 10.0.0.1',
    'X_Forwarded_For: 10.0.0.1',
    'x-forwarded-HOST: evil',
    'X-Forwarded-Proto: https',
    'Forwarded: for=10.0.0.1',
    'X-Real-IP: 10.0.0.1',
    'X-Request-Id: forged',
    'X-Ringwall-Subject: admin',
    'x_ringwall_subject: admin',
    'Proxy-Authorization: x',
    'Proxy: http://10.0.0.1',
    'PROXY: http://10.0.0.1',
    'X-Forwarded: 10.0.0.1',
    'X-Forwarded-Prefix: /evil',
    'X-Forwarded-Scheme: evil',
    'X_Forwarded_Anything: evil',
    'Forwarded-For: 10.0.0.1',
    'Client-IP: 10.0.0.1',
    'X-Client-IP: 10.0.0.1',
    'True_Client_IP: 10.0.0.1',
    'X-Original-URI: /evil',
    'HTTP2-Settings: forged',
    'Connection: x-secret, keep-alive',
    'X-Secret: s3cret',
    'Keep-Alive: timeout=9',
    'X-Kept: yes',
  ]
  await rawExchange(port, `${GET}${forged.join('\r\n')}\r\n\r\n`)
  const { rawHeaders } = upstream.seen[0]!
  assert.doesNotMatch(rawHeaders.join('\n'), /10\.0\.0\.1|evil|forged|admin|s3cret|proxy-auth|timeout/i)
  const { headers } = upstream.seen[0]!
  assert.equal(headers['x-kept'], 'yes')
  assert.equal(headers['x-forwarded-for'], '127.0.0.1')
  assert.equal(headers['x-forwarded-proto'], 'http')
  assert.equal(headers.forwarded, 'for=127.0.0.1;host="a";proto=http')
  await proxy.stop(100)
  upstream.close()
})
