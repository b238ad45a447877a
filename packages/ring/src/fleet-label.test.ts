import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Labels, matchesSelector, parseSelector, type Selector } from './fleet-label.ts'

function terms(text: string): Selector {
  const read = parseSelector(text)
  assert.ok('terms' in read, JSON.stringify(read))
  return read.terms
}

const labels = (...all: readonly string[]): Labels => new Map(all.map((label) => label.split('=') as [string, string]))

for (const [text, holder, expected] of [
  ['', labels(), true],
  ['role=edge', labels('role=edge'), true],
  ['role==edge', labels('role=edge'), true],
  ['role=edge', labels('role=core'), false],
  ['role=edge', labels(), false],
  ['role!=edge', labels(), true],
  ['role!=edge', labels('role=edge'), false],
  ['role=edge,region in (eu-1, eu-2)', labels('role=edge', 'region=eu-2'), true],
  ['role=edge,region in (eu-1,eu-2)', labels('role=edge', 'region=us'), false],
  ['region notin (us)', labels(), true],
  ['region notin (us)', labels('region=us'), false],
  ['spare', labels('spare=yes'), true],
  ['spare', labels(), false],
  ['!spare, role', labels('role=x'), true],
] as const)
  test(`the selector ${JSON.stringify(text)} ${expected ? 'takes' : 'leaves'} ${JSON.stringify([...holder])}`, () => {
    assert.equal(matchesSelector(terms(text), holder), expected)
  })

for (const text of [
  'role=',
  '=edge',
  'a=b,',
  'region in eu',
  'region in ()',
  'region in (eu',
  'ROLE=x',
  'a=b c',
  'x'.repeat(513),
  'a(b)',
  'in in in',
])
  test(`the selector ${JSON.stringify(text.slice(0, 20))} is refused, with what was expected`, () => {
    const read = parseSelector(text)
    assert.ok('fault' in read)
    assert.ok(read.fault.length > 10)
  })

test('any text is read or refused, and what is read judges any labels', () => {
  const word = fc.stringMatching(/^[a-z]{1,3}$/)
  const term = fc.oneof(
    fc.tuple(word, fc.constantFrom('=', '!=', '=='), word).map((parts) => parts.join('')),
    fc
      .tuple(word, fc.constantFrom('in', 'notin'), fc.array(word, { minLength: 1, maxLength: 3 }))
      .map(([k, how, v]) => `${k} ${how} (${v})`),
    word,
    word.map((key) => `!${key}`),
    fc.string({ maxLength: 8 }),
  )
  fc.assert(
    fc.property(fc.array(term, { maxLength: 5 }), fc.dictionary(word, word), (parts, held) => {
      const read = parseSelector(parts.join(','))
      if ('fault' in read) return
      const own = new Map(Object.entries(held))
      // What the terms say each for itself, they say together.
      assert.equal(
        matchesSelector(read.terms, own),
        read.terms.every((one) => matchesSelector([one], own)),
      )
    }),
  )
})
