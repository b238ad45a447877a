import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { SEGMENT_BYTES, Sealer, Unsealer } from './segments.ts'

const about = Buffer.from('about')
const SEALED = SEGMENT_BYTES + 16

function seal(key: Uint8Array, parts: readonly Uint8Array[]): Buffer {
  const sealer = new Sealer(key, about)
  return Buffer.concat([...parts.map((part) => sealer.update(part)), sealer.final()])
}

function unseal(key: Uint8Array, parts: readonly Uint8Array[], context = about): Buffer {
  const unsealer = new Unsealer(key, context)
  return Buffer.concat([...parts.map((part) => unsealer.update(part)), unsealer.final()])
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}

const size = fc.oneof(
  fc.nat(300),
  fc.constantFrom(0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES - 5),
)
const cuts = fc.array(fc.nat(300_000), { maxLength: 6 })

test('property: however an object is cut on its way in and out, it comes back, and takes 16 bytes a segment more', () => {
  fc.assert(
    fc.property(size, cuts, cuts, (length, inward, outward) => {
      const [key, plain] = [randomBytes(32), randomBytes(length)]
      const sealed = seal(key, split(plain, inward))
      assert.equal(sealed.length, length + 16 * Math.max(1, Math.ceil(length / SEGMENT_BYTES)))
      assert.deepEqual(sealed, seal(key, [plain]))
      assert.ok(unseal(key, split(sealed, outward)).equals(plain))
    }),
    { numRuns: 60 },
  )
})

test('property: a flipped bit anywhere, another key or another context opens nothing', () => {
  fc.assert(
    fc.property(size, fc.nat(), fc.nat(7), (length, at, bit) => {
      const [key, plain] = [randomBytes(32), randomBytes(length)]
      const sealed = seal(key, [plain])
      const spoilt = Buffer.from(sealed)
      spoilt[at % sealed.length]! ^= 1 << bit
      assert.throws(() => unseal(key, [spoilt]), { code: 'VAULT_CORRUPT' })
      assert.throws(() => unseal(randomBytes(32), [sealed]), { code: 'VAULT_CORRUPT' })
      assert.throws(() => unseal(key, [sealed], Buffer.from('other')), { code: 'VAULT_CORRUPT' })
    }),
    { numRuns: 40 },
  )
})

test('segments that are cut off, dropped, repeated, swapped or appended are found out', () => {
  const key = randomBytes(32)
  const sealed = seal(key, [randomBytes(3 * SEGMENT_BYTES + 100)])
  const part = (i: number): Buffer => sealed.subarray(i * SEALED, Math.min(sealed.length, (i + 1) * SEALED))
  for (const parts of [
    [part(0), part(1), part(2)],
    [part(0), part(1)],
    [part(0), part(2), part(3)],
    [part(1), part(0), part(2), part(3)],
    [part(0), part(0), part(1), part(2), part(3)],
    [sealed, part(3)],
    [sealed, Buffer.alloc(1)],
    [part(3)],
    [sealed.subarray(0, -1)],
    [Buffer.alloc(0)],
    [Buffer.alloc(15)],
  ])
    assert.throws(() => unseal(key, parts), { code: 'VAULT_CORRUPT' })
})
