import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { client, inTurn, proxyFor, tally, times, upstreams } from './test-load.ts'
import { openSocket, until } from './test-ring.ts'
import { HedgeDelay } from './upstream-hedge.ts'

test('the delay is the percentile of the last answers within a tenth, never under its minimum, and follows them', () => {
  const delay = new HedgeDelay({ percentile: 95, delayMin: 5 })
  assert.equal(delay.ms, undefined)
  for (let at = 0; at < 1_000; at++) delay.observe(at % 100 < 94 ? 20 : 400, 0)
  assert.ok(delay.ms! >= 400 && delay.ms! <= 440, String(delay.ms))
  for (let at = 0; at < 1_000; at++) delay.observe(30, 11_000)
  for (let at = 0; at < 1_000; at++) delay.observe(30, 22_000)
  assert.ok(delay.ms! >= 30 && delay.ms! <= 33, String(delay.ms))
  for (let at = 0; at < 3_000; at++) delay.observe(0.2, 33_000 + at * 10)
  assert.equal(delay.ms, 5)
})

/** Two processes and a proxy that knows how long they take; then one of them becomes slow. */
async function slowed(t: Parameters<typeof upstreams>[0], changes: object = {}) {
  const [slow, quick] = await upstreams(t, 'slow', 'quick')
  const entries = [{ url: slow!.url }, { url: quick!.url }]
  const retries = { budget: '100%' }
  const service = { upstreams: entries, balance: 'round-robin', hedge: { delayMin: '50ms' }, retries, ...changes }
  const running = await proxyFor(t, service)
  const ask = client(t, running.port)
  await inTurn(100, () => ask())
  await slow!.behave({ delayMs: 3_000 })
  return { ...running, ask, slow: slow!, quick: quick! }
}

test('a request whose upstream takes long is answered by another; one that is not safe waits', async (t) => {
  const { ask, proxy, slow } = await slowed(t)
  const before = proxy.services()[0]!
  const answers = await inTurn(10, () => ask())
  assert.deepEqual(tally(answers), { quick: 10 })
  const { hedges, hedgesWon } = proxy.services()[0]!
  assert.ok(hedges - before.hedges >= 5 && hedgesWon - before.hedgesWon === 5, `${hedges} ${hedgesWon}`)
  await until('the slow ones to be let go', () => proxy.upstreams().every(({ active }) => active === 0))
  await slow.behave({ delayMs: 500 })
  const puts = await times(2, () => ask('/', { method: 'PUT', body: 'x' }))
  assert.deepEqual(tally(puts), { slow: 1, quick: 1 })
})

test('the budget bounds hedges, too', async (t) => {
  const { ask, proxy, slow } = await slowed(t, { retries: { budget: '0%', minPerSecond: 0 } })
  await slow.behave({ delayMs: 300 })
  assert.deepEqual(tally(await inTurn(4, () => ask())), { slow: 2, quick: 2 })
  const { hedges, retriesRefused } = proxy.services()[0]!
  assert.ok(hedges === 0 && retriesRefused >= 2)
})

test('a bad second answer does not beat a good first that is late; a first that breaks leaves it to the second', async (t) => {
  const { ask, quick, slow, proxy } = await slowed(t, { outliers: { maxEjected: '0%' } })
  await slow.behave({ delayMs: 400 })
  await quick.behave({ status: 503 })
  const mixed = await inTurn(4, () => ask())
  assert.deepEqual(mixed.map(({ by, status }) => `${by} ${status}`).sort(), ['quick 503', 'quick 503', 'slow 200', 'slow 200'])
  const sockets = new Set<Socket>()
  let breaksAfterMs = 0
  const breaks = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined))
    socket.on('data', () => setTimeout(() => socket.resetAndDestroy(), breaksAfterMs))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => breaks.once('listening', resolve))
  t.after(() => breaks.close())
  const [late] = await upstreams(t, 'late')
  const url = `http://127.0.0.1:${(breaks.address() as { port: number }).port}`
  const other = await proxyFor(t, {
    upstreams: [{ url: late!.url }, { url }],
    balance: 'round-robin',
    hedge: { delayMin: '20ms' },
    outliers: { maxEjected: '0%' },
    retries: { attempts: 0, budget: '100%' },
  })
  const askOther = client(t, other.port)
  await inTurn(100, () => askOther('/', { method: 'GET' }))
  breaksAfterMs = 200
  await late!.behave({ delayMs: 500 })
  assert.deepEqual(tally(await times(6, () => askOther())), { late: 6 })
  assert.ok(other.proxy.services()[0]!.hedges > 0)
  assert.equal(proxy.stats().activeRequests + other.proxy.stats().activeRequests, 0)
})

test('a client that leaves takes both with it', async (t) => {
  const { port, proxy, slow, quick } = await slowed(t)
  await quick.behave({ delayMs: 60_000 })
  await slow.behave({ delayMs: 60_000 })
  const sockets = await Promise.all(Array.from({ length: 4 }, () => openSocket(port)))
  for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('both to be asked', () => proxy.upstreams().reduce((sum, { active }) => sum + active, 0) === 8)
  for (const socket of sockets) socket.destroy()
  await until('both to be let go', () => proxy.upstreams().every(({ active }) => active === 0))
  assert.equal(proxy.stats().activeRequests, 0)
})
