import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { openSocket, rawExchange, testProxy, until } from './test-ring.ts'

const HANDSHAKE = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

/** Switches protocols and echoes what it gets, in capitals; answers plain requests with 426. */
async function echoServer() {
  const upgraded: Socket[] = []
  const server = createServer((_request, response) => response.writeHead(426).end('upgrade'))
  server.on('upgrade', (request, socket, head) => {
    if (request.url === '/refused') {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
      return
    }
    upgraded.push(socket as Socket)
    // The first word comes with the head, in one packet.
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello ',
    )
    if (head.length > 0) socket.write(head.toString().toUpperCase())
    socket.on('data', (chunk) => socket.write(chunk.toString().toUpperCase()))
    socket.on('end', () => socket.end())
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () => {
    for (const socket of upgraded) socket.destroy()
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, upgraded, close }
}

async function dial(port: number, bytes: string) {
  const socket = await openSocket(port)
  const state = { socket, text: '', closed: false }
  socket.on('data', (chunk) => {
    state.text += chunk
  })
  socket.on('close', () => {
    state.closed = true
  })
  socket.write(bytes)
  return state
}

test('a WebSocket is tunnelled both ways, from the bytes that came with the heads on', async () => {
  const upstream = await echoServer()
  const { proxy, port, records } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const client = await dial(port, `${HANDSHAKE('/chat')}early `)
  await until('the greeting and the early bytes', () => client.text.endsWith('hello EARLY '))
  assert.match(client.text, /^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*Sec-WebSocket-Accept: x\r\n[\s\S]*x-request-id: n1-/)
  client.socket.write('more')
  await until('the echo', () => client.text.endsWith('MORE'))
  assert.equal(proxy.stats().activeTunnels, 1)
  assert.deepEqual([records[0]!.status, records[0]!.outcome], [101, 'allow'])
  upstream.upgraded[0]!.end()
  await until('the client to be closed', () => client.closed)
  await until('the tunnel to be forgotten', () => proxy.stats().activeTunnels === 0)
  await proxy.stop(100)
  upstream.close()
})

test('a denied upgrade gets 403 and no tunnel; one that the upstream refuses gets the upstream’s answer', async () => {
  const upstream = await echoServer()
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const denied = await rawExchange(port, HANDSHAKE('/denied'), 1_000)
  assert.match(denied.text, /^HTTP\/1\.1 403 [\s\S]*request id: n1-/)
  assert.equal(denied.closed, true)
  assert.equal(upstream.upgraded.length, 0)
  const refused = await rawExchange(port, HANDSHAKE('/refused'), 1_000)
  assert.match(refused.text, /^HTTP\/1\.1 403 [\s\S]*\r\n\r\nno$/)
  assert.equal(refused.closed, true)
  await proxy.stop(100)
  upstream.close()
})

test('a source that is denied loses its open WebSocket at once, and both ends are closed', async () => {
  const upstream = await echoServer()
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const client = await dial(port, HANDSHAKE('/chat'))
  await until('the tunnel', () => client.text.endsWith('hello '))
  assert.ok(proxy.cutSource('127.0.0.1') >= 1)
  await until('both ends to close', () => client.closed && upstream.upgraded[0]!.destroyed)
  assert.equal(proxy.stats().activeTunnels, 0)
  await proxy.stop(100)
  upstream.close()
})

test('a silent WebSocket is closed after its idle limit, one that talks is not; tunnels past the bound get 503', async () => {
  const upstream = await echoServer()
  const limits = { tunnelIdleMsMax: 300, tunnelsMax: 2 }
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits })
  const silent = await dial(port, HANDSHAKE('/silent'))
  const talking = await dial(port, HANDSHAKE('/talking'))
  await until('both tunnels', () => proxy.stats().activeTunnels === 2)
  const third = await rawExchange(port, HANDSHAKE('/third'), 1_000)
  assert.match(third.text, /^HTTP\/1\.1 503 [\s\S]*x-request-id: n1-/)
  const talk = setInterval(() => talking.socket.write('x'), 20)
  await until('the silent one to close', () => silent.closed)
  assert.equal(talking.closed, false)
  clearInterval(talk)
  await until('the other to close', () => talking.closed)
  await proxy.stop(100)
  upstream.close()
})

test('an upstream that switches protocols unasked is a 502', async () => {
  const server = createServer()
  server.on('request', (request) => request.socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url }] } })
  assert.match((await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).text, /^HTTP\/1\.1 502 /)
  await proxy.stop(100)
  server.close()
})
