/** Exclusive XML Canonicalization 1.0, without comments, of an element of `xml.ts`. */
import type { XmlElement, XmlNode } from './xml.ts'

const TEXT: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#xD;' }
const VALUE: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '"': '&quot;',
  '\t': '&#x9;',
  '\n': '&#xA;',
  '\r': '&#xD;',
}

const inText = (text: string): string => text.replace(/[&<>\r]/g, (character) => TEXT[character] as string)
const inValue = (text: string): string => text.replace(/[&<"\t\n\r]/g, (character) => VALUE[character] as string)
const byOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/**
 * @param without A child of the element that is left out, with all in it: the transform of enveloped signatures.
 * @param inclusive Prefixes that are written wherever they are in scope (`InclusiveNamespaces`); the default by `#default`.
 */
export function canonicalXml(element: XmlElement, without?: XmlElement, inclusive: readonly string[] = []): string {
  const always = inclusive.map((prefix) => (prefix === '#default' ? '' : prefix))
  const parts: string[] = []
  // Each with what is written of namespaces around it; an end is text already.
  const waiting: { readonly node: XmlNode; readonly written: ReadonlyMap<string, string>; readonly isEnd?: true }[] = [
    { node: element, written: new Map() },
  ]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node, written, isEnd } = next
    if (typeof node === 'string') {
      parts.push(isEnd === true ? node : inText(node))
      continue
    }
    const inside = new Map(written)
    const name = node.prefix === '' ? node.local : `${node.prefix}:${node.local}`
    parts.push(`<${name}${namespacesOf(node, always, inside)}${attributesOf(node)}>`)
    waiting.push({ node: `</${name}>`, written, isEnd: true })
    for (const child of node.children.toReversed()) if (child !== without) waiting.push({ node: child, written: inside })
  }
  return parts.join('')
}

/** Those that the element and its attributes use, unless they are written around it. @param written Is added to. */
function namespacesOf(
  { prefix, attributes, scope }: XmlElement,
  always: readonly string[],
  written: Map<string, string>,
): string {
  const used = new Set([prefix, ...attributes.filter((one) => one.prefix !== '').map((one) => one.prefix)])
  for (const one of always) if (scope.has(one)) used.add(one)
  used.delete('xml')
  let text = ''
  for (const one of [...used].sort(byOrder)) {
    const uri = scope.get(one) ?? ''
    if ((written.get(one) ?? '') === uri) continue
    written.set(one, uri)
    text += one === '' ? ` xmlns="${inValue(uri)}"` : ` xmlns:${one}="${inValue(uri)}"`
  }
  return text
}

function attributesOf({ attributes }: XmlElement): string {
  return attributes
    .toSorted((a, b) => byOrder(a.namespace, b.namespace) || byOrder(a.local, b.local))
    .map(({ prefix, local, value }) => ` ${prefix === '' ? local : `${prefix}:${local}`}="${inValue(value)}"`)
    .join('')
}
