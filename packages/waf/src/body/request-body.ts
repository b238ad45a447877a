import { bytesToText } from '../bytes.ts'
import { trim } from '../transformations/blanks.ts'
import { parseForm } from './form.ts'
import { parseJson } from './json.ts'
import { boundaryFlags, type MultipartFlag, multipartBoundary, parseMultipart, type UploadedFile } from './multipart.ts'
import { NO_XML, parseXml, type XmlDocument } from './xml.ts'

export type BodyProcessor = '' | 'URLENCODED' | 'MULTIPART' | 'JSON' | 'XML'

/** What a body was taken apart into. */
export interface ParsedBody {
  readonly processor: BodyProcessor
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** Names of JSON arrays, which no field has. */
  readonly arrays: readonly string[]
  readonly files: readonly UploadedFile[]
  readonly partHeaders: readonly (readonly [name: string, line: string])[]
  readonly flags: ReadonlySet<MultipartFlag>
  readonly xml: XmlDocument
  /** The body as it is, when it is text that no parser took apart (or took apart only in part, or as what it does not look like). */
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
  arrays: [],
  files: [],
  partHeaders: [],
  flags: new Set(),
  xml: NO_XML,
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

function mediaType(contentType: string): string {
  const semicolon = contentType.indexOf(';')
  return trim(semicolon < 0 ? contentType : contentType.slice(0, semicolon)).toLowerCase()
}

/** Who takes a body of this type apart. */
export function bodyProcessor(contentType: string): BodyProcessor {
  const type = mediaType(contentType)
  if (type === 'application/x-www-form-urlencoded') return 'URLENCODED'
  if (type === 'multipart/form-data') return 'MULTIPART'
  if (type === 'application/json' || type.endsWith('+json')) return 'JSON'
  return type === 'text/xml' || type === 'application/xml' || type.endsWith('+xml') ? 'XML' : ''
}

/**
 * Takes a body apart by its Content-Type, or as `processor` when a rule asked for one (`ctl:requestBodyProcessor`). A body of
 * no or unknown type that looks like JSON is read as JSON too: many frameworks do so.
 */
export function parseRequestBody(
  text: string,
  contentType: string,
  truncated: boolean,
  processor: BodyProcessor = bodyProcessor(contentType),
  separator = '&',
): ParsedBody {
  if (text === '') return { ...NOTHING, processor }
  switch (processor) {
    case 'URLENCODED': {
      const { fields, over, malformed } = parseForm(text, separator)
      // What curl -d sends by default: JSON under a form's type, which lenient services read.
      const json = looksLikeJson(text) ? parseJson(text) : undefined
      const all = json === undefined ? fields : [...fields, ...json.fields]
      return {
        ...NOTHING,
        processor,
        fields: all,
        over: over || (json?.over ?? false),
        malformedEscapes: malformed,
        // Likewise a document of XML, which its first `=` would tear in two.
        unparsed: looksLikeXml(text) ? text : '',
      }
    }
    case 'MULTIPART': {
      const boundary = multipartBoundary(contentType)
      if (boundary === undefined) {
        const error = 'multipart/form-data without one clear boundary'
        return { ...NOTHING, processor, unparsed: text, error, flags: boundaryFlags(contentType) }
      }
      const parsed = parseMultipart(text, boundary, truncated)
      const flags = new Set([...boundaryFlags(contentType), ...parsed.flags])
      return { ...NOTHING, ...parsed, flags, processor, unparsed: parsed.error === undefined ? '' : text }
    }
    case 'JSON': {
      if (/^[\t\n\r ]{0,64}$/.test(text)) return { ...NOTHING, processor }
      const parsed = parseJson(text)
      const broken = parsed.error !== undefined
      return { ...NOTHING, ...parsed, processor, error: truncated ? undefined : parsed.error, unparsed: broken ? text : '' }
    }
    case 'XML': {
      const xml = parseXml(text)
      return {
        ...NOTHING,
        processor,
        xml,
        over: xml.over,
        error: truncated ? undefined : xml.error,
        unparsed: xml.error === undefined ? '' : text,
      }
    }
    default: {
      const opaque = OPAQUE.test(mediaType(contentType))
      if (looksLikeJson(text)) {
        // Some services read JSON whatever the type says, and only as far as it goes.
        const { fields, error, over } = parseJson(text)
        if (error === undefined || !opaque) return { ...NOTHING, fields, over, unparsed: error === undefined ? '' : text }
      }
      return opaque ? { ...NOTHING, opaque } : { ...NOTHING, unparsed: text }
    }
  }
}

/** Names and values of a body as rules see them, in order, as text. JSON names begin with `json.`. */
export function requestFields(body: Uint8Array, contentType: string): readonly (readonly [name: string, value: string])[] {
  const { fields } = parseRequestBody(bytesToText(body), contentType, false)
  return fields.map(([name, value]) => [decodeUtf8(name), decodeUtf8(value)] as const)
}

function decodeUtf8(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)))
}

function looksLikeXml(text: string): boolean {
  return /^(?:\xef\xbb\xbf)?[\t\n\r ]{0,64}<[!?A-Za-z]/.test(text)
}

function looksLikeJson(text: string): boolean {
  return /^(?:\xef\xbb\xbf)?[\t\n\r ]{0,64}[[{]/.test(text)
}
