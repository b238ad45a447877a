/**
 * Takes from an OpenAPI document (3.0 or 3.1) what requests are held against. What only people read, and responses, are left
 * out. What cannot be taken over is an error where leaving it out would refuse honest requests or hide what was meant, and a
 * warning where the check only becomes laxer. Pure; total.
 */
import { compileApi } from './check.ts'
import { compileTextPattern, PatternRefused } from './pattern.ts'
import {
  API_METHODS,
  type ApiDocument,
  type ApiMethod,
  type ApiOperation,
  type ApiParameter,
  type ApiSchema,
  FORMATS,
  type Format,
  SCHEMA_TYPES,
} from './types.ts'

export interface ImportNote {
  readonly level: 'error' | 'warning'
  /** Into the OpenAPI document (RFC 6901). */
  readonly pointer: string
  readonly message: string
}

export interface ImportedApi {
  /** Undefined when there are errors. */
  readonly api: Omit<ApiDocument, 'unknownQuery'> | undefined
  readonly notes: readonly ImportNote[]
}

type Path = readonly (string | number)[]
type Plain = Readonly<Record<string, unknown>>
type Draft = Record<string, unknown>

const DEPTH_MAX = 100
/** Schemas that lie deeper than this in another become named ones: a policy is nested 32 deep at most. */
const INLINE_DEPTH_MAX = 5
const NOTES_MAX = 500
/** Say something to people, or about responses. */
const SILENT = new Set(
  '$schema $comment $defs definitions title description example examples default deprecated xml externalDocs discriminator readOnly writeOnly contentMediaType contentEncoding contentSchema nullable'.split(
    ' ',
  ),
)
/** Leaving one out lets more pass. */
const LAXER = new Set(
  'if then else contains minContains maxContains dependentSchemas unevaluatedProperties unevaluatedItems'.split(' '),
)
const SILENT_FORMATS = new Set(['float', 'double', 'password', 'binary'])
const FOREIGN_HEADERS = new Set(['accept', 'content-type', 'authorization'])

/**
 * @param document As JSON or YAML gives it.
 * @param basePath Takes the place of the servers' base path: `/api/v2`, or empty for none.
 */
export function importOpenApi(document: unknown, basePath?: string): ImportedApi {
  return new Importer(document, basePath).run()
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === 'string')
}

/** For messages, and where only a scalar makes sense. */
function worded(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'something else'
}

function own(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined
}

function pointerOf(path: Path): string {
  return `#${path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')}`
}

function stepsOf(ref: string): readonly string[] | undefined {
  if (ref !== '#' && !ref.startsWith('#/')) return undefined
  return ref
    .split('/')
    .slice(1)
    .map((step) => {
      try {
        return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
      } catch {
        return step
      }
    })
}

/** What holds around a schema. */
interface Around {
  /** Under `not` or `oneOf`, where a laxer schema refuses more. */
  readonly strict: boolean
  /** How deep it lies in a schema with a name. */
  readonly depth: number
  /** Properties that requests need not have, since only responses do. */
  readonly readOnly: ReadonlySet<string>
}

const OUTERMOST: Around = { strict: false, depth: 0, readOnly: new Set() }

class Importer {
  readonly #document: unknown
  readonly #notes: ImportNote[] = []
  readonly #schemas: Record<string, ApiSchema> = {}
  /** By pointer: the name that a schema has been given. */
  readonly #names = new Map<string, string>()
  readonly #taken = new Set<string>()
  readonly #noted = new Set<string>()
  readonly #givenBase: string | undefined
  #is30 = false

  constructor(document: unknown, basePath: string | undefined) {
    this.#document = document
    this.#givenBase = basePath
  }

  #note(level: ImportNote['level'], path: Path, message: string): void {
    const pointer = pointerOf(path)
    // A parameter of a path is read for each of its operations.
    if (this.#noted.size >= NOTES_MAX || this.#noted.has(`${pointer} ${message}`)) return
    this.#noted.add(`${pointer} ${message}`)
    this.#notes.push({ level, pointer, message })
  }

  #error(path: Path, message: string): undefined {
    this.#note('error', path, message)
    return undefined
  }

  #warn(path: Path, message: string): void {
    this.#note('warning', path, message)
  }

  run(): ImportedApi {
    let paths: ApiDocument['paths']
    try {
      paths = this.#paths()
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.#error([], 'schemas refer to each other in a chain that is too long to be followed')
      return { api: undefined, notes: this.#notes }
    }
    if (this.#notes.some(({ level }) => level === 'error')) return { api: undefined, notes: this.#notes }
    const api = { paths, schemas: this.#schemas }
    const compilation = compileApi({ ...api, unknownQuery: 'deny' })
    if (!compilation.ok) for (const { path, message } of compilation.faults) this.#error(path.map(String), message)
    return { api: compilation.ok ? api : undefined, notes: this.#notes }
  }

  #paths(): ApiDocument['paths'] {
    const version = own(this.#document, 'openapi')
    if (typeof version !== 'string' || !/^3\.[01]\./.test(version)) {
      const found = own(this.#document, 'swagger') === undefined ? '' : '; this is Swagger 2: convert it first'
      this.#error(['openapi'], `expected openapi: 3.0.x or 3.1.x${found}`)
      return {}
    }
    this.#is30 = version.startsWith('3.0.')
    const base = this.#basePath(own(this.#document, 'servers'), ['servers']) ?? ''
    const paths = own(this.#document, 'paths')
    if (!isPlain(paths)) {
      this.#error(['paths'], 'expected paths')
      return {}
    }
    if (own(this.#document, 'webhooks') !== undefined)
      this.#warn(['webhooks'], 'webhooks are requests that others take: left out')
    const out: Record<string, { [method in ApiMethod]?: ApiOperation }> = {}
    for (const [path, given] of Object.entries(paths)) {
      if (path.startsWith('x-')) continue
      const at = ['paths', path]
      if (!path.startsWith('/')) {
        this.#error(at, 'a path begins with /')
        continue
      }
      const item = this.#resolved(given, at)
      if (item === undefined) continue
      const operations: { [method in ApiMethod]?: ApiOperation } = {}
      const itemBase = item.value.servers === undefined ? base : (this.#basePath(item.value.servers, [...at, 'servers']) ?? base)
      for (const method of API_METHODS) {
        const operation = item.value[method]
        if (!isPlain(operation)) continue
        const here = [...item.path, method]
        if (operation.servers !== undefined && this.#basePath(operation.servers, [...here, 'servers']) !== itemBase) {
          this.#error([...here, 'servers'], 'an operation with a base path of its own')
        }
        operations[method] = this.#operation(operation, item.value.parameters, item.path, here)
      }
      out[`${itemBase}${path}`] = operations
    }
    return out
  }

  /** The path of the first server; what differs is noted. */
  #basePath(servers: unknown, path: Path): string | undefined {
    if (this.#givenBase !== undefined) return this.#givenBase
    if (!Array.isArray(servers) || servers.length === 0) return path.length === 1 ? '' : undefined
    const bases = servers.map((server: unknown) => {
      const variables = own(server, 'variables')
      const url = worded(own(server, 'url') ?? '/').replace(/\{([^{}]+)\}/g, (_, name: string) =>
        worded(own(own(variables, name), 'default') ?? ''),
      )
      const bare = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/[?#].*$/, '')
      return bare === '' || bare === '/' ? '' : `/${bare.replace(/^\/+|\/+$/g, '')}`
    })
    if (new Set(bases).size > 1)
      this.#warn(path, `the servers have different base paths: ${bases[0] === '' ? '/' : bases[0]} is taken`)
    return bases[0]
  }

  /** What a value or its `$ref` says, and where. */
  #resolved(value: unknown, path: Path): { readonly value: Plain; readonly path: Path } | undefined {
    let found = value
    let at = path
    for (let hops = 0; isPlain(found) && typeof found.$ref === 'string'; hops += 1) {
      const steps = stepsOf(found.$ref)
      if (steps === undefined) return this.#error([...at, '$ref'], `${found.$ref} lies in another document: bundle them first`)
      if (hops > 20) return this.#error([...at, '$ref'], 'a reference that goes round in circles')
      found = steps.reduce<unknown>(own, this.#document)
      at = steps
    }
    if (isPlain(found)) return { value: found, path: at }
    return this.#error(path, at === path ? 'expected an object' : 'a reference to nothing')
  }

  #operation(operation: Plain, shared: unknown, itemPath: Path, path: Path): ApiOperation {
    const parameters = new Map<string, ApiParameter>()
    for (const [list, at] of [
      [shared, [...itemPath, 'parameters']],
      [operation.parameters, [...path, 'parameters']],
    ] as const) {
      if (!Array.isArray(list)) continue
      for (const [index, given] of list.entries()) {
        const found = this.#resolved(given, [...at, index])
        if (found === undefined) continue
        for (const parameter of this.#parameter(found.value, found.path)) {
          parameters.set(`${parameter.in} ${parameter.name}`, parameter)
        }
      }
    }
    for (const parameter of this.#keysInQuery(operation)) {
      const key = `query ${parameter.name}`
      if (!parameters.has(key)) parameters.set(key, parameter)
    }
    const body = operation.requestBody === undefined ? undefined : this.#resolved(operation.requestBody, [...path, 'requestBody'])
    return {
      ...(parameters.size === 0 ? {} : { parameters: [...parameters.values()] }),
      ...(body === undefined ? {} : { requestBody: this.#body(body.value, body.path) }),
    }
  }

  /** API keys that stand in the query are declared elsewhere. */
  #keysInQuery(operation: Plain): readonly ApiParameter[] {
    const wanted = operation.security ?? own(this.#document, 'security')
    if (!Array.isArray(wanted)) return []
    const schemes = own(own(this.#document, 'components'), 'securitySchemes')
    return wanted.flatMap((entry: unknown) =>
      Object.keys(isPlain(entry) ? entry : {}).flatMap((name) => {
        const scheme = own(schemes, name)
        const key = own(scheme, 'name')
        const isInQuery = own(scheme, 'type') === 'apiKey' && own(scheme, 'in') === 'query'
        return isInQuery && typeof key === 'string'
          ? [{ name: key, in: 'query' as const, schema: { type: 'string' as const } }]
          : []
      }),
    )
  }

  #parameter(given: Plain, path: Path): readonly ApiParameter[] {
    const {
      name,
      in: place,
      required,
      explode,
      allowEmptyValue,
      style = place === 'query' || place === 'cookie' ? 'form' : 'simple',
    } = given
    if (typeof name !== 'string' || (place !== 'path' && place !== 'query' && place !== 'header' && place !== 'cookie')) {
      this.#error(path, 'expected a parameter with name and in')
      return []
    }
    if (place === 'header' && FOREIGN_HEADERS.has(name.toLowerCase())) return []
    if (style === 'matrix' || style === 'label') {
      this.#error([...path, 'style'], `the style ${style}: servers differ in how they read it`)
      return []
    }
    const known = ['simple', 'form', 'spaceDelimited', 'pipeDelimited', 'deepObject'] as const
    const written = known.find((word) => word === style)
    if (written === undefined) {
      this.#error([...path, 'style'], 'expected simple, form, spaceDelimited, pipeDelimited or deepObject')
      return []
    }
    const isDefault = written === (place === 'query' || place === 'cookie' ? 'form' : 'simple')
    const base: ApiParameter = {
      name,
      in: place,
      ...(required === true && place !== 'path' ? { required } : {}),
      ...(isDefault ? {} : { style: written }),
      ...(typeof explode === 'boolean' && place === 'query' && explode !== (written === 'form') ? { explode } : {}),
      ...(allowEmptyValue === true ? { allowEmptyValue } : {}),
    }
    if (given.schema === undefined) {
      if (given.content !== undefined) this.#warn([...path, 'content'], 'the value is a document in itself: any is let pass')
      return [base]
    }
    const at = [...path, 'schema']
    const shape = this.#shape(given.schema)
    if (shape === 'object' && written !== 'deepObject') {
      if (place === 'query' && written === 'form' && explode !== false) return this.#spread(base, given.schema, at)
      this.#warn(at, 'an object as one text: any is let pass')
      return [base]
    }
    if (shape === 'array' && place === 'cookie') {
      this.#warn(at, 'a list as a cookie: any is let pass')
      return [base]
    }
    const schema = this.#schema(given.schema, at, OUTERMOST)
    return [schema === true ? base : { ...base, schema }]
  }

  /** An exploded object stands in the query as its properties. */
  #spread(base: ApiParameter, schema: unknown, path: Path): readonly ApiParameter[] {
    const found = this.#resolved(schema, path)
    const properties = found?.value.properties
    if (found === undefined || !isPlain(properties)) {
      this.#error(path, 'an object whose properties are not declared, spread over the query: any name would have to pass')
      return []
    }
    const required = Array.isArray(found.value.required) ? found.value.required : []
    return Object.entries(properties).map(([name, given]) => ({
      name,
      in: 'query' as const,
      ...(base.required === true && required.includes(name) ? { required: true } : {}),
      schema: this.#schema(given, [...found.path, 'properties', name], OUTERMOST),
    }))
  }

  /** The type that a schema names, by way of references. */
  #shape(schema: unknown): unknown {
    let found = schema
    for (let hops = 0; hops < 20 && isPlain(found) && typeof found.$ref === 'string'; hops += 1) {
      found = stepsOf(found.$ref)?.reduce<unknown>(own, this.#document)
    }
    const type = own(found, 'type')
    return type ?? (own(found, 'properties') === undefined ? undefined : 'object')
  }

  #body(body: Plain, path: Path): NonNullable<ApiOperation['requestBody']> {
    const content: Record<string, { schema?: ApiSchema }> = {}
    const given = isPlain(body.content) ? body.content : {}
    for (const [written, media] of Object.entries(given)) {
      const at = [...path, 'content', written]
      const type = written.split(';')[0]!.trim().toLowerCase()
      const schema = own(media, 'schema')
      const isRead = /^(?:application\/(?:[^/]*\+)?json|application\/x-www-form-urlencoded|multipart\/form-data)$/.test(type)
      if (schema === undefined) content[type] = {}
      else if (isRead) {
        const taken = this.#schema(schema, [...at, 'schema'], OUTERMOST)
        content[type] = taken === true ? {} : { schema: taken }
      } else {
        const plain = own(schema, 'format') === 'binary' || Object.keys(isPlain(schema) ? schema : {}).join() === 'type'
        if (!plain) this.#warn([...at, 'schema'], `bodies of ${type} are not read: any is let pass`)
        content[type] = {}
      }
    }
    if (Object.keys(content).length === 0) this.#error([...path, 'content'], 'expected a content type')
    return { ...(body.required === true ? { required: true } : {}), content }
  }

  /** The name of the schema that a pointer leads to, which is taken over when it is met first. */
  #named(ref: string, path: Path): string | undefined {
    const steps = stepsOf(ref)
    if (steps === undefined) return this.#error(path, `${ref} lies in another document: bundle them first`)
    const pointer = pointerOf(steps)
    const known = this.#names.get(pointer)
    if (known !== undefined) return known
    const target = steps.reduce<unknown>(own, this.#document)
    if (target === undefined) return this.#error(path, `${ref} leads to nothing`)
    return this.#keep(steps.at(-1) ?? 'document', pointer, target, steps)
  }

  #keep(wanted: string, pointer: string, schema: unknown, path: Path): string {
    const plain = wanted.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 100) || 'schema'
    let name = plain
    for (let count = 2; this.#taken.has(name); count += 1) name = `${plain}-${count}`
    this.#taken.add(name)
    this.#names.set(pointer, name)
    // Its place in the order is where it was met.
    this.#schemas[name] = true
    this.#schemas[name] = this.#schema(schema, path, OUTERMOST)
    return name
  }

  #schema(given: unknown, path: Path, around: Around): ApiSchema {
    if (typeof given === 'boolean') return given
    if (!isPlain(given) || path.length > DEPTH_MAX) {
      this.#error(path, path.length > DEPTH_MAX ? 'nested too deep' : 'expected a schema')
      return true
    }
    if (around.depth > INLINE_DEPTH_MAX && Object.keys(given).some((key) => key !== '$ref' && key !== 'type')) {
      const pointer = pointerOf(path)
      const name =
        this.#names.get(pointer) ??
        this.#keep(
          path
            .filter((step) => step !== 'properties')
            .slice(-2)
            .join('-'),
          pointer,
          given,
          path,
        )
      return { $ref: `#/schemas/${name}` }
    }
    const out: Draft = {}
    if (typeof given.$ref === 'string') {
      const name = this.#named(given.$ref, [...path, '$ref'])
      if (name !== undefined) out.$ref = `#/schemas/${name}`
      // OpenAPI 3.0 section 4.7.23: what stands beside a reference is ignored.
      if (this.#is30) return out
    }
    const readOnly = new Set([...around.readOnly, ...this.#readOnlyOf(given, new Set())])
    for (const [key, value] of Object.entries(given)) {
      if (key === '$ref') continue
      const held = this.#keyword(key, value, given, [...path, key], { ...around, readOnly })
      if (held !== undefined) out[key] = held
    }
    return this.#nullable(given, this.#tuples(out))
  }

  /** Draft 4 wrote tuples as lists of items. */
  #tuples(out: Draft): Draft {
    if (!Array.isArray(out.items)) return out
    const { items, ...rest } = out
    return { ...rest, prefixItems: items }
  }

  /** OpenAPI 3.0 says with a flag that null is taken too. */
  #nullable(given: Plain, out: Draft): Draft {
    if (!this.#is30 || given.nullable !== true) return out
    if (typeof out.type === 'string' && out.allOf === undefined && out.oneOf === undefined && out.anyOf === undefined) {
      const values = out.enum
      return {
        ...out,
        type: [out.type, 'null'],
        ...(Array.isArray(values) && !values.includes(null) ? { enum: [...values, null] } : {}),
      }
    }
    return { anyOf: [{ type: 'null' }, out] }
  }

  #readOnlyOf(given: Plain, seen: Set<unknown>): readonly string[] {
    if (seen.has(given)) return []
    seen.add(given)
    const own = Object.entries(isPlain(given.properties) ? given.properties : {}).flatMap(([name, property]) => {
      const found = isPlain(property) && typeof property.$ref === 'string' ? this.#at(property.$ref) : property
      return isPlain(found) && found.readOnly === true ? [name] : []
    })
    const parts = [
      ...(Array.isArray(given.allOf) ? given.allOf : []),
      ...(typeof given.$ref === 'string' ? [this.#at(given.$ref)] : []),
    ]
    const inner = parts.flatMap((part: unknown) => {
      const found = isPlain(part) && typeof part.$ref === 'string' ? this.#at(part.$ref) : part
      return isPlain(found) ? this.#readOnlyOf(found, seen) : []
    })
    return [...own, ...inner]
  }

  #at(ref: string): unknown {
    return stepsOf(ref)?.reduce<unknown>(own, this.#document)
  }

  /** A keyword as it is taken over; undefined leaves it out. */
  #keyword(key: string, value: unknown, given: Plain, path: Path, around: Around): unknown {
    const { strict } = around
    const inner: Around = { strict, depth: around.depth + 1, readOnly: new Set() }
    switch (key) {
      case 'type':
        return this.#types(value, path)
      case 'enum':
        return Array.isArray(value) && value.length > 0 ? value : this.#error(path, 'expected a list of values')
      case 'const':
        return value
      case 'multipleOf':
        return typeof value === 'number' && value > 0 ? value : this.#error(path, 'expected a number above 0')
      case 'minLength':
      case 'maxLength':
      case 'minItems':
      case 'maxItems':
      case 'minProperties':
      case 'maxProperties':
        return Number.isSafeInteger(value) && (value as number) >= 0 ? value : this.#error(path, 'expected a whole number')
      case 'dependentRequired': {
        const isFine = isPlain(value) && Object.values(value).every(isNames)
        return isFine ? value : this.#error(path, 'expected lists of names')
      }
      case 'uniqueItems':
        return value === true ? true : undefined
      case 'minimum':
        return this.#is30 && given.exclusiveMinimum === true ? undefined : this.#number(value, path)
      case 'maximum':
        return this.#is30 && given.exclusiveMaximum === true ? undefined : this.#number(value, path)
      case 'exclusiveMinimum':
        return typeof value === 'boolean' ? (value ? this.#number(given.minimum, path) : undefined) : this.#number(value, path)
      case 'exclusiveMaximum':
        return typeof value === 'boolean' ? (value ? this.#number(given.maximum, path) : undefined) : this.#number(value, path)
      case 'format':
        return this.#format(value, path, strict)
      case 'pattern':
        return this.#pattern(value, path, strict)
      case 'required': {
        // A flag in a schema was how draft 3 said it of one property.
        if (!isNames(value)) return this.#error(path, 'expected a list of names')
        const names = value.filter((name) => !around.readOnly.has(name))
        return names.length === 0 ? undefined : names
      }
      case 'items':
        return Array.isArray(value)
          ? value.map((item, index) => this.#schema(item, [...path, index], inner))
          : this.#schema(value, path, inner)
      case 'additionalProperties':
        return value === true ? undefined : this.#schema(value, path, inner)
      case 'propertyNames':
        return this.#schema(value, path, inner)
      case 'not':
        return this.#schema(value, path, { ...inner, strict: true })
      case 'properties':
      case 'patternProperties':
        return Object.fromEntries(
          Object.entries(isPlain(value) ? value : {}).map(([name, item]) => [name, this.#schema(item, [...path, name], inner)]),
        )
      case 'prefixItems':
      case 'allOf':
      case 'anyOf':
      case 'oneOf': {
        const list: readonly unknown[] = Array.isArray(value) ? value : []
        const each: Around = {
          ...inner,
          strict: strict || key === 'oneOf',
          readOnly: key === 'prefixItems' ? new Set() : around.readOnly,
        }
        return list.map((item, index) => this.#schema(item, [...path, index], each))
      }
      default:
        return this.#other(key, path, strict)
    }
  }

  #number(value: unknown, path: Path): number | undefined {
    return typeof value === 'number' && Number.isFinite(value) ? value : this.#error(path, 'expected a number')
  }

  #other(key: string, path: Path, strict: boolean): undefined {
    if (SILENT.has(key) || key.startsWith('x-')) return undefined
    if (!LAXER.has(key)) {
      if (/^\$(?:id|anchor|dynamicRef|dynamicAnchor|vocabulary|recursiveRef|recursiveAnchor)$/.test(key)) {
        return this.#error(path, `${key} is not known: refer by #/components/schemas/NAME`)
      }
      this.#warn(path, `${key} is no keyword that is known: left out`)
      return undefined
    }
    if (strict) return this.#error(path, `${key} is not checked, and leaving it out under not or oneOf would refuse more`)
    this.#warn(path, `${key} is not checked: more is let pass`)
    return undefined
  }

  #types(value: unknown, path: Path): unknown {
    const types: readonly unknown[] = Array.isArray(value) ? value : [value]
    for (const type of types) {
      if (!(SCHEMA_TYPES as readonly unknown[]).includes(type))
        this.#error(path, `expected a type of JSON Schema, found ${worded(type).slice(0, 40)}`)
    }
    return value
  }

  #format(value: unknown, path: Path, strict: boolean): Format | undefined {
    const known = FORMATS.find((format) => format === value)
    if (known !== undefined) return known
    if (SILENT_FORMATS.has(worded(value))) return undefined
    const named = `the format ${worded(value).slice(0, 40)}`
    if (strict) return this.#error(path, `${named} is not checked, and leaving it out under not or oneOf would refuse more`)
    this.#warn(path, `${named} is not checked: more is let pass`)
    return undefined
  }

  #pattern(value: unknown, path: Path, strict: boolean): string | undefined {
    if (typeof value !== 'string') return this.#error(path, 'expected a pattern')
    const source = value
    try {
      compileTextPattern(source)
      return source
    } catch (error) {
      if (!(error instanceof PatternRefused)) throw error
      if (strict)
        return this.#error(path, `the pattern cannot be used (${error.message}), and leaving it out here would refuse more`)
      this.#warn(path, `the pattern cannot be used (${error.message}): more is let pass`)
      return undefined
    }
  }
}
