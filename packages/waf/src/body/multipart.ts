import { PART_HEADER_BYTES_MAX, PARTS_MAX } from '../limits.ts'
import { trim } from '../transformations/blanks.ts'

export interface ParsedMultipart {
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** Field name and file name of each part with a file name. Contents are not kept. */
  readonly files: readonly (readonly [name: string, fileName: string])[]
  /** Could not be taken apart: the body cannot be trusted to mean the same to the application. */
  readonly error: string | undefined
  /** Was taken apart, but is not what RFC 7578 allows; parsers differ on such bodies. */
  readonly strictError: string | undefined
  readonly over: boolean
}

/** The boundary of a `multipart/form-data` content type (RFC 2046 section 5.1.1), or nothing if it is missing or odd. */
export function multipartBoundary(contentType: string): string | undefined {
  const parameters = readParameters(contentType)
  // `boundary*` (RFC 2231): some parsers take it and others do not.
  const named = parameters?.filter(([name]) => name === 'boundary' || name.startsWith('boundary*')) ?? []
  if (named.length !== 1 || named[0]![0] !== 'boundary') return undefined
  const boundary = named[0]![1]
  return /^[A-Za-z0-9'()+_,./:=? -]{1,70}$/.test(boundary) && !boundary.endsWith(' ') ? boundary : undefined
}

/**
 * The parameters of a header value (RFC 9110 section 5.6.6), names in lower case; undefined when it is malformed. Read from
 * left to right, so that what stands in quotes is never taken for a parameter.
 */
function readParameters(value: string): (readonly [name: string, value: string])[] | undefined {
  const found: (readonly [string, string])[] = []
  let at = value.indexOf(';')
  while (at >= 0 && at < value.length) {
    at += 1
    while (value[at] === ' ' || value[at] === '\t') at += 1
    if (at >= value.length) return found
    const nameStart = at
    while (at < value.length && /[^\s;="',]/.test(value[at]!)) at += 1
    const name = value.slice(nameStart, at).toLowerCase()
    if (value[at] !== '=') {
      if (name === '' && value[at] === ';') continue
      return undefined
    }
    at += 1
    let text = ''
    if (value[at] === '"') {
      at += 1
      while (at < value.length && value[at] !== '"') {
        if (value[at] === '\\' && (value[at + 1] === '"' || value[at + 1] === '\\')) at += 1
        text += value[at]
        at += 1
      }
      if (at >= value.length) return undefined
      at += 1
    } else {
      const start = at
      while (at < value.length && value[at] !== ';') at += 1
      text = trim(value.slice(start, at))
      if (/["\s]/.test(text)) return undefined
    }
    found.push([name, text])
    while (value[at] === ' ' || value[at] === '\t') at += 1
    if (at < value.length && value[at] !== ';') return undefined
  }
  return found
}

/** `multipart/form-data` (RFC 7578) over bytes. `truncated` bodies may lack their end. */
export function parseMultipart(text: string, boundary: string, truncated: boolean): ParsedMultipart {
  const fields: (readonly [string, string])[] = []
  const files: (readonly [string, string])[] = []
  const delimiter = `--${boundary}`
  let error: string | undefined
  let strictError: string | undefined
  let over = false
  let at = text.startsWith(delimiter) ? 0 : text.indexOf(`\r\n${delimiter}`)
  if (at < 0) return { fields, files, error: 'no part begins with the boundary', strictError, over }
  if (at > 0) {
    strictError = 'data before the first boundary'
    at += 2
  }
  let parts = 0
  for (;;) {
    at += delimiter.length
    if (text.startsWith('--', at)) {
      const rest = text.slice(at + 2)
      if (rest !== '' && rest !== '\r\n') strictError = 'data after the last boundary'
      break
    }
    if (!text.startsWith('\r\n', at)) {
      if (text.startsWith('\n', at)) strictError = 'lines end in LF'
      if (!truncated) error = 'a boundary is not followed by the end of its line'
      break
    }
    at += 2
    if (++parts > PARTS_MAX) {
      over = true
      break
    }
    const headEnd = text.indexOf('\r\n\r\n', at - 2)
    if (headEnd < 0 || headEnd - at > PART_HEADER_BYTES_MAX) {
      if (!truncated) error = 'the headers of a part do not end'
      break
    }
    const next = text.indexOf(`\r\n${delimiter}`, headEnd + 2)
    if (next < 0 && !truncated) {
      error = 'the last boundary is missing'
    }
    const content = text.slice(headEnd + 4, next < 0 ? text.length : next)
    const head = readHead(text.slice(at, Math.max(at, headEnd)))
    if (head.error !== undefined) strictError ??= head.error
    if (head.name === undefined) error ??= 'a part has no name'
    if (head.fileName !== undefined) files.push([head.name ?? '', head.fileName])
    // Some take a part with an empty file name for a field.
    if (head.fileName === undefined || head.fileName === '') fields.push([head.name ?? '', content])
    if (next < 0) break
    at = next + 2
  }
  return { fields, files, error, strictError, over }
}

interface PartHead {
  readonly name: string | undefined
  readonly fileName: string | undefined
  readonly error: string | undefined
}

function readHead(block: string): PartHead {
  let name: string | undefined
  let fileName: string | undefined
  let error: string | undefined
  let dispositions = 0
  for (const line of block.split('\r\n')) {
    if (line === '') continue
    const colon = line.indexOf(':')
    if (colon <= 0 || /[\n\0]/.test(line)) error ??= 'a malformed part header'
    const field = trim(line.slice(0, colon)).toLowerCase()
    if (field === 'content-transfer-encoding' && !/^[ \t]*(?:7bit|8bit|binary)[ \t]*$/i.test(line.slice(colon + 1)))
      error ??= 'a part with a transfer encoding'
    if (field !== 'content-disposition') continue
    if (++dispositions > 1) error ??= 'two Content-Disposition headers in a part'
    const value = line.slice(colon + 1)
    if (!/^[ \t]{0,8}form-data[ \t]{0,8}(?:;|$)/i.test(value)) error ??= 'a part that is not form-data'
    const parameters = readParameters(value)
    if (parameters === undefined) error ??= 'a part parameter that is malformed'
    const valuesOf = (wanted: RegExp): string[] => (parameters ?? []).filter(([key]) => wanted.test(key)).map(([, text]) => text)
    const names = valuesOf(/^name$/)
    const fileNames = valuesOf(/^filename\*?$/)
    if (valuesOf(/\*./).length > 0 || valuesOf(/^name\*/).length > 0) error ??= 'a part parameter in pieces or with a charset'
    if (names.length > 1 || fileNames.length > 1) error ??= 'a part parameter given twice'
    name = names[0]
    // Where two are given, parsers differ; look at all of them.
    fileName = fileNames.length === 0 ? undefined : fileNames.join(' ')
  }
  return { name, fileName, error }
}
