/**
 * Holds the API check's JSON Schema against the official test suite (github.com/json-schema-org/JSON-Schema-Test-Suite, MIT),
 * from wherever it lies: `node e2e/json-schema-suite.ts DIRECTORY [--verbose]`. Counts the cases of draft 2020-12 whose schemas use only
 * what is checked; exit 1 when one disagrees that is not listed below with its reason.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ApiSchema, compileApi, FORMATS } from '@ringwall/waf/api'

interface Group {
  readonly description: string
  readonly schema: unknown
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[]
}

const FILES = [
  'additionalProperties',
  'allOf',
  'anyOf',
  'boolean_schema',
  'const',
  'default',
  'dependentRequired',
  'enum',
  'exclusiveMaximum',
  'exclusiveMinimum',
  'infinite-loop-detection',
  'items',
  'maxItems',
  'maxLength',
  'maxProperties',
  'maximum',
  'minItems',
  'minLength',
  'minProperties',
  'minimum',
  'multipleOf',
  'not',
  'oneOf',
  'pattern',
  'patternProperties',
  'prefixItems',
  'properties',
  'propertyNames',
  'ref',
  'required',
  'type',
  'uniqueItems',
  'optional/bignum',
  'optional/ecmascript-regex',
  'optional/non-bmp-regex',
  'optional/float-overflow',
  ...FORMATS.map((format) => `optional/format/${format}`),
]

/** Stricter on purpose: what several readers would take for different values. */
const STRICTER: ReadonlyMap<string, string> = new Map([
  ['optional/bignum', 'whole numbers beyond 2^53 are refused where integers are declared'],
  ['optional/float-overflow', 'numbers that a double cannot hold are refused'],
  ['optional/format/email', 'quoted local parts and address literals are refused'],
])

/** Laxer, and known to be. */
const LAXER: ReadonlyMap<string, string> = new Map([['A-label (punycode)', 'the insides of A-labels are not read']])

const IGNORED = new Set(['$schema', '$id', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples'])
const encoder = new TextEncoder()

/** A schema with its references in our spelling; undefined when it uses what is not checked. */
function converted(schema: unknown): { readonly root: ApiSchema; readonly schemas: Record<string, ApiSchema> } | undefined {
  if (typeof schema === 'object' && schema !== null && '$id' in schema) return undefined
  const schemas: Record<string, ApiSchema> = {}
  const names = new Map<string, string>()
  let fine = true
  const at = (pointer: string): unknown =>
    pointer
      .split('/')
      .slice(1)
      .map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce<unknown>(
        (value, step) => (typeof value === 'object' && value !== null ? Reflect.get(value, step) : undefined),
        schema,
      )
  const refer = (ref: string): string => {
    const known = names.get(ref)
    if (known !== undefined) return known
    const name = `S${names.size}`
    names.set(ref, name)
    const target = at(ref.slice(1))
    if (!ref.startsWith('#') || (ref.length > 1 && ref[1] !== '/') || target === undefined) fine = false
    else schemas[name] = convert(target)
    return name
  }
  const convert = (value: unknown): ApiSchema => {
    if (typeof value !== 'object' || value === null) return value as boolean
    const out: Record<string, unknown> = {}
    for (const [key, held] of Object.entries(value)) {
      if (IGNORED.has(key)) continue
      if (key === '$ref') out[key] = `#/schemas/${refer(held as string)}`
      else if (['items', 'additionalProperties', 'propertyNames', 'not'].includes(key)) out[key] = convert(held)
      else if (['allOf', 'anyOf', 'oneOf', 'prefixItems'].includes(key)) out[key] = (held as unknown[]).map(convert)
      else if (['properties', 'patternProperties'].includes(key))
        out[key] = Object.fromEntries(Object.entries(held as object).map(([name, item]) => [name, convert(item)]))
      else if (key === 'format') {
        if ((FORMATS as readonly unknown[]).includes(held)) out[key] = held
        else fine = false
      } else if (KNOWN.has(key)) out[key] = held
      else fine = false
    }
    return out
  }
  const root = convert(schema)
  return fine ? { root, schemas } : undefined
}

const KNOWN = new Set(
  'type enum const multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength pattern minItems maxItems uniqueItems required dependentRequired minProperties maxProperties'.split(
    ' ',
  ),
)

const directory = process.argv[2]
if (directory === undefined || !existsSync(join(directory, 'tests/draft2020-12'))) {
  process.stderr.write('usage: node e2e/json-schema-suite.ts DIRECTORY (a checkout of JSON-Schema-Test-Suite)\n')
  process.exit(2)
}
const verbose = process.argv.includes('--verbose')
const here = join(directory, 'tests/draft2020-12')
let agreed = 0
let stricter = 0
let laxer = 0
let unsupported = 0
const wrong: string[] = []
const unread = new Set(readdirSync(here).filter((name) => name.endsWith('.json')))
for (const file of FILES) {
  unread.delete(`${file}.json`)
  if (!existsSync(join(here, `${file}.json`))) continue
  for (const group of JSON.parse(readFileSync(join(here, `${file}.json`), 'utf8')) as Group[]) {
    const schema = converted(group.schema)
    const compilation =
      schema === undefined
        ? undefined
        : compileApi({
            unknownQuery: 'deny',
            paths: { '/': { post: { requestBody: { content: { 'application/json': { schema: schema.root } } } } } },
            schemas: schema.schemas,
          })
    if (compilation?.ok !== true) {
      unsupported += group.tests.length
      if (verbose && compilation?.ok === false)
        process.stdout.write(`refused: ${file}: ${group.description}: ${compilation.faults[0]!.message}\n`)
      continue
    }
    for (const { description, data, valid } of group.tests) {
      const headers = [['Content-Type', 'application/json']] as const
      const examination = compilation.check.begin({ method: 'POST', target: '/', headers })
      const problem = examination.problem ?? examination.body(encoder.encode(JSON.stringify(data)))
      if ((problem === undefined) === valid) agreed += 1
      else if (valid && STRICTER.has(file)) stricter += 1
      else if (!valid && [...LAXER.keys()].some((words) => group.description.includes(words))) laxer += 1
      else wrong.push(`${file}: ${group.description}: ${description}: ${valid ? `refused (${problem?.reason})` : 'let pass'}`)
    }
  }
}
for (const line of wrong) process.stdout.write(`${line}\n`)
process.stdout.write(
  `${agreed} cases agree, ${stricter} are refused on purpose, ${laxer} let pass knowingly, ${wrong.length} disagree; ${unsupported} cases use schemas that are refused, ${unread.size} files are about other keywords\n`,
)
process.exitCode = wrong.length === 0 ? 0 : 1
