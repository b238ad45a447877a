/** Requests whose bodies do not come on: who of the two, client or upstream, is held to have stopped. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttp2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { BODY_BYTES_MAX, openSocket, rawExchange, testProxy, until } from './test-ring.ts'

/** Part of a body, more than is inspected before it is sent on, and no more of it. */
const PART = 'x'.repeat(2 * BODY_BYTES_MAX)
const BEGUN = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${10 * BODY_BYTES_MAX}\r\n\r\n${PART}`
const TIMES = { upstreamTimeout: '200ms', retries: { attempts: 0 } }
/** Longer than the upstream may be silent. */
const LIMITS = { bodyStallMsMax: 500 }

/** Says nothing but what `onSocket` makes it say. */
async function silent(t: TestContext, onSocket: (socket: Socket) => void) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    onSocket(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

/** The same over HTTP/2. */
async function silentHttp2(t: TestContext, onStream: (stream: ServerHttp2Stream) => void) {
  const sessions = new Set<ServerHttp2Session>()
  const server = createHttp2Server()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream) => {
    stream.on('error', () => undefined)
    onStream(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, http2: true, sessions }
}

async function proxyOf(t: TestContext, upstream: { readonly url: string; readonly http2?: boolean }, rest: object = {}) {
  const { url, http2 = false } = upstream
  const { proxy, port, records } = await testProxy(
    { shop: { upstreams: [{ url, http2 }], ...TIMES, ...rest } },
    { limits: LIMITS },
  )
  t.after(() => proxy.stop(0))
  return { proxy, port, records, failures: () => proxy.upstreams()[0]!.failures }
}

/** Sends a body without end for as long as it is taken. Returns what is answered. */
async function flood(port: number): Promise<() => string> {
  const socket = await openSocket(port)
  let text = ''
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    socket.destroy()
  })
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n')
  const more = (): void => {
    while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
  }
  socket.on('drain', more)
  more()
  return () => text
}

test('a client that holds its own body back is told so; the upstream that waits for it is let go, not blamed', async (t) => {
  const upstream = await silent(t, (socket) => socket.resume())
  const { proxy, port, failures } = await proxyOf(t, upstream)
  assert.match((await rawExchange(port, BEGUN, 4_000)).text, /^HTTP\/1\.1 408 /)
  assert.equal(failures(), 0)
  assert.equal(proxy.stats().upstreamErrors, 0)
  await until('its connection to be closed', () => upstream.sockets.size === 0)
})

test('the same holds over HTTP/2', async (t) => {
  const upstream = await silentHttp2(t, (stream) => stream.resume())
  const { proxy, port, failures } = await proxyOf(t, upstream)
  assert.match((await rawExchange(port, BEGUN, 4_000)).text, /^HTTP\/1\.1 408 /)
  assert.equal(failures(), 0)
  assert.equal(proxy.stats().upstreamErrors, 0)
  await until('its connection to be closed', () => upstream.sessions.size === 0)
})

test('once all of the body is there, the upstream’s own time runs', async (t) => {
  const upstream = await silent(t, (socket) => socket.resume())
  const { proxy, port, failures } = await proxyOf(t, upstream)
  const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const client = await openSocket(port)
  let text = ''
  client.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  t.after(() => client.destroy())
  client.write(`${chunked}${PART.length.toString(16)}\r\n${PART}\r\n`)
  await until('the upstream to have part of it', () => proxy.upstreams()[0]!.requests === 1)
  client.write('0\r\n\r\n')
  await until('an answer', () => text !== '')
  assert.match(text, /^HTTP\/1\.1 504 /)
  assert.equal(failures(), 1)
})

test('an upstream that does not read what the client sends is to blame', async (t) => {
  const upstream = await silent(t, (socket) => socket.pause())
  const { port, failures } = await proxyOf(t, upstream)
  const answer = await flood(port)
  await until('an answer', () => answer() !== '')
  assert.match(answer(), /^HTTP\/1\.1 504 /)
  assert.equal(failures(), 1)
})

test('so is one that does not over HTTP/2', async (t) => {
  const upstream = await silentHttp2(t, (stream) => stream.pause())
  const { port, failures } = await proxyOf(t, upstream)
  const answer = await flood(port)
  await until('an answer', () => answer() !== '')
  assert.match(answer(), /^HTTP\/1\.1 504 /)
  assert.equal(failures(), 1)
})

test('an upstream that is tired of waiting for the client has not failed; one that breaks off at once has', async (t) => {
  // Past the time within which it may be the request that made it break off.
  const patient = await silent(t, (socket) => {
    socket.once('data', () => setTimeout(() => socket.destroy(), 1_500))
  })
  const tired = await testProxy({ shop: { upstreams: [{ url: patient.url }], ...TIMES } }, { limits: { bodyStallMsMax: 60_000 } })
  t.after(() => tired.proxy.stop(0))
  assert.match((await rawExchange(tired.port, BEGUN, 5_000)).text, /^HTTP\/1\.1 408 /)
  assert.equal(tired.proxy.upstreams()[0]!.failures, 0)
  const hasty = await silent(t, (socket) => {
    socket.once('data', () => socket.destroy())
  })
  const { port, failures } = await proxyOf(t, hasty)
  assert.match((await rawExchange(port, BEGUN, 4_000)).text, /^HTTP\/1\.1 502 /)
  assert.equal(failures(), 1)
})
