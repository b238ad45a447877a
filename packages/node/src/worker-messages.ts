/** What a node and its traffic workers say to each other. All of it is plain data: it is copied between threads. */
import type { FloodReading, Signal } from '@ringwall/detect'
import type { Budget } from '@ringwall/guard'
import type {
  AcmeAnswer,
  ApiEvent,
  CacheStatus,
  CertificateStatus,
  ListenerOptions,
  LoginEvent,
  PassKey,
  PortalAnswer,
  PortalRequest,
  ProxyStats,
  RenewedSession,
  ServiceStatus,
  TicketSecret,
  UpstreamStatus,
} from '@ringwall/proxy'
import type { Denial, RuleLibrary, View } from '@ringwall/ring'
import type { DiskSealOptions } from '@ringwall/store'
import type { RequestNews } from '@ringwall/telemetry'
import type { HeaderField } from '@ringwall/waf'
import type { NodeConfig } from './config.ts'
import type { SharedIndicators } from './indicators/indicator-store.ts'
import type { RuleCounts } from './queries.ts'
import type { Sighting } from './rule-watch.ts'

/** A view but for what has a message of its own, or is made of the policy's text. */
export interface ViewNews extends Pick<View, 'height' | 'blockTimestampMs' | 'policyVersion' | 'operators' | 'nodes' | 'epoch'> {
  /** Undefined: as before. */
  readonly policyText: string | undefined
  readonly signingKey: View['signingKey'] | undefined
  /** Services of the policy that this node does not serve. */
  readonly elsewhere: readonly string[]
  readonly certifiedAtMs: number | undefined
}

export interface DenialNews {
  readonly added: readonly Denial[]
  readonly dropped: readonly Pick<Denial, 'id' | 'subject'>[]
}

/** What a worker begins with. */
export interface WorkerStart {
  readonly config: NodeConfig
  /** Opens what lies on the node's disk. */
  readonly disk: DiskSealOptions | undefined
  readonly region: string
  readonly ring: string
  readonly rules: RuleLibrary
  /** From 1. */
  readonly number: number
  readonly threads: number
  /** The budgets of rate limits. */
  readonly rates: SharedArrayBuffer
  /** Of tokens’ keys, that were seen. */
  readonly proofs: SharedArrayBuffer
  readonly ticketSecret: TicketSecret
  readonly passKeys: readonly PassKey[]
  readonly isDraining: boolean
  readonly acme: readonly AcmeAnswer[]
  /** With the ports that the first worker got. */
  readonly listeners: readonly ListenerOptions[]
  readonly view: ViewNews
  readonly certified: readonly Denial[]
  readonly early: readonly Denial[]
  readonly indicators: SharedIndicators
}

export type ToWorker =
  | { readonly kind: 'view'; readonly view: ViewNews }
  | { readonly kind: 'denials'; readonly of: 'certified' | 'early'; readonly news: DenialNews }
  | { readonly kind: 'indicators'; readonly shared: SharedIndicators }
  | { readonly kind: 'cut'; readonly source: string }
  /** Judge again what is under way. */
  | { readonly kind: 'review' }
  | { readonly kind: 'certificates' }
  | { readonly kind: 'passKeys'; readonly keys: readonly PassKey[] }
  /** What ACME servers are to find. */
  | { readonly kind: 'acme'; readonly all: readonly AcmeAnswer[] }
  /** Answers that are not to be kept any more. */
  | { readonly kind: 'invalidate'; readonly keys: readonly string[] }
  | { readonly kind: 'purge'; readonly service: string; readonly path: string }
  /** Answers to `takes`: number and milliseconds to wait. */
  | { readonly kind: 'taken'; readonly answers: readonly (readonly [id: number, waitMs: number])[] }
  /** Answers to `portal` and `renew`; undefined: there is none. */
  | { readonly kind: 'portal'; readonly id: number; readonly answer: PortalAnswer | RenewedSession | undefined }
  | { readonly kind: 'drain'; readonly isOn: boolean }
  | { readonly kind: 'stop'; readonly graceMs: number }

/** A request that rules matched. */
export interface KeptRequest {
  readonly request: {
    readonly method: string
    readonly target: string
    readonly httpVersion: string
    readonly protocol?: string
    readonly headers: readonly HeaderField[]
    readonly remoteAddress: string
    readonly host: string
    readonly path: string
    readonly requestId: string
  }
  readonly body: Uint8Array
  readonly truncated: boolean
  readonly policyVersion: number
  readonly atMs: number
}

export interface Take {
  readonly id: number
  readonly key: string
  readonly budget: Budget
}

export interface WorkerNews {
  readonly kind: 'news'
  readonly stats: ProxyStats
  readonly upstreams: readonly UpstreamStatus[]
  readonly services: readonly ServiceStatus[]
  readonly certificates: readonly CertificateStatus[]
  readonly cache: CacheStatus
  readonly requests: RequestNews | undefined
  readonly logins: readonly LoginEvent[]
  readonly floods: readonly FloodReading[]
  readonly signals: readonly Signal[]
  /** Signals that there was no room for. */
  readonly signalsLost: number
  readonly api: readonly ApiEvent[]
  readonly kept: readonly KeptRequest[]
  readonly sightings: readonly { readonly sighting: Sighting; readonly atMs: number }[]
  readonly lines: readonly { readonly level: 'info' | 'warn'; readonly line: string }[]
  readonly audit: { readonly written: number; readonly dropped: number } | undefined
  /** Every second or so. */
  readonly ruleCounts: RuleCounts | undefined
}

export type FromWorker =
  | { readonly kind: 'listening'; readonly bound: readonly { readonly host: string; readonly port: number }[] }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'takes'; readonly takes: readonly Take[] }
  /** A page of ours is asked for, or a session is to be renewed. */
  | { readonly kind: 'portal'; readonly id: number; readonly request: PortalRequest }
  | { readonly kind: 'renew'; readonly id: number; readonly token: string }
  /** Told of at once: the others are to drop it, too. */
  | { readonly kind: 'changed'; readonly keys: readonly string[] }
  | WorkerNews
