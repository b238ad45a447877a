import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import { RingLimits } from './ring-limits.ts'

function policyOf(scope: 'node' | 'ring'): View['policy'] {
  const document = parsePolicyDocument(`version: 1
services:
  app:
    hosts: ["*"]
    upstreams: [{ url: "http://127.0.0.1:9000" }]
    limits: [{ name: all, key: [ip], rate: 10/s, scope: ${scope} }]
`)
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

const nodes = ['n1', 'n2'].map((id) => ({ id }))
const viewOf = (scope: 'node' | 'ring'): View => ({ nodes, policy: policyOf(scope) }) as unknown as View

/** One of two nodes, and how often it told the other. */
function sharing(t: TestContext) {
  const views = { own: viewOf('node'), shared: viewOf('ring') }
  const made = { views, view: views.own, told: 0, agreeOn: (_view: View): void => {} }
  const fabric = { send: () => true, broadcast: () => void (made.told += 1), onMessage: () => {} }
  const limits = new RingLimits({ self: 'n1', fabric, view: () => made.view })
  t.after(() => limits.stop())
  made.agreeOn = (view) => {
    made.view = view
    limits.follow()
  }
  return made
}

test('nodes tell each other whom they reach, less often while they share no budget', async (t) => {
  const made = sharing(t)
  await sleep(2_500)
  const before = made.told
  assert.ok(before > 0 && before <= 4, `told ${before} times`)
  made.agreeOn(made.views.shared)
  await sleep(2_500)
  assert.ok(made.told - before > before, `told ${made.told - before} times, ${before} before`)
})

test('once they share a budget, nodes tell it at once: the first request already counts against one', (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] })
  const made = sharing(t)
  const pass = (ticks: number): void => {
    for (let at = 0; at < ticks; at += 1) t.mock.timers.tick(50)
  }
  for (let ticks = 0; ticks < 17; ticks += 1) {
    made.agreeOn(made.views.own)
    pass(1_300 + ticks)
    const before = made.told
    made.agreeOn(made.views.shared)
    assert.equal(made.told, before + 1, `after ${ticks} ticks`)
  }
})
