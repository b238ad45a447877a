/** Bad inputs to both groups, the arithmetic against the plainest way to do it, and libsodium's against noble's. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { installArithmetic, installedArithmetic } from './arithmetic.ts'
import { ThresholdError } from './errors.ts'
import { type Element, edwards, type Group, independentGenerator, ristretto } from './group.ts'
import {
  assertIdentifiers,
  decodeScalar,
  encodeScalar,
  evaluate,
  invertAll,
  lagrangeAtZero,
  multiply,
  ORDER,
  powersOf,
  type Scalar,
} from './scalar.ts'
import { loadSodium, sodiumArithmetic } from './sodium.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const sodium = await sodiumArithmetic()

/** By either arithmetic. */
function testBoth(name: string, body: () => void): void {
  test(`${name}, by noble`, body)
  test(`${name}, by libsodium`, () => bySodium(body))
}

function bySodium<T>(work: () => T): T {
  installArithmetic(sodium)
  try {
    return work()
  } finally {
    installArithmetic(undefined)
  }
}

const refusedAs = (code: string) => (error: unknown) => error instanceof ThresholdError && error.code === code

/** All eight points whose order divides 8, and other spellings of some: RFC 8032 with section 5.1.3, and its non-canonical cases. */
const LOW_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '0100000000000000000000000000000000000000000000000000000000000080',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
]

testBoth('edwards25519: points of low order, the identity and other spellings are refused', () => {
  for (const point of LOW_ORDER) assert.throws(() => edwards.decode(hex(point)), refusedAs('THRESHOLD_ELEMENT'), point)
  assert.throws(() => edwards.decode(new Uint8Array(32).fill(2)), refusedAs('THRESHOLD_ELEMENT'), 'not on the curve')
})

testBoth('edwards25519: a point with a component of low order is refused', () => {
  for (const low of LOW_ORDER.slice(1, 8)) {
    const mixed = ed25519.Point.BASE.multiply(5n).add(ed25519.Point.fromBytes(hex(low)))
    assert.throws(() => edwards.decode(mixed.toBytes()), refusedAs('THRESHOLD_ELEMENT'), low)
  }
})

testBoth('ristretto255: the invalid encodings of RFC 9496 appendix A.3 and the identity are refused', () => {
  const invalid = [
    // Non-canonical field encodings.
    '00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
    'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    // Negative field elements.
    '0100000000000000000000000000000000000000000000000000000000000000',
    '01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20',
    'c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562',
    // Non-square x^2.
    '26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371',
    '4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f',
    // Negative xy.
    '3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e',
    'a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220',
    // s = -1, which causes y = 0.
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    // The identity.
    '0000000000000000000000000000000000000000000000000000000000000000',
  ]
  for (const bytes of invalid) assert.throws(() => ristretto.decode(hex(bytes)), refusedAs('THRESHOLD_ELEMENT'), bytes)
})

testBoth('elements and scalars of a wrong length are refused', () => {
  for (const length of [0, 1, 31, 33, 64]) {
    const bytes = new Uint8Array(length).fill(1)
    assert.throws(() => edwards.decode(bytes), refusedAs('THRESHOLD_ELEMENT'))
    assert.throws(() => ristretto.decode(bytes), refusedAs('THRESHOLD_ELEMENT'))
    assert.throws(() => decodeScalar(bytes), refusedAs('THRESHOLD_SCALAR'))
  }
})

test('scalars have one spelling: the order and all above it are refused', () => {
  const little = (value: bigint): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))
  assert.equal(decodeScalar(little(ORDER - 1n)), ORDER - 1n)
  for (const value of [ORDER, ORDER + 1n, 2n * ORDER, 2n ** 255n, 2n ** 256n - 1n])
    assert.throws(() => decodeScalar(little(value)), refusedAs('THRESHOLD_SCALAR'))
})

test('identifiers: zero, doubles, fractions and what does not fit are refused', () => {
  for (const indexes of [[0], [1, 0], [3, 3], [1.5], [-1], [65_536], [Number.NaN], [1, 2, 1]])
    assert.throws(() => assertIdentifiers(indexes), refusedAs('THRESHOLD_IDENTIFIER'), indexes.join())
  assert.throws(() => lagrangeAtZero([2, 2]), refusedAs('THRESHOLD_IDENTIFIER'))
  assert.throws(() => lagrangeAtZero([]), refusedAs('THRESHOLD_SHORT'))
})

const scalars = fc.oneof(
  fc.bigInt({ min: 0n, max: ORDER - 1n }),
  fc.constantFrom(0n, 1n, 2n, ORDER - 1n, ORDER - 2n, ORDER >> 1n, (ORDER >> 1n) + 1n),
)

function sumOf(group: Group, elements: readonly Element[], factors: readonly Scalar[]): Element {
  return elements.reduce((sum, element, i) => group.add(sum, group.multiply(element, factors[i] as Scalar)), group.identity)
}

for (const group of [edwards, ristretto]) {
  testBoth(`property: ${group.name}: combining is the sum of single multiplications, the identity and zeros included`, () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(scalars, scalars), { minLength: 1, maxLength: 5 }), (terms) => {
        const elements = terms.map(([secret]) => group.multiplyBase(secret))
        const factors = terms.map(([, factor]) => factor)
        assert.ok(group.equals(group.combine(elements, factors), sumOf(group, elements, factors)))
      }),
      { numRuns: 25 },
    )
  })

  testBoth(`property: ${group.name}: an element has one spelling`, () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: ORDER - 1n }), (secret) => {
        const element = group.multiplyBase(secret)
        const bytes = group.encode(element)
        assert.deepEqual(group.encode(group.decode(bytes)), bytes)
        assert.deepEqual(group.encode(group.combine([element, group.base], [2n, ORDER - secret])), bytes)
      }),
      { numRuns: 25 },
    )
  })
}

test('property: Lagrange coefficients recover the constant, from any set of points', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 12 }),
      fc.array(scalars, { minLength: 12, maxLength: 12 }),
      (indexes, drawn) => {
        const coefficients = drawn.slice(0, indexes.length)
        const weights = lagrangeAtZero(indexes)
        const sum = indexes.reduce(
          (total, index, i) => (total + (weights[i] as Scalar) * evaluate(coefficients, index)) % ORDER,
          0n,
        )
        assert.equal(sum, coefficients[0])
      },
    ),
  )
})

test('property: inverses made together are inverses; powers are products', () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: 1n, max: ORDER - 1n }), { minLength: 1, maxLength: 9 }), (values) => {
      invertAll(values).forEach((inverse, i) => {
        assert.equal(multiply(inverse, values[i] as Scalar), 1n)
      })
    }),
  )
  assert.deepEqual(powersOf(3, 5), [1n, 3n, 9n, 27n, 81n])
  assert.throws(() => invertAll([1n, 0n]), refusedAs('THRESHOLD_SCALAR'))
})

test('property: a scalar is the 32 bytes that noble writes', () => {
  fc.assert(
    fc.property(scalars, (value) => {
      assert.deepEqual(encodeScalar(value), Uint8Array.from(ed25519.Point.Fn.toBytes(value)))
    }),
  )
})

testBoth('the second generator is another one, and the same at every start', () => {
  const one = independentGenerator('a')
  assert.ok(ristretto.equals(one, independentGenerator('a')))
  assert.equal(ristretto.equals(one, independentGenerator('b')), false)
  assert.equal(ristretto.equals(one, ristretto.base), false)
})

/** Points whose order divides 8, in their one spelling; the identity first. */
const LOW = LOW_ORDER.slice(0, 8).map((text) => ed25519.Point.fromHex(text))

const SCALAR_EDGES: readonly Scalar[] = [0n, 1n, 2n, 8n, 2n ** 32n, 2n ** 252n, ORDER >> 1n, ORDER - 2n, ORDER - 1n]

/** What an encoding comes to, or why it does not. */
function outcome(work: () => Element, group: Group): string {
  try {
    const value = work()
    return group.isIdentity(value) ? 'identity' : Buffer.from(group.encode(value)).toString('hex')
  } catch (error) {
    if (error instanceof ThresholdError) return `${error.code}: ${error.message}`
    throw error
  }
}

/** The same from fresh elements: one that was computed by noble keeps what noble knows of it. */
function assertSame(group: Group, work: () => Element, what: string): void {
  const [noble, other] = [outcome(work, group), bySodium(() => outcome(work, group))]
  assert.equal(other, noble, what)
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Of the subgroup, outside of it, and the identity. */
function edgesOf(group: Group): readonly (() => Element)[] {
  const multiples = [1n, ORDER - 1n, 2n ** 251n + 977n]
  if (group === ristretto) return [() => ristretto.identity, ...multiples.map((factor) => () => ristretto.multiplyBase(factor))]
  const points = [
    ...LOW.slice(1),
    ...multiples.flatMap((factor) => LOW.slice(0, 5).map((low) => ed25519.Point.BASE.multiply(factor).add(low))),
  ]
  return [() => edwards.identity, ...points.map((point) => () => edwards.decodeOfAnyOrder(point.toBytes()))]
}

for (const group of [edwards, ristretto]) {
  test(`${group.name}: libsodium and noble agree on multiples and sums of the identity, of elements of every order, and of their negations`, () => {
    const edges = edgesOf(group)
    for (const [i, element] of edges.entries()) {
      for (const scalar of SCALAR_EDGES) {
        const what = `${i} times ${scalar}`
        assertSame(group, () => group.multiply(element(), scalar), what)
        assertSame(group, () => group.combine([element(), group.base], [scalar, 2n ** 200n]), what)
      }
      assertSame(group, () => group.negate(element()), `${i} negated`)
      assertSame(group, () => group.assertPrimeOrder(element()), `order of ${i}`)
      for (const other of edges) {
        assertSame(group, () => group.add(element(), other()), `${i} and another`)
        assert.equal(
          bySodium(() => group.equals(element(), other())),
          group.equals(element(), other()),
        )
      }
    }
    for (const scalar of SCALAR_EDGES) assertSame(group, () => group.multiplyBase(scalar), `the base times ${scalar}`)
  })

  test(`property: ${group.name}: libsodium and noble agree on any arithmetic`, () => {
    const element = fc.tuple(scalars, scalars)
    fc.assert(
      fc.property(fc.array(element, { minLength: 1, maxLength: 4 }), scalars, (terms, last) => {
        const values = (): Element[] => terms.map(([secret]) => group.multiplyBase(secret))
        const factors = terms.map(([, factor]) => factor)
        assertSame(group, () => group.combine(values(), factors), 'combined')
        assertSame(group, () => group.negate(group.add(values()[0] as Element, group.multiplyBase(last))), 'added, negated')
        assertSame(group, () => group.multiply(values()[0] as Element, last), 'multiplied')
      }),
      { numRuns: 80 },
    )
  })

  test(`property: ${group.name}: libsodium and noble take the same encodings, and say the same of others`, () => {
    const field = 2n ** 255n - 19n
    const little = (value: bigint): Uint8Array =>
      Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      // Near the field's order, with either sign, and small.
      fc
        .tuple(fc.bigInt({ min: field - 40n, max: 2n ** 255n - 1n }), fc.boolean())
        .map(([y, sign]) => little(sign ? y + 2n ** 255n : y)),
      fc.tuple(fc.bigInt({ min: 0n, max: 400n }), fc.boolean()).map(([y, sign]) => little(sign ? y + 2n ** 255n : y)),
      fc.constantFrom(...LOW_ORDER.map(hex)),
      // A good one, and one with a bit of it changed.
      fc.tuple(scalars, fc.option(fc.nat({ max: 255 }))).map(([secret, bit]) => {
        const value = group.multiplyBase(secret)
        const good = group.isIdentity(value) ? new Uint8Array(32) : group.encode(value)
        if (bit !== null) good[bit >> 3] = (good[bit >> 3] as number) ^ (1 << (bit & 7))
        return good
      }),
    )
    fc.assert(
      fc.property(bytes, (encoding) => {
        assertSame(group, () => group.decodeOfAnyOrder(encoding), hexOf(encoding))
        assertSame(group, () => group.decode(encoding), hexOf(encoding))
      }),
      { numRuns: 800 },
    )
  })
}

test('what is not 32 bytes never reaches the memory of libsodium, and its results are copies', () => {
  const point = edwards.encode(edwards.multiplyBase(77n))
  const scalar = encodeScalar(2n ** 251n + 12_345n)
  for (const wrong of [new Uint8Array(0), new Uint8Array(31), new Uint8Array(33)]) {
    assert.throws(() => sodium.ed25519.multiply(wrong, scalar), /bug/)
    assert.throws(() => sodium.ed25519.multiply(point, wrong), /bug/)
    assert.throws(() => sodium.ristretto255.add(wrong, wrong), /bug/)
  }
  const first = sodium.ed25519.multiply(point, scalar) as Uint8Array
  const kept = first.slice()
  assert.notDeepEqual(sodium.ed25519.multiplyBase(scalar), first)
  assert.deepEqual(first, kept)
})

test('a thread that asks for libsodium twice has it from then on', async () => {
  try {
    const before = edwards.multiplyBase(5n)
    await Promise.all([loadSodium(), loadSodium()])
    assert.notEqual(installedArithmetic(), undefined)
    assert.ok(edwards.equals(edwards.add(before, before), edwards.multiplyBase(10n)))
  } finally {
    installArithmetic(undefined)
  }
})
