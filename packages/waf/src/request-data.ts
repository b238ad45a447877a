/** What rules can look at: a request as named lists of values, taken apart once. */
import type { Argument, ParsedBody } from './body/arguments.ts'
import { parseJson } from './body/json.ts'
import { parseMultipart } from './body/multipart.ts'
import { parseUrlencoded } from './body/urlencoded.ts'
import type { WafRequest } from './types.ts'

/** One value under a name, e.g. `ARGS:q`. */
export interface Datum {
  readonly name: string
  readonly value: string
}

const EMPTY: ParsedBody = { arguments: [], files: [], error: undefined, tooMany: false }
const COOKIES_MAX = 256

export class RequestData {
  readonly request: WafRequest
  readonly tx = new Map<string, string>()
  readonly #path: string
  readonly #queryString: string
  readonly #query: ParsedBody
  readonly #headers: readonly Datum[]
  #cookies: readonly Datum[] | undefined
  #body: ParsedBody = EMPTY
  #bodyText = ''
  #captured: readonly string[] = []
  matched: Datum = { name: '', value: '' }

  constructor(request: WafRequest) {
    this.request = request
    // Absolute targets name the host first (RFC 9112, section 3.2.2).
    const target = request.target.replace(/^https?:\/\/[^/?#]*/i, '')
    const mark = target.indexOf('?')
    this.#path = mark === -1 ? target : target.slice(0, mark)
    this.#queryString = mark === -1 ? '' : target.slice(mark + 1)
    this.#query = this.#queryString === '' ? EMPTY : parseUrlencoded(this.#queryString)
    this.#headers = request.headers.map(([name, value]) => ({ name: name.toLowerCase(), value }))
  }

  setBody(bytes: Uint8Array, truncated: boolean): void {
    if (bytes.length === 0) return
    const type = this.#header('content-type').toLowerCase()
    if (type.startsWith('multipart/form-data')) {
      this.#body = parseMultipart(latin1(bytes), this.#header('content-type'), truncated)
      return
    }
    this.#bodyText = new TextDecoder().decode(bytes)
    if (type.startsWith('application/x-www-form-urlencoded')) this.#body = parseUrlencoded(this.#bodyText)
    else if (/^application\/(?:[\w.+-]*\+)?json\b/.test(type)) {
      // A body that was cut off is no JSON any more; it is looked at as text.
      this.#body = truncated ? EMPTY : parseJson(this.#bodyText)
      if (!truncated && this.#body.error === undefined) this.#bodyText = ''
    }
    if (type.startsWith('application/x-www-form-urlencoded')) this.#bodyText = ''
  }

  set captured(groups: readonly string[]) {
    this.#captured = groups
  }

  #header(name: string): string {
    return this.#headers.find((header) => header.name === name)?.value ?? ''
  }

  #allCookies(): readonly Datum[] {
    this.#cookies ??= this.#headers
      .filter(({ name }) => name === 'cookie')
      .flatMap(({ value }) => value.split(';', COOKIES_MAX))
      .flatMap((pair) => {
        const split = pair.indexOf('=')
        const name = (split === -1 ? pair : pair.slice(0, split)).trim()
        return name === '' ? [] : [{ name, value: split === -1 ? '' : pair.slice(split + 1).trim() }]
      })
    return this.#cookies
  }

  /** All values of a variable. Names are the selectors that rules use. */
  collect(variable: string): readonly Datum[] {
    switch (variable) {
      case 'ARGS':
        return [...this.#query.arguments, ...this.#body.arguments]
      case 'ARGS_GET':
        return this.#query.arguments
      case 'ARGS_POST':
        return this.#body.arguments
      case 'ARGS_NAMES':
        return names([...this.#query.arguments, ...this.#body.arguments])
      case 'ARGS_GET_NAMES':
        return names(this.#query.arguments)
      case 'ARGS_POST_NAMES':
        return names(this.#body.arguments)
      case 'REQUEST_HEADERS':
        return this.#headers
      case 'REQUEST_HEADERS_NAMES':
        return names(this.#headers)
      case 'REQUEST_COOKIES':
        return this.#allCookies()
      case 'REQUEST_COOKIES_NAMES':
        return names(this.#allCookies())
      case 'FILES':
        return this.#body.files.map(({ name, filename }) => ({ name, value: filename }))
      case 'FILES_NAMES':
        return this.#body.files.map(({ name }) => ({ name, value: name }))
      case 'TX':
        return [...this.tx, ...this.#captured.map((value, i) => [String(i), value] as const)].map(([name, value]) => ({
          name,
          value,
        }))
      default:
        return [{ name: '', value: this.#single(variable) }]
    }
  }

  #single(variable: string): string {
    switch (variable) {
      case 'REQUEST_METHOD':
        return this.request.method
      case 'REQUEST_PROTOCOL':
        return `HTTP/${this.request.httpVersion}`
      case 'REQUEST_LINE':
        return `${this.request.method} ${this.request.target} HTTP/${this.request.httpVersion}`
      case 'REQUEST_URI':
        return this.#queryString === '' ? this.#path : `${this.#path}?${this.#queryString}`
      case 'REQUEST_URI_RAW':
        return this.request.target
      case 'REQUEST_FILENAME':
        return this.#path
      case 'REQUEST_BASENAME':
        return this.#path.slice(this.#path.lastIndexOf('/') + 1)
      case 'QUERY_STRING':
        return this.#queryString
      case 'REQUEST_BODY':
        return this.#bodyText
      case 'REMOTE_ADDR':
        return this.request.remoteAddress
      case 'REQBODY_ERROR':
        return this.#body.error === undefined ? '0' : '1'
      case 'REQBODY_ERROR_MSG':
        return this.#body.error ?? ''
      case 'MULTIPART_STRICT_ERROR':
        return this.#body.error?.startsWith('multipart') === true ? '1' : '0'
      case 'ARGS_LIMIT_EXCEEDED':
        return this.#query.tooMany || this.#body.tooMany ? '1' : '0'
      case 'MATCHED_VAR':
        return this.matched.value
      case 'MATCHED_VAR_NAME':
        return this.matched.name
      default:
        return ''
    }
  }
}

/** Variables that hold several values, each with a name that a selector can choose. */
export const COLLECTIONS: ReadonlySet<string> = new Set(
  'ARGS ARGS_GET ARGS_POST ARGS_NAMES ARGS_GET_NAMES ARGS_POST_NAMES REQUEST_HEADERS REQUEST_HEADERS_NAMES REQUEST_COOKIES REQUEST_COOKIES_NAMES FILES FILES_NAMES TX'.split(
    ' ',
  ),
)

/** Variables that hold one value. */
export const SINGLES: ReadonlySet<string> = new Set(
  'REQUEST_METHOD REQUEST_PROTOCOL REQUEST_LINE REQUEST_URI REQUEST_URI_RAW REQUEST_FILENAME REQUEST_BASENAME QUERY_STRING REQUEST_BODY REMOTE_ADDR REQBODY_ERROR REQBODY_ERROR_MSG MULTIPART_STRICT_ERROR ARGS_LIMIT_EXCEEDED MATCHED_VAR MATCHED_VAR_NAME'.split(
    ' ',
  ),
)

function names(list: readonly Argument[]): readonly Datum[] {
  return list.map(({ name }) => ({ name, value: name }))
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder('latin1').decode(bytes)
}
