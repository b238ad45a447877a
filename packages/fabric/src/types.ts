/** The words of the links between nodes. Payloads are bytes: fabric never looks inside. */
import type { KeyObject } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/** Name of a node, unique in its ring: `[a-z0-9-]{1,32}`. */
export type NodeId = string

/** What separates users of a link from one another: one byte on the wire. */
export type Channel =
  | 'consensus'
  | 'gossip'
  | 'sync'
  | 'signals'
  | 'query'
  | 'limits'
  | 'signing'
  | 'vault'
  | 'passes'
  | 'acme'
  | 'disk'
  | 'attest'
  | 'model'

/** A peer as the ring knows it. A peer is who holds `publicKey`, not who answers at `host`. */
export interface Peer {
  readonly id: NodeId
  readonly region: string
  readonly host: string
  readonly port: number
  /** Ed25519 public key, raw 32 bytes. */
  readonly publicKey: Uint8Array
}

export interface FabricOptions {
  readonly ring: string
  readonly self: Peer
  /** This node's Ed25519 private key: proves `self.publicKey` in TLS. */
  readonly privateKey: KeyObject
  readonly peers: readonly Peer[]
  /** Where to listen; `self.host` and `self.port` unless given. */
  readonly listen?: { readonly host: string; readonly port: number }
  /** Dials everybody and listens nowhere: of a node that only asks something, and ends. */
  readonly dialsOnly?: boolean
  /** Notices for people: one line each. */
  readonly log?: (level: 'info' | 'warn', line: string) => void
}

/** How a link to one peer stands. */
export interface LinkStatus {
  readonly id: NodeId
  readonly region: string
  readonly connected: boolean
  /** Why it is not connected, in one line that says what to do. */
  readonly reason: string | undefined
  readonly roundTripMs: number | undefined
  /** The peer's clock minus ours, milliseconds, by its answers to pings; undefined until one was answered. */
  readonly clockOffsetMs: number | undefined
  readonly sentBytes: number
  readonly receivedBytes: number
}

export type MessageHandler = (from: NodeId, payload: Uint8Array) => void
/** Answers a request. A rejection reaches the asker as an error without its message. */
export type RequestHandler = (from: NodeId, payload: Uint8Array) => Promise<Uint8Array>

/** A connection of its own that a peer opened: `Fabric.connect` on its side. */
export type StreamHandler = (from: NodeId, socket: TLSSocket) => void

/**
 * Somebody who is no node and has asked for it by `GUEST_PROTOCOL`: the key is proved, and nothing more. The handler ends the connection, in
 * bounded time; until then it counts among those that have not proved who they are.
 */
export type GuestHandler = (socket: TLSSocket, key: Uint8Array) => void

export interface Fabric {
  /** Binds and starts dialling. Rejects with `FabricError` `FABRIC_PORT_IN_USE` naming the address. */
  start(): Promise<void>
  stop(): Promise<void>
  /**
   * Those who are peers from now on: links to others are cut, new ones are dialled. Rejects as `start` when this node was alone
   * and cannot listen.
   */
  setPeers(peers: readonly Peer[]): Promise<void>
  /** Listens, also for a node that is alone and has no peers. Rejects as `start`; does nothing before it. */
  open(): Promise<void>
  /** Without a handler guests are refused. */
  onGuest(handler: GuestHandler): void
  /**
   * A connection of its own to a peer, with back-pressure, beside the link. It ends when the ring lets the peer go. Rejects with
   * `FABRIC_UNREACHABLE`.
   */
  connect(to: NodeId): Promise<TLSSocket>
  /** Without a handler peers' connections of their own are refused. */
  onStream(handler: StreamHandler): void
  /** False when the link is down or its queue is full: the message is gone, nothing blocks. */
  send(to: NodeId, channel: Channel, payload: Uint8Array): boolean
  broadcast(channel: Channel, payload: Uint8Array): void
  /** Reads what a peer sends at a small part of its budget, for so many milliseconds: for one that sends what no honest peer does. */
  curb(id: NodeId, ms: number): void
  /** Floods `payload` over the ring: each node delivers it to its `onGossip` handler once, and passes it on. */
  gossip(payload: Uint8Array): void
  /** Handler's answer says whether the payload is good: a bad one is not passed on and counts against `from`. */
  onGossip(handler: (from: NodeId, payload: Uint8Array) => boolean): void
  onMessage(channel: Channel, handler: MessageHandler): void
  /** Rejects with `FABRIC_UNREACHABLE` or `FABRIC_TIMEOUT`. */
  request(to: NodeId, channel: Channel, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array>
  onRequest(channel: Channel, handler: RequestHandler): void
  links(): readonly LinkStatus[]
  /** Called whenever a link comes up or goes down. */
  onLink(handler: (status: LinkStatus) => void): void
}
