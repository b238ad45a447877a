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

test('nodes tell each other whom they reach while a budget is shared, and nothing while none is', async (t) => {
  const nodes = ['n1', 'n2'].map((id) => ({ id }))
  const viewOf = (scope: 'node' | 'ring') => ({ nodes, policy: policyOf(scope) }) as unknown as View
  const views = { own: viewOf('node'), shared: viewOf('ring') }
  let view = views.own
  let told = 0
  const fabric = { send: () => true, broadcast: () => void (told += 1), onMessage: () => {} }
  const limits = new RingLimits({ self: 'n1', fabric, view: () => view })
  t.after(() => limits.stop())
  await sleep(200)
  limits.lost('n2')
  assert.equal(told, 0)
  view = views.shared
  while (told < 2) await sleep(20)
})
