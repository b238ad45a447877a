/**
 * XML 1.0 with namespaces, as much as XACML is written in: elements, attributes, text, CDATA, comments. No document types, no entities but the five
 * that XML has, no processing instructions but the declaration: what expands or reaches outside is refused. Every element knows its place.
 */

export const XML_CHARS_MAX = 1_048_576
const DEPTH_MAX = 100
const ELEMENTS_MAX = 50_000
const ATTRIBUTES_MAX = 64
const XML_NAMESPACE = 'http://www.w3.org/XML/1998/namespace'
const NAME = /[A-Za-z_\u00c0-\ufffd][A-Za-z0-9_.\u00b7-\ufffd-]*(?::[A-Za-z_\u00c0-\ufffd][A-Za-z0-9_.\u00b7-\ufffd-]*)?/y
const SPACE = /[ \t\r\n]*/y
const FORBIDDEN =
  /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/
const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
  ['apos', "'"],
])

/** Of what is wrong, from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

export class XacmlInvalid extends Error {
  override readonly name = 'XacmlInvalid'
  readonly code = 'XACML_INVALID'
  readonly place: Place
  readonly hint: string | undefined
  constructor(message: string, place: Place, hint?: string) {
    super(message)
    this.place = place
    this.hint = hint
  }
}

export interface XmlElement {
  /** Without its prefix. */
  readonly name: string
  /** Empty: none. */
  readonly namespace: string
  /** Those without a prefix, which have no namespace, and xml:id. */
  readonly attributes: ReadonlyMap<string, string>
  readonly children: readonly XmlElement[]
  /** All of its own text, CDATA included. */
  readonly text: string
  /** Attributes with a prefix, but for xml:id. */
  readonly others: readonly { readonly name: string; readonly namespace: string; readonly value: string }[]
  /** Children and texts as they follow one another. */
  readonly nodes: readonly (XmlElement | string)[]
  /** In scope here, by prefix. */
  readonly namespaces: ReadonlyMap<string, string>
  readonly place: Place
}

/** @throws {XacmlInvalid} */
export function parseXml(text: string): XmlElement {
  return new XmlReader(text).document()
}

interface Open {
  readonly qualified: string
  readonly element: {
    name: string
    namespace: string
    attributes: Map<string, string>
    children: XmlElement[]
    text: string
    others: XmlElement['others']
    nodes: (XmlElement | string)[]
    namespaces: ReadonlyMap<string, string>
    place: Place
  }
  readonly namespaces: ReadonlyMap<string, string>
}

class XmlReader {
  readonly #text: string
  readonly #lines: number[] = [0]
  #at = 0
  #elements = 0

  constructor(text: string) {
    this.#text = text.startsWith('\ufeff') ? text.slice(1) : text
    for (let at = this.#text.indexOf('\n'); at >= 0; at = this.#text.indexOf('\n', at + 1)) this.#lines.push(at + 1)
    if (text.length > XML_CHARS_MAX) throw this.#wrong(`longer than ${XML_CHARS_MAX} characters`, 0)
    const bad = FORBIDDEN.exec(this.#text)
    if (bad !== null) throw this.#wrong('a character that XML does not have', bad.index)
  }

  document(): XmlElement {
    this.#declaration()
    let root: XmlElement | undefined
    while (this.#at < this.#text.length) {
      this.#space()
      if (this.#at >= this.#text.length) break
      if (this.#skipComment()) continue
      if (this.#text[this.#at] !== '<') throw this.#wrong('text outside of the root element')
      if (root !== undefined) throw this.#wrong('a second root element')
      root = this.#tree()
    }
    if (root === undefined) throw this.#wrong('no root element')
    return root
  }

  #tree(): XmlElement {
    const open: Open[] = []
    for (;;) {
      const top = open.at(-1)
      if (this.#at >= this.#text.length) throw this.#wrong(`<${top?.qualified}> is not closed`)
      if (top !== undefined && this.#text[this.#at] !== '<') {
        this.#characters(top)
        continue
      }
      if (this.#skipComment()) continue
      if (top !== undefined && this.#text.startsWith('<![CDATA[', this.#at)) {
        const end = this.#text.indexOf(']]>', this.#at)
        if (end < 0) throw this.#wrong('CDATA that does not end')
        addText(top, this.#text.slice(this.#at + 9, end))
        this.#at = end + 3
        continue
      }
      if (this.#text.startsWith('</', this.#at)) {
        const closed = this.#close(open)
        if (open.length === 0) return closed
        continue
      }
      const made = this.#open(top?.namespaces ?? new Map([['xml', XML_NAMESPACE]]), open.length)
      top?.element.children.push(made.open.element)
      top?.element.nodes.push(made.open.element)
      if (!made.isEmpty) open.push(made.open)
      else if (top === undefined) return made.open.element
    }
  }

  #close(open: Open[]): XmlElement {
    const from = this.#at
    this.#at += 2
    const name = this.#name()
    this.#space()
    this.#expect('>')
    const top = open.pop()
    if (top?.qualified !== name) throw this.#wrong(`</${name}> where </${top?.qualified}> is expected`, from)
    return top.element
  }

  #open(outer: ReadonlyMap<string, string>, depth: number): { readonly open: Open; readonly isEmpty: boolean } {
    const from = this.#at
    if (depth >= DEPTH_MAX) throw this.#wrong(`nested more than ${DEPTH_MAX} deep`)
    if (++this.#elements > ELEMENTS_MAX) throw this.#wrong(`more than ${ELEMENTS_MAX} elements`)
    this.#at += 1
    if (this.#text[this.#at] === '!') throw this.#wrong('document types and declarations are not taken', from)
    if (this.#text[this.#at] === '?') throw this.#wrong('processing instructions are not taken', from)
    const qualified = this.#name()
    const given = new Map<string, string>()
    const declared: [prefix: string, namespace: string][] = []
    for (;;) {
      const spaced = this.#space()
      const next = this.#text[this.#at]
      if (next === '>' || next === '/') break
      if (!spaced) throw this.#wrong('a blank is expected before an attribute')
      const at = this.#at
      const name = this.#name()
      this.#space()
      this.#expect('=')
      this.#space()
      const value = this.#quoted()
      if (given.has(name)) throw this.#wrong(`the attribute ${name} occurs twice`, at)
      if (given.size >= ATTRIBUTES_MAX) throw this.#wrong(`more than ${ATTRIBUTES_MAX} attributes`, at)
      given.set(name, value)
      if (name === 'xmlns') declared.push(['', value])
      else if (name.startsWith('xmlns:')) declared.push([name.slice(6), value])
    }
    // Most declare none: a copy for each would cost as much as all that is in scope, again and again.
    const namespaces = declared.length === 0 ? outer : new Map([...outer, ...declared])
    const isEmpty = this.#text[this.#at] === '/'
    if (isEmpty) this.#at += 1
    this.#expect('>')
    const [prefix, local] = split(qualified)
    const namespace = namespaces.get(prefix)
    if (namespace === undefined && prefix !== '') throw this.#wrong(`the prefix ${prefix} names no namespace`, from)
    for (const name of given.keys()) {
      const [own] = split(name)
      if (own !== '' && own !== 'xmlns' && !namespaces.has(own)) throw this.#wrong(`the prefix ${own} names no namespace`, from)
    }
    const attributes = new Map([...given].filter(([name]) => name !== 'xmlns' && (!name.includes(':') || name === 'xml:id')))
    const others = [...given].flatMap(([qualifiedName, value]) => {
      const [own, name] = split(qualifiedName)
      return own === '' || own === 'xmlns' || qualifiedName === 'xml:id'
        ? []
        : [{ name, namespace: namespaces.get(own) ?? '', value }]
    })
    const place = this.#placeOf(from)
    const element = {
      name: local,
      namespace: namespace ?? '',
      attributes,
      children: [],
      text: '',
      others,
      nodes: [],
      namespaces,
      place,
    }
    return { open: { qualified, element, namespaces }, isEmpty }
  }

  #characters(top: Open): void {
    const end = this.#text.indexOf('<', this.#at)
    const raw = this.#text.slice(this.#at, end < 0 ? undefined : end)
    if (raw.includes(']]>')) throw this.#wrong(']]> in text', this.#at + raw.indexOf(']]>'))
    addText(top, this.#decoded(raw, this.#at))
    this.#at += raw.length
  }

  #quoted(): string {
    const quote = this.#text[this.#at]
    if (quote !== '"' && quote !== "'") throw this.#wrong('a quoted value is expected')
    const end = this.#text.indexOf(quote, this.#at + 1)
    const raw = this.#text.slice(this.#at + 1, end < 0 ? undefined : end)
    if (end < 0 || raw.includes('<')) throw this.#wrong('a value that does not end')
    const value = this.#decoded(raw, this.#at + 1)
    this.#at = end + 1
    // Section 3.3.3.
    return value.replaceAll(/[\t\r\n]/g, ' ')
  }

  #decoded(raw: string, from: number): string {
    const text = raw.replaceAll(/\r\n?/g, '\n')
    if (!text.includes('&')) return text
    return text.replaceAll(
      /&(?:#(x[0-9a-fA-F]{1,6}|[0-9]{1,7})|([A-Za-z]{1,8}));|&/g,
      (whole, number?: string, name?: string) => {
        const code =
          number === undefined ? undefined : number.startsWith('x') ? Number.parseInt(number.slice(1), 16) : Number(number)
        if (code !== undefined && code <= 0x10ffff) {
          const character = String.fromCodePoint(code)
          if (code !== 0 && !FORBIDDEN.test(character)) return character
        }
        const found = name === undefined ? undefined : ENTITIES.get(name)
        if (found === undefined)
          throw this.#wrong(`${whole.slice(0, 20)} is no character reference, and entities are not taken`, from)
        return found
      },
    )
  }

  #declaration(): void {
    if (!this.#text.startsWith('<?xml')) return
    const end = this.#text.indexOf('?>')
    const declaration = end < 0 ? '' : this.#text.slice(0, end)
    if (
      !/^<\?xml\s+version\s*=\s*["']1\.0["'](?:\s+encoding\s*=\s*["'][Uu][Tt][Ff]-8["'])?(?:\s+standalone\s*=\s*["'](?:yes|no)["'])?\s*$/.test(
        declaration,
      )
    )
      throw this.#wrong('expected XML 1.0 in UTF-8')
    this.#at = end + 2
  }

  #skipComment(): boolean {
    if (!this.#text.startsWith('<!--', this.#at)) return false
    const end = this.#text.indexOf('--', this.#at + 4)
    if (end < 0 || this.#text[end + 2] !== '>') throw this.#wrong('a comment that does not end, or has -- in it')
    this.#at = end + 3
    return true
  }

  #name(): string {
    NAME.lastIndex = this.#at
    const found = NAME.exec(this.#text)?.[0]
    if (found === undefined) throw this.#wrong('a name is expected')
    this.#at += found.length
    return found
  }

  /** Whether there was any. */
  #space(): boolean {
    SPACE.lastIndex = this.#at
    const { length } = SPACE.exec(this.#text)?.[0] ?? ''
    this.#at += length
    return length > 0
  }

  #expect(character: string): void {
    if (this.#text[this.#at] !== character) throw this.#wrong(`${character} is expected`)
    this.#at += 1
  }

  #wrong(message: string, at = this.#at): XacmlInvalid {
    return new XacmlInvalid(message, this.#placeOf(at))
  }

  #placeOf(at: number): Place {
    let [low, high] = [0, this.#lines.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#lines[middle] as number) <= at) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: at - (this.#lines[low] as number) + 1 }
  }
}

/** Texts that follow one another are one, whatever stood between them. */
function addText({ element }: Open, text: string): void {
  element.text += text
  const last = element.nodes.at(-1)
  if (typeof last === 'string') element.nodes[element.nodes.length - 1] = last + text
  else if (text !== '') element.nodes.push(text)
}

function split(qualified: string): readonly [prefix: string, local: string] {
  const at = qualified.indexOf(':')
  return at < 0 ? ['', qualified] : [qualified.slice(0, at), qualified.slice(at + 1)]
}

/** For writing: text or the value of an attribute. */
export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"'\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`)
}
