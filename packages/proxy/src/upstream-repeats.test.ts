/** What is tried again, and what is not: upstreams that are killed, break off, answer late or badly. */
import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { freePort } from '../../../tools/free-ports.ts'
import { type Answer, client, inTurn, proxyFor, tally, times, upstreams } from './test-load.ts'
import { openSocket, rawExchange, until } from './test-ring.ts'

const PER_SECOND = 1_000
const IN_FLIGHT_MAX = 400

/** Requests at an even pace, whether or not they are answered: until some are, something happens, and as many follow. */
async function paced(count: number, ask: () => Promise<Answer>, middle: () => void): Promise<Answer[]> {
  const answers: Promise<Answer>[] = []
  let answered = 0
  const phase = async (over: () => boolean): Promise<void> => {
    const startMs = performance.now()
    const before = answers.length
    while (!over()) {
      const due = before + ((performance.now() - startMs) / 1_000) * PER_SECOND
      // A machine that cannot keep the pace is not buried in requests.
      while (answers.length < due && answers.length - answered < IN_FLIGHT_MAX) {
        const answer = ask()
        answers.push(answer)
        answer.then(
          () => answered++,
          () => answered++,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  await phase(() => answered >= count)
  middle()
  const sent = answers.length
  await phase(() => answers.length >= sent + count)
  return Promise.all(answers)
}

for (const [method, most] of [
  ['GET', 0],
  ['POST', Number.POSITIVE_INFINITY],
] as const) {
  test(`of 1,000 ${method} requests a second, those in flight at an upstream that is killed are the most that fail`, async (t) => {
    const [dies, lives] = await upstreams(t, 'dies', 'lives')
    for (const upstream of [dies!, lives!]) await upstream.behave({ delayMs: 15 })
    const { port, proxy } = await proxyFor(t, { upstreams: [{ url: dies!.url }, { url: lives!.url }] })
    const ask = client(t, port, 512)
    const answers = await paced(
      1_000,
      () => ask('/', { method, ...(method === 'POST' ? { body: 'x' } : {}) }),
      () => void dies!.kill(),
    )
    const counts = tally(answers)
    const failed = answers.filter(({ status }) => status !== 200)
    // What was sent there and never answered was in flight there when it died, or was noticed to have died.
    const lost = proxy.upstreams()[0]!.requests - counts.dies!
    const { retries } = proxy.services()[0]!
    t.diagnostic(`${JSON.stringify(counts)}, ${lost} in flight there, ${retries} sent again`)
    assert.ok(counts.dies! > 100 && counts.lives! > 100)
    assert.ok(failed.length <= Math.min(most, lost), `${failed.length} failed of ${lost}`)
    assert.ok(failed.every(({ status }) => status === 502))
    assert.equal(proxy.stats().upstreamErrors, failed.length)
    assert.equal(proxy.upstreams()[0]!.healthy, false)
  })
}

/** Says yes to connections and breaks each off at the first request. */
async function breaking(t: { after(ends: () => void): void }, answer?: (socket: Socket) => void) {
  let requests = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', () => {
      requests++
      if (answer === undefined) socket.resetAndDestroy()
      else answer(socket)
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, requests: () => requests }
}

test('what breaks before a byte of response goes to another upstream when it may be sent twice, with its body', async (t) => {
  const [well] = await upstreams(t, 'well')
  const broken = await breaking(t)
  const service = {
    upstreams: [{ url: broken.url }, { url: well!.url }],
    balance: 'round-robin',
    outliers: { consecutive: 0 },
    retries: { budget: '100%' },
  }
  const { port, proxy } = await proxyFor(t, service)
  const ask = client(t, port)
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']) {
    const answers = await inTurn(4, () => ask('/', { method, body: method === 'PUT' ? 'kept' : '' }))
    assert.deepEqual(tally(answers), { well: 4 }, method)
  }
  const put = await rawExchange(port, 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nkept')
  assert.match(put.text, /\r\n\r\nkept$/)
  for (const method of ['POST', 'PATCH']) {
    const answers = await inTurn(4, () => ask('/', { method, body: 'once' }))
    assert.deepEqual(tally(answers), { well: 2, '502': 2 }, method)
  }
  assert.equal(proxy.services()[0]!.retries, broken.requests() - 4)
})

test('a body that was streamed is not sent again, and neither is what has had an interim response', async (t) => {
  const [well] = await upstreams(t, 'well')
  const early = await breaking(t, (socket) => {
    socket.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n')
    setTimeout(() => socket.resetAndDestroy(), 20)
  })
  const service = { upstreams: [{ url: early.url }, { url: well!.url }], balance: 'round-robin' }
  const { port, proxy } = await proxyFor(t, service)
  const { text } = await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 1_000)
  assert.match(text, /^HTTP\/1\.1 103 .*HTTP\/1\.1 502 /s)
  const ask = client(t, port)
  await ask()
  const long = await ask('/', { method: 'PUT', body: 'x'.repeat(100_000) })
  assert.equal(long.status, 502)
  assert.equal(proxy.services()[0]!.retries, 0)
})

test('chosen statuses are tried elsewhere; the last answer there is goes to the client', async (t) => {
  const [a, b] = await upstreams(t, 'a', 'b')
  await a!.behave({ status: 503 })
  const service = {
    upstreams: [{ url: a!.url }, { url: b!.url }],
    balance: 'round-robin',
    retries: { statuses: [503], budget: '100%' },
    outliers: { maxEjected: '0%' },
  }
  const { port, proxy, swap } = await proxyFor(t, service)
  const ask = client(t, port, 1)
  assert.deepEqual(tally(await inTurn(10, () => ask())), { b: 10 })
  // The connections of answers given up are kept.
  assert.equal(proxy.upstreams()[0]!.connections, 1)
  assert.deepEqual(tally(await inTurn(10, () => ask('/', { method: 'POST', body: 'x' }))), { a: 5, b: 5 })
  await b!.behave({ status: 503 })
  const both = await inTurn(4, () => ask())
  assert.ok(both.every(({ status, by }) => status === 503 && by !== ''))
  await b!.behave({ status: 500 })
  assert.ok((await inTurn(4, () => ask())).every(({ status }) => status === 500))
  swap({ ...service, retries: {} })
  assert.deepEqual(new Set((await inTurn(4, () => ask())).map(({ status }) => status)), new Set([500, 503]))
})

test('when everything fails, the budget bounds what is sent again', async (t) => {
  const [a, b] = await upstreams(t, 'a', 'b')
  for (const upstream of [a!, b!]) await upstream.behave({ status: 503 })
  const service = {
    upstreams: [{ url: a!.url }, { url: b!.url }],
    retries: { statuses: [503], budget: '10%', minPerSecond: 0 },
    outliers: { maxEjected: '0%' },
  }
  const { port, proxy } = await proxyFor(t, service)
  const ask = client(t, port)
  await inTurn(200, () => ask())
  const { retries, retriesRefused } = proxy.services()[0]!
  assert.deepEqual([retries, retriesRefused], [20, 180])
  assert.equal((await a!.counts()).seen + (await b!.counts()).seen, 220)
})

test('a try that takes too long goes elsewhere, the last one may take the whole time', async (t) => {
  const [slow, quick] = await upstreams(t, 'slow', 'quick')
  await slow!.behave({ delayMs: 1_500 })
  const service = {
    upstreams: [{ url: slow!.url }, { url: quick!.url }],
    balance: 'round-robin',
    retries: { perTryTimeout: '300ms' },
    outliers: { consecutive: 0 },
    upstreamTimeout: '10s',
  }
  const { port, swap } = await proxyFor(t, service)
  const ask = client(t, port)
  assert.deepEqual(tally(await times(10, () => ask())), { quick: 10 })
  assert.equal((await slow!.counts()).seen, 5)
  // A request that cannot be sent twice waits.
  assert.deepEqual(tally(await times(4, () => ask('/', { method: 'POST', body: 'x' }))), { quick: 2, slow: 2 })
  swap({ ...service, upstreams: [{ url: slow!.url }] })
  assert.deepEqual(tally([await ask()]), { slow: 1 })
})

test('a client that leaves while its request is tried again leaves nothing behind', async (t) => {
  const [slow] = await upstreams(t, 'slow')
  await slow!.behave({ delayMs: 60_000 })
  const broken = await breaking(t)
  const gone = `http://127.0.0.1:${await freePort()}`
  const { port, proxy } = await proxyFor(t, {
    upstreams: [{ url: broken.url }, { url: gone }, { url: slow!.url }],
    balance: 'round-robin',
    circuit: { connections: 2 },
  })
  const sockets = await Promise.all(Array.from({ length: 6 }, () => openSocket(port)))
  for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('all to wait', () => proxy.upstreams()[2]!.active + proxy.upstreams()[2]!.pending === 6)
  for (const socket of sockets) socket.destroy()
  await until('all to be let go', () => proxy.upstreams().every(({ active }) => active === 0))
  assert.equal(proxy.stats().activeRequests, 0)
  assert.equal(proxy.stats().clientAborts, 6)
})
