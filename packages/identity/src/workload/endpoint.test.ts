import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2'
import { connect as connectSocket, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { type CallAnswer, EndpointRefused, type WorkloadCall, WorkloadEndpoint } from './endpoint.ts'
import { framed, GRPC_STATUS } from './grpc.ts'
import { peerCredentialsLack } from './peer-credentials.ts'
import type { Program } from './program.ts'

const skip = peerCredentialsLack() ?? false

interface Begun {
  readonly call: WorkloadCall
  readonly program: Program
  readonly answer: CallAnswer
  isDone: boolean
}

interface Scene {
  readonly socket: string
  readonly endpoint: WorkloadEndpoint
  readonly begun: Begun[]
  readonly said: string[]
}

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-workload-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function scene(t: TestContext, onBegin: (begun: Begun) => void = () => {}, requestMsMax = 10_000): Promise<Scene> {
  const socket = join(temporary(t), 'api.sock')
  const begun: Begun[] = []
  const said: string[] = []
  const endpoint = new WorkloadEndpoint({
    socket,
    log: (line) => said.push(line),
    requestMsMax,
    service: {
      begin: (call, program, answer) => {
        const one: Begun = { call, program, answer, isDone: false }
        begun.push(one)
        onBegin(one)
        return () => {
          one.isDone = true
        }
      },
      beginSecrets: () => ({ ask: () => {}, end: () => {} }),
    },
  })
  await endpoint.start()
  t.after(() => endpoint.stop())
  return { socket, endpoint, begun, said }
}

function client(t: TestContext, socket: string): ClientHttp2Session {
  const session = connect('http://localhost', { createConnection: () => connectSocket(socket) })
  session.on('error', () => {})
  t.after(() => session.destroy())
  return session
}

const HEADERS = {
  ':method': 'POST',
  ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
  'content-type': 'application/grpc',
  te: 'trailers',
  'workload.spiffe.io': 'true',
}

interface Answered {
  readonly status: string | undefined
  readonly words: string | undefined
  readonly body: Buffer
}

async function answered(stream: ClientHttp2Stream): Promise<Answered> {
  let end: Record<string, unknown> = {}
  const chunks: Buffer[] = []
  const take = (headers: Record<string, unknown>): void => {
    if (headers['grpc-status'] !== undefined) end = headers
  }
  stream.on('response', take)
  stream.on('trailers', take)
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('error', () => {})
  await once(stream, 'close')
  const text = (value: unknown): string | undefined => (value === undefined ? undefined : String(value))
  return { status: text(end['grpc-status']), words: text(end['grpc-message']), body: Buffer.concat(chunks) }
}

function call(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders = {},
  body: Uint8Array = framed(new Uint8Array(0)),
): Promise<Answered> {
  const stream = session.request({ ...HEADERS, ...headers })
  stream.end(body)
  return answered(stream)
}

const UNKNOWN = String(GRPC_STATUS.UNIMPLEMENTED)
const INVALID = String(GRPC_STATUS.INVALID_ARGUMENT)

test('a call is answered with messages and an end, and the program that asks is this very process', { skip }, async (t) => {
  const { socket, begun } = await scene(t, ({ answer }) => {
    answer.send(Buffer.from('first'))
    answer.end(GRPC_STATUS.PERMISSION_DENIED, 'über: 100 %')
  })
  const { status, words, body } = await call(client(t, socket))
  assert.deepEqual([status, words], ['7', '%C3%BCber: 100 %25'])
  assert.deepEqual(body, Buffer.from(framed(Buffer.from('first'))))
  const [{ program, call: asked, isDone }] = begun as [Begun]
  assert.deepEqual([asked, isDone], ['svids', true])
  const { uid, gid, path, sha256 } = await program.facts(false)
  assert.deepEqual([program.peer.pid, uid, gid, sha256], [process.pid, process.geteuid?.(), process.getegid?.(), undefined])
  assert.equal(path, process.execPath)
  assert.match((await program.facts(true)).sha256 ?? '', /^[0-9a-f]{64}$/)
})

test('without the security header, or with another value, nothing is answered but that it is missing', { skip }, async (t) => {
  const { socket, begun } = await scene(t)
  const session = client(t, socket)
  for (const value of ['', 'false', 'True', 'true, true', 'true;'])
    assert.equal((await call(session, { 'workload.spiffe.io': value })).status, INVALID, value)
  const { 'workload.spiffe.io': _left, ...without } = HEADERS
  const stream = session.request(without)
  stream.end(framed(new Uint8Array(0)))
  const { status, words } = await answered(stream)
  assert.equal(status, INVALID)
  assert.match(words ?? '', /workload\.spiffe\.io/)
  assert.equal(begun.length, 0)
})

test('calls of the JWT profile and calls that are not there are not implemented, in words', { skip }, async (t) => {
  const { socket, begun } = await scene(t)
  const session = client(t, socket)
  for (const name of ['FetchJWTSVID', 'FetchJWTBundles', 'ValidateJWTSVID']) {
    const { status, words } = await call(session, { ':path': `/SpiffeWorkloadAPI/${name}` })
    assert.equal(status, UNKNOWN)
    assert.match(words ?? '', /JWT-SVIDs are not issued/)
  }
  for (const path of ['/', '/SpiffeWorkloadAPI/', '/spiffeworkloadapi/FetchX509SVID', '/SpiffeWorkloadAPI/FetchX509SVID/x'])
    assert.equal((await call(session, { ':path': path })).status, UNKNOWN, path)
  assert.equal((await call(session, { 'content-type': 'text/plain' })).status, INVALID)
  assert.equal((await call(session, { ':method': 'PUT' })).status, INVALID)
  assert.equal(begun.length, 0)
})

test('a request that is no message, compressed, too large, double or cut off is refused, however it is cut', {
  skip,
}, async (t) => {
  const { socket, begun } = await scene(t)
  const session = client(t, socket)
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ['nothing', new Uint8Array(0), INVALID],
    ['a part of the length', Buffer.from([0, 0, 0]), INVALID],
    ['a part of the message', Buffer.from([0, 0, 0, 0, 2, 8]), INVALID],
    ['compressed', Buffer.from([1, 0, 0, 0, 0]), UNKNOWN],
    ['another flag', Buffer.from([2, 0, 0, 0, 0]), INVALID],
    ['too large', Buffer.from([0, 0, 0, 0x10, 1]), String(GRPC_STATUS.RESOURCE_EXHAUSTED)],
    ['far too large', Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), String(GRPC_STATUS.RESOURCE_EXHAUSTED)],
    ['two', Buffer.concat([framed(new Uint8Array(0)), framed(new Uint8Array(0))]), INVALID],
    ['no message', framed(Buffer.from([0xff])), INVALID],
  ]
  for (const [what, bytes, expected] of cases) {
    assert.equal((await call(session, {}, bytes)).status, expected, what)
    const stream = session.request(HEADERS)
    const end = answered(stream)
    for (const byte of bytes) stream.write(Uint8Array.of(byte))
    stream.end()
    assert.equal((await end).status, expected, `${what}, byte by byte`)
  }
  assert.equal(begun.length, 0)
})

test('a program that reads nothing is sent the newest, and nothing piles up for it', { skip }, async (t) => {
  const { socket, begun } = await scene(t)
  const session = client(t, socket)
  const stream = session.request(HEADERS)
  stream.end(framed(new Uint8Array(0)))
  stream.pause()
  while (begun.length === 0) await new Promise((wake) => setTimeout(wake, 5))
  const { answer } = begun[0] as Begun
  for (let i = 1; i <= 1_000; i += 1) answer.send(Buffer.alloc(100_000, i % 251))
  const end = answered(stream)
  answer.send(Buffer.from('newest'))
  stream.resume()
  setTimeout(() => answer.end(GRPC_STATUS.UNAVAILABLE, 'over'), 300)
  const { body, status } = await end
  assert.equal(status, '14')
  assert.ok(body.length < 1_000_000, `${body.length} bytes`)
  assert.ok(body.subarray(-6).equals(Buffer.from('newest')))
})

test('calls above the bound of a connection are refused, those that end make room, and a connection that closes ends its calls', {
  skip,
}, async (t) => {
  const { socket, begun, endpoint } = await scene(t, ({ answer }) => answer.send(new Uint8Array(0)))
  const session = client(t, socket)
  await once(session, 'remoteSettings')
  const streams = Array.from({ length: 16 }, () => session.request(HEADERS))
  for (const stream of streams) {
    stream.on('error', () => {})
    stream.end(framed(new Uint8Array(0)))
  }
  while (begun.length < 16) await new Promise((wake) => setTimeout(wake, 5))
  assert.equal(session.remoteSettings.maxConcurrentStreams, 16)
  session.destroy()
  while (begun.some(({ isDone }) => !isDone)) await new Promise((wake) => setTimeout(wake, 5))
  while (endpoint.connections > 0) await new Promise((wake) => setTimeout(wake, 5))
})

test('a request that never ends is not waited for, nor one that goes on after its answer', { skip }, async (t) => {
  const { socket, begun } = await scene(t, () => {}, 50)
  const session = client(t, socket)
  const silent = session.request(HEADERS)
  assert.equal((await answered(silent)).status, INVALID)
  const endless = session.request({ ...HEADERS, ':path': '/none' })
  const pump = setInterval(() => endless.write(Buffer.alloc(10_000)), 5)
  t.after(() => clearInterval(pump))
  assert.equal((await answered(endless)).status, UNKNOWN)
  assert.equal(begun.length, 0)
})

test('one user has so many connections and no more, and those that close make room', { skip }, async (t) => {
  const { socket, endpoint, said } = await scene(t)
  const sessions = Array.from({ length: 70 }, () => client(t, socket))
  const closed = new Set<number>()
  for (const [i, session] of sessions.entries()) session.on('close', () => closed.add(i))
  while (endpoint.connections < 64 || closed.size < 6) await new Promise((wake) => setTimeout(wake, 10))
  assert.deepEqual([endpoint.connections, closed.size], [64, 6])
  assert.deepEqual(
    said.filter((line) => line.includes('64 connections already')).length,
    1,
    'told once, however often it is tried',
  )
  for (const session of sessions) session.destroy()
  while (endpoint.connections > 0) await new Promise((wake) => setTimeout(wake, 5))
  const session = client(t, socket)
  await once(session, 'remoteSettings')
})

test('calls that are made and given up at once, by the thousand, leave nothing behind', { skip }, async (t) => {
  const { socket, endpoint, begun } = await scene(t, ({ answer }) => answer.send(Buffer.alloc(1_000)))
  const session = client(t, socket)
  await once(session, 'remoteSettings')
  for (let i = 0; i < 3_000 && !session.destroyed; i += 1) {
    const stream = session.request(HEADERS)
    stream.on('error', () => {})
    stream.end(framed(new Uint8Array(0)))
    stream.close(8)
    if (i % 100 === 0) await new Promise((wake) => setImmediate(wake))
  }
  session.destroy()
  while (endpoint.connections > 0 || begun.some(({ isDone }) => !isDone)) await new Promise((wake) => setTimeout(wake, 5))
  const { status } = await call(client(t, socket), { ':path': '/none' })
  assert.equal(status, UNKNOWN, 'others are served')
})

test('bytes that are no HTTP/2 end their own connection and no other', { skip }, async (t) => {
  const { socket, begun } = await scene(t, ({ answer }) => answer.end(GRPC_STATUS.UNAVAILABLE, 'later'))
  for (const bytes of [
    'GET / HTTP/1.1\r\n\r\n',
    '\0'.repeat(1_000),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff',
  ]) {
    const raw = connectSocket(socket)
    raw.on('error', () => {})
    raw.write(Buffer.from(bytes, 'latin1'))
    raw.resume()
    await once(raw, 'close')
  }
  assert.equal((await call(client(t, socket))).status, '14')
  assert.equal(begun.length, 1)
})

test('property: whatever frames come after the preface, the endpoint serves on and holds nothing of them', {
  skip,
}, async (t) => {
  const { socket, endpoint, begun } = await scene(t, ({ answer }) => answer.send(Buffer.alloc(100)))
  const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])])
  const frame = fc
    .tuple(
      fc.integer({ min: 0, max: 11 }),
      fc.nat(255),
      fc.constantFrom(0, 1, 2, 3, 0x7f_ff_ff_ff),
      fc.uint8Array({ maxLength: 200 }),
    )
    .map(([type, flags, stream, payload]) => {
      const head = Buffer.alloc(9)
      head.writeUIntBE(payload.length, 0, 3)
      head[3] = type
      head[4] = flags
      head.writeUInt32BE(stream, 5)
      return Buffer.concat([head, payload])
    })
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 20 }), async (frames) => {
      const raw = connectSocket(socket)
      raw.on('error', () => {})
      raw.resume()
      raw.end(Buffer.concat([preface, ...frames]))
      await once(raw, 'close')
    }),
    { numRuns: 40 },
  )
  while (endpoint.connections > 0) await new Promise((wake) => setTimeout(wake, 5))
  assert.ok(begun.every(({ isDone }) => isDone))
  assert.equal((await call(client(t, socket), { ':path': '/none' })).status, UNKNOWN)
})

test('the program is the one that connected: another user’s is known by its user, and one that becomes another is not it any more', {
  skip: skip || process.geteuid?.() !== 0 ? 'needs root, and a kernel that can be asked' : false,
}, async (t) => {
  const { socket, begun } = await scene(t, ({ answer }) => answer.send(new Uint8Array(0)))
  chmodSync(join(socket, '..'), 0o755)
  const script = `
    const session = require('node:http2').connect('http://localhost', { createConnection: () => require('node:net').connect(${JSON.stringify(socket)}) })
    session.on('error', () => {})
    const stream = session.request(${JSON.stringify(HEADERS)})
    stream.on('error', () => {})
    stream.end(Buffer.alloc(5))
    process.on('SIGUSR2', () => process.execve('/bin/sleep', ['sleep', '60'], {}))
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['-e', script], { uid: 65_534, gid: 65_533, stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  while (begun.length === 0) await new Promise((wake) => setTimeout(wake, 10))
  const { program } = begun[0] as Begun
  const facts = await program.facts(false)
  assert.deepEqual([program.peer.pid, facts.uid, facts.gid, facts.path], [child.pid, 65_534, 65_533, process.execPath])
  assert.equal(await program.isThere(), true)
  child.kill('SIGUSR2')
  while (readlinkSync(`/proc/${child.pid}/exe`) === process.execPath) await new Promise((wake) => setTimeout(wake, 5))
  assert.equal(await program.isThere(), false, 'the same process, with another program')
  assert.equal((await program.facts(true)).sha256, undefined, 'whose hash is not that of the one that connected')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.equal(await program.isThere(), false)
})

test('the socket is taken over from a process that died, and from nobody else', { skip }, async (t) => {
  const folder = temporary(t)
  const socket = join(folder, 'api.sock')
  const begin = async (path = socket): Promise<WorkloadEndpoint> => {
    const endpoint = new WorkloadEndpoint({
      socket: path,
      log: () => {},
      service: { begin: () => () => {}, beginSecrets: () => ({ ask: () => {}, end: () => {} }) },
    })
    await endpoint.start()
    return endpoint
  }
  const first = await begin()
  assert.equal(statSync(socket).mode & 0o777, 0o666)
  await assert.rejects(
    begin(),
    (error: Error) => error instanceof EndpointRefused && /another process serves it/.test(error.message),
  )
  await first.stop()
  assert.equal(existsSync(socket), false)
  // What a killed process leaves behind.
  const left = spawn(process.execPath, [
    '-e',
    `require('node:net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ])
  await once(left, 'exit')
  assert.equal(existsSync(socket), true)
  await (await begin()).stop()
  writeFileSync(socket, 'a file')
  await assert.rejects(begin(), /is no socket/)
  await assert.rejects(begin(join(folder, 'none', 'api.sock')), /is not there/)
  await assert.rejects(begin(`/tmp/${'x'.repeat(108)}`), /bytes long/)
  const open = join(folder, 'open')
  mkdirSync(open)
  chmodSync(open, 0o777)
  await assert.rejects(begin(join(open, 'api.sock')), /everybody can write to it/)
  const other = createServer().listen(join(folder, 'other.sock'))
  await once(other, 'listening')
  t.after(() => other.close())
  await assert.rejects(begin(join(folder, 'other.sock')), /another process serves it/)
})
