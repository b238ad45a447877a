/**
 * Objects by the API that S3's clients speak (Amazon S3 API Reference, 2006-03-01), with the bucket in the path. Every request is signed with an
 * access key of the ring; what its identity may, the policy says.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { nodeHttp } from '@ringwall/proxy/node-http'
import type { S3Config } from '../config.ts'
import { listenOn, readTlsFile } from '../listen-on.ts'
import type { ObjectService } from '../objects/object-service.ts'
import { S3Buckets } from './s3-buckets.ts'
import { S3Call } from './s3-call.ts'
import { S3Error } from './s3-error.ts'
import { S3Objects } from './s3-objects.ts'
import { s3ErrorOf } from './s3-refusals.ts'
import { Turns } from './s3-turns.ts'
import { awsDecode, parseClaim, parseTarget, verifyClaim } from './sigv4.ts'
import { writeXml } from './xml.ts'

const CONNECTIONS_MAX = 512
const HEAD_BYTES_MAX = 32_768
const HEAD_MS_MAX = 10_000
/** A connection on which nothing moves. */
const REST_MS_MAX = 60_000
/** Bodies that go through at a time, and those that wait for it. */
const BODIES_MAX = 6
const BODIES_WAITING_MAX = 64

export interface S3ServerOptions {
  readonly config: S3Config
  readonly self: string
  readonly service: ObjectService
  readonly say: (level: 'info' | 'warn', line: string) => void
}

export class S3Server {
  readonly #options: S3ServerOptions
  readonly #objects: S3Objects
  readonly #buckets: S3Buckets
  #server: Server | undefined
  readonly counts = { requests: 0, failed: 0 }

  constructor(options: S3ServerOptions) {
    const { service, self, config } = options
    this.#options = options
    this.#objects = new S3Objects(service, self, new Turns(BODIES_MAX, BODIES_WAITING_MAX))
    this.#buckets = new S3Buckets(service, this.#objects, config.region)
  }

  /** @throws {StartError} */
  async start(): Promise<void> {
    const { listen, tls } = this.#options.config
    const limits = { maxHeaderSize: HEAD_BYTES_MAX, headersTimeout: HEAD_MS_MAX, requestTimeout: 0, keepAliveTimeout: 5_000 }
    const handler: RequestListener = (request, response) => void this.#answer(request, response)
    const server =
      tls === undefined
        ? nodeHttp.createServer(limits, handler)
        : createTlsServer(
            {
              ...limits,
              cert: readTlsFile(tls.certificate, 's3.tls'),
              key: readTlsFile(tls.key, 's3.tls'),
              minVersion: 'TLSv1.2',
            },
            handler,
          )
    server.maxConnections = CONNECTIONS_MAX
    server.setTimeout(REST_MS_MAX)
    // Whether the body is wanted is known before it is sent.
    server.on('checkContinue', handler)
    this.#server = server
    await listenOn(server, listen, 's3.listen')
    server.on('error', (error) => this.#options.say('warn', `S3: ${error.message}`))
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    server.closeAllConnections()
    await new Promise((settle) => server.close(settle))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = randomBytes(8).toString('hex').toUpperCase()
    this.counts.requests += 1
    response.setHeader('x-amz-request-id', id)
    response.on('error', () => {})
    try {
      await this.#route(request, response)
    } catch (error) {
      this.counts.failed += 1
      const known = s3ErrorOf(error)
      if (known.code === 'InternalError') this.#options.say('warn', `S3 request ${id} failed: ${(error as Error).message}`)
      refuse(request, response, known, id)
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { service, config } = this.#options
    const { method = '', url = '' } = request
    const target = parseTarget(url)
    const path = target === undefined ? undefined : awsDecode(target.path)
    if (target === undefined || path === undefined) throw new S3Error('InvalidArgument', 'the request’s target cannot be read')
    const signed = { method, target: url, rawHeaders: request.rawHeaders }
    const claim = parseClaim(signed, Date.now())
    if ('fault' in claim) throw new S3Error(claim.fault, claim.reason)
    if (claim.region !== config.region)
      throw new S3Error('AuthorizationHeaderMalformed', `the region is ${config.region}, not ${claim.region}`)
    const client = await service.client(claim.accessKey)
    if (client === undefined) throw new S3Error('InvalidAccessKeyId', 'the ring has no such access key')
    if (!verifyClaim(signed, claim, client.secret))
      throw new S3Error('SignatureDoesNotMatch', 'the signature is not that of the access key')
    const refusal = service.refusal(client)
    if (refusal !== undefined) throw new S3Error('AccessDenied', refusal)
    if (request.headers.expect?.toLowerCase() === '100-continue') response.writeContinue()
    const call = new S3Call(request, response, claim, client, new Map(target.query))
    const at = path.indexOf('/', 1)
    const bucket = at < 0 ? path.slice(1) : path.slice(1, at)
    const key = at < 0 ? '' : path.slice(at + 1)
    if (bucket === '') {
      if (method !== 'GET') throw notAllowed(method)
      this.#buckets.listAll(call)
    } else if (key === '') await this.#onBucket(call, method, bucket)
    else await this.#onObject(call, method, bucket, key)
  }

  async #onBucket(call: S3Call, method: string, bucket: string): Promise<void> {
    const { query } = call
    const buckets = this.#buckets
    const named = [
      'acl',
      'cors',
      'encryption',
      'lifecycle',
      'logging',
      'notification',
      'policy',
      'replication',
      'tagging',
      'website',
    ]
    const unknown = named.find((name) => query.has(name))
    if (unknown !== undefined) throw new S3Error('NotImplemented', `${unknown} of a bucket is not taken`)
    if (method === 'PUT' && query.has('versioning')) await buckets.setVersioning(call, bucket)
    else if (method === 'PUT' && query.has('object-lock')) await buckets.setLock(call, bucket)
    else if (method === 'PUT') await buckets.create(call, bucket)
    else if (method === 'DELETE') await buckets.remove(call, bucket)
    else if (method === 'HEAD') buckets.head(call, bucket)
    else if (method === 'POST' && query.has('delete')) await buckets.removeMany(call, bucket)
    else if (method !== 'GET') throw notAllowed(method)
    else if (query.has('location')) buckets.location(call, bucket)
    else if (query.has('versioning')) buckets.versioning(call, bucket)
    else if (query.has('object-lock')) buckets.lock(call, bucket)
    else if (query.has('versions')) buckets.listVersions(call, bucket)
    else if (query.has('uploads')) buckets.listUploads(call, bucket)
    else buckets.list(call, bucket)
  }

  async #onObject(call: S3Call, method: string, bucket: string, key: string): Promise<void> {
    const { query } = call
    const objects = this.#objects
    const unknown = ['acl', 'tagging', 'torrent', 'restore', 'select', 'attributes'].find((name) => query.has(name))
    if (unknown !== undefined) throw new S3Error('NotImplemented', `${unknown} of an object is not taken`)
    const lock = query.has('retention') ? 'retention' : query.has('legal-hold') ? 'legal-hold' : undefined
    if (lock !== undefined && method === 'PUT') await objects.setLock(call, bucket, key, lock)
    else if (lock !== undefined && method === 'GET') objects.showLock(call, bucket, key, lock)
    else if (method === 'POST' && query.has('uploads')) objects.beginUpload(call, bucket, key)
    else if (method === 'POST' && query.has('uploadId')) await objects.completeUpload(call, bucket, key)
    else if (method === 'PUT' && query.has('uploadId')) await objects.putPart(call, bucket, key)
    else if (method === 'GET' && query.has('uploadId')) objects.listParts(call, bucket, key)
    else if (method === 'DELETE' && query.has('uploadId')) objects.abortUpload(call, bucket, key)
    else if (method === 'PUT' && call.header('x-amz-copy-source') !== undefined) await objects.copy(call, bucket, key)
    else if (method === 'PUT') await objects.put(call, bucket, key)
    else if (method === 'GET' || method === 'HEAD') await objects.get(call, bucket, key)
    else if (method === 'DELETE') await objects.remove(call, bucket, key)
    else throw notAllowed(method)
  }
}

function notAllowed(method: string): S3Error {
  return new S3Error('MethodNotAllowed', `${method} is not taken here`)
}

function refuse(request: IncomingMessage, response: ServerResponse, { code, message, status }: S3Error, id: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  // Of a body that nobody reads the rest would be taken for the next request.
  if (!request.complete) response.setHeader('connection', 'close')
  if (status === 304 || request.method === 'HEAD') {
    response.writeHead(status).end()
    return
  }
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n${writeXml([
    'Error',
    [
      ['Code', code],
      ['Message', message],
      ['Resource', (request.url ?? '').split('?')[0] ?? ''],
      ['RequestId', id],
    ],
  ])}`
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) }).end(body)
}
