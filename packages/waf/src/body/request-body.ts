import { bytesToText } from '../bytes.ts'
import { trim } from '../transformations/blanks.ts'
import { parseForm } from './form.ts'
import { parseJson, parseJsonSequence } from './json.ts'
import { boundaryFlags, type MultipartFlag, multipartBoundary, parseMultipart, type UploadedFile } from './multipart.ts'
import { wideText } from './wide-text.ts'
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

/** Media types whose bytes no text parser reads: of such a body, `UPLOADS` alone has the beginning. */
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
      if (/^[\t\n\r ]*$/.test(text)) return { ...NOTHING, processor }
      const parsed = parseJson(text)
      const broken = parsed.error !== undefined
      return { ...NOTHING, ...parsed, processor, error: truncated ? undefined : parsed.error, unparsed: broken ? text : '' }
    }
    case 'XML': {
      const said = wideText(text) ?? text
      const xml = parseXml(said)
      return {
        ...NOTHING,
        processor,
        xml,
        over: xml.over,
        error: truncated ? undefined : xml.error,
        unparsed: xml.error === undefined ? '' : said,
      }
    }
    default: {
      const opaque = OPAQUE.test(mediaType(contentType))
      const said = wideText(text) ?? text
      if (!MAY_BE_JSON.test(said)) return opaque ? { ...NOTHING, opaque } : { ...NOTHING, unparsed: said }
      // Some services read JSON whatever the type says, and only as far as it goes.
      const { fields, error, over } = parseJsonSequence(said)
      if (error === undefined) return { ...NOTHING, fields, over }
      return opaque ? { ...NOTHING, fields, over, opaque } : { ...NOTHING, fields, over, unparsed: said }
    }
  }
}

export interface BodyFields {
  /** As rules see them, in order, as text. JSON names begin with `json.`. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** Why a reader may find others, in a few words. */
  readonly doubt: string | undefined
}

/** Names and values of a body, for whoever has to know what every reader of it may find. */
export function readFields(body: Uint8Array, contentType: string): BodyFields {
  const text = bytesToText(body)
  const parsed = parseRequestBody(text, contentType, false)
  const { processor, fields, files, error, strictError, flags, over, partHeaders } = parsed
  // Some take a semicolon for what parts fields, as HTML 4.01 advises them to (appendix B.2.2).
  const others = processor === 'URLENCODED' && text.includes(';') ? parseForm(text.replaceAll(';', '&')).fields : []
  let doubt = error ?? strictError
  if (over) doubt ??= 'too many fields'
  if (isInOtherCharset(contentType)) doubt ??= 'a charset that is not read'
  if ((processor === '' || processor === 'URLENCODED') && isBrokenJson(wideText(text) ?? text)) doubt ??= 'JSON that breaks off'
  if (processor === '' && /^\s*multipart\//i.test(contentType)) doubt ??= 'parts that are no form'
  if (DOUBTFUL.some((flag) => flags.has(flag))) doubt ??= 'a multipart body that readers take apart differently'
  if (partHeaders.some(([, line]) => /^content-type[ \t]*:/i.test(line) && isInOtherCharset(line)))
    doubt ??= 'a part in a charset that is not read'
  // A part with a file name is a file to most, and a field to some.
  const all = [...fields, ...others, ...files.map(({ name, content }) => [name, content] as const)]
  return { fields: all.map(([name, value]) => [decodeUtf8(name), decodeUtf8(value)] as const), doubt }
}

const DOUBTFUL: readonly MultipartFlag[] = ['INVALID_QUOTING', 'MISSING_SEMICOLON', 'LF_LINE', 'CRLF_LF_LINES', 'HEADER_FOLDING']

/** Whether text begins as JSON and does not stay it: readers that take comments or lone quotes find more in it than we do. */
function isBrokenJson(text: string): boolean {
  return looksLikeJson(text) && parseJsonSequence(text).error !== undefined
}

/** Whether a header value names a charset in which ASCII is not what it is in UTF-8, or one that nobody knows. */
function isInOtherCharset(value: string): boolean {
  const named = /;\s*charset\s*=/i.test(value)
  return named && !/;\s*charset=["']?(?:utf-?8|us-ascii|iso-8859-(?:1|15)|windows-125[0-2])["']?\s*(?:;|$)/i.test(value)
}

function decodeUtf8(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)))
}

/** What readers of any type may take for JSON: a container or a string, also behind a record separator (RFC 7464). */
const MAY_BE_JSON = /^(?:\xef\xbb\xbf)?[\t\n\r \x1e]*[[{"]/

function looksLikeXml(text: string): boolean {
  return /^(?:\xef\xbb\xbf)?[\t\n\r ]*<[!?A-Za-z]/.test(text)
}

function looksLikeJson(text: string): boolean {
  return /^(?:\xef\xbb\xbf)?[\t\n\r ]*[[{]/.test(text)
}
