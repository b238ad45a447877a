import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PolicyFileInvalid } from './errors.ts'
import { parsePolicyDocument } from './policy-document.ts'
import { policyText } from './policy-text.ts'

const CEDAR = '  // indented\n\npermit (principal, action, resource);\n'
const files: Readonly<Record<string, string>> = {
  'a.cedar': CEDAR,
  'b.cedar': 'forbid (principal, action, resource);',
  'none.cedar': '',
}
const read = (name: string) => {
  const text = files[name]
  if (text === undefined) throw new PolicyFileInvalid(`${name}: cannot be read`)
  return { file: `dir/${name}`, text }
}

const POLICY = `version: 1
services:
  a:
    upstreams: [{ url: "http://127.0.0.1:1" }]
    authorization:
      file: a.cedar # its own
      claims: { level: Long }
  b:
    hosts: [b.example]
    upstreams: [{ url: "http://127.0.0.1:2" }]
    authorization:
      claims: {}
      file: b.cedar
  c:
    hosts: [c.example]
    upstreams: [{ url: "http://127.0.0.1:3" }]
    authorization: { policies: "" }
`

test('files are put in their place, character for character, and places are told by the files', () => {
  const { text, placeOf } = policyText('p.yaml', POLICY, read)
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  const { a, b, c } = document.policy.services
  assert.equal(a?.authorization?.policies, CEDAR)
  assert.deepEqual(a?.authorization?.claims, { level: 'Long' })
  assert.equal(b?.authorization?.policies.trimEnd(), files['b.cedar'])
  assert.equal(c?.authorization?.policies, '')
  const lines = text.split('\n')
  const at = (part: string) => {
    const line = lines.findIndex((each) => each.includes(part))
    return placeOf({ line: line + 1, column: lines[line]!.indexOf(part) + 1 })
  }
  assert.deepEqual(at('permit'), { file: 'dir/a.cedar', line: 3, column: 1 })
  assert.deepEqual(at('// indented'), { file: 'dir/a.cedar', line: 1, column: 3 })
  assert.deepEqual(at('forbid'), { file: 'dir/b.cedar', line: 1, column: 1 })
  assert.deepEqual(at('claims: { level'), { file: 'p.yaml', line: 7, column: 7 })
  assert.deepEqual(at('c.example'), { file: 'p.yaml', line: 15, column: 13 })
  assert.deepEqual(placeOf({ line: 9_999, column: 1 }), { file: 'p.yaml', line: 9_999, column: 1 })
})

test('what is wrong in Cedar text is told by its own line, also where its first line is indented', () => {
  const { text, placeOf } = policyText('p.yaml', POLICY, read)
  const found = parsePolicyDocument(text, 'p.yaml', () => [
    { path: ['services', 'a', 'authorization', 'policies'], message: 'wrong', within: { line: 3, column: 9 } },
  ])
  assert.ok(!found.ok)
  const [problem] = found.problems
  assert.deepEqual(placeOf(problem!), { file: 'dir/a.cedar', line: 3, column: 9 })
})

test('a policy that names no files is left as it is; what cannot be put is refused', () => {
  assert.equal(policyText('p.yaml', 'version: [', read).text, 'version: [')
  const plain = POLICY.replace(/ {6}file: .*\n/g, '')
  assert.equal(policyText('p.yaml', plain, read).text, plain)
  const empty = policyText('p.yaml', POLICY.replace('a.cedar', 'none.cedar'), read).text
  assert.match(empty, /policies: ""\n {6}claims/)
  const cases: readonly (readonly [string, RegExp])[] = [
    [POLICY.replace('a.cedar', 'x.cedar'), /^x\.cedar: cannot be read$/],
    [POLICY.replace('file: a.cedar # its own', 'file: 7'), /^p\.yaml:6:7: services\.a\.authorization\.file: expected the name/],
    [POLICY.replace('{ policies: "" }', '{ file: a.cedar }'), /^p\.yaml:17:22: .*a line of its own/],
    [POLICY.replace('claims: {}', 'policies: ""'), /keep policies or file, not both/],
  ]
  for (const [text, says] of cases) {
    assert.throws(
      () => policyText('p.yaml', text, read),
      (error) => error instanceof PolicyFileInvalid && says.test(error.message),
    )
  }
})
