import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compilePolicy } from './policy-compile.ts'
import { diffPolicies } from './policy-diff.ts'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'

const SERVICE = 'version: 1\nservices:\n  shop:\n    upstreams:\n      - url: http://127.0.0.1:3000\n'
/** `paths` begins on line 7, at column 9. */
const withApi = (text: string): string => `${SERVICE}    api:\n${text.replaceAll(/^/gm, '      ')}\n`

/** What the api says, and the lines that it earns. */
const CASES: Record<string, readonly [text: string, lines: readonly string[]]> = {
  'an unknown keyword deep in a schema': [
    'paths: {}\nschemas:\n  A: { properties: { b: { maxlength: 3 } } }',
    ['9:33: maxlength is not known in services.shop.api.schemas.A.properties.b (did you mean maxLength?)'],
  ],
  'an unknown type': [
    'paths: {}\nschemas:\n  A: { type: strin }',
    ['9:20: expected null, boolean, object, array, number, string or integer or a list, found "strin"'],
  ],
  'an unknown method': [
    'paths:\n  /a:\n    fetch: {}',
    ['9:11: fetch is not known in services.shop.api.paths./a (did you mean patch?)'],
  ],
  'a remote reference': [
    'paths: {}\nschemas: { A: { $ref: "https://x/y#/z" } }',
    ['8:29: expected #/schemas/NAME, found "https://x/y#/z"'],
  ],
  'a reference to nothing': [
    'paths: {}\nschemas: { A: { $ref: "#/schemas/B" } }',
    ['8:29: no schema is called B (define it under schemas)'],
  ],
  'schemas that go round in circles': [
    'paths: {}\nschemas: { A: { allOf: [{ $ref: "#/schemas/B" }] }, B: { $ref: "#/schemas/A" } }',
    ['8:18: the schema A refers to itself without a value in between (let it refer to itself within properties or items only)'],
  ],
  'a pattern without linear time': [
    'paths: {}\nschemas: { A: { pattern: "^(?=a)" } }',
    [
      '8:32: the pattern cannot be used: look-around cannot be decided in linear time (write it as a plain regular expression, or leave it out)',
    ],
  ],
  'two templates for one path': [
    'paths:\n  /a/{x}: { get: {} }\n  /a/{y}: { get: {} }',
    ['9:9: /a/{y} matches the same requests as /a/{x} (join the two)'],
  ],
  'a path parameter of no path': [
    'paths:\n  /a:\n    get:\n      parameters: [{ name: id, in: path }]',
    ['10:34: the path has no {id} (name a parameter as the path does)'],
  ],
  'a parameter twice': [
    'paths:\n  /a:\n    get:\n      parameters: [{ name: q, in: query }, { name: q, in: query }]',
    ['10:58: the query parameter q occurs twice (keep one of the two)'],
  ],
  'a schema for a body that is not read': [
    'paths:\n  /a:\n    post:\n      requestBody: { content: { text/csv: { schema: { type: string } } } }',
    ['10:51: bodies of text/csv are not read, so their schema cannot be checked (leave the schema out)'],
  ],
  'bounds that nothing can meet': [
    'paths: {}\nschemas: { A: { minLength: 3, maxLength: 2 } }',
    ['8:34: minLength 3 is more than maxLength 2 (swap the two)'],
  ],
}

for (const [name, [text, lines]] of Object.entries(CASES)) {
  test(`${name} is reported with line, column and what to do`, () => {
    const document = parsePolicyDocument(withApi(text))
    assert.ok(!document.ok)
    assert.deepEqual(
      formatProblems(document.problems, 'ringwall.yaml').split('\n'),
      lines.map((line) => `ringwall.yaml:${line}`),
    )
  })
}

test('an api whose bodies are not read, and a route that speaks of an api that is not there, are refused', () => {
  const unread = parsePolicyDocument(`${withApi('paths: {}')}    waf: { bodyBytesMax: 0 }\n`)
  assert.match(unread.ok ? '' : formatProblems(unread.problems, 'p'), /nothing is read/)
  const absent = parsePolicyDocument(`${SERVICE}    routes: [{ name: a, path: /a, api: { mode: enforce } }]\n`)
  assert.match(absent.ok ? '' : formatProblems(absent.problems, 'p'), /the service has none/)
})

test('an alias that holds itself is refused in words', () => {
  const document = parsePolicyDocument(withApi('paths: {}\nschemas: { A: &a { not: *a } }'))
  assert.ok(!document.ok)
  assert.match(document.problems[0]!.message, /nested too deep/)
})

test('a route decides for itself whether it is held against the api', () => {
  const text = `${withApi('mode: "off"\npaths: { /api/a: { get: {} } }')}    routes: [{ name: api, path: /api, api: { mode: shadow } }]\n    waf: { rules: [], mode: "off" }\n`
  const document = parsePolicyDocument(text)
  assert.ok(document.ok)
  const compilation = compilePolicy(
    document.policy,
    () => {
      throw new Error('no rules here')
    },
    new Map(),
  )
  assert.ok(compilation.ok)
  const { route } = compilation.compiled
  assert.deepEqual([route('x', '/', 'GET')?.api, route('x', '/', 'GET')?.apiMode], [undefined, 'off'])
  assert.equal(route('x', '/api/a', 'GET')?.apiMode, 'shadow')
  assert.deepEqual(route('x', '/api/a', 'GET')?.api?.operations, ['GET /api/a'])
})

test('what changes in an api is named by path, method and parameter', () => {
  const read = (parameter: string) => {
    const document = parsePolicyDocument(
      withApi(`paths:\n  /a:\n    get:\n      parameters: [{ name: q, in: query, schema: { maxLength: ${parameter} } }]`),
    )
    assert.ok(document.ok)
    return document.policy
  }
  assert.deepEqual(diffPolicies(read('3'), read('4')), [
    { kind: 'change', path: 'services.shop.api.paths["/a"].get.parameters.q.schema.maxLength', before: 3, after: 4 },
  ])
})
