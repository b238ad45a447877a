import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytesToText } from '../bytes.ts'
import { parseCookies } from './cookies.ts'
import { parseForm } from './form.ts'
import { parseJson } from './json.ts'
import { multipartBoundary, parseMultipart } from './multipart.ts'
import { parseRequestBody } from './request-body.ts'
import { xmlValues } from './xml.ts'

const utf8 = (text: string): string => bytesToText(new TextEncoder().encode(text))

test('property: forms are taken apart as URLSearchParams does', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 8 }), (pairs) => {
      const params = new URLSearchParams(
        pairs.map(([name, value]): [string, string] => [name.toWellFormed(), value.toWellFormed()]),
      )
      const { fields, malformed } = parseForm(params.toString())
      assert.deepEqual(
        fields,
        [...params].map(([name, value]) => [utf8(name), utf8(value)]),
      )
      assert.equal(malformed, false)
    }),
    { numRuns: 1_000 },
  )
})

/** What JSON.parse finds, in the names of the parser under test. Of other scalars than texts, the first at each place up to indices. */
function flatten(value: unknown, name: string, shape: string, seen: Set<string>): [string, string][] {
  if (typeof value === 'string') return [[name, utf8(value)]]
  if (typeof value !== 'object' || value === null) {
    if (seen.has(shape)) return []
    seen.add(shape)
    return [[name, typeof value === 'number' ? 'number' : String(value)]]
  }
  return Object.entries(value).flatMap(([key, inner]) =>
    flatten(inner, `${name}.${utf8(key)}`, `${shape}.${Array.isArray(value) ? '#' : utf8(key)}`, seen),
  )
}

test('property: JSON gives every text that JSON.parse gives, with its path, and the first of other scalars', () => {
  const json = fc.jsonValue({ maxDepth: 4, noUnicodeString: false })
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent)
      const { fields, error } = parseJson(utf8(text))
      assert.equal(error, undefined)
      const found = flatten(JSON.parse(text), 'json', 'json', new Set())
      const isNumber = new Set(found.filter(([, kind]) => kind === 'number').map(([name]) => name))
      assert.deepEqual(
        fields.map(([name, scalar]) => [
          name,
          isNumber.has(name) && scalar !== '' && !Number.isNaN(Number(scalar)) ? 'number' : scalar,
        ]),
        found,
      )
    }),
    { numRuns: 2_000 },
  )
})

test('property: what JSON.parse refuses is refused, what it takes is taken', () => {
  const unit = fc.constantFrom(...'{}[]:,"\\ un01-.eE+', 'true', 'null', '"a"', '\n', '\x01')
  fc.assert(
    fc.property(fc.string({ unit, minLength: 1, maxLength: 12 }), (text) => {
      let wellFormed = true
      try {
        JSON.parse(text)
      } catch {
        wellFormed = false
      }
      assert.equal(parseJson(text).error === undefined, wellFormed, JSON.stringify(text))
    }),
    { numRuns: 10_000 },
  )
})

test('JSON: escapes, twice the same key, depth and names are bounded', () => {
  assert.deepEqual(parseJson('{"a":"\\u00e9\\ud83d\\ude00\\n","a":2}').fields, [
    ['json.a', '\xc3\xa9\xf0\x9f\x98\x80\n'],
    ['json.a', '2'],
  ])
  assert.match(parseJson('['.repeat(100_000)).error ?? '', /nested deeper than 64/)
  assert.match(parseJson(`{"${'k'.repeat(3_000)}":1}`).error ?? '', /a name longer/)
  assert.equal(parseJson(`[${'"a",'.repeat(2_000)}"a"]`).over, true)
  assert.equal(parseJson(`[${'1,'.repeat(100_000)}1]`).over, false)
  assert.equal(parseJson(`{"${'k'.repeat(2_000)}":[${'"a",'.repeat(100)}"a"]}`).over, true)
  assert.deepEqual(parseJson('\xef\xbb\xbf{"a":"b"}').fields, [['json.a', 'b']])
})

const part = (head: string, content: string): string => `--B\r\n${head}\r\n\r\n${content}\r\n`

test('multipart: fields, files, and what is odd about a body', () => {
  const body = `${part('Content-Disposition: form-data; name="a"', 'one')}${part('Content-Disposition: form-data; name="f"; filename="x.php"\r\nContent-Type: text/plain', '<?php')}--B--\r\n`
  const parsed = parseMultipart(body, 'B', false)
  assert.deepEqual(
    [parsed.fields, parsed.files, parsed.error, parsed.strictError],
    [[['a', 'one']], [{ name: 'f', fileName: 'x.php', bytes: 5, content: '<?php' }], undefined, undefined],
  )
  const disposition = 'Content-Disposition: form-data; name="a"'
  for (const [text, kind, says] of [
    ['nothing', 'error', /no part begins/],
    [part(disposition, 'x'), 'error', /boundary/],
    [`junk\r\n${part(disposition, 'x')}--B--`, 'strictError', /before the first boundary/],
    [`${part(disposition, 'x')}--B--junk`, 'strictError', /after the last boundary/],
    [`${part('Content-Disposition: form-data', 'x')}--B--`, 'error', /no name/],
    [`${part(`${disposition}\r\n${disposition}`, 'x')}--B--`, 'strictError', /two Content-Disposition/],
    [`${part(`${disposition}; name="b"`, 'x')}--B--`, 'strictError', /given twice/],
    [`${part('Content-Disposition: form-data; name="a', 'x')}--B--`, 'strictError', /malformed/],
    [`${part(`${disposition}\r\nContent-Transfer-Encoding: base64`, 'x')}--B--`, 'strictError', /transfer encoding/],
    [`${part('Content-Disposition: attachment; name="a"', 'x')}--B--`, 'strictError', /not form-data/],
    [`${part("Content-Disposition: form-data; name*=utf-8''a", 'x')}--B--`, 'strictError', /with a charset/],
    [`${part('Content-Disposition: form-data; name="a"; filename*0="x"', 'x')}--B--`, 'strictError', /in pieces/],
    ['--B\n', 'error', /end of its line/],
  ] as const)
    assert.match(parseMultipart(text, 'B', false)[kind] ?? '', says, JSON.stringify(text))
})

test('multipart: a body cut off at the limit shows the part it was cut in', () => {
  const { fields, error } = parseMultipart('--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n<script', 'B', true)
  assert.deepEqual([fields, error], [[['a', '<script']], undefined])
})

test('property: multipart fields come back as they were sent', () => {
  const name = fc.string({ unit: fc.constantFrom(...'abc_-.['), minLength: 1, maxLength: 8 })
  const content = fc
    .string({ unit: fc.constantFrom(...'ab\r\n-"\\;=B\0\xff'), maxLength: 30 })
    .filter((text) => !`\r\n${text}`.includes('\r\n--B'))
  fc.assert(
    fc.property(fc.array(fc.tuple(name, content), { minLength: 1, maxLength: 6 }), (pairs) => {
      const body = `${pairs.map(([key, value]) => part(`Content-Disposition: form-data; name="${key}"`, value)).join('')}--B--\r\n`
      assert.deepEqual(parseMultipart(body, 'B', false).fields, pairs)
    }),
    { numRuns: 1_000 },
  )
})

test('multipart: what stands in quotes is no parameter; an empty file name is a field too; a plain encoding is no harm', () => {
  const quoted = parseMultipart(`${part('Content-Disposition: form-data; x="; filename=f"; name="q"', 'v')}--B--`, 'B', false)
  assert.deepEqual([quoted.fields, quoted.files], [[['q', 'v']], []])
  const empty = parseMultipart(`${part('Content-Disposition: form-data; name="q"; filename=""', 'v')}--B--`, 'B', false)
  assert.deepEqual([empty.fields, empty.files], [[['q', 'v']], [{ name: 'q', fileName: '', bytes: 1, content: 'v' }]])
  const plain = parseMultipart(
    `${part('Content-Disposition: form-data; name="q"\r\nContent-Transfer-Encoding: 8bit', 'v')}--B--`,
    'B',
    false,
  )
  assert.equal(plain.strictError, undefined)
})

test('a boundary is taken when there is one, and only one', () => {
  assert.equal(multipartBoundary('multipart/form-data; boundary=abc'), 'abc')
  assert.equal(multipartBoundary('multipart/form-data; charset=x; boundary="a b"'), 'a b')
  for (const type of [
    'multipart/form-data',
    'multipart/form-data; boundary=a; boundary=b',
    'multipart/form-data; boundary=a<b',
    "multipart/form-data; boundary=A; boundary*=utf-8''B",
    'multipart/form-data; x="; boundary=A"',
    `multipart/form-data; boundary=${'a'.repeat(71)}`,
  ])
    assert.equal(multipartBoundary(type), undefined, type)
})

test('cookies and XML are taken apart', () => {
  assert.deepEqual(parseCookies('a=1; b="x=y";c;; d= e ').pairs, [
    ['a', '1'],
    ['b', '"x=y"'],
    ['', 'c'],
    ['d', ' e'],
  ])
  assert.deepEqual(
    xmlValues('<a x="1&lt;2"><b>two</b><![CDATA[<three>]]></a>').values.toSorted(),
    ['1<2', '<three>', 'two'].toSorted(),
  )
})

test('property: no body makes a parser throw or hang', () => {
  const types = [
    '',
    'application/json',
    'text/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=B',
    'image/png',
    'application/vnd.api+json',
    'nonsense',
  ]
  const unit = fc.oneof(
    fc.constantFrom('--B', '\r\n', '<a', '<![CDATA[', ']]>', '{"a":', '[', '%', '&', '=', '"', '\\u'),
    fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  )
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 60 }), fc.constantFrom(...types), fc.boolean(), (text, type, truncated) => {
      const parsed = parseRequestBody(text, type, truncated)
      assert.ok(parsed.fields.length <= 1_000)
    }),
    { numRuns: 5_000 },
  )
})

test('JSON is read as JSON whatever the type says, text that is none is looked at whole', () => {
  assert.deepEqual(parseRequestBody(' {"a":1}', 'text/plain', false).fields, [['json.a', '1']])
  assert.equal(parseRequestBody('{"a":', 'text/plain', false).unparsed, '{"a":')
  assert.match(parseRequestBody('{"a":', 'application/json', false).error ?? '', /value was expected/)
  assert.equal(parseRequestBody('{"a":', 'application/json', true).error, undefined)
})

test('JSON is found behind any blanks, in UTF-16 and UTF-32, in sequences, and as one text', () => {
  const json = '{"a":"b"}'
  const bytes = (text: string, order: 'le' | 'be', size: 2 | 4): string => {
    const wide = Buffer.alloc(text.length * size)
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (size === 2) order === 'le' ? wide.writeUInt16LE(code, at * 2) : wide.writeUInt16BE(code, at * 2)
      else order === 'le' ? wide.writeUInt32LE(code, at * 4) : wide.writeUInt32BE(code, at * 4)
    }
    return bytesToText(wide)
  }
  const opaque = 'application/octet-stream'
  for (const type of ['text/plain', '', opaque]) {
    for (const order of ['le', 'be'] as const)
      for (const size of [2, 4] as const)
        for (const mark of ['', '\ufeff'])
          assert.deepEqual(
            parseRequestBody(bytes(mark + json, order, size), type, false).fields,
            [['json.a', 'b']],
            `${order} ${size}`,
          )
    const spaced = `${' \r\n\t'.repeat(1_000)}${json}`
    assert.deepEqual(parseRequestBody(spaced, type, false).fields, [['json.a', 'b']])
    assert.deepEqual(parseRequestBody(`{"c":1}\n${json}\n`, type, false).fields, [
      ['json.c', '1'],
      ['json.a', 'b'],
    ])
    assert.deepEqual(parseRequestBody(`\x1e${json}\n\x1e"c"\n`, type, false).fields, [
      ['json.a', 'b'],
      ['json', 'c'],
    ])
    assert.deepEqual(parseRequestBody('"\\u0062"', type, false).fields, [['json', 'b']])
  }
  const form = 'application/x-www-form-urlencoded'
  assert.deepEqual(parseRequestBody(`${' '.repeat(1_000)}${json}`, form, false).fields.at(-1), ['json.a', 'b'])
  // One document is one under its own type, where a second is an error.
  assert.match(parseRequestBody(`${json}\n${json}`, 'application/json', false).error ?? '', /after the end/)
  assert.equal(parseRequestBody('a\0', 'text/plain', false).unparsed, 'a')
  const { xml } = parseRequestBody(bytes('\ufeff<a>b</a>', 'le', 2), 'application/xml', false)
  assert.equal(xml.error, undefined)
  assert.equal(parseRequestBody(bytes('<a>', 'be', 2), 'application/xml', false).unparsed, '<a>')
})

test('XML under a form’s type is also kept whole: its first = would tear it in two', () => {
  const type = 'application/x-www-form-urlencoded'
  const document = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///c?d=e">]><a>&b;</a>'
  assert.equal(parseRequestBody(document, type, false).unparsed, document)
  assert.equal(parseRequestBody(` \r\n${document}`, type, false).unparsed, ` \r\n${document}`)
  for (const form of ['a=<b>', 'a=1&<b>=2', '<=1', '']) assert.equal(parseRequestBody(form, type, false).unparsed, '')
})
