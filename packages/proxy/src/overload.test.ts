/** Too many connections, and too many requests: who is kept out, and who is not. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { openSocket, testProxy, until, upstreamServer, viewOf } from './test-ring.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** From another address of this machine. */
function openFrom(localAddress: string, port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, localAddress })
  // A reset may come before the word that it is connected.
  return new Promise((settle) => {
    socket.once('connect', () => settle(socket))
    socket.on('error', () => settle(socket))
  })
}

async function asks(socket: Socket): Promise<string> {
  const answer = once(socket, 'data') as Promise<[Buffer]>
  socket.write(GET)
  return String((await answer)[0])
}

const isOpen = (socket: Socket): boolean => !socket.destroyed && socket.readyState === 'open'

test('one source has so many connections and no more; others, and trusted proxies, come in', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const limits = { connectionsPerSourceMax: 5 }
  const { proxy, port, state } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits })
  const sockets = await Promise.all(Array.from({ length: 9 }, () => openFrom('127.0.0.1', port)))
  await until('four to be dropped', () => sockets.filter(isOpen).length === 5)
  assert.equal(proxy.stats().droppedConnections, 4)
  const other = await openFrom('127.0.0.2', port)
  assert.match(await asks(other), /^HTTP\/1\.1 200 /)
  // One that ends makes room for one.
  sockets.find(isOpen)!.destroy()
  await until('it to be forgotten', () => proxy.stats().activeConnections === 5)
  const next = await openFrom('127.0.0.1', port)
  assert.match(await asks(next), /^HTTP\/1\.1 200 /)
  state.view = viewOf({ ...state.view.policy, trustedProxies: ['127.0.0.1/32'] })
  const trusted = await openFrom('127.0.0.1', port)
  assert.match(await asks(trusted), /^HTTP\/1\.1 200 /)
  for (const socket of [...sockets, other, next, trusted]) socket.destroy()
  await until('all to be forgotten', () => proxy.stats().activeConnections === 0)
  await proxy.stop(100)
  upstream.close()
})

test('when all connections are taken, one that waits for its client goes for a new one; one at work does not', async () => {
  let answer: (() => void) | undefined
  const upstream = await upstreamServer((request, response) => {
    if (request.url === '/slow') answer = () => response.end('late')
    else response.end('ok')
  })
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits: { connectionsMax: 4 } })
  const working = await openSocket(port)
  working.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('it to be asked', () => answer !== undefined)
  const idle = [await openSocket(port), await openSocket(port), await openSocket(port)]
  for (const socket of idle) assert.match(await asks(socket), /^HTTP\/1\.1 200 /)
  const fresh = await openSocket(port)
  assert.match(await asks(fresh), /^HTTP\/1\.1 200 /)
  await until('one to have gone', () => idle.filter(isOpen).length === 2)
  assert.equal(proxy.stats().evictedConnections, 1)
  const said = once(working, 'data') as Promise<[Buffer]>
  answer!()
  assert.match(String((await said)[0]), /late/)
  for (const socket of [...idle, fresh, working]) socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('slow heads give way to who comes later, and those who have only just come do not', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits: { connectionsMax: 3 } })
  const slow = [await openSocket(port), await openSocket(port), await openSocket(port)]
  for (const socket of slow) socket.write('GET / HTTP/1.1\r\nX-')
  const refused = await openSocket(port)
  await once(refused, 'close')
  assert.equal(proxy.stats().evictedConnections, 0)
  await new Promise((wake) => setTimeout(wake, 1_100))
  const late = await openSocket(port)
  assert.match(await asks(late), /^HTTP\/1\.1 200 /)
  assert.equal(proxy.stats().evictedConnections, 1)
  for (const socket of [...slow, late]) socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('while the event loop is late, the source that asks most is refused and put to rest; others are served', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const greedy = await Promise.all(Array.from({ length: 40 }, () => openFrom('127.0.0.2', port)))
  const modest = await openFrom('127.0.0.3', port)
  let going = true
  const statuses: string[] = []
  for (const socket of greedy) {
    socket.on('data', (bytes: Buffer) => {
      statuses.push(String(bytes).slice(9, 12))
      if (going) socket.write(GET)
    })
    socket.write(GET)
  }
  // Work that takes all the time there is, as a flood of costly requests would.
  const busy = setInterval(() => {
    const untilMs = performance.now() + 120
    while (performance.now() < untilMs);
  }, 125)
  while (!statuses.includes('503')) {
    assert.match(await asks(modest), /^HTTP\/1\.1 200 /)
    await new Promise((wake) => setTimeout(wake, 50))
  }
  assert.match(await asks(modest), /^HTTP\/1\.1 200 /)
  clearInterval(busy)
  going = false
  assert.ok(proxy.stats().shed > 0)
  // Time enough again: those put to rest are read from again.
  const rested = greedy.find(isOpen)!
  let served = ''
  rested.removeAllListeners('data')
  rested.on('data', (bytes: Buffer) => {
    served += String(bytes)
  })
  const again = setInterval(() => rested.write(GET), 200)
  await until('it to be served again', () => served.includes(' 200 '))
  clearInterval(again)
  for (const socket of [...greedy, modest]) socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('clients that do not read hold an upstream’s last connections for a second only, and other sources come first', async () => {
  const upstream = await upstreamServer((request, response) => {
    // More than sockets take on their own.
    response.end(request.url === '/long' ? Buffer.alloc(16 * 1_024 * 1_024, 'x') : 'ok')
  })
  const service = { upstreams: [{ url: upstream.url }], circuit: { connections: 3, pending: 50 } }
  const { proxy, port } = await testProxy({ shop: service })
  const slow = await Promise.all(Array.from({ length: 12 }, () => openFrom('127.0.0.2', port)))
  for (const socket of slow) {
    socket.pause()
    socket.write('GET /long HTTP/1.1\r\nHost: a\r\n\r\n')
  }
  await until('all connections to be held', () => proxy.upstreams()[0]!.active === 3 && proxy.upstreams()[0]!.pending === 9)
  const modest = await openFrom('127.0.0.3', port)
  assert.match(await asks(modest), /^HTTP\/1\.1 200 /)
  // It came last, and did not wait for the nine before it.
  assert.ok(proxy.upstreams()[0]!.pending > 0)
  // Its answer is cut off for the client, and no fault of the upstream's.
  assert.deepEqual([proxy.upstreams()[0]!.failures, proxy.stats().upstreamErrors], [0, 0])
  for (const socket of [...slow, modest]) socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('while nobody is connected the proxy looks around once a second; whoever connects, or is refused, finds it awake', async (t) => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  let nowMs = 100_000
  let looks = 0
  t.mock.timers.enable({ apis: ['setInterval'] })
  t.mock.method(performance, 'now', () => nowMs)
  const meter = { asked: () => undefined, knocked: () => undefined, look: () => void (looks += 1) }
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { meter })
  /** How often it looks around in so many seconds. */
  const looksIn = (seconds: number): number => {
    looks = 0
    for (let at = 0; at < seconds * 20; at += 1) {
      nowMs += 50
      t.mock.timers.tick(50)
    }
    return looks
  }
  assert.ok(looksIn(10) >= 100)
  assert.equal(looksIn(10), 10)
  const socket = await openSocket(port)
  await until('it to be known', () => proxy.stats().activeConnections === 1)
  assert.equal(looksIn(1), 20)
  assert.equal(looksIn(20), 400, 'as long as the connection is there')
  socket.destroy()
  await until('it to be forgotten', () => proxy.stats().activeConnections === 0)
  looksIn(10)
  assert.equal(looksIn(10), 10)
  await proxy.stop(100)
  upstream.close()
})
