/**
 * RFC 9591 appendix E.1 (vectors of the IRTF, in the RFC; IETF Trust's terms let code components be used under BSD), and a signature
 * made together with the other implementation of FROST at hand, `@noble/curves`.
 */
import assert from 'node:assert/strict'
import { createPublicKey, randomBytes, verify } from 'node:crypto'
import { test } from 'node:test'
import { ed25519_FROST } from '@noble/curves/ed25519.js'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'
import { installArithmetic } from './arithmetic.ts'
import { ThresholdError } from './errors.ts'
import { aggregate, decodeCommitment, NoncePair, type SignerCommitment, signingContext, signShare, verifyShare } from './frost.ts'
import { dealTrusted, KeyShare } from './key.ts'
import { add, decodeScalar, encodeScalar, ORDER, type Scalar } from './scalar.ts'
import { Secret } from './secret.ts'
import { sodiumArithmetic } from './sodium.ts'

const VECTOR = {
  secret: '7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304',
  publicKey: '15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673',
  message: '74657374',
  coefficient: '178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204',
  shares: {
    1: '929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509',
    2: 'a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d',
    3: 'd3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02',
  },
  signers: {
    1: {
      random:
        '0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501',
      hiding: 'b5aa8ab305882a6fc69cbee9327e5a45e54c08af61ae77cb8207be3d2ce13de3',
      binding: '67e98ab55aa310c3120418e5050c9cf76cf387cb20ac9e4b6fdb6f82a469f932',
      factor: 'f2cb9d7dd9beff688da6fcc83fa89046b3479417f47f55600b106760eb3b5603',
      share: '001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603',
    },
    3: {
      random:
        '86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775',
      hiding: 'cfbdb165bd8aad6eb79deb8d287bcc0ab6658ae57fdcc98ed12c0669e90aec91',
      binding: '7487bc41a6e712eea2f2af24681b58b1cf1da278ea11fe4e8b78398965f13552',
      factor: 'b087686bf35a13f3dc78e780a34b0fe8a77fef1b9938c563f5573d71d8d7890f',
      share: 'bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007',
    },
  },
  signature:
    '36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbebd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b',
} as const

const scalar = (hex: string): Scalar => decodeScalar(hexToBytes(hex))
const members = [1, 2, 3].map((index) => ({ party: `p${index}`, index }))
const parts = { suite: 'ed25519', purpose: 'test', epoch: 0, threshold: 2, members } as const
const shares = dealTrusted(parts, [scalar(VECTOR.secret), scalar(VECTOR.coefficient)])

function verifies(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey])
  return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
}

function vectorHolds(): void {
  const { publicKey } = shares[0] as KeyShare
  assert.equal(bytesToHex(publicKey.groupKey), VECTOR.publicKey)
  for (const { index, secret } of shares)
    assert.equal(bytesToHex(secret.revealBytes()), VECTOR.shares[index as 1 | 2 | 3], `share ${index}`)

  const signers = ([1, 3] as const).map((index) => {
    const share = shares[index - 1] as KeyShare
    const vector = VECTOR.signers[index]
    const nonces = new NoncePair(hexToBytes(vector.random), share.secret)
    assert.equal(bytesToHex(nonces.commitment.hidingBytes), vector.hiding)
    assert.equal(bytesToHex(nonces.commitment.bindingBytes), vector.binding)
    return { index, share, nonces, vector }
  })
  const message = hexToBytes(VECTOR.message)
  const commitments = signers.map(({ index, nonces }) => ({ index, ...nonces.commitment }))
  const context = signingContext(publicKey, message, commitments)
  const made = new Map(
    signers.map(({ index, share, nonces, vector }, i) => {
      assert.equal(bytesToHex(encodeScalar(context.bindingFactors[i] as Scalar)), vector.factor)
      const own = signingContext(publicKey, message, commitments, { index, nonces })
      assert.deepEqual([own.groupCommitmentBytes, own.challenge], [context.groupCommitmentBytes, context.challenge])
      const signatureShare = signShare(own, share, nonces)
      assert.equal(bytesToHex(encodeScalar(signatureShare)), vector.share)
      assert.ok(verifyShare(context, index, signatureShare))
      return [index, signatureShare]
    }),
  )
  const signature = aggregate(context, made)
  assert.equal(bytesToHex(signature), VECTOR.signature)
  assert.ok(verifies(signature, message, publicKey.groupKey))
}

test('RFC 9591 appendix E.1: key, shares, nonces, binding factors, signature shares and signature, by noble', vectorHolds)

test('RFC 9591 appendix E.1, by libsodium', async () => {
  installArithmetic(await sodiumArithmetic())
  try {
    vectorHolds()
  } finally {
    installArithmetic(undefined)
  }
})

test('a signer of ours and one of another implementation make one signature', () => {
  const identifiers = [1, 2, 3].map((index) => ed25519_FROST.Identifier.fromNumber(index))
  const deal = ed25519_FROST.trustedDealer({ min: 2, max: 3 }, identifiers)
  const secretOf = (index: number): Uint8Array =>
    (deal.secretShares[identifiers[index - 1] as string] as { signingShare: Uint8Array }).signingShare
  const [one, two, three] = [1, 2, 3].map((index) => decodeScalar(secretOf(index))) as [Scalar, Scalar, Scalar]
  // Through (1, one) and (2, two): F(x) = (2 one - two) + (two - one) x.
  const slope = (two - one + ORDER) % ORDER
  const ours = dealTrusted(parts, [(one - slope + ORDER) % ORDER, slope])
  assert.equal((ours[2] as KeyShare).secret.reveal(), three)

  const { publicKey } = ours[0] as KeyShare
  const message = randomBytes(40)
  const own = new NoncePair(randomBytes(64), (ours[0] as KeyShare).secret)
  const theirShare = deal.secretShares[identifiers[1] as string]
  assert.ok(theirShare !== undefined)
  const theirs = ed25519_FROST.commit(theirShare)
  const commitments: readonly SignerCommitment[] = [
    { index: 1, ...own.commitment },
    { index: 2, ...decodeCommitment({ hidingBytes: theirs.commitments.hiding, bindingBytes: theirs.commitments.binding }) },
  ]
  const list = [
    { identifier: identifiers[0] as string, hiding: own.commitment.hidingBytes, binding: own.commitment.bindingBytes },
    theirs.commitments,
  ]
  const context = signingContext(publicKey, message, commitments)
  const ownShare = signShare(context, ours[0] as KeyShare, own)
  const otherShare = ed25519_FROST.signShare(theirShare, deal.public, theirs.nonces, list, message)
  assert.ok(verifyShare(context, 2, decodeScalar(otherShare)))
  const signature = aggregate(
    context,
    new Map([
      [1, ownShare],
      [2, decodeScalar(otherShare)],
    ]),
  )
  assert.ok(verifies(signature, message, publicKey.groupKey))
})

function setting(count: number): { readonly pairs: readonly NoncePair[]; readonly commitments: readonly SignerCommitment[] } {
  const pairs = shares.slice(0, count).map(({ secret }) => new NoncePair(randomBytes(64), secret))
  return { pairs, commitments: pairs.map(({ commitment }, i) => ({ index: i + 1, ...commitment })) }
}

const codeOf = (code: string) => (error: unknown) => error instanceof ThresholdError && error.code === code
const message = Buffer.from('m')
const { publicKey } = shares[0] as KeyShare

test('a pair of nonces signs once', () => {
  const { pairs, commitments } = setting(2)
  const context = signingContext(publicKey, message, commitments)
  signShare(context, shares[0] as KeyShare, pairs[0] as NoncePair)
  assert.throws(() => signShare(context, shares[0] as KeyShare, pairs[0] as NoncePair), codeOf('THRESHOLD_WIPED'))
})

test('bad shares are named, all of them and nobody else', () => {
  const { pairs, commitments } = setting(3)
  const context = signingContext(publicKey, message, commitments)
  const made = new Map(shares.map((share, i) => [share.index, signShare(context, share, pairs[i] as NoncePair)]))
  made.set(1, add(made.get(1) as Scalar, 1n))
  made.set(3, add(made.get(3) as Scalar, ORDER - 1n))
  // The two lies cancel out: the sum is a good signature, and nobody is harmed.
  assert.equal(aggregate(context, made).length, 64)
  made.set(3, 5n)
  assert.throws(
    () => aggregate(context, made),
    (error) => error instanceof ThresholdError && error.culprits.join() === '1,3',
  )
})

test('a list with a signer twice, with zero, with a stranger, in disorder or too short is refused', () => {
  const { commitments } = setting(3)
  const [one, two, three] = commitments as [SignerCommitment, SignerCommitment, SignerCommitment]
  const refused = (list: readonly SignerCommitment[], code: string): void =>
    assert.throws(() => signingContext(publicKey, message, list), codeOf(code))
  refused([one, one], 'THRESHOLD_IDENTIFIER')
  refused([{ ...one, index: 0 }, two], 'THRESHOLD_IDENTIFIER')
  refused([one, { ...two, index: 65_536 }], 'THRESHOLD_IDENTIFIER')
  refused([one, { ...two, index: 9 }], 'THRESHOLD_IDENTIFIER')
  refused([three, one], 'THRESHOLD_IDENTIFIER')
  refused([one], 'THRESHOLD_SHORT')
  refused([], 'THRESHOLD_SHORT')
})

test('shares of fewer or other signers than the list are refused', () => {
  const { pairs, commitments } = setting(2)
  const context = signingContext(publicKey, message, commitments)
  const first = signShare(context, shares[0] as KeyShare, pairs[0] as NoncePair)
  assert.throws(() => aggregate(context, new Map([[1, first]])), codeOf('THRESHOLD_SHORT'))
  const second = signShare(context, shares[1] as KeyShare, pairs[1] as NoncePair)
  const withThird = new Map([
    [1, first],
    [2, second],
    [3, 1n],
  ])
  assert.throws(() => aggregate(context, withThird), codeOf('THRESHOLD_IDENTIFIER'))
})

test('a share that is not the polynomial value at its identifier is refused', () => {
  assert.throws(() => new KeyShare(publicKey, 2, Secret.fromScalar(7n)), codeOf('THRESHOLD_SHARE'))
})
