import { ARGS_MAX } from '../limits.ts'
import { trim } from '../transformations/blanks.ts'
import { htmlEntityDecode } from '../transformations/html-entity-decode.ts'

/**
 * The texts and attribute values of an XML document, in order. Not a validating parser: it only takes tags apart, so that each
 * value is judged alone. Entities that the document declares are never expanded; declarations are seen in `REQUEST_BODY`.
 */
export function xmlValues(text: string): { readonly values: readonly string[]; readonly over: boolean } {
  const values: string[] = []
  let from = 0
  while (from < text.length) {
    if (values.length >= ARGS_MAX) return { values, over: true }
    const open = text.indexOf('<', from)
    const run = trim(text.slice(from, open < 0 ? text.length : open))
    if (run !== '') values.push(htmlEntityDecode(run))
    if (open < 0) break
    if (text.startsWith('<![CDATA[', open)) {
      const end = text.indexOf(']]>', open)
      values.push(text.slice(open + 9, end < 0 ? text.length : end))
      from = end < 0 ? text.length : end + 3
      continue
    }
    if (text.startsWith('<!--', open)) {
      const end = text.indexOf('-->', open)
      from = end < 0 ? text.length : end + 3
      continue
    }
    const end = tagEnd(text, open, values)
    from = end + 1
  }
  return { values, over: false }
}

/** Index of the `>` that ends a tag; attribute values on the way are collected. */
function tagEnd(text: string, open: number, values: string[]): number {
  let at = open + 1
  while (at < text.length && text[at] !== '>') {
    const quote = text[at]
    if (quote === '"' || quote === "'") {
      const end = text.indexOf(quote, at + 1)
      const stop = end < 0 ? text.length : end
      if (stop > at + 1 && values.length < ARGS_MAX) values.push(htmlEntityDecode(text.slice(at + 1, stop)))
      at = stop
    }
    at += 1
  }
  return at
}
