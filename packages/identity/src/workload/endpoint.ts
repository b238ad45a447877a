/**
 * The SPIFFE Workload Endpoint: gRPC on a Unix socket of this machine, for every program on it. Who connects is found out before a byte is read,
 * and stays who it was for as long as the connection lasts; what it gets is for the `WorkloadService` to say.
 *
 * https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md, and SPIFFE_Workload_API.md beside it: the X.509-SVID profile.
 * Envoy's secret discovery service is served on the same socket, as SPIRE's agent does; Envoy sends no security header, and nobody can have it do so from
 * outside: it is a call of its configuration.
 * The JWT-SVID profile is answered with UNIMPLEMENTED: it takes RSA and ECDSA alone, and the ring's key is Ed25519.
 */
import { chmodSync, lstatSync, statSync, unlinkSync } from 'node:fs'
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { framed, GRPC_STATUS, GrpcFault, type GrpcStatus, percentEncoded, RequestMessage, RequestMessages } from './grpc.ts'
import { type PeerCredentials, PeerInquiry, peerCredentialsLack } from './peer-credentials.ts'
import { Program } from './program.ts'
import { isMessage } from './protobuf.ts'
import { parseSecretsRequest, type SecretsRequest } from './secrets.ts'

const CONNECTIONS_MAX = 512
/** Of one user, so that no other goes without. */
const CONNECTIONS_PER_USER_MAX = 64
const STREAMS_MAX = 16
/** Requests have no fields. */
const REQUEST_BYTES_MAX = 4_096
const REQUEST_MS_MAX = 10_000
/** How long a connection may be open without a call: go-spiffe keeps one open call. */
const IDLE_MS_MAX = 300_000
const HEADER_PAIRS_MAX = 64
const GRACE_MS = 500
/** Of `sun_path`, unix(7). */
const SOCKET_BYTES_MAX = 107
const SELF_CHECK_MS_MAX = 10_000

export type WorkloadCall = 'svids' | 'bundles'

/** What a call is answered with. Of what cannot be sent yet, the newest alone is kept. */
export interface CallAnswer {
  send(message: Uint8Array): void
  /** Once: there is nothing more to say afterwards. */
  end(code: GrpcStatus, message: string): void
}

/** A call for secrets: it goes on asking. */
export interface SecretsCall {
  /** @throws {GrpcFault} */
  ask(request: SecretsRequest): void
  /** It ended, by whomever. */
  end(): void
}

export interface WorkloadService {
  /** @returns What is to be done when the call ends, by whomever. */
  begin(call: WorkloadCall, program: Program, answer: CallAnswer): () => void
  /** Envoy's secret discovery service. @param isOnce One answer ends it. */
  beginSecrets(program: Program, answer: CallAnswer, isOnce: boolean): SecretsCall
}

export class EndpointRefused extends Error {
  override readonly name = 'EndpointRefused'
  readonly code = 'WORKLOAD_ENDPOINT'
}

export interface WorkloadEndpointOptions {
  /** Path of the socket. */
  readonly socket: string
  readonly service: WorkloadService
  /** What went wrong with a connection, for people; the same not too often. */
  readonly log: (line: string) => void
  /** How long a request may take to come; 10 s unless given. */
  readonly requestMsMax?: number
}

/** An Envoy says of itself which extensions it has. */
const SECRETS_BYTES_MAX = 262_144
/** Requests of one call in ten seconds: one for each answer, and some more. */
const SECRETS_REQUESTS_MAX = 200
const SECRETS_WINDOW_MS = 10_000
const SECRETS = '/envoy.service.secret.v3.SecretDiscoveryService/'
const SERVICE = '/SpiffeWorkloadAPI/'
const CALLS: ReadonlyMap<string, WorkloadCall> = new Map([
  [`${SERVICE}FetchX509SVID`, 'svids'],
  [`${SERVICE}FetchX509Bundles`, 'bundles'],
])
const WITHOUT_JWT = 'JWT-SVIDs are not issued: they take RSA and ECDSA alone, and the ring signs with Ed25519'
const LOG_EVERY_MS = 60_000

export class WorkloadEndpoint {
  readonly #options: WorkloadEndpointOptions
  readonly #inquiry = new PeerInquiry()
  readonly #server: Server
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #sockets = new Set<Socket>()
  readonly #ofUser = new Map<number, number>()
  readonly #said = new Map<string, number>()
  readonly counts = { calls: 0, refused: 0 }
  /** While it is looked at whether this process sees itself. */
  #checking: ((peer: PeerCredentials | Error) => void) | undefined

  constructor(options: WorkloadEndpointOptions) {
    this.#options = options
    this.#server = createServer({ pauseOnConnect: true }, (socket) => void this.#accept(socket))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  get connections(): number {
    return this.#sessions.size
  }

  /** @throws {EndpointRefused} Saying what is missing, or what is wrong with the path. */
  async start(): Promise<void> {
    const { socket } = this.#options
    const lack = peerCredentialsLack()
    if (lack !== undefined) throw new EndpointRefused(`the Workload API cannot tell who asks: ${lack}`)
    await freeSocket(socket)
    await new Promise<void>((settle, refuse) => {
      this.#server.once('error', (cause) => refuse(new EndpointRefused(`${socket}: cannot listen: ${cause.message}`)))
      this.#server.listen(socket, settle)
    })
    this.#server.on('error', (error) => this.#log(`the Workload API’s socket: ${error.message}`))
    try {
      await this.#checkSelf()
      // Whoever connects is asked for; a folder that only some may enter keeps others away.
      chmodSync(socket, 0o666)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((settle) => this.#server.close(() => settle()))
    for (const session of this.#sessions) session.close()
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, GRACE_MS)
    await closed
    clearTimeout(timer)
  }

  /** Connects, and must find this very process at the other end: anything else, and nobody could be told from anybody. */
  async #checkSelf(): Promise<void> {
    let reason = 'it takes too long'
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#checking = (found) => {
      // Others may connect meanwhile: they are told to come again.
      if (found instanceof Error) reason = found.message
      else if (found.pid === process.pid) resolve(found.uid === process.geteuid?.() && found.gid === process.getegid?.())
    }
    const timer = setTimeout(() => resolve(false), SELF_CHECK_MS_MAX)
    const client = connect(this.#options.socket)
    client.on('error', (error) => {
      reason = error.message
    })
    const isSound = await promise
    clearTimeout(timer)
    this.#checking = undefined
    client.destroy()
    if (!isSound)
      throw new EndpointRefused(
        `the Workload API cannot tell who asks: this node does not see itself at its own socket (${reason})`,
      )
  }

  async #accept(socket: Socket): Promise<void> {
    this.#sockets.add(socket)
    let uid: number | undefined
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#sockets.delete(socket)
      if (uid === undefined) return
      const left = (this.#ofUser.get(uid) ?? 1) - 1
      if (left === 0) this.#ofUser.delete(uid)
      else this.#ofUser.set(uid, left)
    })
    try {
      const peer = await this.#inquiry.of(socket)
      if (this.#checking !== undefined) {
        this.#checking(peer)
        socket.destroy()
        return
      }
      const program = await Program.find(peer)
      const held = this.#ofUser.get(peer.uid) ?? 0
      if (held >= CONNECTIONS_PER_USER_MAX)
        throw new EndpointRefused(`user ${peer.uid} has ${CONNECTIONS_PER_USER_MAX} connections already`)
      if (socket.destroyed) return
      uid = peer.uid
      this.#ofUser.set(peer.uid, held + 1)
      this.#serve(socket, program)
    } catch (error) {
      this.#checking?.(error as Error)
      this.counts.refused += 1
      socket.destroy()
      this.#log(`a program is refused at the Workload API: ${(error as Error).message}`)
    }
  }

  #serve(socket: Socket, program: Program): void {
    const session = performServerHandshake(socket, {
      maxSessionMemory: 1,
      maxHeaderListPairs: HEADER_PAIRS_MAX,
      maxSendHeaderBlockLength: 16_384,
      settings: { maxConcurrentStreams: STREAMS_MAX, maxHeaderListSize: 16_384, enablePush: false },
    })
    this.#sessions.add(session)
    let calls = 0
    const touch = (): void => {
      session.setTimeout(calls === 0 ? IDLE_MS_MAX : 0)
    }
    touch()
    session.on('timeout', () => session.close())
    session.on('error', () => socket.destroy())
    session.once('close', () => {
      this.#sessions.delete(session)
      socket.destroy()
    })
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      calls += 1
      touch()
      stream.once('close', () => {
        calls -= 1
        if (!session.closed) touch()
      })
      stream.on('error', () => {})
      this.#answer(stream, headers, program)
    })
    socket.resume()
  }

  #answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, program: Program): void {
    this.counts.calls += 1
    const answer = new StreamAnswer(stream)
    // Whoever goes on sending, or does not begin, is not listened to for ever, answered or not.
    const timer = setTimeout(() => {
      answer.end(GRPC_STATUS.INVALID_ARGUMENT, 'the request did not come')
      stream.close(constants.NGHTTP2_CANCEL)
    }, this.#options.requestMsMax ?? REQUEST_MS_MAX)
    stream.once('end', () => clearTimeout(timer))
    stream.once('close', () => clearTimeout(timer))
    const path = String(headers[':path'])
    if (path.startsWith(SECRETS)) {
      this.#answerSecrets(stream, path.slice(SECRETS.length), headers, program, answer, timer)
      return
    }
    try {
      const call = callOf(headers)
      const request = new RequestMessage(REQUEST_BYTES_MAX)
      const refuse = (error: unknown): void => {
        if (!(error instanceof GrpcFault)) throw error
        answer.end(error.code, error.message)
      }
      stream.on('data', (chunk: Buffer) => {
        try {
          if (!answer.isOver) request.push(chunk)
        } catch (error) {
          refuse(error)
        }
      })
      stream.once('end', () => {
        if (answer.isOver) return
        try {
          if (!isMessage(request.end())) throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'the request is no message')
          const done = this.#options.service.begin(call, program, answer)
          stream.once('close', done)
        } catch (error) {
          refuse(error)
        }
      })
    } catch (error) {
      if (!(error instanceof GrpcFault)) throw error
      answer.end(error.code, error.message)
    }
  }

  #answerSecrets(
    stream: ServerHttp2Stream,
    method: string,
    headers: IncomingHttpHeaders,
    program: Program,
    answer: StreamAnswer,
    timer: NodeJS.Timeout,
  ): void {
    const guarded = (work: () => void): void => {
      try {
        if (!answer.isOver) work()
      } catch (error) {
        if (!(error instanceof GrpcFault)) throw error
        answer.end(error.code, error.message)
      }
    }
    guarded(() => {
      expectGrpc(headers)
      if (method !== 'StreamSecrets' && method !== 'FetchSecrets')
        throw new GrpcFault(GRPC_STATUS.UNIMPLEMENTED, 'secrets are had by StreamSecrets and FetchSecrets')
      const isOnce = method === 'FetchSecrets'
      const call = this.#options.service.beginSecrets(program, answer, isOnce)
      stream.once('close', () => call.end())
      const messages = new RequestMessages(SECRETS_BYTES_MAX)
      let [count, sinceMs, isAsked] = [0, Date.now(), false]
      const asked = (bytes: Uint8Array): void => {
        clearTimeout(timer)
        if (isOnce && isAsked)
          throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'more than one message, where one request is expected')
        isAsked = true
        if (Date.now() - sinceMs > SECRETS_WINDOW_MS) [count, sinceMs] = [0, Date.now()]
        if (++count > SECRETS_REQUESTS_MAX)
          throw new GrpcFault(GRPC_STATUS.RESOURCE_EXHAUSTED, `${SECRETS_REQUESTS_MAX} requests in ten seconds are enough`)
        call.ask(parseSecretsRequest(bytes))
      }
      stream.on('data', (chunk: Buffer) =>
        guarded(() => {
          for (const bytes of messages.push(chunk)) asked(bytes)
        }),
      )
      stream.once('end', () =>
        guarded(() => {
          if (!isAsked) throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'the call ended before its request was whole')
          // Who has said all that it wants to say in a stream is not told of what comes later.
          if (!isOnce) answer.end(GRPC_STATUS.OK, '')
        }),
      )
    })
  }

  /** Whoever connects again and again fills no log. */
  #log(line: string): void {
    const now = Date.now()
    for (const [known, at] of this.#said) if (now - at > LOG_EVERY_MS) this.#said.delete(known)
    if (this.#said.has(line) || this.#said.size >= 16) return
    this.#said.set(line, now)
    this.#options.log(line)
  }
}

/** @throws {GrpcFault} */
function expectGrpc(headers: IncomingHttpHeaders): void {
  const type = headers['content-type'] ?? ''
  if (headers[':method'] !== 'POST' || !/^application\/grpc(?:\+proto)?$/.test(type))
    throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'expected a gRPC call')
}

/** @throws {GrpcFault} */
function callOf(headers: IncomingHttpHeaders): WorkloadCall {
  expectGrpc(headers)
  // Against requests that somebody else has a program make (SPIFFE_Workload_Endpoint.md, section 3).
  if (headers['workload.spiffe.io'] !== 'true')
    throw new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, 'security header missing from request: workload.spiffe.io must be true')
  const path = String(headers[':path'])
  const call = CALLS.get(path)
  if (call !== undefined) return call
  const isJwt = path.startsWith(SERVICE) && path.includes('JWT')
  throw new GrpcFault(GRPC_STATUS.UNIMPLEMENTED, isJwt ? WITHOUT_JWT : 'there is no such call')
}

class StreamAnswer implements CallAnswer {
  readonly #stream: ServerHttp2Stream
  #hasBegun = false
  #isOver = false
  /** The one before has not gone out yet. */
  #isWaiting = false
  #next: Uint8Array | undefined
  #end: { readonly code: GrpcStatus; readonly message: string } | undefined

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream
    stream.on('drain', () => {
      this.#isWaiting = false
      const next = this.#next
      this.#next = undefined
      if (next !== undefined) this.send(next)
    })
    stream.on('wantTrailers', () => {
      const { code, message } = this.#end ?? { code: GRPC_STATUS.OK, message: '' }
      stream.sendTrailers({ 'grpc-status': String(code), 'grpc-message': percentEncoded(message) })
    })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  send(message: Uint8Array): void {
    if (this.#isOver || this.#stream.destroyed || this.#stream.closed) return
    if (this.#isWaiting) {
      this.#next = message
      return
    }
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    }
    this.#isWaiting = !this.#stream.write(framed(message))
  }

  end(code: GrpcStatus, message: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#next = undefined
    if (this.#stream.destroyed || this.#stream.closed) return
    if (this.#hasBegun) {
      this.#end = { code, message }
      this.#stream.end()
      return
    }
    const status = { 'grpc-status': String(code), 'grpc-message': percentEncoded(message) }
    this.#stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...status }, { endStream: true })
    // What is left of the request nobody reads.
    this.#stream.resume()
  }
}

/**
 * The path is for this node to make: not somebody else's socket, nor in a folder where others could put theirs, which every program here would
 * believe.
 *
 * @throws {EndpointRefused}
 */
async function freeSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_BYTES_MAX)
    throw new EndpointRefused(`${path}: ${Buffer.byteLength(path)} bytes long, a socket’s path has ${SOCKET_BYTES_MAX} at most`)
  const folder = dirname(path)
  const mode = statSync(folder, { throwIfNoEntry: false })?.mode
  if (mode === undefined) throw new EndpointRefused(`${folder}: is not there; make it, for this node alone to write to`)
  if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0)
    throw new EndpointRefused(`${folder}: everybody can write to it, and put a socket in the place of this node’s: chmod o-w`)
  const there = lstatSync(path, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isSocket()) throw new EndpointRefused(`${path}: is there, and is no socket`)
  if (there.uid !== process.geteuid?.()) throw new EndpointRefused(`${path}: is somebody else’s socket`)
  const isServed = await new Promise<boolean>((settle) => {
    const client = connect(path)
    client.once('connect', () => settle(true))
    client.once('error', () => settle(false))
    client.once('connect', () => client.destroy())
  })
  if (isServed) throw new EndpointRefused(`${path}: another process serves it`)
  unlinkSync(path)
}
