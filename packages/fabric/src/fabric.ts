/**
 * Links between the nodes of a ring: one mutual TLS 1.3 connection for each pair, dialled by the node whose id sorts first.
 * A peer is who holds the key that the ring pins for it: its certificate's names, dates and issuer are not looked at.
 */
import { constants, randomInt } from 'node:crypto'
import type { Socket } from 'node:net'
import { connect, createServer, type Server, type TLSSocket } from 'node:tls'
import { sameKey, selfSignedCertificate } from './certificate.ts'
import { FabricError } from './errors.ts'
import { encodeFrame, FRAME_BYTES_MAX, type Frame } from './frames.ts'
import { GossipMemory } from './gossip-memory.ts'
import { GUEST_PROTOCOL } from './guest.ts'
import { exchangeHellos, peerKey } from './handshake.ts'
import { BEAT_MS, Link } from './link.ts'
import { STREAM_PROTOCOL, Streams } from './streams.ts'
import type {
  Channel,
  Fabric,
  FabricOptions,
  GuestHandler,
  LinkStatus,
  MessageHandler,
  NodeId,
  Peer,
  RequestHandler,
  StreamHandler,
} from './types.ts'

const BACKOFF_MS = { least: 50, most: 1_000 } as const
const HANDSHAKE_MS_MAX = 5_000
/** Connections that have not proved yet who they are. */
const STRANGERS_MAX = 128
const REQUESTS_MAX = 1_024
/** Requests of one peer that are answered at the same time. */
const ANSWERING_MAX = 64
const REFUSAL_LOG_MS = 10_000
/** How long a peer whose gossip is bad is read slowly. */
const CURBED_MS = 10_000
const REFUSALS_REMEMBERED = 256
const PAYLOAD_BYTES_MAX: number = FRAME_BYTES_MAX - 64

interface PeerState {
  readonly peer: Peer
  link: Link | undefined
  reason: string | undefined
  backoffMs: number
  timer: NodeJS.Timeout | undefined
  answering: number
  /** Bytes of links that are gone. */
  sentBytes: number
  receivedBytes: number
}

interface Waiting {
  readonly to: NodeId
  readonly settle: (answer: Uint8Array) => void
  readonly refuse: (error: FabricError) => void
  readonly timer: NodeJS.Timeout
}

export interface MeshOptions extends FabricOptions {
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

/** Does nothing before `start`. */
export function createFabric(options: MeshOptions): Fabric {
  return new Mesh(options)
}

class Mesh implements Fabric {
  readonly #options: MeshOptions
  readonly #now: () => number
  readonly #log: (level: 'info' | 'warn', line: string) => void
  readonly #peers = new Map<NodeId, PeerState>()
  readonly #gossip = new GossipMemory()
  readonly #messageHandlers = new Map<Channel, MessageHandler>()
  readonly #requestHandlers = new Map<Channel, RequestHandler>()
  readonly #linkHandlers: ((status: LinkStatus) => void)[] = []
  readonly #waiting = new Map<number, Waiting>()
  readonly #strangers = new Set<TLSSocket>()
  /** Connections accepted and not linked, by address and port. */
  readonly #callers = new Map<string, Socket>()
  readonly #refusals = new Map<string, number>()
  #gossipHandler: ((from: NodeId, payload: Uint8Array) => boolean) | undefined
  #guestHandler: GuestHandler | undefined
  #server: Server | undefined
  #listening: Promise<void> | undefined
  #credentials: { readonly key: string; readonly cert: string } | undefined
  readonly #streams = new Streams()
  #beating: NodeJS.Timeout | undefined
  #nextRequest = 1
  #stopped = false

  constructor(options: MeshOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#log = options.log ?? (() => {})
    for (const peer of options.peers) this.#meet(peer)
  }

  #meet(peer: Peer): PeerState {
    const begun = { peer, link: undefined, reason: 'not connected yet', backoffMs: BACKOFF_MS.least, timer: undefined }
    const state: PeerState = { ...begun, answering: 0, sentBytes: 0, receivedBytes: 0 }
    this.#peers.set(peer.id, state)
    return state
  }

  async start(): Promise<void> {
    const { self, privateKey } = this.#options
    const cert = selfSignedCertificate(self.id, privateKey, this.#now())
    this.#credentials = { key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), cert }
    // All in one turn: a process that has nothing else to do wakes once for them.
    this.#beating = setInterval(() => {
      for (const { link } of this.#peers.values()) link?.beat()
    }, BEAT_MS).unref()
    if (this.#peers.size === 0) return
    if (this.#options.dialsOnly !== true) await this.open()
    for (const state of this.#peers.values()) if (this.#dials(state)) this.#dial(state)
  }

  async setPeers(peers: readonly Peer[]): Promise<void> {
    const { self, dialsOnly } = this.#options
    const wanted = new Map(peers.map((peer) => [peer.id, peer]))
    for (const [id, state] of this.#peers) {
      if (wanted.has(id)) continue
      this.#peers.delete(id)
      clearTimeout(state.timer)
      state.link?.close('it is no node of this ring any more')
      this.#streams.end(id)
    }
    const fresh = [...wanted.values()].filter(({ id }) => id !== self.id && !this.#peers.has(id)).map((peer) => this.#meet(peer))
    if (this.#stopped || this.#credentials === undefined || fresh.length === 0) return
    // A ring of one listens to nobody, until it is no longer alone.
    if (dialsOnly !== true) await this.open()
    for (const state of fresh) if (this.#dials(state)) this.#dial(state)
  }

  /** Of two nodes one dials. */
  #dials({ peer }: PeerState): boolean {
    const { self, dialsOnly } = this.#options
    return dialsOnly === true || self.id < peer.id
  }

  open(): Promise<void> {
    if (this.#stopped || this.#credentials === undefined) return Promise.resolve()
    this.#listening ??= this.#listen()
    return this.#listening
  }

  onGuest(handler: GuestHandler): void {
    this.#guestHandler = handler
  }

  connect(to: NodeId): Promise<TLSSocket> {
    const state = this.#peers.get(to)
    if (state === undefined || this.#stopped || this.#credentials === undefined)
      return Promise.reject(new FabricError('FABRIC_UNREACHABLE', `${to} cannot be asked: it is no peer of this node`))
    return this.#streams.connect(state.peer, this.#credentials)
  }

  onStream(handler: StreamHandler): void {
    this.#streams.handler = handler
  }

  /** False once the ring has let it go. */
  #isKnown(state: PeerState): boolean {
    return this.#peers.get(state.peer.id) === state
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#beating)
    for (const [id, { refuse, timer }] of this.#waiting) {
      clearTimeout(timer)
      this.#waiting.delete(id)
      refuse(new FabricError('FABRIC_STOPPED', 'the fabric was stopped'))
    }
    for (const state of this.#peers.values()) {
      clearTimeout(state.timer)
      state.link?.close('this node stopped')
    }
    for (const socket of this.#strangers) socket.destroy()
    this.#streams.end()
    for (const socket of this.#callers.values()) socket.destroy()
    const server = this.#server
    if (server !== undefined) await new Promise((settle) => server.close(settle))
  }

  // Connections

  #tlsOptions() {
    const versions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const
    // Without tickets there is no resumption: every connection shows its key.
    return { ...this.#credentials, ...versions, rejectUnauthorized: false, secureOptions: constants.SSL_OP_NO_TICKET }
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options.listen ?? this.#options.self
    const options = { requestCert: true, handshakeTimeout: HANDSHAKE_MS_MAX, ALPNProtocols: [STREAM_PROTOCOL, GUEST_PROTOCOL] }
    const server = createServer({ ...this.#tlsOptions(), ...options }, (socket) => void this.#accept(socket))
    server.on('connection', (socket: Socket) => this.#called(socket))
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#server = server
    return new Promise((settle, refuse) => {
      server.once('error', (cause: NodeJS.ErrnoException) => {
        const at = `${host}:${port}`
        refuse(
          cause.code === 'EADDRINUSE'
            ? new FabricError(
                'FABRIC_PORT_IN_USE',
                `${at} (links between nodes) is in use by another program; stop that or change listen.fabric`,
                { cause },
              )
            : new FabricError('FABRIC_LISTEN', `${at} (links between nodes) cannot be bound: ${cause.code ?? cause.message}`, {
                cause,
              }),
        )
      })
      server.listen(port, host, () => settle())
    })
  }

  async #accept(socket: TLSSocket): Promise<void> {
    const from = `${socket.remoteAddress}:${socket.remotePort}`
    socket.on('error', () => socket.destroy())
    if (this.#stopped) {
      socket.destroy()
      return
    }
    const key = peerKey(socket)
    if (socket.alpnProtocol === GUEST_PROTOCOL && key !== undefined && this.#guestHandler !== undefined) {
      const receive = this.#guestHandler
      this.#guarded(() => receive(socket, key))
      return
    }
    const state = key === undefined ? undefined : [...this.#peers.values()].find(({ peer }) => sameKey(peer.publicKey, key))
    if (state === undefined) {
      socket.destroy()
      const what = key === undefined ? 'presented no key' : 'presented a key that belongs to no node of this ring'
      this.#logRefusal(
        socket.remoteAddress ?? '',
        `${from} ${what}; refused. If a node was re-made, restore its old key or make the ring anew`,
      )
      return
    }
    if (socket.alpnProtocol === STREAM_PROTOCOL) {
      this.#callers.delete(from)
      socket.setNoDelay(true)
      this.#guarded(() => this.#streams.accept(state.peer.id, socket))
      return
    }
    this.#strangers.add(socket)
    if (await this.#greet(socket, state)) this.#callers.delete(from)
    this.#strangers.delete(socket)
  }

  /**
   * Somebody connected and has not proved yet who it is. When there are too many, one of the address that has most of them
   * goes, chosen at random: who fills the port from one place takes it from itself, and cannot time whom it throws out.
   */
  #called(socket: Socket): void {
    const name = `${socket.remoteAddress}:${socket.remotePort}`
    this.#callers.set(name, socket)
    socket.once('close', () => {
      if (this.#callers.get(name) === socket) this.#callers.delete(name)
    })
    if (this.#callers.size <= STRANGERS_MAX) return
    const byAddress = new Map<string, Socket[]>()
    for (const caller of this.#callers.values()) {
      const address = caller.remoteAddress ?? ''
      byAddress.set(address, [...(byAddress.get(address) ?? []), caller])
    }
    const most = [...byAddress.values()].reduce((a, b) => (b.length > a.length ? b : a))
    most[randomInt(most.length)]?.destroy()
  }

  #dial(state: PeerState): void {
    if (this.#stopped || state.link !== undefined || !this.#isKnown(state)) return
    const { id, host, port, publicKey } = state.peer
    const at = `${id} at ${host}:${port}`
    const socket = connect({ ...this.#tlsOptions(), host, port, checkServerIdentity: () => undefined })
    const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), HANDSHAKE_MS_MAX)
    let linked = false
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!linked)
        state.reason = `${at} cannot be reached: ${error.code === 'ECONNREFUSED' ? 'nothing listens there; is the node running?' : (error.code ?? error.message)}`
    })
    socket.on('close', () => {
      clearTimeout(timer)
      this.#strangers.delete(socket)
      this.#dialLater(state)
    })
    this.#strangers.add(socket)
    socket.once('secureConnect', async () => {
      clearTimeout(timer)
      const key = peerKey(socket)
      if (key === undefined || !sameKey(publicKey, key)) {
        state.reason = `${at} answers with another key than the ring knows for it; refused. Is another program or a re-made node there?`
        this.#logRefusal(at, state.reason)
        socket.destroy()
        return
      }
      linked = await this.#greet(socket, state)
      this.#strangers.delete(socket)
    })
  }

  #dialLater(state: PeerState): void {
    if (this.#stopped || state.link !== undefined || !this.#isKnown(state)) return
    clearTimeout(state.timer)
    const wait = state.backoffMs * (0.5 + Math.random())
    state.backoffMs = Math.min(BACKOFF_MS.most, state.backoffMs * 2)
    state.timer = setTimeout(() => this.#dial(state), wait)
  }

  /** Exchanges hellos; true when the link stands. */
  async #greet(socket: TLSSocket, state: PeerState): Promise<boolean> {
    const { ring, self } = this.#options
    const { id } = state.peer
    try {
      const { parser, early } = await exchangeHellos(socket, { ring, id: self.id }, id)
      if (this.#stopped) throw new Error('this node stopped')
      if (!this.#isKnown(state)) throw new Error('it is no node of this ring any more')
      socket.setNoDelay(true)
      state.link?.close('replaced by a newer link')
      const link: Link = new Link(id, socket, parser, this.#now, {
        onFrame: (frame) => this.#onFrame(state, frame),
        onClose: (reason) => this.#onClose(state, link, reason),
      })
      state.link = link
      state.reason = undefined
      state.backoffMs = BACKOFF_MS.least
      for (const frame of early) link.take(frame)
      this.#tellLink(state)
      return true
    } catch (error) {
      state.reason = `${id} at ${state.peer.host}:${state.peer.port}: ${(error as Error).message}`
      this.#logRefusal(id, state.reason)
      socket.destroy()
      return false
    }
  }

  #onClose(state: PeerState, link: Link, reason: string): void {
    state.sentBytes += link.sentBytes
    state.receivedBytes += link.receivedBytes
    if (state.link !== link) return
    state.link = undefined
    state.reason = reason
    for (const [id, { to, refuse, timer }] of this.#waiting) {
      if (to !== state.peer.id) continue
      clearTimeout(timer)
      this.#waiting.delete(id)
      refuse(new FabricError('FABRIC_UNREACHABLE', `the link to ${to} closed: ${reason}`))
    }
    this.#tellLink(state)
    if (this.#dials(state)) this.#dialLater(state)
  }

  #tellLink(state: PeerState): void {
    const status = statusOf(state)
    for (const handler of this.#linkHandlers) this.#guarded(() => handler(status))
  }

  #logRefusal(who: string, line: string): void {
    const atMs = performance.now()
    if (atMs - (this.#refusals.get(who) ?? Number.NEGATIVE_INFINITY) < REFUSAL_LOG_MS) return
    if (this.#refusals.size >= REFUSALS_REMEMBERED) this.#refusals.clear()
    this.#refusals.set(who, atMs)
    this.#log('warn', line)
  }

  /** A handler that throws is a defect of its owner's; the link goes on. */
  #guarded<T>(run: () => T): T | undefined {
    try {
      return run()
    } catch (error) {
      this.#log('warn', `a handler failed: ${(error as Error).message}`)
      return undefined
    }
  }

  // Messages

  send(to: NodeId, channel: Channel, payload: Uint8Array): boolean {
    return this.#linkTo(to)?.send({ kind: 'message', channel, id: 0, payload: bounded(payload) }) ?? false
  }

  broadcast(channel: Channel, payload: Uint8Array): void {
    this.#sendToAll({ kind: 'message', channel, id: 0, payload: bounded(payload) })
  }

  curb(id: NodeId, ms: number): void {
    this.#linkTo(id)?.curb(ms)
  }

  gossip(payload: Uint8Array): void {
    if (this.#gossip.isNews(payload)) this.#sendToAll({ kind: 'gossip', channel: 'gossip', id: 0, payload: bounded(payload) })
  }

  #sendToAll(frame: Frame, except?: NodeId): void {
    const bytes = encodeFrame(frame)
    for (const { peer, link } of this.#peers.values()) if (peer.id !== except) link?.sendEncoded(bytes)
  }

  #linkTo(id: NodeId): Link | undefined {
    return this.#peers.get(id)?.link
  }

  onGossip(handler: (from: NodeId, payload: Uint8Array) => boolean): void {
    this.#gossipHandler = handler
  }

  onMessage(channel: Channel, handler: MessageHandler): void {
    this.#messageHandlers.set(channel, handler)
  }

  onRequest(channel: Channel, handler: RequestHandler): void {
    this.#requestHandlers.set(channel, handler)
  }

  onLink(handler: (status: LinkStatus) => void): void {
    this.#linkHandlers.push(handler)
  }

  request(to: NodeId, channel: Channel, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const link = this.#linkTo(to)
    if (this.#stopped) return Promise.reject(new FabricError('FABRIC_STOPPED', 'the fabric was stopped'))
    if (link === undefined || this.#waiting.size >= REQUESTS_MAX) {
      const why =
        link === undefined
          ? (this.#peers.get(to)?.reason ?? 'it is no peer of this node')
          : `${REQUESTS_MAX} requests wait already`
      return Promise.reject(new FabricError('FABRIC_UNREACHABLE', `${to} cannot be asked: ${why}`))
    }
    const id = this.#nextRequest
    this.#nextRequest = (id % 0x7fff_ffff) + 1
    return new Promise((settle, refuse) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        refuse(new FabricError('FABRIC_TIMEOUT', `${to} did not answer in ${timeoutMs} ms`))
      }, timeoutMs)
      this.#waiting.set(id, { to, settle, refuse, timer })
      link.send({ kind: 'request', channel, id, payload: bounded(payload) })
    })
  }

  #onFrame(state: PeerState, frame: Frame): void {
    const from = state.peer.id
    if (frame.kind === 'message') this.#guarded(() => this.#messageHandlers.get(frame.channel)?.(from, frame.payload))
    else if (frame.kind === 'gossip') this.#onGossipFrame(from, frame)
    else if (frame.kind === 'request') void this.#onRequestFrame(state, frame)
    else if (frame.kind === 'answer' || frame.kind === 'failure') this.#onAnswer(from, frame)
    else state.link?.close('the peer broke the protocol: a second hello')
  }

  #onGossipFrame(from: NodeId, frame: Frame): void {
    const atMs = performance.now()
    if (this.#gossip.isMuted(from, atMs) || !this.#gossip.isNews(frame.payload)) return
    if (this.#guarded(() => this.#gossipHandler?.(from, frame.payload)) === true) this.#sendToAll(frame, from)
    else if (this.#gossip.bad(from, atMs)) {
      this.curb(from, CURBED_MS)
      this.#log('warn', `${from} gossips what is not valid, again and again; it is not listened to for a minute`)
    }
  }

  async #onRequestFrame(state: PeerState, { channel, id, payload }: Frame): Promise<void> {
    const { link } = state
    const handler = this.#requestHandlers.get(channel)
    const failure = { kind: 'failure', channel, id, payload: new Uint8Array(0) } as const
    if (handler === undefined || state.answering >= ANSWERING_MAX) {
      link?.send(failure)
      return
    }
    state.answering += 1
    try {
      const answer = await handler(state.peer.id, payload)
      link?.send(answer.length > PAYLOAD_BYTES_MAX ? failure : { kind: 'answer', channel, id, payload: answer })
    } catch {
      // Why it failed is this node's matter: a peer learns that it did.
      link?.send(failure)
    } finally {
      state.answering -= 1
    }
  }

  #onAnswer(from: NodeId, { kind, id, payload }: Frame): void {
    const waiting = this.#waiting.get(id)
    if (waiting?.to !== from) return
    clearTimeout(waiting.timer)
    this.#waiting.delete(id)
    if (kind === 'answer') waiting.settle(payload)
    else waiting.refuse(new FabricError('FABRIC_REFUSED', `${from} could not answer`))
  }

  links(): readonly LinkStatus[] {
    return [...this.#peers.values()].map(statusOf)
  }
}

function statusOf({ peer, link, reason, sentBytes, receivedBytes }: PeerState): LinkStatus {
  return {
    id: peer.id,
    region: peer.region,
    connected: link !== undefined,
    reason: link === undefined ? reason : undefined,
    roundTripMs: link?.roundTripMs,
    clockOffsetMs: link?.clockOffsetMs,
    sentBytes: sentBytes + (link?.sentBytes ?? 0),
    receivedBytes: receivedBytes + (link?.receivedBytes ?? 0),
  }
}

function bounded(payload: Uint8Array): Uint8Array {
  if (payload.length > PAYLOAD_BYTES_MAX)
    throw new FabricError('FABRIC_FRAME', `a payload has at most ${PAYLOAD_BYTES_MAX} bytes, not ${payload.length}`)
  return payload
}
