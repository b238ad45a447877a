/**
 * HTTP/1.1 responses, from chunks of bytes cut anywhere. Pure: bytes in, calls out.
 *
 * Strict (RFC 9112): CR LF line ends only, no folded lines, no Transfer-Encoding beside Content-Length, chunked as the
 * only coding. An upstream that is ambiguous could be read in two ways by our client: it is refused instead.
 *
 * What says one thing, oddly, is passed on, and its connection is not kept: a length said twice, a body announced where there can be none (1xx,
 * 204, 304 in chunks), Transfer-Encoding in HTTP/1.0. Had the upstream meant another end, the rest would be the next client's answer.
 */
import { fieldsOf, firstLine, type HeadBounds, INCOMPLETE, MALFORMED, type Section, scanHead, sectionOf } from './head-scanner.ts'
import { lowerName } from './header-names.ts'
import { KnownSections } from './known-sections.ts'
import { latin1 } from './latin1.ts'

export interface ResponseHead {
  readonly status: number
  readonly statusText: string
  /** Names as received and values in turn. */
  readonly rawHeaders: readonly string[]
  readonly keepAlive: boolean
  /** Seconds that `Keep-Alive: timeout=` promises. */
  readonly keepAliveS: number | undefined
  /** Length of the body when the head says it; undefined: chunked or until close. */
  readonly bodyBytes: number | undefined
  /** `Content-Length` as given: of the body that a response to HEAD or a 304 leaves out, too. */
  readonly contentLength: string | undefined
  readonly upgrade: boolean
  readonly section?: Section | undefined
}

export interface ResponseEvents {
  /** 1xx other than 101. */
  onInterim(head: ResponseHead): void
  onHead(head: ResponseHead): void
  onBody(bytes: Buffer): void
  /** `trailers`: names and values in turn. */
  onEnd(trailers: readonly string[]): void
  /** 101 to a request that asked for it; `rest` is the first of what the new protocol says. */
  onUpgrade(head: ResponseHead, rest: Buffer): void
}

const HEAD = 0
const BODY_LENGTH = 1
const BODY_CLOSE = 2
const CHUNK_SIZE = 3
const CHUNK_DATA = 4
const CHUNK_END = 5
const TRAILERS = 6
const DONE = 7
const UPGRADED = 8

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const CHUNK_LINE = /^([0-9a-fA-F]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/
const CHUNK_LINE_BYTES_MAX = 256
const FIELDS_MAX = 1_024
/** Of one request; more than any server has a use for. */
export const INTERIMS_MAX = 16
export const TOO_MANY_INTERIMS = 'it sent too many interim responses'
const EMPTY: readonly string[] = []

/** A head as it stands, whatever it answers. */
interface ReadHead {
  readonly status: number
  readonly statusText: string
  readonly rawHeaders: readonly string[]
  readonly section: Section | undefined
  readonly keepAlive: boolean
  readonly keepAliveS: number | undefined
  readonly contentLength: string | undefined
  readonly chunked: boolean
  readonly upgrade: boolean
  /** Says where it ends, and so that it might mean another place. */
  readonly odd: boolean
}

const knownHeads = new KnownSections<ReadHead>()

export class ResponseParser {
  readonly #bounds: HeadBounds
  readonly #events: ResponseEvents
  #state = DONE
  #headRequest = false
  #upgradeAsked = false
  #held: Buffer | undefined
  #left = 0
  #interims = 0
  /** One of the interim responses was odd. */
  #odd = false
  /** Where the head that came last is known. */
  #knownAt = 0

  constructor(headerBytesMax: number, events: ResponseEvents) {
    this.#bounds = { lineBytesMax: headerBytesMax, bytesMax: headerBytesMax, fieldsMax: FIELDS_MAX }
    this.#events = events
  }

  /** Prepares for the response to the request about to be sent. */
  begin(method: string, upgradeAsked = false): void {
    this.#state = HEAD
    this.#headRequest = method === 'HEAD'
    this.#upgradeAsked = upgradeAsked
    this.#held = undefined
    this.#interims = 0
    this.#odd = false
  }

  get done(): boolean {
    return this.#state === DONE
  }

  /** Takes bytes, which may be overwritten after. Returns why they are not HTTP, or undefined. Calls nothing more after `onEnd` or a problem. */
  push(chunk: Buffer): string | undefined {
    let bytes = chunk
    if (this.#held !== undefined) {
      bytes = Buffer.concat([this.#held, chunk])
      this.#held = undefined
    }
    let at = 0
    for (;;) {
      switch (this.#state) {
        case HEAD: {
          const { bytesMax } = this.#bounds
          const known = knownHeads.find(bytes, at, bytes.length, this.#knownAt)
          let head: ReadHead
          if (known !== undefined && known.bytes.length <= bytesMax) {
            head = known.said
            at += known.bytes.length
            this.#knownAt = known.slot
          } else {
            const end = scanHead(bytes, at, bytes.length, this.#bounds)
            if (end === INCOMPLETE) return this.#hold(bytes, at, bytesMax, 'header')
            if (end < 0) return end === MALFORMED ? 'its header is malformed' : 'its header is too long'
            const read = readHead(latin1(bytes, at, end))
            if (typeof read === 'string') return read
            if (knownHeads.learn(bytes, at, end, read) && read.section !== undefined) read.section.repeats = true
            head = read
            at = end
          }
          const outcome = this.#answer(head)
          if (typeof outcome === 'string') return outcome
          if (outcome !== undefined) {
            this.#state = UPGRADED
            this.#events.onUpgrade(outcome, bytes.subarray(at))
            return undefined
          }
          break
        }
        case BODY_LENGTH: {
          const take = Math.min(this.#left, bytes.length - at)
          if (take === 0) return undefined
          this.#left -= take
          this.#events.onBody(take === bytes.length ? bytes : bytes.subarray(at, at + take))
          at += take
          if (this.#left === 0) this.#end(EMPTY)
          break
        }
        case BODY_CLOSE:
          if (at < bytes.length) this.#events.onBody(at === 0 ? bytes : bytes.subarray(at))
          return undefined
        case CHUNK_SIZE: {
          const end = bytes.indexOf('\r\n', at)
          if (end < 0) return this.#hold(bytes, at, CHUNK_LINE_BYTES_MAX + 1, 'chunk size')
          const match = end - at > CHUNK_LINE_BYTES_MAX ? null : CHUNK_LINE.exec(bytes.toString('latin1', at, end))
          if (match === null) return 'its chunk size is malformed'
          this.#left = Number.parseInt(match[1]!, 16)
          this.#state = this.#left === 0 ? TRAILERS : CHUNK_DATA
          at = end + 2
          break
        }
        case CHUNK_DATA: {
          const take = Math.min(this.#left, bytes.length - at)
          if (take === 0) return undefined
          this.#left -= take
          this.#events.onBody(bytes.subarray(at, at + take))
          at += take
          if (this.#left === 0) this.#state = CHUNK_END
          break
        }
        case CHUNK_END:
          if (bytes.length - at < 2) return this.#hold(bytes, at, 2, 'chunk')
          if (bytes[at] !== 13 || bytes[at + 1] !== 10) return 'its chunk is longer than its size'
          this.#state = CHUNK_SIZE
          at += 2
          break
        case TRAILERS: {
          if (bytes.length - at < 2) return this.#hold(bytes, at, 2, 'trailers')
          if (bytes[at] === 13 && bytes[at + 1] === 10) {
            at += 2
            this.#end(EMPTY)
            break
          }
          const end = bytes.indexOf('\r\n\r\n', at)
          if (end < 0) return this.#hold(bytes, at, this.#bounds.bytesMax + 3, 'trailers')
          if (end - at > this.#bounds.bytesMax) return 'its trailers are too long'
          const trailers = parseFields(bytes.toString('latin1', at, end).split('\r\n'), 0)
          if (trailers === undefined) return 'its trailers are malformed'
          at = end + 4
          this.#end(trailers)
          break
        }
        case UPGRADED:
          return undefined
        default:
          // Bytes after the end answer a question that nobody asked: a smuggled response.
          return at < bytes.length ? 'it sent more than its response' : undefined
      }
    }
  }

  /** The connection ended. Returns what is missing, or undefined when that was the response's end. */
  close(): string | undefined {
    if (this.#state === BODY_CLOSE) {
      this.#end(EMPTY)
      return undefined
    }
    return this.#state === DONE ? undefined : 'it closed the connection before its response was complete'
  }

  #end(trailers: readonly string[]): void {
    this.#state = DONE
    this.#events.onEnd(trailers)
  }

  /** Keeps what has no end yet. `max` leaves room for the beginning of that end, so that a bound does not depend on the cut. */
  #hold(bytes: Buffer, at: number, max: number, what: string): string | undefined {
    if (bytes.length - at > max) return `its ${what} is too long`
    if (at < bytes.length) this.#held = Buffer.from(bytes.subarray(at))
    return undefined
  }

  /** Begins the response with this head. Returns a problem, or the head of an upgrade. */
  #answer(head: ReadHead): string | ResponseHead | undefined {
    const { status, statusText, rawHeaders, section, keepAliveS, contentLength, upgrade } = head
    let { keepAlive } = head
    if (head.odd || this.#odd) keepAlive = false
    if (status === 101) {
      if (!this.#upgradeAsked) return 'it switched protocols unasked'
      return { status, statusText, rawHeaders, keepAlive, keepAliveS, bodyBytes: 0, contentLength, upgrade }
    }
    if (status < 200) {
      if (++this.#interims > INTERIMS_MAX) return TOO_MANY_INTERIMS
      if (announcesBody(head)) this.#odd = true
      this.#events.onInterim({
        status,
        statusText,
        rawHeaders,
        keepAlive,
        keepAliveS,
        bodyBytes: 0,
        contentLength,
        upgrade,
      })
      return undefined
    }
    // RFC 9112 section 6.3, in its order.
    const bodyless = this.#headRequest || status === 204 || status === 304
    let bodyBytes: number | undefined
    if (bodyless) {
      bodyBytes = 0
      this.#state = DONE
      // Of a 304, the length is that of what it stands for (RFC 9110 section 8.6).
      if (status === 204 ? announcesBody(head) : status === 304 && head.chunked) keepAlive = false
    } else if (head.chunked) {
      this.#state = CHUNK_SIZE
    } else if (contentLength !== undefined) {
      bodyBytes = this.#left = Number(contentLength)
      this.#state = bodyBytes === 0 ? DONE : BODY_LENGTH
    } else {
      this.#state = BODY_CLOSE
      keepAlive = false
    }
    this.#events.onHead({
      status,
      statusText,
      rawHeaders,
      section,
      keepAlive,
      keepAliveS,
      bodyBytes,
      contentLength,
      upgrade,
    })
    if (this.#state === DONE) this.#events.onEnd(EMPTY)
    return undefined
  }
}

/** Of a status that has no body: some would look for one. */
function announcesBody({ chunked, contentLength }: ReadHead): boolean {
  return chunked || (contentLength !== undefined && contentLength !== '0')
}

/** Reads the head that was scanned last, whose Latin-1 text this is. Returns a problem, or what it says. */
function readHead(text: string): string | ReadHead {
  const line = firstLine(text)
  if (!STATUS_LINE.test(line)) return 'its status line is malformed'
  const rawHeaders = fieldsOf(text)
  const status = (line.charCodeAt(9) - 48) * 100 + (line.charCodeAt(10) - 48) * 10 + line.charCodeAt(11) - 48
  const statusText = line.slice(13)
  let contentLength: string | undefined
  let transferEncoding: string | undefined
  const modern = line.charCodeAt(7) === 49
  let keepAlive = modern
  let closes = false
  let odd = false
  let keepAliveS: number | undefined
  let upgrade = false
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = lowerName(rawHeaders[at]!)
    const value = rawHeaders[at + 1]!
    if (name === 'content-length') {
      if (contentLength !== undefined) {
        if (contentLength !== value) return 'it gave two lengths'
        odd = true
      }
      contentLength = value
    } else if (name === 'transfer-encoding') {
      if (transferEncoding !== undefined) return 'it gave two Transfer-Encoding headers'
      transferEncoding = value.toLowerCase()
    } else if (name === 'connection') {
      if (value === 'keep-alive') keepAlive = true
      else {
        const lower = value.toLowerCase()
        if (lower.includes('close')) closes = true
        else if (lower.includes('keep-alive')) keepAlive = true
        if (lower.includes('upgrade')) upgrade = true
      }
    } else if (name === 'keep-alive') {
      const seconds = /timeout=([0-9]{1,6})/.exec(value)
      if (seconds !== null) keepAliveS = Number(seconds[1])
    }
  }
  if (contentLength !== undefined && !/^[0-9]{1,15}$/.test(contentLength)) return 'its Content-Length is malformed'
  if (transferEncoding !== undefined && contentLength !== undefined) return 'it gave Transfer-Encoding and Content-Length'
  if (transferEncoding !== undefined && transferEncoding !== 'chunked') return 'its Transfer-Encoding is not chunked'
  return {
    status,
    statusText,
    rawHeaders,
    section: sectionOf(text, rawHeaders),
    keepAlive: keepAlive && !closes,
    keepAliveS,
    contentLength,
    chunked: transferEncoding !== undefined,
    upgrade,
    // RFC 9112 section 6.1: what HTTP/1.0 says of codings is faulty, even where it seems to be understood.
    odd: odd || (transferEncoding !== undefined && !modern),
  }
}

/** Fields from `from` on, names and values in turn; undefined when one is malformed (RFC 9112 section 5). */
function parseFields(lines: readonly string[], from: number): string[] | undefined {
  const fields: string[] = []
  for (let at = from; at < lines.length; at++) {
    const line = lines[at]!
    const colon = line.indexOf(':')
    if (colon < 1) return undefined
    const name = line.slice(0, colon)
    // A folded line begins with space, which no token does.
    if (lowerName(name) === undefined) return undefined
    const value = trimmed(line, colon + 1)
    if (value === undefined) return undefined
    fields.push(name, value)
  }
  return fields
}

/** Without the white space around it; undefined when a control character is in it. */
function trimmed(line: string, from: number): string | undefined {
  let start = from
  let end = line.length
  while (start < end && isBlank(line.charCodeAt(start))) start++
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--
  for (let at = start; at < end; at++) {
    const code = line.charCodeAt(at)
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return undefined
  }
  return line.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
