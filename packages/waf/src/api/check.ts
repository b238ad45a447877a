/**
 * Positive security: holds requests against an API document. What the document does not describe is outside of it: unknown
 * paths, methods, query parameters and media types, and values that do not conform to their schemas. What readers behind could
 * take for something else than was checked (keys or parameters given twice, halves of characters, compressed bodies) is outside
 * too. Pure and total; linear in the request but for what the budget bounds.
 */

import { multipartBoundary, parseMultipart } from '../body/multipart.ts'
import { bytesToText } from '../bytes.ts'
import { type Json, JsonRefused, parseJson } from './json.ts'
import {
  CONTENT_TYPES_MAX,
  FORM_FIELDS_MAX,
  OPERATIONS_MAX,
  PARAMETERS_MAX,
  PATH_CHARS_MAX,
  PATHS_MAX,
  QUERY_PARAMETERS_MAX,
} from './limits.ts'
import { FieldReadings, listMismatch, type TextReading, textMismatch, textReading } from './parameters.ts'
import { decodeOnce, PathTrie, parseTemplate, segmentsOf, type TemplateSegment } from './paths.ts'
import { type Budget, createBudget, mismatch, SchemaCompiler, type SchemaNode, TYPE_BITS } from './schema.ts'
import {
  API_METHODS,
  type ApiCheck,
  type ApiCompilation,
  type ApiDocument,
  type ApiExamination,
  type ApiFault,
  type ApiOperation,
  type ApiParameter,
  type ApiProblem,
  type ApiRequest,
} from './types.ts'

interface Parameter {
  readonly name: string
  readonly required: boolean
  readonly allowsEmpty: boolean
  readonly reading: TextReading
  /** What parts the items of a list that stands in one text; undefined when each has a text of its own. */
  readonly separator: string | undefined
  /** Given as `name[property]`. */
  readonly deep: FieldReadings | undefined
}

type BodyKind = 'json' | 'form' | 'multipart' | 'opaque'

interface BodyType {
  readonly range: string
  readonly kind: BodyKind
  readonly node: SchemaNode | undefined
  readonly fields: FieldReadings | undefined
}

interface Operation {
  /** `GET /orders/{id}`. */
  readonly name: string
  readonly path: ReadonlyMap<number, Parameter>
  readonly query: ReadonlyMap<string, Parameter>
  readonly deepQuery: boolean
  readonly headers: ReadonlyMap<string, Parameter>
  readonly cookies: ReadonlyMap<string, Parameter>
  readonly bodyRequired: boolean
  readonly bodyTypes: readonly BodyType[]
}

interface Endpoint {
  readonly path: string
  readonly segments: readonly TemplateSegment[]
  readonly operations: Map<string, Operation>
}

const MEDIA_RANGE = /^(?:\*\/\*|[a-z0-9!#$&^_.+-]{1,64}\/(?:\*|[a-z0-9!#$&^_.+-]{1,64}))$/
/** OpenAPI 3.1 section 4.8.12.1: these are described elsewhere, and a parameter of the name is ignored. */
const FOREIGN_HEADERS: ReadonlySet<string> = new Set(['accept', 'content-type', 'authorization'])

/** Total. Equal documents give equal checks: nothing here depends on anything else. */
export function compileApi(document: ApiDocument): ApiCompilation {
  const faults: ApiFault[] = []
  const paths = Object.entries(document.paths)
  if (paths.length > PATHS_MAX) {
    const message = `there are ${paths.length} paths, at most ${PATHS_MAX} are taken`
    return { ok: false, faults: [{ path: ['paths'], onKey: true, message, hint: 'split the service' }] }
  }
  const schemas = new SchemaCompiler(document.schemas, faults)
  // Schemas that go round in circles cannot be followed.
  if (faults.length > 0) return { ok: false, faults }
  const trie = new PathTrie<Endpoint>()
  const operations: string[] = []
  for (const [path, item] of paths) {
    const at = ['paths', path]
    const segments = path.length > PATH_CHARS_MAX ? `longer than ${PATH_CHARS_MAX} characters` : parseTemplate(path)
    if (typeof segments === 'string') {
      faults.push({ path: at, onKey: true, message: `${path} cannot be used as a path: ${segments}` })
      continue
    }
    const endpoint: Endpoint = { path, segments, operations: new Map() }
    const rival = trie.add(segments, endpoint)
    if (rival !== undefined) {
      const message = `${path} matches the same requests as ${rival.path}`
      faults.push({ path: at, onKey: true, message, hint: 'join the two' })
    }
    for (const method of API_METHODS) {
      const operation = item[method]
      if (operation === undefined) continue
      const name = `${method.toUpperCase()} ${path}`
      operations.push(name)
      endpoint.operations.set(method.toUpperCase(), compileOperation(name, operation, segments, schemas, [...at, method], faults))
    }
    // RFC 9110 section 9.3.2: HEAD is GET without its content.
    const get = endpoint.operations.get('GET')
    if (get !== undefined && item.head === undefined) endpoint.operations.set('HEAD', get)
  }
  if (operations.length > OPERATIONS_MAX) {
    const message = `there are ${operations.length} operations, at most ${OPERATIONS_MAX} are taken`
    faults.push({ path: ['paths'], onKey: true, message, hint: 'split the service' })
  }
  if (faults.length > 0) return { ok: false, faults }
  return { ok: true, check: createCheck(trie, operations, document.unknownQuery === 'pass') }
}

function compileOperation(
  name: string,
  operation: ApiOperation,
  segments: readonly TemplateSegment[],
  schemas: SchemaCompiler,
  at: readonly PropertyKey[],
  faults: ApiFault[],
): Operation {
  const path = new Map<number, Parameter>()
  const query = new Map<string, Parameter>()
  const headers = new Map<string, Parameter>()
  const cookies = new Map<string, Parameter>()
  const given = operation.parameters ?? []
  if (given.length > PARAMETERS_MAX) {
    faults.push({ path: [...at, 'parameters'], onKey: true, message: `more than ${PARAMETERS_MAX} parameters` })
  }
  for (const [index, parameter] of given.entries()) {
    const here = [...at, 'parameters', index]
    const compiled = compileParameter(parameter, schemas, here, faults)
    const twice = (): void => {
      const message = `the ${parameter.in} parameter ${parameter.name} occurs twice`
      faults.push({ path: [...here, 'name'], message, hint: 'keep one of the two' })
    }
    if (parameter.in === 'path') {
      const position = segments.findIndex((segment) => segment.parameter === parameter.name)
      if (position < 0) {
        const message = `the path has no {${parameter.name}}`
        faults.push({ path: [...here, 'name'], message, hint: 'name a parameter as the path does' })
      } else if (path.has(position)) twice()
      else path.set(position, compiled)
      continue
    }
    const key = parameter.in === 'header' ? parameter.name.toLowerCase() : parameter.name
    if (parameter.in === 'header' && FOREIGN_HEADERS.has(key)) {
      const message = `${parameter.name} is no parameter of its own`
      faults.push({ path: [...here, 'name'], message, hint: 'the content types stand under requestBody, tokens under identity' })
    }
    const known = parameter.in === 'query' ? query : parameter.in === 'header' ? headers : cookies
    if (known.has(key)) twice()
    known.set(key, compiled)
  }
  const names = segments.flatMap(({ parameter }) => parameter ?? [])
  const repeated = names.find((held, index) => names.indexOf(held) < index)
  if (repeated !== undefined) {
    faults.push({ path: at.slice(0, -1), onKey: true, message: `the path has {${repeated}} twice`, hint: 'rename one' })
  }
  return {
    name,
    path,
    query,
    deepQuery: [...query.values()].some(({ deep }) => deep !== undefined),
    headers,
    cookies,
    bodyRequired: operation.requestBody?.required === true,
    bodyTypes: compileBodyTypes(operation, schemas, [...at, 'requestBody', 'content'], faults),
  }
}

const STYLES: Readonly<Record<ApiParameter['in'], readonly string[]>> = {
  path: ['simple'],
  header: ['simple'],
  cookie: ['form'],
  query: ['form', 'spaceDelimited', 'pipeDelimited', 'deepObject'],
}

function compileParameter(
  parameter: ApiParameter,
  schemas: SchemaCompiler,
  at: readonly PropertyKey[],
  faults: ApiFault[],
): Parameter {
  const known = STYLES[parameter.in]
  const style = parameter.style ?? known[0]!
  if (!known.includes(style)) {
    faults.push({
      path: [...at, 'style'],
      message: `a ${parameter.in} parameter is not written in the style ${style}`,
      hint: `${known.join(', ')}`,
    })
  }
  if (parameter.in === 'path' && parameter.required === false) {
    faults.push({ path: [...at, 'required'], message: 'a path parameter is always required', hint: 'leave required out' })
  }
  const node = schemas.compile(parameter.schema ?? true, [...at, 'schema'])
  const reading = textReading(node)
  const { OBJECT, STRING, NUMBER, INTEGER, BOOLEAN, ARRAY } = TYPE_BITS
  if (style !== 'deepObject' && (reading.types & (STRING | NUMBER | INTEGER | BOOLEAN | ARRAY)) === 0) {
    const message = (reading.types & OBJECT) === 0 ? 'no text can be of this type' : 'an object as a parameter'
    faults.push({
      path: [...at, 'schema'],
      message,
      hint: 'give each of its properties as a parameter, or use the style deepObject',
    })
  }
  if (parameter.in === 'cookie' && reading.isList) {
    faults.push({ path: [...at, 'schema'], message: 'a list as a cookie', hint: 'declare it as a text with a pattern' })
  }
  const explode = parameter.explode ?? style === 'form'
  const separators: Readonly<Record<string, string>> = { simple: ',', form: ',', spaceDelimited: ' ', pipeDelimited: '|' }
  return {
    name: parameter.name,
    required: parameter.in === 'path' || parameter.required === true,
    allowsEmpty: parameter.allowEmptyValue === true,
    reading,
    separator: parameter.in === 'query' && explode ? undefined : separators[style],
    deep: style === 'deepObject' ? new FieldReadings(node) : undefined,
  }
}

function compileBodyTypes(
  { requestBody }: ApiOperation,
  schemas: SchemaCompiler,
  at: readonly PropertyKey[],
  faults: ApiFault[],
): readonly BodyType[] {
  if (requestBody === undefined) return []
  const entries = Object.entries(requestBody.content)
  if (entries.length === 0)
    faults.push({ path: at, onKey: true, message: 'no content type', hint: 'name one, or leave requestBody out' })
  if (entries.length > CONTENT_TYPES_MAX)
    faults.push({ path: at, onKey: true, message: `more than ${CONTENT_TYPES_MAX} content types` })
  const types = entries.map(([written, { schema }]): BodyType => {
    const range = written.toLowerCase()
    const here = [...at, written]
    if (!MEDIA_RANGE.test(range)) {
      faults.push({
        path: here,
        onKey: true,
        message: `${written} is no media type`,
        hint: 'write it as application/json, without parameters',
      })
    }
    const kind = kindOf(range)
    if (schema === undefined) return { range, kind, node: undefined, fields: undefined }
    const node = schemas.compile(schema, [...here, 'schema'])
    if (kind === 'opaque') {
      const message = `bodies of ${written} are not read, so their schema cannot be checked`
      faults.push({ path: [...here, 'schema'], onKey: true, message, hint: 'leave the schema out' })
    }
    return { range, kind, node, fields: kind === 'form' || kind === 'multipart' ? new FieldReadings(node) : undefined }
  })
  const rank = ({ range }: BodyType): number => (range === '*/*' ? 2 : range.endsWith('/*') ? 1 : 0)
  return types.sort((a, b) => rank(a) - rank(b))
}

function kindOf(type: string): BodyKind {
  if (type === 'application/json' || (type.startsWith('application/') && type.endsWith('+json'))) return 'json'
  if (type === 'application/x-www-form-urlencoded') return 'form'
  return type === 'multipart/form-data' ? 'multipart' : 'opaque'
}

const problem = (rule: string, reason: string): ApiProblem => ({ rule, reason })

function createCheck(trie: PathTrie<Endpoint>, operations: readonly string[], passesUnknownQuery: boolean): ApiCheck {
  return {
    operations,
    begin(request) {
      const budget = createBudget()
      budget.work += request.target.length
      const segments = segmentsOf(request.target)
      if (typeof segments === 'string') return new Examination(request, undefined, problem('api:path', segments), budget)
      const endpoint = trie.find(segments)
      if (endpoint === undefined) {
        return new Examination(request, undefined, problem('api:path', 'no such path is declared'), budget)
      }
      const operation = endpoint.operations.get(request.method)
      if (operation === undefined) {
        const reason = `${endpoint.path} is not declared for this method`
        return new Examination(request, undefined, problem('api:method', reason), budget)
      }
      const found = headProblem(operation, endpoint.segments, segments, request, passesUnknownQuery, budget)
      return new Examination(request, operation, found, budget)
    },
  }
}

class Examination implements ApiExamination {
  readonly #request: ApiRequest
  readonly #operation: Operation | undefined
  readonly #budget: Budget
  readonly problem: ApiProblem | undefined

  constructor(request: ApiRequest, operation: Operation | undefined, found: ApiProblem | undefined, budget: Budget) {
    this.#request = request
    this.#operation = operation
    this.#budget = budget
    this.problem = found
  }

  get operation(): string | undefined {
    return this.#operation?.name
  }

  get takesBody(): boolean {
    return this.#operation !== undefined && this.#operation.bodyTypes.length > 0
  }

  get work(): number {
    // Of building automata, not a word: it depends on what was checked before, and validators must come to one figure.
    return this.#budget.work - this.#budget.building
  }

  body(bytes: Uint8Array): ApiProblem | undefined {
    const operation = this.#operation
    if (operation === undefined) return this.problem
    this.#budget.work += bytes.length
    return bodyProblem(operation, this.#request, bytes, this.#budget)
  }
}

function headProblem(
  operation: Operation,
  template: readonly TemplateSegment[],
  segments: readonly string[],
  request: ApiRequest,
  passesUnknownQuery: boolean,
  budget: Budget,
): ApiProblem | undefined {
  for (const [position, parameter] of operation.path) {
    const { prefix, suffix } = template[position]!
    const text = segments[position]!.slice(prefix.length, segments[position]!.length - suffix.length)
    const reason = valueProblem(parameter, [text], budget)
    if (reason !== undefined) return problem(`api:path ${parameter.name}`, reason)
  }
  return (
    overrideProblem(operation, request) ??
    queryProblem(operation, request.target, passesUnknownQuery, budget) ??
    headersProblem(operation, request, budget) ??
    contentProblem(operation, request)
  )
}

/** By these, frameworks take a request for another than its first line says. */
const OVERRIDES: ReadonlyMap<string, string> = new Map([
  ['x-http-method-override', 'api:method'],
  ['x-http-method', 'api:method'],
  ['x-method-override', 'api:method'],
  ['x-original-url', 'api:path'],
  ['x-rewrite-url', 'api:path'],
])

function overrideProblem({ headers }: Operation, request: ApiRequest): ApiProblem | undefined {
  for (const [name, value] of request.headers) {
    if (name.charCodeAt(1) !== 45) continue
    const key = name.toLowerCase()
    const rule = OVERRIDES.get(key)
    if (rule === undefined || headers.has(key)) continue
    if (rule === 'api:method' && value.trim().toUpperCase() === request.method) continue
    return problem(rule, `${key} asks for something else than the request line`)
  }
  return undefined
}

/** @param texts At least one. */
function valueProblem(
  { reading, separator, allowsEmpty }: Parameter,
  texts: readonly string[],
  budget: Budget,
): string | undefined {
  if (!reading.isList || separator !== undefined) {
    if (texts.length > 1 && reading.mayBeList && separator === undefined) return listMismatch(reading, texts, budget)
    if (texts.length > 1) return 'given more than once'
    const text = texts[0]!
    if (text === '' && allowsEmpty) return undefined
    if (!reading.isList) {
      const found = textMismatch(reading, text, budget)
      if (found === undefined || !reading.mayBeList) return found
      const list = separator === undefined ? [text] : text.split(separator)
      return listMismatch(reading, list, budget) === undefined ? undefined : found
    }
    return listMismatch(reading, text === '' ? [] : text.split(separator!), budget)
  }
  return listMismatch(reading, texts, budget)
}

/** Names and values, decoded; a sentence when that is not possible. */
function formPairs(text: string, most: number): readonly (readonly [name: string, value: string])[] | string {
  const pairs: (readonly [string, string])[] = []
  if (/[\u0000-\u0020\u007f-\uffff]/.test(text)) return 'characters that must be encoded are not'
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf('&', from)
    const piece = text.slice(from, to < 0 ? text.length : to)
    from = to < 0 ? text.length : to + 1
    if (piece === '') continue
    if (pairs.length === most) return `more than ${most} parameters`
    const plain = piece.includes('+') ? piece.replaceAll('+', ' ') : piece
    const equals = plain.indexOf('=')
    const name = decodeOnce(equals < 0 ? plain : plain.slice(0, equals))
    const value = equals < 0 ? '' : decodeOnce(plain.slice(equals + 1))
    if (name === undefined || value === undefined) return 'the percent-encoding is not UTF-8'
    pairs.push([name, value])
  }
  return pairs
}

function queryProblem(operation: Operation, target: string, passesUnknown: boolean, budget: Budget): ApiProblem | undefined {
  const { query } = operation
  const mark = target.indexOf('?')
  const given = new Map<string, string[]>()
  if (mark >= 0) {
    const pairs = formPairs(target.slice(mark + 1), QUERY_PARAMETERS_MAX)
    if (typeof pairs === 'string') return problem('api:query', pairs)
    for (const [name, value] of pairs) {
      const known = given.get(name)
      if (known === undefined) given.set(name, [value])
      else known.push(value)
    }
  }
  for (const [name, texts] of given) {
    const parameter = query.get(name)
    if (parameter !== undefined && parameter.deep === undefined) {
      const reason = valueProblem(parameter, texts, budget)
      if (reason !== undefined) return problem(`api:query ${name}`, reason)
    } else if (!passesUnknown && !(operation.deepQuery && deepOwner(query, name) !== undefined)) {
      return problem(`api:query ${printable(name)}`, 'the query parameter is not declared')
    }
  }
  for (const [name, parameter] of query) {
    if (parameter.deep !== undefined) {
      const found = deepProblem(parameter, given, budget)
      if (found !== undefined) return problem(`api:query ${name}`, found)
    } else if (parameter.required && !given.has(name)) return problem(`api:query ${name}`, 'the query parameter is missing')
  }
  return undefined
}

function deepOwner(query: ReadonlyMap<string, Parameter>, name: string): Parameter | undefined {
  const match = /^([^[\]]+)\[([^[\]]*)\]$/.exec(name)
  const owner = match === null ? undefined : query.get(match[1]!)
  return owner?.deep === undefined ? undefined : owner
}

function deepProblem(
  { name, required, deep, reading }: Parameter,
  given: ReadonlyMap<string, readonly string[]>,
  budget: Budget,
): string | undefined {
  const start = `${name}[`
  const fields: (readonly [string, string])[] = []
  for (const [held, texts] of given) {
    if (held.startsWith(start) && held.endsWith(']')) for (const text of texts) fields.push([held.slice(start.length, -1), text])
  }
  if (fields.length === 0) return required ? 'the query parameter is missing' : undefined
  const object = deep!.object(fields, budget)
  if (typeof object === 'string') return 'given more than once'
  return mismatch(reading.node, object, budget)?.reason
}

/** A client’s name in a rule: short, visible, ASCII. */
function printable(name: string): string {
  return name.replace(/[^!-~]/g, '?').slice(0, 64)
}

function headersProblem({ headers, cookies }: Operation, request: ApiRequest, budget: Budget): ApiProblem | undefined {
  for (const [key, parameter] of headers) {
    const texts = request.headers.flatMap(([name, value]) => (name.toLowerCase() === key ? [value] : []))
    if (texts.length === 0) {
      if (parameter.required) return problem(`api:header ${parameter.name}`, 'the header is missing')
      continue
    }
    const reason = parameter.reading.isList
      ? listMismatch(
          parameter.reading,
          texts
            .join()
            .split(',')
            .map((text) => text.trim()),
          budget,
        )
      : valueProblem(parameter, texts, budget)
    if (reason !== undefined) return problem(`api:header ${parameter.name}`, reason)
  }
  if (cookies.size === 0) return undefined
  const given = new Map<string, string[]>()
  for (const [name, value] of request.headers) {
    if (name.toLowerCase() !== 'cookie') continue
    for (const pair of value.split(';')) {
      const equals = pair.indexOf('=')
      const key = (equals < 0 ? pair : pair.slice(0, equals)).trim()
      if (!cookies.has(key)) continue
      const known = given.get(key) ?? []
      known.push(equals < 0 ? '' : pair.slice(equals + 1).trim())
      given.set(key, known)
    }
  }
  for (const [key, parameter] of cookies) {
    const texts = given.get(key)
    if (texts === undefined) {
      if (parameter.required) return problem(`api:cookie ${key}`, 'the cookie is missing')
      continue
    }
    const reason = valueProblem(parameter, texts, budget)
    if (reason !== undefined) return problem(`api:cookie ${key}`, reason)
  }
  return undefined
}

function fieldsNamed(request: ApiRequest, wanted: string): readonly string[] {
  return request.headers.flatMap(([name, value]) =>
    name.length === wanted.length && name.toLowerCase() === wanted ? [value] : [],
  )
}

/** What the head alone says of the body. */
function contentProblem(operation: Operation, request: ApiRequest): ApiProblem | undefined {
  const lengths = fieldsNamed(request, 'content-length')
  const hasBody = lengths.some((length) => length.trim() !== '0') || fieldsNamed(request, 'transfer-encoding').length > 0
  if (!hasBody) return undefined
  if (operation.bodyTypes.length === 0) {
    // A body in chunks may still turn out to be empty.
    return lengths.length > 0 ? problem('api:body', 'the operation takes no body') : undefined
  }
  const type = bodyType(operation, request)
  return 'rule' in type ? type : undefined
}

function bodyType(operation: Operation, request: ApiRequest): BodyType | ApiProblem {
  const codings = fieldsNamed(request, 'content-encoding')
  if (codings.some((coding) => !/^(?:\s*identity\s*)?$/i.test(coding))) {
    return problem('api:type', 'an encoded body cannot be checked')
  }
  const types = fieldsNamed(request, 'content-type')
  if (types.length !== 1) return problem('api:type', types.length === 0 ? 'the content type is missing' : 'two content types')
  const written = types[0]!
  const end = written.indexOf(';')
  const type = (end < 0 ? written : written.slice(0, end)).trim().toLowerCase()
  const found = operation.bodyTypes.find(
    ({ range }) => range === type || range === '*/*' || (range.endsWith('/*') && type.startsWith(range.slice(0, -1))),
  )
  if (found === undefined || !/^[^\s/,]+\/[^\s/,]+$/.test(type)) return problem('api:type', 'the content type is not declared')
  const kind = kindOf(type)
  const charset = end < 0 ? null : /;\s*charset\s*=/i.exec(written)
  if (charset !== null && (kind === 'json' || kind === 'form')) {
    if (!/^[^;]*;\s*charset\s*=\s*(?:"utf-?8"|utf-?8)\s*$/i.test(written))
      return problem('api:type', 'a charset that is not UTF-8')
  }
  // By a range, whatever it turns out to be is read as that.
  return kind === found.kind ? found : { ...found, kind }
}

function bodyProblem(operation: Operation, request: ApiRequest, bytes: Uint8Array, budget: Budget): ApiProblem | undefined {
  if (bytes.length === 0) return operation.bodyRequired ? problem('api:body', 'the body is missing') : undefined
  if (operation.bodyTypes.length === 0) return problem('api:body', 'the operation takes no body')
  const type = bodyType(operation, request)
  if ('rule' in type) return type
  const { kind, node, fields } = type
  if (kind === 'json') return jsonProblem(node, bytes, budget)
  if (kind === 'form') return formProblem(fields, bytes, budget)
  if (kind === 'multipart') return multipartProblem(fields, fieldsNamed(request, 'content-type')[0]!, bytes, budget)
  return undefined
}

/** JSON pointer (RFC 6901), short and visible: it ends up in records. */
function pointer(path: readonly (string | number)[]): string {
  const text = path
    .map(
      (step) =>
        `/${String(step)
          .replaceAll('~', '~0')
          .replaceAll('/', '~1')
          .replace(/[^!-~]/g, '?')
          .slice(0, 48)}`,
    )
    .join('')
  return text === '' ? 'api:body' : `api:body ${text.slice(0, 160)}`
}

function conformity(node: SchemaNode, value: Json, budget: Budget): ApiProblem | undefined {
  const found = mismatch(node, value, budget)
  return found === undefined ? undefined : problem(pointer(found.path), found.reason)
}

function jsonProblem(node: SchemaNode | undefined, bytes: Uint8Array, budget: Budget): ApiProblem | undefined {
  let value: Json
  try {
    value = parseJson(bytes)
  } catch (error) {
    if (error instanceof JsonRefused) return problem('api:body', error.message)
    throw error
  }
  return node === undefined ? undefined : conformity(node, value, budget)
}

function formProblem(fields: FieldReadings | undefined, bytes: Uint8Array, budget: Budget): ApiProblem | undefined {
  const pairs = formPairs(bytesToText(bytes), FORM_FIELDS_MAX)
  if (typeof pairs === 'string') return problem('api:body', pairs)
  return fields === undefined ? undefined : fieldsProblem(fields, pairs, budget)
}

function fieldsProblem(
  fields: FieldReadings,
  pairs: readonly (readonly [string, string | undefined])[],
  budget: Budget,
): ApiProblem | undefined {
  const object = fields.object(pairs, budget)
  if (typeof object === 'string') return problem(pointer([object]), 'given more than once')
  return conformity(fields.node, object, budget)
}

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Byte text as text; undefined when it is not UTF-8. */
function decoded(text: string): string | undefined {
  try {
    return DECODER.decode(Uint8Array.from(text, (character) => character.charCodeAt(0)))
  } catch {
    return undefined
  }
}

/** Files are held against their fields' names only. */
function multipartProblem(
  fields: FieldReadings | undefined,
  contentType: string,
  bytes: Uint8Array,
  budget: Budget,
): ApiProblem | undefined {
  const boundary = multipartBoundary(contentType)
  if (boundary === undefined) return problem('api:type', 'the boundary is missing or malformed')
  const parsed = parseMultipart(bytesToText(bytes), boundary, false)
  const wrong = parsed.error ?? parsed.strictError ?? (parsed.over ? 'too many parts' : undefined)
  if (wrong !== undefined) return problem('api:body', `the form cannot be read one way only: ${wrong}`)
  if (fields === undefined) return undefined
  // A file input left empty arrives as a part with an empty file name, which is listed as a field as well.
  const empty = parsed.files.flatMap(({ name, fileName }) => (fileName === '' ? [name] : []))
  const pairs: (readonly [string, string | undefined])[] = []
  for (const [name, text] of parsed.fields) {
    const twin = empty.indexOf(name)
    if (twin >= 0) {
      empty.splice(twin, 1)
      continue
    }
    const pair = [decoded(name), decoded(text)] as const
    if (pair[0] === undefined || pair[1] === undefined) return problem('api:body', 'a field is not UTF-8')
    pairs.push([pair[0], pair[1]])
  }
  for (const file of parsed.files) {
    const name = decoded(file.name)
    if (name === undefined) return problem('api:body', 'a field is not UTF-8')
    pairs.push([name, undefined])
  }
  return fieldsProblem(fields, pairs, budget)
}
