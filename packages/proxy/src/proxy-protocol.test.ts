import assert from 'node:assert/strict'
import { connect as connectPlain } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { parseAddress } from '@ringwall/ring'
import fc from 'fast-check'
import { readPreamble } from './proxy-protocol.ts'
import { pairFiles, temporaryFolder } from './test-certificates.ts'
import { rawExchange as exchange, testProxy, until, upstreamServer } from './test-ring.ts'
import type { ListenerOptions, ProxyLimits } from './types.ts'

/** All connections here are closed in the end: nothing hurries. */
const rawExchange = (port: number, bytes: string | Buffer) => exchange(port, bytes, 10_000)

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

function v2(command: number, family: number, rest: Buffer): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, rest.length >> 8, rest.length & 255]), rest])
}
const V4 = Buffer.from([192, 0, 2, 1, 198, 51, 100, 1, 0x30, 0x39, 1, 0xbb])
const V6 = Buffer.concat([Buffer.from('20010db8000000000000000000000001', 'hex'), Buffer.alloc(16, 1), Buffer.from([0, 1, 0, 2])])
const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, 'latin1')

const good: readonly [string, Buffer, string | undefined][] = [
  ['TCP4', line('PROXY TCP4 192.0.2.1 198.51.100.1 12345 443'), '192.0.2.1'],
  ['TCP6, in its one spelling', line('PROXY TCP6 2001:DB8:0:0::1 2001:db8::2 1 65535'), '2001:db8::1'],
  ['UNKNOWN', line('PROXY UNKNOWN'), undefined],
  ['UNKNOWN with anything', line('PROXY UNKNOWN ffff::1 ffff::2 1 2'), undefined],
  ['version 2 over IPv4', v2(0x21, 0x11, V4), '192.0.2.1'],
  ['version 2 over IPv6', v2(0x21, 0x21, V6), '2001:db8::1'],
  ['version 2 with what a balancer adds', v2(0x21, 0x11, Buffer.concat([V4, Buffer.from([4, 0, 2, 0, 0])])), '192.0.2.1'],
  ['version 2, for itself', v2(0x20, 0, Buffer.alloc(0)), undefined],
  ['version 2, for itself, whatever it says', v2(0x20, 0x11, V4), undefined],
  ['version 2, unspecified', v2(0x21, 0, Buffer.alloc(0)), undefined],
]

for (const [name, bytes, source] of good) {
  test(`read: ${name}; byte by byte, and with what follows`, () => {
    for (let at = 0; at < bytes.length; at++) assert.equal(readPreamble(bytes.subarray(0, at)).kind, 'more')
    const expected = { kind: 'header', source, bytes: bytes.length }
    assert.deepEqual(readPreamble(bytes), expected)
    assert.deepEqual(readPreamble(Buffer.concat([bytes, Buffer.from('GET / HTTP/1.1\r\n')])), expected)
  })
}

const bad: readonly [string, Buffer][] = [
  ['a request without a header', Buffer.from('GET / HTTP/1.1\r\n')],
  ['a ClientHello without a header', Buffer.from([22, 3, 1])],
  ['lower case', line('proxy TCP4 192.0.2.1 198.51.100.1 1 2')],
  ['a bare LF', Buffer.from(`PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n${' '.repeat(80)}`)],
  ['two blanks', line('PROXY TCP4  192.0.2.1 198.51.100.1 1 2')],
  ['IPv6 as TCP4', line('PROXY TCP4 ::1 ::1 1 2')],
  ['IPv4 as TCP6', line('PROXY TCP6 192.0.2.1 198.51.100.1 1 2')],
  ['a leading zero', line('PROXY TCP4 192.0.2.01 198.51.100.1 1 2')],
  ['a port past 65535', line('PROXY TCP4 192.0.2.1 198.51.100.1 65536 2')],
  ['a port with a leading zero', line('PROXY TCP4 192.0.2.1 198.51.100.1 01 2')],
  ['no ports', line('PROXY TCP4 192.0.2.1 198.51.100.1')],
  ['more than 107 bytes', line(`PROXY UNKNOWN ${'x'.repeat(92)}`)],
  ['a zone', line('PROXY TCP6 fe80::1%eth0 ::1 1 2')],
  ['a wrong signature', Buffer.from('0d0a0d0a010d0a515549540a', 'hex')],
  ['version 1 in the form of 2', v2(0x11, 0x11, V4)],
  ['an unknown command', v2(0x22, 0x11, V4)],
  ['UDP', v2(0x21, 0x12, V4)],
  ['a Unix socket', v2(0x21, 0x31, Buffer.alloc(216))],
  ['addresses cut short', v2(0x21, 0x11, V4.subarray(0, 11))],
  ['an addition cut short', v2(0x21, 0x11, Buffer.concat([V4, Buffer.from([4, 0, 9, 0])]))],
  ['half an addition', v2(0x21, 0x11, Buffer.concat([V4, Buffer.from([4])]))],
  ['a length without end', v2(0x21, 0x11, V4).fill(0xff, 14, 16)],
]

for (const [name, bytes] of bad) {
  test(`refused: ${name}`, () => {
    const reading = readPreamble(bytes)
    assert.ok(reading.kind === 'refused')
    assert.ok(reading.why.length > 0)
  })
}

test('property: whatever the bytes, cut anywhere, the answer is one, and a source is an address', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
    fc.uint8Array({ maxLength: 60 }).map((array) => v2(0x21, 0x11, Buffer.from(array))),
    fc.tuple(fc.ipV4(), fc.ipV6(), fc.nat(70_000)).map(([a, b, port]) => line(`PROXY TCP6 ${b} ${a} ${port} 1`)),
    fc.tuple(fc.ipV4(), fc.ipV4(), fc.nat(70_000)).map(([a, b, port]) => line(`PROXY TCP4 ${a} ${b} ${port} 1`)),
  )
  fc.assert(
    fc.property(bytes, fc.nat(300), (all, cut) => {
      const whole = readPreamble(all)
      const part = readPreamble(all.subarray(0, cut))
      if (part.kind !== 'more') assert.deepEqual(part, whole)
      if (whole.kind === 'header' && whole.source !== undefined) assert.notEqual(parseAddress(whole.source), undefined)
    }),
    { numRuns: 3_000 },
  )
})

async function balanced(t: TestContext, listener: Partial<ListenerOptions> = {}, limits: Partial<ProxyLimits> = {}, policy = {}) {
  const upstream = await upstreamServer((request, response) => response.end(String(request.headers['x-forwarded-for'])))
  t.after(() => upstream.close())
  const proxy = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }] } },
    { listeners: [{ host: '127.0.0.1', port: 0, proxyProtocol: { from: ['127.0.0.0/8'] }, ...listener }], limits },
    policy,
  )
  t.after(() => proxy.proxy.stop(0))
  return { ...proxy, upstream }
}

const GET = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

test('the source of a trusted balancer’s connection is whom it names: for the guard, the records and the upstream', async (t) => {
  const { port, records, seen } = await balanced(t)
  for (const header of [
    line('PROXY TCP4 203.0.113.7 127.0.0.1 1 80'),
    v2(0x21, 0x11, Buffer.from([203, 0, 113, 7, 127, 0, 0, 1, 0, 1, 0, 80])),
  ]) {
    const { text } = await rawExchange(port, Buffer.concat([header, Buffer.from(GET)]))
    assert.match(text, /^HTTP\/1\.1 200 [\s\S]*203\.0\.113\.7$/)
  }
  assert.deepEqual(
    records.map(({ source }) => source),
    ['203.0.113.7', '203.0.113.7'],
  )
  assert.equal(seen[0]!.remoteAddress, '203.0.113.7')
  assert.match((await rawExchange(port, `PROXY UNKNOWN\r\n${GET}`)).text, /127\.0\.0\.1$/)
})

test('what it forwards is not trusted for being forwarded: X-Forwarded-For of a named source counts by the policy alone', async (t) => {
  const request = GET.replace('Host', 'X-Forwarded-For: 198.51.100.9\r\nHost')
  const { port } = await balanced(t, {}, {}, { trustedProxies: ['127.0.0.1/32', '203.0.113.0/24'] })
  assert.match((await rawExchange(port, `PROXY TCP4 192.0.2.1 127.0.0.1 1 80\r\n${request}`)).text, /192\.0\.2\.1$/)
  assert.match(
    (await rawExchange(port, `PROXY TCP4 203.0.113.9 127.0.0.1 1 80\r\n${request}`)).text,
    /198\.51\.100\.9, 203\.0\.113\.9$/,
  )
})

test('without the header that is due, with a malformed or a second one, there is no answer or a refusal', async (t) => {
  const { port, proxy, upstream } = await balanced(t)
  assert.deepEqual(await rawExchange(port, GET), { text: '', closed: true })
  assert.deepEqual(await rawExchange(port, `PROXY TCP4 nobody 127.0.0.1 1 80\r\n${GET}`), { text: '', closed: true })
  const twice = await rawExchange(port, `PROXY TCP4 192.0.2.1 127.0.0.1 1 80\r\nPROXY TCP4 192.0.2.2 127.0.0.1 1 80\r\n${GET}`)
  assert.match(twice.text, /^HTTP\/1\.1 400 /)
  assert.equal(upstream.seen.length, 0)
  assert.equal(proxy.stats().proxyHeadersRefused, 2)
})

test('a balancer that only looks whether somebody listens is no failure; one that says nothing is cut in time', async (t) => {
  const { port, proxy } = await balanced(t, {}, { handshakeMsMax: 200 })
  const socket = connectPlain(port, '127.0.0.1')
  await until('it to be there', () => proxy.stats().activeHandshakes === 1)
  socket.end()
  await until('it to be gone', () => proxy.stats().activeConnections === 0)
  assert.equal(proxy.stats().proxyHeadersRefused, 0)
  assert.deepEqual(await rawExchange(port, 'PROXY '), { text: '', closed: true })
  assert.equal(proxy.stats().proxyHeadersRefused, 1)
})

test('from a peer that is not listed no header is taken: it is a malformed request', async (t) => {
  const { port, records, upstream } = await balanced(t, { proxyProtocol: { from: ['192.0.2.0/24'] } })
  assert.match((await rawExchange(port, `PROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\n${GET}`)).text, /^HTTP\/1\.1 400 /)
  assert.equal(upstream.seen.length, 0)
  assert.match((await rawExchange(port, GET)).text, /200 [\s\S]*127\.0\.0\.1$/)
  assert.deepEqual(
    records.map(({ source }) => source),
    ['127.0.0.1'],
  )
})

test('the header comes before TLS, cut anywhere, and the source holds there, too', async (t) => {
  const files = await pairFiles(temporaryFolder(t), ['localhost'])
  const tls = { certificates: [files], unknownNames: 'first', minVersion: 'TLSv1.2', hsts: undefined } as const
  const { port, records, proxy } = await balanced(t, { tls })
  for (const header of [line('PROXY TCP4 203.0.113.7 127.0.0.1 1 443'), v2(0x21, 0x21, V6)]) {
    for (const cut of [1, 8, header.length]) {
      const raw = connectPlain(port, '127.0.0.1')
      raw.setNoDelay(true)
      raw.write(header.subarray(0, cut))
      await new Promise((wake) => setTimeout(wake, 20))
      raw.write(header.subarray(cut))
      const socket = connect({ socket: raw, servername: 'localhost', rejectUnauthorized: false })
      socket.write(GET)
      let text = ''
      socket.on('data', (bytes: Buffer) => (text += bytes.toString()))
      await new Promise((resolve) => socket.on('close', resolve))
      assert.match(text, /^HTTP\/1\.1 200 /)
    }
  }
  assert.deepEqual(new Set(records.map(({ source }) => source)), new Set(['203.0.113.7', '2001:db8::1']))
  assert.equal(proxy.stats().tlsHandshakes, 6)
})

test('cutting a denied source cuts what a balancer carries for it, and leaves the balancer’s other connections', async (t) => {
  const { port, proxy } = await balanced(t)
  const open = (source: string) => {
    const socket = connectPlain(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(`PROXY TCP4 ${source} 127.0.0.1 1 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n`)
    return socket
  }
  const [denied, other] = [open('203.0.113.7'), open('203.0.113.8')]
  await until('both to be answered', () => denied.bytesRead > 0 && other.bytesRead > 0)
  const closed = new Promise((resolve) => denied.on('close', resolve))
  denied.resume()
  assert.equal(proxy.cutSource('203.0.113.7'), 1)
  await closed
  assert.equal(other.destroyed, false)
  other.destroy()
})
