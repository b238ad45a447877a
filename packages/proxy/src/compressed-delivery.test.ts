import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { CompressedDelivery, type DeliveryOwner } from './compressed-delivery.ts'
import { Compressor, SMALL_BYTES_MAX } from './compression.ts'
import { type Counters, NO_STATS } from './context.ts'
import type { ResponseHead } from './response-parser.ts'

const headOf = (bodyBytes: number | undefined, type = 'text/plain'): ResponseHead => ({
  status: 200,
  statusText: 'OK',
  rawHeaders: ['content-type', type, ...(bodyBytes === undefined ? [] : ['content-length', String(bodyBytes)])],
  keepAlive: true,
  keepAliveS: undefined,
  bodyBytes,
  contentLength: bodyBytes === undefined ? undefined : String(bodyBytes),
  upgrade: false,
})

/** @param room Whether the client takes more: asked after each write. */
function delivery(head: ResponseHead, room: () => boolean = () => true) {
  const counters: Counters = { ...NO_STATS }
  const ended = Promise.withResolvers<readonly string[]>()
  const seen = { heads: [] as ResponseHead[], parts: [] as Buffer[], heldUp: 0 }
  const owner: DeliveryOwner = {
    beginResponse: (begun) => void seen.heads.push(begun),
    send: (bytes) => void seen.parts.push(Buffer.from(bytes)),
    flush: room,
    endResponse: (trailers) => ended.resolve(trailers),
    holdUp: () => void (seen.heldUp += 1),
    letOn: () => {},
    onCompressionFailure: (message) => ended.reject(new Error(message)),
  }
  const made = new CompressedDelivery(owner, new Compressor(counters), counters, head, [], { coding: 'gzip' })
  made.start()
  return { made, seen, counters, ended: ended.promise, sent: () => Buffer.concat(seen.parts) }
}

const field = ({ rawHeaders }: ResponseHead, name: string): string | undefined => rawHeaders[rawHeaders.indexOf(name) + 1]

test('a small answer is compressed in one go, and its head says how long it has become', async () => {
  const body = Buffer.alloc(4_000, 'small ')
  const { made, seen, ended, sent } = delivery(headOf(body.length))
  made.write(body.subarray(0, 1_000))
  made.write(body.subarray(1_000))
  assert.equal(seen.heads.length, 0, 'the head waits for the body')
  made.end([])
  assert.deepEqual(await ended, [])
  assert.deepEqual(gunzipSync(sent()), body)
  assert.equal(field(seen.heads[0]!, 'content-encoding'), 'gzip')
  assert.deepEqual([seen.heads[0]!.bodyBytes, seen.parts.length, made.isStreamed], [sent().length, 1, false])
})

test('with trailers a small answer has no length: they need chunks before them', async () => {
  const { made, seen, ended } = delivery(headOf(undefined))
  made.write(Buffer.alloc(4_000, 'small '))
  made.end(['x-sum', '1'])
  assert.deepEqual(await ended, ['x-sum', '1'])
  assert.equal(seen.heads[0]!.bodyBytes, undefined)
})

test('what compressing makes no shorter goes out as it is, and says what it depends on', async () => {
  const { made, seen, ended, sent } = delivery(headOf(3))
  made.write(Buffer.from('abc'))
  made.end([])
  await ended
  assert.equal(sent().toString(), 'abc')
  assert.deepEqual(
    [field(seen.heads[0]!, 'vary'), seen.heads[0]!.rawHeaders.includes('content-encoding')],
    ['accept-encoding', false],
  )
})

test('one of unknown length that grows past the bound streams, what was held first; while it is quiet it streams, too', async () => {
  const body = Buffer.alloc(SMALL_BYTES_MAX + 10, 'large ')
  const { made, seen, ended, sent, counters } = delivery(headOf(undefined))
  made.write(body.subarray(0, 100))
  made.write(body.subarray(100))
  assert.deepEqual([made.isStreamed, seen.heads.length], [true, 1])
  made.end(['x-sum', '2'])
  assert.deepEqual(await ended, ['x-sum', '2'])
  assert.deepEqual(gunzipSync(sent()), body)
  assert.deepEqual([counters.compressedBytesIn, counters.compressedBytesOut], [body.length, sent().length])

  const slow = delivery(headOf(undefined))
  slow.made.write(Buffer.from('first line\n'))
  slow.made.quiet()
  assert.equal(slow.made.isStreamed, true)
  slow.made.end([])
  await slow.ended
  assert.equal(gunzipSync(slow.sent()).toString(), 'first line\n')
})

test('a client that reads nothing stops the encoder; it goes on from there when there is room', async () => {
  let room = false
  const body = Buffer.alloc(300_000)
  for (let at = 0; at < body.length; at += 1) body[at] = Math.imul(at, 2_654_435_761) >>> 24
  const { made, seen, ended, sent } = delivery(headOf(body.length), () => room)
  for (let at = 0; at < body.length; at += 30_000) made.write(body.subarray(at, at + 30_000))
  made.end([])
  await new Promise((settle) => setTimeout(settle, 50))
  assert.ok(seen.parts.length <= 1, `${seen.parts.length} parts were sent to somebody who takes none`)
  assert.ok(seen.heldUp > 0, 'the upstream is to wait')
  room = true
  made.resume()
  await ended
  assert.deepEqual(gunzipSync(sent()), body)
})
