import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { noWeights, type Weights } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { GuardRequest, WafJudgement } from '@ringwall/guard'
import type { ModelPolicy, View } from '@ringwall/ring'
import { Examples } from './examples.ts'
import { ModelJudge } from './model-judge.ts'
import { ModelStore } from './model-store.ts'
import { NodeModel } from './node-model.ts'

type Handler = Parameters<Fabric['onRequest']>[1]

const BASE: ModelPolicy = { train: true, stage: 'shadow', threshold: 0.9, refuseMax: 0.01, epsilonMax: 10 }

function viewOf(model: ModelPolicy, nodes: readonly string[] = ['n1']): View {
  return { policy: { detectors: { model } }, nodes: nodes.map((id) => ({ id })) } as unknown as View
}

function asked(target: string): GuardRequest {
  return { method: 'GET', target, httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1', host: 'h', path: '/' }
}

const judged = (target: string, blocked: boolean): WafJudgement =>
  ({ request: asked(target), verdict: { blocked, matches: [] } }) as unknown as WafJudgement

const NOTHING = new Uint8Array()
const ATTACKS = ["/a?q=1'+OR+1=1--", '/a?q=<script>alert(1)</script>', '/a?q=../../../etc/passwd', '/a?q=;cat+/etc/hosts']
const HONEST = ['/a?q=red+shoes', '/a?page=2&size=40', '/products/4711', '/a?q=rock+and+roll']

/** Nodes of a ring whose requests reach each other in this process. */
function ring(t: { after(done: () => void): void }, ids: readonly string[], policy: () => ModelPolicy) {
  const handlers = new Map<string, Handler>()
  const nodes = new Map<string, NodeModel>()
  for (const id of ids) {
    const data = mkdtempSync(join(tmpdir(), 'ringwall-model-'))
    const node = new NodeModel({
      self: id,
      region: 'eu',
      data,
      view: () => viewOf(policy(), ids),
      say: () => {},
      fabric: {
        onRequest: (_channel, handler) => void handlers.set(id, handler),
        request: async (to, _channel, payload) => {
          const handler = handlers.get(to)
          if (handler === undefined) throw new Error(`${to} cannot be asked`)
          return handler(id, payload)
        },
      },
    })
    nodes.set(id, node)
    t.after(() => {
      node.stop()
      rmSync(data, { recursive: true, force: true })
    })
  }
  return { nodes, handlers }
}

const feed = (node: NodeModel, times: number): void => {
  for (let at = 0; at < times; at += 1) {
    for (const target of ATTACKS) node.observe(judged(`${target}${at}`, true), NOTHING)
    for (const target of HONEST) node.observe(judged(`${target}${at}`, false), NOTHING)
  }
}

test('four nodes train on their own requests; one that lies, one that has too few and one that is gone do no harm', async (t) => {
  let policy = BASE
  const { nodes, handlers } = ring(t, ['n1', 'n2', 'n3', 'n4'], () => policy)
  const [n1, n2, n3, n4] = [...nodes.values()] as [NodeModel, NodeModel, NodeModel, NodeModel]
  for (const node of [n1, n2, n3]) feed(node, 100)
  feed(n4, 2)
  // What it says is what a step looks like, and the opposite of one.
  const honest = handlers.get('n3')!
  handlers.set('n3', async (from, payload) => {
    const answer = JSON.parse(Buffer.from(await honest(from, payload)).toString('utf8')) as { step?: string }
    if (answer.step === undefined) return Buffer.from(JSON.stringify(answer))
    const bytes = Buffer.from(answer.step, 'base64')
    for (let at = 4; at < bytes.length; at += 4) bytes.writeFloatLE(-bytes.readFloatLE(at), at)
    return Buffer.from(JSON.stringify({ step: bytes.toString('base64') }))
  })
  const trained = await n1.train()
  assert.deepEqual(trained.nodes, ['n1', 'n2', 'n3'])
  assert.match(trained.missing[0]!.why, /8 attacks and 8 honest requests/)
  assert.equal(trained.tolerates, 1)
  assert.ok(trained.auc! > 0.9, String(trained.auc))

  policy = { ...BASE, use: trained.hash, stage: 'node:n1', threshold: 0.5, refuseMax: 1 }
  // Steps are noised: single requests may be taken for others, most are not.
  const refused = (targets: readonly string[], { judge }: NodeModel): number =>
    targets
      .flatMap((target) => Array.from({ length: 10 }, (_, at) => `${target}${700 + at}`))
      .filter((target) => judge.judge(asked(target), NOTHING)?.refuses === true).length
  const [attacks, honestOnes] = [refused(ATTACKS, n1), refused(HONEST, n1)]
  assert.ok(
    attacks >= 20 && attacks > 2 * honestOnes,
    `${attacks} of 40 attacks are refused, and ${honestOnes} of 40 honest requests`,
  )
  assert.equal(refused(ATTACKS, n2), 0, 'it has not come')

  handlers.delete('n2')
  handlers.delete('n4')
  await assert.rejects(n1.train(), /2 of 4 nodes take part, at least 3 are needed; n2: n2 cannot be asked|budget of privacy/)
})

test('a node tells no more of single requests than its budget, over restarts, and nothing where the policy has nobody train', async (t) => {
  let policy: ModelPolicy = { ...BASE, epsilonMax: 10 }
  const { nodes } = ring(t, ['n1'], () => policy)
  const n1 = nodes.get('n1')!
  feed(n1, 40)
  const { epsilon } = await n1.train()
  assert.ok(Math.abs(n1.status().epsilon - epsilon) < 1e-9 && epsilon < 10)
  await assert.rejects(n1.train(), /budget of privacy for 30 days is used up/)
  policy = { ...policy, train: false, epsilonMax: 100 }
  await assert.rejects(n1.train(), /the policy has nobody train/)
})

test('a model comes from whoever has it, and other bytes than its hash says are not taken', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-model-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const about = { madeAtMs: 1, nodes: ['n1'], steps: 1, tolerates: 0, auc: null, epsilon: 1 }
  const store = new ModelStore(folder)
  const hashes = Array.from({ length: 20 }, (_, at) => {
    const weights: Weights = noWeights()
    weights[0] = at
    return store.add(weights, { ...about, madeAtMs: at }, undefined)
  })
  assert.equal(store.list().length, 16)
  assert.equal(store.list()[0]!.hash, hashes.at(-1))
  assert.equal(new ModelStore(folder).get(hashes.at(-1)!)?.[0], 19)
  assert.equal(store.take('0'.repeat(64), new Uint8Array(10)), false)
  assert.equal(store.get(hashes[0]!), undefined)
})

test('a node where the model refuses too much goes back to watching, until another stage or model is named', () => {
  const weights = noWeights()
  weights.fill(10)
  let policy: ModelPolicy = { ...BASE, use: 'a'.repeat(64), stage: 'region:eu' }
  let view = viewOf(policy)
  const reverted: string[] = []
  const judge = new ModelJudge({
    self: 'n1',
    region: 'eu',
    view: () => view,
    weights: () => weights,
    onReverted: (line) => reverted.push(line),
  })
  const verdicts = Array.from({ length: 20 }, () => judge.judge(asked('/anything'), NOTHING)!.refuses)
  assert.equal(verdicts.filter(Boolean).length, 9)
  assert.match(reverted[0]!, /only watches here from now on: it would refuse 10 of the last 10/)
  assert.equal(reverted.length, 1)
  policy = { ...policy, stage: 'all', refuseMax: 1 }
  view = viewOf(policy)
  assert.equal(judge.judge(asked('/anything'), NOTHING)!.refuses, true)
  view = viewOf({ ...policy, stage: 'node:n2' })
  assert.equal(judge.judge(asked('/anything'), NOTHING)!.refuses, false)
})

test('examples are an even sample of all, bounded, and what operators say stays', () => {
  let state = 1
  const examples = new Examples(() => ((state = (state * 16_807) % 2_147_483_647) - 1) / 2_147_483_646)
  for (let at = 0; at < 6_000; at += 1) examples.add({ method: 'GET', target: `/${at}`, headers: [], body: NOTHING }, true)
  for (let at = 0; at < 600; at += 1)
    examples.label(`r${at}`, { method: 'GET', target: `/${at}`, headers: [], body: NOTHING }, false)
  assert.deepEqual(examples.counts, { hostile: 2_000, honest: 0, labelled: 500 })
  assert.equal(examples.all().length, 2_500)
})
