import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { encodeFrame, type Frame, type FrameKind, FrameParser } from './frames.ts'
import { Link } from './link.ts'

const frame = (kind: FrameKind, id = 1): Frame => ({ kind, channel: 'sync', id, payload: new Uint8Array(8) })

/** A link, and what its socket is given, one list of frames a write. */
function linked(onFrame: (link: Link, frame: Frame) => void) {
  const writes: string[][] = []
  const given = (bytes: Buffer): number => writes.push(new FrameParser().push(bytes).map(({ kind }) => kind))
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      given(chunk)
      done()
    },
    writev(chunks, done) {
      given(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)))
      done()
    },
  })
  const link: Link = new Link('n2', socket as TLSSocket, new FrameParser(), Date.now, {
    onFrame: (one) => onFrame(link, one),
    onClose: () => {},
  })
  const hear = (...frames: Frame[]): Promise<void> => {
    socket.push(Buffer.concat(frames.map(encodeFrame)))
    return turn()
  }
  return { link, writes, hear }
}

const turn = (): Promise<void> => new Promise((settle) => setImmediate(() => setImmediate(settle)))

test('signs of life leave with what is sent in the same turn, also with an answer that some promises come before', async (t) => {
  let nowMs = 10_000
  t.mock.method(performance, 'now', () => nowMs)
  const { link, writes, hear } = linked(async (own, { kind, id }) => {
    if (kind !== 'request') return
    for (let hop = 0; hop < 5; hop += 1) await undefined
    own.send(frame('answer', id))
  })
  await turn()
  assert.deepEqual(writes.splice(0), [['ping']], 'at once, for the clock')
  await hear(frame('ping'), frame('request'))
  assert.deepEqual(writes.splice(0), [['pong', 'answer']])
  nowMs += 1_000
  link.send(frame('message'))
  link.send(frame('message'))
  await turn()
  assert.deepEqual(writes.splice(0), [['message', 'ping', 'message']])
  await hear(frame('ping', 2))
  assert.deepEqual(writes.splice(0), [['pong']], 'with nothing to go with, alone')
})

test('a link that sent a ping with something lately needs none of its own; one that only hears does', async (t) => {
  let nowMs = 10_000
  t.mock.method(performance, 'now', () => nowMs)
  const { link, writes, hear } = linked(() => {})
  await turn()
  writes.splice(0)
  nowMs += 800
  link.send(frame('message'))
  nowMs += 200
  link.beat()
  await turn()
  assert.deepEqual(writes.splice(0), [['message', 'ping']])
  nowMs += 1_000
  link.beat()
  await hear(frame('message'))
  assert.deepEqual(writes.splice(0), [['ping']])
  nowMs += 5_001
  link.beat()
  await turn()
  assert.deepEqual(writes, [], 'a peer that nothing was heard of for 5 s is let go')
})
