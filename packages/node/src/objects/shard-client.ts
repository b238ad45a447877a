/** Shards and manifests of peers, over connections of their own. What a peer sends is believed when its hash is right. */
import type { AgentOptions, ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Fabric, NodeId } from '@ringwall/fabric'
import { nodeHttp } from '@ringwall/proxy/node-http'
import { giveBack, MANIFEST_BYTES_MAX } from '@ringwall/vault'
import { z } from 'zod'
import { pieceWithin } from './shard-server.ts'
import type { HeldShard } from './shard-store.ts'

/** A peer that neither takes nor gives anything for so long is given up. */
const SILENT_MS_MAX = 15_000
const HELD_BYTES_MAX = 4_194_304
const SOCKETS_MAX = 32

const Held = z.object({
  manifest: z.boolean(),
  shards: z
    .array(z.object({ blob: z.string().regex(/^[0-9a-f]{16}$/), index: z.int().min(0).max(7), bytes: z.int().min(0) }))
    .max(80_000),
})

export class PeerFailed extends Error {
  override readonly name = 'PeerFailed'
  readonly code = 'PEER_FAILED'
  readonly party: NodeId
  constructor(party: NodeId, reason: string) {
    super(`${party}: ${reason}`)
    this.party = party
  }
}

class StreamAgent extends nodeHttp.Agent {
  readonly #connect: () => Promise<Duplex>

  constructor(connect: () => Promise<Duplex>, options: AgentOptions) {
    super(options)
    this.#connect = connect
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    this.#connect().then(
      (socket) => callback?.(null, socket),
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    )
    return undefined
  }
}

/** A shard on its way to a peer. */
export interface ShardSink {
  readonly party: NodeId
  /** Resolves once the bytes are not looked at any more: the next ones may come. @throws {PeerFailed} */
  write(piece: Uint8Array): Promise<void>
  /** Resolves once it is on the peer's disk. @throws {PeerFailed} */
  commit(): Promise<void>
  abort(): void
}

export class ShardClient {
  readonly #fabric: Pick<Fabric, 'connect'>
  readonly #silentMsMax: number
  readonly #agents = new Map<NodeId, StreamAgent>()

  /** @param silentMsMax Of a peer that has something to take or to give. */
  constructor(fabric: Pick<Fabric, 'connect'>, silentMsMax = SILENT_MS_MAX) {
    this.#fabric = fabric
    this.#silentMsMax = silentMsMax
  }

  stop(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents.clear()
  }

  #agent(to: NodeId): StreamAgent {
    let agent = this.#agents.get(to)
    if (agent === undefined) {
      agent = new StreamAgent(() => this.#fabric.connect(to), { keepAlive: true, maxSockets: SOCKETS_MAX, timeout: 30_000 })
      this.#agents.set(to, agent)
    }
    return agent
  }

  #begin(
    to: NodeId,
    method: string,
    path: string,
    headers: OutgoingHttpHeaders = {},
  ): { readonly call: ClientRequest; readonly answer: Promise<IncomingMessage> } {
    const call = nodeHttp.request({ agent: this.#agent(to), method, path, headers, host: to, timeout: this.#silentMsMax })
    call.on('timeout', () => call.destroy(new Error(`nothing for ${this.#silentMsMax / 1_000} s`)))
    // After the parser, which copies what it hands on, has seen them.
    call.once('socket', (socket) => socket.removeListener('data', giveBack).on('data', giveBack))
    const answer = new Promise<IncomingMessage>((settle, refuse) => {
      call.once('response', settle)
      call.on('error', (error) => refuse(new PeerFailed(to, error.message)))
      call.once('close', () => refuse(new PeerFailed(to, 'it closed the connection')))
    })
    // Whoever does not wait for it any more has its reason.
    answer.catch(() => {})
    return { call, answer }
  }

  /** @param bytes Of the whole shard: with its length in the head, pieces go to the TLS engine as they lie. */
  putShard(to: NodeId, version: string, blob: string, index: number, bytes: number): ShardSink {
    const { call, answer } = this.#begin(to, 'PUT', `/shard/${version}/${blob}/${index}`, { 'content-length': bytes })
    let early: PeerFailed | undefined
    let refuseWrite: (error: PeerFailed) => void = () => {}
    const over = (error: PeerFailed): void => {
      early = error
      refuseWrite(error)
    }
    answer.then((response) => {
      response.resume()
      over(new PeerFailed(to, `it answered ${response.statusCode} before the end`))
    }, over)
    return {
      party: to,
      write: (piece) =>
        new Promise((settle, refuse) => {
          if (early !== undefined) {
            refuse(early)
            return
          }
          refuseWrite = refuse
          call.setTimeout(this.#silentMsMax)
          call.write(piece, (error) => {
            // Until the next piece nothing is owed: how long that takes is for the client to say.
            if (!call.destroyed) call.setTimeout(0)
            if (error) refuse(new PeerFailed(to, error.message))
            else settle()
          })
        }),
      commit: async () => {
        call.setTimeout(this.#silentMsMax)
        call.end()
        const { statusCode } = await answer
        if (statusCode !== 201) throw new PeerFailed(to, `it answered ${statusCode}`)
      },
      abort: () => call.destroy(),
    }
  }

  /** @throws {PeerFailed} */
  async putManifest(to: NodeId, version: string, bytes: Uint8Array): Promise<void> {
    const { call, answer } = this.#begin(to, 'PUT', `/manifest/${version}`)
    call.end(bytes)
    const response = await answer
    response.resume()
    if (response.statusCode !== 201) throw new PeerFailed(to, `it answered ${response.statusCode}`)
  }

  /** Undefined when it has none. @throws {PeerFailed} */
  async manifest(from: NodeId, version: string): Promise<Buffer | undefined> {
    const response = await this.get(from, `/manifest/${version}`)
    return response === undefined ? undefined : this.#body(from, response, MANIFEST_BYTES_MAX)
  }

  /** @throws {PeerFailed} */
  async held(from: NodeId, version: string): Promise<{ readonly manifest: boolean; readonly shards: readonly HeldShard[] }> {
    const response = await this.get(from, `/held/${version}`)
    if (response === undefined) return { manifest: false, shards: [] }
    const body = await this.#body(from, response, HELD_BYTES_MAX)
    try {
      return Held.parse(JSON.parse(body.toString('utf8')))
    } catch {
      throw new PeerFailed(from, 'it answers in no agreed form')
    }
  }

  /** False when it says that it cannot get at its shards now. @throws {PeerFailed} */
  async isReady(party: NodeId): Promise<boolean> {
    const { call, answer } = this.#begin(party, 'GET', '/ready')
    call.end()
    const response = await answer
    response.resume()
    return response.statusCode !== 503
  }

  /** Part of a shard, as it comes; undefined when the peer has it not. @throws {PeerFailed} */
  async shard(
    from: NodeId,
    version: string,
    blob: string,
    index: number,
    start: number,
    length: number,
  ): Promise<IncomingMessage | undefined> {
    return this.get(from, `/shard/${version}/${blob}/${index}/${start}/${length}`)
  }

  /** Undefined when the peer has nothing there. @throws {PeerFailed} */
  async get(from: NodeId, path: string): Promise<IncomingMessage | undefined> {
    const { call, answer } = this.#begin(from, 'GET', path)
    call.end()
    const response = await answer
    if (response.statusCode === 200) return response
    response.resume()
    if (response.statusCode === 404) return undefined
    throw new PeerFailed(from, `it answered ${response.statusCode}`)
  }

  async #body(from: NodeId, response: IncomingMessage, bytesMax: number): Promise<Buffer> {
    try {
      return await pieceWithin(response, bytesMax)
    } catch (error) {
      response.destroy()
      throw new PeerFailed(from, (error as Error).message)
    }
  }
}
