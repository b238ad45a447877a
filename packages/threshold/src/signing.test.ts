/** Signer and coordinator: one round, nonces used once, liars named, the silent gone round. */
import assert from 'node:assert/strict'
import { createPublicKey, randomBytes, verify } from 'node:crypto'
import { test } from 'node:test'
import { ed25519 } from '@noble/curves/ed25519.js'
import { type Accusation, decodeAccusation, encodeAccusation } from './blame.ts'
import { Coordinator, type CoordinatorEffect } from './coordinator.ts'
import { ThresholdError } from './errors.ts'
import { aggregate, decodeCommitment, NoncePair, signingContext, signShare, verifyShare } from './frost.ts'
import { dealTrusted, type KeyShare } from './key.ts'
import { verifyKeyAccusation } from './key-blame.ts'
import { hashToScalar } from './scalar.ts'
import { Signer, STOCK_MAX } from './signer.ts'
import {
  BATCH_MAX,
  CommitmentMemo,
  decodeCommitments,
  decodeRequest,
  digestOf,
  encodeCommitments,
  encodeRequest,
  encodeSignatureShare,
  requestedMessage,
  splitCommitments,
} from './signing-wire.ts'
import { loadSodium } from './sodium.ts'

// As nodes do.
await loadSodium()

const members = [1, 2, 3, 4].map((index) => ({ party: `node-${index}`, index }))
const draw = (label: string) => hashToScalar('test', [new TextEncoder().encode(label)])
const parts = { suite: 'ed25519', purpose: 'signing', epoch: 0, threshold: 3, members } as const
const shares = dealTrusted(parts, [draw('a'), draw('b'), draw('c')])
const { publicKey } = shares[0] as KeyShare
const memo = new CommitmentMemo()
const attestation = new Uint8Array(1)
const anybody = (): boolean => true

function verifies(signature: Uint8Array, message: Uint8Array): boolean {
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey.groupKey])
  return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
}

function send(signer: Signer, pairs = 1): Uint8Array {
  const effects = signer.step({ kind: 'provision', random: randomBytes(64 * pairs) })
  assert.deepEqual(
    effects.map(({ kind }) => kind),
    ['persist', 'send'],
    'the number is durable before it is used',
  )
  return (effects[1] as { body: Uint8Array }).body
}

/** All signers, and a coordinator that has `pairs` commitments of each. */
function ring(pairs: number): { readonly signers: Map<string, Signer>; readonly coordinator: Coordinator } {
  const coordinator = new Coordinator(publicKey, memo)
  const signers = new Map(shares.map((share, i) => [`node-${i + 1}`, new Signer(share, 0, memo)]))
  for (const [from, signer] of signers)
    assert.deepEqual(coordinator.step({ kind: 'commitments', from, body: send(signer, pairs), attestation }), [])
  return { signers, coordinator }
}

type Reply = (party: string, honest: Uint8Array, request: Uint8Array) => Uint8Array | undefined

/** Answers requests until there are none; `reply` is what is sent in place of an honest share. */
function answer(
  { signers, coordinator }: ReturnType<typeof ring>,
  effects: readonly CoordinatorEffect[],
  reply: Reply = (_, honest) => honest,
): readonly CoordinatorEffect[] {
  const seen: CoordinatorEffect[] = []
  const queue = [...effects]
  for (let effect = queue.shift(); effect !== undefined; effect = queue.shift()) {
    seen.push(effect)
    if (effect.kind !== 'request') continue
    const [made] = (signers.get(effect.to) as Signer).step({ kind: 'sign', request: effect.body })
    assert.ok(made?.kind === 'send', 'an honest request is answered')
    const body = reply(effect.to, made.body, effect.body)
    if (body !== undefined) queue.push(...coordinator.step({ kind: 'share', from: effect.to, body, attestation }))
  }
  return seen
}

const signatureIn = (effects: readonly CoordinatorEffect[]): Uint8Array | undefined =>
  effects.flatMap((effect) => (effect.kind === 'signature' ? [effect.signature] : []))[0]
const accusationsIn = (effects: readonly CoordinatorEffect[]): readonly Accusation[] =>
  effects.flatMap((effect) => (effect.kind === 'accuse' ? [effect.accusation] : []))

test('three of four sign in one round; stocks run down evenly', () => {
  const all = ring(3)
  for (let i = 0; i < 4; i += 1) {
    const message = randomBytes(i * 20)
    const effects = answer(all, all.coordinator.step({ kind: 'sign', session: `${i}`, message }))
    const signature = signatureIn(effects)
    assert.ok(signature !== undefined && verifies(signature, message))
    assert.equal(effects.filter(({ kind }) => kind === 'request').length, 3)
  }
  assert.deepEqual(
    members.map(({ party }) => all.coordinator.stockOf(party)),
    [0, 0, 0, 0],
  )
  const [effect] = all.coordinator.step({ kind: 'sign', session: 'late', message: new Uint8Array(0) })
  assert.ok(effect?.kind === 'fail' && effect.wanting.length === 4)
})

test('a signer that lies is named with evidence, and the others sign without it', () => {
  const all = ring(2)
  const message = Buffer.from('a certificate')
  const effects = answer(all, all.coordinator.step({ kind: 'sign', session: 's', message }), (party, honest, request) =>
    party === 'node-2' ? encodeSignatureShare(publicKey, { request: digestOf(request), index: 2, share: draw('lie') }) : honest,
  )
  const signature = signatureIn(effects)
  assert.ok(signature !== undefined && verifies(signature, message))
  const [accusation] = accusationsIn(effects) as [Accusation]
  assert.deepEqual([accusation.party, accusation.fault], ['node-2', 'bad-signature-share'])
  assert.ok(verifyKeyAccusation(publicKey, decodeAccusation(encodeAccusation(accusation)), anybody))
  assert.equal(
    verifyKeyAccusation(publicKey, accusation, () => false),
    false,
    'nobody attests it',
  )
  assert.equal(verifyKeyAccusation(publicKey, { ...accusation, subject: new Uint8Array(0) }, anybody), false)
  assert.equal(all.coordinator.accused.has('node-2'), true)
})

test('a good signature share is no evidence', () => {
  const all = ring(1)
  let body: Uint8Array | undefined
  let subject: Uint8Array | undefined
  answer(all, all.coordinator.step({ kind: 'sign', session: 's', message: Buffer.from('m') }), (party, honest, request) => {
    if (party === 'node-1') [body, subject] = [honest, request]
    return honest
  })
  assert.ok(body !== undefined && subject !== undefined)
  for (const fault of [
    'bad-signature-share',
    'malformed-signature-share',
    'malformed-commitments',
    'equivocation',
    'bad-partial',
  ] as const) {
    const evidence: Accusation['evidence'] = [{ body, attestation }]
    assert.equal(verifyKeyAccusation(publicKey, { party: 'node-1', fault, evidence, subject }, anybody), false)
  }
})

test('a silent signer is gone round after the timeout', () => {
  const all = ring(2)
  const message = Buffer.from('m')
  const first = answer(all, all.coordinator.step({ kind: 'sign', session: 's', message }), (party, honest) =>
    party === 'node-3' ? undefined : honest,
  )
  assert.equal(signatureIn(first), undefined)
  const effects = answer(all, all.coordinator.step({ kind: 'timeout', session: 's' }))
  assert.deepEqual(
    effects.filter(({ kind }) => kind === 'silent'),
    [{ kind: 'silent', session: 's', party: 'node-3' }],
  )
  assert.ok(verifies(signatureIn(effects) as Uint8Array, message))
})

test('a signer answers a pair of nonces once: not again, not for another message, not after a restart', () => {
  const signer = new Signer(shares[0] as KeyShare, 0, memo)
  const own = decodeCommitments(publicKey, 1, send(signer), memo).commitments[0]
  assert.ok(own !== undefined)
  const others = [2, 3].map((index) => {
    const { commitment } = new NoncePair(randomBytes(64), (shares[index - 1] as KeyShare).secret)
    return { index, number: 0, ...commitment }
  })
  const commitments = [{ index: 1, number: 0, ...own }, ...others]
  const request = encodeRequest(publicKey, { message: Buffer.from('one'), commitments })
  const other = encodeRequest(publicKey, { message: Buffer.from('two'), commitments })
  assert.equal(signer.step({ kind: 'sign', request })[0]?.kind, 'send')
  for (const body of [request, other]) {
    const [effect] = signer.step({ kind: 'sign', request: body })
    assert.ok(effect?.kind === 'refuse' && effect.code === 'THRESHOLD_NONCE')
  }
  // The process died; its disk says 1. Even with the same number again, as from an old disk, the nonces are others.
  for (const next of [1, 0]) {
    const reborn = new Signer(shares[0] as KeyShare, next, memo)
    send(reborn)
    const [effect] = reborn.step({ kind: 'sign', request: other })
    assert.ok(effect?.kind === 'refuse' && effect.code === 'THRESHOLD_NONCE')
  }
})

test('a refused request costs its pair of nonces: whatever was wrong, nothing is signed with it later', () => {
  const signer = new Signer(shares[0] as KeyShare, 0, memo)
  const own = decodeCommitments(publicKey, 1, send(signer), memo).commitments[0]
  assert.ok(own !== undefined)
  const short = encodeRequest(publicKey, { message: Buffer.from('m'), commitments: [{ index: 1, number: 0, ...own }] })
  const [effect] = signer.step({ kind: 'sign', request: short })
  assert.ok(effect?.kind === 'refuse' && effect.code === 'THRESHOLD_SHORT')
  assert.equal(signer.stock, 0)
})

test('requests of another key, garbage and requests without this signer are refused, and cost nothing', () => {
  const signer = new Signer(shares[0] as KeyShare, 0, memo)
  send(signer)
  const elsewhere = dealTrusted({ ...parts, epoch: 1 }, [draw('a'), draw('x'), draw('y')])[0] as KeyShare
  const foreign = decodeCommitments(elsewhere.publicKey, 1, send(new Signer(elsewhere, 0, memo)), memo).commitments[0]
  assert.ok(foreign !== undefined)
  const bodies = [
    encodeRequest(elsewhere.publicKey, { message: new Uint8Array(0), commitments: [{ index: 1, number: 0, ...foreign }] }),
    encodeRequest(publicKey, { message: new Uint8Array(0), commitments: [{ index: 2, number: 0, ...foreign }] }),
    new Uint8Array(0),
    randomBytes(100),
  ]
  for (const request of bodies) assert.equal(signer.step({ kind: 'sign', request })[0]?.kind, 'refuse')
  assert.equal(signer.stock, 1)
})

test('stocks are bounded, on both sides', () => {
  const signer = new Signer(shares[0] as KeyShare, 0, memo)
  const coordinator = new Coordinator(publicKey, memo)
  for (let i = 0; i < 5; i += 1)
    coordinator.step({ kind: 'commitments', from: 'node-1', body: send(signer, BATCH_MAX), attestation })
  assert.equal(signer.stock, STOCK_MAX)
  assert.ok(coordinator.stockOf('node-1') <= STOCK_MAX)
  assert.throws(() => signer.step({ kind: 'provision', random: randomBytes(64 * (BATCH_MAX + 1)) }), ThresholdError)
  assert.throws(() => signer.step({ kind: 'provision', random: randomBytes(63) }), ThresholdError)
})

test('commitments: a replay adds nothing, another pair under the same number is equivocation with evidence', () => {
  const coordinator = new Coordinator(publicKey, memo)
  const signer = new Signer(shares[1] as KeyShare, 0, memo)
  const body = send(signer, 2)
  const post = (bytes: Uint8Array) => coordinator.step({ kind: 'commitments', from: 'node-2', body: bytes, attestation })
  assert.deepEqual([...post(body), ...post(body)], [])
  assert.equal(coordinator.stockOf('node-2'), 2)
  const { commitment } = new NoncePair(randomBytes(64), (shares[1] as KeyShare).secret)
  const [effect] = post(encodeCommitments(publicKey, { index: 2, first: 1, commitments: [commitment] }))
  assert.ok(effect?.kind === 'accuse')
  assert.equal(effect.accusation.fault, 'equivocation')
  assert.ok(verifyKeyAccusation(publicKey, decodeAccusation(encodeAccusation(effect.accusation)), anybody))
  assert.equal(coordinator.stockOf('node-2'), 0)
})

test('a signer that restarted is asked for new commitments, and accused of nothing', () => {
  const all = ring(1)
  all.signers.set('node-1', new Signer(shares[0] as KeyShare, 1, memo))
  const requests = all.coordinator.step({ kind: 'sign', session: 's', message: Buffer.from('m') })
  const refused = requests.find((effect) => effect.kind === 'request' && effect.to === 'node-1')
  assert.ok(refused?.kind === 'request')
  const [made] = (all.signers.get('node-1') as Signer).step({ kind: 'sign', request: refused.body })
  assert.equal(made?.kind, 'refuse')
  const effects = all.coordinator.step({ kind: 'refused', session: 's', from: 'node-1' })
  assert.deepEqual(accusationsIn(effects), [])
  assert.equal(all.coordinator.stockOf('node-1'), 0)
})

test('messages of strangers, of other keys and for requests that are over change nothing', () => {
  const all = ring(2)
  let late: Uint8Array | undefined
  const effects = answer(all, all.coordinator.step({ kind: 'sign', session: 's', message: Buffer.from('m') }), (_, honest) => {
    late = honest
    return honest
  })
  assert.ok(signatureIn(effects) !== undefined && late !== undefined)
  assert.deepEqual(all.coordinator.step({ kind: 'share', from: 'node-3', body: late, attestation }), [])
  assert.deepEqual(all.coordinator.step({ kind: 'share', from: 'stranger', body: late, attestation }), [])
  assert.deepEqual(all.coordinator.step({ kind: 'share', from: 'node-1', body: randomBytes(200), attestation }), [])
  assert.deepEqual(all.coordinator.step({ kind: 'commitments', from: 'node-1', body: new Uint8Array(500_000), attestation }), [])
  assert.deepEqual(all.coordinator.step({ kind: 'timeout', session: 'none' }), [])
})

test('a request reads back with its numbers', () => {
  const signer = new Signer(shares[0] as KeyShare, 41, memo)
  const batch = decodeCommitments(publicKey, 1, send(signer, 2), memo)
  assert.equal(batch.first, 41)
  const commitments = batch.commitments.map((commitment, i) => ({ index: 1 + i, number: batch.first + i, ...commitment }))
  const decoded = decodeRequest(publicKey, encodeRequest(publicKey, { message: Buffer.from('m'), commitments }), memo)
  assert.deepEqual(
    decoded.commitments.map(({ number }) => number),
    [41, 42],
  )
})

test('commitments learnt ahead need no decoding at the request; bad ones are forgotten without a word', () => {
  const own = new CommitmentMemo()
  const signer = new Signer(shares[0] as KeyShare, 0, own)
  const body = send(new Signer(shares[1] as KeyShare, 0), 3)
  assert.deepEqual(signer.step({ kind: 'learn', from: 2, body }), [])
  assert.equal(own.size, 3)
  for (const bad of [body.slice(0, -1), randomBytes(90), new Uint8Array(0)])
    assert.deepEqual(signer.step({ kind: 'learn', from: 2, body: bad }), [])
  assert.deepEqual(signer.step({ kind: 'learn', from: 3, body }), [], 'in the name of another')
  assert.equal(own.size, 3)
})

test('elements of low order that nobody looked for make a share that does not verify, of who sent them and of nobody else; a stranger agrees', () => {
  const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
  const shares = dealTrusted({ suite: 'ed25519', purpose: 'torsion', epoch: 0, threshold: 2, members }, [7n, 11n])
  const [honest, liar] = shares as [KeyShare, KeyShare, KeyShare]
  // A point of order eight, and the sum of the liar's own with it.
  const low = ed25519.Point.fromHex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05')
  const pairs = [honest, liar].map(({ secret }) => new NoncePair(new Uint8Array(randomBytes(64)), secret))
  const [own, theirs] = pairs as [NoncePair, NoncePair]
  const bent = ed25519.Point.fromBytes(theirs.commitment.hidingBytes).add(low).toBytes()
  const encoded = { hidingBytes: bent, bindingBytes: theirs.commitment.bindingBytes }
  assert.throws(() => decodeCommitment(encoded), { code: 'THRESHOLD_ELEMENT' })
  const list = [
    { index: 1, ...own.commitment },
    { index: 2, ...decodeCommitment(encoded, 'unchecked') },
  ]
  const context = signingContext(honest.publicKey, new Uint8Array([1]), list)
  const good = signShare(context, honest, own)
  const bad = signShare(context, liar, theirs)
  assert.ok(verifyShare(context, 1, good), 'the honest one is not named')
  assert.ok(!verifyShare(context, 2, bad))
  const request = encodeRequest(honest.publicKey, {
    message: new Uint8Array([1]),
    commitments: list.map((commitment, number) => ({ ...commitment, number })),
  })
  for (const [index, share, isLiar] of [
    [1, good, false],
    [2, bad, true],
  ] as const) {
    const body = encodeSignatureShare(honest.publicKey, { request: digestOf(request), index, share })
    const accusation: Accusation = {
      party: `n${index}`,
      fault: 'bad-signature-share',
      evidence: [{ body, attestation }],
      subject: request,
    }
    assert.equal(verifyKeyAccusation(honest.publicKey, accusation, anybody), isLiar)
  }
  assert.throws(
    () =>
      aggregate(
        context,
        new Map([
          [1, good],
          [2, bad],
        ]),
      ),
    { culprits: [2] },
  )
})

test('a batch of commitments splits into batches of one, which say the same; the message of a request is read alone', () => {
  const signer = new Signer(shares[1] as KeyShare, 40)
  const batch = send(signer, 3)
  const whole = decodeCommitments(publicKey, 2, batch, memo)
  const parts = splitCommitments(publicKey, batch).map((body) => decodeCommitments(publicKey, 2, body, memo))
  assert.deepEqual(
    parts.map(({ first, commitments }) => [first, ...commitments]),
    whole.commitments.map((commitment, i) => [40 + i, commitment]),
  )
  for (const bad of [batch.subarray(0, -1), Buffer.concat([batch, Buffer.alloc(1)]), new Uint8Array(0)])
    assert.throws(() => splitCommitments(publicKey, bad), ThresholdError)
  const message = new Uint8Array([1, 2, 3])
  assert.deepEqual(requestedMessage(publicKey, encodeRequest(publicKey, { message, commitments: [] })), message)
  assert.throws(() => requestedMessage(publicKey, batch), ThresholdError)
})

test('commitments in a form of another version are nobody’s fault', () => {
  const [, share] = dealTrusted(parts, [3n, 4n, 5n]) as [KeyShare, KeyShare]
  const coordinator = new Coordinator(share.publicKey)
  const [, effect] = new Signer(share, 0).step({ kind: 'provision', random: randomBytes(64) })
  assert.ok(effect?.kind === 'send')
  const party = share.publicKey.partyOf(share.index) as string
  for (const type of [3, 4, 14, 99]) {
    const body = effect.body.slice()
    body[4] = type
    assert.deepEqual(coordinator.step({ kind: 'commitments', from: party, body, attestation: new Uint8Array(0) }), [])
  }
  assert.equal(coordinator.accused.size, 0)
  assert.equal(coordinator.stockOf(party), 0)
  coordinator.step({ kind: 'commitments', from: party, body: effect.body, attestation: new Uint8Array(0) })
  assert.equal(coordinator.stockOf(party), 1)
})
