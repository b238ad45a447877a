/**
 * Does a value bring script into a page? Read as a browser's tokenizer would (WHATWG HTML, section 13.2.5), from four starting
 * points: as text, and as the inside of an attribute in double quotes, single quotes, or none.
 */

const CHARS_MAX = 16_384
const TAGS_MAX = 64

/** Elements that run or load something by being there. */
const ACTIVE = new Set([
  'script',
  'iframe',
  'frame',
  'object',
  'embed',
  'applet',
  'base',
  'meta',
  'link',
  'style',
  'xml',
  'isindex',
  'portal',
  'fencedframe',
])

const HANDLER = /^on[a-z]{3,30}$/
const URL_ATTRIBUTES = new Set([
  'href',
  'src',
  'action',
  'formaction',
  'data',
  'xlink:href',
  'background',
  'poster',
  'srcdoc',
  'to',
  'values',
  'from',
  'ping',
  'lowsrc',
  'dynsrc',
])

interface Attribute {
  readonly name: string
  readonly value: string | undefined
}

/** What makes it script; undefined when nothing does. */
export function detectXss(value: string): string | undefined {
  const text = value.length > CHARS_MAX ? value.slice(0, CHARS_MAX) : value
  if (text.includes('<')) {
    const found = inText(text)
    if (found !== undefined) return found
  }
  if (scriptUrl(text)) return 'script address'
  for (const quote of ['"', "'"] as const) {
    const end = text.indexOf(quote)
    if (end === -1) continue
    const found = inTag(text, end + 1, true)
    if (found !== undefined) return found
  }
  return /\s*[\w-]{0,20}\s+on[a-z]{3,30}\s*=/i.test(text.slice(0, 64)) ? inTag(text, 0, true) : undefined
}

function inText(text: string): string | undefined {
  let at = text.indexOf('<')
  for (let tags = 0; at !== -1 && tags < TAGS_MAX; tags += 1) {
    const next = text[at + 1] ?? ''
    if (next === '!' || next === '?') {
      if (/^<(?:!(?:--\[if|\[cdata\[|doctype[^>]{0,200}\[|entity)|\?(?:xml-stylesheet|import))/i.test(text.slice(at, at + 240)))
        return 'markup declaration'
    } else if (/[a-zA-Z]/.test(next)) {
      let end = at + 1
      while (end < text.length && !/[\s/>]/.test(text[end] as string)) end += 1
      const name = text
        .slice(at + 1, end)
        .toLowerCase()
        .replaceAll('\0', '')
      const local = name.slice(name.indexOf(':') + 1)
      if (ACTIVE.has(local)) return `<${local}>`
      const found = inTag(text, end, false)
      if (found !== undefined) return found
    }
    at = text.indexOf('<', at + 1)
  }
  return undefined
}

/** Attributes from here to the end of the tag. @param broken The text broke out of an attribute: only a handler counts. */
function inTag(text: string, from: number, broken: boolean): string | undefined {
  let at = from
  for (let count = 0; at < text.length && count < TAGS_MAX; count += 1) {
    while (at < text.length && /[\s/"']/.test(text[at] as string)) at += 1
    if (at >= text.length || text[at] === '>') return undefined
    const [attribute, end] = readAttribute(text, at)
    at = Math.max(end, at + 1)
    const name = attribute.name.toLowerCase().replaceAll('\0', '')
    if (attribute.value === undefined) {
      // Prose after a quote is no list of attributes: stop at the first word that is none.
      if (broken && count > 3) return undefined
      continue
    }
    if (HANDLER.test(name) && attribute.value !== '') return `${name}=`
    if (URL_ATTRIBUTES.has(name) && (name === 'srcdoc' || scriptUrl(attribute.value))) return `${name}=script`
    if (name === 'style' && /expression\s*\(|-moz-binding|behavior\s*:|url\s*\(\s*["']?\s*javascript:/i.test(attribute.value))
      return 'style=script'
  }
  return undefined
}

function readAttribute(text: string, at: number): readonly [Attribute, number] {
  let end = at
  while (end < text.length && !/[\s/>=]/.test(text[end] as string)) end += 1
  const name = text.slice(at, end)
  let next = end
  while (next < text.length && /\s/.test(text[next] as string)) next += 1
  if (text[next] !== '=') return [{ name, value: undefined }, end]
  next += 1
  while (next < text.length && /\s/.test(text[next] as string)) next += 1
  const quote = text[next]
  if (quote === '"' || quote === "'" || quote === '`') {
    const close = text.indexOf(quote, next + 1)
    const stop = close === -1 ? text.length : close
    return [{ name, value: text.slice(next + 1, stop) }, stop + 1]
  }
  let stop = next
  while (stop < text.length && !/[\s>]/.test(text[stop] as string)) stop += 1
  return [{ name, value: text.slice(next, stop) }, stop]
}

/** Browsers skip control characters and spaces within the scheme (WHATWG URL, section 4.4). */
function scriptUrl(text: string): boolean {
  const head = text
    .slice(0, 256)
    .replace(/[\x00-\x20\u00a0]+/g, '')
    .toLowerCase()
  return /^(?:javascript|vbscript|livescript):[^/]?/.test(head) && /[(=`;%/]|alert|eval/.test(head.slice(10))
    ? true
    : /^data:(?:text\/html|image\/svg\+xml|text\/xml|application\/xhtml)/.test(head)
}
