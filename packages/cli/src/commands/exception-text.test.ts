import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import { type Exception, withExceptions, withoutExceptions } from './exception-text.ts'

const one: Exception = {
  name: 'exc-1',
  rule: 7,
  service: 'shop',
  path: '/search',
  variable: 'ARGS:q',
  owner: 'ada',
  reason: 'it is "fine": really',
  until: '2027-01-31T12:00:00Z',
}
const two: Exception = { ...one, name: 'exc-2', variable: 'ARGS:b' }
const PLAIN = `# the shop
version: 1   # of the format
services:
  shop: { upstreams: [{ url: "http://127.0.0.1:1" }] }

# the end
`
const held = (text: string): readonly { readonly name: string }[] => parse(text).exceptions ?? []

const policies: readonly [string, string][] = [
  ['none yet', PLAIN],
  ['no line end at the end', PLAIN.trimEnd()],
  [
    'some in the middle',
    PLAIN.replace('\n# the end', `\nexceptions:\n# by hand\n- name: mine\n  rule: 1\n  note: >\n    long\n\n# the end`),
  ],
  [
    'some, indented',
    PLAIN.replace(
      '\n# the end',
      `\nexceptions:\n    - { name: mine, rule: 1 } # why\n    - { name: other, rule: 2 }\nbudget: {}\n# the end`,
    ),
  ],
  ['an empty list', PLAIN.replace('\n# the end', '\nexceptions: []\n# the end')],
  ['a flow list', PLAIN.replace('\n# the end', '\nexceptions: [{ name: mine, rule: 1 }]\n# the end')],
  ['a flow document', '{ version: 1, services: {} }'],
]
for (const [name, text] of policies) {
  test(`added, renewed and removed again: ${name}`, () => {
    const before = held(text)
    const both = withExceptions(withExceptions(text, [one]), [two])
    assert.deepEqual(held(both), [...before, one, two])
    const renewed = withExceptions(both, [{ ...one, until: '2027-02-28T12:00:00Z' }])
    assert.deepEqual(held(renewed).length, before.length + 2)
    assert.ok(JSON.stringify(held(renewed)).includes('2027-02-28'))
    const out = withoutExceptions(renewed, ['exc-1', 'exc-2'])
    assert.deepEqual(held(out), before)
    const rest = (value: Record<string, unknown>) => ({ ...value, exceptions: undefined })
    assert.deepEqual(rest(parse(out)), rest(parse(text)))
    for (const comment of text.match(/#.*/g) ?? []) assert.ok(out.includes(comment), comment)
  })
}

test('every other character stays', () => {
  const added = withExceptions(PLAIN, [one])
  assert.ok(added.startsWith(PLAIN))
  assert.equal(withoutExceptions(added, ['exc-1']), PLAIN)
})

test('property: what any reason and variable say comes back as it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (reason, member) => {
      const exception = { ...one, reason, variable: `ARGS:${member}` }
      assert.deepEqual(held(withExceptions(PLAIN, [exception])), [exception])
    }),
  )
})
