import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { ORDER, ThresholdError } from '@ringwall/threshold'
import fc from 'fast-check'
import { exponentGroups, IDENTITY, LOW_ORDER, RISTRETTO_IDENTITY, verifiesInExponent } from './exponent.ts'

const { edwards, ristretto } = exponentGroups
const scalar = fc.bigInt({ min: 1n, max: ORDER - 1n })

test('property: in both models elements are a group of order L, and encodings read back', () => {
  for (const group of [edwards, ristretto])
    fc.assert(
      fc.property(scalar, scalar, (a, b) => {
        const [one, other] = [group.multiplyBase(a), group.multiplyBase(b)]
        assert.ok(group.equals(group.add(one, other), group.multiplyBase((a + b) % ORDER)))
        assert.ok(group.equals(group.multiply(one, b), group.multiply(other, a)))
        assert.ok(group.equals(group.combine([one, group.base], [b, a]), group.multiplyBase((a * b + a) % ORDER)))
        assert.ok(group.isIdentity(group.add(one, group.negate(one))))
        assert.ok(group.equals(group.decode(group.encode(one)), one))
      }),
      { numRuns: 50 },
    )
})

test('elements of the other group, of low order, above the order of the group and both identities are refused', () => {
  const refused = (work: () => unknown): void => {
    assert.throws(work, (error: unknown) => error instanceof ThresholdError && error.code === 'THRESHOLD_ELEMENT')
  }
  const shifted = edwards.encode(edwards.multiplyBase(5n))
  shifted[31] = (shifted[31] as number) | 0x1f
  for (const bytes of [LOW_ORDER, IDENTITY, ristretto.encode(ristretto.base), new Uint8Array(32).fill(255), shifted])
    refused(() => edwards.decode(bytes))
  for (const bytes of [RISTRETTO_IDENTITY, edwards.encode(edwards.base), new Uint8Array(32), new Uint8Array(31)])
    refused(() => ristretto.decode(bytes))
  const mixed = edwards.add(edwards.decodeOfAnyOrder(LOW_ORDER), edwards.base)
  refused(() => edwards.assertPrimeOrder(mixed))
  assert.ok(edwards.equals(edwards.multiply(mixed, 4n), edwards.multiplyBase(4n)), 'the part of low order is gone after 4 times')
})

test('in the exponent a signature that is off by one, spelled otherwise or of another message is none', () => {
  const key = edwards.encode(edwards.multiplyBase(7n))
  const nonce = edwards.encode(edwards.multiplyBase(11n))
  const message = Uint8Array.of(1, 2, 3)
  const digest = createHash('sha512').update(nonce).update(key).update(message).digest()
  const response = (11n + 7n * BigInt(`0x${digest.reverse().toString('hex')}`)) % ORDER
  const verifies = (z: bigint, said = message): boolean => {
    const encoded = Buffer.from(z.toString(16).padStart(64, '0'), 'hex').reverse()
    return verifiesInExponent(Uint8Array.from([...nonce, ...encoded]), said, key)
  }
  assert.ok(verifies(response))
  assert.equal(verifies(response + 1n), false)
  assert.equal(verifies(response + ORDER), false)
  assert.equal(verifies(response, Uint8Array.of(1, 2, 4)), false)
})

test('nothing of the product puts other groups or hashes in the place of its own', () => {
  const root = resolve(import.meta.dirname, '..', '..', 'packages')
  const callers = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(^|\/)src\/.*\.tsx?$/.test(name) && !/(^|\/)node_modules\//.test(name))
    .filter((name) => /\b(replaceGroups|installHashes)\b/.test(readFileSync(join(root, name), 'utf8')))
  assert.deepEqual(callers.sort(), ['threshold/src/group.ts', 'threshold/src/hash.ts'])
})
