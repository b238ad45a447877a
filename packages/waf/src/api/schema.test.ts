import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasTextFormat } from './formats.ts'
import { jsonOf } from './json.ts'
import { createBudget, mismatch, SchemaCompiler } from './schema.ts'
import type { ApiFault, ApiSchema, ApiSchemaObject, Format } from './types.ts'

function conforms(schema: ApiSchema, value: unknown, schemas: Record<string, ApiSchema> = {}): boolean {
  const faults: ApiFault[] = []
  const node = new SchemaCompiler(schemas, faults).compile(schema, [])
  assert.deepEqual(faults, [])
  return mismatch(node, jsonOf(value)!, createBudget()) === undefined
}

/** JSON Schema once more, as the specification words it, slowly: the oracle. */
function reference(schema: ApiSchema, value: unknown): boolean {
  if (typeof schema === 'boolean') return schema
  const same = (a: unknown, b: unknown): boolean => {
    if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => same(item, b[index]))
    if (isObject(a) && isObject(b)) {
      const keys = Object.keys(a)
      return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
    }
    return a === b || (a === 0 && b === 0)
  }
  const isObject = (held: unknown): held is Record<string, unknown> =>
    typeof held === 'object' && held !== null && !Array.isArray(held)
  const typed = (type: string): boolean => {
    if (type === 'integer') return typeof value === 'number' && Number.isSafeInteger(value)
    if (type === 'null') return value === null
    if (type === 'array') return Array.isArray(value)
    return type === 'object' ? isObject(value) : typeof value === type
  }
  const checks: (() => boolean)[] = []
  const s: ApiSchemaObject = schema
  if (s.type !== undefined) checks.push(() => (typeof s.type === 'string' ? [s.type] : s.type!).some(typed))
  if (s.enum !== undefined) checks.push(() => s.enum!.some((item) => same(item, value)))
  if (typeof value === 'number') {
    checks.push(() => value >= (s.minimum ?? -Infinity) && value <= (s.maximum ?? Infinity))
    checks.push(() => s.exclusiveMinimum === undefined || value > s.exclusiveMinimum)
    checks.push(() => s.multipleOf === undefined || value % s.multipleOf === 0)
  }
  if (typeof value === 'string') {
    const { length } = [...value]
    checks.push(() => length >= (s.minLength ?? 0) && length <= (s.maxLength ?? Infinity))
    checks.push(() => s.pattern === undefined || new RegExp(s.pattern, 'u').test(value))
  }
  if (Array.isArray(value)) {
    checks.push(() => value.length >= (s.minItems ?? 0) && value.length <= (s.maxItems ?? Infinity))
    checks.push(() => s.uniqueItems !== true || value.every((item, at) => value.findIndex((other) => same(item, other)) === at))
    const first = s.prefixItems ?? []
    checks.push(() => value.every((item, at) => reference(first[at] ?? s.items ?? true, item)))
  }
  if (isObject(value)) {
    const keys = Object.keys(value)
    checks.push(() => (s.required ?? []).every((key) => Object.hasOwn(value, key)))
    checks.push(() => keys.length >= (s.minProperties ?? 0) && keys.length <= (s.maxProperties ?? Infinity))
    checks.push(() =>
      keys.every((key) =>
        reference(Object.hasOwn(s.properties ?? {}, key) ? s.properties![key]! : (s.additionalProperties ?? true), value[key]),
      ),
    )
  }
  checks.push(() => (s.allOf ?? []).every((item) => reference(item, value)))
  checks.push(() => s.anyOf === undefined || s.anyOf.some((item) => reference(item, value)))
  checks.push(() => s.oneOf === undefined || s.oneOf.filter((item) => reference(item, value)).length === 1)
  checks.push(() => s.not === undefined || !reference(s.not, value))
  return checks.every((check) => check())
}

const small = fc.integer({ min: 0, max: 4 })
const scalar = fc.oneof(
  fc.integer({ min: -3, max: 12 }),
  fc.constantFrom(0.5, 1.5, 2 ** 60, -0),
  fc.constantFrom('', 'a', 'ab', 'é1', '\u{1f600}'),
  fc.boolean(),
  fc.constant(null),
)
const name = fc.constantFrom('a', 'b', 'c', '__proto__x')
const value: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 3 }),
  ),
})).value
const schema: fc.Arbitrary<ApiSchema> = fc.letrec<{ schema: ApiSchema }>((tie) => {
  const list = fc.array(tie('schema'), { minLength: 1, maxLength: 3 })
  const type = fc.constantFrom('null', 'boolean', 'object', 'array', 'number', 'string', 'integer')
  const keywords: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
    type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })),
    enum: fc.array(value, { minLength: 1, maxLength: 3 }),
    minimum: fc.integer({ min: -2, max: 2 }),
    maximum: fc.integer({ min: 3, max: 12 }),
    exclusiveMinimum: fc.integer({ min: -3, max: 3 }),
    multipleOf: fc.constantFrom(0.5, 1, 2, 3),
    minLength: fc.constantFrom(0, 1),
    maxLength: fc.constantFrom(1, 2),
    pattern: fc.constantFrom('^a', '[0-9]', '^.$'),
    minItems: fc.constantFrom(0, 1),
    maxItems: fc.constantFrom(2, 3),
    uniqueItems: fc.boolean(),
    items: tie('schema'),
    prefixItems: list,
    properties: fc.dictionary(name, tie('schema'), { maxKeys: 3 }),
    additionalProperties: tie('schema'),
    required: fc.uniqueArray(name, { maxLength: 2 }),
    minProperties: fc.constantFrom(0, 1),
    maxProperties: small.map((count) => count + 1),
    allOf: list,
    anyOf: list,
    oneOf: list,
    not: tie('schema'),
  }
  const keyword = fc.oneof(...Object.entries(keywords).map(([key, held]) => fc.tuple(fc.constant(key), held)))
  // A few at a time: with all of them nothing conforms.
  const few = fc
    .uniqueArray(keyword, { maxLength: 4, selector: ([key]) => key })
    .map((entries) => Object.fromEntries(entries) as ApiSchemaObject)
  return { schema: fc.oneof({ maxDepth: 3 }, { weight: 1, arbitrary: fc.boolean() }, { weight: 12, arbitrary: few }) }
}).schema

test('property: a value conforms exactly where the specification, restated, says that it does', () => {
  const seen = { true: 0, false: 0 }
  fc.assert(
    fc.property(schema, value, (held, given) => {
      const expected = reference(held, given)
      seen[`${expected}`] += 1
      assert.equal(conforms(held, given), expected)
    }),
    { numRuns: 3_000 },
  )
  assert.ok(seen.true > 500 && seen.false > 500, JSON.stringify(seen))
})

test('decimals are multiples as people reckon', () => {
  for (const [number, step, expected] of [
    [0.3, 0.1, true],
    [19.99, 0.01, true],
    [0.35, 0.1, false],
    [1e300, 1e-300, true],
    [4.35, 0.01, true],
    [1e-7, 1e-8, true],
    [7, 0.5, true],
  ] as const)
    assert.equal(conforms({ multipleOf: step }, number), expected, `${number} of ${step}`)
})

test('property: multiples are found by decimals, also where the short way is taken', () => {
  const places = fc.integer({ min: 0, max: 6 })
  fc.assert(
    fc.property(
      fc.integer({ min: -1_000_000, max: 1_000_000 }),
      places,
      fc.integer({ min: 1, max: 500 }),
      places,
      (a, m, b, n) => {
        const most = 10n ** BigInt(Math.max(m, n))
        const expected = (BigInt(a) * (most / 10n ** BigInt(m))) % (BigInt(b) * (most / 10n ** BigInt(n))) === 0n
        assert.equal(conforms({ multipleOf: Number(`${b}e-${n}`) }, Number(`${a}e-${m}`)), expected)
      },
    ),
    { numRuns: 5_000 },
  )
})

test('whole numbers beyond 2^53 are no integers: readers disagree on which they are', () => {
  assert.ok(conforms({ type: 'integer' }, 2 ** 53 - 1))
  assert.ok(!conforms({ type: 'integer' }, 2 ** 53))
  assert.ok(conforms({ type: 'number' }, 2 ** 53))
  assert.ok(!conforms({ format: 'int32' }, 2 ** 31))
  assert.ok(!conforms({ format: 'int64' }, 2 ** 63))
})

test('schemas may hold themselves, and values end', () => {
  const schemas: Record<string, ApiSchema> = {
    Tree: {
      type: 'object',
      properties: { children: { type: 'array', items: { $ref: '#/schemas/Tree' } } },
      additionalProperties: false,
    },
  }
  const tree = { $ref: '#/schemas/Tree' }
  assert.ok(conforms(tree, { children: [{}, { children: [{ children: [] }] }] }, schemas))
  assert.ok(!conforms(tree, { children: [{ children: [{ child: 1 }] }] }, schemas))
})

test('formats', () => {
  const cases: Readonly<Partial<Record<Format, readonly [good: readonly string[], bad: readonly string[]]>>> = {
    date: [
      ['2024-02-29', '1999-12-31'],
      ['2023-02-29', '2024-13-01', '2024-1-1', '2024-01-01T00:00:00Z'],
    ],
    'date-time': [
      ['2024-02-29T23:59:59Z', '2024-01-01t00:00:00.123+02:00', '1998-12-31T23:59:60Z'],
      ['2024-01-01', '2024-01-01T24:00:00Z', '2024-01-01T00:00:00', '1998-12-31T23:58:60Z'],
    ],
    email: [
      ['a@b.example', 'a.b+c@d-e.example'],
      ['a', 'a@', '@b', 'a..b@c.example', 'a b@c.example', '"a"@c.example'],
    ],
    ipv4: [['192.0.2.1'], ['192.0.2', '192.0.2.256', '192.0.02.1', '1.2.3.4\n']],
    ipv6: [
      ['::1', '2001:db8::1', '::ffff:192.0.2.1', '1:2:3:4:5:6:7:8'],
      [':::', '1::2::3', '12345::', '1:2:3:4:5:6:7', '::1%eth0'],
    ],
    uuid: [['9b2f3a1c-7c1e-4d0a-9a55-0f1d2c3b4a59'], ['9b2f3a1c7c1e4d0a9a550f1d2c3b4a59', '9b2f3a1c-7c1e-4d0a-9a55-0f1d2c3b4a5']],
    uri: [
      ['https://a.example/b?c#d', 'mailto:a@b.example', 'urn:x:y'],
      ['/relative', 'https://a b', 'http://[::1', 'http://a:b/', 'javascript: alert(1)'],
    ],
    hostname: [
      ['a.example', 'xn--nxasmq6b.example'],
      ['-a.example', 'a_b.example', 'a..b', `${'a'.repeat(64)}.example`],
    ],
    byte: [
      ['', 'YQ==', 'YWJj'],
      ['YQ', 'Y Q=', 'YQ==\n'],
    ],
  }
  for (const [format, [good, bad]] of Object.entries(cases)) {
    for (const text of good) assert.ok(hasTextFormat(format as Format, text), `${format}: ${text}`)
    for (const text of bad) assert.ok(!hasTextFormat(format as Format, text), `${format}: ${text}`)
  }
  for (const format of ['email', 'uri', 'hostname', 'ipv6', 'duration', 'date-time'] as const) {
    assert.ok(!hasTextFormat(format, `${'a.'.repeat(100_000)}!`), `${format} of a huge text`)
  }
})
