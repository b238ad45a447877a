/** WebSockets through a node, with the platform's own client. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freePort } from '../tools/free-ports.ts'
import { type Program, startProtect } from './program.ts'

let folder: string
let node: Program | undefined
let upstream: Server
let port: number
let handshakes = 0

/** Of the server: a final frame without a mask (RFC 6455 section 5.2). */
function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  const head = length < 126 ? Buffer.from([0, length]) : length < 65_536 ? Buffer.alloc(4) : Buffer.alloc(10)
  head[0] = 0x80 | opcode
  if (length >= 65_536) {
    head[1] = 127
    head.writeBigUInt64BE(BigInt(length), 2)
  } else if (length >= 126) {
    head[1] = 126
    head.writeUInt16BE(length, 2)
  }
  return Buffer.concat([head, payload])
}

/** A server that says back whatever it hears, frame by frame, and closes when told. */
function echoServer(): Server {
  const server = createServer((_request, response) => response.end('no WebSocket'))
  server.on('upgrade', (request, socket) => {
    handshakes += 1
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    const [protocol] = (request.headers['sec-websocket-protocol'] ?? '').split(',')
    const chosen = protocol === '' ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${chosen}\r\n`,
    )
    let held = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      held = Buffer.concat([held, bytes])
      for (;;) {
        if (held.length < 2) return
        const short = held[1]! & 127
        const at = short === 126 ? 4 : short === 127 ? 10 : 2
        if (held.length < at + 4) return
        const length = short === 126 ? held.readUInt16BE(2) : short === 127 ? Number(held.readBigUInt64BE(2)) : short
        if (held.length < at + 4 + length) return
        const mask = held.subarray(at, at + 4)
        const payload = Buffer.from(held.subarray(at + 4, at + 4 + length).map((byte, index) => byte ^ mask[index % 4]!))
        const [first] = held
        held = held.subarray(at + 4 + length)
        // Fragments come back as fragments.
        const back = frame(first! & 15, payload)
        back[0] = first!
        socket.write(back)
        if ((first! & 15) === 8) socket.end()
      }
    })
  })
  return server.listen(0, '127.0.0.1')
}

before(async () => {
  upstream = echoServer()
  await once(upstream, 'listening')
  folder = mkdtempSync(join(tmpdir(), 'ringwall-websocket-'))
  port = await freePort()
  node = await startProtect(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`, port, join(folder, 'ring'))
})

after(async () => {
  await node?.end()
  upstream?.closeAllConnections()
  upstream?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

const said = (socket: WebSocket): Promise<MessageEvent> =>
  new Promise((settle, refuse) => {
    socket.addEventListener('message', settle, { once: true })
    socket.addEventListener('close', () => refuse(new Error('closed')), { once: true })
  })

test('text and bytes, short and long, go there and back; the protocol is agreed; the close has its code', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat?room=1`, ['echo'])
  socket.binaryType = 'arraybuffer'
  await once(socket, 'open')
  assert.equal(socket.protocol, 'echo')
  for (const text of ['hello', 'grüße 🌍', 'x'.repeat(70_000)]) {
    const answer = said(socket)
    socket.send(text)
    assert.equal((await answer).data, text)
  }
  const bytes = new Uint8Array(300_000).map((_, at) => at % 251)
  const answer = said(socket)
  socket.send(bytes)
  assert.deepEqual(new Uint8Array((await answer).data as ArrayBuffer), bytes)
  const closed = once(socket, 'close') as Promise<[CloseEvent]>
  socket.close(4_001, 'enough')
  const [event] = await closed
  assert.equal(event.code, 4_001)
  assert.equal(event.reason, 'enough')
})

test('a handshake that carries an attack is refused, and never reaches the application', async () => {
  const before = handshakes
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat?room=1%27%20UNION%20SELECT%20password%20FROM%20users--`)
  await once(socket, 'error')
  assert.equal(handshakes, before)
})

test('fifty at once, each its own', async () => {
  const sockets = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/`)
      await once(socket, 'open')
      return socket
    }),
  )
  const answers = sockets.map(said)
  for (const [at, socket] of sockets.entries()) socket.send(`number ${at}`)
  for (const [at, answer] of answers.entries()) assert.equal((await answer).data, `number ${at}`)
  for (const socket of sockets) socket.close()
})
