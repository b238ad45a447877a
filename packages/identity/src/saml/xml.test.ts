import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalXml } from './canonical.ts'
import { xmlCrypto, xmlDom } from './test-saml.ts'
import { childrenOf, parseXml, textOf, XML_DEPTH_MAX, XML_ELEMENTS_MAX, type XmlElement, xmlText } from './xml.ts'

const parse = (text: string): XmlElement => parseXml(Buffer.from(text))

test('what is outside of the part of XML that is read is refused, with its place', () => {
  for (const bad of [
    '',
    'text',
    '<a>',
    '</a>',
    '<a></b>',
    '<a/><b/>',
    '<a/>text',
    '<!DOCTYPE a><a/>',
    '<a><!-- x --></a>',
    '<a><![CDATA[x]]></a>',
    '<a><?x?></a>',
    '<?xml version="1.1"?><a/>',
    '<?xml version="1.0" encoding="utf-16"?><a/>',
    '<a b=c/>',
    '<a b="<"/>',
    '<a b="1"c="2"/>',
    '<a b="1" b="2"/>',
    '<a xmlns:p="urn:p" xmlns:q="urn:p" p:b="1" q:b="2"/>',
    '<p:a/>',
    '<a p:b="1"/>',
    '<a xmlns:p=""/>',
    '<a xmlns:xml="urn:x"/>',
    '<a xmlns="http://www.w3.org/2000/xmlns/"/>',
    '<a xmlns="urn:a" xmlns="urn:b"/>',
    '<a:b:c xmlns:a="urn:a"/>',
    '<é/>',
    '<a>&nbsp;</a>',
    '<a>&#0;</a>',
    '<a>&#xD800;</a>',
    '<a>&#x110000;</a>',
    '<a>& </a>',
    '<a>]]></a>',
    '<a>\u0001</a>',
    '<a b="1"',
    '< a/>',
    '<a>'.repeat(XML_DEPTH_MAX + 1) + '</a>'.repeat(XML_DEPTH_MAX + 1),
    `<a>${'<b/>'.repeat(XML_ELEMENTS_MAX)}</a>`,
    `\ufeff<a/>`,
  ])
    assert.throws(() => parse(bad), { name: 'XmlInvalid', code: 'XML_INVALID' }, bad.slice(0, 60))
  assert.throws(() => parseXml(Uint8Array.of(0x3c, 0x61, 0xff)), { name: 'XmlInvalid' })
})

test('text, references, line ends and namespaces are read as XML has them', () => {
  const root = parse(
    '<?xml version="1.0"?>\r\n<a xmlns="urn:a" b="1\t&#9;&quot;"><p:c xmlns:p="urn:p">x&amp;&#x79;\r\nz</p:c><c xmlns=""/></a>\n',
  )
  assert.equal(root.namespace, 'urn:a')
  assert.equal(root.attributes[0]?.value, '1 \t"')
  assert.equal(textOf(childrenOf(root, 'urn:p', 'c')[0]!), 'x&y\nz')
  assert.equal(childrenOf(root, '', 'c').length, 1)
  assert.equal(textOf(root), undefined)
})

const prefix = fc.constantFrom('', 'p', 'q')
const name = fc.constantFrom('a', 'b', 'c')
const value = fc.string({ unit: fc.constantFrom('x', '&', '<', '"', '\t', '\n', '\r', 'é', ' ', '𝕏'), maxLength: 4 })
const written = (text: string): string => xmlText(text).replace(/[\t\n\r]/g, (one) => `&#${one.charCodeAt(0)};`)

interface Made {
  readonly prefix: string
  readonly local: string
  readonly declares: Readonly<Record<string, string>>
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly (Made | string)[]
}

const { element } = fc.letrec<{ element: Made }>((tie) => ({
  element: fc.record({
    prefix,
    local: name,
    declares: fc.dictionary(prefix, fc.constantFrom('urn:1', 'urn:2'), { maxKeys: 2, noNullPrototype: true }),
    attributes: fc.dictionary(fc.constantFrom('a', 'b', 'p:a', 'q:a', 'xml:lang'), value, { maxKeys: 3, noNullPrototype: true }),
    children: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constant([]),
      fc.array(fc.oneof(value, tie('element') as fc.Arbitrary<Made>), { maxLength: 3 }),
    ),
  }),
}))

function text(made: Made, isRoot = true): string {
  const declares = isRoot ? { p: 'urn:p', q: 'urn:q', ...made.declares } : made.declares
  const tag = made.prefix === '' ? made.local : `${made.prefix}:${made.local}`
  const namespaces = Object.entries(declares).map(([of, uri]) => ` xmlns${of === '' ? '' : `:${of}`}="${uri}"`)
  const attributes = Object.entries(made.attributes).map(([of, held]) => ` ${of}="${written(held)}"`)
  const inside = made.children.map((child) => (typeof child === 'string' ? written(child) : text(child, false)))
  return `<${tag}${namespaces.join('')}${attributes.join('')}>${inside.join('')}</${tag}>`
}

test('property: canonical XML is what xml-crypto makes of the same, reads as the same, and is its own canonical form', () => {
  fc.assert(
    fc.property(element, (made) => {
      const xml = text(made)
      let root: XmlElement
      try {
        root = parse(xml)
      } catch {
        // Two prefixes of one namespace at one attribute.
        return
      }
      const ours = canonicalXml(root)
      const theirs = new xmlCrypto.ExclusiveCanonicalization().process(
        new xmlDom.DOMParser().parseFromString(xml, 'text/xml').documentElement,
        {},
      )
      assert.equal(ours, String(theirs))
      assert.equal(canonicalXml(parse(ours)), ours)
    }),
    { numRuns: 300 },
  )
})

test('property: no bytes make the parser fail in another way than by its error', () => {
  const piece = fc.constantFrom(
    '<',
    '>',
    '/',
    'a',
    ':',
    '=',
    '"',
    "'",
    '&',
    ';',
    '#',
    'xmlns',
    ' ',
    '<a',
    '</a>',
    '<?xml',
    '!',
    '\r',
    'x="1"',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
      try {
        const root = parse(pieces.join(''))
        assert.equal(canonicalXml(parse(canonicalXml(root))), canonicalXml(root))
      } catch (error) {
        assert.equal((error as Error).name, 'XmlInvalid')
      }
    }),
    { numRuns: 1_000 },
  )
})
