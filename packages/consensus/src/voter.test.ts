import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { signingBytes, verifyCertificate } from './certificate.ts'
import type {
  Block,
  Certificate,
  Digest,
  Effect,
  JournalRecord,
  Message,
  Proposal,
  Scheme,
  Vote,
  VoteKind,
  VoterEvent,
} from './types.ts'
import { Voter } from './voter.ts'
import { genesisBlock, makeBlock } from './wire.ts'

const RING = 'test'

/** Stands in for signatures: a keyed hash that only the holder of the validator's secret makes. */
function schemeOf(self: number): Scheme {
  const mac = (signer: number, message: Uint8Array): Uint8Array =>
    new Uint8Array(createHash('sha256').update(`secret-${signer}`).update(message).digest())
  return {
    sign: (message) => mac(self, message),
    verify: (signer, message, signature) => Buffer.compare(mac(signer, message), signature) === 0,
    hash: (raw) => createHash('sha256').update(raw).digest('hex') as Digest,
  }
}

const config = (validators: number, self: number) => ({ ring: RING, validators, self, roundMs: 100, heartbeatMs: 1_000 })

function vote(kind: VoteKind, round: number, digest: Digest | undefined, signer: number): Vote {
  return { kind, round, digest, signer, signature: schemeOf(signer).sign(signingBytes(kind, RING, round, digest)) }
}

function certificate(kind: VoteKind, round: number, digest: Digest | undefined, signers: readonly number[]): Certificate {
  const signatures = signers.map((signer) => ({ signer, signature: vote(kind, round, digest, signer).signature }))
  return { kind, round, digest, signatures }
}

function propose(parts: Partial<Block> & { round: number; proposer: number }, more: Partial<Proposal> = {}): Proposal {
  const block = makeBlock({ height: 1, parent: genesisBlock(RING).digest, timestampMs: 1, payload: new Uint8Array(0), ...parts })
  const signature = schemeOf(parts.proposer).sign(signingBytes('proposal', RING, block.round, block.digest))
  return { block, parentCertificate: undefined, nullifications: [], signature, ...more }
}

/** One validator under test, with what it did. */
class Bench {
  readonly voter: Voter
  effects: Effect[] = []
  readonly journal: JournalRecord[] = []

  constructor(voter: Voter) {
    this.voter = voter
  }

  do(event: VoterEvent): readonly Effect[] {
    const effects = this.voter.step(event, 0)
    this.effects.push(...effects)
    for (const effect of effects) if (effect.kind === 'persist') this.journal.push(effect.record)
    return effects
  }

  hear(from: number, message: Message): readonly Effect[] {
    return this.do({ kind: 'message', from, message })
  }

  votes(kind: VoteKind): readonly Vote[] {
    return this.effects.flatMap((effect) =>
      effect.kind === 'send' && effect.message.kind === 'vote' && effect.message.vote.kind === kind ? [effect.message.vote] : [],
    )
  }
}

/** Validator 0 of 4, in round 1, whose leader is 1. */
function bench(self = 0, validators = 4): Bench {
  const made = new Bench(new Voter(config(validators, self), schemeOf(self), genesisBlock(RING)))
  made.do({ kind: 'start' })
  return made
}

test('a ring of one finalizes what it proposes, in one step', () => {
  const solo = bench(0, 1)
  const asked = solo.effects.find(({ kind }) => kind === 'propose')
  assert.ok(asked)
  solo.do({ kind: 'proposed', round: 1, payload: Uint8Array.of(7), timestampMs: 5 })
  const final = solo.effects.find((effect) => effect.kind === 'finalized')
  assert.equal(final?.blocks.length, 1)
  assert.deepEqual(final?.blocks[0]?.payload, Uint8Array.of(7))
  assert.ok(verifyCertificate(config(1, 0), schemeOf(0), final?.certificate as Certificate))
  assert.equal(solo.voter.status().round, 2)
})

test('a valid proposal is persisted, then voted for; a quorum notarizes, then finalizes it', () => {
  const one = bench()
  const proposal = propose({ round: 1, proposer: 1 })
  const { digest } = proposal.block
  one.hear(1, { kind: 'proposal', proposal })
  assert.equal(one.votes('notarize').length, 0, 'not before the application agreed')
  const effects = one.do({ kind: 'verified', digest, valid: true })
  const kinds = effects.map((effect) => (effect.kind === 'persist' ? `persist ${effect.record.kind}` : effect.kind))
  assert.deepEqual(kinds, ['persist proposal', 'persist vote', 'send'])
  for (const signer of [1, 2]) one.hear(signer, { kind: 'vote', vote: vote('notarize', 1, digest, signer) })
  assert.equal(one.voter.status().round, 2)
  assert.equal(one.votes('finalize').length, 1)
  for (const signer of [1, 2]) one.hear(signer, { kind: 'vote', vote: vote('finalize', 1, digest, signer) })
  assert.equal(one.voter.status().finalizedHeight, 1)
})

test('a block that the application refuses gets no vote', () => {
  const one = bench()
  const proposal = propose({ round: 1, proposer: 1 })
  one.hear(1, { kind: 'proposal', proposal })
  one.do({ kind: 'verified', digest: proposal.block.digest, valid: false })
  assert.equal(one.votes('notarize').length, 0)
})

test('after the timer: nullify, and neither notarize nor finalize in that round, whatever comes', () => {
  const one = bench()
  one.do({ kind: 'timeout', round: 1 })
  assert.equal(one.votes('nullify').length, 1)
  const proposal = propose({ round: 1, proposer: 1 })
  one.hear(1, { kind: 'proposal', proposal })
  one.do({ kind: 'verified', digest: proposal.block.digest, valid: true })
  for (const signer of [1, 2, 3]) one.hear(signer, { kind: 'vote', vote: vote('notarize', 1, proposal.block.digest, signer) })
  assert.equal(one.votes('notarize').length + one.votes('finalize').length, 0)
  assert.equal(one.voter.status().round, 2, 'but it goes on with the others')
})

test('a round that is finalized is not nullified by a late timer', () => {
  const one = bench()
  const proposal = propose({ round: 1, proposer: 1 })
  for (const signer of [1, 2, 3]) one.hear(signer, { kind: 'vote', vote: vote('notarize', 1, proposal.block.digest, signer) })
  one.do({ kind: 'timeout', round: 1 })
  assert.equal(one.votes('finalize').length, 1)
  assert.equal(one.votes('nullify').length, 0)
})

test('f + 1 nullify votes are joined; one alone, which may be a liar, is not', () => {
  const one = bench()
  one.hear(2, { kind: 'vote', vote: vote('nullify', 1, undefined, 2) })
  assert.equal(one.votes('nullify').length, 0)
  one.hear(3, { kind: 'vote', vote: vote('nullify', 1, undefined, 3) })
  assert.equal(one.votes('nullify').length, 1)
  assert.equal(one.voter.status().round, 2, 'three of four is a quorum')
})

test('a proposal must show its parent and a nullification for each round it skips', () => {
  const skipped = certificate('nullify', 1, undefined, [1, 2, 3])
  const cases: readonly [string, Proposal, boolean][] = [
    ['with the nullification', propose({ round: 2, proposer: 2 }, { nullifications: [skipped] }), true],
    ['without', propose({ round: 2, proposer: 2 }), false],
    [
      'one of another round',
      propose({ round: 2, proposer: 2 }, { nullifications: [certificate('nullify', 2, undefined, [1, 2, 3])] }),
      false,
    ],
    [
      'an invented parent',
      propose({ round: 2, proposer: 2, parent: 'ab'.repeat(32) as Digest }, { nullifications: [skipped] }),
      false,
    ],
  ]
  for (const [name, proposal, wanted] of cases) {
    const one = bench()
    one.hear(1, { kind: 'certificate', certificate: skipped })
    one.hear(2, { kind: 'proposal', proposal })
    assert.equal(
      one.effects.some(({ kind }) => kind === 'verify'),
      wanted,
      name,
    )
  }
})

test('a nullification short of a quorum justifies nothing', () => {
  const one = bench()
  one.hear(2, {
    kind: 'proposal',
    proposal: propose({ round: 2, proposer: 2 }, { nullifications: [certificate('nullify', 1, undefined, [1, 2])] }),
  })
  assert.equal(one.voter.status().refused, 1)
  assert.equal(one.voter.status().round, 1)
})

test('forged, foreign and misdirected messages change nothing and are counted', () => {
  const one = bench()
  const good = vote('nullify', 1, undefined, 2)
  one.hear(2, { kind: 'vote', vote: { ...good, signature: new Uint8Array(32) } })
  one.hear(3, { kind: 'vote', vote: good })
  one.hear(2, { kind: 'vote', vote: vote('nullify', 9_999, undefined, 2) })
  one.hear(2, {
    kind: 'certificate',
    certificate: {
      ...certificate('nullify', 1, undefined, [1, 2]),
      signatures: [...certificate('nullify', 1, undefined, [1, 2]).signatures, { signer: 3, signature: new Uint8Array(32) }],
    },
  })
  one.hear(3, { kind: 'proposal', proposal: propose({ round: 1, proposer: 3 }) })
  one.hear(77, { kind: 'vote', vote: good })
  assert.equal(one.voter.status().refused, 6)
  // The first vote and the certificate: the others are at worst misplaced, and may come from who is merely ahead.
  assert.equal(one.voter.status().forged, 2)
  assert.equal(one.voter.status().round, 1)
})

test('a validator that signs two votes or two proposals is accused, once, and still counted once', () => {
  const one = bench()
  const [a, b] = [propose({ round: 1, proposer: 1 }), propose({ round: 1, proposer: 1, timestampMs: 2 })]
  one.hear(1, { kind: 'proposal', proposal: a })
  one.hear(1, { kind: 'proposal', proposal: b })
  one.hear(1, { kind: 'proposal', proposal: b })
  one.hear(2, { kind: 'vote', vote: vote('notarize', 1, a.block.digest, 2) })
  one.hear(2, { kind: 'vote', vote: vote('notarize', 1, b.block.digest, 2) })
  one.hear(3, { kind: 'vote', vote: vote('finalize', 1, a.block.digest, 3) })
  one.hear(3, { kind: 'vote', vote: vote('nullify', 1, undefined, 3) })
  const accused = one.effects.flatMap((effect) =>
    effect.kind === 'evidence' ? [[effect.evidence.kind, effect.evidence.validator]] : [],
  )
  assert.deepEqual(accused, [
    ['proposals', 1],
    ['votes', 2],
    ['votes', 3],
  ])
})

test('a certificate of a round ahead takes a lagging validator there; an old message is answered with one, once', () => {
  const one = bench()
  one.hear(2, { kind: 'certificate', certificate: certificate('nullify', 40, undefined, [1, 2, 3]) })
  assert.equal(one.voter.status().round, 41)
  const answers = (): number => one.effects.filter((effect) => effect.kind === 'send' && effect.to === 3).length
  for (let i = 0; i < 3; i += 1) one.hear(3, { kind: 'vote', vote: vote('nullify', 2 + i, undefined, 3) })
  assert.equal(answers(), 1)
})

test('a notarized block that is not here is fetched; only what a certificate names is taken', () => {
  const one = bench()
  const { block } = propose({ round: 1, proposer: 1 })
  one.hear(2, { kind: 'certificate', certificate: certificate('notarize', 1, block.digest, [1, 2, 3]) })
  const fetched = one.effects.find((effect) => effect.kind === 'fetch')
  assert.equal(fetched?.digest, block.digest)
  one.hear(2, { kind: 'certificate', certificate: certificate('finalize', 1, block.digest, [1, 2, 3]) })
  one.do({ kind: 'block', block: propose({ round: 1, proposer: 1, timestampMs: 99 }).block })
  assert.equal(one.voter.status().finalizedHeight, 0)
  one.do({ kind: 'block', block: { ...block, digest: 'ff'.repeat(32) as Digest } })
  assert.equal(one.voter.status().finalizedHeight, 1, 'the digest is computed, not believed')
})

test('restored from its journal, a validator repeats what it said and contradicts none of it', () => {
  const one = bench()
  const proposal = propose({ round: 1, proposer: 1 })
  one.hear(1, { kind: 'proposal', proposal })
  one.do({ kind: 'verified', digest: proposal.block.digest, valid: true })
  const again = new Bench(Voter.restore(config(4, 0), schemeOf(0), undefined, one.journal))
  again.do({ kind: 'start' })
  assert.deepEqual(again.votes('notarize'), one.votes('notarize'))
  again.effects = []
  const other = propose({ round: 1, proposer: 1, timestampMs: 3 })
  again.hear(1, { kind: 'proposal', proposal: other })
  again.do({ kind: 'verified', digest: other.block.digest, valid: true })
  assert.equal(again.votes('notarize').length, 0)
})

test('a leader restored after proposing proposes nothing else in that round', () => {
  const leader = bench(1)
  leader.do({ kind: 'proposed', round: 1, payload: Uint8Array.of(1), timestampMs: 1 })
  const again = new Bench(Voter.restore(config(4, 1), schemeOf(1), undefined, leader.journal))
  again.do({ kind: 'start' })
  assert.equal(
    again.effects.some(({ kind }) => kind === 'propose'),
    false,
  )
  again.do({ kind: 'proposed', round: 1, payload: Uint8Array.of(2), timestampMs: 2 })
  const sent = again.effects.flatMap((effect) =>
    effect.kind === 'send' && effect.message.kind === 'proposal' ? [effect.message.proposal.block.payload] : [],
  )
  assert.deepEqual(sent, [Uint8Array.of(1)])
})

test('an idle round waits for the heartbeat; work that arrives shortens it, once', () => {
  const one = bench()
  const timers = (): readonly number[] => one.effects.flatMap((effect) => (effect.kind === 'timer' ? [effect.afterMs] : []))
  assert.deepEqual(timers(), [1_100])
  one.do({ kind: 'pending' })
  one.do({ kind: 'pending' })
  assert.deepEqual(timers(), [1_100, 100])
})

test('what the journal shows to be final is final again, when the shell has lost it', () => {
  const solo = bench(0, 1)
  for (const round of [1, 2, 3]) solo.do({ kind: 'proposed', round, payload: Uint8Array.of(round), timestampMs: round })
  const first = solo.effects.find((effect) => effect.kind === 'finalized')
  assert.ok(first)
  const again = new Bench(
    Voter.restore(config(1, 0), schemeOf(0), { block: first.blocks[0] as Block, certificate: first.certificate }, solo.journal),
  )
  again.do({ kind: 'start' })
  assert.equal(again.voter.status().finalizedHeight, 3)
})

/** Nullifies rounds until `round`, by the votes of `signers`. */
function nullifyUntil(one: Bench, round: number, signers: readonly number[]): void {
  for (let at = one.voter.status().round; at < round; at = one.voter.status().round) {
    one.do({ kind: 'timeout', round: at })
    for (const signer of signers) one.hear(signer, { kind: 'vote', vote: vote('nullify', at, undefined, signer) })
  }
}

test('a leader of whom nothing was heard for two rotations is not waited for; one that speaks again is', () => {
  const one = bench()
  // Validator 3 never speaks: it leads rounds 3, 7 and 11.
  nullifyUntil(one, 7, [1, 2])
  assert.ok(!one.votes('nullify').some(({ round }) => round === 7), 'still waited for in its second round')
  nullifyUntil(one, 11, [1, 2])
  assert.ok(
    one.votes('nullify').some(({ round }) => round === 11),
    'nullified without a timeout',
  )
  assert.equal(one.voter.status().round, 11, 'alone that changes nothing')
  nullifyUntil(one, 15, [1, 2])
  one.hear(3, { kind: 'vote', vote: vote('nullify', 15, undefined, 3) })
  nullifyUntil(one, 19, [1, 2, 3])
  assert.ok(!one.votes('nullify').some(({ round }) => round === 19))
})

/** Rounds of the leader `index` of four, from the first on, and whether this validator gave up on them at once. */
function givenUp(one: Bench, index: number, turns: number, play: (round: number) => void): readonly boolean[] {
  return Array.from({ length: turns }, (_, turn) => {
    const round = index + 4 * turn
    while (one.voter.status().round < round) play(one.voter.status().round)
    const atOnce = one.votes('nullify').some((each) => each.round === round)
    // It is heard of in each of its turns: silence is not what makes it skipped.
    one.hear(index, { kind: 'vote', vote: vote('nullify', round, undefined, index) })
    return atOnce
  })
}

/** A block of everybody but `bad`; the rounds of those end without one. */
function playWithout(one: Bench, bad: readonly number[]): (round: number) => void {
  return (round) => {
    if (bad.includes(round % 4)) {
      one.do({ kind: 'timeout', round })
      for (const signer of [1, 2]) one.hear(signer, { kind: 'vote', vote: vote('nullify', round, undefined, signer) })
      return
    }
    const digest = createHash('sha256').update(String(round)).digest('hex') as Digest
    one.hear(round % 4 || 1, { kind: 'certificate', certificate: certificate('notarize', round, digest, [0, 1, 2]) })
  }
}

test('a leader that talks and never leads to a block is waited for in ever fewer rotations, never in none', () => {
  const one = bench()
  const turns = givenUp(one, 3, 48, playWithout(one, [3]))
  assert.equal(turns[0], false, 'the first time it is waited for')
  const waited = turns.flatMap((atOnce, turn) => (atOnce ? [] : [turn]))
  assert.deepEqual(waited, [0, 2, 4, 8, 16, 32], 'every second rotation, every fourth, up to every sixteenth, the same for all')
})

test('one block of a leader that was given up on makes it waited for again in each rotation', () => {
  const one = bench()
  givenUp(one, 3, 16, playWithout(one, [3]))
  const round = one.voter.status().round
  assert.equal(round % 4, 3)
  const digest = 'cd'.repeat(32) as Digest
  one.hear(1, { kind: 'certificate', certificate: certificate('notarize', round, digest, [0, 1, 2]) })
  const play = playWithout(one, [])
  for (let turn = 0; turn < 4; turn += 1) {
    do play(one.voter.status().round)
    while (one.voter.status().round % 4 !== 3)
    const at = one.voter.status().round
    assert.ok(!one.votes('nullify').some((each) => each.round === at), `round ${at} was given up on`)
  }
})

test('when more than f leaders come to nothing it is the network that is slow, and each is waited for', () => {
  const one = bench()
  const turns = givenUp(one, 3, 24, playWithout(one, [2, 3]))
  assert.ok(
    turns.every((atOnce) => !atOnce),
    'a rotation was given up on',
  )
})

test('the timer follows what rounds take, within bounds, and grows when leaders that are waited for fail', () => {
  const made = new Voter(config(4, 0), schemeOf(0), genesisBlock(RING))
  let nowMs = 0
  let effects: readonly Effect[] = []
  const feed = (event: VoterEvent) => {
    effects = [...effects, ...made.step(event, nowMs)]
  }
  const timer = () => effects.findLast((effect) => effect.kind === 'timer')?.afterMs
  feed({ kind: 'start' })
  feed({ kind: 'pending' })
  assert.equal(timer(), 100, 'roundMs, as long as nothing is known')
  for (let round = 1; round <= 8; round += 1) {
    feed({ kind: 'pending' })
    nowMs += 10
    const digest = 'ab'.repeat(32) as Digest
    feed({
      kind: 'message',
      from: 1,
      message: { kind: 'certificate', certificate: certificate('notarize', round, digest, [1, 2, 3]) },
    })
  }
  feed({ kind: 'pending' })
  assert.equal(timer(), 30, 'three times the slowest')
  feed({
    kind: 'message',
    from: 1,
    message: { kind: 'certificate', certificate: certificate('nullify', 9, undefined, [1, 2, 3]) },
  })
  feed({ kind: 'pending' })
  assert.equal(timer(), 60)
  for (let round = 10; round <= 30; round += 1) {
    const nullified = certificate('nullify', round, undefined, [1, 2, 3])
    for (const from of [1, 2, 3]) feed({ kind: 'message', from, message: { kind: 'certificate', certificate: nullified } })
  }
  feed({ kind: 'pending' })
  assert.equal(timer(), 800, 'never more than eight times roundMs')
})

test('a voter that begins after another set of validators builds on the block that was handed over, without a certificate', () => {
  const base = makeBlock({
    round: 41,
    height: 9,
    parent: genesisBlock(RING).digest,
    proposer: 2,
    timestampMs: 7,
    payload: Uint8Array.of(1),
  })
  const leader = new Bench(new Voter(config(4, 2), schemeOf(2), base))
  leader.do({ kind: 'start' })
  assert.equal(leader.voter.status().round, 42)
  const asked = leader.effects.find((effect) => effect.kind === 'propose')
  assert.equal(asked?.parent.digest, base.digest)
  leader.do({ kind: 'proposed', round: 42, payload: Uint8Array.of(5), timestampMs: 8 })
  const sent = leader.effects.flatMap((effect) =>
    effect.kind === 'send' && effect.message.kind === 'proposal' ? [effect.message.proposal] : [],
  )[0]
  assert.ok(sent)
  assert.deepEqual([sent.block.height, sent.parentCertificate, sent.nullifications.length], [10, undefined, 0])

  const follower = new Bench(Voter.restore(config(4, 0), schemeOf(0), undefined, [], base))
  follower.do({ kind: 'start' })
  follower.hear(2, { kind: 'proposal', proposal: sent })
  assert.ok(follower.effects.some((effect) => effect.kind === 'verify' && effect.block.digest === sent.block.digest))
  const stranger = propose({ round: 42, proposer: 2, height: 10 })
  const other = new Bench(new Voter(config(4, 0), schemeOf(0), base))
  other.do({ kind: 'start' })
  other.hear(2, { kind: 'proposal', proposal: stranger })
  assert.ok(!other.effects.some(({ kind }) => kind === 'verify'), 'genesis is not its base')
})
