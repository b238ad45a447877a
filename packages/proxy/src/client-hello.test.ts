import assert from 'node:assert/strict'
import { connect as connectPlain, createServer } from 'node:net'
import { test } from 'node:test'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { HELLO_BYTES_MAX, readClientHello } from './client-hello.ts'
import { extension, helloBytes, records, uint16s, vector } from './test-hello.ts'

const reading = (bytes: Buffer) => readClientHello(bytes)

test('a ClientHello is read whole, in one record or in many, byte by byte', () => {
  const bytes = helloBytes({
    extensions: [
      extension(0, vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from('WWW.example.org'))]))),
      extension(16, vector(2, Buffer.concat([vector(1, Buffer.from('h2')), vector(1, Buffer.from('http/1.1'))]))),
      extension(43, vector(1, uint16s([0x7a7a, 0x0304, 0x0303]))),
      extension(13, vector(2, uint16s([0x0403, 0x0804]))),
      extension(0x1a1a, Buffer.alloc(0)),
    ],
  })
  for (const size of [16_384, 1, 3, 50]) {
    const sent = records(bytes, size)
    for (let at = 0; at < sent.length; at++) assert.equal(reading(sent.subarray(0, at)).kind, 'more')
    const result = reading(sent)
    assert.ok(result.kind === 'hello')
    assert.equal(result.hello.serverName, 'www.example.org')
    assert.deepEqual(result.hello.alpn.map(String), ['h2', 'http/1.1'])
    assert.deepEqual(result.hello.supportedVersions, [0x7a7a, 0x0304, 0x0303])
    assert.deepEqual(result.hello.signatureAlgorithms, [0x0403, 0x0804])
    assert.deepEqual(result.hello.extensions, [0, 16, 43, 13, 0x1a1a])
    // What follows in records of its own is not ours to judge: early data, or a change of cipher.
    assert.equal(reading(Buffer.concat([sent, Buffer.from([20, 3, 3, 0, 1, 1])])).kind, 'hello')
  }
})

test('Node’s own client is understood', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const heard = new Promise<Buffer>((resolve) => server.on('connection', (socket) => socket.once('data', resolve)))
  const raw = connectPlain(port, '127.0.0.1')
  const client = connect({ socket: raw, servername: 'node.test', ALPNProtocols: ['h2'] })
  client.on('error', () => undefined)
  const result = reading(await heard)
  client.destroy()
  server.close()
  assert.ok(result.kind === 'hello')
  assert.equal(result.hello.serverName, 'node.test')
  assert.deepEqual(result.hello.alpn.map(String), ['h2'])
  assert.ok(result.hello.supportedVersions.includes(0x0304))
})

const name = (text: string | Buffer, kind = 0): Buffer => Buffer.concat([Buffer.from([kind]), vector(2, Buffer.from(text))])
const malformed: readonly [string, Buffer][] = [
  ['an extension twice', helloBytes({ extensions: [extension(5, Buffer.alloc(1)), extension(5, Buffer.alloc(1))] })],
  ['an empty list of names', helloBytes({ extensions: [extension(0, vector(2, Buffer.alloc(0)))] })],
  ['two host names', helloBytes({ extensions: [extension(0, vector(2, Buffer.concat([name('a'), name('b')])))] })],
  ['an empty host name', helloBytes({ extensions: [extension(0, vector(2, name('')))] })],
  ['a name longer than its list', helloBytes({ extensions: [extension(0, Buffer.from([0, 3, 0, 0, 9]))] })],
  ['bytes after a list', helloBytes({ extensions: [extension(0, Buffer.concat([vector(2, name('a')), Buffer.from([1])]))] })],
  ['an odd list of ciphers', helloBytes({ ciphers: Buffer.from([0x13, 0x01, 0x13]) })],
  ['no ciphers', helloBytes({ ciphers: Buffer.alloc(0) })],
  ['no compression methods', helloBytes({ compressions: Buffer.alloc(0) })],
  ['a session id of 33 bytes', helloBytes({ sessionId: Buffer.alloc(33) })],
  ['an empty protocol name', helloBytes({ extensions: [extension(16, vector(2, vector(1, Buffer.alloc(0))))] })],
  ['odd versions', helloBytes({ extensions: [extension(43, vector(1, Buffer.from([3])))] })],
  ['bytes after the extensions', Buffer.concat([helloBytes({}), Buffer.from([0])])],
]

for (const [what, message] of malformed) {
  test(`refused: ${what}`, () => {
    const result = reading(records(message))
    assert.ok(result.kind === 'refused')
    assert.ok(result.why.length > 0)
  })
}

test('names that no host can have name nobody', () => {
  for (const text of ['a\0b', '-', 'a b', '../etc/passwd', 'ä.example', `${'a'.repeat(254)}`, '.', 'a.']) {
    const result = reading(records(helloBytes({ extensions: [extension(0, vector(2, name(text)))] })))
    assert.ok(result.kind === 'hello', text)
    assert.equal(result.hello.serverName, undefined)
    assert.equal(result.hello.namesServer, true)
  }
})

test('a ClientHello past the bound is refused as soon as it says how long it is, and endless small records when they reach it', () => {
  const long = helloBytes({ extensions: [extension(21, Buffer.alloc(HELLO_BYTES_MAX))] })
  assert.equal(reading(records(long).subarray(0, 9)).kind, 'refused')
  const small = records(Buffer.concat([Buffer.from([1, 0, 0x3f, 0]), Buffer.alloc(0x3f00)]), 1)
  assert.equal(reading(small.subarray(0, HELLO_BYTES_MAX)).kind, 'refused')
  assert.equal(reading(Buffer.from([22, 3, 1, 0, 0])).kind, 'refused')
  assert.equal(reading(Buffer.from([22, 3, 1, 0xff, 0xff])).kind, 'refused')
})

test('property: whatever the bytes, an answer comes back, and more of them never turn a refusal round', () => {
  const base = records(helloBytes({ extensions: [extension(0, vector(2, name('a.example'))), extension(10, Buffer.alloc(4))] }))
  const mutated = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
    const bytes = Buffer.from(base)
    for (const [at, value] of changes) bytes[at] = value
    return bytes
  })
  const garbage = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes))
  const framed = garbage.map((bytes) => records(Buffer.concat([Buffer.from([1, 0, 0, bytes.length & 255]), bytes])))
  fc.assert(
    fc.property(fc.oneof(mutated, garbage, framed), fc.nat(400), (bytes, cut) => {
      const part = reading(bytes.subarray(0, cut))
      const whole = reading(bytes)
      if (part.kind === 'refused') assert.equal(whole.kind, 'refused')
      if (part.kind === 'hello') assert.deepEqual(whole, part)
    }),
    { numRuns: 5_000 },
  )
})
