/** Which answers are compressed for a client, how they say so, and the compressing itself, within bounds. */

import {
  type BrotliCompress,
  brotliCompress,
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  type Gzip,
  gzip,
  gzipSync,
  type ZstdCompress,
  zstdCompress,
  zstdCompressSync,
} from 'node:zlib'
import type { CompressionPolicy } from '@ringwall/ring'
import { directivesOf, valuesOf } from './cache-control.ts'
import type { CacheStore, Stored } from './cache-store.ts'
import { hasOtherCookie } from './cache-terms.ts'
import type { Counters } from './context.ts'
import type { ResponseHead } from './response-parser.ts'

export type Coding = CompressionPolicy['codings'][number]

/** Answers that are compressed at a time: each takes a megabyte or so. More go out as they are. */
const ENCODERS_MAX = 128
/** Of whole bodies that are kept: they take a thread of the pool each, and are short. */
const WHOLES_MAX = 4
/**
 * Bodies up to this length that say so, or that come in one piece, are compressed in one go once they are whole: as a stream each would
 * cost twice as much.
 */
export const SMALL_BYTES_MAX = 32_768
/** What has come is sent on, though more would compress better, when nothing more comes for so long. */
const QUIET_MS = 10
const MEMBERS_MAX = 64

/** Levels at which compressing costs about as little as the bytes that it saves; windows that many streams can have at once. */
const BROTLI = {
  params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 18 },
}
const GZIP = { level: 5, memLevel: 8 }
const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_windowLog]: 18 } }

/** Those of the encoded body, or of its parts: they do not hold for another form of it. */
const DROPPED: ReadonlySet<string> = new Set(['accept-ranges', 'content-digest', 'content-md5', 'digest', 'repr-digest'])

/** Of the codings offered, what the client likes best (RFC 9110 section 12.5.3); undefined: as it is. */
export function wantedCoding(rawHeaders: readonly string[], codings: readonly Coding[]): Coding | undefined {
  const values = valuesOf(rawHeaders, 'accept-encoding')
  if (values.length === 0) return undefined
  const members = values.join(',').toLowerCase().split(',', MEMBERS_MAX)
  const weights = new Map<string, number>()
  for (const member of members) {
    const match = /^[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?$/.exec(member)
    if (match === null) continue
    const name = match[1] === 'x-gzip' ? 'gzip' : match[1]!
    weights.set(name, match[2] === undefined ? 1 : Number(match[2]))
  }
  const others = weights.get('*')
  let best: Coding | undefined
  let weight = weights.get('identity') ?? 0
  for (const coding of codings) {
    const own = weights.get(coding) ?? others ?? 0
    if (own > 0 && (best === undefined ? own >= weight : own > weight)) {
      best = coding
      weight = own
    }
  }
  return best
}

/** What may be done to an answer. */
export interface Compressing {
  /** Undefined: it goes out as it is, but would not to another client. */
  readonly coding: Coding | undefined
}

/**
 * Undefined when it goes out as it is, whatever the client likes.
 *
 * @param request Its fields. @param hasCredential A token came with it. @param ownCookies Names of cookies that are ours.
 */
export function compressing(
  head: ResponseHead,
  request: readonly string[],
  hasCredential: boolean,
  policy: CompressionPolicy,
  ownCookies: readonly string[] = [],
): Compressing | undefined {
  const { status, rawHeaders } = head
  if (policy.mode === 'off' || status < 200 || status === 204 || status === 205 || status === 206 || status === 304)
    return undefined
  if (head.contentLength !== undefined && Number(head.contentLength) < policy.bytesMin) return undefined
  const encodings = valuesOf(rawHeaders, 'content-encoding')
  if (encodings.some((value) => value.trim().toLowerCase() !== 'identity') || valuesOf(rawHeaders, 'content-range').length > 0)
    return undefined
  const [type, ...types] = valuesOf(rawHeaders, 'content-type')
  if (type === undefined || types.length > 0 || !isCompressible(type, policy.types)) return undefined
  const controls = directivesOf(valuesOf(rawHeaders, 'cache-control'))
  if (controls.has('no-transform') || directivesOf(valuesOf(request, 'cache-control')).has('no-transform')) return undefined
  if (policy.credentials === 'refuse' && !controls.has('public') && !controls.has('s-maxage')) {
    if (valuesOf(rawHeaders, 'set-cookie').length > 0) return undefined
    const hasCookie = valuesOf(request, 'cookie').some((value) => hasOtherCookie(value, ownCookies))
    if (hasCredential || hasCookie || valuesOf(request, 'authorization').length > 0) return AS_IT_IS
  }
  return { coding: wantedCoding(request, policy.codings) }
}

const AS_IT_IS: Compressing = { coding: undefined }

function isCompressible(contentType: string, types: readonly string[]): boolean {
  const end = contentType.indexOf(';')
  const type = (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
  return types.some((pattern) => {
    const star = pattern.indexOf('*')
    if (star < 0) return pattern === type
    return type.length >= pattern.length && type.startsWith(pattern.slice(0, star)) && type.endsWith(pattern.slice(star + 1))
  })
}

/** The head of the answer in that form. Its length is known when the body is. */
export function compressedHead(head: ResponseHead, { coding }: Compressing, bodyBytes?: number): ResponseHead {
  const fields: string[] = []
  let varies = false
  for (let at = 0; at < head.rawHeaders.length; at += 2) {
    const name = head.rawHeaders[at]!
    const value = head.rawHeaders[at + 1]!
    const lower = name.toLowerCase()
    if (lower === 'vary') varies ||= /(?:^|,)[ \t]*(?:accept-encoding|\*)[ \t]*(?:,|$)/i.test(value)
    if (coding === undefined) fields.push(name, value)
    // It is the same only in what it means (RFC 9110 section 8.8.3.3).
    else if (lower === 'etag') fields.push(name, value.startsWith('W/') ? value : `W/${value}`)
    else if (!DROPPED.has(lower) && lower !== 'content-encoding') fields.push(name, value)
  }
  if (!varies) fields.push('vary', 'accept-encoding')
  if (coding === undefined) return { ...head, rawHeaders: fields }
  // A 304 stands for an answer in that form, and has none itself.
  if (head.status === 304) return { ...head, rawHeaders: fields }
  fields.push('content-encoding', coding)
  const length = bodyBytes === undefined ? undefined : String(bodyBytes)
  return { ...head, rawHeaders: fields, bodyBytes, contentLength: length }
}

export interface EncoderOwner {
  /** More of the compressed body; to be copied. */
  onEncoded(bytes: Buffer): void
  /** It takes more, after `write` said that it does not. */
  onEncoderDrain(): void
  onEncoderEnd(): void
  onEncoderFailure(message: string): void
}

/** Compresses one answer as it comes. */
export class Encoder {
  readonly #stream: BrotliCompress | Gzip | ZstdCompress
  readonly #flushKind: number
  readonly #quietMs: number
  readonly #onGone: () => void
  #timer: NodeJS.Timeout | undefined
  #dirty = false
  #over = false

  /** @param isLive An event in it is to be seen when it happens. */
  constructor(coding: Coding, isLive: boolean, owner: EncoderOwner, onGone: () => void) {
    this.#stream =
      coding === 'br' ? createBrotliCompress(BROTLI) : coding === 'zstd' ? createZstdCompress(ZSTD) : createGzip(GZIP)
    this.#flushKind =
      coding === 'br' ? constants.BROTLI_OPERATION_FLUSH : coding === 'zstd' ? constants.ZSTD_e_flush : constants.Z_SYNC_FLUSH
    this.#quietMs = isLive ? 0 : QUIET_MS
    this.#onGone = onGone
    this.#stream.on('data', (bytes: Buffer) => {
      if (!this.#over) owner.onEncoded(bytes)
    })
    this.#stream.on('drain', () => {
      if (!this.#over) owner.onEncoderDrain()
    })
    this.#stream.on('end', () => {
      if (!this.#over) owner.onEncoderEnd()
    })
    this.#stream.on('error', (error) => {
      if (!this.#over) owner.onEncoderFailure(error.message)
    })
  }

  /** Copies. Returns whether there is room for more. */
  write(bytes: Buffer): boolean {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#dirty = true
    return this.#stream.write(Buffer.from(bytes))
  }

  get takesMore(): boolean {
    return !this.#stream.writableNeedDrain
  }

  /** All that has come was written, and more is due: who knows when. */
  quiet(): void {
    if (!this.#dirty || this.#timer !== undefined || this.#over) return
    if (this.#quietMs === 0) this.#flush()
    else this.#timer = setTimeout(() => this.#flush(), this.#quietMs)
  }

  #flush(): void {
    this.#timer = undefined
    this.#dirty = false
    if (!this.#over) this.#stream.flush(this.#flushKind)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#stream.end()
  }

  destroy(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    this.#stream.destroy()
    this.#onGone()
  }
}

/** All compressing of one proxy. */
export class Compressor {
  readonly #counters: Counters
  #encoders = 0
  #wholes = 0

  constructor(counters: Counters) {
    this.#counters = counters
  }

  get hasRoom(): boolean {
    if (this.#encoders < ENCODERS_MAX) return true
    this.#counters.compressionSkipped++
    return false
  }

  encoder(coding: Coding, isLive: boolean, owner: EncoderOwner): Encoder {
    this.#encoders++
    this.#counters.compressed++
    return new Encoder(coding, isLive, owner, () => this.#encoders--)
  }

  /** Undefined: it would be no shorter. @param body At most `SMALL_BYTES_MAX`. */
  small(coding: Coding, body: Buffer): Buffer | undefined {
    const packed =
      coding === 'br' ? brotliCompressSync(body, BROTLI) : coding === 'zstd' ? zstdCompressSync(body, ZSTD) : gzipSync(body, GZIP)
    if (packed.length >= body.length) return undefined
    this.#counters.compressed++
    this.#counters.compressedBytesIn += body.length
    this.#counters.compressedBytesOut += packed.length
    return packed
  }

  /** The kept body in that form, which is kept with it; undefined: as it is, this time. */
  kept(store: CacheStore, stored: Stored, coding: Coding): Buffer | Promise<Buffer | undefined> | undefined {
    const known = stored.forms?.get(coding)
    if (known !== undefined) return known
    if (this.#wholes >= WHOLES_MAX) {
      this.#counters.compressionSkipped++
      return undefined
    }
    this.#wholes++
    stored.forms ??= new Map()
    const { forms } = stored
    store.hold(stored)
    const made = new Promise<Buffer | undefined>((resolve) => {
      const done = (error: Error | null, bytes: Buffer): void => {
        this.#wholes--
        forms.delete(coding)
        if (error === null && store.change(stored, { extraBytes: bytes.length })) forms.set(coding, bytes)
        store.release(stored)
        resolve(error === null ? bytes : undefined)
      }
      if (coding === 'br') brotliCompress(stored.body, BROTLI, done)
      else if (coding === 'zstd') zstdCompress(stored.body, ZSTD, done)
      else gzip(stored.body, GZIP, done)
    })
    forms.set(coding, made)
    return made
  }
}
