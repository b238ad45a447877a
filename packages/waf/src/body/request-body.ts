import { bytesToText } from '../bytes.ts'
import { trim } from '../transformations/blanks.ts'
import { parseForm } from './form.ts'
import { parseJson } from './json.ts'
import { multipartBoundary, parseMultipart } from './multipart.ts'
import { xmlValues } from './xml.ts'

/** What a body was taken apart into. */
export interface ParsedBody {
  readonly processor: '' | 'URLENCODED' | 'MULTIPART' | 'JSON' | 'XML'
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly files: readonly (readonly [name: string, fileName: string])[]
  readonly xml: readonly string[]
  /** The body as it is, when it is text that no parser took apart (or took apart only in part). */
  readonly unparsed: string
  readonly error: string | undefined
  readonly strictError: string | undefined
  readonly malformedEscapes: boolean
  readonly over: boolean
  /** Bytes of a picture, an archive or the like: patterns for text have nothing to say about them. */
  readonly opaque: boolean
}

const NOTHING: ParsedBody = {
  processor: '',
  fields: [],
  files: [],
  xml: [],
  unparsed: '',
  error: undefined,
  strictError: undefined,
  malformedEscapes: false,
  over: false,
  opaque: false,
}

/** Media types whose bytes no text parser reads; `REQUEST_BODY` still has them. */
const OPAQUE =
  /^(?:image|audio|video|font)\/|^application\/(?:octet-stream|pdf|zip|gzip|x-tar|x-7z-compressed|grpc(?:\+proto)?|(?:x-)?protobuf)$/

/**
 * Takes a body apart by its Content-Type. A body of no or unknown type that looks like JSON is read as JSON too: many
 * frameworks do so.
 */
export function parseRequestBody(text: string, contentType: string, truncated: boolean): ParsedBody {
  if (text === '') return NOTHING
  const semicolon = contentType.indexOf(';')
  const type = trim(semicolon < 0 ? contentType : contentType.slice(0, semicolon)).toLowerCase()
  if (type === 'application/x-www-form-urlencoded') {
    const { fields, over, malformed } = parseForm(text)
    // What curl -d sends by default: JSON under a form's type, which lenient services read.
    const json = looksLikeJson(text) ? parseJson(text) : undefined
    const all = json === undefined ? fields : [...fields, ...json.fields]
    return { ...NOTHING, processor: 'URLENCODED', fields: all, over: over || (json?.over ?? false), malformedEscapes: malformed }
  }
  if (type === 'multipart/form-data') {
    const boundary = multipartBoundary(contentType)
    if (boundary === undefined) {
      return { ...NOTHING, processor: 'MULTIPART', unparsed: text, error: 'multipart/form-data without one clear boundary' }
    }
    const parsed = parseMultipart(text, boundary, truncated)
    return { ...NOTHING, ...parsed, processor: 'MULTIPART', unparsed: parsed.error === undefined ? '' : text }
  }
  if (type === 'application/json' || type.endsWith('+json')) {
    if (/^[\t\n\r ]{0,64}$/.test(text)) return { ...NOTHING, processor: 'JSON' }
    const parsed = parseJson(text)
    const broken = parsed.error !== undefined
    return { ...NOTHING, ...parsed, processor: 'JSON', error: truncated ? undefined : parsed.error, unparsed: broken ? text : '' }
  }
  if (type === 'text/xml' || type === 'application/xml' || type.endsWith('+xml')) {
    const { values, over } = xmlValues(text)
    return { ...NOTHING, processor: 'XML', xml: values, over }
  }
  const opaque = OPAQUE.test(type)
  if (looksLikeJson(text)) {
    // Some services read JSON whatever the type says, and only as far as it goes.
    const { fields, error, over } = parseJson(text)
    if (error === undefined || !opaque) return { ...NOTHING, fields, over, unparsed: error === undefined ? '' : text }
  }
  return opaque ? { ...NOTHING, opaque } : { ...NOTHING, unparsed: text }
}

/** Names and values of a body as rules see them, in order, as text. JSON names begin with `json.`. */
export function requestFields(body: Uint8Array, contentType: string): readonly (readonly [name: string, value: string])[] {
  const { fields } = parseRequestBody(bytesToText(body), contentType, false)
  return fields.map(([name, value]) => [decodeUtf8(name), decodeUtf8(value)] as const)
}

function decodeUtf8(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)))
}

function looksLikeJson(text: string): boolean {
  return /^(?:\xef\xbb\xbf)?[\t\n\r ]{0,64}[[{]/.test(text)
}
