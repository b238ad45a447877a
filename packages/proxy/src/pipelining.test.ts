/** What one connection may do by saying several things at once: nothing to the others, and nothing to the process. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { openSocket, rawExchange, testProxy, until, upstreamServer } from './test-ring.ts'

const GET = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

test('too many headers, upgrades and odd upgrades behind a request that is not answered yet harm nobody', async () => {
  const held: ServerResponse[] = []
  const upstream = createServer((request, response) => {
    if (request.url === '/slow') held.push(response)
    else response.end('fine')
  })
  upstream.on('upgrade', (_, socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url }] } })
  const many = Array.from({ length: 101 }, (_, at) => `x${at}: y\r\n`).join('')
  const behind = [
    GET('/b', many),
    GET('/ws', UPGRADE),
    GET('/ws', UPGRADE.replace(': Upgrade', ': \xa0upgrade')),
    GET('/ws', `${UPGRADE}Content-Length: 2\r\n`),
  ]
  for (const first of ['/x', '/slow']) {
    for (const second of behind) await rawExchange(port, Buffer.from(`${GET(first)}${second}`, 'latin1'), 60)
  }
  for (const response of held) response.end('late')
  const { text } = await rawExchange(port, GET('/x'))
  assert.match(text, /^HTTP\/1\.1 200 [\s\S]*fine$/)
  await proxy.stop(100)
  upstream.close()
  upstream.closeAllConnections()
})

test('a no-break space is no blank: the token behind it is refused, not trimmed', async () => {
  const upstream = await upstreamServer((_, response) => response.end('fine'))
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const { text } = await rawExchange(port, Buffer.from(GET('/ws', UPGRADE.replace(': Upgrade', ': \xa0upgrade')), 'latin1'))
  assert.match(text, /^HTTP\/1\.1 (?:200|400) /)
  await proxy.stop(100)
  await upstream.close()
})

test('pipelined requests are answered in order, one at a time; too many of them end the connection', async () => {
  const seen: string[] = []
  let under = 0
  let most = 0
  const upstream = await upstreamServer((request, response) => {
    seen.push(request.url ?? '')
    most = Math.max(most, ++under)
    setTimeout(() => {
      under -= 1
      response.end(request.url)
    }, 5)
  })
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const paths = Array.from({ length: 10 }, (_, at) => `/p${at}`)
  const { text } = await rawExchange(port, paths.map((path) => GET(path)).join(''), 400)
  assert.deepEqual(text.match(/\/p\d/g), paths)
  assert.deepEqual(seen, paths)
  assert.equal(most, 1)
  const flood = await rawExchange(port, GET('/f').repeat(1_000), 400)
  assert.equal(flood.closed, true)
  assert.ok(seen.length < 50, `${seen.length} requests reached the upstream`)
  await proxy.stop(100)
  await upstream.close()
})

test('tunnels take no connection away from requests, and end when their client does', async () => {
  const sockets: Socket[] = []
  const upstream = createServer((_, response) => response.end('fine'))
  upstream.on('upgrade', (_, socket) => {
    sockets.push(socket as Socket)
    socket.on('error', () => undefined)
    // Never ends its own half.
    ;(socket as Socket).allowHalfOpen = true
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url }], circuit: { connections: 4 } } })
  const clients = await Promise.all(Array.from({ length: 12 }, () => openSocket(port)))
  for (const client of clients) client.write(GET('/ws', UPGRADE))
  await until('all tunnels', () => proxy.stats().activeTunnels === 12)
  assert.match((await rawExchange(port, GET('/x'))).text, /^HTTP\/1\.1 200 /)
  for (const client of clients) client.end()
  await until('the tunnels to be gone', () => proxy.stats().activeTunnels === 0)
  await proxy.stop(100)
  for (const socket of sockets) socket.destroy()
  upstream.close()
  upstream.closeAllConnections()
})
