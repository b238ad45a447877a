/** A WebSocket after its upgrade: two sockets, each copied to the other, with one idle limit. */
import { type Decision, type Judgement, sourceKey } from '@ringwall/guard'
import type { Context, Cuttable } from './context.ts'
import type { KeptStanding, Standing } from './standing.ts'
import type { Wire, WireHandler } from './wire.ts'

const HALF_OPEN_MS_MAX = 2_000

export interface TunnelEnds {
  readonly client: Wire
  readonly upstream: Wire
  readonly source: string
  readonly standing: Standing | undefined
  /** What either side had already said. */
  readonly fromClient: Buffer | undefined
  readonly fromUpstream: Buffer
  /** Told once, when the client's socket has closed. */
  readonly onClientClosed: () => void
}

/** How many tunnels each source has open. Bounded by the tunnels, which are. */
export class TunnelsBySource {
  readonly #counts = new Map<string, number>()

  /** @param source An address: the whole /64 of IPv6 is one source. */
  count(source: string): number {
    return this.#counts.get(sourceKey(source)) ?? 0
  }

  add(source: string): void {
    this.#counts.set(sourceKey(source), this.count(source) + 1)
  }

  delete(source: string): void {
    const left = this.count(source) - 1
    if (left > 0) this.#counts.set(sourceKey(source), left)
    else this.#counts.delete(sourceKey(source))
  }

  /** Sources that have any. */
  get size(): number {
    return this.#counts.size
  }
}

export function openTunnel(context: Context, ends: TunnelEnds): Tunnel {
  return new Tunnel(context, ends)
}

export class Tunnel implements Cuttable, KeptStanding {
  standingAt = -1
  readonly #context: Context
  readonly #ends: TunnelEnds
  #activeAtMs = performance.now()
  #halfOpenSinceMs = Number.POSITIVE_INFINITY
  #open = true

  constructor(context: Context, ends: TunnelEnds) {
    this.#context = context
    this.#ends = ends
    const { client, upstream } = ends
    context.counters.activeTunnels++
    context.tunnels.add(ends.source)
    context.sources.add(ends.source, this)
    if (ends.standing !== undefined) context.standing.add(this)
    client.handler = new TunnelSide(this, client, upstream, ends.onClientClosed)
    upstream.handler = new TunnelSide(this, upstream, client, undefined)
    if (ends.fromUpstream.length > 0) client.bytes(ends.fromUpstream)
    if (ends.fromClient !== undefined && ends.fromClient.length > 0) upstream.bytes(ends.fromClient)
    client.flush()
    upstream.flush()
    client.resume()
    upstream.resume()
    // Either side may have gone while the other was being opened.
    if (!client.usable || !upstream.usable) this.close()
  }

  get judgement(): Judgement {
    return this.#ends.standing!.judgement
  }

  end(decision: Decision): void {
    this.#ends.standing!.end(decision)
    this.close()
  }

  cut(): void {
    this.close()
  }

  close(): void {
    const { client, upstream, source } = this.#ends
    client.destroy()
    upstream.destroy()
    if (!this.#open) return
    this.#open = false
    this.#context.counters.activeTunnels--
    this.#context.tunnels.delete(source)
    this.#context.sources.delete(source, this)
    this.#context.standing.delete(this)
  }

  active(): void {
    this.#activeAtMs = performance.now()
  }

  /** Half of a WebSocket is of no use: once one side has ended, the other has a moment to. */
  half(): void {
    this.#halfOpenSinceMs = Math.min(this.#halfOpenSinceMs, performance.now())
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#activeAtMs > this.#context.limits.tunnelIdleMsMax || nowMs - this.#halfOpenSinceMs > HALF_OPEN_MS_MAX) {
      this.close()
    }
  }
}

class TunnelSide implements WireHandler {
  readonly #tunnel: Tunnel
  readonly #own: Wire
  readonly #other: Wire
  readonly #closed: (() => void) | undefined

  constructor(tunnel: Tunnel, own: Wire, other: Wire, closed: (() => void) | undefined) {
    this.#tunnel = tunnel
    this.#own = own
    this.#other = other
    this.#closed = closed
  }

  onBytes(bytes: Buffer): void {
    this.#tunnel.active()
    this.#other.bytes(bytes)
    if (!this.#other.flush()) this.#own.pause()
  }

  onDrain(): void {
    this.#tunnel.active()
    this.#other.resume()
  }

  onHalfClose(): void {
    this.#other.end()
    this.#tunnel.half()
  }

  onClose(): void {
    this.#tunnel.close()
    this.#closed?.()
  }
}
