import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import {
  aggregate,
  dealTrusted,
  edwards,
  type KeyShare,
  type NonceMaker,
  NoncePair,
  ORDER,
  signingContext,
  signShare,
} from '@ringwall/threshold'
import { verifySignature } from '../keys.ts'
import { nativeNonceMaker } from './nonce-maker.ts'

const make = nativeNonceMaker() as NonceMaker
const bytes = (): Uint8Array => new Uint8Array(randomBytes(32))

test('OpenSSL makes nonces here: a scalar below the order, and its multiple of the base', () => {
  const seen = new Set<bigint>()
  for (let i = 0; i < 20; i += 1) {
    const { nonce, commitment } = make(bytes(), bytes())
    assert.ok(nonce > 0n && nonce < ORDER)
    assert.ok(edwards.equals(edwards.multiplyBase(nonce), edwards.assertPrimeOrder(commitment)))
    seen.add(nonce)
  }
  assert.equal(seen.size, 20)
})

test('a nonce depends on its randomness, on the share, and on what this maker alone knows', () => {
  const [random, share] = [bytes(), bytes()]
  const { nonce } = make(random, share)
  assert.equal(make(random, share).nonce, nonce)
  assert.notEqual(make(bytes(), share).nonce, nonce)
  assert.notEqual(make(random, bytes()).nonce, nonce)
  assert.notEqual((nativeNonceMaker() as NonceMaker)(random, share).nonce, nonce)
})

test('with them and with those of RFC 9591 section 4.1 together, signers make a signature that OpenSSL verifies', () => {
  const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
  const shares = dealTrusted({ suite: 'ed25519', purpose: 'nonces', epoch: 0, threshold: 2, members }, [7n, 11n])
  const message = randomBytes(100)
  const signers = [shares[0], shares[2]] as [KeyShare, KeyShare]
  const pairs = signers.map(({ secret }, i) => new NoncePair(randomBytes(64), secret, i === 0 ? make : undefined))
  const list = signers.map(({ index }, i) => ({ index, ...(pairs[i] as NoncePair).commitment }))
  const context = signingContext(signers[0].publicKey, message, list)
  const answers = new Map(signers.map((share, i) => [share.index, signShare(context, share, pairs[i] as NoncePair)]))
  let asked = 0
  const verify = (key: Uint8Array, signed: Uint8Array, signature: Uint8Array): boolean => {
    asked += 1
    return verifySignature(key, signed, signature)
  }
  const signature = aggregate(context, answers, verify)
  assert.equal(asked, 1)
  assert.ok(verifySignature(signers[0].publicKey.groupKey, message, signature))
  // A verifier that says no to everything blames nobody.
  assert.deepEqual(
    aggregate(context, answers, () => false),
    signature,
  )
  answers.set(1, ((answers.get(1) as bigint) + 1n) % ORDER)
  assert.throws(() => aggregate(context, answers, verify), { code: 'THRESHOLD_SHARE', culprits: [1] })
})
