import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { HeaderField } from '../types.ts'
import { compileApi } from './check.ts'
import type { ApiDocument, ApiParameter, ApiSchema } from './types.ts'

const encoder = new TextEncoder()

function checkOf(paths: ApiDocument['paths'], more: Partial<ApiDocument> = {}) {
  const compilation = compileApi({ unknownQuery: 'deny', schemas: {}, ...more, paths })
  assert.ok(compilation.ok, compilation.ok ? '' : compilation.faults.map(({ message }) => message).join('; '))
  return compilation.check
}

interface Asked {
  readonly headers?: readonly HeaderField[]
  readonly body?: string | Uint8Array
  readonly more?: Partial<ApiDocument>
}

/** `METHOD TARGET` against paths: the rule that objects, undefined when none does. */
function ruleFor(
  paths: ApiDocument['paths'],
  request: string,
  { headers = [], body = '', more = {} }: Asked = {},
): string | undefined {
  const [method, target] = request.split(' ') as [string, string]
  const bytes = typeof body === 'string' ? encoder.encode(body) : body
  const all = bytes.length === 0 ? headers : [...headers, ['Content-Length', String(bytes.length)] as const]
  const examination = checkOf(paths, more).begin({ method, target, headers: all })
  return (examination.problem ?? examination.body(bytes))?.rule
}

const SHOP: ApiDocument['paths'] = {
  '/': { get: {} },
  '/products': { get: {}, post: {} },
  '/products/new': { get: {} },
  '/products/{id}': { get: { parameters: [{ name: 'id', in: 'path', schema: { type: 'integer', minimum: 1 } }] } },
  '/products/{id}/reviews': { get: {} },
  '/files/{name}.json': { get: { parameters: [{ name: 'name', in: 'path', schema: { pattern: '^[a-z]+$' } }] } },
}

test('paths and methods: static segments stand before parameters, and what is not declared is outside', () => {
  for (const [request, rule] of [
    ['GET /', undefined],
    ['GET /products', undefined],
    ['HEAD /products', undefined],
    ['HEAD /products/1', undefined],
    ['DELETE /products', 'api:method'],
    ['get /products', 'api:method'],
    ['OPTIONS /products', 'api:method'],
    ['GET /products/', 'api:path'],
    ['GET /Products', 'api:path'],
    ['GET /products/7', undefined],
    ['GET /products/0', 'api:path id'],
    ['GET /products/7.0', 'api:path id'],
    ['GET /products/1e3', 'api:path id'],
    ['GET /products/07', 'api:path id'],
    ['GET /products/9007199254740993', 'api:path id'],
    ['GET /products/x', 'api:path id'],
    ['GET /products/new', undefined],
    ['POST /products/new', 'api:method'],
    ['GET /products/new/reviews', undefined],
    ['GET /files/a.json', undefined],
    ['GET /files/a1.json', 'api:path name'],
    ['GET /files/.json', 'api:path'],
    ['GET /products/1/reviews/2', 'api:path'],
    ['GET http://shop.example/products/7', undefined],
    ['GET http://shop.example', undefined],
    ['OPTIONS *', 'api:path'],
  ] as const)
    assert.equal(ruleFor(SHOP, request), rule, request)
})

test('a path that servers read differently is outside, whatever it names', () => {
  for (const target of [
    '//products',
    '/products//7',
    '/./products',
    '/a/../products',
    '/%2e/products',
    '/products%2f7',
    '/products/%2F',
    '/products;v=1',
    '/products/7;x',
    '/products\\7',
    '/products%5c7',
    '/products/%00',
    '/products/%ff',
    '/products/%',
    '/products/%zz',
    '/products/\u00e9',
  ])
    assert.equal(ruleFor(SHOP, `GET ${target}`), 'api:path', target)
  assert.equal(ruleFor(SHOP, 'GET /%70roducts/%37'), undefined, 'decoded once')
  assert.equal(ruleFor(SHOP, 'GET /products/%2537'), 'api:path id', 'and once only')
})

function ruleOfQuery(parameter: Partial<ApiParameter>, query: string, more: Partial<ApiDocument> = {}): string | undefined {
  const parameters: ApiParameter[] = [{ name: 'q', in: 'query', ...parameter }]
  return ruleFor({ '/s': { get: { parameters } } }, `GET /s${query}`, { more })
}

test('query parameters: types, lists in every style, what is missing, unknown, empty or given twice', () => {
  const integer: ApiSchema = { type: 'integer', minimum: 1, maximum: 9 }
  const list: ApiSchema = { type: 'array', items: integer, maxItems: 3 }
  const shouted = 'api:query q'
  for (const [parameter, query, rule] of [
    [{}, '?q=anything', undefined],
    [{}, '', undefined],
    [{ required: true }, '', shouted],
    [{ required: true }, '?q', undefined],
    [{ schema: integer }, '?q=5', undefined],
    [{ schema: integer }, '?q=%35', undefined],
    [{ schema: integer }, '?q=10', shouted],
    [{ schema: integer }, '?q=5.5', shouted],
    [{ schema: integer }, '?q=+5', shouted],
    [{ schema: integer }, '?q=0x5', shouted],
    [{ schema: integer }, '?q=', shouted],
    [{ schema: integer, allowEmptyValue: true }, '?q=', undefined],
    [{ schema: integer }, '?q=5&q=6', shouted],
    [{ schema: integer }, '?q=5&q=5', shouted],
    [{ schema: integer }, '?%71=5&q=6', shouted],
    [{ schema: integer }, '?Q=5', 'api:query Q'],
    [{ schema: { type: 'boolean' } }, '?q=true', undefined],
    [{ schema: { type: 'boolean' } }, '?q=TRUE', shouted],
    [{ schema: { type: 'number' } }, '?q=1e2', undefined],
    [{ schema: { type: 'number' } }, '?q=1e999', shouted],
    [{ schema: { type: 'number' } }, '?q=NaN', shouted],
    [{ schema: { enum: ['1', 'two'] } }, '?q=1', undefined],
    [{ schema: { enum: [1, 'two'] } }, '?q=1', undefined],
    [{ schema: { type: ['integer', 'string'], pattern: '^[0-9]$' } }, '?q=12', undefined],
    [{ schema: { type: 'string', maxLength: 3 } }, '?q=%F0%9F%98%80%F0%9F%98%80', undefined],
    [{ schema: { type: 'string', maxLength: 3 } }, '?q=a+%26+b', shouted],
    [{ schema: list }, '?q=1&q=2&q=3', undefined],
    [{ schema: list }, '?q=1&q=2&q=3&q=4', shouted],
    [{ schema: list }, '?q=1,2', shouted],
    [{ schema: list, explode: false }, '?q=1,2', undefined],
    [{ schema: list, explode: false }, '?q=1%2C2', undefined],
    [{ schema: list, explode: false }, '?q=1,x', shouted],
    [{ schema: list, explode: false }, '?q=1&q=2', shouted],
    [{ schema: list, style: 'pipeDelimited', explode: false }, '?q=1|2', undefined],
    [{ schema: list, style: 'spaceDelimited', explode: false }, '?q=1%202', undefined],
    [
      { schema: { type: 'object', properties: { a: integer }, additionalProperties: false }, style: 'deepObject' },
      '?q[a]=3',
      undefined,
    ],
    [
      { schema: { type: 'object', properties: { a: integer }, additionalProperties: false }, style: 'deepObject' },
      '?q[b]=3',
      shouted,
    ],
    [{ schema: { type: 'object', properties: { a: integer } }, style: 'deepObject' }, '?q[a]=3&q[a]=4', shouted],
    [{ schema: { type: 'object', properties: { a: integer } }, style: 'deepObject' }, '?q[a][b]=3', 'api:query q[a][b]'],
    [{}, '?other=1', 'api:query other'],
    [{}, '?__proto__=1', 'api:query __proto__'],
    [{}, '?q=%', 'api:query'],
    [{}, '?q=%ff', 'api:query'],
    [{}, '?q=\u00e9', 'api:query'],
    [{}, '?&&q=1&', undefined],
  ] as const)
    assert.equal(ruleOfQuery(parameter, query), rule, `${JSON.stringify(parameter)} ${query}`)
  assert.equal(ruleOfQuery({ schema: integer }, '?other=1&q=5', { unknownQuery: 'pass' }), undefined)
  assert.equal(ruleOfQuery({ schema: integer }, '?other=1&q=x', { unknownQuery: 'pass' }), 'api:query q')
})

test('a parameter that may be one value or several is either', () => {
  const either: ApiSchema = { anyOf: [{ type: 'integer' }, { type: 'array', items: { type: 'integer' }, maxItems: 2 }] }
  for (const [query, rule] of [
    ['?q=1', undefined],
    ['?q=1&q=2', undefined],
    ['?q=1&q=2&q=3', 'api:query q'],
    ['?q=1&q=x', 'api:query q'],
    ['?q=x', 'api:query q'],
  ] as const)
    assert.equal(ruleOfQuery({ schema: either }, query), rule, query)
  assert.equal(
    ruleOfQuery({ schema: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }] } }, '?q=a&q=b'),
    undefined,
  )
  assert.equal(ruleOfQuery({}, '?q=a&q=b'), 'api:query q', 'what says nothing of its type is one value')
})

test('headers that make another request of it are outside unless declared', () => {
  const paths: ApiDocument['paths'] = {
    '/a': { post: {}, put: { parameters: [{ name: 'X-HTTP-Method-Override', in: 'header' }] } },
  }
  for (const [request, header, rule] of [
    ['POST /a', ['X-HTTP-Method-Override', 'DELETE'], 'api:method'],
    ['POST /a', ['x-method-override', 'DELETE'], 'api:method'],
    ['POST /a', ['X-HTTP-Method-Override', 'post'], undefined],
    ['PUT /a', ['X-HTTP-Method-Override', 'DELETE'], undefined],
    ['POST /a', ['X-Original-URL', '/admin'], 'api:path'],
    ['POST /a', ['X-Rewrite-Url', '/admin'], 'api:path'],
    ['POST /a', ['X-Forwarded-For', '192.0.2.1'], undefined],
  ] as const)
    assert.equal(ruleFor(paths, request, { headers: [header] }), rule, `${request} ${header}`)
})

test('declared headers and cookies are held against their schemas; others are nobody’s business', () => {
  const parameters: ApiParameter[] = [
    { name: 'X-Trace', in: 'header', required: true, schema: { type: 'string', format: 'uuid' } },
    { name: 'X-Ids', in: 'header', schema: { type: 'array', items: { type: 'integer' } } },
    { name: 'lang', in: 'cookie', schema: { enum: ['en', 'de'] } },
  ]
  const id = ['x-trace', '9b2f3a1c-7c1e-4d0a-9a55-0f1d2c3b4a59'] as const
  for (const [headers, rule] of [
    [[], 'api:header X-Trace'],
    [[id], undefined],
    [[id, ['Other', 'x']], undefined],
    [[id, id], 'api:header X-Trace'],
    [[['X-Trace', 'no']], 'api:header X-Trace'],
    [[id, ['X-Ids', '1, 2']], undefined],
    [[id, ['X-Ids', '1'], ['X-Ids', '2']], undefined],
    [[id, ['X-Ids', '1, x']], 'api:header X-Ids'],
    [[id, ['Cookie', 'a=1; lang=en']], undefined],
    [[id, ['Cookie', 'lang=fr']], 'api:cookie lang'],
    [[id, ['Cookie', 'lang=en; lang=fr']], 'api:cookie lang'],
    [[id, ['Cookie', 'lang=en'], ['Cookie', 'lang=en']], 'api:cookie lang'],
  ] as const)
    assert.equal(ruleFor({ '/': { get: { parameters } } }, 'GET /', { headers }), rule, JSON.stringify(headers))
})

const JSON_TYPE: HeaderField = ['Content-Type', 'application/json']
const order = (schema: ApiSchema, required = true): ApiDocument['paths'] => ({
  '/orders': { post: { requestBody: { required, content: { 'application/json': { schema } } } } },
})

test('content types: declared ones only, one of them, uncompressed, in UTF-8', () => {
  const paths: ApiDocument['paths'] = {
    '/': { post: { requestBody: { content: { 'application/json': {}, 'image/*': {} } } }, get: {} },
  }
  for (const [headers, body, rule] of [
    [[JSON_TYPE], '{}', undefined],
    [[], '{}', 'api:type'],
    [[['content-type', 'Application/JSON ; charset=UTF-8']], '{}', undefined],
    [[['content-type', 'application/json; charset=utf-16']], '{}', 'api:type'],
    [[['content-type', 'application/json; charset=utf-8; charset=utf-7']], '{}', 'api:type'],
    [[['content-type', 'text/plain']], '{}', 'api:type'],
    [[['content-type', 'application/json, text/plain']], '{}', 'api:type'],
    [[JSON_TYPE, JSON_TYPE], '{}', 'api:type'],
    [[JSON_TYPE, ['Content-Encoding', 'gzip']], '{}', 'api:type'],
    [[JSON_TYPE, ['Content-Encoding', 'identity']], '{}', undefined],
    [[['content-type', 'image/png']], 'x', undefined],
    [[['content-type', 'image/']], 'x', 'api:type'],
    [[], '', undefined],
  ] as const)
    assert.equal(ruleFor(paths, 'POST /', { headers, body }), rule, JSON.stringify(headers))
  assert.equal(ruleFor(paths, 'GET /', { headers: [JSON_TYPE], body: '{}' }), 'api:body', 'a body where none is declared')
  assert.equal(ruleFor(order(true), 'POST /orders'), 'api:body', 'a body that is missing')
  assert.equal(ruleFor(order(true, false), 'POST /orders'), undefined)
})

test('JSON that readers take differently is refused, whatever the schema', () => {
  const body = (text: string | Uint8Array): string | undefined =>
    ruleFor(order(true), 'POST /orders', { headers: [JSON_TYPE], body: text })
  for (const text of [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '[{"x":{"a":1,"a":1}}]',
    '\ufeff{}',
    '{} {}',
    '{}x',
    "{'a':1}",
    '{"a":1,}',
    '[1,]',
    '[,1]',
    '{a:1}',
    '// c\n{}',
    'NaN',
    '-',
    '01',
    '+1',
    '.5',
    '1.',
    '0x1',
    '1e999',
    '1e-999',
    '0.99999999999999999999',
    `1${'0'.repeat(100)}`,
    '"\ud800"'.replace('\ud800', '\\ud800'),
    '"\\udc00\\ud800"',
    '"a\tb"',
    '"\\x41"',
    '"\\u00g0"',
    '"abc',
    'tru',
    'nullx',
    '\u00a0{}',
    '[',
    '{"a"',
    '{"a":',
    '['.repeat(65) + ']'.repeat(65),
    '['.repeat(100_000),
    new Uint8Array([0x22, 0xff, 0x22]),
    new Uint8Array([0x22, 0xc0, 0x80, 0x22]),
    new Uint8Array([0xff, 0xfe, 0x7b, 0, 0x7d, 0]),
  ])
    assert.equal(body(text), 'api:body', String(text).slice(0, 40))
  for (const text of [
    '{"a":1,"b":{"a":1}}',
    ' [ 1 , -0.5e+3 , "\\u00e9\\ud83d\\ude00\\/" , true , false , null ] \r\n',
    '"\u0000"'.replace('\u0000', '\\u0000'),
    '{"__proto__":1,"constructor":{"prototype":1}}',
    '1e3',
    '0.30000000000000004',
    '['.repeat(64) + ']'.repeat(64),
    '{"":1}',
  ])
    assert.equal(body(text), undefined, text.slice(0, 40))
})

test('the place of what does not conform is named, and nothing of the value', () => {
  const schema: ApiSchema = {
    type: 'object',
    required: ['lines'],
    additionalProperties: false,
    properties: {
      lines: { type: 'array', items: { type: 'object', properties: { 'a/b': { type: 'integer' } } } },
      id: { type: 'integer' },
    },
  }
  const problem = (text: string) => {
    const request = { method: 'POST', target: '/orders', headers: [JSON_TYPE] }
    return checkOf(order(schema)).begin(request).body(encoder.encode(text))
  }
  assert.deepEqual(problem('{"lines":[{},{"a/b":"secret"}]}'), { rule: 'api:body /lines/1/a~1b', reason: 'expected integer' })
  assert.deepEqual(problem('{}'), { rule: 'api:body', reason: 'the property lines is missing' })
  assert.deepEqual(problem('{"lines":[],"admin":true}'), { rule: 'api:body /admin', reason: 'the property is not declared' })
  assert.deepEqual(problem('{"lines":[],"id":9007199254740993}'), { rule: 'api:body /id', reason: 'expected integer' })
  const hostile = problem(`{"lines":[],"${'\\u0007<é>'.repeat(500)}":1}`)
  assert.match(hostile!.rule, /^api:body \/[!-~]+$/)
  assert.ok(hostile!.rule.length < 200)
})

const FORM: HeaderField = ['Content-Type', 'application/x-www-form-urlencoded']
const review: ApiSchema = {
  type: 'object',
  required: ['product', 'text'],
  additionalProperties: false,
  properties: {
    product: { type: 'integer', minimum: 1 },
    text: { type: 'string', minLength: 1, maxLength: 20 },
    tags: { type: 'array', items: { enum: ['a', 'b'] }, uniqueItems: true },
    anonymous: { type: 'boolean' },
  },
}

test('forms: fields are values of the types declared', () => {
  const paths: ApiDocument['paths'] = {
    '/': {
      post: { requestBody: { content: { 'application/x-www-form-urlencoded': { schema: { $ref: '#/schemas/Review' } } } } },
    },
  }
  const more = { schemas: { Review: review } }
  for (const [body, rule] of [
    ['product=3&text=so+good', undefined],
    ['product=3&text=12', undefined],
    ['product=3&text=ok&tags=a&tags=b&anonymous=true', undefined],
    ['product=3&text=ok&tags=a', undefined],
    ['product=3&text=ok&tags=a&tags=a', 'api:body /tags/1'],
    ['product=3&text=ok&tags=c', 'api:body /tags/0'],
    ['product=x&text=ok', 'api:body /product'],
    ['product=3&product=3&text=ok', 'api:body /product'],
    ['product=3', 'api:body'],
    ['product=3&text=', 'api:body /text'],
    ['product=3&text=ok&admin=1', 'api:body /admin'],
    ['product=3&text=ok&anonymous=yes', 'api:body /anonymous'],
    ['product=3&text=%zz', 'api:body'],
    ['product=3&text=%ff', 'api:body'],
  ] as const)
    assert.equal(ruleFor(paths, 'POST /', { headers: [FORM], body, more }), rule, body)
})

test('multipart forms: fields as in other forms, files by their names', () => {
  const schema: ApiSchema = {
    type: 'object',
    required: ['file'],
    additionalProperties: false,
    properties: { file: {}, note: { type: 'string', maxLength: 5 }, more: { type: 'array', items: {}, maxItems: 2 } },
  }
  const paths: ApiDocument['paths'] = { '/': { post: { requestBody: { content: { 'multipart/form-data': { schema } } } } } }
  const headers: HeaderField[] = [['Content-Type', 'multipart/form-data; boundary=xyz']]
  const part = (name: string, content: string, fileName?: string): string =>
    `--xyz\r\nContent-Disposition: form-data; name="${name}"${fileName === undefined ? '' : `; filename="${fileName}"`}\r\n\r\n${content}\r\n`
  const file = part('file', 'GIF89a', 'a.gif')
  for (const [body, rule] of [
    [`${file}--xyz--\r\n`, undefined],
    [`${part('file', '', '')}--xyz--\r\n`, undefined],
    [`${file}${part('note', 'short')}--xyz--\r\n`, undefined],
    [`${file}${part('note', 'too long')}--xyz--\r\n`, 'api:body /note'],
    [`${part('note', 'short')}--xyz--\r\n`, 'api:body'],
    [`${file}${part('other', 'x')}--xyz--\r\n`, 'api:body /other'],
    [`${file}${part('evil', 'x', 'e.php')}--xyz--\r\n`, 'api:body /evil'],
    [`${file}${file}--xyz--\r\n`, 'api:body /file'],
    [`${file}${part('more', 'x', 'm')}${part('more', 'x', 'm')}--xyz--\r\n`, undefined],
    [`${file}${part('more', 'x', 'm').repeat(3)}--xyz--\r\n`, 'api:body /more'],
    [file, 'api:body'],
    [`${file}--xyz--\r\nmore`, 'api:body'],
    [`--abc--`, 'api:body'],
  ] as const)
    assert.equal(ruleFor(paths, 'POST /', { headers, body }), rule, body)
  assert.equal(ruleFor(paths, 'POST /', { headers: [['Content-Type', 'multipart/form-data']], body: file }), 'api:type')
})

test('what is hostile costs what it is long, and is refused', () => {
  const deep: ApiSchema = {
    type: 'object',
    properties: { next: { $ref: '#/schemas/Deep' } },
    anyOf: [{ minProperties: 1 }, { type: 'object' }],
  }
  const more = { schemas: { Deep: deep } }
  const nested = `${'{"next":'.repeat(60)}{}${'}'.repeat(60)}`
  assert.equal(
    ruleFor(order({ $ref: '#/schemas/Deep' }), 'POST /orders', { headers: [JSON_TYPE], body: nested, more }),
    undefined,
  )

  const keys = `{${Array.from({ length: 10_000 }, (_, index) => `"k${index}":1`).join()}}`
  assert.equal(ruleFor(order({ maxProperties: 100 }), 'POST /orders', { headers: [JSON_TYPE], body: keys }), 'api:body')

  const query = Array.from({ length: 10_000 }, (_, index) => `k${index}=1`).join('&')
  assert.equal(ruleFor({ '/': { get: {} } }, `GET /?${query}`, { more: { unknownQuery: 'pass' } }), 'api:query')

  const items = `[${Array.from({ length: 20_000 }, (_, index) => index).join()}]`
  const unique = checkOf(order({ uniqueItems: true })).begin({ method: 'POST', target: '/orders', headers: [JSON_TYPE] })
  assert.equal(unique.body(encoder.encode(items)), undefined)
  assert.ok(unique.work < items.length * 5, `${unique.work} units`)
})

test('the work that is told is the same the second time, when automata stand', () => {
  const check = checkOf(order({ properties: { a: { pattern: '^(?:[a-z]+-)*[0-9]{3}$' } } }))
  const work = (): number => {
    const examination = check.begin({ method: 'POST', target: '/orders', headers: [JSON_TYPE] })
    assert.equal(examination.body(encoder.encode('{"a":"some-long-name-of-nothing-017"}')), undefined)
    return examination.work
  }
  assert.equal(work(), work())
})

test('alternatives within alternatives end at the budget of work, and refuse', () => {
  // Each level is asked twice for the level below: 2^60 without a budget.
  const schemas: Record<string, ApiSchema> = {
    Tree: { type: 'object', allOf: Array(2).fill({ properties: { a: { $ref: '#/schemas/Tree' } } }) },
  }
  const check = checkOf(order({ $ref: '#/schemas/Tree' }), { schemas })
  const examination = check.begin({ method: 'POST', target: '/orders', headers: [JSON_TYPE] })
  const found = examination.body(encoder.encode(`${'{"a":'.repeat(60)}{}${'}'.repeat(60)}`))
  assert.deepEqual(found, { rule: 'api:body', reason: 'checking it takes too much work' })
  const inverted = checkOf(order({ not: { $ref: '#/schemas/Tree' } }), { schemas })
  const denied = inverted.begin({ method: 'POST', target: '/orders', headers: [JSON_TYPE] })
  assert.equal(denied.body(encoder.encode(`${'{"a":'.repeat(60)}{}${'}'.repeat(60)}`))?.reason, 'checking it takes too much work')
})

test('property: whatever a request holds, it is within the api or outside for a reason', () => {
  const check = checkOf(
    {
      '/a/{id}': {
        get: {
          parameters: [
            { name: 'id', in: 'path', schema: { type: 'integer' } },
            { name: 'q', in: 'query', schema: { type: 'array', items: { type: 'boolean' } } },
          ],
        },
      },
      '/b': {
        post: {
          parameters: [
            { name: 'f', in: 'query', style: 'deepObject', schema: review },
            { name: 'c', in: 'cookie', schema: { type: 'integer' } },
          ],
          requestBody: {
            content: {
              'application/json': { schema: review },
              'application/x-www-form-urlencoded': { schema: review },
              'multipart/form-data': { schema: review },
            },
          },
        },
      },
    },
    { unknownQuery: 'pass' },
  )
  const piece = fc.constantFrom(
    ...'/?&=%;.[]{}",:+-\\ \r\n',
    'a',
    'b',
    'q',
    'f',
    '%2',
    '%ff',
    '1',
    'text',
    'product',
    '--x',
    '\u00e9',
  )
  const junk = fc.array(piece, { maxLength: 12 }).map((list) => list.join(''))
  const type = fc.constantFrom(
    'application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain',
    ';',
  )
  const rules = /^api:(?:path|method|query|header|cookie|type|body)(?: [!-~]+)?$/
  fc.assert(
    fc.property(
      fc.constantFrom('GET', 'POST', 'X'),
      fc.constantFrom('/a/1', '/b', '/', ''),
      junk,
      type,
      junk,
      junk,
      (method, path, rest, contentType, cookie, body) => {
        const headers = [
          ['Content-Type', contentType],
          ['Cookie', cookie],
          ['Content-Length', '1'],
        ] as const
        const examination = check.begin({ method, target: `${path}${rest}`, headers })
        const found = examination.problem ?? examination.body(encoder.encode(body))
        assert.ok(found === undefined || rules.test(found.rule), found?.rule)
        if (examination.operation === undefined) assert.ok(found !== undefined)
      },
    ),
    { numRuns: 5_000 },
  )
})
