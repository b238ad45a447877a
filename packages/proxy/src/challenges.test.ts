import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GrantedPass } from '@ringwall/guard'
import fc from 'fast-check'
import { CHALLENGE_S_MAX, Challenges, isProof, WORK_BLOCK_BYTES } from './challenges.ts'
import { currentPassKeys, livingPassKeys, newPassKey, PASS_KEYS_MAX } from './pass-keys.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const BINDING = 'shop\n203.0.113\nt13 8daaf6152771'
const terms = { binding: BINDING, difficulty: 6, passForMs: HOUR }
const block = Buffer.alloc(WORK_BLOCK_BYTES)

/** What a client does. */
function solve(challenge: string, difficulty: number): string {
  for (let counter = 0; ; counter++) if (isProof(block, challenge, counter, difficulty)) return `${challenge}.${counter}`
}

function granted(answer: ReturnType<Challenges['redeem']>): GrantedPass {
  assert.ok(!('refused' in answer), JSON.stringify(answer))
  return answer
}

test('the work gives a pass, which is good for its holder until it is over', () => {
  const challenges = new Challenges(newPassKey(NOW))
  const solution = solve(challenges.issue(terms, NOW), 6)
  const { pass, forS } = granted(challenges.redeem(solution, BINDING, NOW + 5_000))
  assert.equal(forS, 3_595)
  assert.ok(challenges.check(pass, BINDING, NOW + 10_000) !== undefined)
  assert.ok(challenges.check(pass, BINDING, NOW + HOUR - 1) !== undefined)
  assert.equal(challenges.check(pass, BINDING, NOW + HOUR), undefined)
  for (const other of ['shop\n203.0.114\nt13 8daaf6152771', 'bank\n203.0.113\nt13 8daaf6152771', 'shop\n203.0.113\n', ''])
    assert.equal(challenges.check(pass, other, NOW + 10_000), undefined, other)
})

test('a proof that is brought twice gives the same pass twice: nothing is won', () => {
  const challenges = new Challenges(newPassKey(NOW))
  const solution = solve(challenges.issue(terms, NOW), 6)
  const first = granted(challenges.redeem(solution, BINDING, NOW))
  const second = granted(challenges.redeem(solution, BINDING, NOW + 60_000))
  assert.equal(first.pass, second.pass)
  assert.equal(second.forS, first.forS - 60)
})

test('nodes that know each other’s keys believe each other; one that is unknown is not believed', () => {
  const [a, b] = [newPassKey(NOW), newPassKey(NOW)]
  const [here, there, elsewhere] = [new Challenges(a), new Challenges(b), new Challenges(newPassKey(NOW))]
  there.use(b, [a])
  here.use(a, [b])
  const solution = solve(here.issue(terms, NOW), 6)
  const onOther = granted(there.redeem(solution, BINDING, NOW))
  const onSame = granted(here.redeem(solution, BINDING, NOW))
  assert.equal(here.check(onOther.pass, BINDING, NOW), there.check(onSame.pass, BINDING, NOW), 'one proof, one id')
  assert.equal(elsewhere.check(onOther.pass, BINDING, NOW), undefined)
  assert.ok('refused' in elsewhere.redeem(solution, BINDING, NOW))
  // It has left the ring.
  there.use(b, [])
  assert.equal(there.check(onSame.pass, BINDING, NOW), undefined)
})

test('a proof too late, too early, of too little work, or of another holder is refused', () => {
  const challenges = new Challenges(newPassKey(NOW))
  const challenge = challenges.issue(terms, NOW)
  const solution = solve(challenge, 6)
  const refused = (given: string, binding = BINDING, nowMs = NOW): string => {
    const answer = challenges.redeem(given, binding, nowMs)
    assert.ok('refused' in answer, given)
    return answer.refused
  }
  assert.match(refused(solution, BINDING, NOW + (CHALLENGE_S_MAX + 1) * 1_000), /too old/)
  assert.match(refused(solution, BINDING, NOW - 61_000), /too old/)
  assert.match(refused(solution, 'shop\n198.51.100\n'), /somebody else/)
  let wrong = 0
  while (isProof(block, challenge, wrong, 6)) wrong++
  assert.match(refused(`${challenge}.${wrong}`), /proof is wrong/)
  for (const bad of ['', '.', challenge, `${challenge}.`, `${challenge}.-1`, `${challenge}.01`, `${challenge}.1e3`, `x.${1}`])
    refused(bad)
  refused(`${challenge}.99999999999999999`)
  refused(`${challenge}.9999999999999999`)
  refused('A'.repeat(100_000))
  const pass = granted(challenges.redeem(solution, BINDING, NOW)).pass
  refused(`${pass}.1`)
  assert.equal(challenges.check(challenge, BINDING, NOW), undefined, 'a challenge is no pass')
})

test('a pass that lasts less than the work took is not given', () => {
  const challenges = new Challenges(newPassKey(NOW))
  const solution = solve(challenges.issue({ ...terms, passForMs: 60_000 }, NOW), 6)
  assert.ok('refused' in challenges.redeem(solution, BINDING, NOW + 61_000))
})

test('property: no byte of a pass or a challenge can be another', () => {
  const challenges = new Challenges(newPassKey(NOW))
  const challenge = challenges.issue({ ...terms, difficulty: 1 }, NOW)
  const solution = solve(challenge, 1)
  const { pass } = granted(challenges.redeem(solution, BINDING, NOW))
  const changed = (text: string, at: number, by: number): string => {
    const bytes = Buffer.from(text, 'base64url')
    bytes[at % bytes.length]! ^= by
    return bytes.toString('base64url')
  }
  fc.assert(
    fc.property(fc.nat(200), fc.integer({ min: 1, max: 255 }), (at, by) => {
      assert.equal(challenges.check(changed(pass, at, by), BINDING, NOW), undefined)
      const [, counter] = solution.split('.')
      assert.ok('refused' in challenges.redeem(`${changed(challenge, at, by)}.${counter}`, BINDING, NOW))
    }),
  )
})

test('property: whatever is shown is answered, never thrown at', () => {
  const challenges = new Challenges(newPassKey(NOW))
  const text = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.stringMatching(/^[A-Za-z0-9_-]{52}$/),
    fc.stringMatching(/^[A-Za-z0-9_-]{64}\.[0-9]{1,18}$/),
  )
  fc.assert(
    fc.property(text, (given) => {
      assert.equal(challenges.check(given, BINDING, NOW), undefined)
      assert.ok('refused' in challenges.redeem(given, BINDING, NOW))
    }),
  )
})

test('keys are made anew every hour, and kept as long as a pass may last', () => {
  let keys = currentPassKeys([], NOW)
  assert.equal(keys.length, 1)
  assert.equal(currentPassKeys(keys, NOW + HOUR - 1), keys)
  for (let hour = 1; hour <= 100; hour++) keys = currentPassKeys(keys, NOW + hour * HOUR)
  const nowMs = NOW + 100 * HOUR
  assert.ok(keys.length <= PASS_KEYS_MAX && keys.length >= 25, String(keys.length))
  assert.equal(keys[0]!.madeAtMs, nowMs)
  assert.ok(keys.every(({ madeAtMs }) => nowMs - madeAtMs <= 26 * HOUR))
  assert.deepEqual(livingPassKeys(keys, nowMs + 30 * HOUR), [])
  // A clock that was set back by a day.
  assert.equal(currentPassKeys(keys, nowMs - 24 * HOUR)[0]!.madeAtMs, nowMs - 24 * HOUR)
})
