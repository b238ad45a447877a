import assert from 'node:assert/strict'
import { test } from 'node:test'
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

test('nodes tell each other whom they reach, less often while they share no budget', async (t) => {
  const nodes = ['n1', 'n2'].map((id) => ({ id }))
  const viewOf = (scope: 'node' | 'ring') => ({ nodes, policy: policyOf(scope) }) as unknown as View
  const views = { own: viewOf('node'), shared: viewOf('ring') }
  let view = views.own
  let told = 0
  const fabric = { send: () => true, broadcast: () => void (told += 1), onMessage: () => {} }
  const limits = new RingLimits({ self: 'n1', fabric, view: () => view })
  t.after(() => limits.stop())
  await sleep(2_500)
  const before = told
  assert.ok(before > 0 && before <= 5, `told ${before} times`)
  view = views.shared
  await sleep(2_500)
  assert.ok(told - before > before, `told ${told - before} times, ${before} before`)
})

test('once they share a budget, nodes tell it at once: the first request already counts against one', (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] })
  const viewOf = (scope: 'node' | 'ring') => ({ nodes: [{ id: 'n1' }, { id: 'n2' }], policy: policyOf(scope) }) as unknown as View
  const own = viewOf('node')
  const shared = viewOf('ring')
  let view = own
  let told = 0
  const fabric = { send: () => true, broadcast: () => void (told += 1), onMessage: () => {} }
  const limits = new RingLimits({ self: 'n1', fabric, view: () => view })
  t.after(() => limits.stop())
  const pass = (ticks: number): void => {
    for (let at = 0; at < ticks; at += 1) t.mock.timers.tick(50)
  }
  for (let ticks = 0; ticks < 17; ticks += 1) {
    view = own
    pass(1_300 + ticks)
    const before = told
    view = shared
    pass(4)
    assert.equal(told, before + 1, `after ${ticks} ticks`)
  }
})
