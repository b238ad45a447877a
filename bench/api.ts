/**
 * `npm run bench:api`: CPU of the API check alone, for a request without a body, small and larger JSON bodies and a form, with
 * as many paths declared as a large service has; and the worst of some hostile bodies of 128 KB. Beside it, what parsing the
 * same body with `JSON.parse` costs.
 */
import { type ApiDocument, type ApiSchema, compileApi } from '@ringwall/waf/api'

const encoder = new TextEncoder()

function cpuMicroseconds(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

const order: ApiSchema = {
  type: 'object',
  required: ['customer', 'lines'],
  additionalProperties: false,
  properties: {
    customer: { type: 'string', format: 'uuid' },
    note: { type: 'string', maxLength: 200, pattern: '^[^<>]*$' },
    express: { type: 'boolean' },
    lines: {
      type: 'array',
      minItems: 1,
      maxItems: 5_000,
      items: {
        type: 'object',
        required: ['product', 'count'],
        additionalProperties: false,
        properties: {
          product: { type: 'integer', minimum: 1 },
          count: { type: 'integer', minimum: 1, maximum: 99 },
          price: { type: 'number', multipleOf: 0.01 },
        },
      },
    },
  },
}

const paths: Record<string, ApiDocument['paths'][string]> = {
  '/orders/{id}': {
    get: {
      parameters: [
        { name: 'id', in: 'path', schema: { type: 'integer', minimum: 1 } },
        { name: 'fields', in: 'query', schema: { type: 'array', items: { enum: ['lines', 'note', 'total'] } } },
        { name: 'page', in: 'query', schema: { type: 'integer', minimum: 0 } },
      ],
    },
  },
  '/orders': {
    post: {
      requestBody: {
        required: true,
        content: {
          'application/json': { schema: { $ref: '#/schemas/Order' } },
          'application/x-www-form-urlencoded': { schema: { $ref: '#/schemas/Review' } },
        },
      },
    },
  },
}
for (let count = 0; count < 500; count += 1) paths[`/v1/things-${count}/{id}/parts/{part}`] = { get: {} }
const review: ApiSchema = {
  type: 'object',
  properties: { product: { type: 'integer' }, text: { type: 'string', maxLength: 10_000 } },
  additionalProperties: false,
}
const anything: ApiSchema = {
  anyOf: [
    { type: 'array', uniqueItems: true },
    { type: 'object', patternProperties: { '^(k+)+$': { pattern: '^(a|a)*$' } } },
  ],
}

const compilation = compileApi({
  unknownQuery: 'deny',
  paths: { ...paths, '/any': { post: { requestBody: { content: { 'application/json': { schema: anything } } } } } },
  schemas: { Order: order, Review: review },
})
if (!compilation.ok) throw new Error(compilation.faults.map(({ message }) => message).join('; '))
const { check } = compilation

const line = { product: 17, count: 2, price: 19.99 }
const orderOf = (lines: number): string =>
  JSON.stringify({
    customer: '9b2f3a1c-7c1e-4d0a-9a55-0f1d2c3b4a59',
    note: 'Leave it at the door',
    express: true,
    lines: Array(lines).fill(line),
  })
const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'

function run(method: string, target: string, type: string, body: Uint8Array): string | undefined {
  const headers: (readonly [string, string])[] = [
    ['Host', 'shop.example.test'],
    ['User-Agent', 'bench'],
    ['Accept', '*/*'],
  ]
  if (body.length > 0) headers.push(['Content-Type', type], ['Content-Length', String(body.length)])
  const examination = check.begin({ method, target, headers })
  return (examination.problem ?? examination.body(body))?.rule
}

process.stdout.write(`${check.operations.length} operations\n\n| request | CPU a request | JSON.parse alone |\n|---|---|---|\n`)
for (const [name, method, target, type, text] of [
  ['GET with an id and three query parameters', 'GET', '/orders/17?fields=lines&fields=total&page=2', JSON_TYPE, ''],
  ['POST of 180 bytes of JSON', 'POST', '/orders', JSON_TYPE, orderOf(2)],
  ['POST of 2 KB of JSON', 'POST', '/orders', JSON_TYPE, orderOf(48)],
  ['POST of 100 KB of JSON', 'POST', '/orders', JSON_TYPE, orderOf(2_500)],
  ['POST of a form of 1 KB', 'POST', '/orders', FORM_TYPE, `product=17&text=${'so+good+'.repeat(128)}`],
] as const) {
  const body = encoder.encode(text)
  const rule = run(method, target, type, body)
  if (rule !== undefined) throw new Error(`${name}: ${rule}`)
  const rounds = Math.max(50, Math.min(50_000, Math.round(20_000_000 / (body.length + 200) / 10)))
  const measure = (work: () => void): string => {
    for (let i = 0; i < rounds / 4; i += 1) work()
    const runs = Array.from({ length: 5 }, () =>
      cpuMicroseconds(() => {
        for (let i = 0; i < rounds; i += 1) work()
      }),
    )
    return `${(Math.min(...runs) / rounds).toFixed(1)} µs`
  }
  const own = measure(() => void run(method, target, type, body))
  const decoder = new TextDecoder()
  const native = type === JSON_TYPE && text !== '' ? measure(() => void JSON.parse(decoder.decode(body))) : ''
  process.stdout.write(`| ${name} | ${own} | ${native} |\n`)
}

const SIZE = 131_072
const filled = (start: string, piece: (index: number) => string, end: string): string => {
  const parts: string[] = []
  for (let length = start.length, index = 0; length < SIZE - 40; index += 1) {
    const part = piece(index)
    parts.push(part)
    length += part.length + 1
  }
  return `${start}${parts.join()}${end}`
}
process.stdout.write('\n| hostile body of 128 KB | CPU | answer |\n|---|---|---|\n')
for (const [name, text] of [
  ['nested arrays', '['.repeat(SIZE)],
  ['as many keys as fit', filled('{', (index) => `"k${index}":1`, '}')],
  ['the last key twice', filled('{"z":1,', (index) => `"k${index}":1`, ',"z":1}')],
  ['unique numbers', filled('[', (index) => String(index), ']')],
  ['small objects', filled('[', (index) => `{"a":${index}}`, ']')],
  ['one long text against a pattern', `{"kkkk":"${'a'.repeat(SIZE - 20)}!"}`],
  ['long keys against a pattern', filled('{', (index) => `"${'k'.repeat(60)}${index}":1`, '}')],
  ['escapes', `["${'\\u0061'.repeat(SIZE / 6 - 5)}"]`],
  ['digits', `[${'9'.repeat(SIZE - 10)}]`],
] as const) {
  const body = encoder.encode(text)
  let rule: string | undefined
  const runs = Array.from({ length: 5 }, () => cpuMicroseconds(() => (rule = run('POST', '/any', JSON_TYPE, body))))
  process.stdout.write(`| ${name} | ${(Math.max(...runs) / 1_000).toFixed(1)} ms | ${rule ?? 'passes'} |\n`)
}
