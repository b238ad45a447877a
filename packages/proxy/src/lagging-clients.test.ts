/** Clients that read more slowly than an answer comes that is being kept: they get all of it, hold up nobody, and take no memory beyond the budget. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { createGunzip } from 'node:zlib'
import { ask, cachingProxy } from './test-cache.ts'
import { frame, headers, PREFACE, RawH2, settings, uint32 } from './test-h2.ts'
import { until } from './test-ring.ts'

const HTTP2 = { listeners: [{ host: '127.0.0.1', port: 0, http2: true }] }
const WINDOW = 4
const request = (path: string, ...more: readonly string[]): readonly string[] => [
  ...[':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'shop.example'],
  ...more,
]
/** Opens a connection whose streams may send nothing. */
const closedWindow = (port: number): RawH2 => new RawH2(port, Buffer.concat([PREFACE, settings([WINDOW, 0])]))
const bodyOf = (client: RawH2, id: number): Buffer => Buffer.concat(client.of('DATA', id).map(({ payload }) => payload))
const hasEnded = (client: RawH2, id: number): boolean => client.frames.some((each) => each.id === id && (each.flags & 1) === 1)

/** In pieces, so that the client has fallen behind before the last of it comes. */
async function sendSlowly(response: ServerResponse, body: Buffer, between: () => void): Promise<void> {
  for (let from = 0; from < body.length; from += 50_000) {
    response.write(body.subarray(from, from + 50_000))
    if (from === 200_000) between()
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  response.end()
}

/** What becomes of the answer, with its length told or not. */
const fates: Record<
  string,
  { readonly policy?: object; readonly changes?: boolean; readonly isKept: boolean; readonly cacheBytes?: number }
> = {
  'is kept': { isKept: true },
  'turns out to be too long': { policy: { objectBytesMax: 300_000 }, isKept: false },
  'turns out to be more than there is room for': { cacheBytes: 1_400_000, isKept: false },
  'changes meanwhile': { changes: true, isKept: false },
}

for (const [name, { policy = {}, changes = false, isKept, cacheBytes = 16_000_000 }] of Object.entries(fates)) {
  for (const [length, coding] of [
    ['told', 'identity'],
    ['not told', 'identity'],
    ['not told', 'gzip'],
  ] as const) {
    test(`a client that falls behind while an answer comes that ${name}, its length ${length}, ${coding}: gets it whole`, async () => {
      // Does not become shorter: the encoder falls behind as well.
      const body = randomBytes(700_000)
      const ring = await cachingProxy(
        (asked, response) => {
          if (asked.method === 'POST') {
            response.end()
            return
          }
          const fields = { 'cache-control': 'max-age=60', 'content-type': 'text/plain' }
          response.writeHead(200, length === 'told' ? { ...fields, 'content-length': body.length } : fields)
          void sendSlowly(response, body, () => {
            if (changes) void ask(ring.ports[1]!, '/a', { method: 'POST' })
          })
        },
        policy,
        { compress: {} },
        { listeners: [...HTTP2.listeners, { host: '127.0.0.1', port: 0 }], cacheBytes },
      )
      const client = closedWindow(ring.port)
      client.write(headers(1, request('/a', 'accept-encoding', coding)))
      await until('the upstream to be asked', () => ring.seen.length > 0)
      if (isKept) {
        const other = await ask(ring.ports[1]!, '/a')
        assert.deepEqual([other.body.equals(body), ring.seen.length], [true, 1])
      } else await new Promise((resolve) => setTimeout(resolve, 200))
      assert.equal(hasEnded(client, 1), false)
      for (let opened = 0; opened < 1_000_000 && !hasEnded(client, 1); opened += 30_000) {
        client.write(frame('WINDOW_UPDATE', 0, 1, uint32(30_000)), frame('WINDOW_UPDATE', 0, 0, uint32(30_000)))
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      await until('the end', () => hasEnded(client, 1))
      const got = bodyOf(client, 1)
      assert.ok((coding === 'gzip' ? await unpacked(got) : got).equals(body))
      assert.equal(ring.status().entries, isKept ? 1 : 0)
      client.socket.destroy()
      await until('it to be over', () => ring.proxy.stats().activeRequests === 0)
      if (!isKept) assert.equal(ring.status().bytes, 0)
      await ring.close()
    })
  }
}

async function unpacked(bytes: Buffer): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of createGunzip().end(bytes)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('many that read nothing take what the cache may take, and no copies', async () => {
  const body = Buffer.alloc(1_000_000, 7)
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, { 'cache-control': 'max-age=60', 'content-length': body.length }).end(body),
    {},
    {},
    { ...HTTP2, cacheBytes: 8_000_000 },
  )
  const before = process.memoryUsage().arrayBuffers
  const client = closedWindow(ring.port)
  for (let at = 0; at < 99; at++) {
    client.write(headers(1 + 2 * at, request(`/${at}`)))
    await until('the upstream to be asked', () => ring.seen.length > at)
    assert.ok(ring.status().bytes <= ring.status().bytesMax)
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.ok(process.memoryUsage().arrayBuffers - before < 50_000_000, `${process.memoryUsage().arrayBuffers - before} bytes`)
  client.socket.destroy()
  await until('all to have gone', () => ring.proxy.stats().activeRequests === 0)
  await ring.close()
})
