import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Play, type Policy, parsePolicyDocument, playbookDigest } from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'
import { isTurn, PlayRunner } from './play-runner.ts'

const MEMBERS = ['n1', 'n2', 'n3', 'n4']
const document = parsePolicyDocument(`version: 1
services: { shop: { upstreams: [{ url: 'http://127.0.0.1:1' }] } }
playbooks: { tell: { steps: [{ do: notify, to: desk, text: up }] } }
`)
assert.ok(document.ok)
const policy: Policy = document.policy

const play = (claim: Play['claim'] = null): Play => ({
  id: '00000000aaaaaaaa',
  playbook: 'tell',
  digest: playbookDigest(policy.playbooks.tell!),
  inputs: {},
  reason: 'why',
  by: 'operator:ada',
  statedBy: [],
  status: 'running',
  startedAtMs: 1,
  changedAtMs: 1,
  at: 0,
  dueMs: 0,
  claim,
  approvedBy: [],
  outcomes: [],
})

const settled = (): Promise<void> => new Promise((wake) => setImmediate(wake))

class Stage {
  nowMs = 1_000_000
  plays: readonly Play[] = [play()]
  readonly said: TxBody[] = []
  done = 0
  accepts = true
  readonly runner: PlayRunner

  constructor(self: string) {
    this.runner = new PlayRunner({
      self,
      plays: () => this.plays,
      policy: () => policy,
      members: () => MEMBERS,
      propose: async (body) => {
        if (!this.accepts) throw new Error('PLAY_CLAIMED')
        this.said.push(body)
        if (body.type === 'play.claim') this.plays = [play({ node: self, attempt: body.attempt, untilMs: this.nowMs + 6_000 })]
      },
      perform: async () => {
        this.done += 1
        return 'sent'
      },
      nowMs: () => this.nowMs,
    })
  }

  async look(): Promise<void> {
    this.runner.look()
    for (let turn = 0; turn < 5; turn += 1) await settled()
  }
}

/** The first whose turn it is: of this run's first attempt n4. */
const first = MEMBERS.find((node) => isTurn(node, MEMBERS, play(), 1, 0)) as string

test('for each attempt exactly one node is first, another each time, and all have had their turn within three seconds', () => {
  const firsts = [1, 2, 3, 4].map((attempt) => MEMBERS.filter((node) => isTurn(node, MEMBERS, play(), attempt, 0)))
  assert.ok(firsts.every((nodes) => nodes.length === 1))
  assert.equal(new Set(firsts.flat()).size, 4)
  assert.ok(MEMBERS.every((node) => isTurn(node, MEMBERS, play(), 1, 3_000)))
  assert.ok(!isTurn('gone', MEMBERS, play(), 1, 60_000))
})

test('a step is done once its claim is seen, once for a claim, and what came of it is said', async () => {
  const stage = new Stage(first)
  await stage.look()
  await stage.look()
  assert.equal(stage.done, 1)
  assert.deepEqual(
    stage.said.map(({ type }) => type),
    ['play.claim', 'play.report'],
  )
})

test('a claim of before a restart is not acted upon: it lapses, and the step is claimed anew', async () => {
  const stage = new Stage(first)
  stage.plays = [play({ node: first, attempt: 1, untilMs: stage.nowMs + 6_000 })]
  await stage.look()
  assert.equal(stage.done, 0)
  stage.nowMs += 6_000
  await stage.look()
  stage.nowMs += 3_000
  await stage.look()
  assert.equal(stage.done, 1)
  const [claim] = stage.said
  assert.ok(claim?.type === 'play.claim' && claim.attempt === 2)
})

test('whoever comes too late does nothing, and neither does a node whose claim is nearly over', async () => {
  const late = new Stage(first)
  late.accepts = false
  await late.look()
  assert.equal(late.done, 0)
  late.plays = [play({ node: 'n2', attempt: 1, untilMs: late.nowMs + 6_000 })]
  await late.look()
  assert.equal(late.done, 0)
})
