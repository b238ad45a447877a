/** Threshold decryption: what is sealed opens with any t parties, what was changed opens with none. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeAccusation, encodeAccusation } from './blame.ts'
import {
  type Capsule,
  combineUnproven,
  decodePartial,
  encapsulate,
  LABEL_BYTES_MAX,
  makeBarePartial,
  makePartial,
  openCapsule,
  type Partial,
  readCapsule,
  verifyCapsule,
  verifyPartial,
  verifyPartials,
} from './capsule.ts'
import { ThresholdError } from './errors.ts'
import { ristretto } from './group.ts'
import { dealTrusted, type KeyShare } from './key.ts'
import { verifyKeyAccusation } from './key-blame.ts'
import { Opener } from './opener.ts'
import { add, hashToScalar, ORDER } from './scalar.ts'
import { loadSodium } from './sodium.ts'

// As nodes do.
await loadSodium()

const members = [1, 2, 3, 4, 5].map((index) => ({ party: `node-${index}`, index }))
const draw = (label: string) => hashToScalar('test', [new TextEncoder().encode(label)])
const parts = { suite: 'ristretto255', purpose: 'sealing', epoch: 0, threshold: 3, members } as const
const shares = dealTrusted(parts, [draw('a'), draw('b'), draw('c')])
const [first] = shares as readonly [KeyShare, ...KeyShare[]]
const { publicKey } = first
const label = new TextEncoder().encode('object 7, for its owner')
const codeOf = (code: string) => (error: unknown) => error instanceof ThresholdError && error.code === code

function sealed(): { readonly capsule: Capsule; readonly key: Uint8Array; readonly partials: readonly Partial[] } {
  const { capsule: body, key } = encapsulate(publicKey, label, randomBytes(32))
  const capsule = verifyCapsule(publicKey, body)
  const partials = shares.map((share) => decodePartial(publicKey, share.index, makePartial(share, capsule)))
  return { capsule, key, partials }
}

test('any three of five open a capsule, in any order; two do not, nor three with one twice', () => {
  const { capsule, key, partials } = sealed()
  for (const chosen of [
    [0, 1, 2],
    [4, 2, 0],
    [3, 4, 1],
    [0, 1, 2, 3, 4],
  ])
    assert.deepEqual(
      openCapsule(
        publicKey,
        capsule,
        chosen.map((i) => partials[i] as Partial),
      ),
      key,
    )
  assert.throws(() => openCapsule(publicKey, capsule, partials.slice(0, 2)), codeOf('THRESHOLD_SHORT'))
  const doubled = [partials[0], partials[1], partials[1]] as readonly Partial[]
  assert.throws(() => openCapsule(publicKey, capsule, doubled), codeOf('THRESHOLD_IDENTIFIER'))
})

test('a capsule outlives the epoch: it opens with shares of another polynomial of the same key', () => {
  const { capsule: body, key } = encapsulate(publicKey, label, randomBytes(32))
  const next = dealTrusted({ ...parts, epoch: 1, threshold: 2 }, [draw('a'), draw('z')])
  const nextKey = (next[0] as KeyShare).publicKey
  const capsule = verifyCapsule(nextKey, body)
  const partials = next.slice(1, 3).map((share) => decodePartial(nextKey, share.index, makePartial(share, capsule)))
  assert.deepEqual(openCapsule(nextKey, capsule, partials), key)
  // A partial decryption of one epoch is none of the other.
  assert.throws(() => decodePartial(nextKey, 1, makePartial(first, capsule)), codeOf('THRESHOLD_CONTEXT'))
})

test('property: a capsule with any bit changed, the label included, is none', () => {
  const { capsule } = encapsulate(publicKey, label, randomBytes(32))
  fc.assert(
    fc.property(fc.nat({ max: capsule.length * 8 - 1 }), (bit) => {
      const changed = capsule.slice()
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.throws(() => verifyCapsule(publicKey, changed), ThresholdError)
    }),
    { numRuns: 80 },
  )
})

test('a capsule for another key is none, and labels are bounded', () => {
  const other = dealTrusted(parts, [draw('other'), draw('b'), draw('c')])[0] as KeyShare
  const { capsule } = encapsulate(other.publicKey, label, randomBytes(32))
  assert.throws(() => verifyCapsule(publicKey, capsule), codeOf('THRESHOLD_CONTEXT'))
  assert.throws(() => encapsulate(publicKey, new Uint8Array(LABEL_BYTES_MAX + 1), randomBytes(32)), codeOf('THRESHOLD_LIMIT'))
  assert.throws(() => encapsulate(publicKey, label, randomBytes(31)), codeOf('THRESHOLD_VALUE'))
})

test('the key of a capsule depends on seed and label', () => {
  const seed = randomBytes(32)
  const keys = [
    encapsulate(publicKey, label, seed),
    encapsulate(publicKey, label, randomBytes(32)),
    encapsulate(publicKey, new Uint8Array(0), seed),
  ].map(({ key }) => Buffer.from(key).toString('hex'))
  assert.equal(new Set(keys).size, 3)
})

test('the batch finds any one lie, in any field, and no lie cancels another', () => {
  const { capsule, partials } = sealed()
  assert.ok(verifyPartials(publicKey, capsule, partials))
  const [one, two] = partials as readonly [Partial, Partial, ...Partial[]]
  const lies: readonly Partial[] = [
    { ...one, value: ristretto.add(one.value, ristretto.base) },
    { ...one, a: ristretto.add(one.a, ristretto.base) },
    { ...one, b: ristretto.add(one.b, ristretto.base) },
    { ...one, z: add(one.z, 1n) },
    { ...one, index: 3 },
    two,
  ]
  for (const lie of lies.slice(0, 5)) {
    assert.equal(verifyPartial(publicKey, capsule, lie), false)
    assert.equal(verifyPartials(publicKey, capsule, [lie, ...partials.slice(1)]), false)
  }
  // Without weights these two errors would add up to nothing.
  const cancelling = [
    { ...one, z: add(one.z, 5n) },
    { ...two, z: add(two.z, ORDER - 5n) },
  ]
  assert.equal(verifyPartials(publicKey, capsule, [...cancelling, ...partials.slice(2)]), false)
  assert.throws(
    () => openCapsule(publicKey, capsule, [...cancelling, ...partials.slice(2)]),
    (error) => error instanceof ThresholdError && error.culprits.join() === '1,2',
  )
})

test('a partial decryption of another capsule does not verify for this one', () => {
  const [one, other] = [sealed(), sealed()]
  assert.equal(verifyPartial(publicKey, one.capsule, other.partials[0] as Partial), false)
})

test('the opener goes round liars and the silent, and names liars with evidence', () => {
  const { capsule, key } = sealed()
  const opener = new Opener(publicKey)
  const asked = opener.step({ kind: 'open', capsule: capsule.body })
  assert.equal(asked.length, 5)
  const attestation = new Uint8Array(1)
  const post = (share: KeyShare, body: Uint8Array) =>
    opener.step({ kind: 'partial', from: `node-${share.index}`, body, attestation })
  const lie = makePartial(first, capsule)
  lie[lie.length - 32] = (lie[lie.length - 32] as number) ^ 1
  assert.deepEqual(post(first, lie), [])
  assert.deepEqual(post(first, makePartial(first, capsule)), [], 'the first word counts')
  const [, two, three, four] = shares as readonly [KeyShare, KeyShare, KeyShare, KeyShare]
  assert.deepEqual(post(two, makePartial(two, capsule)), [])
  const [accused] = post(three, makePartial(three, capsule))
  assert.ok(accused?.kind === 'accuse')
  assert.deepEqual([accused.accusation.party, accused.accusation.fault], ['node-1', 'bad-partial'])
  assert.ok(verifyKeyAccusation(publicKey, decodeAccusation(encodeAccusation(accused.accusation)), () => true))
  const [opened] = post(four, makePartial(four, capsule))
  assert.ok(opened?.kind === 'opened')
  assert.deepEqual(opened.key, key)
})

test('the opener says who was silent, and refuses a changed capsule before anybody is asked', () => {
  const { capsule } = sealed()
  const opener = new Opener(publicKey)
  opener.step({ kind: 'open', capsule: capsule.body })
  opener.step({
    kind: 'partial',
    from: 'node-2',
    body: makePartial(shares[1] as KeyShare, capsule),
    attestation: new Uint8Array(0),
  })
  assert.deepEqual(opener.step({ kind: 'timeout', capsule: capsule.body }), [
    { kind: 'fail', capsule: capsule.body, silent: ['node-1', 'node-3', 'node-4', 'node-5'] },
  ])
  const changed = capsule.body.slice()
  changed[60] = (changed[60] as number) ^ 1
  assert.throws(() => opener.step({ kind: 'open', capsule: changed }), ThresholdError)
})

test('partials without proofs come to the same key in any company of enough, and to another with one that is wrong', () => {
  const { capsule, key } = sealed()
  const read = readCapsule(publicKey, capsule.body)
  const bare = shares.map((share) => ({ index: share.index, value: makeBarePartial(share, read) }))
  for (const company of [bare.slice(0, 3), bare.slice(2), [bare[4]!, bare[0]!, bare[2]!, bare[1]!], bare])
    assert.deepEqual(combineUnproven(publicKey, read, company), key)
  const wrong = [{ index: 1, value: bare[1]!.value }, bare[1]!, bare[2]!]
  assert.notDeepEqual(combineUnproven(publicKey, read, wrong), key)
  assert.throws(() => combineUnproven(publicKey, read, bare.slice(0, 2)), codeOf('THRESHOLD_SHORT'))
  assert.throws(() => combineUnproven(publicKey, read, [bare[0]!, bare[0]!, bare[1]!]), codeOf('THRESHOLD_IDENTIFIER'))
  const none = { index: 3, value: new Uint8Array(32) }
  assert.throws(() => combineUnproven(publicKey, read, [bare[0]!, bare[1]!, none]), codeOf('THRESHOLD_ELEMENT'))
})

test('a capsule is read without its proof as it is with it, and a changed proof shows only where it is looked at', () => {
  const { capsule } = sealed()
  assert.deepEqual(readCapsule(publicKey, capsule.body).digest, capsule.digest)
  const changed = capsule.body.slice()
  changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1
  assert.throws(() => verifyCapsule(publicKey, changed), codeOf('THRESHOLD_PROOF'))
  assert.deepEqual(readCapsule(publicKey, changed).u, ristretto.encode(capsule.u))
  assert.throws(() => readCapsule(publicKey, capsule.body.slice(0, -1)), codeOf('THRESHOLD_TRUNCATED'))
  assert.throws(() => readCapsule(publicKey, Buffer.concat([capsule.body, Buffer.alloc(1)])), codeOf('THRESHOLD_TRAILING'))
})
