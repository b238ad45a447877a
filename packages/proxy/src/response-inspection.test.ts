import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { decodedBody } from './decoded-body.ts'
import { openSocket, RESPONSE_BYTES_MAX, testProxy, until, upstreamServer } from './test-ring.ts'
import type { ProxyOptions } from './types.ts'

async function inspected(answer: (response: ServerResponse, path: string) => void, options: Partial<ProxyOptions> = {}) {
  const upstream = await upstreamServer((request, response) => answer(response, request.url ?? ''))
  const ring = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, options)
  const close = async (): Promise<void> => {
    await ring.proxy.stop(0)
    upstream.close()
  }
  const get = (path = '/inspected', init: RequestInit = {}) => fetch(`${ring.url}${path}`, init)
  return { ...ring, upstream, get, close }
}

test('a response passes whole once its beginning was seen, with a length and without one', async () => {
  const small = Buffer.from('nothing to see')
  const large = randomBytes(300_000)
  const ring = await inspected((response, path) => {
    const body = path.includes('large') ? large : small
    if (path.includes('length')) response.setHeader('Content-Length', body.length)
    response.write(body.subarray(0, 5))
    response.end(body.subarray(5))
  })
  for (const path of ['/inspected/length', '/inspected/chunked', '/inspected/large/length', '/inspected/large/chunked']) {
    const response = await ring.get(path)
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), path.includes('large') ? large : small, path)
  }
  await until('four records', () => ring.records.length === 4)
  // The test's guard tells as the reason whether it saw only a part.
  assert.deepEqual(
    ring.records.map(({ reason }) => reason),
    ['false', 'false', 'true', 'true'],
  )
  await ring.close()
})

test('a leak in the body or in the head is held back, and nothing of it gets out', async () => {
  const ring = await inspected((response, path) => {
    if (path.endsWith('/head')) response.setHeader('X-Leak', '1')
    response.setHeader('Set-Cookie', 'sid=1')
    if (path.endsWith('/chunked')) response.write('here is a ')
    response.end(path.endsWith('/head') ? 'fine' : 'here is a leak')
  })
  for (const path of ['/inspected/head', '/inspected/body', '/inspected/chunked']) {
    const response = await ring.get(path)
    assert.equal(response.status, 403, path)
    assert.equal(response.headers.get('set-cookie'), null)
    assert.doesNotMatch(await response.text(), /here|leak/)
  }
  // The connection to the client is as good as before.
  assert.equal((await ring.get('/other')).status, 200)
  await until('four records', () => ring.records.length === 4)
  assert.deepEqual(
    ring.records.map(({ outcome, status, reason }) => [outcome, status, reason]),
    [...Array(3).fill(['deny', 403, 'leak']), ['allow', 200, '']],
  )
  await ring.close()
})

test('a leak in a compressed body is found, and an honest one goes on as it came', async () => {
  const codings = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync }
  const pages = { honest: 'x'.repeat(1_000), leaking: `${'x'.repeat(1_000)} leak` }
  const ring = await inspected((response, path) => {
    const [, , coding, page] = path.split('/') as [string, string, keyof typeof codings, keyof typeof pages]
    response.setHeader('Content-Encoding', coding)
    const bytes = codings[coding](pages[page])
    response.write(bytes.subarray(0, 7))
    response.end(bytes.subarray(7))
  })
  for (const coding of Object.keys(codings)) {
    assert.equal((await ring.get(`/inspected/${coding}/leaking`)).status, 403, coding)
    const response = await ring.get(`/inspected/${coding}/honest`)
    assert.equal(response.headers.get('content-encoding'), coding)
    // What fetch does not decode itself, it gives as it came.
    if (coding !== 'zstd') assert.equal(await response.text(), pages.honest, coding)
  }
  await ring.close()
})

test('a compressed body that is broken, and one that stands for a huge one, pass as they are', async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000))
  const broken = Buffer.concat([gzipSync('honest').subarray(0, 20), Buffer.from('rubbish')])
  const ring = await inspected((response, path) => {
    response.setHeader('Content-Encoding', 'gzip')
    response.end(path.endsWith('bomb') ? bomb : broken)
  })
  for (const [path, size] of [
    ['bomb', bomb.length],
    ['broken', broken.length],
  ] as const) {
    const socket = await openSocket(ring.port)
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    socket.write(`GET /inspected/${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await until(path, () => bytes > size)
    socket.destroy()
  }
  await ring.close()
})

test('of what is decoded no more is kept than is wanted', async () => {
  assert.equal((await decodedBody('gzip', gzipSync(Buffer.alloc(1_000_000)), 1_000)).length, 1_000)
  assert.equal((await decodedBody('gzip', gzipSync(randomBytes(5_000)).subarray(0, 2_000), 100_000)).length > 500, true)
  assert.equal((await decodedBody('br', Buffer.from('no such thing'), 1_000)).length, 0)
})

test('a page that comes in parts does not wait for its last; before the first nothing is let out', async () => {
  const pages: ServerResponse[] = []
  const ring = await inspected((response) => pages.push(response), { limits: { responseHoldMsMax: 40 } })
  const socket = await openSocket(ring.port)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write('GET /inspected HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('the request', () => pages.length === 1)
  pages[0]!.flushHeaders()
  await new Promise((resolve) => setTimeout(resolve, 120))
  assert.equal(text, '')
  pages[0]!.write('first')
  await until('the first part', () => text.endsWith('5\r\nfirst\r\n'))
  pages[0]!.end('last')
  await until('the last', () => text.endsWith('4\r\nlast\r\n0\r\n\r\n'))
  socket.destroy()
  await ring.close()
})

test('an upstream that breaks off while its response waits gives 502, not a part', async () => {
  const ring = await inspected((response) => {
    response.setHeader('Content-Length', 100)
    response.write('part')
    setTimeout(() => response.destroy(), 20)
  })
  const response = await ring.get()
  assert.equal(response.status, 502)
  assert.doesNotMatch(await response.text(), /part/)
  await ring.close()
})

test('a client that leaves while its response waits takes nothing with it', async () => {
  const pages: ServerResponse[] = []
  const ring = await inspected((response) => {
    pages.push(response)
    response.write('part')
  })
  const socket = await openSocket(ring.port)
  socket.write('GET /inspected HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('the request', () => pages.length === 1)
  socket.destroy()
  await until('its end', () => ring.records.length === 1)
  assert.deepEqual([ring.records[0]!.status, ring.proxy.stats().activeRequests], [499, 0])
  await ring.close()
})

test('responses without a body are judged by their head alone', async () => {
  const ring = await inspected((response, path) => {
    response.statusCode = path.endsWith('304') ? 304 : path.endsWith('204') ? 204 : 200
    if (path.endsWith('empty')) response.setHeader('Content-Length', 0)
    if (path.endsWith('head')) response.setHeader('Content-Length', RESPONSE_BYTES_MAX)
    response.end()
  })
  for (const [path, status] of [
    ['304', 304],
    ['204', 204],
    ['empty', 200],
  ] as const)
    assert.equal((await ring.get(`/inspected/${path}`)).status, status, path)
  const head = await ring.get('/inspected/head', { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(RESPONSE_BYTES_MAX)])
  await ring.close()
})
