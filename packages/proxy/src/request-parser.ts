/**
 * HTTP/1.1 requests, from chunks of bytes cut anywhere: any split of the bytes is the same input. Pure: bytes in, one
 * event at a time out, so that whoever reads can stop between any two of them.
 *
 * Strict (RFC 9112): what two parsers could read in two ways is refused. Nothing is kept but a head that is not complete
 * yet, within bounds. Trailers are read by the same rules and dropped (RFC 9110 section 6.5.1 permits it): the guard has not
 * seen them.
 */
import {
  fieldsOf,
  firstLine,
  type HeadBounds,
  INCOMPLETE,
  LINE_TOO_LONG,
  MALFORMED,
  type Section,
  scanFields,
  scanLine,
  sectionOf,
  TOO_MANY_FIELDS,
} from './head-scanner.ts'
import { KnownSections } from './known-sections.ts'
import { latin1 } from './latin1.ts'
import { type HeaderMeaning, type HeadRefused, meaningOf, parseRequestHead, type RequestHead } from './request-head.ts'

/** What `read` came upon. */
export type RequestEvent = 0 | 1 | 2 | 3 | 4
/** All bytes are read, and more are wanted. */
export const MORE = 0
/** `head` is set, and `refused` when it cannot be passed on. */
export const HEAD = 1
/** The body's next bytes lie from `from` to `to`. */
export const BODY = 2
/** The body is complete. Only for requests with one: others are `done` with their head. */
export const END = 3
/** Not HTTP, or ambiguous: `problem` says why. Nothing after it can be trusted. */
export const REFUSED = 4

/** A request as it was sent, before it is judged. */
export interface RawRequest {
  readonly method: string
  readonly url: string
  readonly httpVersion: '1.0' | '1.1' | '2.0'
  /** Names and values in turn, without the white space around them. */
  readonly rawHeaders: readonly string[]
  readonly head: RequestHead | HeadRefused
  readonly section?: Section | undefined
}

export interface RequestProblem {
  readonly refused: string
  readonly status: 400 | 413 | 414 | 431
}

const START = 0
const START_LF = 1
const IN_HEAD = 2
const BODY_LENGTH = 3
const BODY_END = 4
const CHUNK_SIZE = 5
const CHUNK_DATA = 6
const CHUNK_CR = 7
const CHUNK_LF = 8
const TRAILERS = 9
const DONE = 10
const BROKEN = 11

const REQUEST_LINE = /^([A-Z][A-Z-]{0,31}) ([^ \t]+) HTTP\/1\.([01])$/
const CHUNK_LINE = /^([0-9a-fA-F]{1,12})(;[\t\x20-\x7e\x80-\xff]*)?$/
const TRAILER = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/
const CHUNK_LINE_BYTES_MAX = 256
/** Of all chunks of one request: extensions are bytes that no length bounds. */
const EXTENSION_BYTES_MAX = 16_384
const HELD_BYTES_MIN = 512
const knownSections = new KnownSections<HeaderSection>()
const LF = 10

/** Headers, and what was found out about them. */
interface HeaderSection {
  readonly rawHeaders: readonly string[]
  readonly section: Section | undefined
  /** In HTTP/1.1, once a request line in that version has come with them. */
  meaning: HeaderMeaning | HeadRefused | undefined
}

export class RequestParser {
  readonly #bounds: HeadBounds
  #state: number = START
  /** Of a head that is not complete yet. */
  #held: Buffer | undefined
  #heldBytes = 0
  #emptyLineSeen = false
  #left = 0
  /** Of a chunk's first line or a trailer that is not complete yet. */
  #line = ''
  #extensionBytes = 0
  #trailerBytes = 0
  #trailers = 0
  /** Where the headers that came last are known: the client most likely says the same again. */
  #knownAt = 0
  request: RawRequest | undefined
  problem: RequestProblem | undefined
  /** Where reading goes on. */
  at = 0
  from = 0
  to = 0

  constructor(bounds: HeadBounds) {
    this.#bounds = bounds
  }

  /** Whether the request is complete; `next` begins another. */
  get done(): boolean {
    return this.#state === DONE
  }

  /** Whether no byte of a request has arrived. */
  get idle(): boolean {
    return this.#state === START && !this.#emptyLineSeen
  }

  next(): void {
    this.#state = START
    this.#emptyLineSeen = false
    this.request = undefined
  }

  /** Reads on in `bytes` from `at`, until the first event. */
  read(bytes: Buffer, at: number): RequestEvent {
    this.at = at
    for (;;) {
      switch (this.#state) {
        case START: {
          if (this.at === bytes.length) return MORE
          const first = bytes[this.at]!
          // RFC 9112 section 2.2: an empty line before the request line is ignored; one, as it says.
          if (first === 13 && !this.#emptyLineSeen) {
            this.#emptyLineSeen = true
            this.at++
            this.#state = START_LF
            break
          }
          // Known at once: TLS, HTTP/1 responses, binary protocols. They might never send what ends a line.
          if (first < 65 || first > 90) return this.#refuse('request line', 400)
          this.#state = IN_HEAD
          break
        }
        case START_LF:
          if (this.at === bytes.length) return MORE
          if (bytes[this.at++] !== LF) return this.#refuse('request line', 400)
          this.#state = START
          break
        case IN_HEAD:
          return this.#readHead(bytes)
        case BODY_LENGTH: {
          const take = Math.min(this.#left, bytes.length - this.at)
          if (take === 0) return MORE
          this.#take(take)
          if (this.#left === 0) this.#state = BODY_END
          return BODY
        }
        case BODY_END:
          this.#state = DONE
          return END
        case CHUNK_SIZE: {
          const line = this.#readLine(bytes, CHUNK_LINE_BYTES_MAX)
          if (line === undefined) return MORE
          if (line === TOO_LONG_LINE) return this.#refuse('a chunk extension is too long', 413)
          const match = CHUNK_LINE.exec(line)
          if (match === null) return this.#refuse('chunk size', 400)
          this.#extensionBytes += match[2]?.length ?? 0
          if (this.#extensionBytes > EXTENSION_BYTES_MAX) return this.#refuse('chunk extensions are too long', 413)
          this.#left = Number.parseInt(match[1]!, 16)
          this.#state = this.#left === 0 ? TRAILERS : CHUNK_DATA
          break
        }
        case CHUNK_DATA: {
          const take = Math.min(this.#left, bytes.length - this.at)
          if (take === 0) return MORE
          this.#take(take)
          if (this.#left === 0) this.#state = CHUNK_CR
          return BODY
        }
        case CHUNK_CR:
        case CHUNK_LF:
          if (this.at === bytes.length) return MORE
          if (bytes[this.at++] !== (this.#state === CHUNK_CR ? 13 : LF)) {
            return this.#refuse('a chunk is longer than its size', 400)
          }
          this.#state = this.#state === CHUNK_CR ? CHUNK_LF : CHUNK_SIZE
          break
        case TRAILERS: {
          const line = this.#readLine(bytes, this.#bounds.bytesMax - this.#trailerBytes)
          if (line === undefined) return MORE
          if (line === TOO_LONG_LINE) return this.#refuse('trailers are too long', 431)
          if (line === '') {
            this.#state = DONE
            return END
          }
          if (!TRAILER.test(line)) return this.#refuse('trailer', 400)
          this.#trailerBytes += line.length + 2
          if (++this.#trailers > this.#bounds.fieldsMax) return this.#refuse('too many trailers', 431)
          break
        }
        case BROKEN:
          return REFUSED
        default:
          return MORE
      }
    }
  }

  #take(count: number): void {
    this.from = this.at
    this.to = this.at + count
    this.at = this.to
    this.#left -= count
  }

  #readHead(bytes: Buffer): RequestEvent {
    const { bytesMax } = this.#bounds
    let section = bytes
    let from = this.at
    let to = bytes.length
    const before = this.#heldBytes
    if (before > 0) {
      const added = Math.min(to - from, bytesMax + 1 - before)
      this.#hold(bytes, from, from + added)
      section = this.#held!
      from = 0
      to = this.#heldBytes
    }
    const fieldsAt = scanLine(section, from, to, this.#bounds)
    if (before === 0 && fieldsAt > 0) {
      const known = knownSections.find(bytes, fieldsAt, to, this.#knownAt)
      if (
        known !== undefined &&
        fieldsAt - from + known.bytes.length <= bytesMax &&
        known.said.rawHeaders.length <= 2 * this.#bounds.fieldsMax
      ) {
        this.#knownAt = known.slot
        return this.#begin(latin1(bytes, from, fieldsAt - 2), fieldsAt + known.bytes.length, known.said)
      }
    }
    const end = fieldsAt > 0 ? scanFields(section, from, fieldsAt, to, this.#bounds) : fieldsAt
    if (end === INCOMPLETE) {
      if (before === 0) this.#hold(bytes, from, to)
      this.at = bytes.length
      return MORE
    }
    if (end < 0) {
      if (end === MALFORMED) return this.#refuse('header section', 400)
      if (end === LINE_TOO_LONG) return this.#refuse('the request line is too long', 414)
      return this.#refuse(end === TOO_MANY_FIELDS ? 'too many headers' : 'the header section is too long', 431)
    }
    const text = latin1(section, from, end)
    const first = firstLine(text)
    const rawHeaders = fieldsOf(text)
    const said = { rawHeaders, section: sectionOf(text, rawHeaders), meaning: undefined }
    if (knownSections.learn(section, fieldsAt, end, said) && said.section !== undefined) said.section.repeats = true
    return this.#begin(first, before === 0 ? end : this.at + end - before, said)
  }

  /** With the head read, which ends at `end`. */
  #begin(first: string, end: number, said: HeaderSection): RequestEvent {
    const line = REQUEST_LINE.exec(first)
    if (line === null) return this.#refuse('request line', 400)
    this.at = end
    this.#held = undefined
    this.#heldBytes = 0
    const method = line[1]!
    const url = line[2]!
    const httpVersion = line[3] === '1' ? '1.1' : '1.0'
    const { rawHeaders, section } = said
    const meaning = httpVersion === '1.0' ? undefined : (said.meaning ??= meaningOf(rawHeaders, httpVersion))
    const head = parseRequestHead(method, url, httpVersion, rawHeaders, meaning)
    this.request = { method, url, httpVersion, rawHeaders, head, section }
    if ('refused' in head) this.#state = BROKEN
    else if (head.contentLength === 0) this.#state = DONE
    else if (head.contentLength === undefined) {
      this.#state = CHUNK_SIZE
      this.#extensionBytes = 0
      this.#trailerBytes = 0
      this.#trailers = 0
    } else {
      this.#state = BODY_LENGTH
      this.#left = head.contentLength
    }
    return HEAD
  }

  /** Copies: the bytes are the reader's, who reuses them. */
  #hold(bytes: Buffer, from: number, to: number): void {
    const length = this.#heldBytes + to - from
    if (this.#held === undefined || this.#held.length < length) {
      let capacity = Math.max(HELD_BYTES_MIN, this.#held?.length ?? 0)
      while (capacity < length) capacity *= 2
      const grown = Buffer.allocUnsafeSlow(capacity)
      this.#held?.copy(grown, 0, 0, this.#heldBytes)
      this.#held = grown
    }
    bytes.copy(this.#held, this.#heldBytes, from, to)
    this.#heldBytes = length
  }

  /** The next line without its CR LF; undefined when it is not complete; `TOO_LONG_LINE` past `max`. */
  #readLine(bytes: Buffer, max: number): string | undefined {
    const end = bytes.indexOf(LF, this.at)
    const to = end < 0 ? bytes.length : end + 1
    if (this.#line.length + to - this.at > max + 2) return TOO_LONG_LINE
    this.#line += bytes.toString('latin1', this.at, to)
    this.at = to
    if (end < 0) return undefined
    const line = this.#line
    this.#line = ''
    // A bare LF stays in the line, where no pattern takes it.
    return line.endsWith('\r\n') ? line.slice(0, -2) : line
  }

  #refuse(refused: string, status: RequestProblem['status']): RequestEvent {
    this.#state = BROKEN
    this.#held = undefined
    this.#line = ''
    this.problem = { refused, status }
    return REFUSED
  }
}

const TOO_LONG_LINE = '\n\n'
