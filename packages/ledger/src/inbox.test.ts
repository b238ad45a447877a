import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Inbox } from './inbox.ts'

const limits = { queuedMax: 10, queuedBytesMax: 100, perSecond: 10, bytesPerSecond: 1000, burstSeconds: 2 }
function inboxOf(...peers: readonly string[]): Inbox {
  const inbox = new Inbox(limits)
  for (const peer of peers) inbox.add(peer)
  return inbox
}
const message = (size: number) => new Uint8Array(size)

test('a peer that floods loses its own messages, and the next peer in turn is heard at once', () => {
  const inbox = inboxOf('flooder', 'honest')
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
  const inbox = inboxOf('p')
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
  const inbox = inboxOf('p')
  assert.equal(inbox.push('p', message(60), 1), true)
  assert.equal(inbox.push('p', message(60), 1), false)
  assert.equal(inbox.push('stranger', message(1), 1), false)
  assert.equal(inbox.waiting, 1)
})

test('who leaves takes its messages along, and comes back with an empty queue', () => {
  const inbox = inboxOf('p', 'q')
  inbox.push('p', message(1), 1)
  inbox.push('q', message(2), 1)
  inbox.remove('p')
  assert.equal(inbox.push('p', message(1), 1), false)
  inbox.add('p')
  assert.equal(inbox.waiting, 1)
  assert.equal(inbox.take()?.from, 'q')
  assert.equal(inbox.take(), undefined)
})

test('property: what one peer sends comes out in order, once, however sending and taking alternate', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (pushes) => {
      const inbox = new Inbox({ ...limits, queuedMax: 40, perSecond: 1000 })
      inbox.add('p')
      let [sent, taken] = [0, 0]
      for (const isPush of pushes) {
        if (isPush) {
          const fits = sent - taken < 40
          assert.equal(inbox.push('p', Uint8Array.of(sent & 255), 1), fits)
          if (fits) sent += 1
        } else {
          const next = inbox.take()?.message
          assert.deepEqual(next, taken === sent ? undefined : Uint8Array.of(taken & 255))
          if (next !== undefined) taken += 1
        }
        assert.equal(inbox.waiting, sent - taken)
      }
    }),
  )
})
