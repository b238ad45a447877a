import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { RingApplication } from './application.ts'
import { playId } from './play-id.ts'
import { isOutside, PLAY_ATTEMPTS_MAX, PLAY_CLAIM_MS, stepOf } from './play-statements.ts'
import { isOver, type Play } from './plays.ts'
import { parsePolicyDocument } from './policy-document.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, NOW, POLICY, signedBytes } from './test-ring.ts'
import { subjectId } from './tx.ts'
import type { TxBody } from './types.ts'

const PLAYBOOKS = `${POLICY}playbooks:
  contain:
    when: { detectors: [takeover] }
    steps:
      - { do: deny, subject: source, for: 1h }
      - { do: notify, to: desk, text: contained }
  ask:
    steps:
      - { do: deny, subject: source, for: 2h }
      - { do: approve, operators: 2, within: 10m }
      - { do: wait, for: 5m }
      - { name: told, do: notify, to: desk, text: it is over, onFailure: continue }
      - { do: evidence }
  leave:
    steps: [{ do: end-sessions }]
`

type By = 'operator:ada' | 'operator:bob' | 'operator:cy' | 'node:n1' | 'node:n2'

class Runs {
  readonly app: RingApplication
  state: RingState
  nowMs = NOW
  height = 0

  constructor(policy = PLAYBOOKS) {
    this.app = begin(policy)
    this.state = this.app.initial()
  }

  #signed(body: TxBody, by: By): Uint8Array {
    return signedBytes(this.app.ring, by, body, { atMs: this.nowMs, untilMs: this.nowMs + 60_000 })
  }

  codeOf(body: TxBody, by: By): string {
    const result = this.app.check(this.state, this.#signed(body, by), this.nowMs)
    return result.ok ? 'ok' : result.code
  }

  say(by: By, ...bodies: readonly TxBody[]): void {
    this.block(bodies.map((body) => this.#signed(body, by)))
  }

  block(txs: readonly Uint8Array[] = []): void {
    this.height += 1
    this.state = executeAgreed(this.app, this.state, txs, { height: this.height, timestampMs: this.nowMs, proposer: 'n1' })
  }

  later(ms: number): void {
    this.nowMs += ms
    this.block()
  }

  play(id: string): Play {
    return this.state.plays.get(id) as Play
  }

  denied(source: string): boolean {
    const denial = this.state.denial(subjectId({ kind: 'ip', value: source }))
    return denial !== undefined && denial.expiresAtMs > this.nowMs
  }
}

const start = (playbook: string, source = '203.0.113.9', key = `by hand ${source}`): TxBody => ({
  type: 'play.start',
  playbook,
  key,
  inputs: { source },
  reason: 'it looks bad',
})
const claim = (run: string, step: number, attempt = 1): TxBody => ({ type: 'play.claim', run, step, attempt })
const report = (run: string, step: number, ok = true, attempt = 1): TxBody => ({
  type: 'play.report',
  run,
  step,
  attempt,
  ok,
  note: 'sent',
})

test('a run goes through its steps: the ring denies once, operators approve, time passes, nodes tell', () => {
  const runs = new Runs()
  const id = playId('ask', 'by hand 203.0.113.9')
  runs.say('operator:ada', start('ask'))
  assert.ok(runs.denied('203.0.113.9'))
  assert.equal(runs.play(id).at, 1)
  assert.equal(runs.codeOf(start('ask'), 'operator:bob'), 'PLAY_KNOWN', 'one key, one run')
  assert.equal(runs.codeOf({ type: 'play.approve', run: id, reason: 'yes' }, 'node:n1'), 'PLAY_NOT_ENTITLED')
  runs.say('operator:ada', { type: 'play.approve', run: id, reason: 'yes' })
  assert.equal(runs.codeOf({ type: 'play.approve', run: id, reason: 'yes' }, 'operator:ada'), 'PLAY_KNOWN')
  assert.equal(runs.play(id).at, 1)
  runs.say('operator:bob', { type: 'play.approve', run: id, reason: 'yes' })
  assert.equal(runs.play(id).at, 2)
  runs.later(299_000)
  assert.equal(runs.play(id).at, 2)
  runs.later(1_000)
  assert.equal(runs.play(id).at, 3)
  runs.say('node:n2', claim(id, 3))
  assert.equal(runs.codeOf(claim(id, 3, 2), 'node:n1'), 'PLAY_CLAIMED')
  assert.equal(runs.codeOf(report(id, 3), 'node:n1'), 'PLAY_CLAIMED', 'only who has the claim says what came of it')
  runs.say('node:n2', report(id, 3))
  assert.equal(runs.codeOf(report(id, 3), 'node:n2'), 'PLAY_STEP', 'a step is over once')
  runs.say('node:n1', claim(id, 4), report(id, 4))
  const { status, outcomes } = runs.play(id)
  assert.equal(status, 'done')
  assert.deepEqual(
    outcomes.map(({ step, result, by }) => `${step} ${result} ${by}`),
    ['0 done ring', '1 done ring', '2 done ring', '3 done node:n2', '4 done node:n1'],
  )
})

test('a node that dies with a claim holds a step for no longer than the claim lasts', () => {
  const runs = new Runs()
  const id = playId('contain', 'k')
  runs.say('operator:ada', start('contain', '203.0.113.9', 'k'))
  runs.say('node:n1', claim(id, 1))
  runs.later(PLAY_CLAIM_MS - 1)
  assert.equal(runs.codeOf(claim(id, 1, 2), 'node:n2'), 'PLAY_CLAIMED')
  runs.later(1)
  runs.say('node:n2', claim(id, 1, 2))
  assert.equal(runs.codeOf(report(id, 1, true, 1), 'node:n1'), 'PLAY_CLAIMED', 'who comes back late has nothing to say')
  runs.say('node:n2', report(id, 1, true, 2))
  assert.equal(runs.play(id).status, 'done')
})

test('a step that fails is tried again, and then the run fails, or goes on where the playbook says so', () => {
  const runs = new Runs()
  const id = playId('contain', 'k')
  runs.say('operator:ada', start('contain', '203.0.113.9', 'k'))
  for (let attempt = 1; attempt <= PLAY_ATTEMPTS_MAX; attempt += 1) {
    assert.equal(runs.play(id).status, 'running')
    runs.say('node:n1', claim(id, 1, attempt), report(id, 1, false, attempt))
    runs.later(PLAY_CLAIM_MS)
  }
  assert.equal(runs.play(id).status, 'failed')
  assert.ok(runs.denied('203.0.113.9'), 'what was done stays')
})

test('what one node says starts nothing: it takes as many as a denial does, and only what the policy lets findings start', () => {
  const runs = new Runs()
  const id = playId('contain', 'takeover ip:203.0.113.9')
  const said = start('contain', '203.0.113.9', 'takeover ip:203.0.113.9')
  assert.equal(runs.codeOf(start('ask'), 'node:n1'), 'PLAY_NOT_ENTITLED')
  runs.say('node:n1', said)
  assert.equal(runs.play(id).status, 'proposed')
  assert.ok(!runs.denied('203.0.113.9'))
  assert.equal(runs.codeOf(said, 'node:n1'), 'PLAY_KNOWN', 'nobody counts twice')
  runs.say('node:n2', said)
  assert.equal(runs.play(id).at, 1)
  assert.ok(runs.denied('203.0.113.9'))
  assert.deepEqual(runs.play(id).statedBy, ['node:n1', 'node:n2'])

  const alone = playId('contain', 'alone')
  runs.say('node:n1', start('contain', '203.0.113.10', 'alone'))
  runs.later(600_000)
  assert.equal(runs.play(alone).status, 'lapsed')
})

test('what is safe is denied by no playbook', () => {
  const runs = new Runs()
  const id = playId('ask', 'k')
  runs.say('operator:ada', start('ask', '192.0.2.7', 'k'))
  assert.equal(runs.play(id).status, 'failed')
  assert.match(runs.play(id).outcomes[0]?.note ?? '', /safe list/)
  assert.ok(!runs.denied('192.0.2.7'))
})

test('undo lifts what the run denied, and leaves what somebody else did; cancel leaves everything', () => {
  const runs = new Runs()
  const [mine, other] = [playId('ask', 'mine'), playId('ask', 'other')]
  runs.say('operator:ada', start('ask', '203.0.113.9', 'mine'), start('ask', '203.0.113.10', 'other'))
  const deny = { type: 'deny.add', subject: { kind: 'ip', value: '203.0.113.10' }, ttlMs: 86_400_000, reason: 'by hand' } as const
  runs.say('operator:bob', deny)
  runs.say('operator:ada', { type: 'play.undo', run: mine, reason: 'wrong' }, { type: 'play.undo', run: other, reason: 'wrong' })
  assert.ok(!runs.denied('203.0.113.9'))
  assert.ok(runs.denied('203.0.113.10'), 'an operator holds it')
  assert.equal(runs.play(mine).outcomes.at(-1)?.result, 'undone')
  assert.equal(runs.play(other).outcomes.at(-1)?.result, 'kept')
  const third = playId('ask', 'third')
  runs.say('operator:ada', start('ask', '203.0.113.11', 'third'))
  runs.say('operator:ada', { type: 'play.cancel', run: third, reason: 'enough' })
  assert.ok(runs.denied('203.0.113.11'))
  assert.equal(runs.codeOf({ type: 'play.cancel', run: third, reason: 'enough' }, 'operator:ada'), 'PLAY_OVER')
})

test('approvals that do not come end a run, and so does a playbook that is changed while it runs', () => {
  const runs = new Runs()
  runs.say('operator:ada', start('ask', '203.0.113.9', 'late'), start('contain', '203.0.113.12', 'changed'))
  const changed = PLAYBOOKS.replace('text: contained', 'text: something else')
  runs.say('operator:ada', { type: 'policy.set', policy: changed, expectVersion: 1 })
  assert.match(runs.play(playId('contain', 'changed')).outcomes.at(-1)?.note ?? '', /changed while it ran/)
  assert.equal(runs.play(playId('ask', 'late')).status, 'running')
  runs.later(600_000)
  assert.equal(runs.play(playId('ask', 'late')).status, 'failed')
})

test('the sessions of a person end', () => {
  const runs = new Runs()
  const bodies: TxBody = { type: 'play.start', playbook: 'leave', key: 'k', inputs: { person: 'eve' }, reason: 'gone' }
  runs.say('operator:ada', bodies)
  assert.equal(runs.play(playId('leave', 'k')).status, 'done')
  assert.equal(runs.state.denials.list(runs.nowMs)[0]?.subject.kind, 'issued-before')
  assert.equal(runs.codeOf({ ...bodies, key: 'l', inputs: {} }, 'operator:ada'), 'PLAY_INPUTS')
})

test('what a playbook lacks or has too much of is said with its place', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['{ do: deny, for: 1h }', /\/playbooks\/p\/steps\/0\/subject.*deny needs subject/],
    ['{ do: wait, for: 1h, to: desk }', /\/steps\/0\/to.*wait has no to/],
    ['{ do: dney }', /\/steps\/0\/do.*expected deny.*did you mean deny/],
    ['{ do: wait, for: 90d }', /\/steps\/0\/for.*1s to 30d/],
    ['{ do: wait, for: 1h, until: 3 }', /until is not known/],
  ]
  for (const [step, fault] of cases) {
    const document = parsePolicyDocument(`${POLICY}playbooks: { p: { steps: [${step}] } }\n`)
    assert.ok(!document.ok)
    const text = document.problems.map(({ path, message, hint }) => `${path} ${message} ${hint}`).join('\n')
    assert.match(text, fault)
  }
  const person = parsePolicyDocument(`${POLICY}playbooks: { p: { when: { detectors: [x] }, steps: [{ do: end-sessions }] } }\n`)
  assert.ok(!person.ok && /names no person/.test(person.problems[0]?.message ?? ''))
})

/** Nodes that die at any point, and whatever order their words come in. */
test('property: a thousand runs at once, over nodes that die with claims: none is stuck, each step is over once', () => {
  const fates = fc.array(fc.constantFrom('done', 'fail', 'die'), { minLength: 64, maxLength: 64 })
  fc.assert(
    fc.property(fates, (fate) => {
      const runs = new Runs(PLAYBOOKS)
      const context = (): { height: number; timestampMs: number; proposer: string } => {
        runs.height += 1
        return { height: runs.height, timestampMs: runs.nowMs, proposer: 'n1' }
      }
      const apply = (txs: readonly Uint8Array[]): void => {
        const done = runs.app.execute(runs.state, txs, context())
        assert.ok(done.ok, JSON.stringify(done))
        runs.state = done.state
      }
      const sign = (by: By, body: TxBody): Uint8Array =>
        signedBytes(runs.app.ring, by, body, { atMs: runs.nowMs, untilMs: runs.nowMs + 60_000 })
      const count = 1_000
      apply(
        Array.from({ length: count }, (_, at) =>
          sign('operator:ada', start('contain', `198.51.${at >> 8}.${at & 255}`, `${at}`)),
        ),
      )
      let [turn, asked] = [0, 0]
      for (; turn < 40; turn += 1) {
        const open = runs.state.plays.list().filter((play) => !isOver(play))
        if (open.length === 0) break
        const policy = runs.app.view(runs.state, runs.height, runs.nowMs).policy
        const free = open.filter(({ claim: held }) => held === null || held.untilMs <= runs.nowMs)
        const by = (turn % 2 === 0 ? 'node:n1' : 'node:n2') as By
        apply(free.map((play) => sign(by, claim(play.id, play.at, (play.claim?.attempt ?? 0) + 1))))
        const reports = free.flatMap(({ id }) => {
          const play = runs.play(id)
          const step = stepOf(policy, play)
          assert.ok(step !== undefined && isOutside(step))
          const what = fate[(asked++ * 7 + turn) % fate.length]
          if (what === 'die') return []
          return [sign(by, report(id, play.at, what === 'done', play.claim?.attempt ?? 0))]
        })
        apply(reports)
        runs.nowMs += PLAY_CLAIM_MS
      }
      const all = runs.state.plays.list()
      assert.equal(all.length, count)
      for (const play of all) {
        assert.ok(isOver(play), `${play.id} is stuck`)
        const steps = play.outcomes.map(({ step }) => step)
        assert.equal(new Set(steps).size, steps.length, 'a step is over once')
      }
    }),
    { numRuns: 1 },
  )
})
