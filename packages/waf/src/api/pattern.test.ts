import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileTextPattern, PatternRefused } from './pattern.ts'

const WORK_MAX = 10_000_000
const matches = (source: string, text: string): boolean | undefined =>
  compileTextPattern(source).matches(text, { work: 0, building: 0 }, WORK_MAX)

test('patterns mean what ECMA-262 means by them, over code points', () => {
  for (const [source, text, expected] of [
    ['^a.c$', 'a\u{1f600}c', true],
    ['^a.c$', 'a\nc', false],
    ['^.$', '\u2028', false],
    ['^..$', '\u{1f600}', false],
    ['^[^x]{2}$', 'é\u{1f600}', true],
    ['^[à-ü]+$', 'éàü', true],
    ['^[à-ü]+$', 'éàz', false],
    ['^[\\u0400-\\u04ff]+$', 'Привет', true],
    ['^\\u{1F600}$', '\u{1f600}', true],
    ['^\\ud83d\\ude00$', '\u{1f600}', true],
    ['^\\S+$', 'a\u00a0b', false],
    ['^\\w+$', 'é', false],
    ['^\\d{3}-\\d{4}$', '555-1234', true],
    ['^\\d$', '\u0661', false],
    ['\\bcat\\b', 'a cat!', true],
    ['^(?:a|b)+?c*$', 'abac', true],
    ['^(?<year>[0-9]{4})$', '1999', true],
    ['^[\\w.-]+@[\\w-]+$', 'a.b-c@d', true],
    ['^[\\w-.]+$', 'a-b', true],
    ['^\\/path\\-x$', '/path-x', true],
    ['', 'anything', true],
    ['^a{2,}$', 'a', false],
    ['{', '{', true],
    ['^\\cJ$', '\n', true],
    ['^[]$', '', false],
    ['^[^]$', '\n', true],
    ['a$', 'a\n', false],
  ] as const)
    assert.equal(matches(source, text), expected, `${source} on ${JSON.stringify(text)}`)
})

test('what is malformed, and what has no linear time, is refused in words', () => {
  for (const source of [
    '(?=a)',
    '(?<!a)b',
    '(a)\\1',
    '(?<n>a)\\k<n>',
    '\\p{L}',
    '(a',
    'a)',
    '[a',
    '*a',
    'a**',
    'a{3,2}',
    'a{5000}',
    '\\',
    '\\q',
    '\\u12',
    '[z-a]',
    '(?i)a',
    '('.repeat(1_000),
    'a'.repeat(2_000),
    '((a{100}){100}){100}',
  ])
    assert.throws(() => compileTextPattern(source), PatternRefused, source.slice(0, 30))
})

test('a text that would keep a backtracking matcher busy for ever takes linear work', () => {
  const meter = { work: 0, building: 0 }
  assert.equal(compileTextPattern('^(a+)+$').matches(`${'a'.repeat(50_000)}!`, meter, WORK_MAX), false)
  assert.ok(meter.work < 200_000, `${meter.work} units`)
  assert.equal(
    compileTextPattern('^(a+)+$').matches('a'.repeat(1_000), { work: 0, building: 0 }, 500),
    undefined,
    'over the budget',
  )
})

const leaf = fc.constantFrom(
  'a',
  'b',
  'é',
  '€',
  '\u{1f600}',
  '.',
  '\\d',
  '\\W',
  '\\s',
  '[a-é]',
  '[^a€]',
  '[\\d\\u{1f600}-\\u{1f64f}]',
  '\\.',
)
const source: fc.Arbitrary<string> = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie('node'), fc.constantFrom('?', '*', '+', '{2}', '{0,2}', '{1,}', '*?')).map(([a, q]) => `(?:${a})${q}`),
    tie('node').map((a) => `^(${a})$`),
  ),
})).node
const text = fc.string({
  unit: fc.constantFrom('a', 'b', 'é', '€', '\u{1f600}', '\u{1f640}', '1', '.', '\n', '\u00a0', 'z'),
  maxLength: 10,
})

test('property: a pattern matches exactly where V8’s own reading of it does', () => {
  let found = 0
  fc.assert(
    fc.property(source, text, (pattern, subject) => {
      const expected = new RegExp(pattern, 'u').test(subject)
      if (expected) found += 1
      assert.equal(matches(pattern, subject), expected)
    }),
    { numRuns: 1_000 },
  )
  assert.ok(found > 100, `only ${found} matched`)
})

test('property: no text makes the parser throw anything but PatternRefused', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab[]()*+?{}|\\^$.-,:=!<>12xucpkP&é'), maxLength: 14 }), (pattern) => {
      try {
        compileTextPattern(pattern)
      } catch (error) {
        assert.ok(error instanceof PatternRefused, `${error}`)
      }
    }),
    { numRuns: 2_000 },
  )
})
