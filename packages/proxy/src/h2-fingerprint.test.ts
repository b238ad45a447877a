import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { test } from 'node:test'
import fc from 'fast-check'
import { H2Fingerprint } from './h2-fingerprint.ts'
import { GET, settings, uint32 } from './test-h2.ts'
import { rawExchange, testProxy, upstreamServer } from './test-ring.ts'

const payload = (bytes: Buffer): Buffer => bytes.subarray(9)

test('settings in their order, the window, the priorities, and the order of the pseudo-headers', () => {
  const one = new H2Fingerprint()
  one.settings(payload(settings([1, 65_536], [2, 0], [4, 6_291_456], [6, 262_144])))
  one.window(15_663_105)
  assert.equal(one.text, undefined)
  one.request([':method', 'GET', ':authority', 'a', ':scheme', 'https', ':path', '/', 'accept', '*/*'])
  assert.equal(one.text, '1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p')
  const other = new H2Fingerprint()
  other.settings(payload(settings([4, 131_072])))
  other.window(12_517_377)
  other.priority(3, Buffer.concat([uint32(0), Buffer.from([200])]))
  other.priority(5, Buffer.concat([uint32(0x80000003), Buffer.from([0])]))
  other.request(GET)
  assert.equal(other.text, '4:131072|12517377|3:0:0:201,5:1:3:1|m,s,p,a')
})

test('what comes after the first request changes nothing; a client that says nothing has one, too', () => {
  const one = new H2Fingerprint()
  one.settings(Buffer.alloc(0))
  one.request(GET)
  const { text } = one
  assert.equal(text, '|00|0|m,s,p,a')
  one.settings(payload(settings([1, 1])))
  one.window(5)
  one.priority(3, Buffer.alloc(5))
  one.request([':path', '/', ':method', 'GET'])
  assert.equal(one.text, text)
})

test('property: it is short, whatever a client sends', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2_000 }),
      fc.array(fc.uint8Array({ minLength: 5, maxLength: 5 }), { maxLength: 60 }),
      fc.array(fc.string(), { maxLength: 200 }),
      (first, priorities, fields) => {
        const one = new H2Fingerprint()
        one.settings(Buffer.from(first))
        for (const [at, bytes] of priorities.entries()) one.priority(at, Buffer.from(bytes))
        one.request(fields.map((field) => `:${field}`))
        assert.ok(one.text !== undefined && one.text.length < 1_000, String(one.text?.length))
      },
    ),
  )
})

test('the guard sees the same of two connections of one library, another of another, and none over HTTP/1.1', async (t) => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  t.after(() => upstream.close())
  const { proxy, port, seen } = await testProxy(
    { shop: { upstreams: [{ url: upstream.url }] } },
    { listeners: [{ host: '127.0.0.1', port: 0, http2: true }] },
  )
  t.after(() => proxy.stop(0))
  const ask = async (initialWindowSize: number): Promise<void> => {
    const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize } })
    t.after(() => session.destroy())
    const stream = session.request({ ':path': '/' })
    stream.resume()
    await once(stream, 'end')
  }
  await ask(70_000)
  await ask(70_000)
  await ask(80_000)
  await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', 100)
  const [one, same, other, none] = seen.map(({ http2 }) => http2)
  assert.match(one ?? '', /4:70000.*\|[0-9]+\|0\|/)
  assert.equal(same, one)
  assert.match(other ?? '', /4:80000/)
  assert.equal(none, undefined)
})
