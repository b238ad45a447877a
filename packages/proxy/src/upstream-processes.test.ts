/** Balancing, failover and the rest against upstreams that are processes of their own, and can be killed. */
import assert from 'node:assert/strict'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { freePort } from '../../../tools/free-ports.ts'
import { client, inTurn, proxyFor, tally, times, upstreams } from './test-load.ts'
import { until } from './test-ring.ts'
import { type UpstreamProcess, upstreamProcess } from './test-upstream.ts'

test('requests are spread by weight over three processes', async (t) => {
  const [a, b, c] = await upstreams(t, 'a', 'b', 'c')
  const entries = [{ url: a!.url, weight: 6 }, { url: b!.url, weight: 3 }, { url: c!.url }]
  const shares = async (balance: string) => {
    const { port } = await proxyFor(t, { upstreams: entries, balance })
    const ask = client(t, port)
    return tally(await inTurn(200, () => ask()))
  }
  assert.deepEqual(await shares('round-robin'), { a: 120, b: 60, c: 20 })
  const { a: heavy, b: middle, c: light } = await shares('least-request')
  assert.ok(heavy! > 90 && middle! > 30 && light! > 3, `${heavy} ${middle} ${light}`)
})

test('least-request and ewma leave a process that answers slowly to itself; round robin does not', async (t) => {
  const [quick, slow] = await upstreams(t, 'quick', 'slow')
  await slow!.behave({ delayMs: 100 })
  const entries = [{ url: quick!.url }, { url: slow!.url }]
  const shareOf = async (balance: string): Promise<number> => {
    const { port } = await proxyFor(t, { upstreams: entries, balance })
    const ask = client(t, port)
    const lanes = await times(4, () => inTurn(25, () => ask()))
    return tally(lanes.flat()).slow ?? 0
  }
  assert.equal(await shareOf('round-robin'), 50)
  // Of two that are idle either may be taken.
  const [least, ewma] = [await shareOf('least-request'), await shareOf('ewma')]
  assert.ok(least < 40, String(least))
  assert.ok(ewma < 15, String(ewma))
})

test('own region first; what it cannot carry spills over to another, and all of it when it is down', async (t) => {
  const [home, abroad] = await upstreams(t, 'home', 'abroad')
  const service = {
    upstreams: [
      { url: home!.url, region: 'eu' },
      { url: abroad!.url, region: 'us' },
    ],
    circuit: { connections: 4, pending: 0 },
  }
  const { port, proxy } = await proxyFor(t, service)
  const ask = client(t, port)
  assert.deepEqual(tally(await inTurn(20, () => ask())), { home: 20 })
  await home!.behave({ delayMs: 300 })
  await abroad!.behave({ delayMs: 300 })
  const burst = await times(10, () => ask())
  assert.deepEqual(tally(burst), { home: 4, abroad: 4, '503': 2 })
  const refused = burst.find(({ status }) => status === 503)!
  assert.equal(refused.headers['retry-after'], '1')
  assert.equal(proxy.stats().overloaded, 2)
  await abroad!.behave({ delayMs: 0 })
  await home!.kill()
  assert.deepEqual(tally(await inTurn(20, () => ask())), { abroad: 20 })
  const status = proxy.upstreams().map(({ url, state }) => [url === home!.url ? 'home' : 'abroad', state])
  assert.deepEqual(status, [
    ['home', 'down'],
    ['abroad', 'up'],
  ])
})

test('a process that comes back, or is new, begins with a small share', async (t) => {
  const port = await freePort()
  const first = await upstreamProcess('back', {}, port)
  const [stays, added] = await upstreams(t, 'stays', 'added')
  const entries = [{ url: stays!.url }, { url: first.url }]
  const service = { upstreams: entries, slowStart: '1h', balance: 'round-robin' }
  const running = await proxyFor(t, service)
  const ask = client(t, running.port)
  const stateOf = (url: string) => running.proxy.upstreams().find((upstream) => upstream.url === url)?.state
  assert.deepEqual(tally(await inTurn(20, () => ask())), { stays: 10, back: 10 })
  await first.kill()
  assert.deepEqual(tally(await inTurn(20, () => ask())), { stays: 20 })
  const again = await upstreamProcess('back', {}, port)
  t.after(() => again.kill())
  await until('the probe to find it', () => stateOf(again.url) === 'starting')
  const { back } = tally(await inTurn(44, () => ask()))
  assert.ok(back! >= 3 && back! <= 5, String(back))
  running.swap({ ...service, upstreams: [...entries, { url: added!.url }] })
  const after = tally(await inTurn(48, () => ask()))
  assert.equal(stateOf(added!.url), 'starting')
  assert.ok(after.added! >= 3 && after.added! <= 5, JSON.stringify(after))
  running.swap({ ...service, upstreams: entries, slowStart: '0s' })
  assert.deepEqual(tally(await inTurn(20, () => ask())), { stays: 10, back: 10 })
})

test('a process that answers but says that it is not well is left out until it says otherwise', async (t) => {
  const [a, b] = await upstreams(t, 'a', 'b')
  const health = { path: '/health', interval: '100ms', timeout: '2s', healthyAfter: 2, unhealthyAfter: 2 }
  const { port, proxy, lines } = await proxyFor(t, { upstreams: [{ url: a!.url }, { url: b!.url }], health })
  const ask = client(t, port)
  const stateOf = ({ url }: UpstreamProcess) => proxy.upstreams().find((upstream) => upstream.url === url)!
  await a!.behave({ health: 503 })
  await until('the checks to find it', () => stateOf(a!).state === 'down')
  assert.equal(stateOf(a!).reason, 'answers 503 at /health')
  assert.ok(lines.some((line) => line === `upstream ${a!.url} of shop is out: answers 503 at /health`))
  assert.deepEqual(tally(await inTurn(20, () => ask())), { b: 20 })
  // Nothing else is left: what is not well is better than nothing.
  await b!.behave({ health: 500 })
  await until('both to be out', () => proxy.upstreams().every(({ healthy }) => !healthy))
  const { a: some, b: others } = tally(await inTurn(40, () => ask()))
  assert.equal(some! + others!, 40)
  await a!.behave({ health: 200 })
  await until('it to be back', () => stateOf(a!).healthy)
  assert.deepEqual(tally(await inTurn(20, () => ask())), { a: 20 })
})

test('a process whose checks time out, or that is not there, is out before any request meets it', async (t) => {
  const [well] = await upstreams(t, 'well')
  const gone = await freePort()
  const silent = createServer(() => undefined).listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  t.after(() => silent.close())
  const { port: mute } = silent.address() as AddressInfo
  const entries = [{ url: well!.url }, { url: `http://127.0.0.1:${gone}` }, { url: `http://127.0.0.1:${mute}` }]
  const health = { path: '/health', interval: '200ms', timeout: '100ms' }
  const { port, proxy } = await proxyFor(t, { upstreams: entries, health, retries: { attempts: 0 } })
  await until('two to be out', () => proxy.upstreams().filter(({ healthy }) => !healthy).length === 2)
  assert.deepEqual(
    proxy.upstreams().map(({ reason }) => reason.replace(/:? ECONN.*/, '')),
    [proxy.upstreams()[0]!.reason, 'cannot be checked', 'did not answer /health within 100 ms'],
  )
  const ask = client(t, port)
  assert.deepEqual(tally(await inTurn(20, () => ask())), { well: 20 })
})

test('a process that answers errors is ejected, and its share goes to the others', async (t) => {
  const [a, b, c] = await upstreams(t, 'a', 'b', 'c')
  await c!.behave({ status: 503 })
  const entries = [{ url: a!.url }, { url: b!.url }, { url: c!.url }]
  const { port, proxy } = await proxyFor(t, {
    upstreams: entries,
    balance: 'round-robin',
    outliers: { consecutive: 5, ejectFor: '1s' },
  })
  const ask = client(t, port)
  const bad = (await inTurn(60, () => ask())).filter(({ status }) => status === 503)
  assert.equal(bad.length, 5)
  const status = proxy.upstreams()[2]!
  assert.deepEqual(
    [status.state, status.reason, status.failures, status.ejections],
    ['ejected', 'ejected: answers 503, 5 failures in a row', 5, 1],
  )
  await c!.behave({ status: 200 })
  await until('it to be back', () => proxy.upstreams()[2]!.healthy)
  assert.deepEqual(tally(await inTurn(30, () => ask())), { a: 10, b: 10, c: 10 })
})
