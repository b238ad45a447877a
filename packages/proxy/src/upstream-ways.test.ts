/** Stickiness, splits, mirrors and rewriting: what is done to requests on their way to real upstreams. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { type Answer, client, inTurn, proxyFor, tally, times, upstreams } from './test-load.ts'
import { openSocket, rawExchange, testProxy, until, upstreamServer } from './test-ring.ts'

const cookieOf = ({ headers }: Answer): string | undefined => headers['set-cookie']?.[0]?.split(';')[0]

test('a client stays on its upstream by its cookie, moves when that is out, and stays there', async (t) => {
  const [a, b, c] = await upstreams(t, 'a', 'b', 'c')
  const all = [a!, b!, c!]
  const { port } = await proxyFor(t, {
    upstreams: all.map(({ url }) => ({ url })),
    sticky: { cookie: 'seat', maxAge: '1h' },
    balance: 'round-robin',
  })
  const ask = client(t, port)
  const first = await ask()
  assert.match(String(first.headers['set-cookie']), /^seat=[0-9a-f]{12}; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/)
  const cookie = cookieOf(first)!
  const kept = await inTurn(20, () => ask('/', { headers: { cookie: `other=1; ${cookie}; seat=ffffffffffff` } }))
  assert.deepEqual(tally(kept), { [first.by]: 20 })
  assert.ok(kept.every(({ headers }) => headers['set-cookie'] === undefined))
  await all.find(({ name }) => name === first.by)!.kill()
  const moved = await ask('/', { headers: { cookie } })
  assert.equal(moved.status, 200)
  assert.notEqual(moved.by, first.by)
  const next = cookieOf(moved)!
  assert.notEqual(next, cookie)
  assert.deepEqual(tally(await inTurn(20, () => ask('/', { headers: { cookie: next } }))), { [moved.by]: 20 })
  // What we did not set is nobody's seat.
  for (const forged of ['seat=zzz', 'seat=', 'seat', 'seatx=1', `x${next}`]) {
    const spread = await inTurn(6, () => ask('/', { headers: { cookie: forged } }))
    assert.equal(new Set(spread.map(({ by }) => by)).size, 2, forged)
  }
})

test('two proxies of a ring agree on the cookie', async (t) => {
  const [a, b] = await upstreams(t, 'a', 'b')
  const service = { upstreams: [{ url: a!.url }, { url: b!.url }], sticky: {} }
  const [one, other] = [await proxyFor(t, service), await proxyFor(t, service)]
  const first = await client(t, one.port)()
  const ask = client(t, other.port)
  const headers = { cookie: cookieOf(first)! }
  assert.deepEqual(tally(await inTurn(10, () => ask('/', { headers }))), { [first.by]: 10 })
})

test('a split sends its shares, gives way when a subset is out, and lets nobody stay on a subset that gets nobody', async (t) => {
  const [old, fresh] = await upstreams(t, 'old', 'new')
  const service = {
    upstreams: [
      { url: old!.url, subset: 'stable' },
      { url: fresh!.url, subset: 'canary' },
    ],
    split: { stable: 90, canary: 10 },
    sticky: {},
  }
  const { port, swap } = await proxyFor(t, service)
  const ask = client(t, port)
  const answers = await inTurn(300, () => ask())
  const { new: share } = tally(answers)
  assert.ok(share! >= 10 && share! <= 60, String(share))
  const headers = { cookie: cookieOf(answers.find(({ by }) => by === 'new')!)! }
  assert.deepEqual(tally(await inTurn(10, () => ask('/', { headers }))), { new: 10 })
  swap({ ...service, split: { stable: 100, canary: 0 } })
  assert.deepEqual(tally(await inTurn(20, () => ask('/', { headers }))), { old: 20 })
  swap({ ...service, split: { stable: 0, canary: 100 } })
  assert.deepEqual(tally(await inTurn(10, () => ask())), { new: 10 })
  swap(service)
  await old!.kill()
  assert.deepEqual(tally(await inTurn(50, () => ask())), { new: 50 })
})

test('copies go to the mirror with their body and a mark, and the client hears of the upstream alone', async (t) => {
  const [well] = await upstreams(t, 'well')
  const bodies: string[] = []
  const mirror = await upstreamServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    bodies.push(`${request.method} ${request.url} ${request.headers['x-ringwall-mirror']} ${request.headers.host} ${body}`)
    response.writeHead(500).end('mirror')
  })
  t.after(mirror.close)
  const { port, proxy, swap } = await proxyFor(t, { upstreams: [{ url: well!.url }], mirror: { url: mirror.url } })
  const ask = client(t, port)
  const headers = { host: 'shop.example', 'x-ringwall-mirror': 'forged' }
  assert.equal((await ask('/a?b=1', { headers })).by, 'well')
  assert.equal((await ask('/c', { method: 'POST', body: 'kept', headers })).by, 'well')
  // Streamed on, and not held: not copied.
  assert.equal((await ask('/d', { method: 'POST', body: 'x'.repeat(50_000), headers })).by, 'well')
  await until('the copies', () => bodies.length === 2)
  assert.deepEqual(bodies.sort(), ['GET /a?b=1 1 shop.example ', 'POST /c 1 shop.example kept'])
  assert.deepEqual([proxy.services()[0]!.mirrored, proxy.services()[0]!.mirrorsDropped], [2, 0])
  assert.deepEqual([proxy.stats().upstreamErrors, proxy.upstreams().length], [0, 1])
  swap({ upstreams: [{ url: well!.url }], mirror: { url: mirror.url, share: '0%' } })
  await inTurn(20, () => ask())
  assert.equal(proxy.services()[0]!.mirrored, 2)
})

test('a mirror that hangs, floods or is gone delays nothing, and holds no more than its places', async (t) => {
  const [well] = await upstreams(t, 'well')
  let open = 0
  const hanging = createServer((socket) => {
    open++
    socket.on('error', () => undefined).on('close', () => open--)
    socket.on('data', (data) => {
      if (data.includes('/drip')) {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n')
        const drops = setInterval(() => socket.write('x'), 50)
        socket.on('close', () => clearInterval(drops))
      } else if (data.includes('/flood'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n${'x'.repeat(2_000_000)}`)
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => hanging.once('listening', resolve))
  t.after(() => hanging.close())
  const url = `http://127.0.0.1:${(hanging.address() as { port: number }).port}`
  const service = { upstreams: [{ url: well!.url }], mirror: { url, concurrency: 3 }, upstreamTimeout: '500ms' }
  const { port, proxy, swap } = await proxyFor(t, service)
  const ask = client(t, port)
  assert.deepEqual(tally(await times(40, () => ask())), { well: 40 })
  const { mirrored, mirrorsDropped } = proxy.services()[0]!
  assert.equal(mirrored + mirrorsDropped, 40)
  assert.ok(mirrored >= 3 && open <= 3, `${mirrored} ${open}`)
  await until('the copies to be given up', () => open === 0)
  await ask('/flood')
  await until('the flood to be cut', () => proxy.services()[0]!.mirrored === mirrored + 1 && open === 0)
  await ask('/drip')
  await until('the drops to be cut', () => proxy.services()[0]!.mirrored === mirrored + 2 && open === 0)
  hanging.close()
  swap({ ...service, mirror: { url: 'http://127.0.0.1:1' } })
  assert.deepEqual(tally(await inTurn(20, () => ask())), { well: 20 })
  await until('the last copies to end', () => proxy.services()[0]!.mirrored < 50)
})

test('host, path and headers are rewritten both ways, by the route’s word before the service’s', async (t) => {
  const upstream = await upstreamServer((request, response) => {
    response.setHeader('server', 'secret/1.0').setHeader('x-a', 'upstream')
    response.end(JSON.stringify({ url: request.url, headers: request.headers }))
  })
  t.after(upstream.close)
  const { proxy, url, port, records } = await testProxy({
    shop: {
      upstreams: [{ url: upstream.url }],
      rewrite: {
        host: 'inner.example:80',
        path: { from: '/api', to: '/v2' },
        request: { set: { 'X-Team': 'ours', authorization: 'Basic eDp5' }, remove: ['x-debug'] },
        response: { set: { 'x-a': 'proxy', 'Cache-Control': 'no-store' }, remove: ['Server'] },
      },
      routes: [{ name: 'plain', path: '/plain', rewrite: {} }],
    },
  })
  t.after(() => proxy.stop(100))
  const headers = { 'x-team': 'forged', x_team: 'forged', 'x-debug': '1', authorization: 'Bearer x', 'x-b': 'stays' }
  const response = await fetch(`${url}/api/users?q=1`, { headers })
  const seen = (await response.json()) as { url: string; headers: Record<string, string> }
  assert.equal(seen.url, '/v2/users?q=1')
  const { host, authorization } = seen.headers
  assert.deepEqual([host, authorization], ['inner.example:80', 'Basic eDp5'])
  assert.deepEqual(
    ['x-team', 'x_team', 'x-debug', 'x-b', 'x-forwarded-host'].map((name) => seen.headers[name]),
    ['ours', undefined, undefined, 'stays', `127.0.0.1:${port}`],
  )
  assert.deepEqual(
    ['x-a', 'cache-control', 'server'].map((name) => response.headers.get(name)),
    ['proxy', 'no-store', null],
  )
  // The record has what was asked, not what became of it.
  assert.equal(records[0]!.path, '/api/users')
  const plain = await fetch(`${url}/plain/api`, { headers })
  const untouched = (await plain.json()) as { url: string; headers: Record<string, string> }
  assert.deepEqual([untouched.url, untouched.headers['x-team'], plain.headers.get('x-a')], ['/plain/api', 'forged', 'upstream'])
  const { text } = await rawExchange(port, 'GET /%61pi/../admin HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 (200|400) /)
  const ambiguous = await rawExchange(port, 'GET /api/../admin HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(ambiguous.text, /^HTTP\/1\.1 400 /)
  assert.equal(proxy.stats().malformed >= 1, true)
})

test('a WebSocket upgrade is rewritten like any request, and never copied', async (t) => {
  const mirror = await upstreamServer((_request, response) => response.end())
  t.after(mirror.close)
  const upstream = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      const line = String(data).split('\r\n')[0]!
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nx-line: ${line}\r\n\r\n`)
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => upstream.once('listening', resolve))
  t.after(() => upstream.close())
  const { port } = await proxyFor(t, {
    upstreams: [{ url: `http://127.0.0.1:${(upstream.address() as { port: number }).port}` }],
    mirror: { url: mirror.url },
    rewrite: { path: { from: '/ws', to: '/inner' } },
  })
  const socket = await openSocket(port)
  let text = ''
  socket.on('data', (data) => {
    text += data
  })
  socket.write('GET /ws/a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n')
  await until('the upgrade', () => text.includes('\r\n\r\n'))
  assert.match(text, /x-line: GET \/inner\/a HTTP\/1\.1/)
  socket.destroy()
  assert.equal(mirror.seen.length, 0)
})
