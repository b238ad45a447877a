import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { BATCH_MAX, BATCHED_BYTES, batchOf, SignatureChecker } from './batch-signature.ts'
import { encodeUtf8 } from './encoding.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const raw = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-32))
const own = raw(publicKey)
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

function checker(): { readonly signatures: SignatureChecker; readonly checks: () => number } {
  let checks = 0
  const signatures = new SignatureChecker((key, message, signature) => {
    checks += 1
    const spki = createPublicKey({ key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' })
    return verify(null, message, spki, signature)
  })
  return { signatures, checks: () => checks }
}

function signed(leaves: readonly Uint8Array[], key = privateKey): readonly Uint8Array[] {
  const { message, signatures } = batchOf(leaves)
  return signatures(new Uint8Array(sign(null, message, key)))
}

const leavesOf = (count: number): readonly Uint8Array[] => Array.from({ length: count }, (_, at) => encodeUtf8(`statement ${at}`))

test('every transaction of a batch of any size is signed, and the signature is checked once for all of them', () => {
  for (const size of [2, 3, 4, 5, 6, 7, 8, 9, 31, 33, 100, 1_000, BATCH_MAX]) {
    const leaves = leavesOf(size)
    const { signatures, checks } = checker()
    for (const [at, signature] of signed(leaves).entries()) {
      assert.ok(BATCHED_BYTES.has(signature.length), `${signature.length} bytes of ${size}`)
      assert.ok(signatures.isSigned(own, leaves[at] as Uint8Array, signature), `${at} of ${size}`)
    }
    assert.equal(checks(), 1)
  }
})

test('a batch has a size', () => {
  for (const size of [0, 1, BATCH_MAX + 1]) assert.throws(() => batchOf(leavesOf(size)), RangeError)
})

test('a plain signature is checked as it is, and one of a root passes for no plain one', () => {
  const { signatures } = checker()
  const [leaf] = leavesOf(1) as [Uint8Array]
  const plain = new Uint8Array(sign(null, leaf, privateKey))
  assert.ok(signatures.isSigned(own, leaf, plain))
  const leaves = leavesOf(2)
  const [first] = signed(leaves) as [Uint8Array]
  assert.ok(!signatures.isSigned(own, leaves[0] as Uint8Array, first.subarray(0, 64)))
  // Nor does the signature of a statement that has the bytes of an inner node.
  const inner = new Uint8Array(sign(null, Uint8Array.of(1, ...new Uint8Array(64)), privateKey))
  assert.ok(!signatures.isSigned(own, leaf, Uint8Array.from([...inner, ...new Uint8Array(32), 0, 2, 0, 0])))
})

test('what another key signed is not taken, however often it is asked', () => {
  const { signatures } = checker()
  const leaves = leavesOf(5)
  const other = generateKeyPairSync('ed25519')
  const theirs = signed(leaves, other.privateKey)
  for (const turn of [1, 2])
    for (const [at, leaf] of leaves.entries()) {
      assert.ok(signatures.isSigned(raw(other.publicKey), leaf, theirs[at] as Uint8Array))
      assert.ok(!signatures.isSigned(own, leaf, theirs[at] as Uint8Array), `turn ${turn}`)
    }
})

test('property: another statement, another place or any changed bit is not signed, also when the root is known', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 70 }),
      fc.nat(),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (size, whichever, where, flipped) => {
        const leaves = leavesOf(size)
        const all = signed(leaves)
        const at = whichever % size
        const [leaf, signature] = [leaves[at] as Uint8Array, all[at] as Uint8Array]
        const { signatures } = checker()
        assert.ok(signatures.isSigned(own, leaf, signature))
        assert.ok(!signatures.isSigned(own, encodeUtf8('another statement'), signature))
        assert.ok(!signatures.isSigned(own, leaf, all[(at + 1) % size] as Uint8Array))
        const changed = Uint8Array.from(signature)
        changed[where % changed.length] = (changed[where % changed.length] as number) ^ flipped
        // Of the number of leaves more than one may give the same path; then the same root is what is signed.
        const isCount = where % changed.length >= changed.length - 4
        assert.ok(isCount || !signatures.isSigned(own, leaf, changed))
        assert.ok(!signatures.isSigned(own, leaf, signature.subarray(0, -1)))
      },
    ),
    { numRuns: 60 },
  )
})

test('property: whatever bytes are said to be a signature are answered, never thrown at', () => {
  const { signatures } = checker()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => assert.ok(!signatures.isSigned(own, encodeUtf8('x'), bytes))),
  )
})

test('roots that are known have a bound', () => {
  const { signatures, checks } = checker()
  const batches = Array.from({ length: 600 }, (_, at) => [encodeUtf8(`a ${at}`), encodeUtf8(`b ${at}`)] as const)
  const first = signed(batches[0] as readonly Uint8Array[])
  for (const leaves of batches) assert.ok(signatures.isSigned(own, leaves[0], signed(leaves)[0] as Uint8Array))
  assert.equal(checks(), 600)
  assert.ok(signatures.isSigned(own, batches[0]?.[1] as Uint8Array, first[1] as Uint8Array))
  assert.equal(checks(), 601)
})
