import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { type Accusation, decodeAccusation, encodeAccusation, verifyCeremonyAccusation } from './blame.ts'
import { beginCeremony, decodeState, encodeState, step } from './ceremony.ts'
import { ThresholdError } from './errors.ts'
import type { KeyShare, PublicKey } from './key.ts'
import { Ceremony } from './plan.ts'
import { add, lagrangeAtZero, multiply, type Scalar } from './scalar.ts'
import { loadSodium } from './sodium.ts'
import { attestationOf, attestsOf, hold, type Outcome, people, plan, type Someone } from './test-ring.ts'
import { sameBytes } from './wire.ts'

// As nodes do.
await loadSodium()

function interpolate(shares: readonly KeyShare[]): Scalar {
  const weights = lagrangeAtZero(shares.map(({ index }) => index))
  return shares.reduce((sum, { secret }, i) => add(sum, multiply(weights[i] as Scalar, secret.reveal())), 0n)
}

function keyOf({ publicKey }: Outcome): PublicKey {
  assert.ok(publicKey !== undefined, 'the ceremony completed')
  return publicKey
}

const sharesOf = (ring: readonly Someone[]): readonly KeyShare[] => ring.map(({ share }) => share as KeyShare)

for (const suite of ['ed25519', 'ristretto255'] as const) {
  test(`four parties generate a key of ${suite}: any three shares make the secret of it, two do not`, () => {
    const ring = people(4)
    const outcome = hold(plan(ring, 3, suite), ring)
    const publicKey = keyOf(outcome)
    assert.deepEqual(outcome.accusations, [])
    const [one, two, three, four] = sharesOf(ring) as [KeyShare, KeyShare, KeyShare, KeyShare]
    const secret = interpolate([one, two, three])
    assert.equal(interpolate([four, two, one]), secret)
    assert.notEqual(interpolate([one, two]), secret)
    const { group } = publicKey
    assert.deepEqual(group.encode(group.multiplyBase(secret)), publicKey.groupKey)
  })
}

test('every step through the durable form: the same key comes out, and no secret is in it', () => {
  const ring = people(4)
  const outcome = hold(plan(ring, 2, 'ristretto255'), ring, { throughDisk: true })
  keyOf(outcome)
  for (const { party, encryption, share } of ring) {
    const state = outcome.states.get(party)
    assert.ok(state !== undefined)
    const bytes = Buffer.from(encodeState(state))
    assert.equal(bytes.includes(Buffer.from(encryption.secret.revealBytes())), false)
    assert.equal(bytes.includes(Buffer.from((share as KeyShare).secret.revealBytes())), false)
  }
})

test('a ceremony that was done comes back with its share after a crash', () => {
  const ring = people(3)
  const outcome = hold(plan(ring, 2, 'ristretto255'), ring)
  const [first] = ring as [Someone]
  const state = outcome.states.get(first.party)
  assert.ok(state !== undefined)
  const { effects } = decodeState(encodeState(state), { encryptionKey: first.encryption.secret })
  const [complete] = effects
  assert.ok(complete?.kind === 'complete')
  assert.equal(complete.share?.secret.reveal(), first.share?.secret.reveal())
})

test('a dealer that restarts deals the same again, and only says what the board lacks', () => {
  const ring = people(3)
  const [first] = ring as [Someone]
  const ceremony = plan(ring, 2, 'ristretto255')
  const tools = { encryptionKey: first.encryption.secret }
  const began = step(beginCeremony(ceremony, first.party), { kind: 'begin', seed: randomBytes(32), share: undefined }, tools)
  assert.deepEqual(
    began.effects.map(({ kind }) => kind),
    ['persist', 'post'],
  )
  const restored = decodeState(encodeState(began.state), tools).state
  const again = step(restored, { kind: 'begin', seed: randomBytes(32), share: undefined }, tools)
  assert.deepEqual(again.effects, [began.effects[1]])
  assert.deepEqual(step(restored, { kind: 'resume' }, tools).effects, [began.effects[1]])
  const body = began.state.ownDealing as Uint8Array
  const seen = step(restored, { kind: 'posted', from: first.party, body, attestation: attestationOf(first, body) }, tools)
  assert.deepEqual(step(seen.state, { kind: 'resume' }, tools).effects, [])
})

test('a key is handed on to other parties and another threshold, and stays the same key', () => {
  const ring = people(4)
  const publicKey = keyOf(hold(plan(ring, 2, 'ed25519'), ring))
  const secret = interpolate(sharesOf(ring).slice(0, 2))
  const old = sharesOf(ring)
  // Two stay, under other identifiers' neighbours; three come.
  const next = [...ring.slice(0, 2), ...people(3, 10)]
  const everybody = [...new Set([...ring, ...next])]
  const reshared = keyOf(hold(plan(next, 3, 'ed25519', publicKey), everybody))
  assert.deepEqual(reshared.groupKey, publicKey.groupKey)
  assert.equal(reshared.epoch, 1)
  assert.equal(sameBytes(reshared.id, publicKey.id), false)
  assert.equal(interpolate(sharesOf(next).slice(0, 3)), secret)
  assert.notEqual(interpolate([old[3] as KeyShare, ...sharesOf(next).slice(0, 1)]), secret)
  assert.equal(ring[2]?.share, undefined, 'who left has no share')
})

test('a refresh makes stolen shares useless: t-1 of each epoch do not make the secret', () => {
  const ring = people(5)
  const publicKey = keyOf(hold(plan(ring, 3, 'ristretto255'), ring))
  const old = sharesOf(ring)
  const secret = interpolate(old.slice(0, 3))
  keyOf(hold(plan(ring, 3, 'ristretto255', publicKey), ring))
  const fresh = sharesOf(ring)
  assert.equal(interpolate(fresh.slice(2)), secret)
  assert.notEqual(interpolate([...old.slice(0, 2), ...fresh.slice(2, 3)]), secret)
  assert.notEqual(interpolate([...old.slice(0, 2), ...fresh.slice(2, 4)]), secret)
})

test('who lost its share gets one in the next resharing, without dealing', () => {
  const ring = people(4)
  const publicKey = keyOf(hold(plan(ring, 2, 'ristretto255'), ring))
  const secret = interpolate(sharesOf(ring).slice(0, 2))
  const loser = ring[3] as Someone
  loser.share = undefined
  const ceremony = plan(ring, 2, 'ristretto255', publicKey)
  const { accusations } = hold(ceremony, ring)
  assert.deepEqual(
    accusations.map(({ party, fault }) => [party, fault]),
    [[loser.party, 'silent-dealer']],
  )
  assert.equal(interpolate([loser.share as unknown as KeyShare, ring[0]?.share as KeyShare]), secret)
})

function only(accusations: readonly Accusation[]): Accusation {
  assert.equal(accusations.length, 1)
  return accusations[0] as Accusation
}

test('evidence of a dealer that changed its dealing is checked by a stranger, and serves against nobody else', () => {
  const ring = people(4)
  const ceremony = plan(ring, 2, 'ed25519')
  const outcome = hold(ceremony, ring, {
    post: (someone, body) => {
      if (someone.index !== 2 || body[4] !== 1) return [body]
      const changed = body.slice()
      changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1
      return [changed]
    },
  })
  keyOf(outcome)
  const accusation = only(outcome.accusations)
  assert.equal(accusation.party, 'node-2')
  assert.equal(accusation.fault, 'malformed-dealing')
  const attests = attestsOf(ring)
  assert.ok(verifyCeremonyAccusation(ceremony, decodeAccusation(encodeAccusation(accusation)), attests))
  assert.equal(verifyCeremonyAccusation(ceremony, { ...accusation, party: 'node-1' }, attests), false)
  assert.equal(verifyCeremonyAccusation(plan(ring, 3, 'ed25519'), accusation, attests), false, 'another ceremony')
  const [own] = accusation.evidence
  assert.ok(own !== undefined)
  const forged = { ...accusation, evidence: [{ ...own, attestation: randomBytes(64) }] }
  assert.equal(verifyCeremonyAccusation(ceremony, forged, attests), false, 'a false attestation')
})

test('a good dealing is no evidence, whatever it is called', () => {
  const ring = people(3)
  const ceremony = plan(ring, 2, 'ristretto255')
  const { board } = hold(ceremony, ring)
  const posts = board.flatMap((event) => (event.kind === 'posted' ? [event] : []))
  const attests = attestsOf(ring)
  for (const fault of [
    'malformed-dealing',
    'malformed-answer',
    'equivocation',
    'bad-share',
    'false-complaint',
    'unproven-complaint',
  ] as const)
    for (const own of posts)
      for (const other of posts)
        assert.equal(
          verifyCeremonyAccusation(
            ceremony,
            { party: own.from, fault, evidence: [own, other], subject: new Uint8Array(0) },
            attests,
          ),
          own.from === other.from && own !== other && fault === 'equivocation' && own.body[4] === other.body[4],
        )
})

test('fewer dealings than the threshold abort, with the names of the silent', () => {
  const ring = people(4)
  const ceremony = plan(ring, 3, 'ristretto255')
  const outcome = hold(ceremony, ring, { post: ({ index }, body) => (index > 2 ? [] : [body]) })
  assert.equal(outcome.publicKey, undefined)
  for (const { phase } of outcome.states.values()) assert.equal(phase, 'aborted')
  assert.deepEqual(new Set(outcome.accusations.map(({ party }) => party)), new Set(['node-3', 'node-4']))
})

const codeOf = (code: string) => (error: unknown) => error instanceof ThresholdError && error.code === code

test('ceremonies that make no sense are refused by name of what is wrong', () => {
  const ring = people(3)
  const [one, two] = ring as [Someone, Someone]
  const receiver = ({ party, index, encryption }: Someone) => ({ party, index, encryptionKey: encryption.publicKey })
  const make = (receivers: readonly ReturnType<typeof receiver>[], threshold = 2) =>
    new Ceremony({ suite: 'ed25519', purpose: 'test', attempt: 0, threshold, receivers, previous: undefined })
  assert.throws(() => make([receiver(one)]), codeOf('THRESHOLD_CONFIG'))
  assert.throws(() => make(ring.map(receiver), 1), codeOf('THRESHOLD_CONFIG'))
  assert.throws(() => make(ring.map(receiver), 4), codeOf('THRESHOLD_CONFIG'))
  assert.throws(() => make([receiver(one), { ...receiver(two), index: 1 }]), codeOf('THRESHOLD_IDENTIFIER'))
  assert.throws(() => make([{ ...receiver(one), index: 0 }, receiver(two)]), codeOf('THRESHOLD_IDENTIFIER'))
  assert.throws(() => make([receiver(one), { ...receiver(two), party: one.party }]), codeOf('THRESHOLD_CONFIG'))
  assert.throws(
    () => make([receiver(one), { ...receiver(two), encryptionKey: one.encryption.publicKey }]),
    codeOf('THRESHOLD_CONFIG'),
  )
  assert.throws(() => make([receiver(two), receiver(one)]), codeOf('THRESHOLD_CONFIG'))
  assert.throws(() => make([receiver(one), { ...receiver(two), party: 'with space' }]), codeOf('THRESHOLD_CONFIG'))
  assert.throws(() => beginCeremony(make(ring.map(receiver)), 'stranger'), codeOf('THRESHOLD_CONFIG'))
})

test('what strangers post, what is too long and what is of another type changes nothing', () => {
  const ring = people(3)
  const [first] = ring as [Someone]
  const ceremony = plan(ring, 2, 'ristretto255')
  const state = beginCeremony(ceremony, first.party)
  const tools = { encryptionKey: first.encryption.secret }
  const attestation = new Uint8Array(64)
  const events = [
    { from: 'stranger', body: new Uint8Array(100) },
    { from: first.party, body: new Uint8Array(0) },
    { from: first.party, body: new Uint8Array(200_000) },
    { from: first.party, body: ceremony.encode() },
  ]
  for (const { from, body } of events) {
    const after = step(state, { kind: 'posted', from, body, attestation }, tools)
    assert.equal(after.state, state)
    assert.deepEqual(after.effects, [])
  }
})
