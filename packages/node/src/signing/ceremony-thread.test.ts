import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ceremony, type Finding, makeEncryptionKey, ristretto } from '@ringwall/threshold'
import { CeremonyThread } from './ceremony-thread.ts'
import { ThreadGone } from './task-thread.ts'

/** A thread that dies over whatever it is given. */
const DYING = new URL(
  `data:text/javascript,${encodeURIComponent("import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw new Error('out of memory') })")}`,
)
/** One that never answers. */
const SILENT = new URL(
  `data:text/javascript,${encodeURIComponent("import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => {})")}`,
)

function thread(t: TestContext, options: { idleMs?: number; program?: URL } = {}): CeremonyThread & { found: Finding[] } {
  const found: Finding[] = []
  const made = new CeremonyThread((findings) => found.push(...findings), options)
  t.after(() => made.stop())
  return Object.assign(made, { found })
}

function ring(): { readonly plan: Ceremony; readonly seeds: readonly Uint8Array[] } {
  const seeds = [1, 2, 3].map(() => new Uint8Array(randomBytes(32)))
  const receivers = seeds.map((seed, i) => ({
    party: `n${i + 1}`,
    index: i + 1,
    encryptionKey: makeEncryptionKey(seed).publicKey,
  }))
  const plan = new Ceremony({ suite: 'ed25519', purpose: 'tests', attempt: 1, threshold: 2, receivers, previous: undefined })
  return { plan, seeds }
}

test('the same task makes the same message; secrets leave this thread and what was found out comes back', async (t) => {
  const one = thread(t)
  const { plan } = ring()
  const seed = randomBytes(32)
  const bodies: Uint8Array[] = []
  for (let i = 0; i < 2; i += 1) {
    const dealing = Uint8Array.from(seed)
    const outcome = await one.run({ kind: 'deal', plan: plan.encode(), self: 'n1', dealing, share: undefined })
    assert.ok(outcome.kind === 'said' && outcome.body !== undefined)
    bodies.push(outcome.body)
    assert.equal(dealing.length, 0, 'it was transferred')
  }
  assert.deepEqual(bodies[0], bodies[1])
  assert.deepEqual(
    one.found.map(({ kind }) => kind),
    ['dealing'],
  )
})

test('who is not in the plan, or lost the secret it enrolled with, is told so and no more', async (t) => {
  const one = thread(t)
  const { plan, seeds } = ring()
  for (const [self, seed] of [
    ['n9', seeds[0]],
    ['n1', seeds[1]],
  ] as const) {
    const outcome = await one.run({
      kind: 'open',
      plan: plan.encode(),
      self,
      encryption: Uint8Array.from(seed as Uint8Array),
      board: [],
    })
    assert.deepEqual(outcome, { kind: 'none', why: 'stranger' })
  }
  const withheld = await one.run({
    kind: 'open',
    plan: plan.encode(),
    self: 'n1',
    encryption: Uint8Array.from(seeds[0] as Uint8Array),
    board: [],
  })
  assert.deepEqual(withheld, { kind: 'none', why: 'withheld' })
})

test('a malformed task fails with a reason, and the thread goes on', async (t) => {
  const one = thread(t)
  const failed = await one.run({ kind: 'foresee', plan: new Uint8Array(5), board: [], next: [] })
  assert.ok(failed.kind === 'failed' && failed.reason.length > 0)
  const seed = new Uint8Array(randomBytes(32))
  const expected = ristretto.encode(makeEncryptionKey(seed).publicKey)
  assert.deepEqual(await one.run({ kind: 'enrol', encryption: seed }), { kind: 'said', body: expected })
})

test('whoever waits when the thread dies is told why, and the next task starts another', async (t) => {
  const one = thread(t, { program: DYING })
  const enrol = () => one.run({ kind: 'enrol', encryption: new Uint8Array(32) })
  for (let i = 0; i < 2; i += 1) {
    await assert.rejects(Promise.all([enrol(), enrol()]), (error) => {
      assert.ok(error instanceof ThreadGone)
      assert.match(error.message, /the ceremony thread ended: out of memory/)
      return true
    })
    assert.equal(one.size, 0)
  }
})

test('what waits is bounded, and a stopped thread refuses; secrets that went nowhere are wiped', async (t) => {
  const one = thread(t, { program: SILENT })
  const waiting = Array.from({ length: 128 }, () => one.run({ kind: 'enrol', encryption: new Uint8Array(32) }))
  const left = Promise.allSettled(waiting)
  const secret = new Uint8Array(32).fill(7)
  await assert.rejects(one.run({ kind: 'enrol', encryption: secret }), /128 tasks already/)
  assert.ok(secret.every((byte) => byte === 0))
  await one.stop()
  assert.ok((await left).every(({ status }) => status === 'rejected'))
  await assert.rejects(one.run({ kind: 'enrol', encryption: new Uint8Array(32) }), /the node stops/)
})

test('a thread without work ends, and is started again when there is some', async (t) => {
  const one = thread(t, { idleMs: 20 })
  const enrol = async (): Promise<void> => {
    assert.equal((await one.run({ kind: 'enrol', encryption: new Uint8Array(randomBytes(32)) })).kind, 'said')
  }
  await enrol()
  while (one.isRunning) await sleep(10)
  await enrol()
})
