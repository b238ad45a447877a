/** gRPC through a node: its own client over TLS in front, its own server over HTTP/2 behind. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type * as Grpc from '@grpc/grpc-js'
import { makePair } from '../packages/proxy/src/test-certificates.ts'
import { freePort } from '../tools/free-ports.ts'
import { type Program, startProtect } from './program.ts'

const grpc: typeof Grpc | undefined = await import('@grpc/grpc-js').catch(() => undefined)
const skip = grpc === undefined ? '@grpc/grpc-js is not installed (npm ci); nothing was tested' : false

const raw = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
}
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/echo.Echo/${name}`,
  requestStream,
  responseStream,
  ...raw,
})
const SERVICE = {
  unary: method('Unary', false, false),
  fails: method('Fails', false, false),
  waits: method('Waits', false, false),
  counts: method('Counts', false, true),
  collects: method('Collects', true, false),
  talks: method('Talks', true, true),
}

let folder: string
let node: Program | undefined
let server: Grpc.Server
let client: Grpc.Client
let cancelled = 0

before(async () => {
  if (grpc === undefined) return
  const { Server, ServerCredentials, Metadata, Client, credentials, status } = grpc
  server = new Server({ 'grpc.max_receive_message_length': -1 })
  server.addService(SERVICE, {
    unary: (call: Grpc.ServerUnaryCall<Buffer, Buffer>, done: Grpc.sendUnaryData<Buffer>) => {
      const trailers = new Metadata()
      trailers.set('x-end', 'of the call')
      trailers.set('x-bytes-bin', Buffer.from([0, 255, 10, 13]))
      const head = new Metadata()
      head.set('x-asked-by', String(call.metadata.get('x-who')[0]))
      call.sendMetadata(head)
      done(null, call.request, trailers)
    },
    fails: (_call: Grpc.ServerUnaryCall<Buffer, Buffer>, done: Grpc.sendUnaryData<Buffer>) =>
      done({ code: status.NOT_FOUND, details: 'nichts für dich: 100 %' }),
    waits: (call: Grpc.ServerUnaryCall<Buffer, Buffer>) => {
      call.on('cancelled', () => {
        cancelled += 1
      })
    },
    counts: (call: Grpc.ServerWritableStream<Buffer, Buffer>) => {
      for (let at = 0; at < 1_000; at += 1) call.write(Buffer.from(String(at)))
      call.end()
    },
    collects: (call: Grpc.ServerReadableStream<Buffer, Buffer>, done: Grpc.sendUnaryData<Buffer>) => {
      let bytes = 0
      call.on('data', (part: Buffer) => {
        bytes += part.length
      })
      call.on('end', () => done(null, Buffer.from(String(bytes))))
    },
    talks: (call: Grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (part: Buffer) => call.write(Buffer.concat([Buffer.from('re: '), part])))
      call.on('end', () => call.end())
    },
  })
  const upstream = await new Promise<number>((settle, refuse) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? settle(port) : refuse(error),
    ),
  )
  folder = mkdtempSync(join(tmpdir(), 'ringwall-grpc-'))
  const pair = await makePair(['localhost'])
  const [certificate, key, policy] = [join(folder, 'a.pem'), join(folder, 'a.key'), join(folder, 'policy.yaml')]
  writeFileSync(certificate, pair.certificate)
  writeFileSync(key, pair.key, { mode: 0o600 })
  const url = `http://127.0.0.1:${upstream}`
  const upstreams = [{ url, http2: true }]
  const routes = [{ name: 'closed', path: '/echo.Closed', deny: true }]
  // Calls that talk both ways do not end before they are answered: there is nothing to inspect as a whole.
  writeFileSync(policy, JSON.stringify({ version: 1, services: { app: { upstreams, waf: { mode: 'off' }, routes } } }))
  const port = await freePort()
  node = await startProtect(url, port, join(folder, 'ring'), '--tls-cert', certificate, '--tls-key', key, '--config', policy)
  client = new Client(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(pair.certificate)), {
    'grpc.ssl_target_name_override': 'localhost',
    'grpc.max_receive_message_length': -1,
  })
})

after(async () => {
  if (grpc === undefined) return
  client?.close()
  await node?.end()
  server?.forceShutdown()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

interface Outcome {
  readonly error: Grpc.ServiceError | null
  readonly value: Buffer | undefined
  readonly head: Grpc.Metadata | undefined
  readonly status: Grpc.StatusObject | undefined
}

function unary(
  name: 'unary' | 'fails',
  body: Buffer,
  metadata = new grpc!.Metadata(),
  path = SERVICE[name].path,
): Promise<Outcome> {
  return new Promise((settle) => {
    let head: Grpc.Metadata | undefined
    let [error, value]: [Grpc.ServiceError | null, Buffer | undefined] = [null, undefined]
    const call = client.makeUnaryRequest(path, raw.requestSerialize, raw.responseDeserialize, body, metadata, (failed, got) => {
      ;[error, value] = [failed, got]
    })
    call.on('metadata', (got) => {
      head = got
    })
    call.on('status', (status) => setImmediate(() => settle({ error, value, head, status })))
  })
}

const STREAM = [raw.requestSerialize, raw.responseDeserialize] as const

test('a call with metadata, an answer with metadata at its begin and its end', { skip }, async () => {
  const metadata = new grpc!.Metadata()
  metadata.set('x-who', 'somebody')
  const { value, head, status, error } = await unary('unary', Buffer.from('hello'), metadata)
  assert.equal(error, null)
  assert.equal(String(value), 'hello')
  assert.deepEqual(head?.get('x-asked-by'), ['somebody'])
  assert.deepEqual(status?.metadata.get('x-end'), ['of the call'])
  assert.deepEqual(status?.metadata.get('x-bytes-bin'), [Buffer.from([0, 255, 10, 13])])
})

test('a status that is no success arrives with its words; a method that is not there, too', { skip }, async () => {
  const { error } = await unary('fails', Buffer.alloc(0))
  assert.equal(error?.code, grpc!.status.NOT_FOUND)
  assert.equal(error?.details, 'nichts für dich: 100 %')
  const missing = await unary('unary', Buffer.alloc(0), new grpc!.Metadata(), '/echo.Echo/Missing')
  assert.equal(missing.error?.code, grpc!.status.UNIMPLEMENTED)
})

test('what the policy refuses is permission denied, and never reaches the server', { skip }, async () => {
  const { error } = await unary('unary', Buffer.alloc(0), new grpc!.Metadata(), '/echo.Closed/Unary')
  assert.equal(error?.code, grpc!.status.PERMISSION_DENIED)
})

test('messages of some megabytes, both ways, and a hundred calls at once', { skip }, async () => {
  const big = Buffer.alloc(3_000_000, 'x')
  assert.ok((await unary('unary', big)).value?.equals(big))
  const all = await Promise.all(Array.from({ length: 100 }, (_, at) => unary('unary', Buffer.from(String(at)))))
  assert.deepEqual(
    all.map(({ value }) => String(value)),
    Array.from({ length: 100 }, (_, at) => String(at)),
  )
})

test('a stream of answers, and a stream of requests', { skip }, async () => {
  const call = client.makeServerStreamRequest(SERVICE.counts.path, ...STREAM, Buffer.alloc(0))
  const got: string[] = []
  for await (const part of call) got.push(String(part))
  assert.deepEqual(
    got,
    Array.from({ length: 1_000 }, (_, at) => String(at)),
  )
  const answer = await new Promise<string>((settle, refuse) => {
    const upload = client.makeClientStreamRequest(SERVICE.collects.path, ...STREAM, (error, value) =>
      error === null ? settle(String(value)) : refuse(error),
    )
    for (let at = 0; at < 300; at += 1) upload.write(Buffer.alloc(10_000))
    upload.end()
  })
  assert.equal(answer, '3000000')
})

test('a conversation: each answer comes before the next is asked', { skip }, async () => {
  const call = client.makeBidiStreamRequest(SERVICE.talks.path, ...STREAM)
  const answers = call[Symbol.asyncIterator]()
  for (let at = 0; at < 50; at += 1) {
    call.write(Buffer.from(`question ${at}`))
    assert.equal(String((await answers.next()).value), `re: question ${at}`)
  }
  call.end()
  assert.equal((await answers.next()).done, true)
})

test('a call that its client gives up ends at the server', { skip }, async () => {
  const call = client.makeUnaryRequest(SERVICE.waits.path, ...STREAM, Buffer.alloc(0), () => {})
  const ended = once(call, 'status')
  setTimeout(() => call.cancel(), 200)
  await ended
  for (let waits = 0; cancelled === 0 && waits < 200; waits += 1) await new Promise((wake) => setTimeout(wake, 20))
  assert.equal(cancelled, 1)
})

test('a server that is gone is unavailable, and the node serves on', { skip }, async () => {
  const open = client.makeBidiStreamRequest(SERVICE.talks.path, ...STREAM)
  open.on('error', () => {})
  const status = new Promise<Grpc.StatusObject>((settle) => open.on('status', settle))
  open.write(Buffer.from('a'))
  await once(open, 'data')
  server.forceShutdown()
  const { code } = await status
  assert.notEqual(code, grpc!.status.OK)
  const { error } = await unary('unary', Buffer.from('x'))
  assert.equal(error?.code, grpc!.status.UNAVAILABLE)
})
