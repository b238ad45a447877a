import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { READ_INTO_SHARED, readingIntoShared, Wire, type WireHandler } from './wire.ts'

const SILENT: WireHandler = { onBytes() {}, onDrain() {}, onHalfClose() {}, onClose() {} }

/** A wire and the socket at its other end. */
async function wired(
  handler: Partial<WireHandler>,
  use: (wire: Wire, other: Socket) => Promise<void>,
  accepted = false,
): Promise<void> {
  const server = createServer({ pauseOnConnect: accepted, noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const place = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  const incoming = once(server, 'connection') as Promise<[Socket]>
  const client = accepted ? connect(place) : connect({ ...place, onread: READ_INTO_SHARED })
  const [[served]] = await Promise.all([incoming, once(client, 'connect')])
  const near = accepted ? (readingIntoShared(served) as Socket) : client
  const far = accepted ? client : served
  far.on('error', () => {})
  try {
    await use(new Wire(near, { ...SILENT, ...handler }, false), far)
  } finally {
    near.destroy()
    far.destroy()
    server.close()
  }
}

async function readTo(socket: Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let count = 0
  if (length === 0) return Buffer.alloc(0)
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer)
    count += (chunk as Buffer).length
    if (count >= length) break
  }
  return Buffer.concat(chunks)
}

const arbitraryPart = fc.oneof(
  fc.record({ kind: fc.constant('text' as const), length: fc.integer({ min: 1, max: 40_000 }) }),
  fc.record({ kind: fc.constant('bytes' as const), length: fc.integer({ min: 1, max: 300_000 }) }),
  fc.constant({ kind: 'flush' as const, length: 0 }),
  fc.constant({ kind: 'turn' as const, length: 0 }),
)

for (const accepted of [false, true]) {
  test(`texts and bytes of any length arrive in their order, ${accepted ? 'accepted' : 'connected'}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryPart, { maxLength: 12 }), async (parts) => {
        await wired(
          {},
          async (wire, other) => {
            const sent: Buffer[] = []
            let next = 0
            for (const { kind, length } of parts) {
              if (kind === 'flush') wire.flush()
              else if (kind === 'turn') await new Promise((turn) => setImmediate(turn))
              else {
                const bytes = Buffer.alloc(length, (next++ % 255) + 1)
                sent.push(bytes)
                if (kind === 'text') wire.text(bytes.toString('latin1'))
                else wire.bytes(bytes)
              }
            }
            const all = Buffer.concat(sent)
            wire.flush()
            assert.ok((await readTo(other, all.length)).equals(all))
            wire.text('the end')
            wire.end()
            assert.equal((await readTo(other, 7)).toString(), 'the end')
          },
          accepted,
        )
      }),
      { numRuns: 25 },
    )
  })
}

test('what was flushed leaves before the wire is cut, and what was not does not', async () => {
  await wired({}, async (wire, other) => {
    wire.text('whole ')
    wire.flush()
    wire.text('half')
    wire.destroy()
    assert.equal((await readTo(other, 100)).toString(), 'whole ')
  })
})

test('a reader that does not read is told of by flush, and that it reads again by onDrain', async () => {
  let drained = 0
  await wired({ onDrain: () => drained++ }, async (wire, other) => {
    let sent = 0
    other.pause()
    const text = 'x'.repeat(8_192)
    // Either the kernel's buffers fill up, or nothing tells of it and memory would.
    for (let room = true; room && sent < 64 * 1_024 * 1_024; sent += text.length) {
      wire.text(text)
      room = wire.flush()
      await new Promise((turn) => setImmediate(turn))
    }
    assert.ok(sent < 64 * 1_024 * 1_024, `${sent} bytes were taken of a reader that reads nothing`)
    assert.equal(drained, 0)
    assert.equal((await readTo(other, sent)).length, sent)
    while (drained === 0) await new Promise((turn) => setTimeout(turn, 5))
    assert.equal(drained, 1)
    assert.equal(wire.flush(), true)
  })
})

test('writing to a reader that has gone closes the wire and throws nothing', async () => {
  let closed: (() => void) | undefined
  const gone = new Promise<void>((settle) => {
    closed = settle
  })
  await wired({ onClose: () => closed?.() }, async (wire, other) => {
    other.resetAndDestroy()
    const writing = setInterval(() => {
      wire.text('anybody?')
      wire.flush()
    }, 5)
    await gone
    clearInterval(writing)
    assert.equal(wire.usable, false)
    wire.text('nobody')
    wire.flush()
    wire.end()
  })
})
