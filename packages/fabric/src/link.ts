/** One authenticated connection to a peer: frames out within a bound, frames in, signs of life. */
import type { TLSSocket } from 'node:tls'
import { encodeFrame, type Frame, type FrameParser } from './frames.ts'
import type { NodeId } from './types.ts'

/** Bytes that may wait for a slow peer; more are dropped and counted. */
const QUEUE_BYTES_MAX: number = 32 * 1_024 * 1_024
/** How often a mesh has its links look for signs of life. */
export const BEAT_MS = 1_000
/** A ping goes with what is sent anyway when the last one is so old. */
const PING_MS = 750
const SILENT_MS_MAX = 5_000
const REST_MS_MAX = 2_000
/**
 * What one peer may send, sustained, and how many seconds of it at once. Beyond it the socket is not read for a while: the
 * sender's queue fills, and this node keeps its time for others. Nothing is lost, and no honest peer comes near.
 */
export const INGRESS = { framesPerSecond: 2_500, bytesPerSecond: 8 * 1_024 * 1_024, burstSeconds: 2 } as const
/** Of that, what a peer has left that is curbed. */
export const CURBED_SHARE = 0.04
/** The clock's offset is taken from the quickest of the last answers: the less waiting, the less doubt. */
const SAMPLES = 8

interface Sample {
  readonly roundTripMs: number
  readonly offsetMs: number
}

export interface LinkEvents {
  onFrame(frame: Frame): void
  /** Once, with the reason in words. */
  onClose(reason: string): void
}

export class Link {
  readonly peer: NodeId
  readonly #socket: TLSSocket
  readonly #events: LinkEvents
  readonly #now: () => number
  readonly #pings = new Map<number, number>()
  readonly #samples: Sample[] = []
  #heardAtMs = performance.now()
  #nextPing = 1
  #pingedAtMs = Number.NEGATIVE_INFINITY
  #reason: string | undefined
  #ingress: { frames: number; bytes: number; atMs: number } = {
    frames: INGRESS.framesPerSecond * INGRESS.burstSeconds,
    bytes: INGRESS.bytesPerSecond * INGRESS.burstSeconds,
    atMs: performance.now(),
  }
  #resting: NodeJS.Timeout | undefined
  #curbedUntilMs = Number.NEGATIVE_INFINITY
  /** What is sent waits for more of this turn, and whether its end is settled. */
  #corked = false
  #leaving = false
  sentBytes = 0
  receivedBytes = 0
  dropped = 0

  constructor(peer: NodeId, socket: TLSSocket, parser: FrameParser, now: () => number, events: LinkEvents) {
    this.peer = peer
    this.#socket = socket
    this.#events = events
    this.#now = now
    socket.on('data', (chunk: Buffer) => this.#receive(parser, chunk))
    socket.on('error', (error: NodeJS.ErrnoException) => this.close(`the connection broke (${error.code ?? error.message})`))
    socket.on('close', () => this.#closed())
    socket.resume()
    this.beat()
  }

  get roundTripMs(): number | undefined {
    return this.#best()?.roundTripMs
  }

  get clockOffsetMs(): number | undefined {
    return this.#best()?.offsetMs
  }

  /** False when the peer is too slow: the frame is gone. */
  send(frame: Frame): boolean {
    return this.sendEncoded(encodeFrame(frame))
  }

  sendEncoded(bytes: Buffer): boolean {
    const isSent = this.#write(bytes)
    this.#leave()
    // In the same record of TLS it costs next to nothing.
    this.#pingWhenDue()
    return isSent
  }

  #write(bytes: Buffer): boolean {
    if (this.#socket.destroyed || this.#socket.writableLength + bytes.length > QUEUE_BYTES_MAX) {
      this.dropped += 1
      return false
    }
    this.sentBytes += bytes.length
    this.#gather()
    this.#socket.write(bytes)
    return true
  }

  /**
   * What is sent in one turn of the event loop is encrypted and handed to the kernel together. Signs of life, which come with what a peer
   * asks, leave with the answer to that: at the latest when the promises of this turn are through.
   */
  #gather(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    queueMicrotask(() => this.#leave())
  }

  #leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    process.nextTick(() => {
      this.#leaving = false
      if (!this.#corked) return
      this.#corked = false
      this.#socket.uncork()
    })
  }

  /** Reads the peer at a small part of its budget for so long: its messages wait at its end. */
  curb(ms: number): void {
    this.#curbedUntilMs = performance.now() + ms
    this.#ingress.frames = Math.min(this.#ingress.frames, 0)
    this.#ingress.bytes = Math.min(this.#ingress.bytes, 0)
  }

  close(reason: string): void {
    this.#reason ??= reason
    this.#socket.destroy()
  }

  #closed(): void {
    clearTimeout(this.#resting)
    this.#events.onClose(this.#reason ?? 'the peer closed the link')
  }

  #receive(parser: FrameParser, chunk: Buffer): void {
    this.#heardAtMs = performance.now()
    this.receivedBytes += chunk.length
    try {
      const frames = parser.push(chunk)
      this.#charge(frames.length, chunk.length)
      for (const frame of frames) this.take(frame)
    } catch (error) {
      this.close(`the peer broke the protocol: ${(error as Error).message}`)
    }
  }

  #charge(frames: number, bytes: number): void {
    const { burstSeconds } = INGRESS
    const share = this.#heardAtMs < this.#curbedUntilMs ? CURBED_SHARE : 1
    const [framesPerSecond, bytesPerSecond] = [INGRESS.framesPerSecond * share, INGRESS.bytesPerSecond * share]
    const budget = this.#ingress
    const seconds = (this.#heardAtMs - budget.atMs) / 1_000
    budget.atMs = this.#heardAtMs
    budget.frames = Math.min(budget.frames + seconds * framesPerSecond, framesPerSecond * burstSeconds) - frames
    budget.bytes = Math.min(budget.bytes + seconds * bytesPerSecond, bytesPerSecond * burstSeconds) - bytes
    // Signs of life have to be read too: a rest is shorter than the silence that ends a link.
    const restMs = Math.min(REST_MS_MAX, 1_000 * Math.max(-budget.frames / framesPerSecond, -budget.bytes / bytesPerSecond))
    if (restMs <= 0 || this.#resting !== undefined) return
    this.#socket.pause()
    this.#resting = setTimeout(() => {
      this.#resting = undefined
      this.#socket.resume()
    }, restMs)
  }

  /** A frame of the peer's; those that came with its hello too. */
  take(frame: Frame): void {
    if (frame.kind === 'ping') this.#answerPing(frame)
    else if (frame.kind === 'pong') this.#onPong(frame)
    else this.#events.onFrame(frame)
  }

  /** To be called every `BEAT_MS`. */
  beat(): void {
    if (performance.now() - this.#heardAtMs > SILENT_MS_MAX) {
      this.close(`nothing was heard for ${SILENT_MS_MAX / 1_000} s`)
      return
    }
    this.#pingWhenDue()
  }

  #pingWhenDue(): void {
    const nowMs = performance.now()
    if (nowMs - this.#pingedAtMs < PING_MS) return
    this.#pingedAtMs = nowMs
    if (this.#pings.size > SAMPLES) this.#pings.delete(this.#pings.keys().next().value as number)
    const id = this.#nextPing
    this.#nextPing = (id % 0x7fff_ffff) + 1
    this.#pings.set(id, nowMs)
    this.#sign({ kind: 'ping', channel: 'gossip', id, payload: new Uint8Array(0) })
  }

  #answerPing({ id, channel }: Frame): void {
    const payload = Buffer.alloc(8)
    payload.writeDoubleBE(this.#now())
    this.#sign({ kind: 'pong', channel, id, payload })
  }

  /** Of life: it waits for company. */
  #sign(frame: Frame): void {
    this.#write(encodeFrame(frame))
  }

  /** As in NTP (RFC 5905, section 8): the peer's clock was read half a round trip ago. */
  #onPong({ id, payload }: Frame): void {
    const sentAtMs = this.#pings.get(id)
    if (sentAtMs === undefined || payload.length !== 8) return
    this.#pings.delete(id)
    const roundTripMs = performance.now() - sentAtMs
    const theirs = Buffer.from(payload).readDoubleBE(0)
    if (!Number.isFinite(theirs)) return
    this.#samples.push({ roundTripMs, offsetMs: theirs + roundTripMs / 2 - this.#now() })
    if (this.#samples.length > SAMPLES) this.#samples.shift()
  }

  #best(): Sample | undefined {
    let best: Sample | undefined
    for (const sample of this.#samples) if (best === undefined || sample.roundTripMs < best.roundTripMs) best = sample
    return best
  }
}
