/**
 * Requests for a decision: the Request of XACML 3.0 (sections 5.42 to 5.46) and of its JSON profile 1.1 (sections 4 and 5). With several of one
 * category, or references, one request asks several questions (multiple decision profile, sections 2.3 and 2.4). Content is what paths of policies are about.
 */
import { parseStrictObject } from '../strict-json.ts'
import { fail, NAMESPACE, required } from './expressions.ts'
import { parseValue, TYPES, type TypeName, typeOf, type Value } from './values.ts'
import { type Place, parseXml, XacmlInvalid, XML_CHARS_MAX, type XmlElement } from './xml.ts'
import { type PathNode, pathRoot } from './xpath.ts'

const ATTRIBUTES_MAX = 5_000
const QUESTIONS_MAX = 100
const JSON_DEPTH_MAX = 64

export const CATEGORIES = {
  AccessSubject: 'urn:oasis:names:tc:xacml:1.0:subject-category:access-subject',
  RecipientSubject: 'urn:oasis:names:tc:xacml:1.0:subject-category:recipient-subject',
  IntermediarySubject: 'urn:oasis:names:tc:xacml:1.0:subject-category:intermediary-subject',
  Codebase: 'urn:oasis:names:tc:xacml:1.0:subject-category:codebase',
  RequestingMachine: 'urn:oasis:names:tc:xacml:1.0:subject-category:requesting-machine',
  Resource: 'urn:oasis:names:tc:xacml:3.0:attribute-category:resource',
  Action: 'urn:oasis:names:tc:xacml:3.0:attribute-category:action',
  Environment: 'urn:oasis:names:tc:xacml:3.0:attribute-category:environment',
} as const

export interface RequestAttribute {
  readonly id: string
  readonly issuer: string | undefined
  /** It comes back with the result. */
  readonly isIncluded: boolean
  readonly values: readonly Value[]
}

export interface AttributeGroup {
  readonly category: string
  readonly reference: string | undefined
  readonly attributes: readonly RequestAttribute[]
  /** The document of its Content. */
  readonly content: PathNode | undefined
}

export interface XacmlRequest {
  readonly returnsPolicyIds: boolean
  /** One decision for all questions. */
  readonly isCombined: boolean
  /** At least one, each with all that it knows. */
  readonly questions: readonly (readonly AttributeGroup[])[]
}

/** XML or JSON, whichever it is. @throws {XacmlInvalid} */
export function parseRequest(text: string): XacmlRequest {
  return /^[\ufeff \t\r\n]*\{/.test(text) ? parseJsonRequest(text) : parseXmlRequest(text)
}

/** @throws {XacmlInvalid} */
export function parseXmlRequest(text: string): XacmlRequest {
  const root = parseXml(text)
  if (root.name !== 'Request' || root.namespace !== NAMESPACE) fail('expected a Request of XACML 3.0', root)
  let count = 0
  const groups: AttributeGroup[] = []
  let references: readonly (readonly string[])[] | undefined
  for (const child of root.children) {
    if (child.name === 'Attributes') {
      groups.push({
        category: required(child, 'Category'),
        reference: child.attributes.get('xml:id'),
        attributes: child.children
          .filter(({ name }) => name !== 'Content')
          .map((attribute) => {
            if (attribute.name !== 'Attribute') fail(`${attribute.name} does not belong into Attributes`, attribute)
            if (++count > ATTRIBUTES_MAX) fail(`more than ${ATTRIBUTES_MAX} attributes`, attribute)
            return xmlAttribute(attribute)
          }),
        content: xmlContent(child),
      })
    } else if (child.name === 'MultiRequests')
      references = child.children.map((one) => one.children.map((each) => required(each, 'ReferenceId')))
    else if (child.name !== 'RequestDefaults') fail(`${child.name} does not belong into Request`, child)
  }
  const flag = (name: string): boolean => /^(?:true|1)$/.test(root.attributes.get(name)?.trim() ?? 'false')
  const place = root.place
  return {
    returnsPolicyIds: flag('ReturnPolicyIdList'),
    isCombined: flag('CombinedDecision'),
    questions: questionsOf(groups, references, place),
  }
}

function xmlContent(group: XmlElement): PathNode | undefined {
  const [content, second] = group.children.filter(({ name }) => name === 'Content')
  if (content === undefined) return undefined
  const [document, ...more] = content.children
  if (second !== undefined || document === undefined || more.length > 0)
    return fail('expected one Content with one element', second ?? content)
  return pathRoot(document)
}

function xmlAttribute(element: XmlElement): RequestAttribute {
  const values = element.children.flatMap((child): readonly Value[] => {
    if (child.name !== 'AttributeValue') fail(`${child.name} does not belong into Attribute`, child)
    const id = required(child, 'DataType')
    const type = typeOf(id)
    // Of a type that no policy here can ask for.
    if (type === undefined) return []
    const value = child.children.length > 0 ? undefined : parseValue(type, child.text)
    return [value ?? fail(`${JSON.stringify(child.text.trim().slice(0, 80))} is no ${type}`, child)]
  })
  return {
    id: required(element, 'AttributeId'),
    issuer: element.attributes.get('Issuer'),
    isIncluded: /^(?:true|1)$/.test(element.attributes.get('IncludeInResult')?.trim() ?? 'false'),
    values,
  }
}

/** Each of several of one category with each of the others, unless references say which. */
function questionsOf(
  groups: readonly AttributeGroup[],
  references: readonly (readonly string[])[] | undefined,
  place: Place,
): readonly (readonly AttributeGroup[])[] {
  const tooMany = (): never => {
    throw new XacmlInvalid(`more than ${QUESTIONS_MAX} questions in one request`, place)
  }
  if (references !== undefined) {
    if (references.length > QUESTIONS_MAX) tooMany()
    if (references.length === 0) throw new XacmlInvalid('MultiRequests without a RequestReference', place)
    return references.map((names) =>
      names.map((name) => {
        const found = groups.filter(({ reference }) => reference === name)
        if (found.length !== 1) throw new XacmlInvalid(`${found.length} Attributes are called ${name.slice(0, 80)}`, place)
        return found[0] as AttributeGroup
      }),
    )
  }
  const byCategory = Map.groupBy(groups, ({ category }) => category)
  let questions: readonly (readonly AttributeGroup[])[] = [[]]
  for (const same of byCategory.values()) {
    if (questions.length * same.length > QUESTIONS_MAX) tooMany()
    questions = questions.flatMap((before) => same.map((one) => [...before, one]))
  }
  return questions
}

// The JSON profile.

type Json = Readonly<Record<string, unknown>>
const WHERE: Place = { line: 1, column: 1 }

/** @throws {XacmlInvalid} By JSON pointer. */
export function parseJsonRequest(text: string): XacmlRequest {
  if (text.length > XML_CHARS_MAX) throw new XacmlInvalid(`longer than ${XML_CHARS_MAX} characters`, WHERE)
  const document = isTooDeep(text) ? undefined : parseStrictObject(text.replace(/^\ufeff/, ''))
  if (document === undefined) throw new XacmlInvalid('no JSON object, one with the same key twice, or one too deep', WHERE)
  const request = objectAt(document.Request, '/Request')
  const groups: AttributeGroup[] = []
  let count = 0
  const add = (value: unknown, category: string | undefined, pointer: string): void => {
    for (const [i, one] of listOf(value).entries()) {
      const at = Array.isArray(value) ? `${pointer}/${i}` : pointer
      const group = objectAt(one, at)
      const attributes = listOf(group.Attribute).map((each, j) => {
        if (++count > ATTRIBUTES_MAX) throw wrong(at, `more than ${ATTRIBUTES_MAX} attributes`)
        return jsonAttribute(objectAt(each, `${at}/Attribute/${j}`), `${at}/Attribute/${j}`)
      })
      groups.push({
        category: category ?? categoryOf(textAt(group.CategoryId, `${at}/CategoryId`)),
        reference: group.Id === undefined ? undefined : textAt(group.Id, `${at}/Id`),
        attributes,
        content: group.Content === undefined ? undefined : jsonContent(textAt(group.Content, `${at}/Content`), `${at}/Content`),
      })
    }
  }
  for (const [name, value] of Object.entries(request)) {
    if (Object.hasOwn(CATEGORIES, name)) add(value, CATEGORIES[name as keyof typeof CATEGORIES], `/Request/${name}`)
    else if (name === 'Category') add(value, undefined, '/Request/Category')
    else if (!['ReturnPolicyIdList', 'CombinedDecision', 'MultiRequests', 'XPathVersion'].includes(name))
      throw wrong(`/Request/${name.slice(0, 60)}`, 'is not known in a Request')
  }
  const flag = (name: string): boolean => {
    const value = request[name] ?? false
    if (typeof value !== 'boolean') throw wrong(`/Request/${name}`, 'expected true or false')
    return value
  }
  const multi = request.MultiRequests === undefined ? undefined : objectAt(request.MultiRequests, '/Request/MultiRequests')
  const references =
    multi &&
    listOf(multi.RequestReference).map((one, i) => {
      const at = `/Request/MultiRequests/RequestReference/${i}`
      return listOf(objectAt(one, at).ReferenceId).map((each, j) => textAt(each, `${at}/ReferenceId/${j}`))
    })
  return {
    returnsPolicyIds: flag('ReturnPolicyIdList'),
    isCombined: flag('CombinedDecision'),
    questions: questionsOf(groups, references, WHERE),
  }
}

/** XML as text, or in base64 (section 4.2.3). */
function jsonContent(text: string, at: string): PathNode {
  const isPlain = text.trimStart().startsWith('<')
  try {
    return pathRoot(parseXml(isPlain ? text : Buffer.from(text, 'base64').toString('utf8')))
  } catch (error) {
    if (error instanceof XacmlInvalid) throw wrong(at, error.message)
    throw error
  }
}

function jsonAttribute(attribute: Json, at: string): RequestAttribute {
  const all = Array.isArray(attribute.Value) ? (attribute.Value as readonly unknown[]) : [attribute.Value]
  const given = attribute.DataType === undefined ? undefined : textAt(attribute.DataType, `${at}/DataType`)
  const type = given === undefined ? inferred(all, at) : (typeOf(given) ?? TYPES.find((name) => name === given))
  const isIncluded = attribute.IncludeInResult ?? false
  if (typeof isIncluded !== 'boolean') throw wrong(`${at}/IncludeInResult`, 'expected true or false')
  return {
    id: textAt(attribute.AttributeId, `${at}/AttributeId`),
    issuer: attribute.Issuer === undefined ? undefined : textAt(attribute.Issuer, `${at}/Issuer`),
    isIncluded,
    values:
      type === undefined
        ? []
        : all.map((value, i) => jsonValue(type, value, Array.isArray(attribute.Value) ? `${at}/Value/${i}` : `${at}/Value`)),
  }
}

/** Section 3.3.1: what JSON has types for needs none; a number with a part after the point makes all of them doubles. */
function inferred(all: readonly unknown[], at: string): TypeName {
  if (all.every((value) => typeof value === 'string')) return 'string'
  if (all.every((value) => typeof value === 'boolean')) return 'boolean'
  if (all.every((value) => typeof value === 'number')) return all.every(Number.isInteger) ? 'integer' : 'double'
  throw wrong(`${at}/Value`, 'expected texts, numbers or booleans of one kind')
}

function jsonValue(type: TypeName, value: unknown, at: string): Value {
  const text =
    typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
  const isSafe = typeof value !== 'number' || type !== 'integer' || Number.isSafeInteger(value)
  const parsed = text === undefined || !isSafe ? undefined : parseValue(type, text)
  if (parsed === undefined) throw wrong(at, `is no ${type}`)
  return parsed
}

function categoryOf(id: string): string {
  const found = Object.values(CATEGORIES).find((known) => known === id || known.endsWith(`:${id}`))
  return found ?? id
}

function wrong(pointer: string, message: string): XacmlInvalid {
  return new XacmlInvalid(`${pointer}: ${message}`, WHERE)
}

function objectAt(value: unknown, at: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(at, 'expected an object')
  return value as Json
}

function textAt(value: unknown, at: string): string {
  if (typeof value !== 'string' || value === '') throw wrong(at, 'expected text')
  return value
}

function listOf(value: unknown): readonly unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? (value as readonly unknown[]) : [value]
}

/** Brackets within strings count too: what is refused for them is not worth a second reader. */
function isTooDeep(text: string): boolean {
  let depth = 0
  for (const character of text) {
    if (character === '{' || character === '[') depth += 1
    else if (character === '}' || character === ']') depth -= 1
    if (depth > JSON_DEPTH_MAX) return true
  }
  return false
}
