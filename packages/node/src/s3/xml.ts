/** What S3 needs of XML: strict, bounded reading of elements with text (no DTD, no entities but the five), and writing. */

const DEPTH_MAX = 8
const ELEMENTS_MAX = 40_000

export interface XmlElement {
  readonly name: string
  readonly text: string
  readonly children: readonly XmlElement[]
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])

function unescaped(text: string): string | undefined {
  let isBad = false
  const plain = text.replace(/&([^;&]{0,10});?/g, (whole, name: string) => {
    const number = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name)
    const code = number === null ? Number.NaN : number[1] === undefined ? Number(number[2]) : Number.parseInt(number[1], 16)
    const found = Number.isNaN(code)
      ? ENTITIES.get(name)
      : code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
        ? String.fromCodePoint(code)
        : undefined
    if (found === undefined || !whole.endsWith(';')) isBad = true
    return found ?? ''
  })
  return isBad ? undefined : plain
}

/** The root element; undefined for anything that is not well-formed, or has more than these bounds. */
export function parseXml(source: string): XmlElement | undefined {
  const token =
    /<\?xml[^>]*\?>|<!--(?:(?!-->)[\s\S])*-->|<\/([A-Za-z][\w.-]*)\s*>|<([A-Za-z][\w.-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y
  interface Open {
    readonly name: string
    text: string
    readonly children: XmlElement[]
  }
  const stack: Open[] = []
  let root: XmlElement | undefined
  let count = 0
  while (token.lastIndex < source.length) {
    const found = token.exec(source)
    if (found === null) return undefined
    const [, closed, opened, , isEmpty, text] = found
    const top = stack.at(-1)
    if (text !== undefined) {
      const plain = unescaped(text)
      if (plain === undefined || (top === undefined && plain.trim() !== '')) return undefined
      if (top !== undefined) top.text += plain
    } else if (opened !== undefined) {
      count += 1
      if (root !== undefined || count > ELEMENTS_MAX || stack.length >= DEPTH_MAX) return undefined
      const element: Open = { name: opened, text: '', children: [] }
      if (isEmpty !== '/') stack.push(element)
      else if (top === undefined) root = element
      else top.children.push(element)
    } else if (closed !== undefined) {
      if (top?.name !== closed) return undefined
      stack.pop()
      const parent = stack.at(-1)
      if (parent === undefined) root = top
      else parent.children.push(top)
    }
  }
  return stack.length === 0 ? root : undefined
}

export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((one) => one.name === name)?.text
}

/** What XML 1.0 cannot hold at all becomes a question mark. */
function escaped(text: string): string {
  return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '?').replace(/[&<>"\r]/g, (one) => `&#${one.charCodeAt(0)};`)
}

/** Strings are text, lists the contents. */
export type XmlNode = readonly [name: string, content: string | number | boolean | readonly XmlNode[]]

export function writeXml([name, content]: XmlNode): string {
  const inner = Array.isArray(content) ? (content as readonly XmlNode[]).map(writeXml).join('') : escaped(String(content))
  return `<${name}>${inner}</${name}>`
}

export function xmlDocument(name: string, content: readonly XmlNode[]): string {
  const inner = content.map(writeXml).join('')
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</${name}>`
}
