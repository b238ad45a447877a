import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { openSocket, rawExchange, testProxy, until } from './test-ring.ts'
import { TunnelsBySource } from './tunnel.ts'

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

test('one source has so many tunnels and no more, however fast it asks; others have theirs, and what ends makes room', async () => {
  const upstream = await echoServer()
  const limits = { tunnelsPerSourceMax: 2 }
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits })
  // All are asked for before one is open.
  const all = await Promise.all(Array.from({ length: 6 }, () => dial(port, HANDSHAKE('/chat'))))
  await until('an answer to each', () => all.every(({ text }) => text !== ''))
  const refused = all.filter(({ text }) => text.startsWith('HTTP/1.1 503 '))
  assert.equal(refused.length, 4)
  for (const { text } of refused) assert.match(text, /\r\nretry-after: 1\r\n/)
  assert.equal(proxy.stats().activeTunnels, 2)
  const late = await rawExchange(port, HANDSHAKE('/late'), 1_000)
  assert.match(late.text, /^HTTP\/1\.1 503 [\s\S]*\r\nretry-after: 1\r\n/)
  assert.equal(late.closed, true)
  const other = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' })
  let greeting = ''
  other.on('data', (chunk: Buffer) => {
    greeting += chunk.toString()
  })
  other.write(HANDSHAKE('/chat'))
  await until('the tunnel of another source', () => greeting.endsWith('hello '))
  all.find(({ text }) => text.endsWith('hello '))!.socket.destroy()
  await until('one to end', () => proxy.stats().activeTunnels === 2)
  const again = await dial(port, HANDSHAKE('/again'))
  await until('the room that it leaves', () => again.text.endsWith('hello '))
  other.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('whom a trusted proxy asks for is counted, not the proxy', async () => {
  const upstream = await echoServer()
  const options = {
    limits: { tunnelsPerSourceMax: 1 },
    isTrustedProxy: (_policy: unknown, address: string) => address === '127.0.0.1',
  }
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, options)
  const ask = (forwardedFor: string) => HANDSHAKE('/chat').replace('\r\n\r\n', `\r\nX-Forwarded-For: ${forwardedFor}\r\n\r\n`)
  const open = async (bytes: string) => {
    const client = await dial(port, bytes)
    await until('an answer', () => client.text !== '')
    return client.text.slice(9, 12)
  }
  assert.equal(await open(ask('192.0.2.1')), '101')
  assert.equal(await open(ask('192.0.2.1')), '503')
  assert.equal(await open(ask('192.0.2.2')), '101')
  assert.equal(await open(ask('2001:db8::1')), '101')
  assert.equal(await open(ask('2001:db8::2')), '503', 'of the same /64')
  for (let at = 0; at < 3; at++) assert.equal(await open(HANDSHAKE('/chat')), '101')
  await proxy.stop(100)
  upstream.close()
})

test('what is counted of tunnels goes with them', () => {
  const tunnels = new TunnelsBySource()
  for (const source of ['192.0.2.1', '192.0.2.1', '2001:db8::1', '2001:db8::2']) tunnels.add(source)
  assert.deepEqual([tunnels.count('192.0.2.1'), tunnels.count('2001:db8::3'), tunnels.size], [2, 2, 2])
  for (const source of ['192.0.2.1', '192.0.2.1', '2001:db8::1', '2001:db8::2']) tunnels.delete(source)
  assert.deepEqual([tunnels.count('192.0.2.1'), tunnels.size], [0, 0])
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
