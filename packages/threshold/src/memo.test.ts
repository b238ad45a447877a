import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { type CeremonyEvent, type CeremonyState, foreseeKey, observeCeremony, step } from './ceremony.ts'
import { makeDealing } from './dealing.ts'
import { ThresholdError } from './errors.ts'
import { CeremonyMemo, type Finding } from './memo.ts'
import type { Ceremony } from './plan.ts'
import { hold, people, plan, type Someone, type Tampering } from './test-ring.ts'

interface Seen {
  readonly phases: readonly string[]
  readonly faults: readonly string[]
  readonly key: string | undefined
}

/** What an observer with this memo makes of a board. */
function seen(ceremony: Ceremony, board: readonly CeremonyEvent[], memo: CeremonyMemo | undefined): Seen {
  const tools = { encryptionKey: undefined, ...(memo === undefined ? {} : { memo }) }
  let state: CeremonyState = observeCeremony(ceremony)
  const phases: string[] = []
  const faults: string[] = []
  let key: string | undefined
  for (const event of board) {
    const next = step(state, event, tools)
    state = next.state
    phases.push(state.phase)
    for (const effect of next.effects) {
      if (effect.kind === 'accuse') faults.push(`${effect.accusation.party} ${effect.accusation.fault}`)
      if (effect.kind === 'complete') key = Buffer.from(effect.publicKey.encode()).toString('hex')
    }
  }
  return { phases, faults, key }
}

const flipped = (body: Uint8Array, at: number): Uint8Array => body.map((byte, i) => (i === at ? byte ^ 1 : byte))

/** One deals a bad share to another, one a dealing that is none. */
const lies: Tampering = {
  post: ({ index }, body) => {
    if (body[4] !== 1) return [body]
    if (index === 2) return [flipped(body, body.length - 1)]
    return [body]
  },
}

test('whoever learnt what another thread found out comes to the same states, faults and key', () => {
  for (const tampering of [{}, lies]) {
    const ring = people(5)
    const first = plan(ring, 3, 'ed25519')
    const made = hold(first, ring, tampering)
    const rounds: [Ceremony, readonly CeremonyEvent[]][] = [[first, made.board]]
    const second = plan(ring, 3, 'ed25519', made.publicKey, 1)
    rounds.push([second, hold(second, ring).board])
    for (const [ceremony, board] of rounds) {
      const there = new CeremonyMemo()
      const alone = seen(ceremony, board, undefined)
      assert.deepEqual(seen(ceremony, board, there), alone)
      // As it crosses to another thread.
      const findings = structuredClone(there.takeFindings())
      assert.ok(findings.some(({ kind }) => kind === 'key'))
      const here = new CeremonyMemo()
      here.learn(findings)
      assert.deepEqual(seen(ceremony, board, here), alone)
      assert.deepEqual(here.takeFindings(), [], 'nothing was left to be found out')
    }
  }
})

test('complaints are judged once, and what was found of them is learnt', () => {
  const ring = people(4)
  const ceremony = plan(ring, 3, 'ed25519')
  // A dealing for other keys: none of its shares opens, and everybody complains.
  const others = people(4)
  const tampering: Tampering = {
    post: ({ index }, body) => {
      if (body[4] !== 1 || index !== 3) return [body]
      const strange = plan(
        ring.map((someone, i) => ({ ...someone, encryption: (others[i] as Someone).encryption })),
        3,
        'ed25519',
      )
      const dealt = makeDealing(
        { ...strange, id: ceremony.id, receivers: strange.receivers } as Ceremony,
        3,
        randomBytes(32),
        undefined,
      )
      return [dealt]
    },
  }
  const { board } = hold(ceremony, ring, tampering)
  const alone = seen(ceremony, board, undefined)
  assert.ok(alone.faults.some((fault) => fault === 'node-3 bad-share'))
  const there = new CeremonyMemo()
  seen(ceremony, board, there)
  const findings = there.takeFindings()
  assert.ok(findings.some(({ kind }) => kind === 'verdict'))
  const here = new CeremonyMemo()
  here.learn(findings)
  assert.deepEqual(seen(ceremony, board, here), alone)
  assert.deepEqual(here.takeFindings(), [])
})

test('the key is foreseen before anybody has answered', () => {
  const ring = people(4)
  const ceremony = plan(ring, 3, 'ed25519')
  const { board } = hold(ceremony, ring)
  const memo = new CeremonyMemo()
  const tools = { encryptionKey: undefined, memo }
  const dealt = board.slice(0, 4).reduce((state, event) => step(state, event, tools).state, observeCeremony(ceremony))
  assert.equal(dealt.phase, 'answering')
  memo.takeFindings()
  foreseeKey(dealt, tools)
  const findings = memo.takeFindings()
  assert.deepEqual(
    findings.map(({ kind }) => kind),
    ['key'],
  )
  seen(ceremony, board, memo)
  assert.deepEqual(memo.takeFindings(), [])
})

test('a bad dealing stays bad with the same reason, and the memo is bounded', () => {
  const ring = people(3)
  const ceremony = plan(ring, 2, 'ed25519')
  const good = makeDealing(ceremony, 1, randomBytes(32), undefined)
  const bad = flipped(good, good.length - 1)
  const there = new CeremonyMemo()
  const refusal = (memo: CeremonyMemo): unknown => {
    try {
      memo.verify(ceremony, 1, bad)
      return undefined
    } catch (error) {
      assert.ok(error instanceof ThresholdError)
      return [error.code, error.message]
    }
  }
  const reason = refusal(there)
  assert.ok(reason !== undefined)
  const here = new CeremonyMemo()
  here.learn(there.takeFindings())
  assert.ok(here.knows(ceremony, 1, bad) && !here.knows(ceremony, 1, good) && !here.knows(ceremony, 2, bad))
  assert.deepEqual(refusal(here), reason)

  const small = new CeremonyMemo(2)
  for (let i = 0; i < 4; i += 1) small.verify(ceremony, 1, makeDealing(ceremony, 1, randomBytes(32), undefined))
  const kept: readonly Finding[] = small.takeFindings()
  assert.equal(kept.length, 2)
})
