import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseXml } from './xml.ts'
import { evaluatePath, PathInvalid, parsePath, pathRoot, stringValue } from './xpath.ts'

const free = (): void => {}
const NAMESPACES = new Map([
  ['', 'urn:default'],
  ['b', 'urn:b'],
])
const SHELF = `<shelf xmlns:x="urn:b" no="1"><book lang="en"><title>One</title></book>text<book lang="de" x:id="7"><title>Two <b>bold</b></title><x:note>n</x:note></book><!-- none --><last/></shelf>`

const found = (path: string, document = SHELF): readonly string[] =>
  evaluatePath(parsePath(path, NAMESPACES), pathRoot(parseXml(document)), free).map((node) => stringValue(node, free))

test('paths name nodes in the order of the document, each once', () => {
  const table: readonly (readonly [string, readonly string[]])[] = [
    ['/shelf/book/title', ['One', 'Two bold']],
    ['shelf/book/title', ['One', 'Two bold']],
    ['//title | //title | /shelf/book[1]/title', ['One', 'Two bold']],
    ['//book[2]/@lang', ['de']],
    ['//@*', ['1', 'en', 'de', '7']],
    ['//@b:id', ['7']],
    ['//b:*', ['n']],
    ['//b:note/../title', ['Two bold']],
    ['/shelf/text()', ['text']],
    ["//book[@lang='en']/title", ['One']],
    ["//book[@lang!='en']/title", ['Two bold']],
    ["//book[title='One' or b:note]/@lang", ['en', 'de']],
    ['//book[title and b:note]/@lang', ['de']],
    ['//book[last()]/@lang', ['de']],
    ['//title[1]', ['One', 'Two bold']],
    ['/descendant::title[1]', ['One']],
    ['/child::shelf/attribute::no', ['1']],
    ['//b/parent::title/self::node()', ['Two bold']],
    ['/shelf/book/.', ['One', 'Two boldn']],
    ['/', ['OnetextTwo boldn']],
    ['/book', []],
    ['/b:shelf', []],
    ['//book[9]', []],
  ]
  for (const [path, values] of table) assert.deepEqual(found(path), values, path)
})

test('what is no path of these is refused with what is wrong', () => {
  for (const path of [
    '',
    '/a/',
    'a[',
    'a]',
    '//',
    'a::b',
    'following::a',
    'count(a)',
    'position()',
    'a[1=1]',
    'a[@b=c]',
    '$a',
    'a + b',
    'y:a',
    "a['x'",
    '1',
    `${'a['.repeat(20)}b${']'.repeat(20)}`,
    '/a'.repeat(100),
    'a'.repeat(2_000),
  ])
    assert.throws(() => parsePath(path, NAMESPACES), PathInvalid, path)
})

test('property: whatever text is a path, it is read or refused, and evaluated within what it may cost', () => {
  const word = fc.constantFrom(
    'a',
    'b:c',
    '*',
    '/',
    '//',
    '[',
    ']',
    '@',
    '.',
    '..',
    '|',
    '1',
    "'x'",
    '=',
    'and',
    'text()',
    'descendant::',
    '(',
    ')',
    ' ',
  )
  const document = pathRoot(parseXml(`<a>${'<a><b/><a/></a>'.repeat(20)}</a>`))
  fc.assert(
    fc.property(fc.array(word, { maxLength: 14 }), (words) => {
      let left = 20_000
      const spend = (work: number): void => {
        left -= work
        if (left < 0) throw new RangeError('enough')
      }
      try {
        const nodes = evaluatePath(parsePath(words.join(''), NAMESPACES), document, spend)
        assert.equal(new Set(nodes).size, nodes.length)
        for (const [index, node] of nodes.entries()) assert.ok(index === 0 || nodes[index - 1]!.order < node.order)
      } catch (error) {
        assert.ok(error instanceof PathInvalid || error instanceof RangeError, String(error))
      }
    }),
    { numRuns: 2_000 },
  )
})
