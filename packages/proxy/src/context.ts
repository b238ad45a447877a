/** What all exchanges of one proxy share. */
import type { Policy } from '@ringwall/ring'
import type { AcmeAnswers } from './acme-answers.ts'
import type { Compressor } from './compression.ts'
import type { HeadBounds } from './head-scanner.ts'
import type { ResponseCache } from './response-cache.ts'
import type { SourceShedding } from './shedding.ts'
import type { StandingRequests } from './standing.ts'
import type { TunnelsBySource } from './tunnel.ts'
import type { ProxyLimits, ProxyOptions, ProxyStats } from './types.ts'
import type { UpstreamPools } from './upstream-pools.ts'

/** Something a denied source has open. */
export interface Cuttable {
  cut(): void
}

/** Something that a client has open, whatever it speaks. */
export interface Connection {
  /** Of the other end. */
  readonly address: string
  readonly gone: boolean
  /** Nothing is under way but waiting for the client, for longer than one that means it would take. */
  expendable(nowMs: number): boolean
  /** Called every so often with monotonic milliseconds. */
  sweep(nowMs: number): void
  /** Ends it when nothing is under way; otherwise what is under way will. */
  close(): void
  destroy(): void
}

/** What is counted as it happens; the rest is asked for. */
export type Counters = {
  -readonly [name in Exclude<
    keyof ProxyStats,
    'activeConnections' | 'activeHandshakes' | 'certificatesTaken' | 'certificatesRefused'
  >]: number
}

/** Before anything happened. */
export const NO_STATS: ProxyStats = {
  requests: 0,
  allowed: 0,
  denied: 0,
  challenged: 0,
  throttled: 0,
  malformed: 0,
  upstreamErrors: 0,
  overloaded: 0,
  shed: 0,
  clientAborts: 0,
  droppedConnections: 0,
  evictedConnections: 0,
  tlsHandshakes: 0,
  tlsResumed: 0,
  tlsFailed: 0,
  tlsDropped: 0,
  proxyHeadersRefused: 0,
  http2Errors: 0,
  http2Floods: 0,
  compressed: 0,
  compressionSkipped: 0,
  compressedBytesIn: 0,
  compressedBytesOut: 0,
  certificatesTaken: 0,
  certificatesRefused: 0,
  activeHandshakes: 0,
  activeConnections: 0,
  activeRequests: 0,
  activeTunnels: 0,
  streamsCut: 0,
}

export interface Context {
  readonly options: ProxyOptions
  readonly limits: ProxyLimits
  readonly headBounds: HeadBounds
  readonly pools: UpstreamPools
  readonly cache: ResponseCache
  readonly compressor: Compressor
  readonly acme: AcmeAnswers
  readonly counters: Counters
  readonly sources: Sources
  readonly tunnels: TunnelsBySource
  readonly shedding: SourceShedding
  /** What a token or a policy of access allowed. Bounded by the connections and the streams on each, which are. */
  readonly standing: StandingRequests
  readonly isTrustedProxy: (policy: Policy, address: string) => boolean
  /** Set once the proxy stops, and while it drains: connections end with the response under way. */
  stopping: boolean
  readonly log: (level: 'info' | 'warn', line: string) => void
}

/** What is open, by source. Bounded by the connections, which are. */
export class Sources {
  readonly #open = new Map<string, Set<Cuttable>>()

  add(source: string, what: Cuttable): void {
    const found = this.#open.get(source)
    if (found === undefined) this.#open.set(source, new Set([what]))
    else found.add(what)
  }

  delete(source: string, what: Cuttable): void {
    const found = this.#open.get(source)
    if (found === undefined) return
    found.delete(what)
    if (found.size === 0) this.#open.delete(source)
  }

  /** Cuts what every source that `matches` has open. Returns how many things. */
  cut(matches: (source: string) => boolean): number {
    let count = 0
    for (const source of [...this.#open.keys()]) if (matches(source)) count += this.cutOne(source)
    return count
  }

  cutOne(source: string): number {
    const found = this.#open.get(source)
    if (found === undefined) return 0
    const all = [...found]
    for (const what of all) what.cut()
    return all.length
  }
}
