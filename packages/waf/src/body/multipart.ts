/** multipart/form-data (RFC 7578), strictly: what parsers could read in two ways is an error. */
import { ARGUMENTS_MAX, type Argument, type ParsedBody } from './arguments.ts'

const HEADERS_MAX = 16

/** @param text One character a byte, so that positions are bytes. @param contentType Of the request. */
export function parseMultipart(text: string, contentType: string, truncated: boolean): ParsedBody {
  const found: Argument[] = []
  const files: { name: string; filename: string }[] = []
  const wrong = (error: string): ParsedBody => ({ arguments: found, files, error, tooMany: false })
  const boundaries = [...contentType.matchAll(/;\s*boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))/gi)]
  const boundary = boundaries[0]?.[1] ?? boundaries[0]?.[2]
  if (boundary === undefined || boundaries.length !== 1) return wrong('multipart without a single boundary')
  const delimiter = `--${boundary}`
  if (!text.startsWith(delimiter)) return wrong('multipart that does not begin with its boundary')
  let at = delimiter.length
  for (;;) {
    if (text.startsWith('--', at)) return { arguments: found, files, error: undefined, tooMany: false }
    if (!text.startsWith('\r\n', at))
      return truncated
        ? { arguments: found, files, error: undefined, tooMany: false }
        : wrong('multipart with a broken boundary line')
    const headEnd = text.indexOf('\r\n\r\n', at)
    const next = text.indexOf(`\r\n${delimiter}`, headEnd === -1 ? at : headEnd + 2)
    if (headEnd === -1 || (next === -1 && !truncated)) return wrong('multipart that ends within a part')
    const head = parseHead(text.slice(at + 2, headEnd))
    if (typeof head === 'string') return wrong(head)
    const value = text.slice(headEnd + 4, next === -1 ? text.length : Math.max(headEnd + 4, next))
    if (head.filename === undefined) found.push({ name: head.name, value: asUtf8(value) })
    else files.push({ name: head.name, filename: head.filename })
    if (found.length + files.length >= ARGUMENTS_MAX) return { arguments: found, files, error: undefined, tooMany: true }
    if (next === -1) return { arguments: found, files, error: undefined, tooMany: false }
    at = next + 2 + delimiter.length
  }
}

function parseHead(text: string): { readonly name: string; readonly filename: string | undefined } | string {
  const lines = text.split('\r\n')
  if (lines.length > HEADERS_MAX || /[\r\n\0]/.test(lines.join(''))) return 'multipart with a malformed part header'
  const dispositions = lines.filter((line) => /^content-disposition\s*:/i.test(line))
  if (dispositions.length !== 1) return 'multipart with a part that has no single Content-Disposition'
  const line = dispositions[0] as string
  const names = [...line.matchAll(/;\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/gi)]
  const filenames = [...line.matchAll(/;\s*filename\*?=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/gi)]
  if (!/^content-disposition\s*:\s*form-data\s*;/i.test(line) || names.length !== 1 || filenames.length > 2)
    return 'multipart with an ambiguous Content-Disposition'
  const name = asUtf8(names[0]?.[1] ?? names[0]?.[2] ?? '')
  const filename = filenames[0] === undefined ? undefined : asUtf8(filenames[0][1] ?? filenames[0][2] ?? '')
  return { name, filename }
}

/** Bytes that were read one character each, as text. */
function asUtf8(bytes: string): string {
  if (/^[\x00-\x7f]*$/.test(bytes)) return bytes
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)))
}
