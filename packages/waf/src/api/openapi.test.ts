import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ImportedApi, importOpenApi } from './openapi.ts'

const read = (version: string, more: Record<string, unknown>): ImportedApi =>
  importOpenApi({ openapi: version, info: {}, paths: {}, ...more })
const post = (schema: unknown) => ({ '/a': { post: { requestBody: { content: { 'application/json': { schema } } } } } })
const lines = ({ notes }: ImportedApi): readonly string[] =>
  notes.map(({ level, pointer, message }) => `${level} ${pointer} ${message}`)

/** The one schema of a document with one body. */
function schemaOf(version: string, schema: unknown, schemas: Record<string, unknown> = {}) {
  const imported = read(version, { paths: post(schema), components: { schemas } })
  const body = imported.api?.paths['/a']?.post?.requestBody?.content['application/json']?.schema
  return { body, schemas: imported.api?.schemas, lines: lines(imported) }
}

test('a document of 3.1 loses what only people read, and keeps what requests are held against', () => {
  const { api, notes } = read('3.1.0', {
    servers: [{ url: 'https://api.example/{version}/', variables: { version: { default: 'v2' } } }],
    paths: {
      '/orders/{id}': {
        summary: 'x',
        parameters: [{ $ref: '#/components/parameters/Id' }],
        get: {
          operationId: 'x',
          parameters: [
            {
              name: 'fields',
              in: 'query',
              style: 'form',
              explode: false,
              schema: { type: 'array', items: { type: 'string' } },
              example: 'a,b',
            },
            { name: 'Authorization', in: 'header', schema: {} },
          ],
          responses: { 200: { description: 'x' } },
        },
      },
      'x-internal': {},
    },
    components: { parameters: { Id: { name: 'id', in: 'path', required: true, schema: { type: 'integer', title: 'x' } } } },
  })
  assert.deepEqual(notes, [])
  assert.deepEqual(api, {
    paths: {
      '/v2/orders/{id}': {
        get: {
          parameters: [
            { name: 'id', in: 'path', schema: { type: 'integer' } },
            { name: 'fields', in: 'query', explode: false, schema: { type: 'array', items: { type: 'string' } } },
          ],
        },
      },
    },
    schemas: {},
  })
})

test('the base path is the first server’s, unless another is given', () => {
  const document = { openapi: '3.1.0', servers: [{ url: '/v1' }, { url: 'https://x.example/v2' }], paths: { '/a': { get: {} } } }
  const own = importOpenApi(document)
  assert.deepEqual(Object.keys(own.api!.paths), ['/v1/a'])
  assert.match(own.notes[0]!.message, /different base paths: \/v1 is taken/)
  assert.deepEqual(Object.keys(importOpenApi(document, '').api!.paths), ['/a'])
  assert.deepEqual(importOpenApi(document, '/x').notes, [])
})

test('3.0 says null, exclusive bounds and references otherwise', () => {
  assert.deepEqual(schemaOf('3.0.3', { type: 'string', nullable: true, enum: ['a'] }).body, {
    type: ['string', 'null'],
    enum: ['a', null],
  })
  assert.deepEqual(
    schemaOf('3.0.3', { type: 'integer', minimum: 0, exclusiveMinimum: true, maximum: 9, exclusiveMaximum: false }).body,
    {
      type: 'integer',
      exclusiveMinimum: 0,
      maximum: 9,
    },
  )
  const order = { Order: { type: 'object' } }
  assert.deepEqual(schemaOf('3.0.3', { nullable: true, allOf: [{ $ref: '#/components/schemas/Order' }] }, order).body, {
    anyOf: [{ type: 'null' }, { allOf: [{ $ref: '#/schemas/Order' }] }],
  })
  const beside = { $ref: '#/components/schemas/Order', maxProperties: 3 }
  assert.deepEqual(schemaOf('3.0.3', beside, order).body, { $ref: '#/schemas/Order' })
  assert.deepEqual(schemaOf('3.1.0', beside, order).body, { $ref: '#/schemas/Order', maxProperties: 3 })
})

test('references are kept, recursive ones too, wherever in the document they lead', () => {
  const { body, schemas } = schemaOf(
    '3.1.0',
    { $ref: '#/components/schemas/Tree' },
    {
      Tree: {
        properties: { left: { $ref: '#/components/schemas/Tree' }, size: { $ref: '#/components/schemas/Tree/$defs/Size%20of' } },
        $defs: { 'Size of': { type: 'integer' } },
      },
    },
  )
  assert.deepEqual(body, { $ref: '#/schemas/Tree' })
  assert.deepEqual(schemas, {
    Tree: { properties: { left: { $ref: '#/schemas/Tree' }, size: { $ref: '#/schemas/Size_of' } } },
    Size_of: { type: 'integer' },
  })
})

test('what responses alone must have is not asked of requests', () => {
  const { body, schemas } = schemaOf(
    '3.1.0',
    {
      allOf: [{ $ref: '#/components/schemas/Base' }],
      required: ['id', 'name'],
      properties: { name: {}, at: { readOnly: true } },
    },
    { Base: { required: ['id', 'kind'], properties: { id: { type: 'integer', readOnly: true }, kind: {} } } },
  )
  assert.deepEqual(body, { allOf: [{ $ref: '#/schemas/Base' }], required: ['name'], properties: { name: {}, at: {} } })
  assert.deepEqual(schemas, { Base: { required: ['kind'], properties: { id: { type: 'integer' }, kind: {} } } })
})

test('what is left out is told with its place: a warning where more passes, an error where less would', () => {
  assert.deepEqual(schemaOf('3.1.0', { type: 'string', format: 'iban', pattern: '^(?=x)', if: {}, else: {} }).lines, [
    'warning #/paths/~1a/post/requestBody/content/application~1json/schema/format the format iban is not checked: more is let pass',
    'warning #/paths/~1a/post/requestBody/content/application~1json/schema/pattern the pattern cannot be used (look-around cannot be decided in linear time): more is let pass',
    'warning #/paths/~1a/post/requestBody/content/application~1json/schema/if if is not checked: more is let pass',
    'warning #/paths/~1a/post/requestBody/content/application~1json/schema/else else is not checked: more is let pass',
  ])
  for (const schema of [
    { not: { contains: {} } },
    { oneOf: [{ format: 'iban' }] },
    { not: { pattern: '(?!x)' } },
    { $ref: 'https://other.example/x.json#/X' },
    { $ref: '#/components/schemas/Nothing' },
    { $dynamicRef: '#node' },
    { type: 'file' },
    { patternProperties: { '(?=x)': {} } },
    { minLength: 3, maxLength: 2 },
  ]) {
    const { body, lines: told } = schemaOf('3.1.0', schema)
    assert.equal(body, undefined)
    assert.match(told[0]!, /^error /, JSON.stringify(schema))
  }
})

test('parameters: objects spread over the query, styles and keys that stand elsewhere', () => {
  const { api, notes } = read('3.1.0', {
    security: [{ key: [] }],
    components: {
      securitySchemes: { key: { type: 'apiKey', in: 'query', name: 'api_key' }, token: { type: 'http', scheme: 'bearer' } },
    },
    paths: {
      '/a': {
        parameters: [{ name: 'q', in: 'query', schema: { type: 'integer' } }],
        get: {
          parameters: [
            { name: 'q', in: 'query', required: true, schema: { type: 'string' } },
            {
              name: 'page',
              in: 'query',
              required: true,
              schema: { type: 'object', required: ['size'], properties: { size: { type: 'integer' }, at: {} } },
            },
            { name: 'filter', in: 'query', style: 'deepObject', explode: true, schema: { type: 'object' } },
            { name: 'where', in: 'query', content: { 'application/json': { schema: {} } } },
          ],
        },
        post: { security: [] },
      },
    },
  })
  assert.deepEqual(
    notes.map(({ level, message }) => [level, message]),
    [['warning', 'the value is a document in itself: any is let pass']],
  )
  assert.deepEqual(api?.paths['/a'], {
    get: {
      parameters: [
        { name: 'q', in: 'query', required: true, schema: { type: 'string' } },
        { name: 'size', in: 'query', required: true, schema: { type: 'integer' } },
        { name: 'at', in: 'query', schema: {} },
        { name: 'filter', in: 'query', style: 'deepObject', explode: true, schema: { type: 'object' } },
        { name: 'where', in: 'query' },
        { name: 'api_key', in: 'query', schema: { type: 'string' } },
      ],
    },
    post: { parameters: [{ name: 'q', in: 'query', schema: { type: 'integer' } }] },
  })
})

test('bodies: content types without their parameters; what is not read is let pass', () => {
  const { api, notes } = read('3.0.0', {
    paths: {
      '/a': {
        put: {
          requestBody: {
            required: true,
            content: {
              'application/json; charset=utf-8': { schema: { type: 'object' } },
              'application/xml': { schema: { $ref: '#/components/schemas/X' } },
              'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
              'multipart/form-data': { schema: { type: 'object', properties: { file: { type: 'string', format: 'binary' } } } },
            },
          },
        },
      },
    },
  })
  assert.deepEqual(api?.paths['/a']?.put?.requestBody, {
    required: true,
    content: {
      'application/json': { schema: { type: 'object' } },
      'application/xml': {},
      'application/octet-stream': {},
      'multipart/form-data': { schema: { type: 'object', properties: { file: { type: 'string' } } } },
    },
  })
  assert.equal(notes.length, 1)
})

test('what lies deep gets a name, so that a policy may hold it', () => {
  const nest = (depth: number): unknown =>
    depth === 0 ? { type: 'integer', minimum: 1 } : { properties: { next: nest(depth - 1) } }
  const { body, schemas } = schemaOf('3.1.0', nest(20))
  const depth = (value: unknown): number =>
    typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0
  assert.ok(depth(body) <= 16 && Object.values(schemas!).every((schema) => depth(schema) <= 16), JSON.stringify(schemas))
})

test('a chain of references without end is refused in words', () => {
  const schemas = Object.fromEntries(
    Array.from({ length: 30_000 }, (_, index) => [
      `S${index}`,
      { properties: { next: { $ref: `#/components/schemas/S${index + 1}` } } },
    ]),
  )
  const { api, notes } = read('3.1.0', { paths: post({ $ref: '#/components/schemas/S0' }), components: { schemas } })
  assert.equal(api, undefined)
  assert.equal(notes[0]!.level, 'error')
})

test('what is no document is refused in words, whatever it is', () => {
  for (const document of [
    undefined,
    null,
    1,
    'x',
    [],
    {},
    { swagger: '2.0' },
    { openapi: '3.0.0' },
    { openapi: '3.2.0', paths: {} },
  ]) {
    const { api, notes } = importOpenApi(document)
    assert.equal(api, undefined)
    assert.equal(notes[0]?.level, 'error')
  }
  for (const paths of [
    { a: {} },
    { '/a': null },
    { '/a': { $ref: '#/paths/~1a' } },
    { '/a': { post: { requestBody: { content: {} } } } },
    { '/{a}/{b': { get: {} } },
  ]) {
    assert.equal(read('3.1.0', { paths }).api, undefined, JSON.stringify(paths))
  }
})

test('property: whatever a document holds, it is taken over or refused in words', () => {
  const words = fc.constantFrom(
    ...[
      '$ref',
      'type',
      'properties',
      'items',
      'allOf',
      'oneOf',
      'not',
      'required',
      'nullable',
      'minimum',
      'exclusiveMinimum',
      'pattern',
      'format',
    ],
    ...[
      'parameters',
      'requestBody',
      'content',
      'application/json',
      'schema',
      'get',
      'post',
      'name',
      'in',
      'style',
      'explode',
      'servers',
      'url',
      'enum',
    ],
  )
  const texts = fc.constantFrom(
    '#',
    '#/components/schemas/A',
    '#/paths',
    'string',
    'object',
    'array',
    'query',
    'path',
    'deepObject',
    '/{a}',
    '(',
    '',
  )
  const node: fc.Arbitrary<unknown> = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 5 },
      fc.oneof(texts, fc.boolean(), fc.integer(), fc.constant(null)),
      fc.dictionary(words, tie('node'), { maxKeys: 4 }),
      fc.array(tie('node'), { maxLength: 3 }),
    ),
  })).node
  fc.assert(
    fc.property(fc.constantFrom('3.0.3', '3.1.0'), node, node, node, (version, path, schema, more) => {
      const { api, notes } = importOpenApi({
        openapi: version,
        servers: more,
        paths: {
          '/a': path,
          '/{b}': {
            post: {
              parameters: [path, { name: 'b', in: 'path', schema }],
              requestBody: { content: { 'application/json': { schema } } },
            },
          },
        },
        components: { schemas: { A: schema } },
      })
      assert.ok(api !== undefined || notes.some(({ level }) => level === 'error'))
    }),
    { numRuns: 2_000 },
  )
})
