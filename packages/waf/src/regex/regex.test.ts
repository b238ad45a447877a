import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compilePattern } from '../operators/rx.ts'
import { PatternSyntaxError, parsePattern } from './syntax.ts'

const matches = (pattern: string, text: string): boolean => compilePattern(pattern).regex.test(text)

test('patterns mean what PCRE means by them, over bytes', () => {
  for (const [pattern, text, expected] of [
    ['a.c', 'a\nc', true],
    ['^a$', 'a\n', false],
    ['\\s', '\xa0', false],
    ['\\v', '\v', true],
    ['[[:alpha:]]{3}', 'xyz', true],
    ['[^[:digit:]]', '5', false],
    ['(?i)SeLeCt', 'sELECT', true],
    ['a(?i:b)c', 'aBc', true],
    ['a(?i:b)c', 'aBC', false],
    ['(?i)a(?-i)b', 'Ab', true],
    ['(?i)a(?-i)b', 'AB', false],
    ['a(?i)b|c', 'C', true],
    ['(a)\\1', 'aa', true],
    ['(?<!x)y', 'xy', false],
    ['(?=ab)a', 'ab', true],
    ['\\x41\\x{42}', 'AB', true],
    ['[\\x41-\\x43]+', 'ABC', true],
    ['a++b', 'aaab', true],
    ['(?>ab)c', 'abc', true],
    ['(?P<word>a)b', 'ab', true],
    ['[]a]', ']', true],
    ['[a-]', '-', true],
    ['{', '{', true],
    ['a{,2}', 'a{,2}', true],
    ['\\/', '/', true],
    ['\\AX\\z', 'X', true],
    ['(?i)[^a-c]', 'B', false],
    ['\\xc3\\xa9', '\xc3\xa9', true],
    ['\\e', '\x1b', true],
  ] as const)
    assert.equal(matches(pattern, text), expected, `${pattern} on ${JSON.stringify(text)}`)
})

test('what is malformed or unknown is refused with its offset', () => {
  for (const [pattern, offset] of [
    ['(a', 2],
    ['a)', 1],
    ['[a', 2],
    ['*a', 0],
    ['a{3,2}', 1],
    ['a{2000}', 1],
    ['\\', 1],
    ['\\Q', 2],
    ['(?Xa)', 1],
    ['[b-a]', 4],
    ['a**', 2],
    ['é€', 2],
  ] as const) {
    assert.throws(
      () => parsePattern(pattern),
      (error) => error instanceof PatternSyntaxError && error.offset === offset,
      `${pattern}: expected offset ${offset}`,
    )
  }
})

/** Patterns that PCRE and JavaScript read alike, over few letters, so that random texts match now and then. */
const leaf = fc.constantFrom('a', 'b', 'ab', '\\.', '[ab]', '[^a]', '\\d', '\\w', 'B', '1', '-')
const pattern: fc.Arbitrary<string> = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie('node'), fc.constantFrom('?', '*', '+', '{2}', '{0,2}', '{1,}', '*?')).map(([a, q]) => `(?:${a})${q}`),
    tie('node').map((a) => `(${a})`),
    tie('node').map((a) => `(?=${a})`),
  ),
})).node
const text = fc.string({ unit: fc.constantFrom('a', 'b', 'B', 'A', '.', '1', '-'), maxLength: 12 })

test('property: a pattern finds exactly what V8’s own reading of it finds', () => {
  fc.assert(
    fc.property(pattern, text, fc.boolean(), (source, subject, ignoreCase) => {
      const native = new RegExp(source, ignoreCase ? 'si' : 's').exec(subject)
      const own = compilePattern(`${ignoreCase ? '(?i)' : ''}${source}`).regex.exec(subject)
      assert.deepEqual(own === null ? null : [...own, own.index], native === null ? null : [...native, native.index])
    }),
    { numRuns: 5_000 },
  )
})

test('property: a text that a pattern matches holds one of its required literals', () => {
  let useful = 0
  fc.assert(
    fc.property(pattern, text, fc.boolean(), (source, subject, ignoreCase) => {
      const compiled = compilePattern(`${ignoreCase ? '(?i)' : ''}${source}`)
      if (compiled.literals === undefined || !compiled.regex.test(subject)) return
      useful += 1
      const lower = subject.toLowerCase()
      assert.ok(
        compiled.literals.some((literal) => lower.includes(literal)),
        `${source} matches ${subject} without any of ${compiled.literals.join(' ')}`,
      )
    }),
    { numRuns: 10_000 },
  )
  assert.ok(useful > 300, `only ${useful} runs had something to check`)
})

test('property: no match is shorter than what is said of the pattern', () => {
  let shortest = 0
  fc.assert(
    fc.property(pattern, text, (source, subject) => {
      const { regex, charsMin } = compilePattern(source)
      const { length } = regex.exec(subject)?.[0] ?? { length: Number.POSITIVE_INFINITY }
      assert.ok(length >= charsMin, `${source} matches ${length} of ${subject}, fewer than ${charsMin}`)
      if (length === charsMin && charsMin > 1) shortest += 1
    }),
    { numRuns: 10_000 },
  )
  assert.ok(shortest > 100, `only ${shortest} matches were as short as they may be`)
})

test('property: no text makes the parser throw anything but PatternSyntaxError, and what it takes V8 takes', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab[]()*+?{}|\\^$.-,:=!<>12xdwsQiP&é'), maxLength: 14 }), (source) => {
      let tree: ReturnType<typeof parsePattern>
      try {
        tree = parsePattern(source)
      } catch (error) {
        assert.ok(error instanceof PatternSyntaxError, `${error}`)
        return
      }
      assert.ok(tree)
      compilePattern(source)
    }),
    { numRuns: 5_000 },
  )
})

test('deep nesting is refused, not run into the ground', () => {
  assert.throws(() => parsePattern(`${'('.repeat(5_000)}a${')'.repeat(5_000)}`), PatternSyntaxError)
})
