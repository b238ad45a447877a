/** What RFC 9111 asks of a shared cache, a case a rule, over real connections. Time is told by `Age` and `Date` of the upstream. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Answer, type Asked, cachingProxy, httpDateAgo } from './test-cache.ts'

type Fields = Readonly<Record<string, string | string[]>>

interface Case {
  /** Of the upstream’s answers, in turn; the last one for all that follow. */
  readonly says: readonly (Fields & { readonly status?: never })[]
  readonly status?: number
  readonly policy?: object
  readonly first?: Asked
  readonly second?: Asked
  /** How often the upstream was asked after two requests. */
  readonly asked: 1 | 2
}

const FRESH = { 'cache-control': 'max-age=60' }
const cases: Record<string, Case> = {
  // 3: storing
  '3: an answer with max-age is kept': { says: [FRESH], asked: 1 },
  '3: an answer that says nothing is not kept: no guess is made (4.2.2)': { says: [{}], asked: 2 },
  '3: an answer that says nothing is kept for the policy’s ttl': { says: [{}], policy: { ttl: '1m' }, asked: 1 },
  '3: a validator alone is no reason to keep': { says: [{ etag: '"a"' }], asked: 2 },
  '3: a status that is not understood is not kept': { says: [FRESH], status: 299, asked: 2 },
  '3: an error of the upstream is not kept': { says: [FRESH], status: 500, asked: 2 },
  '3: a 404 with max-age is kept': { says: [FRESH], status: 404, asked: 1 },
  '3: a 404 that says nothing is not kept for the policy’s ttl': { says: [{}], status: 404, policy: { ttl: '1m' }, asked: 2 },
  '3: a redirect with max-age is kept': { says: [{ ...FRESH, location: '/b' }], status: 302, asked: 1 },
  '3: POST is not answered from what GET brought': { says: [FRESH], second: { method: 'POST' }, asked: 2 },
  '3: HEAD is answered from what GET brought': { says: [FRESH], second: { method: 'HEAD' }, asked: 1 },
  '3: GET is not answered from what HEAD brought': { says: [FRESH], first: { method: 'HEAD' }, asked: 2 },
  '3: an answer that sets a cookie is not kept': { says: [{ ...FRESH, 'set-cookie': 'a=b' }], asked: 2 },
  '3: an answer that sets a cookie is kept without it where the policy says so': {
    says: [{ ...FRESH, 'set-cookie': 'a=b' }],
    policy: { setCookie: 'strip' },
    asked: 1,
  },
  '3.3: an answer longer than the policy’s bound is not kept': {
    says: [{ ...FRESH, 'x-bytes': '2000' }],
    policy: { objectBytesMax: 1_024 },
    asked: 2,
  },
  '3.4: a part is not kept as the whole': {
    says: [{ ...FRESH, 'content-range': 'bytes 0-1/9' }],
    status: 206,
    first: { headers: { range: 'bytes=0-1' } },
    asked: 2,
  },
  // 3.5: Authorization
  '3.5: what a request with Authorization brought is not kept': {
    says: [FRESH],
    first: { headers: { authorization: 'Bearer a' } },
    asked: 2,
  },
  ...Object.fromEntries(
    ['public, max-age=60', 's-maxage=60', 'must-revalidate, max-age=60'].map((control) => [
      `3.5: what a request with Authorization brought is kept with ${control}`,
      { says: [{ 'cache-control': control }], first: { headers: { authorization: 'Bearer a' } }, asked: 1 } satisfies Case,
    ]),
  ),
  '3.5: what is kept without public does not answer a request with Authorization': {
    says: [FRESH],
    second: { headers: { authorization: 'Bearer a' } },
    asked: 2,
  },
  // 4.1: Vary
  '4.1: Vary: * is not kept': { says: [{ ...FRESH, vary: '*' }], asked: 2 },
  '4.1: an answer that varies by a field does not answer a request with another': {
    says: [{ ...FRESH, vary: 'Accept-Language' }],
    first: { headers: { 'accept-language': 'de' } },
    second: { headers: { 'accept-language': 'en' } },
    asked: 2,
  },
  '4.1: nor one without the field': {
    says: [{ ...FRESH, vary: 'Accept-Language' }],
    first: { headers: { 'accept-language': 'de' } },
    asked: 2,
  },
  '4.1: blanks, case and lines make no difference where they mean none': {
    says: [{ ...FRESH, vary: 'Accept-Language, ACCEPT' }],
    first: { headers: { 'accept-language': 'de,en;q=0.5', accept: 'text/html, */*' } },
    second: { headers: { 'accept-language': 'DE , EN;q=0.5', accept: ['text/html', '*/*'] } },
    asked: 1,
  },
  '4.1: the order of codings makes no difference': {
    says: [{ ...FRESH, vary: 'accept-encoding' }],
    first: { headers: { 'accept-encoding': 'gzip, br;q=1.0' } },
    second: { headers: { 'accept-encoding': 'br,gzip' } },
    asked: 1,
  },
  '4.1: a coding that is refused is another matter': {
    says: [{ ...FRESH, vary: 'accept-encoding' }],
    first: { headers: { 'accept-encoding': 'gzip, br' } },
    second: { headers: { 'accept-encoding': 'gzip, br;q=0' } },
    asked: 2,
  },
  '4.1: Vary in several lines counts as one': {
    says: [{ ...FRESH, vary: ['accept', 'accept-language'] }],
    first: { headers: { 'accept-language': 'de' } },
    second: { headers: { 'accept-language': 'en' } },
    asked: 2,
  },
  '4.1: more names in Vary than are told apart are not kept': {
    says: [{ ...FRESH, vary: Array.from({ length: 9 }, (_, at) => `x-${at}`).join(',') }],
    asked: 2,
  },
  '4.1: what varies by the client’s address is one client’s': { says: [{ ...FRESH, vary: 'X-Forwarded-For' }], asked: 2 },
  // 4.2: freshness
  '4.2.1: s-maxage goes before max-age': { says: [{ 'cache-control': 'max-age=0, s-maxage=60' }], asked: 1 },
  '4.2.1: max-age goes before Expires': { says: [{ ...FRESH, expires: httpDateAgo(60) }], asked: 1 },
  '4.2.1: Expires against Date': { says: [{ date: httpDateAgo(10), expires: httpDateAgo(-60) }], asked: 1 },
  '4.2.1: an Expires that is no date is past': { says: [{ expires: '0' }], asked: 2 },
  '4.2.1: of max-age twice the shorter holds': { says: [{ 'cache-control': 'max-age=60, max-age=0' }], asked: 2 },
  '4.2.1: a max-age that is no number is none': { says: [{ 'cache-control': 'max-age=60s' }], asked: 2 },
  '4.2.1: a max-age in quotes is one': { says: [{ 'cache-control': 'max-age="60"' }], asked: 1 },
  '4.2.1: directives in any case, in several lines': { says: [{ 'cache-control': ['Public', 'MAX-AGE=60'] }], asked: 1 },
  '4.2.1: a directive within the quotes of another is none': {
    says: [{ 'cache-control': 'ext="max-age=60, x", max-age=0' }],
    asked: 2,
  },
  '4.2.3: Age of a cache before counts': { says: [{ ...FRESH, age: '60' }], asked: 2 },
  '4.2.3: a Date long past counts': { says: [{ ...FRESH, date: httpDateAgo(61) }], asked: 2 },
  // 5.2.1: of requests
  '5.2.1.1: max-age of a request': {
    says: [{ ...FRESH, age: '30' }],
    second: { headers: { 'cache-control': 'max-age=10' } },
    asked: 2,
  },
  '5.2.1.2: max-stale takes what is past its time': {
    says: [{ 'cache-control': 'max-age=60', age: '70', etag: '"a"' }],
    second: { headers: { 'cache-control': 'max-stale=30' } },
    asked: 1,
  },
  '5.2.1.2: not for longer than it says': {
    says: [{ 'cache-control': 'max-age=60', age: '100', etag: '"a"' }],
    second: { headers: { 'cache-control': 'max-stale=30' } },
    asked: 2,
  },
  ...Object.fromEntries(
    ['must-revalidate, max-age=60', 'proxy-revalidate, max-age=60', 's-maxage=60'].map((control) => [
      `5.2.2: ${control} lets max-stale take nothing`,
      {
        says: [{ 'cache-control': control, age: '70', etag: '"a"' }],
        second: { headers: { 'cache-control': 'max-stale' } },
        asked: 2,
      } satisfies Case,
    ]),
  ),
  '5.2.1.3: min-fresh': { says: [{ ...FRESH, age: '30' }], second: { headers: { 'cache-control': 'min-fresh=40' } }, asked: 2 },
  '5.2.1.4: no-cache of a request': { says: [FRESH], second: { headers: { 'cache-control': 'no-cache' } }, asked: 2 },
  '5.2.1.5: no-store of a request keeps nothing': {
    says: [FRESH],
    first: { headers: { 'cache-control': 'no-store' } },
    asked: 2,
  },
  '5.4: Pragma: no-cache where there is no Cache-Control': {
    says: [FRESH],
    second: { headers: { pragma: 'no-cache' } },
    asked: 2,
  },
  '5.4: Pragma says nothing beside Cache-Control': {
    says: [FRESH],
    second: { headers: { pragma: 'no-cache', 'cache-control': 'max-stale' } },
    asked: 1,
  },
  // 5.2.2: of answers
  '5.2.2.3: must-understand sets no-store aside for what is understood': {
    says: [{ 'cache-control': 'must-understand, no-store, max-age=60' }],
    asked: 1,
  },
  '5.2.2.4: no-cache without a validator': { says: [{ 'cache-control': 'no-cache, max-age=60' }], asked: 2 },
  '5.2.2.4: no-cache about fields counts as no-cache': {
    says: [{ 'cache-control': 'no-cache="set-cookie", max-age=60' }],
    asked: 2,
  },
  '5.2.2.5: no-store': { says: [{ 'cache-control': 'no-store, max-age=60' }], asked: 2 },
  '5.2.2.7: private': { says: [{ 'cache-control': 'private, max-age=60' }], asked: 2 },
  '5.2.2.7: private about fields counts as private': { says: [{ 'cache-control': 'private="x-a", max-age=60' }], asked: 2 },
  '5.2.2.7: private goes before public': { says: [{ 'cache-control': 'public, private, max-age=60' }], asked: 2 },
  '5.2.2.9: public alone says not for how long': { says: [{ 'cache-control': 'public' }], asked: 2 },
}

async function run({ says, status = 200, policy = {}, first = {}, second = {} }: Case) {
  const ring = await cachingProxy((_request, response, count) => {
    const { 'x-bytes': bytes = '5', ...fields } = (says[count - 1] ?? says.at(-1)!) as Record<string, string | string[]>
    response.writeHead(status, { ...fields, 'content-length': bytes as string, 'content-type': 'text/plain' })
    response.end(`answer ${count}`.slice(-Number(bytes)).padEnd(Number(bytes), '.'))
  }, policy)
  const one = await ring.get('/a', first)
  const other = await ring.get('/a', second)
  const asked = ring.seen.length
  await ring.close()
  return { one, other, asked }
}

for (const [name, each] of Object.entries(cases)) {
  test(`RFC 9111 ${name}`, async () => {
    const { one, other, asked } = await run(each)
    assert.equal(asked, each.asked, `${one.cache} | ${other.cache}`)
    const status = each.status ?? 200
    assert.deepEqual([one.status, other.status], [status, status])
    if (each.asked === 2) return
    assert.match(other.cache, /^ringwall; hit; ttl=-?\d+$/)
    assert.match(String(other.headers.age), /^\d+$/)
    assert.equal(other.headers['set-cookie'], undefined)
    if (each.second?.method !== 'HEAD') assert.equal(other.text, each.first?.method === 'HEAD' ? '' : one.text)
  })
}

test('RFC 9111 3: what nobody else may get passes as if there were no cache, and takes nothing of its budget', async () => {
  const body = 'x'.repeat(200_000)
  const ring = await cachingProxy(
    (request, response) => {
      const fields = { ...FRESH, 'content-length': body.length }
      response.writeHead(request.headers.range === undefined ? 200 : 206, fields).end(body)
    },
    {},
    {},
    { cacheBytes: 2_000_000 },
  )
  for (let time = 0; time < 10; time++) {
    for (const [status, asked] of [
      [200, { method: 'HEAD' }],
      [206, { headers: { range: 'bytes=0-199999' } }],
      [200, { headers: { 'cache-control': 'no-store' } }],
      [200, { headers: { connection: 'x-a, close' } }],
    ] as const) {
      const answer = await ring.get(`/${time}`, asked)
      assert.deepEqual([answer.status, answer.text], [status, 'method' in asked ? '' : body], JSON.stringify(asked))
    }
  }
  assert.deepEqual([ring.status().bytes, ring.seen.length], [0, 40])
  await ring.get()
  assert.match((await ring.get()).cache, /hit/)
  await ring.close()
})

test('RFC 9111 4: a hit has its own request id, the date of the answer, and its age', async () => {
  const { one, other } = await run({ says: [{ ...FRESH, age: '7' }], asked: 1 })
  assert.notEqual(one.headers['x-request-id'], other.headers['x-request-id'])
  assert.equal(one.headers.date, other.headers.date)
  assert.ok(Number(other.headers.age) >= 7)
})

test('RFC 9111 3.1: fields of the connection are not kept, nor what it names', async () => {
  const { other } = await run({
    says: [{ ...FRESH, connection: 'x-hop', 'x-hop': '1', 'proxy-authenticate': 'Basic', 'x-kept': '1' }],
    asked: 1,
  })
  assert.deepEqual(
    [other.headers['x-hop'], other.headers['proxy-authenticate'], other.headers['x-kept']],
    [undefined, undefined, '1'],
  )
})

test('RFC 9111 4.3: past its time it is asked about with both validators; a 304 freshens it', async () => {
  const modified = httpDateAgo(3_600)
  const ring = await cachingProxy((_request, response, count) => {
    if (count === 1)
      response
        .writeHead(200, {
          'cache-control': 'max-age=1',
          age: '9',
          etag: '"v1"',
          'last-modified': modified,
          'x-v': '1',
          'content-type': 'text/x',
        })
        .end('body')
    else response.writeHead(304, { 'cache-control': 'max-age=60', etag: '"v1"', 'x-v': '2', 'content-type': 'text/y' }).end()
  })
  await ring.get()
  const second = await ring.get('/a', { headers: { 'if-none-match': '"mine"' } })
  assert.deepEqual([ring.seen[1]!.headers['if-none-match'], ring.seen[1]!.headers['if-modified-since']], ['"v1"', modified])
  assert.deepEqual(
    [second.status, second.text, second.headers['x-v'], second.headers['content-type']],
    [200, 'body', '2', 'text/x'],
  )
  assert.match(second.cache, /^ringwall; fwd=stale; fwd-status=304; ttl=(59|60)$/)
  const third = await ring.get()
  assert.deepEqual([third.text, third.headers['x-v'], ring.seen.length], ['body', '2', 2])
  assert.match(third.cache, /hit/)
  assert.deepEqual(
    ring.status().services.map(({ hits, misses, revalidated }) => [hits, misses, revalidated]),
    [[1, 2, 1]],
  )
  await ring.close()
})

test('RFC 9111 4.3.3: another answer than 304 takes its place', async () => {
  const ring = await cachingProxy((_request, response, count) =>
    response
      .writeHead(200, { 'cache-control': 'max-age=60', etag: `"v${count}"`, ...(count === 1 ? { age: '99' } : {}) })
      .end(`v${count}`),
  )
  assert.deepEqual(
    [(await ring.get()).text, (await ring.get()).text, (await ring.get()).text, ring.seen.length],
    ['v1', 'v2', 'v2', 2],
  )
  await ring.close()
})

test('RFC 9111 4.3.4: a 304 about another version is asked again without conditions', async () => {
  const ring = await cachingProxy((request, response, count) => {
    if (count === 1) response.writeHead(200, { 'cache-control': 'max-age=1', age: '9', etag: '"v1"' }).end('v1')
    else if (request.headers['if-none-match'] !== undefined) response.writeHead(304, { etag: '"v2"' }).end()
    else response.writeHead(200, { 'cache-control': 'max-age=60', etag: '"v2"' }).end('v2')
  })
  await ring.get()
  assert.deepEqual([(await ring.get()).text, (await ring.get()).text, ring.seen.length], ['v2', 'v2', 3])
  await ring.close()
})

test('RFC 9111 4.3.4: a 304 that says private is the last word on what was kept', async () => {
  const ring = await cachingProxy((_request, response, count) => {
    if (count === 2) response.writeHead(304, { etag: '"v1"', 'cache-control': 'private' }).end()
    else response.writeHead(200, { 'cache-control': 'no-cache', etag: '"v1"' }).end('v1')
  })
  await ring.get()
  assert.equal((await ring.get()).text, 'v1')
  assert.equal(ring.status().entries, 0)
  await ring.close()
})

const MODIFIED = httpDateAgo(3_600)

const conditions: readonly (readonly [name: string, headers: Fields, status: number])[] = [
  ['9110 13.1.2: an entity tag that matches', { 'if-none-match': '"v1"' }, 304],
  ['9110 13.1.2: weakly, in a list', { 'if-none-match': '"x", W/"v1"' }, 304],
  ['9110 13.1.2: any', { 'if-none-match': '*' }, 304],
  ['9110 13.1.2: another tag', { 'if-none-match': '"v2"' }, 200],
  ['9110 13.1.2: another tag goes before a date', { 'if-none-match': '"v2"', 'if-modified-since': httpDateAgo(0) }, 200],
  ['9110 13.1.3: not modified since', { 'if-modified-since': MODIFIED }, 304],
  ['9110 13.1.3: modified since', { 'if-modified-since': httpDateAgo(3_601) }, 200],
  ['9110 13.1.3: a date that is none', { 'if-modified-since': 'yesterday' }, 200],
  ['9110 14.2: a part', { range: 'bytes=2-4' }, 206],
  ['9110 14.2: from somewhere', { range: 'bytes=7-' }, 206],
  ['9110 14.2: the last of it', { range: 'bytes=-3' }, 206],
  ['9110 14.2: more than there is', { range: 'bytes=8-99' }, 206],
  ['9110 14.2: beyond', { range: 'bytes=10-' }, 416],
  ['9110 14.2: several parts get the whole', { range: 'bytes=0-1,4-5' }, 200],
  ['9110 14.2: other units get the whole', { range: 'lines=1-2' }, 200],
  ['9110 14.2: backwards gets the whole', { range: 'bytes=4-2' }, 200],
  ['9110 13.1.5: a part of the same', { range: 'bytes=0-1', 'if-range': '"v1"' }, 206],
  ['9110 13.1.5: a part of another', { range: 'bytes=0-1', 'if-range': '"v2"' }, 200],
  ['9110 13.1.5: a weak tag is not the same', { range: 'bytes=0-1', 'if-range': 'W/"v1"' }, 200],
  ['9110 13.1.5: by date', { range: 'bytes=0-1', 'if-range': MODIFIED }, 206],
]

test('conditions and ranges are answered from what is kept', async (t) => {
  const ring = await cachingProxy((_request, response) =>
    response.writeHead(200, { ...FRESH, etag: '"v1"', 'last-modified': MODIFIED, 'x-more': '1' }).end('0123456789'),
  )
  await ring.get()
  for (const [name, headers, status] of conditions) {
    await t.test(name, async () => {
      const answer = await ring.get('/a', { headers })
      assert.equal(answer.status, status)
      if (status === 304) assert.deepEqual([answer.text, answer.headers.etag, answer.headers['x-more']], ['', '"v1"', undefined])
      if (status === 206) {
        const [, from, to] = /^bytes (\d+)-(\d+)\/10$/.exec(String(answer.headers['content-range']))!
        assert.equal(answer.text, '0123456789'.slice(Number(from), Number(to) + 1))
        assert.equal(answer.headers['content-length'], String(answer.text.length))
      }
      if (status === 416) assert.equal(answer.headers['content-range'], 'bytes */10')
      if (status === 200) assert.equal(answer.text, '0123456789')
    })
  }
  assert.equal(ring.seen.length, 1)
  await ring.close()
})

test('RFC 9110 13.1.1: If-Match and If-Unmodified-Since are for the upstream to judge', async () => {
  const ring = await cachingProxy((_request, response) => response.writeHead(200, { ...FRESH, etag: '"v1"' }).end('x'))
  await ring.get()
  await ring.get('/a', { headers: { 'if-match': '"v9"' } })
  await ring.get('/a', { headers: { 'if-unmodified-since': httpDateAgo(9) } })
  assert.deepEqual([ring.seen.length, ring.seen[1]!.headers['if-match']], [3, '"v9"'])
  await ring.close()
})

for (const [name, method, status, location, isGone] of [
  ['POST that succeeded', 'POST', 200, undefined, true],
  ['DELETE with a redirect', 'DELETE', 303, undefined, true],
  ['PUT that failed', 'PUT', 400, undefined, false],
  ['POST to elsewhere that names it', 'POST', 201, '/a', true],
  ['POST to elsewhere that names it of another host', 'POST', 201, 'http://other.example/a', false],
  ['OPTIONS', 'OPTIONS', 200, undefined, false],
] as const) {
  test(`RFC 9111 4.4: after ${name}, what was kept is ${isGone ? 'gone' : 'still used'}`, async () => {
    const ring = await cachingProxy((request, response) => {
      if (request.method === 'GET') response.writeHead(200, FRESH).end('x')
      else response.writeHead(status, location === undefined ? {} : { location }).end()
    })
    await ring.get()
    await ring.get(location === undefined ? '/a' : '/elsewhere', { method })
    await ring.get()
    assert.equal(ring.seen.length, isGone ? 3 : 2)
    await ring.close()
  })
}

test('RFC 9111 4.4: what was under way when it changed is not kept', async () => {
  let release: (() => void) | undefined
  const ring = await cachingProxy((request, response, count) => {
    if (request.method === 'POST') response.writeHead(200).end()
    else if (count === 1) {
      response.writeHead(200, FRESH)
      response.write('be')
      release = () => response.end('fore')
    } else response.writeHead(200, FRESH).end('after')
  })
  const first = ring.get()
  while (release === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
  await ring.get('/a', { method: 'POST' })
  release()
  assert.equal((await first).text, 'before')
  assert.equal((await ring.get()).text, 'after')
  await ring.close()
})

test('RFC 9111 5.2.1.7: only-if-cached gets what is kept, or 504', async () => {
  const ring = await cachingProxy((_request, response) => response.writeHead(200, FRESH).end('x'))
  const only = { headers: { 'cache-control': 'only-if-cached' } }
  assert.equal((await ring.get('/a', only)).status, 504)
  await ring.get()
  assert.deepEqual([(await ring.get('/a', only)).text, ring.seen.length], ['x', 1])
  await ring.close()
})

for (const [name, control, status, served] of [
  ['within stale-if-error', 'max-age=1, stale-if-error=600', 503, true],
  ['beyond stale-if-error', 'max-age=1, stale-if-error=10', 503, false],
  ['without it', 'max-age=1', 503, false],
  ['that must be revalidated', 'max-age=1, must-revalidate, stale-if-error=600', 503, false],
  ['for an answer that is no error', 'max-age=1, stale-if-error=600', 404, false],
] as const) {
  test(`RFC 5861 4: what is kept ${name} ${served ? 'stands in' : 'does not stand in'} when the upstream says ${status}`, async () => {
    const ring = await cachingProxy((_request, response, count) => {
      if (count === 1) response.writeHead(200, { 'cache-control': control, age: '100', etag: '"a"' }).end('kept')
      else response.writeHead(status, { 'content-length': 5 }).end('error')
    })
    await ring.get()
    const answer: Answer = await ring.get()
    assert.deepEqual([answer.status, answer.text], served ? [200, 'kept'] : [status, 'error'])
    if (served) assert.match(answer.cache, /hit; ttl=-9\d/)
    await ring.close()
  })
}

test('RFC 5861 4: and when it cannot be reached, or breaks off', async () => {
  const ring = await cachingProxy((_request, response, count) => {
    if (count === 1)
      response.writeHead(200, { 'cache-control': 'max-age=1, stale-if-error=600', age: '100', etag: '"a"' }).end('kept')
    else response.destroy()
  })
  await ring.get()
  assert.deepEqual([(await ring.get()).text, (await ring.get()).status], ['kept', 200])
  ring.upstream.close()
  assert.equal((await ring.get()).text, 'kept')
  await ring.proxy.stop(0)
})

test('RFC 5861 3: while one asks anew, others get what is past its time', async () => {
  let release: (() => void) | undefined
  const ring = await cachingProxy((_request, response, count) => {
    const headers = { 'cache-control': 'max-age=1, stale-while-revalidate=600', etag: '"a"' }
    if (count === 1) response.writeHead(200, { ...headers, age: '100' }).end('old')
    else release = () => response.writeHead(200, headers).end('new')
  })
  await ring.get()
  const first = ring.get()
  while (release === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
  const [one, other] = await Promise.all([ring.get(), ring.get()])
  assert.deepEqual([one!.text, other!.text, ring.seen.length], ['old', 'old', 2])
  assert.match(one!.cache, /hit; ttl=-9\d/)
  release()
  assert.equal((await first).text, 'new')
  await ring.close()
})
