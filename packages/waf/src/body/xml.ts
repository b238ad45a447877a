import { ARGS_MAX, XML_DEPTH_MAX } from '../limits.ts'
import { trim } from '../transformations/blanks.ts'
import { htmlEntityDecode } from '../transformations/html-entity-decode.ts'

/** An element: where it stands, and which part of the document's text is inside of it. */
export interface XmlElement {
  /** Names from the root down to itself, without prefixes. */
  readonly path: readonly string[]
  readonly from: number
  readonly to: number
}

export interface XmlAttribute {
  /** Path of its element. */
  readonly path: readonly string[]
  readonly name: string
  readonly value: string
}

export interface XmlText {
  readonly path: readonly string[]
  readonly value: string
}

export interface XmlDocument {
  /** All character data, one piece after the other. */
  readonly text: string
  readonly elements: readonly XmlElement[]
  readonly attributes: readonly XmlAttribute[]
  readonly texts: readonly XmlText[]
  /** Document types and processing instructions, as they stand. */
  readonly declarations: readonly string[]
  /** Not well-formed: where parsers stop, and so did this one. What came before is kept. */
  readonly error: string | undefined
  readonly over: boolean
}

export const NO_XML: XmlDocument = {
  text: '',
  elements: [],
  attributes: [],
  texts: [],
  declarations: [],
  error: undefined,
  over: false,
}

interface OpenElement {
  readonly name: string
  readonly path: readonly string[]
  readonly from: number
}

const NAME = /[^\s/>=<"'!?&]+/y
const BLANKS = /[ \t\r\n]*/y

/**
 * XML 1.0 over bytes, without a document type: entities that a document declares are never expanded, external ones never
 * fetched. Depth and the number of values are bounded.
 */
export function parseXml(text: string): XmlDocument {
  const elements: XmlElement[] = []
  const attributes: XmlAttribute[] = []
  const texts: XmlText[] = []
  const declarations: string[] = []
  const stack: OpenElement[] = []
  const pieces: string[] = []
  let length = 0
  let error: string | undefined
  let over = false
  let roots = 0
  let at = text.startsWith('\xef\xbb\xbf') ? 3 : 0

  const addText = (value: string): void => {
    if (value === '') return
    pieces.push(value)
    length += value.length
    if (trim(value) === '') return
    texts.push({ path: stack.at(-1)?.path ?? [], value })
    if (stack.length === 0) error ??= 'text outside of the root element'
  }
  const skipTo = (mark: string, from: number): number => {
    const end = text.indexOf(mark, from)
    if (end < 0) error ??= `${mark} is missing`
    return end < 0 ? text.length : end + mark.length
  }
  const close = ({ path, from }: OpenElement): void => void elements.push({ path, from, to: length })
  const sticky = (pattern: RegExp): string => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0] ?? ''
    at += found.length
    return found
  }

  while (at < text.length) {
    if (
      texts.length + attributes.length + elements.length + declarations.length >= ARGS_MAX * 4 ||
      stack.length >= XML_DEPTH_MAX
    ) {
      over = true
      break
    }
    const open = text.indexOf('<', at)
    addText(htmlEntityDecode(text.slice(at, open < 0 ? text.length : open)))
    if (open < 0) break
    if (text.startsWith('<![CDATA[', open)) {
      const end = text.indexOf(']]>', open)
      addText(text.slice(open + 9, end < 0 ? text.length : end))
      at = skipTo(']]>', open)
      continue
    }
    if (text.startsWith('<!--', open)) {
      at = skipTo('-->', open + 4)
      continue
    }
    if (text.startsWith('<?', open)) {
      at = skipTo('?>', open)
      if (!/^<\?xml[ \t\r\n]/.test(text.slice(open, open + 6))) declarations.push(text.slice(open, at))
      continue
    }
    if (text.startsWith('<!', open)) {
      at = doctypeEnd(text, open)
      declarations.push(text.slice(open, at))
      if (at >= text.length) error ??= 'a declaration that is not closed'
      continue
    }
    at = open + 1
    if (text[at] === '/') {
      at += 1
      const name = localName(sticky(NAME))
      const top = stack.pop()
      if (top === undefined || top.name !== name) {
        error ??= `</${name.slice(0, 40)}> closes nothing`
        if (top !== undefined) close(top)
      } else close(top)
      at = skipTo('>', at)
      continue
    }
    const name = localName(sticky(NAME))
    if (name === '') {
      error ??= 'a < that begins no tag'
      continue
    }
    if (stack.length === 0 && ++roots > 1) error ??= 'two root elements'
    const path = [...(stack.at(-1)?.path ?? []), name]
    for (;;) {
      sticky(BLANKS)
      if (at >= text.length || text[at] === '>' || text[at] === '/') break
      const attribute = sticky(NAME)
      sticky(BLANKS)
      if (text[at] !== '=') {
        error ??= 'an attribute without a value'
        if (attribute === '') at += 1
        continue
      }
      at += 1
      sticky(BLANKS)
      const quote = text[at]
      if (quote !== '"' && quote !== "'") {
        error ??= 'an attribute value without quotes'
        continue
      }
      const end = text.indexOf(quote, at + 1)
      const stop = end < 0 ? text.length : end
      if (end < 0) error ??= 'an attribute value that is not closed'
      // Namespace declarations are no attributes (Namespaces in XML section 2), but their values are text that somebody sent.
      if (attributes.length < ARGS_MAX * 2)
        attributes.push({ path, name: localName(attribute), value: htmlEntityDecode(text.slice(at + 1, stop)) })
      else over = true
      at = stop + 1
    }
    const element = { name, path, from: length }
    if (text[at] === '/') {
      close(element)
      at = skipTo('>', at)
    } else if (text[at] === '>') {
      stack.push(element)
      at += 1
    } else {
      error ??= 'a tag that is not closed'
      close(element)
    }
  }
  if (stack.length > 0) error ??= 'an element that is not closed'
  if (roots === 0) error ??= 'no element'
  while (stack.length > 0) close(stack.pop()!)
  return { text: pieces.join(''), elements, attributes, texts, declarations, error, over }
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

/** Behind the `>` of a declaration; an internal subset in brackets and quoted strings are passed over. */
function doctypeEnd(text: string, open: number): number {
  let depth = 0
  for (let at = open; at < text.length; at += 1) {
    const c = text[at]
    if (c === '"' || c === "'") {
      const end = text.indexOf(c, at + 1)
      if (end < 0) return text.length
      at = end
    } else if (c === '[') depth += 1
    else if (c === ']') depth -= 1
    else if (c === '>' && depth <= 0) return at + 1
  }
  return text.length
}

/** Texts and attribute values, each judged alone. */
export function xmlValues(text: string): { readonly values: readonly string[]; readonly over: boolean } {
  const { texts, attributes, over } = parseXml(text)
  const values = [...texts.map(({ value }) => trim(value)), ...attributes.map(({ value }) => value)].filter(
    (value) => value !== '',
  )
  return { values, over: over || values.length > ARGS_MAX }
}

/** What an XPath expression selects, as texts. */
export type XmlQuery = (document: XmlDocument) => readonly string[]

interface Step {
  readonly deep: boolean
  /** `*` for any. */
  readonly name: string
}

/**
 * Location paths of XPath 1.0 without predicates: steps of names or `*` joined by `/` and `//`, at the end `@name`, `@*` or
 * `text()`. Prefixes of names are passed over. @returns undefined for what is not one of these.
 */
export function compileXmlQuery(source: string): XmlQuery | undefined {
  const steps: Step[] = []
  let last: { readonly deep: boolean; readonly kind: 'attribute' | 'text'; readonly name: string } | undefined
  let at = 0
  while (at < source.length) {
    if (source[at] !== '/' || last !== undefined) return undefined
    const deep = source[at + 1] === '/'
    at += deep ? 2 : 1
    const part = /^(?:(text)\(\)|(@?)(?:[A-Za-z_][\w.-]*:)?(\*|[A-Za-z_][\w.-]*))/.exec(source.slice(at))
    if (part === null) return undefined
    at += part[0].length
    if (part[1] !== undefined) last = { deep, kind: 'text', name: '*' }
    else if (part[2] === '@') last = { deep, kind: 'attribute', name: part[3]! }
    else steps.push({ deep, name: part[3]! })
  }
  if (last === undefined) {
    return steps.length === 0
      ? undefined
      : ({ elements, text }) => elements.filter(({ path }) => leads(steps, path)).map(({ from, to }) => text.slice(from, to))
  }
  const { kind, name, deep } = last
  // `//@x` and `//text()` look at any element below: one more step of any name and depth, or none.
  const inside = (path: readonly string[]): boolean =>
    deep ? steps.length === 0 || path.some((_, i) => leads(steps, path.slice(0, i + 1))) : leads(steps, path)
  if (kind === 'text') return ({ texts }) => texts.filter(({ path }) => inside(path)).map(({ value }) => value)
  return ({ attributes }) =>
    attributes
      .filter((attribute) => (name === '*' || attribute.name === name) && inside(attribute.path))
      .map(({ value }) => value)
}

/** Do steps lead from the root to the end of a path? */
function leads(steps: readonly Step[], path: readonly string[], step = 0, from = 0): boolean {
  if (step === steps.length) return from === path.length
  const { deep, name } = steps[step]!
  const stop = deep ? path.length : Math.min(path.length, from + 1)
  for (let i = from; i < stop; i += 1) {
    if ((name === '*' || name === path[i]) && leads(steps, path, step + 1, i + 1)) return true
  }
  return false
}
