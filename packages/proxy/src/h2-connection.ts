/**
 * One client's connection over HTTP/2 (RFC 9113): frames, flow control, and a stream for each request, which then goes the
 * same way as any.
 *
 * Strict: what the specification calls an error is one. Bounded: a connection holds at most one frame that is not whole, one
 * header section, and what its windows let the client send ahead; and it has a budget for frames that do nothing, and one
 * for requests that it takes back (rapid reset). Who overdraws either is told to calm down, and cut.
 */
import type { Socket } from 'node:net'
import type { Peer } from '@ringwall/guard'
import { isExpiring, type ShownInTls } from './client.ts'
import type { Connection, Context } from './context.ts'
import {
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  NO_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  STREAM_CLOSED,
  STREAM_WINDOW,
  WINDOW_MAX,
} from './h2-codes.ts'
import { H2Fingerprint } from './h2-fingerprint.ts'
import { areTrailers, requestOf } from './h2-request.ts'
import { H2Stream } from './h2-stream.ts'
import { HeldBody } from './held-body.ts'
import { HpackDecoder, NO_TABLE } from './hpack.ts'
import type { Listener } from './listener.ts'
import type { RawRequest } from './request-parser.ts'
import { Wire, type WireHandler } from './wire.ts'

const DATA = 0
const HEADERS = 1
const PRIORITY = 2
const RST_STREAM = 3
const SETTINGS = 4
const PUSH_PROMISE = 5
const PING = 6
const GOAWAY = 7
const WINDOW_UPDATE = 8
const CONTINUATION = 9

const END_STREAM = 0x1
const ACK = 0x1
const END_HEADERS = 0x4
const PADDED = 0x8
const HAS_PRIORITY = 0x20

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
const FRAME_HEADER_BYTES = 9
const FRAME_BYTES_MAX = 16_384
const WINDOW_DEFAULT = 65_535
/** What a client may send ahead on all streams together. */
const CONNECTION_WINDOW = 262_144
const STREAMS_MAX = 100
const SETTINGS_ENTRIES_MAX = 32
const CONTINUATIONS_MAX = 8
/** More fields than HTTP/1.1 may have, since a cookie may come in many (section 8.2.3). */
const CRUMBS_MAX = 100
const CLOSING_MS_MAX = 1_000
const CLOSING_BYTES_MAX = 262_144
/** Streams that we reset, whose frames may still be on their way. */
const RESET_REMEMBERED_MAX = 200
const NEVER = Number.POSITIVE_INFINITY

/** Frames that do nothing: so many at once, so many a second. What is useful earns more. */
const IDLE_FRAMES_MAX = 1_000
const IDLE_FRAMES_PER_MS = 0.2
const EARNED_BY_REQUEST = 4
const EARNED_BY_DATA = 3
/** A frame of data that earns: small ones are what a client asks for that lets windows open by the byte. */
const USEFUL_BYTES_MIN = 1_024
/** Data in smaller pieces costs more to take than to send. */
const SMALL_BYTES = 32
const COST_OF_FAULT = 10
/** Requests taken back, or broken by the client: so many at once, so many a second. */
const RESETS_MAX = 200
const RESETS_PER_MS = 0.033

/** A budget that fills up by itself. */
class Budget {
  readonly #most: number
  readonly #perMs: number
  #left: number
  #atMs = performance.now()

  constructor(most: number, perMs: number) {
    this.#most = most
    this.#perMs = perMs
    this.#left = most
  }

  /** Whether there was enough. */
  take(cost: number): boolean {
    this.#left -= cost
    if (this.#left >= 0) return true
    const nowMs = performance.now()
    this.#left = Math.min(this.#most, this.#left + (nowMs - this.#atMs) * this.#perMs)
    this.#atMs = nowMs
    return this.#left >= 0
  }

  earn(more: number): void {
    this.#left = Math.min(this.#most, this.#left + more)
  }
}

export class H2Connection implements Connection, WireHandler {
  readonly wire: Wire
  readonly address: string
  readonly ja4: string | undefined
  readonly clientCertificate: string | undefined
  readonly peer: Peer | undefined
  readonly listener: Listener
  readonly context: Context
  readonly #closed: (connection: H2Connection) => void
  readonly #streams = new Map<number, H2Stream>()
  readonly #decoder = new HpackDecoder()
  readonly fingerprint = new H2Fingerprint()
  readonly #idleFrames = new Budget(IDLE_FRAMES_MAX, IDLE_FRAMES_PER_MS)
  readonly #resets = new Budget(RESETS_MAX, RESETS_PER_MS)
  readonly #resetByUs = new Set<number>()
  /** Of the preface, or of a frame that is not whole. */
  #held: HeldBody | undefined
  #prefaceLeft = PREFACE.length
  #settingsDue = true
  #lastId = 0
  #requests = 0
  /** A header section that is not whole: of which stream, in how many frames, and whether the stream ends with it. */
  #block: HeldBody | undefined
  #blockId = 0
  #blockEnds = false
  #continuations = 0
  #noTableSaid = false
  /** What we may send. */
  #sendWindow = WINDOW_DEFAULT
  #streamWindow = WINDOW_DEFAULT
  #frameBytesMax = FRAME_BYTES_MAX
  /** What the client may send, and what of it was consumed since we last told. */
  #receiveWindow = CONNECTION_WINDOW
  #consumed = 0
  #congested = false
  #stalledSinceMs = NEVER
  #leaving = false
  #closing = false
  #closingBytes = 0
  #deadlineMs: number

  /** @param streams Whether the socket gives its bytes by 'data'. */
  constructor(
    context: Context,
    listener: Listener,
    socket: Socket,
    address: string,
    { ja4, clientCertificate, peer }: ShownInTls,
    streams: boolean,
    closed: (connection: H2Connection) => void,
  ) {
    this.context = context
    this.listener = listener
    this.address = address
    this.ja4 = ja4
    this.clientCertificate = clientCertificate
    this.peer = peer
    this.#closed = closed
    this.#deadlineMs = performance.now() + context.limits.headersMsMax
    this.wire = new Wire(socket, this, streams)
    const settings = [
      [3, STREAMS_MAX],
      [4, STREAM_WINDOW],
      [6, context.limits.headerBytesMax],
      // RFC 9218 section 2.1.1: the priorities of RFC 7540 are not used.
      [9, 1],
    ] as const
    const body = settings.map(([id, value]) => `${uint16(id)}${uint32(value)}`).join('')
    this.wire.text(frame(SETTINGS, 0, 0, body))
    this.wire.text(frame(WINDOW_UPDATE, 0, 0, uint32(CONNECTION_WINDOW - WINDOW_DEFAULT)))
    this.wire.flush()
  }

  // From the socket.

  onBytes(bytes: Buffer): void {
    if (this.#closing) {
      this.#closingBytes += bytes.length
      if (this.#closingBytes > CLOSING_BYTES_MAX) this.wire.destroy()
      return
    }
    try {
      this.#read(bytes)
    } catch (error) {
      // A defect of ours met by one connection is not everybody's end.
      this.context.log('warn', `a connection failed: ${(error as Error).message}`)
      this.wire.destroy()
    }
    this.flush()
  }

  onDrain(): void {
    this.#congested = false
    this.#stalledSinceMs = NEVER
    this.#pump()
  }

  onHalfClose(): void {
    // As over HTTP/1.1: who says no more while it waits has most likely gone.
    if (this.#closing || this.#streams.size > 0) this.wire.destroy()
    else this.#close()
  }

  onClose(): void {
    this.#closed(this)
    this.#held = undefined
    this.#block = undefined
    const all = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of all) stream.onGone()
  }

  // For the listener.

  get gone(): boolean {
    return this.wire.socket.destroyed
  }

  expendable(): boolean {
    return this.#streams.size === 0
  }

  close(): void {
    this.#leave(NO_ERROR)
    if (this.#streams.size === 0) this.#close()
  }

  destroy(): void {
    this.wire.destroy()
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#stalledSinceMs > this.context.limits.clientStallMsMax) {
      this.wire.destroy()
      return
    }
    for (const stream of this.#streams.values()) stream.sweep(nowMs)
    if (!this.#leaving && (this.context.stopping || isExpiring(this.peer))) this.close()
    if (nowMs >= this.#deadlineMs) {
      if (this.#closing || this.#settingsDue || this.#block !== undefined) this.wire.destroy()
      else if (this.#streams.size === 0) this.close()
    }
    this.flush()
  }

  // For streams.

  /** Writes what waits. Returns whether there is room for more. */
  flush(): boolean {
    if (!this.wire.flush()) {
      this.#congested = true
      if (this.#stalledSinceMs === NEVER) this.#stalledSinceMs = performance.now()
    }
    return !this.#congested
  }

  get congested(): boolean {
    return this.#congested
  }

  /** A header section. @param block As `hpack.ts` encodes fields. */
  sendHeaders(id: number, block: string, ends: boolean): void {
    let rest = this.#noTableSaid ? block : NO_TABLE + block
    this.#noTableSaid = true
    const endStream = ends ? END_STREAM : 0
    if (rest.length <= this.#frameBytesMax) {
      this.wire.text(frame(HEADERS, endStream | END_HEADERS, id, rest))
      return
    }
    let type = HEADERS
    while (rest.length > 0) {
      const part = rest.slice(0, this.#frameBytesMax)
      rest = rest.slice(part.length)
      const flags = (type === HEADERS ? endStream : 0) | (rest.length === 0 ? END_HEADERS : 0)
      this.wire.text(frame(type, flags, id, part))
      type = CONTINUATION
    }
  }

  /** As much of `bytes` as windows and the socket let pass at once. Returns how much. */
  sendData(id: number, bytes: Buffer, streamWindow: number, ends: boolean): number {
    let sent = 0
    while (sent < bytes.length && !this.#congested) {
      const size = Math.min(bytes.length - sent, streamWindow - sent, this.#sendWindow, this.#frameBytesMax)
      if (size <= 0) break
      const last = ends && sent + size === bytes.length
      this.wire.text(frameHeader(size, DATA, last ? END_STREAM : 0, id))
      this.wire.bytes(bytes.subarray(sent, sent + size))
      sent += size
      this.#sendWindow -= size
      if (size >= USEFUL_BYTES_MIN) this.#idleFrames.earn(EARNED_BY_DATA)
      if (size > 4_096) this.flush()
    }
    return sent
  }

  sendEnd(id: number): void {
    this.wire.text(frameHeader(0, DATA, END_STREAM, id))
  }

  /** What a stream took of what the client sent: it may send as much again. */
  consume(bytes: number): void {
    this.#consumed += bytes
    if (this.#consumed < CONNECTION_WINDOW / 2) return
    this.#receiveWindow += this.#consumed
    this.wire.text(frame(WINDOW_UPDATE, 0, 0, uint32(this.#consumed)))
    this.#consumed = 0
  }

  widen(id: number, bytes: number): void {
    this.wire.text(frame(WINDOW_UPDATE, 0, id, uint32(bytes)))
  }

  /** The stream is over. @param code Of the reset, when the client might otherwise go on. */
  forget(stream: H2Stream, code: number | undefined): void {
    if (!this.#streams.delete(stream.id)) return
    if (code !== undefined) this.#reset(stream.id, code)
    if (this.#streams.size > 0) return
    if (this.#leaving) this.#close()
    else this.#deadlineMs = performance.now() + this.context.limits.keepAliveMsMax
  }

  // Frames.

  #read(bytes: Buffer): void {
    let at = 0
    while (this.#prefaceLeft > 0) {
      if (at === bytes.length) return
      if (bytes[at++] !== PREFACE[PREFACE.length - this.#prefaceLeft]) {
        this.#fail(PROTOCOL_ERROR)
        return
      }
      this.#prefaceLeft--
    }
    while (at < bytes.length && !this.#closing) {
      const held = this.#held
      if (held === undefined) {
        const left = bytes.length - at
        if (left >= FRAME_HEADER_BYTES) {
          const size = FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3)
          if (size > FRAME_HEADER_BYTES + FRAME_BYTES_MAX) {
            this.#fail(FRAME_SIZE_ERROR)
            return
          }
          if (left >= size) {
            this.#frame(bytes.subarray(at, at + size))
            at += size
            continue
          }
        }
        this.#held = new HeldBody()
        this.#held.add(bytes.subarray(at), FRAME_HEADER_BYTES)
        return
      }
      const size = held.length < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + held.bytes.readUIntBE(0, 3)
      if (size > FRAME_HEADER_BYTES + FRAME_BYTES_MAX) {
        this.#fail(FRAME_SIZE_ERROR)
        return
      }
      const part = bytes.subarray(at, at + size - held.length)
      held.add(part, size)
      at += part.length
      if (held.length < size) return
      // With the header whole, the size is known: there may be more to come.
      if (size === FRAME_HEADER_BYTES && held.bytes.readUIntBE(0, 3) > 0) continue
      this.#held = undefined
      this.#frame(held.bytes)
    }
  }

  /** @param bytes A whole frame. */
  #frame(bytes: Buffer): void {
    const type = bytes[3]!
    const flags = bytes[4]!
    const id = bytes.readUInt32BE(5) & WINDOW_MAX
    const payload = bytes.subarray(FRAME_HEADER_BYTES)
    if (this.#settingsDue) {
      if (type !== SETTINGS || (flags & ACK) !== 0) {
        this.#fail(PROTOCOL_ERROR)
        return
      }
      this.#settingsDue = false
      this.#deadlineMs = performance.now() + this.context.limits.keepAliveMsMax
    }
    // A header section is one thing: nothing may come between its frames (section 4.3).
    if (this.#block !== undefined && (type !== CONTINUATION || id !== this.#blockId)) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    switch (type) {
      case DATA:
        this.#onData(id, flags, payload)
        return
      case HEADERS:
        this.#onHeaders(id, flags, payload)
        return
      case CONTINUATION:
        this.#onContinuation(flags, payload)
        return
      case RST_STREAM:
        this.#onReset(id, payload)
        return
      case SETTINGS:
        this.#onSettings(id, flags, payload)
        return
      case PING:
        this.#onPing(id, flags, payload)
        return
      case WINDOW_UPDATE:
        this.#onWindowUpdate(id, payload)
        return
      case GOAWAY:
        if (id !== 0) {
          this.#fail(PROTOCOL_ERROR)
          return
        }
        if (payload.length < 8) {
          this.#fail(FRAME_SIZE_ERROR)
          return
        }
        break
      case PRIORITY:
        if (id === 0) {
          this.#fail(PROTOCOL_ERROR)
          return
        }
        if (payload.length !== 5) {
          this.#fail(FRAME_SIZE_ERROR)
          return
        }
        this.fingerprint.priority(id, payload)
        break
      case PUSH_PROMISE:
        this.#fail(PROTOCOL_ERROR)
        return
    }
    // Nothing to be done, also for what we do not know (section 4.1).
    this.#idle(1)
  }

  /** The payload without its padding; undefined when it is malformed. */
  #unpadded(flags: number, payload: Buffer): Buffer | undefined {
    if ((flags & PADDED) === 0) return payload
    const padding = payload[0]
    return padding === undefined || padding >= payload.length ? undefined : payload.subarray(1, payload.length - padding)
  }

  #onData(id: number, flags: number, payload: Buffer): void {
    const data = this.#unpadded(flags, payload)
    if (id === 0 || data === undefined) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    this.#receiveWindow -= payload.length
    if (this.#receiveWindow < 0) {
      this.#fail(FLOW_CONTROL_ERROR)
      return
    }
    const ends = (flags & END_STREAM) !== 0
    if (data.length < SMALL_BYTES && !ends && !this.#idle(1)) return
    const stream = this.#streams.get(id)
    if (stream === undefined) {
      this.consume(payload.length)
      this.#onLateFrame(id)
      return
    }
    if (stream.remoteEnded) {
      this.#breakStream(stream, STREAM_CLOSED)
      return
    }
    this.consume(payload.length - data.length)
    if (!stream.onData(data, payload.length, ends)) this.#breakStream(stream, FLOW_CONTROL_ERROR)
  }

  #onHeaders(id: number, flags: number, payload: Buffer): void {
    let fragment = this.#unpadded(flags, payload)
    if (id === 0 || id % 2 === 0 || fragment === undefined) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    if ((flags & HAS_PRIORITY) !== 0) {
      if (fragment.length < 5) {
        this.#fail(FRAME_SIZE_ERROR)
        return
      }
      fragment = fragment.subarray(5)
    }
    const ends = (flags & END_STREAM) !== 0
    if ((flags & END_HEADERS) !== 0) {
      this.#onBlock(id, ends, fragment)
      return
    }
    this.#block = new HeldBody()
    this.#block.add(fragment, fragment.length)
    this.#blockId = id
    this.#blockEnds = ends
    this.#continuations = 0
    this.#deadlineMs = performance.now() + this.context.limits.headersMsMax
  }

  #onContinuation(flags: number, payload: Buffer): void {
    const block = this.#block
    if (block === undefined) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    // Who needs more has more than its header list may hold, or sends nothing at all.
    if (++this.#continuations > CONTINUATIONS_MAX || block.length + payload.length > this.context.limits.headerBytesMax) {
      this.#fail(ENHANCE_YOUR_CALM)
      return
    }
    block.add(payload, block.length + payload.length)
    if ((flags & END_HEADERS) === 0) return
    this.#block = undefined
    this.#onBlock(this.#blockId, this.#blockEnds, block.bytes)
  }

  /** A header section: a request's, or its trailers. */
  #onBlock(id: number, ends: boolean, block: Buffer): void {
    const { headBounds } = this.context
    const list = this.#decoder.decode(block, { bytesMax: headBounds.bytesMax, fieldsMax: headBounds.fieldsMax + CRUMBS_MAX })
    if (list === undefined) {
      this.#fail(COMPRESSION_ERROR)
      return
    }
    const stream = this.#streams.get(id)
    if (stream !== undefined) {
      if (stream.remoteEnded) this.#breakStream(stream, STREAM_CLOSED)
      else if (!ends || list.tooLong || !areTrailers(list.fields)) this.#breakStream(stream, PROTOCOL_ERROR)
      else if (!stream.onData(EMPTY, 0, true)) this.#breakStream(stream, PROTOCOL_ERROR)
      return
    }
    if (id <= this.#lastId) {
      this.#onLateFrame(id)
      return
    }
    this.#lastId = id
    this.#deadlineMs = performance.now() + this.context.limits.keepAliveMsMax
    if (this.#leaving || this.#streams.size >= STREAMS_MAX) {
      if (this.#idle(COST_OF_FAULT)) this.#reset(id, REFUSED_STREAM)
      return
    }
    this.fingerprint.request(list.fields)
    const { requestLineBytesMax } = this.context.limits
    let request: RawRequest | string = list.tooLong ? TOO_LONG : requestOf(list.fields, ends, { requestLineBytesMax })
    if (typeof request === 'string') {
      const { counters } = this.context
      counters.requests++
      counters.malformed++
      counters.denied++
      if (this.#idle(COST_OF_FAULT)) this.#reset(id, PROTOCOL_ERROR)
      return
    }
    if (request.rawHeaders.length / 2 > headBounds.fieldsMax) request = TOO_LONG
    this.#idleFrames.earn(EARNED_BY_REQUEST)
    const opened = new H2Stream(this, id, this.#streamWindow, request, ends)
    this.#streams.set(id, opened)
    if (++this.#requests >= this.context.limits.requestsPerConnectionMax) this.#leave(NO_ERROR)
    opened.start()
  }

  /** For a stream that is over, or never was. */
  #onLateFrame(id: number): void {
    if (id > this.#lastId || id % 2 === 0) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    if (this.#resetByUs.has(id)) {
      this.#idle(1)
      return
    }
    this.#fail(STREAM_CLOSED)
  }

  #onReset(id: number, payload: Buffer): void {
    if (payload.length !== 4) {
      this.#fail(FRAME_SIZE_ERROR)
      return
    }
    if (id === 0 || id > this.#lastId || id % 2 === 0) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    const stream = this.#streams.get(id)
    if (stream === undefined) {
      this.#idle(1)
      return
    }
    this.forget(stream, undefined)
    stream.onGone()
    if (!this.#resets.take(1)) this.#fail(ENHANCE_YOUR_CALM)
  }

  #onSettings(id: number, flags: number, payload: Buffer): void {
    if (id !== 0) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    if ((flags & ACK) !== 0) {
      if (payload.length !== 0) {
        this.#fail(FRAME_SIZE_ERROR)
        return
      }
      this.#idle(1)
      return
    }
    if (payload.length % 6 !== 0) {
      this.#fail(FRAME_SIZE_ERROR)
      return
    }
    if (payload.length / 6 > SETTINGS_ENTRIES_MAX) {
      this.#fail(ENHANCE_YOUR_CALM)
      return
    }
    this.fingerprint.settings(payload)
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      switch (payload.readUInt16BE(at)) {
        case 2:
          if (value > 1) {
            this.#fail(PROTOCOL_ERROR)
            return
          }
          break
        case 4: {
          if (value > WINDOW_MAX) {
            this.#fail(FLOW_CONTROL_ERROR)
            return
          }
          const change = value - this.#streamWindow
          this.#streamWindow = value
          for (const stream of this.#streams.values()) {
            if (stream.changeWindow(change)) continue
            this.#fail(FLOW_CONTROL_ERROR)
            return
          }
          break
        }
        case 5:
          if (value < FRAME_BYTES_MAX || value > 0xff_ffff) {
            this.#fail(PROTOCOL_ERROR)
            return
          }
          // More than the least is nothing that we would use.
          break
      }
    }
    this.wire.text(frame(SETTINGS, ACK, 0, ''))
    if (this.#idle(2)) this.#pump()
  }

  #onPing(id: number, flags: number, payload: Buffer): void {
    if (id !== 0) {
      this.#fail(PROTOCOL_ERROR)
      return
    }
    if (payload.length !== 8) {
      this.#fail(FRAME_SIZE_ERROR)
      return
    }
    if (this.#idle(1) && (flags & ACK) === 0) this.wire.text(frame(PING, ACK, 0, payload.toString('latin1')))
  }

  #onWindowUpdate(id: number, payload: Buffer): void {
    if (payload.length !== 4) {
      this.#fail(FRAME_SIZE_ERROR)
      return
    }
    const increment = payload.readUInt32BE(0) & WINDOW_MAX
    if (!this.#idle(1)) return
    if (id === 0) {
      if (increment === 0) {
        this.#fail(PROTOCOL_ERROR)
        return
      }
      this.fingerprint.window(increment)
      this.#sendWindow += increment
      if (this.#sendWindow > WINDOW_MAX) {
        this.#fail(FLOW_CONTROL_ERROR)
        return
      }
      this.#pump()
      return
    }
    const stream = this.#streams.get(id)
    if (stream === undefined) {
      if (id > this.#lastId || id % 2 === 0) this.#fail(PROTOCOL_ERROR)
    } else if (increment === 0) this.#breakStream(stream, PROTOCOL_ERROR)
    else if (!stream.changeWindow(increment)) this.#breakStream(stream, FLOW_CONTROL_ERROR)
    else stream.pump()
  }

  /** Lets every stream send on, in turn beginning with another each time, so that none takes all of a narrow window. */
  #pump(): void {
    for (const stream of [...this.#streams.values()]) {
      if (this.#congested) return
      stream.pump()
    }
    const [first] = this.#streams
    if (first === undefined || this.#streams.size === 1) return
    this.#streams.delete(first[0])
    this.#streams.set(first[0], first[1])
  }

  /** A frame that did nothing. @returns Whether the connection goes on. */
  #idle(cost: number): boolean {
    if (this.#idleFrames.take(cost)) return true
    this.#fail(ENHANCE_YOUR_CALM)
    return false
  }

  /** A stream error that the client made: as good as taking the request back (section 5.4.2). */
  #breakStream(stream: H2Stream, code: number): void {
    this.forget(stream, code)
    stream.onGone()
    if (!this.#resets.take(1)) this.#fail(ENHANCE_YOUR_CALM)
  }

  #reset(id: number, code: number): void {
    this.wire.text(frame(RST_STREAM, 0, id, uint32(code)))
    this.#resetByUs.add(id)
    if (this.#resetByUs.size <= RESET_REMEMBERED_MAX) return
    const [oldest] = this.#resetByUs
    this.#resetByUs.delete(oldest!)
  }

  #leave(code: number): void {
    if (this.#leaving) return
    this.#leaving = true
    this.wire.text(frame(GOAWAY, 0, 0, `${uint32(this.#lastId)}${uint32(code)}`))
    this.flush()
  }

  /** A connection error (section 5.4.1). */
  #fail(code: number): void {
    if (this.#closing) return
    if (code === ENHANCE_YOUR_CALM) this.context.counters.http2Floods++
    else this.context.counters.http2Errors++
    // Said even if we were leaving in peace: the reason is another now.
    this.#leaving = false
    this.#leave(code)
    this.#close()
    const all = [...this.#streams.values()]
    this.#streams.clear()
    for (const stream of all) stream.onGone()
  }

  /** Ends our half and reads a little of what the client still sends, so that it sees our last frames rather than a reset. */
  #close(): void {
    if (this.#closing) return
    this.#closing = true
    this.#held = undefined
    this.#block = undefined
    this.#deadlineMs = performance.now() + CLOSING_MS_MAX
    this.wire.end()
  }
}

const EMPTY = Buffer.alloc(0)

const TOO_LONG: RawRequest = {
  method: 'GET',
  url: '/',
  httpVersion: '2.0',
  rawHeaders: [],
  head: { refused: 'the header section is too long', status: 431 },
}

function uint16(value: number): string {
  return String.fromCharCode(value >> 8, value & 255)
}

function uint32(value: number): string {
  return String.fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
}

/** As Latin-1 text. */
function frameHeader(length: number, type: number, flags: number, id: number): string {
  return String.fromCharCode(length >> 16, (length >> 8) & 255, length & 255, type, flags) + uint32(id)
}

function frame(type: number, flags: number, id: number, payload: string): string {
  return frameHeader(payload.length, type, flags, id) + payload
}
