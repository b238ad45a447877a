import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { connect as connectHttp2 } from 'node:http2'
import { test } from 'node:test'
import { brotliDecompressSync, createGunzip, gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import { type Coding, wantedCoding } from './compression.ts'
import { type Answer, type Asked, cachingProxy, type Say } from './test-cache.ts'
import { openSocket, rawExchange, until } from './test-ring.ts'
import type { ProxyOptions } from './types.ts'

const ALL: readonly Coding[] = ['br', 'zstd', 'gzip']
const decoders = { br: brotliDecompressSync, zstd: zstdDecompressSync, gzip: gunzipSync }
const PAGE = Array.from({ length: 400 }, (_, at) => `<li>item ${at} ${'of a list '.repeat(at % 5)}</li>`).join('\n')

for (const [accepted, coding] of [
  [undefined, undefined],
  ['', undefined],
  ['identity', undefined],
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['gzip, deflate, br, zstd', 'br'],
  ['gzip, deflate, zstd', 'zstd'],
  ['GZIP', 'gzip'],
  ['*', 'br'],
  ['*;q=0', undefined],
  ['br;q=0, *', 'zstd'],
  ['br;q=0.5, gzip', 'gzip'],
  ['br;q=0.8;x=1, gzip;q=0.2', 'gzip'],
  ['br ; q=0.001', 'br'],
  ['br;q=0.0', undefined],
  ['br;q=2, gzip;q=0.1', 'gzip'],
  ['identity, br;q=0.5', undefined],
  ['identity;q=0.5, br', 'br'],
  ['gzip;q=1.000,br;q=1', 'br'],
  ['compress, exi', undefined],
] as const) {
  test(`RFC 9110 12.5.3: Accept-Encoding ${accepted ?? 'absent'} gets ${coding ?? 'the body as it is'}`, () => {
    assert.equal(wantedCoding(accepted === undefined ? [] : ['Accept-Encoding', accepted], ALL), coding)
  })
}

test('property: what the client refuses is never chosen, whatever else the field says', () => {
  fc.assert(
    fc.property(fc.constantFrom(...ALL), fc.string(), (coding, noise) => {
      const plain = noise.replaceAll(coding, '').replaceAll('gzip', '')
      assert.notEqual(wantedCoding(['accept-encoding', `${plain},${coding};q=0`], ALL), coding)
    }),
  )
})

async function compressing(say: Say, compress: object = {}, service: object = {}, options: Partial<ProxyOptions> = {}) {
  return await cachingProxy(say, { mode: 'off' }, { compress, ...service }, options)
}

const html = { 'content-type': 'text/html; charset=utf-8' }
const accepting = (coding: string, headers: object = {}): Asked => ({ headers: { 'accept-encoding': coding, ...headers } })

function decoded(answer: Answer): string {
  const coding = answer.headers['content-encoding'] as Coding | undefined
  return String(coding === undefined ? answer.body : decoders[coding](answer.body))
}

for (const coding of ALL) {
  for (const framing of ['with a length', 'in chunks']) {
    test(`a page ${framing} arrives whole as ${coding}, says so, and is shorter`, async () => {
      const ring = await compressing((_request, response) => {
        response.writeHead(200, {
          ...html,
          etag: '"v1"',
          'accept-ranges': 'bytes',
          ...(framing === 'in chunks' ? {} : { 'content-length': PAGE.length }),
        })
        for (let at = 0; at < PAGE.length; at += 3_000) response.write(PAGE.slice(at, at + 3_000))
        response.end()
      })
      const answer = await ring.get('/a', accepting(coding))
      assert.equal(answer.headers['content-encoding'], coding)
      assert.deepEqual(
        [answer.headers.vary, answer.headers.etag, answer.headers['accept-ranges']],
        ['accept-encoding', 'W/"v1"', undefined],
      )
      assert.equal(decoded(answer), PAGE)
      assert.ok(answer.body.length < PAGE.length / 3)
      const { compressed, compressedBytesIn, compressedBytesOut } = ring.proxy.stats()
      assert.deepEqual([compressed, compressedBytesIn, compressedBytesOut], [1, PAGE.length, answer.body.length])
      await ring.close()
    })
  }
}

const asTheyAre: Record<
  string,
  {
    readonly headers?: object
    readonly asked?: Asked
    readonly status?: number
    readonly policy?: object
    readonly varies?: boolean
  }
> = {
  'a picture': { headers: { 'content-type': 'image/png' } },
  'what says no type': { headers: { 'content-type': [] } },
  'what is compressed already': { headers: { 'content-encoding': 'gzip' } },
  'what says no-transform': { headers: { 'cache-control': 'public, no-transform' } },
  'what the request says not to transform': { asked: accepting('br', { 'cache-control': 'no-transform' }) },
  'a part': { headers: { 'content-range': `bytes 0-${PAGE.length - 1}/999999` }, status: 206 },
  'what is short': { policy: { bytesMin: 100_000 }, headers: { 'content-length': PAGE.length } },
  'what sets a cookie': { headers: { 'set-cookie': 'a=b' } },
  'an answer to a request with cookies': { asked: accepting('br', { cookie: 'a=b' }), varies: true },
  'an answer to a request with Authorization': { asked: accepting('br', { authorization: 'Bearer x' }), varies: true },
  'what a client wants as it is': { asked: {}, varies: true },
  'where the policy is off': { policy: { mode: 'off' } },
}

for (const [name, { headers = {}, asked = accepting('br'), status = 200, policy = {}, varies = false }] of Object.entries(
  asTheyAre,
)) {
  test(`${name} goes out as it is`, async () => {
    const ring = await compressing(
      (_request, response) => response.writeHead(status, { ...html, etag: '"v1"', ...headers }).end(PAGE),
      policy,
    )
    const answer = await ring.get('/a', asked)
    assert.equal(answer.text, PAGE)
    assert.equal(answer.headers.etag, '"v1"')
    assert.equal(answer.headers.vary, varies ? 'accept-encoding' : undefined)
    await ring.close()
  })
}

test('with credentials, what says that it is everybody’s is compressed; where the policy allows it, all is', async () => {
  const withCookie = accepting('br', { cookie: 'a=b' })
  for (const [control, policy] of [
    ['public, max-age=1', {}],
    ['no-cache', { credentials: 'allow' }],
  ] as const) {
    const ring = await compressing(
      (_request, response) => response.writeHead(200, { ...html, 'cache-control': control, vary: 'Accept-Encoding' }).end(PAGE),
      policy,
    )
    const answer = await ring.get('/a', withCookie)
    assert.deepEqual([answer.headers['content-encoding'], answer.headers.vary], ['br', 'Accept-Encoding'])
    await ring.close()
  }
})

test('each event of a stream arrives when it happens, compressed', async () => {
  let say: ((text: string) => void) | undefined
  const ring = await compressing((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    say = (text) => response.write(text)
  })
  const socket = await openSocket(ring.port)
  const chunks: Buffer[] = []
  let text = ''
  const gunzip = createGunzip()
  gunzip.on('data', (bytes: Buffer) => {
    text += bytes.toString()
  })
  let isHead = true
  let rest = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes])
    if (isHead) {
      const end = rest.indexOf('\r\n\r\n')
      if (end < 0) return
      chunks.push(rest.subarray(0, end))
      rest = rest.subarray(end + 4)
      isHead = false
    }
    for (;;) {
      const end = rest.indexOf('\r\n')
      const size = end < 0 ? Number.NaN : Number.parseInt(rest.toString('latin1', 0, end), 16)
      if (Number.isNaN(size) || rest.length < end + 4 + size) return
      gunzip.write(rest.subarray(end + 2, end + 2 + size))
      rest = rest.subarray(end + 4 + size)
    }
  })
  socket.write('GET /events HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n')
  await until('the head of the stream', () => !isHead)
  assert.match(String(chunks[0]), /content-encoding: gzip/)
  for (const event of ['data: one\n\n', 'data: two\n\n', 'data: three\n\n']) {
    const before = text
    say!(event)
    await until(event, () => text === before + event)
  }
  socket.destroy()
  await ring.close()
})

test('a client that reads nothing holds the upstream up; what it then reads is whole', async () => {
  // Longer than any window: it does not become shorter.
  const body = Buffer.concat(Array.from({ length: 32 }).fill(randomBytes(1_000_000)) as Buffer[])
  let taken = 0
  const ring = await compressing((_request, response) => {
    response.writeHead(200, html)
    const more = (): void => {
      while (taken < body.length) {
        const from = taken
        taken += 100_000
        if (!response.write(body.subarray(from, taken))) {
          response.once('drain', more)
          return
        }
      }
      response.end()
    }
    more()
  })
  const socket = await openSocket(ring.port)
  socket.pause()
  socket.write('GET /a HTTP/1.0\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n')
  await until('the upstream to be held up', () => taken > 1_000_000)
  let before = -1
  while (before !== taken) {
    before = taken
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(taken < body.length)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.resume()
  await new Promise((resolve) => socket.on('close', resolve))
  const all = Buffer.concat(chunks)
  const unzipped = zstdDecompressSync(all.subarray(all.indexOf('\r\n\r\n') + 4))
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
  assert.equal(digest(unzipped), digest(body))
  await ring.close()
})

test('an answer that breaks off is cut off, compressed or not', async () => {
  const ring = await compressing((_request, response) => {
    response.writeHead(200, { ...html, 'content-length': 100_000 })
    response.write(PAGE.slice(0, 5_000))
    setTimeout(() => response.destroy(), 30)
  })
  await assert.rejects(ring.get('/a', accepting('gzip')))
  assert.equal(ring.proxy.stats().activeRequests, 0)
  await ring.close()
})

test('trailers follow the compressed body; HEAD says what GET would', async () => {
  const ring = await compressing((request, response) => {
    response.writeHead(200, { ...html, etag: '"v1"', ...(request.method === 'GET' ? { trailer: 'x-sum' } : {}) })
    response.write(PAGE)
    if (request.method === 'GET') response.addTrailers({ 'x-sum': '42' })
    response.end()
  })
  const { text } = await rawExchange(ring.port, 'GET /a HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n')
  assert.match(text, /\r\n0\r\nx-sum: 42\r\n\r\n$/)
  const head = await ring.get('/a', { ...accepting('br'), method: 'HEAD' })
  assert.deepEqual(
    [head.headers['content-encoding'], head.headers.etag, head.headers['content-length']],
    ['br', 'W/"v1"', undefined],
  )
  await ring.close()
})

test('HTTP/2 clients get it compressed, many at a time', async () => {
  const ring = await compressing(
    (_request, response) => response.writeHead(200, html).end(PAGE.repeat(20)),
    {},
    {},
    {
      listeners: [{ host: '127.0.0.1', port: 0, http2: true }],
    },
  )
  const session = connectHttp2(ring.url)
  const answers = await Promise.all(
    Array.from(
      { length: 30 },
      (_, at) =>
        new Promise<string>((resolve, reject) => {
          const coding = ALL[at % 3]!
          const stream = session.request({ ':path': '/a', 'accept-encoding': coding })
          const chunks: Buffer[] = []
          stream.on('data', (chunk: Buffer) => chunks.push(chunk))
          stream.on('end', () => resolve(String(decoders[coding](Buffer.concat(chunks)))))
          stream.on('error', reject)
        }),
    ),
  )
  assert.ok(answers.every((text) => text === PAGE.repeat(20)))
  session.close()
  await ring.close()
})

test('more streams at a time than are compressed go out as they are', async () => {
  const ring = await compressing(
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: x\n\n')
    },
    {},
    { circuit: { connections: 200 } },
  )
  const sockets = await Promise.all(Array.from({ length: 129 }, () => openSocket(ring.port)))
  const heads: string[] = []
  for (const socket of sockets) {
    socket.once('data', (bytes) => heads.push(bytes.toString('latin1')))
    socket.write('GET /a HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n')
  }
  await until('all heads', () => heads.length === 129)
  assert.equal(heads.filter((head) => head.includes('content-encoding: zstd')).length, 128)
  assert.equal(ring.proxy.stats().compressionSkipped, 1)
  for (const socket of sockets) socket.destroy()
  await until('all to have gone', () => ring.proxy.stats().activeRequests === 0)
  assert.equal(ring.proxy.stats().activeRequests, 0)
  await ring.close()
})

test('what is kept is kept as it came, and sent in each form; the forms are kept with it', async () => {
  const ring = await cachingProxy(
    (_request, response) => response.writeHead(200, { ...html, 'cache-control': 'max-age=60', etag: '"v1"' }).end(PAGE),
    {},
    { compress: {} },
  )
  assert.equal(decoded(await ring.get('/a', accepting('br'))), PAGE)
  const before = ring.status().bytes
  for (const coding of ['gzip', 'br', 'zstd', 'identity', 'gzip', 'br', 'zstd']) {
    const answer = await ring.get('/a', accepting(coding))
    assert.match(answer.cache, /hit/)
    assert.deepEqual(
      [answer.headers['content-encoding'], answer.headers.vary],
      [coding === 'identity' ? undefined : coding, 'accept-encoding'],
    )
    assert.equal(answer.headers['content-length'], String(answer.body.length))
    assert.equal(decoded(answer), PAGE)
  }
  assert.ok(ring.status().bytes > before)
  const same = await ring.get('/a', accepting('br', { 'if-none-match': 'W/"v1"' }))
  assert.deepEqual(
    [same.status, same.headers.etag, same.headers.vary, same.headers['content-encoding']],
    [304, 'W/"v1"', 'accept-encoding', undefined],
  )
  const part = await ring.get('/a', accepting('br', { range: 'bytes=0-9' }))
  assert.deepEqual([part.status, part.text, part.headers['content-encoding']], [206, PAGE.slice(0, 10), undefined])
  assert.equal(ring.seen.length, 1)
  await ring.close()
})

test('an upstream’s own compressed answer is kept for those who take it', async () => {
  const ring = await cachingProxy(
    (request, response) => {
      const takes = request.headers['accept-encoding'] === 'gzip'
      response.writeHead(200, {
        ...html,
        'cache-control': 'max-age=60',
        vary: 'accept-encoding',
        ...(takes ? { 'content-encoding': 'gzip' } : {}),
      })
      response.end(takes ? gzipSync(PAGE) : PAGE)
    },
    {},
    { compress: {} },
  )
  for (const coding of ['gzip', 'br', 'gzip', 'br']) {
    const answer = await ring.get('/a', accepting(coding))
    assert.deepEqual([answer.headers['content-encoding'], decoded(answer)], [coding, PAGE])
  }
  assert.equal(ring.seen.length, 2)
  await ring.close()
})

test('103 Early Hints pass on, over HTTP/1.1 and HTTP/2, before the answer', async () => {
  const ring = await compressing(
    (_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' })
      setTimeout(() => response.writeHead(200, html).end(PAGE), 20)
    },
    {},
    {},
    { listeners: [{ host: '127.0.0.1', port: 0, http2: true }] },
  )
  const { text } = await rawExchange(ring.port, 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/style\.css>; rel=preload; as=style\r\n\r\nHTTP\/1\.1 200 OK\r\n/i)
  const session = connectHttp2(ring.url)
  const seen: (string | number)[] = []
  await new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/a' })
    stream.on('headers', (fields) => seen.push(Number(fields[':status']), String(fields.link)))
    stream.on('response', (fields) => seen.push(Number(fields[':status'])))
    stream.on('end', resolve)
    stream.on('error', reject)
    stream.resume()
  })
  assert.deepEqual(seen, [103, '</style.css>; rel=preload; as=style', 200])
  session.close()
  await ring.close()
})
