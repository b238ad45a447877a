import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TRANSFORMATIONS } from './index.ts'

const apply = (name: string, text: string): string => {
  const transformation = TRANSFORMATIONS.get(name)
  assert.ok(transformation, name)
  return transformation(text)
}

test('vectors', () => {
  for (const [name, text, expected] of [
    ['base64decode', 'PHNjcmlwdD4=', '<script>'],
    ['base64decode', 'PHNj!cmlwdD4=', '<sc'],
    ['base64decodeext', 'PHNj.cmlw dD4=', '<script>'],
    ['base64encode', '<script>', 'PHNjcmlwdD4='],
    ['cmdline', 'C^aT "/et\\c";/pas,sw\'d', 'cat/etc/pas swd'],
    ['compresswhitespace', 'a \t\n b\xa0c', 'a b c'],
    ['cssdecode', 'j\\61 vascript', 'javascript'],
    ['cssdecode', '\\65xpression', 'expression'],
    ['escapeseqdecode', '\\x41\\102\\n\\q', 'AB\n\\q'],
    ['hexdecode', '3c5363', '<Sc'],
    ['hexencode', '<S', '3c53'],
    ['htmlentitydecode', '&lt;a&#x3e;&#60;&quot&nbsp;', '<a><"\xa0'],
    ['htmlentitydecode', '&unknown;&#x110000;', '&unknown;&#x110000;'],
    ['jsdecode', '\\u003cscript\\x3e\\074\\/', '<script></'],
    ['jsdecode', '\\uff1cscript', '<script'],
    ['length', 'abc', '3'],
    ['lowercase', 'ABCÉ', 'abcÉ'],
    ['normalizepath', '/a/./b//../c/..', '/a/'],
    ['normalizepath', '../../etc/passwd', '../../etc/passwd'],
    ['normalizepath', '/../../etc', '/etc'],
    ['normalizepathwin', 'a\\..\\b', 'b'],
    ['removecomments', 'a/*x*/b--c', 'ab'],
    ['removecommentschar', 'a/*b*/c#d', 'abcd'],
    ['replacecomments', 'un/**/ion/*', 'un ion '],
    ['removenulls', 'a\0b', 'ab'],
    ['replacenulls', 'a\0b', 'a b'],
    ['removewhitespace', ' a\tb ', 'ab'],
    ['sqlhexdecode', 'x=0x4142', 'x=AB'],
    ['trim', ' \ta b\n', 'a b'],
    ['urldecode', '%41+%zz%4', 'A %zz%4'],
    ['urldecodeuni', '%u0041%uff1c%3C', 'A<<'],
    ['urldecodeuni', '%u00', '%u00'],
    ['urlencode', 'a b<é', 'a+b%3c%e9'],
    ['utf8tounicode', '\xc3\xa9<', '%u00e9<'],
  ] as const)
    assert.equal(apply(name, text), expected, `${name} of ${JSON.stringify(text)}`)
})

const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 64 })
const tricky = fc.string({ unit: fc.constantFrom(...'%u0041+\\x/*.-#&;lt <>"\'=\0\xa0AZ'), maxLength: 40 })

test('property: bytes in, bytes out; the same text gives the same answer', () => {
  for (const [name, transformation] of TRANSFORMATIONS) {
    fc.assert(
      fc.property(fc.oneof(bytes, tricky), (text) => {
        const out = transformation(text)
        for (let i = 0; i < out.length; i += 1) assert.ok(out.charCodeAt(i) < 256, `${name} of ${JSON.stringify(text)}`)
        assert.equal(transformation(text), out)
      }),
      { numRuns: 300 },
    )
  }
})

test('property: what encodes is undone by what decodes', () => {
  fc.assert(
    fc.property(bytes, (text) => {
      assert.equal(apply('base64decode', apply('base64encode', text)), text)
      assert.equal(apply('hexdecode', apply('hexencode', text)), text)
      assert.equal(apply('urldecode', apply('urlencode', text)), text)
    }),
    { numRuns: 1_000 },
  )
})

test('property: some change nothing the second time', () => {
  const names = [
    'compresswhitespace',
    'lowercase',
    'uppercase',
    'trim',
    'removenulls',
    'removewhitespace',
    'normalizepath',
    'normalizepathwin',
  ]
  fc.assert(
    fc.property(fc.constantFrom(...names), tricky, (name, text) => {
      const once = apply(name, text)
      assert.equal(apply(name, once), once)
    }),
    { numRuns: 2_000 },
  )
})

test('a long value decodes like a short one', () => {
  assert.equal(apply('urldecodeuni', '%41'.repeat(50_000)), 'A'.repeat(50_000))
})
