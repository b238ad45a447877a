import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Inbox } from './inbox.ts'

const limits = { queuedMax: 10, queuedBytesMax: 100, perSecond: 10, bytesPerSecond: 1000, burstSeconds: 2 }
const message = (size: number) => new Uint8Array(size)

test('a peer that floods loses its own messages, and the next peer in turn is heard at once', () => {
  const inbox = new Inbox(['flooder', 'honest'], limits)
  for (let i = 0; i < 1000; i++) inbox.push('flooder', message(1), 5)
  assert.equal(inbox.waiting, 10)
  assert.equal(inbox.push('honest', message(1), 5), true)
  const order = [inbox.take()?.from, inbox.take()?.from]
  assert.deepEqual(order.sort(), ['flooder', 'honest'])
  assert.equal(inbox.takeDropped('flooder'), 990)
  assert.equal(inbox.takeDropped('flooder'), 0)
  assert.equal(inbox.takeDropped('honest'), 0)
})

test('a peer has its budget back after a while, and not more than its burst', () => {
  const inbox = new Inbox(['p'], limits)
  const pushAll = (atMs: number) => {
    let taken = 0
    for (let i = 0; i < 100; i++) {
      if (inbox.push('p', message(1), atMs)) taken += 1
      inbox.take()
    }
    return taken
  }
  assert.equal(pushAll(1000), 20)
  assert.equal(pushAll(1000), 0)
  assert.equal(pushAll(1500), 5)
  assert.equal(pushAll(3_600_000), 20)
})

test('bytes are bounded as messages are, and a stranger has no queue', () => {
  const inbox = new Inbox(['p'], limits)
  assert.equal(inbox.push('p', message(60), 1), true)
  assert.equal(inbox.push('p', message(60), 1), false)
  assert.equal(inbox.push('stranger', message(1), 1), false)
  assert.equal(inbox.waiting, 1)
})
