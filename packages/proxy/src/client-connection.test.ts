/** What a client may do to us by going slowly, stopping, or saying much: bounded in time and memory, and noticed. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { Denial } from '@ringwall/ring'
import { HeldBody } from './held-body.ts'
import { openSocket, rawExchange, testProxy, testRecorder, until, upstreamServer, viewOf } from './test-ring.ts'
import { READ_INTO_SHARED, Wire } from './wire.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

test('a body that stops coming is cut off, one that keeps coming slowly is not', async () => {
  const upstream = await upstreamServer((request, response) => {
    let bytes = 0
    request.on('error', () => undefined)
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    request.on('end', () => response.end(`got ${bytes}`))
  })
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits: { bodyStallMsMax: 200 } })
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n'
  const stopped = await rawExchange(port, head + 'x'.repeat(2_000), 3_000)
  assert.equal(stopped.closed, true)
  assert.match(stopped.text, /^HTTP\/1\.1 408 /)
  const slow = await openSocket(port)
  let text = ''
  slow.on('data', (chunk) => {
    text += chunk
  })
  slow.write(head)
  for (let at = 0; at < 10; at++) {
    slow.write('x'.repeat(300))
    await new Promise((resolve) => setTimeout(resolve, 60))
  }
  await until('the answer', () => text.endsWith('got 3000'))
  slow.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('a connection that says nothing is closed without a word, an idle one after its time', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const limits = { headersMsMax: 200, keepAliveMsMax: 200 }
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits })
  assert.deepEqual(await rawExchange(port, '', 3_000), { text: '', closed: true })
  const idle = await rawExchange(port, GET, 3_000)
  assert.equal(idle.closed, true)
  assert.equal(idle.text.match(/HTTP\/1\.1 /g)?.length, 1)
  assert.equal(proxy.stats().malformed, 0)
  await proxy.stop(100)
  upstream.close()
})

test('a client that does not read its answers gets no more of them, and is cut in the end', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('x'.repeat(60_000)))
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits: { clientStallMsMax: 400 } })
  const socket = await openSocket(port)
  socket.pause()
  let closed = false
  socket.on('close', () => {
    closed = true
  })
  // One by one: pipelining has a bound of its own.
  for (let at = 0; at < 400 && !socket.destroyed; at++) {
    socket.write(GET)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await until('it to be cut', () => {
    socket.resume()
    return closed
  })
  assert.ok(upstream.seen.length < 300, `${upstream.seen.length} requests reached the upstream`)
  await proxy.stop(100)
  upstream.close()
})

test('denied sources hear why at a human pace; a flood of their connections is dropped at the door', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const limits = { deniedConnectionsPerSecondMax: 3 }
  const { proxy, port, state } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { limits })
  const denials = {
    ...state.view.denials,
    matchAddress: () => ({ id: 'd', issuer: 'operator:ada', reason: 'flood: he said' }) as Denial,
  }
  state.view = { ...state.view, denials }
  const answers = await Promise.all(Array.from({ length: 40 }, () => rawExchange(port, GET, 200)))
  const heard = answers.filter(({ text }) => text !== '').length
  const { droppedConnections } = proxy.stats()
  assert.equal(heard + droppedConnections, 40)
  // The second may turn in between.
  assert.ok(heard >= 3 && heard <= 9, `${heard} heard`)
  // A trusted proxy carries the requests of others.
  state.view = { ...viewOf({ ...state.view.policy, trustedProxies: ['127.0.0.1/32'] }), denials }
  await rawExchange(port, GET, 100)
  assert.equal(proxy.stats().droppedConnections, droppedConnections)
  await proxy.stop(100)
  upstream.close()
})

test('a source that is denied for flooding is dropped at the door, each time; told whoever counts', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const knocks: string[] = []
  const meter = { asked: () => undefined, knocked: (source: string) => knocks.push(source), look: () => undefined }
  const { proxy, port, state } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } }, { meter })
  const denial = { id: 'd', issuer: 'node:n1', reason: 'flood: 900 requests a second' } as Denial
  state.view = { ...state.view, denials: { ...state.view.denials, matchAddress: () => denial } }
  const answers = await Promise.all(Array.from({ length: 10 }, () => rawExchange(port, GET, 200)))
  assert.deepEqual(new Set(answers.map(({ text }) => text)), new Set(['']))
  assert.equal(proxy.stats().droppedConnections, 10)
  assert.equal(proxy.stats().requests, 0)
  assert.deepEqual(
    knocks,
    Array.from({ length: 10 }, () => '127.0.0.1'),
  )
  await proxy.stop(100)
  upstream.close()
})

test('a body sent on in part is not sent again when its kept connection breaks', async () => {
  const bodies: string[] = []
  const used = new Set<unknown>()
  // Answers the first request of each connection, and breaks off at the second one's end.
  const server = createServer((socket) => {
    let requests = 0
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      used.add(socket)
      const text = bytes.toString('latin1')
      if (text.startsWith('GET')) {
        requests++
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      } else {
        bodies.push(text)
        if (requests > 0) socket.destroy()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url }] } })
  await rawExchange(port, GET, 100)
  const put = `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n${'x'.repeat(3_000)}`
  const { text } = await rawExchange(port, put, 500)
  assert.match(text, /^HTTP\/1\.1 502 /)
  assert.equal(used.size, 1)
  assert.equal(bodies.filter((body) => body.startsWith('PUT')).length, 1)
  await proxy.stop(100)
  server.close()
})

test('an upload and a download at once, both larger than every buffer, arrive whole', async () => {
  const upstream = await upstreamServer(async (request, response) => {
    response.writeHead(200)
    for await (const chunk of request) {
      if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve))
    }
    response.end('end')
  })
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url: upstream.url }] } })
  const socket = await openSocket(port)
  let bytes = 0
  let tail = ''
  socket.on('data', (chunk) => {
    bytes += chunk.length
    tail = (tail + chunk.toString('latin1')).slice(-20)
  })
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n')
  const piece = Buffer.alloc(100_000, 'x')
  for (let at = 0; at < 200; at++) if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
  await until('the end', () => tail.endsWith('end\r\n0\r\n\r\n'))
  assert.ok(bytes > 20_000_000)
  socket.destroy()
  await proxy.stop(100)
  upstream.close()
})

test('an upstream over TLS that nobody vouches for is not believed; its bytes come by the shared buffer all the same', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-tls-'))
  try {
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    const files = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '1', ...subject, ...files], {
      stdio: 'ignore',
    })
  } catch {
    t.skip('openssl is not installed')
    return
  }
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => readFileSync(join(directory, name), 'utf8'))
  rmSync(directory, { recursive: true })
  const server = createTlsServer({ key: key!, cert: cert! }, (_request, response) => response.end('x'.repeat(300_000)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { proxy, port } = await testProxy({ shop: { upstreams: [{ url }] } })
  assert.match((await rawExchange(port, GET, 300)).text, /^HTTP\/1\.1 502 /)
  const socket = connectTls({ port: Number(new URL(url).port), ca: cert!, onread: READ_INTO_SHARED } as ConnectionOptions)
  let bytes = 0
  const ignore = (): void => undefined
  const onBytes = (piece: Buffer): void => {
    bytes += piece.length
  }
  const wire = new Wire(socket, { onBytes, onDrain: ignore, onHalfClose: ignore, onClose: ignore }, false)
  socket.on('secureConnect', () => {
    wire.text(GET)
    wire.flush()
  })
  await until('the body', () => bytes > 300_000)
  wire.destroy()
  await proxy.stop(100)
  server.close()
})

test('a body in pieces of one byte takes twice its bytes at most', () => {
  const held = new HeldBody()
  for (let at = 0; at < 10_000; at++) held.add(Buffer.from([at & 0xff]), Number.POSITIVE_INFINITY)
  assert.equal(held.length, 10_000)
  assert.equal(held.bytes.length, 10_000)
  assert.ok(held.bytes.buffer.byteLength <= 20_000)
  assert.equal(held.bytes[9_999], 9_999 & 0xff)
})

test('a recorder that fails takes one connection with it, not the process', async () => {
  const upstream = await upstreamServer((_request, response) => response.end('ok'))
  const lines: string[] = []
  const { recorder } = testRecorder()
  let failing = true
  const parseTraceparent = (): undefined => {
    if (failing) throw new Error('a defect')
  }
  const requestId = (node: string): string => {
    if (failing) throw new Error('a defect')
    return `${node}-1`
  }
  const { proxy, port } = await testProxy(
    { shop: { upstreams: [{ url: upstream.url }] } },
    { recorder: { ...recorder, parseTraceparent, requestId }, log: (_level, line) => lines.push(line) },
  )
  assert.deepEqual(await rawExchange(port, GET, 2_000), { text: '', closed: true })
  failing = false
  assert.match((await rawExchange(port, GET, 300)).text, /^HTTP\/1\.1 200 /)
  assert.match(lines.join('\n'), /a connection failed: a defect/)
  await proxy.stop(100)
  upstream.close()
})
