/**
 * The first thing that a TLS client says, read before the TLS engine sees it: to choose the certificate, to tell clients apart,
 * and to refuse what is no TLS without setting anything up for it. Pure.
 *
 * Strict: every length must fit the one around it, and no extension may come twice. Source: RFC 8446 sections 4.1.2, 4.2 and
 * 5.1, RFC 6066 section 3, RFC 7301 section 3.1.
 */

/** What a client offers. Lists as it sent them, with its invented values (GREASE, RFC 8701). */
export interface ClientHello {
  readonly legacyVersion: number
  readonly ciphers: readonly number[]
  /** Types, in order. */
  readonly extensions: readonly number[]
  /** Lower case; undefined when it names no host. */
  readonly serverName: string | undefined
  /** Whether it says the extension at all. */
  readonly namesServer: boolean
  readonly alpn: readonly Buffer[]
  readonly supportedVersions: readonly number[]
  readonly signatureAlgorithms: readonly number[]
}

export type HelloReading =
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  | { readonly kind: 'more' }
  /** `alert`: what TLS calls it (RFC 8446 section 6). */
  | { readonly kind: 'refused'; readonly why: string; readonly alert: number }

/** Record headers included. The largest of today's clients, post-quantum key shares included, send under 3 KB. */
export const HELLO_BYTES_MAX = 16_384

export const ALERT_UNEXPECTED_MESSAGE = 10
export const ALERT_DECODE_ERROR = 50
export const ALERT_PROTOCOL_VERSION = 70
export const ALERT_UNRECOGNIZED_NAME = 112

const HANDSHAKE = 22
const CLIENT_HELLO = 1
const RECORD_BYTES_MAX = 16_384
const EXTENSIONS_MAX = 256
const SERVER_NAME = 0
const SIGNATURE_ALGORITHMS = 13
const ALPN = 16
const SUPPORTED_VERSIONS = 43
const HOST_NAME = /^[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?$/

const MORE: HelloReading = { kind: 'more' }

/** @param bytes All that the connection has said so far. */
export function readClientHello(bytes: Buffer): HelloReading {
  const message = handshakeMessage(bytes)
  if (!Buffer.isBuffer(message)) return message
  const hello = parseHello(message)
  return hello === undefined ? refused('the ClientHello is malformed', ALERT_DECODE_ERROR) : { kind: 'hello', hello }
}

function refused(why: string, alert: number): HelloReading {
  return { kind: 'refused', why, alert }
}

/** Puts the first handshake message together from its records; it may be cut over several. */
function handshakeMessage(bytes: Buffer): Buffer | HelloReading {
  const parts: Buffer[] = []
  let have = 0
  let wanted = 4
  let at = 0
  for (;;) {
    if (bytes.length > at && bytes[at] !== HANDSHAKE) return refused('not TLS', ALERT_UNEXPECTED_MESSAGE)
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return refused('not TLS', ALERT_PROTOCOL_VERSION)
    if (bytes.length < at + 5) return bytes.length >= HELLO_BYTES_MAX ? tooLong() : MORE
    const length = bytes.readUInt16BE(at + 3)
    // An empty fragment of a handshake message is not allowed (RFC 8446 section 5.1).
    if (length === 0 || length > RECORD_BYTES_MAX) return refused('a TLS record of no allowed length', ALERT_DECODE_ERROR)
    const part = bytes.subarray(at + 5, Math.min(bytes.length, at + 5 + length))
    parts.push(part)
    have += part.length
    if (wanted === 4 && have >= 4) {
      const head = parts.length === 1 ? part : Buffer.concat(parts)
      if (head[0] !== CLIENT_HELLO) return refused('TLS that does not begin with a ClientHello', ALERT_UNEXPECTED_MESSAGE)
      wanted = 4 + head.readUIntBE(1, 3)
      if (wanted > HELLO_BYTES_MAX) return tooLong()
    }
    if (have >= wanted && wanted > 4) {
      const whole = parts.length === 1 ? part : Buffer.concat(parts)
      return have > wanted ? refused('something follows the ClientHello', ALERT_UNEXPECTED_MESSAGE) : whole.subarray(4)
    }
    if (wanted === 4 && have >= 4) return refused('the ClientHello is empty', ALERT_DECODE_ERROR)
    at += 5 + length
    if (at > bytes.length || at >= HELLO_BYTES_MAX) return at >= HELLO_BYTES_MAX ? tooLong() : MORE
  }
}

function tooLong(): HelloReading {
  return refused(`the ClientHello is longer than ${HELLO_BYTES_MAX} bytes`, ALERT_DECODE_ERROR)
}

/** Reads lengths and values; `ok` turns false for good at the first that does not fit. */
class Cursor {
  readonly #bytes: Buffer
  #at = 0
  ok = true

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  number(size: 1 | 2): number {
    if (this.#at + size > this.#bytes.length) {
      this.ok = false
      this.#at = this.#bytes.length
      return 0
    }
    const value = size === 1 ? this.#bytes[this.#at]! : this.#bytes.readUInt16BE(this.#at)
    this.#at += size
    return value
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) {
      this.ok = false
      this.#at = this.#bytes.length
      return EMPTY
    }
    const taken = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return taken
  }

  /** What a length of `size` bytes says. */
  vector(size: 1 | 2): Buffer {
    return this.take(this.number(size))
  }
}

const EMPTY = Buffer.alloc(0)

function parseHello(message: Buffer): ClientHello | undefined {
  const cursor = new Cursor(message)
  const legacyVersion = cursor.number(2)
  cursor.take(32)
  if (cursor.vector(1).length > 32) return undefined
  const ciphers = numbers(cursor.vector(2))
  const compressions = cursor.vector(1)
  if (!cursor.ok || ciphers === undefined || ciphers.length === 0 || compressions.length === 0) return undefined
  const extensions: number[] = []
  const seen = new Set<number>()
  let serverName: string | undefined
  let alpn: readonly Buffer[] | undefined = []
  let supportedVersions: readonly number[] | undefined = []
  let signatureAlgorithms: readonly number[] | undefined = []
  if (!cursor.atEnd) {
    const section = new Cursor(cursor.vector(2))
    if (!cursor.ok || !cursor.atEnd) return undefined
    while (!section.atEnd) {
      const type = section.number(2)
      const body = section.vector(2)
      if (!section.ok || seen.has(type) || extensions.length === EXTENSIONS_MAX) return undefined
      seen.add(type)
      extensions.push(type)
      if (type === SERVER_NAME) {
        const name = hostName(body)
        if (name === undefined) return undefined
        serverName = name === '' ? undefined : name
      } else if (type === ALPN) alpn = protocols(body)
      else if (type === SUPPORTED_VERSIONS) supportedVersions = numbers(body, 1)
      else if (type === SIGNATURE_ALGORITHMS) signatureAlgorithms = numbers(body, 2)
      if (alpn === undefined || supportedVersions === undefined || signatureAlgorithms === undefined) return undefined
    }
  }
  const namesServer = seen.has(SERVER_NAME)
  return { legacyVersion, ciphers, extensions, serverName, namesServer, alpn, supportedVersions, signatureAlgorithms }
}

/** Numbers of two bytes. @param lengthBytes Of the length before them, which must be all there is; 0: none. */
function numbers(bytes: Buffer, lengthBytes: 0 | 1 | 2 = 0): readonly number[] | undefined {
  let list = bytes
  if (lengthBytes !== 0) {
    const cursor = new Cursor(bytes)
    list = cursor.vector(lengthBytes)
    if (!cursor.ok || !cursor.atEnd) return undefined
  }
  if (list.length % 2 !== 0) return undefined
  const found: number[] = new Array(list.length / 2)
  for (let at = 0; at < list.length; at += 2) found[at / 2] = list.readUInt16BE(at)
  return found
}

function protocols(body: Buffer): readonly Buffer[] | undefined {
  const outer = new Cursor(body)
  const list = new Cursor(outer.vector(2))
  if (!outer.ok || !outer.atEnd) return undefined
  const found: Buffer[] = []
  while (!list.atEnd) {
    const name = list.vector(1)
    if (!list.ok || name.length === 0) return undefined
    found.push(name)
  }
  return found
}

/** The host named, in lower case; `''` for a list of other kinds of names, or a name that no host can have; undefined: malformed. */
function hostName(body: Buffer): string | undefined {
  const outer = new Cursor(body)
  const list = new Cursor(outer.vector(2))
  if (!outer.ok || !outer.atEnd || list.atEnd) return undefined
  let name: string | undefined
  while (!list.atEnd) {
    const kind = list.number(1)
    const value = list.vector(2)
    if (!list.ok || value.length === 0) return undefined
    if (kind !== 0) continue
    if (name !== undefined) return undefined
    name = value.toString('latin1').toLowerCase()
  }
  return name !== undefined && HOST_NAME.test(name) ? name : ''
}
