/**
 * The part of XML 1.0 with namespaces that SAML needs, and no more: no document type, so no entities but the five that everybody has; no comments, no
 * CDATA, no processing instructions. What is outside of it is refused as a whole, since two readers that take different parts of a document for the
 * same are how signatures are evaded. Names are ASCII. No recursion: depth costs a bound.
 */

export const XML_BYTES_MAX = 65_536
export const XML_DEPTH_MAX = 32
export const XML_ELEMENTS_MAX = 2_048
export const XML_ATTRIBUTES_MAX = 64

export class XmlInvalid extends Error {
  override readonly name = 'XmlInvalid'
  readonly code = 'XML_INVALID'
  /** In characters, from 0. */
  readonly at: number
  constructor(at: number, message: string) {
    super(`at character ${at}: ${message}`)
    this.at = at
  }
}

export interface XmlAttribute {
  readonly prefix: string
  readonly local: string
  /** Empty: none. */
  readonly namespace: string
  readonly value: string
}

export interface XmlElement {
  readonly prefix: string
  readonly local: string
  /** Empty: none. */
  readonly namespace: string
  /** Without declarations of namespaces. */
  readonly attributes: readonly XmlAttribute[]
  /** All that hold here, by prefix; the default by the empty one. */
  readonly scope: ReadonlyMap<string, string>
  readonly children: readonly XmlNode[]
}

export type XmlNode = XmlElement | string

interface Open {
  readonly name: string
  readonly element: XmlElement
  readonly children: XmlNode[]
}

const XML_NAMESPACE = 'http://www.w3.org/XML/1998/namespace'
const XMLNS_NAMESPACE = 'http://www.w3.org/2000/xmlns/'
const NAME = /(?:([A-Za-z_][A-Za-z0-9._-]{0,127}):)?([A-Za-z_][A-Za-z0-9._-]{0,127})/y
const DECLARATION =
  /^<\?xml version=(?:"1\.0"|'1\.0')(?: encoding=(?:"utf-8"|'utf-8'))?(?: standalone=(?:"(?:yes|no)"|'(?:yes|no)'))? ?\?>/i
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
/** What is no Char (section 2.2). */
const NO_CHAR = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff\ud800-\udfff]/u

/** @throws {XmlInvalid} */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > XML_BYTES_MAX) throw new XmlInvalid(0, `a document has at most ${XML_BYTES_MAX} bytes, not ${bytes.length}`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new XmlInvalid(0, 'expected UTF-8')
  }
  return new Parser(text.replace(/\r\n?/g, '\n')).document()
}

class Parser {
  readonly #text: string
  readonly #open: Open[] = []
  #at = 0
  #elements = 0
  #root: XmlElement | undefined

  constructor(text: string) {
    this.#text = text
  }

  #fail(message: string): never {
    throw new XmlInvalid(this.#at, message)
  }

  document(): XmlElement {
    const text = this.#text
    const bad = NO_CHAR.exec(text)
    if (bad !== null) throw new XmlInvalid(bad.index, 'a character that XML does not have')
    this.#at = DECLARATION.exec(text)?.[0].length ?? 0
    while (this.#at < text.length) {
      const next = text.indexOf('<', this.#at)
      const end = next < 0 ? text.length : next
      if (end > this.#at) this.#characters(text.slice(this.#at, end))
      this.#at = end
      if (next < 0) break
      const after = text[next + 1]
      if (after === '!') this.#fail('no document types, comments or CDATA here')
      if (after === '?') this.#fail('no processing instructions here')
      if (after === '/') this.#close()
      else this.#begin()
    }
    if (this.#open.length > 0) this.#fail(`${this.#open.at(-1)?.name} is not closed`)
    return this.#root ?? this.#fail('expected an element')
  }

  #characters(raw: string): void {
    const parent = this.#open.at(-1)
    if (parent === undefined) {
      if (/[^ \t\n]/.test(raw)) this.#fail('text outside of the document’s element')
      return
    }
    if (raw.includes(']]>')) this.#fail(']]> in text')
    const { children } = parent
    const text = this.#expanded(raw)
    // One run of characters is one node: what is read of it is all of it.
    if (typeof children.at(-1) === 'string') children.push(`${children.pop() as string}${text}`)
    else children.push(text)
  }

  #expanded(raw: string): string {
    if (!raw.includes('&')) return raw
    return raw.replace(/&([^;&]{0,10});?/g, (whole, name: string) => {
      const known = whole.endsWith(';') && Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined
      if (known !== undefined) return known
      const [, hex, decimal] = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(name) ?? []
      const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16)
      if (!whole.endsWith(';') || !(code > 0 && code <= 0x10ffff)) this.#fail('a reference that is not known here')
      const character = String.fromCodePoint(code)
      if (NO_CHAR.test(character)) this.#fail('a reference to a character that XML does not have')
      return character
    })
  }

  #name(): readonly [string, string] {
    NAME.lastIndex = this.#at
    const match = NAME.exec(this.#text) ?? this.#fail('expected a name of ASCII letters, digits and . _ -')
    this.#at = NAME.lastIndex
    return [match[1] ?? '', match[2] as string]
  }

  #blank(): boolean {
    const from = this.#at
    while (this.#at < this.#text.length && ' \t\n'.includes(this.#text[this.#at] as string)) this.#at += 1
    return this.#at > from
  }

  #begin(): void {
    this.#elements += 1
    if (this.#elements > XML_ELEMENTS_MAX) this.#fail(`more than ${XML_ELEMENTS_MAX} elements`)
    if (this.#open.length >= XML_DEPTH_MAX) this.#fail(`elements within more than ${XML_DEPTH_MAX} others`)
    const parent = this.#open.at(-1)
    if (parent === undefined && this.#root !== undefined) this.#fail('a second element at the top')
    this.#at += 1
    const [prefix, local] = this.#name()
    const raw: { readonly prefix: string; readonly local: string; readonly value: string }[] = []
    for (;;) {
      const isApart = this.#blank()
      const next = this.#text[this.#at]
      if (next === '>' || next === '/') break
      if (!isApart) this.#fail('expected a blank, / or >')
      if (raw.length >= XML_ATTRIBUTES_MAX) this.#fail(`more than ${XML_ATTRIBUTES_MAX} attributes`)
      raw.push(this.#attribute())
    }
    const scope = this.#scope(raw, parent?.element.scope ?? new Map([['xml', XML_NAMESPACE]]))
    const attributes = this.#attributes(raw, scope)
    const namespace =
      prefix === '' ? (scope.get('') ?? '') : (scope.get(prefix) ?? this.#fail(`the prefix ${prefix} is not declared`))
    const children: XmlNode[] = []
    const element: XmlElement = { prefix, local, namespace, attributes, scope, children }
    if (parent === undefined) this.#root = element
    else parent.children.push(element)
    const isEmpty = this.#text[this.#at] === '/'
    if (isEmpty) this.#at += 1
    if (this.#text[this.#at] !== '>') this.#fail('expected >')
    const name = prefix === '' ? local : `${prefix}:${local}`
    this.#at += 1
    if (!isEmpty) this.#open.push({ name, element, children })
  }

  #attribute(): { readonly prefix: string; readonly local: string; readonly value: string } {
    const [prefix, local] = this.#name()
    this.#blank()
    if (this.#text[this.#at] !== '=') this.#fail('expected =')
    this.#at += 1
    this.#blank()
    const quote = this.#text[this.#at]
    if (quote !== '"' && quote !== "'") this.#fail('expected a quote')
    const end = this.#text.indexOf(quote, this.#at + 1)
    if (end < 0) this.#fail('a value without an end')
    const raw = this.#text.slice(this.#at + 1, end)
    if (raw.includes('<')) this.#fail('< in a value')
    // Section 3.3.3: written out, they are blanks; by reference, themselves.
    const value = this.#expanded(raw.replace(/[\t\n]/g, ' '))
    this.#at = end + 1
    return { prefix, local, value }
  }

  #scope(
    raw: readonly { readonly prefix: string; readonly local: string; readonly value: string }[],
    outer: ReadonlyMap<string, string>,
  ): ReadonlyMap<string, string> {
    const declared = raw.filter(({ prefix, local }) => prefix === 'xmlns' || (prefix === '' && local === 'xmlns'))
    if (declared.length === 0) return outer
    const scope = new Map(outer)
    const seen = new Set<string>()
    for (const { prefix, local, value } of declared) {
      const name = prefix === '' ? '' : local
      if (seen.has(name)) this.#fail(`the prefix ${name} is declared twice`)
      seen.add(name)
      if (name === 'xml' || name === 'xmlns' || value === XML_NAMESPACE || value === XMLNS_NAMESPACE)
        this.#fail('xml and xmlns are not to be declared')
      if (value === '' ? name !== '' : !/^[\x21-\x7e]{1,512}$/.test(value)) this.#fail('a namespace is a printable address')
      scope.set(name, value)
    }
    return scope
  }

  #attributes(
    raw: readonly { readonly prefix: string; readonly local: string; readonly value: string }[],
    scope: ReadonlyMap<string, string>,
  ): readonly XmlAttribute[] {
    const seen = new Set<string>()
    const attributes: XmlAttribute[] = []
    for (const { prefix, local, value } of raw) {
      if (prefix === 'xmlns' || (prefix === '' && local === 'xmlns')) continue
      const namespace = prefix === '' ? '' : (scope.get(prefix) ?? this.#fail(`the prefix ${prefix} is not declared`))
      const name = `${namespace} ${local}`
      if (seen.has(name)) this.#fail(`the attribute ${local} comes twice`)
      seen.add(name)
      attributes.push({ prefix, local, namespace, value })
    }
    return attributes
  }

  #close(): void {
    const open = this.#open.pop() ?? this.#fail('an end without a beginning')
    this.#at += 2
    if (!this.#text.startsWith(open.name, this.#at)) this.#fail(`expected the end of ${open.name}`)
    this.#at += open.name.length
    this.#blank()
    if (this.#text[this.#at] !== '>') this.#fail('expected >')
    this.#at += 1
  }
}

// Reading.

/** Those of this name, among the children. */
export function childrenOf(element: XmlElement, namespace: string, local: string): readonly XmlElement[] {
  return element.children.filter(
    (child): child is XmlElement => typeof child !== 'string' && child.namespace === namespace && child.local === local,
  )
}

/** All elements below, in the order of the document. */
export function* descendants(element: XmlElement): Generator<XmlElement, void, undefined> {
  const waiting: XmlElement[] = [element]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next !== element) yield next
    const children = next.children.filter((child): child is XmlElement => typeof child !== 'string')
    waiting.push(...children.toReversed())
  }
}

/** Of an attribute without a namespace. */
export function attributeOf(element: XmlElement, local: string): string | undefined {
  return element.attributes.find((one) => one.namespace === '' && one.local === local)?.value
}

/** The text of an element that holds text alone; undefined: it holds elements. */
export function textOf({ children }: XmlElement): string | undefined {
  if (children.some((child) => typeof child !== 'string')) return undefined
  return children.join('')
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

/** Text as it may stand in elements and in values, for documents of our own. */
export function xmlText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] as string)
}
