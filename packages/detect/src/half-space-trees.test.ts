import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addMasses, HalfSpaceTrees, type Masses, noMasses, TREES } from './half-space-trees.ts'

const randomFrom = (seed: number) => () => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
const point = (random: () => number, middle: number, width: number): Float32Array =>
  Float32Array.from({ length: 4 }, () => middle + width * (random() - 0.5))
const trees = (seed = 'ring'): HalfSpaceTrees => new HalfSpaceTrees({ seed, dimensions: 4 })

function learned(points: readonly Float32Array[]): Masses {
  const forest = trees()
  for (const one of points) forest.observe(one)
  return forest.turn()
}

test('a point where there are none is rarer than each of a thousand where there are; before anything is learned nobody knows', () => {
  const random = randomFrom(3)
  const forest = trees()
  assert.equal(forest.observe(point(random, 0.3, 0.1)), undefined)
  for (let at = 0; at < 2_000; at += 1) forest.observe(point(random, 0.3, 0.1))
  forest.turn()
  const usual = Array.from({ length: 1_000 }, () => forest.rarity(point(random, 0.3, 0.1))!)
  const odd = forest.rarity(Float32Array.from([0.3, 0.3, 0.9, 0.3]))!
  assert.ok(odd > Math.max(...usual) + 1, `${odd} and ${Math.max(...usual)}`)
  assert.ok(forest.rarity(Float32Array.from([0.9, 0.9, 0.9, 0.9]))! > odd - 0.5)
})

test('what it says while it learns is what it says without; a point that stands for four is learned as four', () => {
  const random = randomFrom(5)
  const [one, other] = [trees(), trees()]
  for (let at = 0; at < 500; at += 1) {
    const next = point(random, 0.5, 0.6)
    one.observe(next, 4)
    for (let time = 0; time < 4; time += 1) other.observe(next)
  }
  assert.deepEqual(one.turn(), other.turn())
  const next = point(random, 0.4, 0.9)
  assert.equal(one.rarity(next), other.rarity(next))
  assert.equal(one.rarity(next), one.observe(next))
})

test('trees of one seed are the same, of another others; what is new becomes usual, and what is over fades', () => {
  const random = randomFrom(9)
  const cloud = Array.from({ length: 300 }, () => point(random, 0.4, 0.4))
  assert.deepEqual(learned(cloud), learned(cloud))
  const [here, there] = [trees('a'), trees('b')]
  for (const one of cloud) {
    here.observe(one)
    there.observe(one)
  }
  assert.notDeepEqual(here.turn().leaves, there.turn().leaves)
  const elsewhere = Float32Array.from([0.9, 0.05, 0.9, 0.05])
  const before = here.rarity(elsewhere)!
  for (let window = 0; window < 3; window += 1) {
    for (let at = 0; at < 300; at += 1) here.observe(elsewhere)
    here.turn()
  }
  assert.ok(here.rarity(elsewhere)! < before - 4)
  const { referenceCount } = here
  here.turn()
  assert.ok(here.referenceCount < referenceCount)
})

const cloudOf = fc
  .array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }), { maxLength: 12 })
  .map((points) => points.map((one) => Float32Array.from(one)))

test('property: masses add up in any order and grouping, nothing changes none, and two parts of a stream are the whole', () => {
  fc.assert(
    fc.property(cloudOf, cloudOf, cloudOf, (a, b, c) => {
      const [one, two, three] = [learned(a), learned(b), learned(c)]
      assert.deepEqual(addMasses(addMasses(one, two), three), addMasses(one, addMasses(two, three)))
      assert.deepEqual(addMasses(one, two), addMasses(two, one))
      assert.deepEqual(addMasses(one, noMasses()), one)
      assert.deepEqual(addMasses(one, two), learned([...a, ...b]))
      assert.equal(
        one.leaves.reduce((sum, mass) => sum + mass, 0),
        TREES * a.length,
      )
    }),
    { numRuns: 8 },
  )
})

test('property: to fold what another counted is to have counted it', () => {
  fc.assert(
    fc.property(cloudOf, cloudOf, cloudOf, (a, b, asked) => {
      const [whole, half] = [trees(), trees()]
      for (const one of [...a, ...b]) whole.observe(one)
      for (const one of a) half.observe(one)
      whole.turn()
      half.turn()
      half.fold(learned(b), 1)
      assert.equal(half.referenceCount, whole.referenceCount)
      for (const one of asked) assert.equal(half.rarity(one), whole.rarity(one))
    }),
    { numRuns: 8 },
  )
})
