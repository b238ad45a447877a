import { FILE_CONTENT_BYTES_MAX, PART_HEADER_BYTES_MAX, PARTS_MAX } from '../limits.ts'
import { trim } from '../transformations/blanks.ts'

/** What of ModSecurity's MULTIPART_* flags a body raises; see its reference. */
export type MultipartFlag =
  | 'BOUNDARY_QUOTED'
  | 'BOUNDARY_WHITESPACE'
  | 'DATA_BEFORE'
  | 'DATA_AFTER'
  | 'HEADER_FOLDING'
  | 'INVALID_HEADER_FOLDING'
  | 'LF_LINE'
  | 'CRLF_LF_LINES'
  | 'MISSING_SEMICOLON'
  | 'INVALID_QUOTING'
  | 'INVALID_PART'
  | 'UNMATCHED_BOUNDARY'
  | 'FILE_LIMIT_EXCEEDED'

/** A part that is a file. */
export interface UploadedFile {
  readonly name: string
  readonly fileName: string
  readonly bytes: number
  /** Its beginning, up to `FILE_CONTENT_BYTES_MAX`. */
  readonly content: string
}

export interface ParsedMultipart {
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly files: readonly UploadedFile[]
  /** Each header line of each part, by the part's name. */
  readonly partHeaders: readonly (readonly [name: string, line: string])[]
  readonly flags: ReadonlySet<MultipartFlag>
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
  const files: UploadedFile[] = []
  const partHeaders: (readonly [string, string])[] = []
  const flags = new Set<MultipartFlag>()
  const delimiter = `--${boundary}`
  let error: string | undefined
  let strictError: string | undefined
  let over = false
  let at = text.startsWith(delimiter) ? 0 : text.indexOf(`\r\n${delimiter}`)
  if (at < 0) return { fields, files, partHeaders, flags, error: 'no part begins with the boundary', strictError, over }
  if (at > 0) {
    strictError = 'data before the first boundary'
    flags.add('DATA_BEFORE')
    at += 2
  }
  let parts = 0
  for (;;) {
    at += delimiter.length
    if (text.startsWith('--', at)) {
      const rest = text.slice(at + 2)
      if (rest !== '' && rest !== '\r\n') {
        strictError = 'data after the last boundary'
        flags.add('DATA_AFTER')
      }
      break
    }
    if (!text.startsWith('\r\n', at)) {
      if (text.startsWith('\n', at)) {
        strictError = 'lines end in LF'
        flags.add('LF_LINE')
      }
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
    const block = text.slice(at, Math.max(at, headEnd))
    const head = readHead(block, flags)
    if (/(?:^|\r\n)--/.test(content)) flags.add('UNMATCHED_BOUNDARY')
    for (const line of block.split(/\r?\n/)) if (line !== '') partHeaders.push([head.name ?? '', line])
    if (head.error !== undefined) strictError ??= head.error
    if (head.name === undefined) error ??= 'a part has no name'
    if (head.fileName !== undefined) {
      files.push({
        name: head.name ?? '',
        fileName: head.fileName,
        bytes: content.length,
        content: content.slice(0, FILE_CONTENT_BYTES_MAX),
      })
    }
    // Some take a part with an empty file name for a field.
    if (head.fileName === undefined || head.fileName === '') fields.push([head.name ?? '', content])
    if (next < 0) break
    at = next + 2
  }
  if (error !== undefined) flags.add('INVALID_PART')
  return { fields, files, partHeaders, flags, error, strictError, over }
}

interface PartHead {
  readonly name: string | undefined
  readonly fileName: string | undefined
  readonly error: string | undefined
}

function readHead(block: string, flags: Set<MultipartFlag>): PartHead {
  let name: string | undefined
  let fileName: string | undefined
  let error: string | undefined
  let dispositions = 0
  for (const line of block.split('\r\n')) {
    if (line === '') continue
    if (line.includes('\n')) flags.add('LF_LINE').add('CRLF_LF_LINES')
    if (/^[ \t]/.test(line)) {
      flags.add('HEADER_FOLDING')
      if (/^[ \t]+$/.test(line)) flags.add('INVALID_HEADER_FOLDING')
      error ??= 'a folded part header'
    }
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
    if (/[;=][ \t]*'/.test(value)) flags.add('INVALID_QUOTING')
    if (parameters === undefined && /["A-Za-z0-9][ \t]+[A-Za-z]+=/.test(value)) flags.add('MISSING_SEMICOLON')
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

/** What a Content-Type says about its boundary beside the boundary itself. */
export function boundaryFlags(contentType: string): ReadonlySet<MultipartFlag> {
  const flags = new Set<MultipartFlag>()
  if (/boundary[ \t]*=[ \t]*"/i.test(contentType)) flags.add('BOUNDARY_QUOTED')
  if (/boundary(?:[ \t]+=|=[ \t]+)/i.test(contentType)) flags.add('BOUNDARY_WHITESPACE')
  return flags
}
