import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RemoteLimits } from './remote-limits.ts'
import type { Take } from './worker-messages.ts'

const BUDGET = { count: 2, windowMs: 60_000, burst: 2 }
const turn = (): Promise<void> => new Promise((settle) => setImmediate(settle))

test('those that come together are asked about together, and each hears its own answer', async () => {
  const asked: (readonly Take[])[] = []
  const limits = new RemoteLimits((takes) => asked.push(takes))
  const waits = ['a', 'b', 'c'].map((key) => limits.take(key, BUDGET, Date.now()))
  await turn()
  assert.deepEqual(
    asked.map((takes) => takes.map(({ key }) => key)),
    [['a', 'b', 'c']],
  )
  const [a, b, c] = asked[0]!
  limits.answered([
    [c!.id, 300],
    [a!.id, 0],
    [b!.id, 7],
    [999, 1],
  ])
  assert.deepEqual(await Promise.all(waits), [0, 7, 300])
})

test('without an answer the worker counts for itself: a limit does not go missing', async () => {
  const limits = new RemoteLimits(() => {})
  // As if asked long ago: the next look at those that wait finds them late.
  const waits = Array.from({ length: 4 }, () => limits.take('a', BUDGET, 0))
  const answers = await Promise.all(waits)
  assert.equal(answers.filter((waitMs) => waitMs === 0).length, 2)
  assert.equal(answers.filter((waitMs) => waitMs > 0).length, 2)
})
