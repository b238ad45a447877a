/**
 * What a node does with shards for its peers: HTTP/1.1 on connections of their own (`Fabric.connect`), each between two nodes that proved their
 * keys. Bodies stream, with the back-pressure of the connection.
 *
 *     PUT /shard/VERSION/BLOB/INDEX                    201 once it is on disk
 *     GET /shard/VERSION/BLOB/INDEX/START/LENGTH       200 with these bytes, 404
 *     PUT /manifest/VERSION                            201 once it is on disk
 *     GET /manifest/VERSION                            200, 404
 *     GET /held/VERSION                                200 with what there is of it
 *     GET /ready                                       200; 503 when the bucket in which this node keeps its shards cannot be asked
 *
 * What would take that bucket is answered 503 as well.
 *
 * A peer writes only what the ledger does not have yet: what is agreed on, every node fetches for itself, and verifies.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Fabric, NodeId } from '@ringwall/fabric'
import { nodeHttp } from '@ringwall/proxy/node-http'
import type { RingState } from '@ringwall/ring'
import { MANIFEST_BYTES_MAX, parseManifest, VaultError } from '@ringwall/vault'
import { bodyWithin } from '../body-within.ts'
import { pour } from './pour.ts'
import { FolderFull, type ShardStore, StoreAway } from './shard-store.ts'
import type { Slab, SlabPool } from './slabs.ts'

const REST_MS_MAX = 60_000
/** Between two pieces of a shard: whose client is slow has nothing to send meanwhile. */
const PIECE_MS_MAX = 600_000
/** What leaves at a time. */
const RUN_BYTES = 1_048_576
const PATH =
  /^\/(?:(shard)\/([0-9a-f]{32})\/([0-9a-f]{16})\/([0-7])(?:\/(\d{1,12})\/(\d{1,12}))?|(manifest|held)\/([0-9a-f]{32}))$/

export interface ShardServerOptions {
  readonly fabric: Pick<Fabric, 'onStream'>
  readonly folder: ShardStore
  readonly slabs: SlabPool
  readonly state: () => Pick<RingState, 'objects' | 'node'>
  /** Whatever else nodes of the ring give each other; false: it was asked for nothing of that. */
  readonly other?: ((request: IncomingMessage, response: ServerResponse) => Promise<boolean>) | undefined
}

export class ShardServer {
  readonly #options: ShardServerOptions
  readonly #server: Server
  readonly #peers = new WeakMap<object, NodeId>()

  constructor(options: ShardServerOptions) {
    this.#options = options
    this.#server = nodeHttp.createServer(
      { requestTimeout: 0, headersTimeout: 10_000, keepAliveTimeout: REST_MS_MAX },
      (request, response) => this.#answer(request, response).catch((error: unknown) => fail(response, error)),
    )
    options.fabric.onStream((from, socket) => {
      this.#peers.set(socket, from)
      socket.setTimeout(REST_MS_MAX, () => socket.destroy())
      this.#server.emit('connection', socket)
    })
  }

  stop(): void {
    this.#server.closeAllConnections()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const from = this.#peers.get(request.socket)
    const path = PATH.exec(request.url ?? '')
    const isMember = from !== undefined && this.#options.state().node(from) !== undefined
    if (isMember && request.url === '/ready') {
      response.writeHead((await this.#options.folder.isThere()) ? 200 : 503).end()
      return
    }
    if (isMember && path === null && (await this.#options.other?.(request, response)) === true) return
    if (!isMember || path === null) {
      response.writeHead(404).end()
      return
    }
    const [, isShard, version, blob, index, start, length, what, named] = path
    if (isShard !== undefined) {
      const shard = [version as string, blob as string, Number(index)] as const
      if (request.method === 'PUT' && start === undefined) await this.#takeShard(request, response, ...shard)
      else if (request.method === 'GET' && start !== undefined)
        await this.#giveShard(response, ...shard, Number(start), Number(length))
      else response.writeHead(405).end()
      return
    }
    const id = named as string
    const { folder } = this.#options
    if (what === 'held' && request.method === 'GET') {
      const body = { manifest: (await folder.manifest(id)) !== undefined, shards: await folder.held(id) }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    } else if (what === 'manifest' && request.method === 'GET') {
      const bytes = await folder.manifest(id)
      if (bytes === undefined) response.writeHead(404).end()
      else response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    } else if (what === 'manifest' && request.method === 'PUT') await this.#takeManifest(request, response, id)
    else response.writeHead(405).end()
  }

  async #takeShard(
    request: IncomingMessage,
    response: ServerResponse,
    version: string,
    blob: string,
    index: number,
  ): Promise<void> {
    const { folder, state, slabs } = this.#options
    if (state().objects.version(version) !== undefined) {
      response.writeHead(409).end()
      return
    }
    const writer = await folder.receive(version, blob, index, Number(request.headers['content-length'] ?? 0))
    request.socket.setTimeout(PIECE_MS_MAX)
    try {
      const take = (bytes: number): Slab => writer.run?.() ?? slabs.take(bytes)
      await pour(request, (run) => writer.write(run), { take })
      if (!request.complete) throw new Error('cut off')
      await writer.commit()
      response.writeHead(201).end()
    } finally {
      request.socket.setTimeout(REST_MS_MAX)
      await writer.abort()
    }
  }

  async #giveShard(
    response: ServerResponse,
    version: string,
    blob: string,
    index: number,
    start: number,
    length: number,
  ): Promise<void> {
    const shard = await this.#options.folder.openShard(version, blob, index, start + length)
    const runs = [0, 1].map(() => this.#options.slabs.take(Math.min(length, RUN_BYTES)))
    let sent: Promise<void> | undefined
    try {
      for (let at = 0, turn = 0; at < length && !response.destroyed; turn += 1) {
        const run = (runs[turn % 2] as Slab).bytes.subarray(0, length - at)
        if (!(await shard?.readInto(start + at, run))) {
          if (at > 0) throw new Error('it became shorter')
          break
        }
        if (at === 0) response.writeHead(200, { 'content-length': length })
        // One leaves while the next one is read.
        await sent
        sent = written(response, run)
        at += run.length
      }
      await sent
      if (!response.headersSent) response.writeHead(404)
      response.end()
    } finally {
      await sent
      for (const run of runs) run.release()
      await shard?.close()
    }
  }

  async #takeManifest(request: IncomingMessage, response: ServerResponse, version: string): Promise<void> {
    const { folder, state } = this.#options
    const bytes = await pieceWithin(request, MANIFEST_BYTES_MAX)
    if (state().objects.version(version) !== undefined || parseManifest(bytes).version !== version) {
      response.writeHead(409).end()
      return
    }
    await folder.putManifest(version, bytes)
    response.writeHead(201).end()
  }
}

/** Resolves when the bytes are not looked at any more: they are with the system, or the connection is over. */
export function written(response: ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((settle) => {
    const end = (): void => {
      response.removeListener('close', end)
      settle()
    }
    response.once('close', end)
    if (response.destroyed) end()
    else response.write(bytes, end)
  })
}

/** @throws {VaultError} VAULT_TOO_LARGE */
export const pieceWithin = (body: AsyncIterable<unknown>, bytesMax: number): Promise<Buffer> =>
  bodyWithin(body, bytesMax, () => new VaultError('VAULT_TOO_LARGE', `more than ${bytesMax} bytes`))

function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) response.destroy()
  else {
    const status = error instanceof FolderFull ? 507 : error instanceof StoreAway ? 503 : error instanceof VaultError ? 422 : 500
    // The rest of the body is not read: the connection is of no use any more.
    response.writeHead(status, { connection: 'close' }).end()
  }
}
