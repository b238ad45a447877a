import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LedgerError } from './errors.ts'
import { Serving } from './serving.ts'

function served() {
  let nowMs = 0
  const slept: number[] = []
  const serving = new Serving(
    { perSecond: 100, burst: 200 },
    () => nowMs,
    async (ms) => {
      slept.push(ms)
      nowMs += ms
    },
  )
  const ask = (peer: string, cost: number) => serving.inTurn(peer, async () => ({ answer: new Uint8Array([cost]), cost }))
  return { ask, slept, pass: (ms: number) => void (nowMs += ms) }
}

test('a peer gets its burst at once, then waits as its budget grows, and time gives it back', async () => {
  const { ask, slept, pass } = served()
  for (let i = 0; i < 5; i += 1) await ask('a', 50)
  assert.deepEqual(slept, [])
  await ask('a', 50)
  assert.deepEqual(slept, [500])
  pass(10_000)
  for (let i = 0; i < 5; i += 1) await ask('a', 50)
  assert.deepEqual(slept, [500])
})

test('one peer’s requests cost another nothing', async () => {
  const { ask, slept } = served()
  for (let i = 0; i < 20; i += 1) await ask('a', 100)
  const before = slept.length
  await ask('b', 100)
  assert.equal(slept.length, before)
})

test('answers come one at a time and in order; requests beyond a few are refused, and later ones are served', async () => {
  const serving = new Serving({ perSecond: 100, burst: 100 })
  let atOnce = 0
  let most = 0
  const serve = async () => {
    atOnce += 1
    most = Math.max(most, atOnce)
    await new Promise((wake) => setImmediate(wake))
    atOnce -= 1
    return { answer: new Uint8Array(0), cost: 1 }
  }
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => serving.inTurn('a', serve)))
  assert.equal(all.filter(({ status }) => status === 'fulfilled').length, 12)
  const refused = all.find((one) => one.status === 'rejected')
  assert.ok(refused?.reason instanceof LedgerError)
  assert.equal(most, 1)
  await serving.inTurn('a', serve)
})

test('an answer that fails is told, and the next one is served', async () => {
  const { ask } = served()
  const serving = new Serving({ perSecond: 100, burst: 100 })
  await assert.rejects(
    serving.inTurn('a', () => Promise.reject(new Error('the disk'))),
    /the disk/,
  )
  assert.deepEqual(await serving.inTurn('a', async () => ({ answer: new Uint8Array([7]), cost: 1 })), new Uint8Array([7]))
  assert.deepEqual(await ask('a', 1), new Uint8Array([1]))
})
