import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { askAsGuest, REQUEST_BYTES_MAX, serveGuest } from './guest-channel.ts'

/** Two ends of a connection in one process. */
function pair(): readonly [TLSSocket, TLSSocket] {
  const ends: Duplex[] = []
  const end = (other: () => Duplex): Duplex =>
    new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        other().push(chunk)
        done()
      },
      final(done) {
        other().push(null)
        done()
      },
    })
  ends.push(
    end(() => ends[1] as Duplex),
    end(() => ends[0] as Duplex),
  )
  for (const one of ends) Object.assign(one, { setTimeout: () => one })
  return ends as unknown as readonly [TLSSocket, TLSSocket]
}

test('a request is answered, one after another, in pieces or whole', async () => {
  const [guest, node] = pair()
  serveGuest(node, async (request) => ({ ok: { heard: request.ask } }))
  assert.deepEqual(await askAsGuest(guest, { ask: 'welcome' }, 1_000), { ok: { heard: 'welcome' } })
  assert.deepEqual(await askAsGuest(guest, { ask: 'join' }, 1_000), { ok: { heard: 'join' } })
  node.destroy()
})

test('who says too much, or does not wait for answers, is cut off', async () => {
  for (const said of ['x'.repeat(REQUEST_BYTES_MAX + 1), '{}\n{}\n']) {
    const [guest, node] = pair()
    let asked = 0
    serveGuest(node, async () => {
      asked += 1
      return { ok: {} }
    })
    const gone = new Promise((settle) => node.once('close', settle))
    guest.write(said)
    await gone
    assert.equal(asked, 0)
  }
})

test('what is no JSON object, and what fails inside, is told in a code; the connection ends', async () => {
  const [guest, node] = pair()
  serveGuest(node, async () => {
    throw new Error('a secret')
  })
  const answer = await askAsGuest(guest, { ask: 'welcome' }, 1_000)
  assert.deepEqual(answer, { error: { code: 'INTERNAL', reason: 'the node failed to answer' } })
  const [other, second] = pair()
  serveGuest(second, async () => ({ ok: {} }))
  const said = new Promise<string>((settle) => other.once('data', (chunk: Buffer) => settle(String(chunk))))
  other.write('[]\n')
  assert.match(await said, /GUEST_MESSAGE/)
})

test('a guest believes no answer that is neither yes nor no', async () => {
  const [guest, node] = pair()
  node.on('data', () => node.write('{"error":{"code":"<script>","reason":1}}\n'))
  await assert.rejects(askAsGuest(guest, { ask: 'welcome' }, 1_000), /neither yes nor no/)
  node.destroy()
})
