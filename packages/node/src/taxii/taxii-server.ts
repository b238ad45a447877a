/**
 * The server of TAXII 2.1 (OASIS Standard, 10 June 2021), sections 4 and 5: discovery, one API root, its collections, their objects, manifests
 * and versions, status of what was posted. Everybody says who they are: clients of the policy by HTTP basic, operators by their token.
 */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { nodeHttp } from '@ringwall/proxy/node-http'
import type { HostPort } from '../address.ts'
import { bodyWithin } from '../body-within.ts'
import { listenOn, readTlsFile } from '../listen-on.ts'
import type { Inbox } from './inbox.ts'
import { formatMoment, nestingOf, parseFilter, STIX_TYPE, TAXII_TYPE, TaxiiError } from './protocol.ts'
import { addedHeaders, type ObjectShelf, type ShelfPage } from './shelf.ts'

export const BODY_BYTES_MAX = 4 * 1_048_576
const NESTING_MAX = 64
const CONNECTIONS_MAX = 128
const BODIES_MAX = 8
const HEAD_BYTES_MAX = 16_384
const REST_MS_MAX = 30_000
const OBJECTS_A_POST_MAX = 10_000
/** Of one client. */
const REQUESTS = { perSecond: 20, burst: 100 }
const BUCKETS_MAX = 1_000
const ROOT = '/taxii2/ring/'

export interface TaxiiConfig {
  readonly listen: HostPort
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
  /** Sets of indicators that clients may read. */
  readonly share: readonly string[]
}

export interface TaxiiCollection {
  readonly id: string
  /** By which the policy names it. */
  readonly alias: string
  readonly title: string
  readonly description: string
  /** As it is now. */
  shelf(): ObjectShelf
  /** Of one that is written. */
  readonly inbox: Inbox | undefined
}

/** Somebody who was recognized. */
export interface TaxiiCaller {
  readonly name: string
  mayRead(alias: string): boolean
  mayWrite(alias: string): boolean
}

export interface TaxiiServerOptions {
  readonly config: TaxiiConfig
  readonly title: string
  readonly collections: readonly TaxiiCollection[]
  /** By name and key of HTTP basic. */
  readonly client: (name: string, key: string) => TaxiiCaller | undefined
  readonly operator: (token: string) => TaxiiCaller | undefined
  readonly say: (level: 'info' | 'warn', line: string) => void
}

interface Reply {
  readonly status?: number
  readonly text: string
  readonly headers?: Readonly<Record<string, string>>
}

export class TaxiiServer {
  readonly #options: TaxiiServerOptions
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()
  #server: Server | undefined
  #bodies = 0

  constructor(options: TaxiiServerOptions) {
    this.#options = options
  }

  /** @throws {StartError} */
  async start(): Promise<number> {
    const { listen, tls } = this.#options.config
    const limits = { maxHeaderSize: HEAD_BYTES_MAX, headersTimeout: 10_000, requestTimeout: REST_MS_MAX, keepAliveTimeout: 5_000 }
    const handler: RequestListener = (request, response) => void this.#serve(request, response)
    const server =
      tls === undefined
        ? nodeHttp.createServer(limits, handler)
        : createTlsServer(
            {
              ...limits,
              cert: readTlsFile(tls.certificate, 'taxii.tls'),
              key: readTlsFile(tls.key, 'taxii.tls'),
              minVersion: 'TLSv1.2',
            },
            handler,
          )
    server.maxConnections = CONNECTIONS_MAX
    server.setTimeout(REST_MS_MAX)
    this.#server = server
    const port = await listenOn(server, listen, 'taxii.listen')
    server.on('error', (error) => this.#options.say('warn', `TAXII: ${error.message}`))
    return port
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    server.closeAllConnections()
    await new Promise((settle) => server.close(settle))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {})
    try {
      const { status = 200, text, headers } = await this.#answer(request)
      response.writeHead(status, {
        'content-type': TAXII_TYPE,
        'content-length': Buffer.byteLength(text),
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...headers,
      })
      response.end(request.method === 'HEAD' ? undefined : text)
    } catch (error) {
      this.#refuse(response, error)
    }
  }

  #refuse(response: ServerResponse, error: unknown): void {
    const known =
      error instanceof TaxiiError ? error : new TaxiiError(500, 'INTERNAL', 'the node failed to answer; its log says more')
    if (known !== error) this.#options.say('warn', `TAXII: a request failed: ${(error as Error).message}`)
    const { status, code, message } = known
    const text = JSON.stringify({ title: message, error_code: code, http_status: String(status) })
    response.writeHead(status, {
      'content-type': TAXII_TYPE,
      'content-length': Buffer.byteLength(text),
      ...(status === 401 ? { 'www-authenticate': 'Basic realm="TAXII", charset="UTF-8"' } : {}),
      ...(status === 429 || status === 503 ? { 'retry-after': '1' } : {}),
      // What was not read is not waited for.
      ...(status === 413 || status === 503 ? { connection: 'close' } : {}),
    })
    response.end(text)
  }

  async #answer(request: IncomingMessage): Promise<Reply> {
    const { method = '', url = '' } = request
    const target = url.startsWith('/') ? URL.parse(`http://localhost${url}`) : null
    if (target === null || target.host !== 'localhost')
      throw new TaxiiError(400, 'TAXII_TARGET', 'the request’s target is no path')
    const caller = this.#callerOf(request)
    this.#take(caller.name, Date.now())
    checkAccept(request.headers.accept)
    const path = target.pathname.endsWith('/') ? target.pathname : `${target.pathname}/`
    const isRead = method === 'GET' || method === 'HEAD'
    if (path === '/taxii2/' || path === ROOT || path === `${ROOT}collections/`) {
      allow(isRead, path, 'GET')
      if (path === '/taxii2/') return json({ title: this.#options.title, default: ROOT, api_roots: [ROOT] })
      if (path === ROOT) return json({ title: this.#options.title, versions: [TAXII_TYPE], max_content_length: BODY_BYTES_MAX })
      const seen = this.#options.collections.filter(({ alias }) => caller.mayRead(alias) || caller.mayWrite(alias))
      return json(seen.length === 0 ? {} : { collections: seen.map((one) => describe(one, caller)) })
    }
    const status = /^\/taxii2\/ring\/status\/([0-9a-f-]{36})\/$/.exec(path)?.[1]
    if (status !== undefined) {
      allow(isRead, path, 'GET')
      for (const { inbox } of this.#options.collections) {
        const found = inbox?.status(status, caller.name)
        if (found !== undefined) return json(found)
      }
      throw new TaxiiError(404, 'TAXII_STATUS', 'there is no such status: it is another client’s, or forgotten')
    }
    const match = /^\/taxii2\/ring\/collections\/([^/]{1,100})\/(?:(manifest|objects)\/(?:([^/]{1,400})\/(versions\/)?)?)?$/.exec(
      path,
    )
    const [, name, part, id, versions] = match ?? []
    const collection = this.#options.collections.find((one) => one.id === name || one.alias === name)
    const isSeen = collection !== undefined && (caller.mayRead(collection.alias) || caller.mayWrite(collection.alias))
    if (match === null || collection === undefined || !isSeen || (part === 'manifest' && id !== undefined))
      throw new TaxiiError(404, 'TAXII_PATH', `nothing is at ${path.slice(0, 200)} that this client may see`)
    if (part === undefined) {
      allow(isRead, path, 'GET')
      return json(describe(collection, caller))
    }
    if (method === 'POST' && part === 'objects' && id === undefined) return this.#post(request, collection, caller)
    if (method === 'DELETE' && id !== undefined && versions === undefined)
      return this.#remove(collection, caller, decoded(id), target.searchParams)
    allow(isRead, path, part === 'objects' ? (id === undefined ? 'GET, POST' : 'GET, DELETE') : 'GET')
    if (!caller.mayRead(collection.alias))
      throw new TaxiiError(403, 'TAXII_READ', `${caller.name} may write ${collection.alias}, and not read it`)
    return this.#read(
      collection.shelf(),
      part,
      id === undefined ? undefined : decoded(id),
      versions !== undefined,
      target.searchParams,
    )
  }

  #read(shelf: ObjectShelf, part: string, id: string | undefined, isVersions: boolean, query: URLSearchParams): Reply {
    if (id !== undefined && shelf.versionsOf(id).length === 0)
      throw new TaxiiError(404, 'TAXII_OBJECT', 'there is no such object')
    const names = isVersions
      ? ['spec_version']
      : id === undefined
        ? ['id', 'type', 'spec_version', 'version']
        : ['spec_version', 'version']
    const asked = parseFilter(query, names)
    const filter = {
      ...asked,
      ...(id === undefined ? {} : { ids: new Set([id]) }),
      ...(isVersions ? { versions: new Set(['all']) } : {}),
    }
    const page = shelf.select(filter)
    const headers = addedHeaders(page.entries)
    if (isVersions) return { text: envelope('versions', page, ({ versionText }) => JSON.stringify(versionText)), headers }
    if (part === 'objects') return { text: envelope('objects', page, ({ text }) => text), headers }
    const record = ({ id: of, added, versionText, specVersion }: ShelfPage['entries'][number]): string =>
      JSON.stringify({
        id: of,
        date_added: formatMoment(added),
        version: versionText,
        media_type: specVersion === '2.1' ? STIX_TYPE : 'application/stix+json;version=2.0',
      })
    return { text: envelope('objects', page, record), headers }
  }

  async #post(request: IncomingMessage, { alias, inbox }: TaxiiCollection, caller: TaxiiCaller): Promise<Reply> {
    if (inbox === undefined || !caller.mayWrite(alias))
      throw new TaxiiError(403, 'TAXII_WRITE', `${caller.name} may not write ${alias}`)
    if (!/^application\/taxii\+json\s*(?:;\s*version\s*=\s*"?2\.1"?\s*)?$/i.test(request.headers['content-type'] ?? ''))
      throw new TaxiiError(415, 'TAXII_TYPE', `expected content-type: ${TAXII_TYPE}`)
    if (this.#bodies >= BODIES_MAX) throw new TaxiiError(503, 'TAXII_BUSY', 'too much is posted at once: try again')
    this.#bodies += 1
    try {
      const objects = objectsOf(await textOf(request))
      const status = await inbox.post(objects, caller.name, Date.now())
      this.#options.say(
        'info',
        `TAXII: ${caller.name} posts to ${alias}: ${status.success_count} taken, ${status.failure_count} refused`,
      )
      return { ...json(status), status: 202 }
    } finally {
      this.#bodies -= 1
    }
  }

  async #remove({ alias, inbox }: TaxiiCollection, caller: TaxiiCaller, id: string, query: URLSearchParams): Promise<Reply> {
    if (inbox === undefined || !caller.mayWrite(alias) || !caller.mayRead(alias))
      throw new TaxiiError(403, 'TAXII_WRITE', `${caller.name} may not delete from ${alias}: that takes reading and writing`)
    const { versions, specVersions } = parseFilter(query, ['version', 'spec_version'])
    // Unless versions are named, all go (section 5.7).
    const isAll = query.get('match[version]') === null || versions.has('all')
    const all = inbox.shelf.versionsOf(id)
    const chosen = new Set(
      all.filter(
        (entry, index) =>
          specVersions?.has(entry.specVersion) !== false &&
          (isAll ||
            versions.has(entry.version) ||
            (versions.has('last') && index === all.length - 1) ||
            (versions.has('first') && index === 0)),
      ),
    )
    if ((await inbox.remove(id, (entry) => chosen.has(entry))) === 0)
      throw new TaxiiError(404, 'TAXII_OBJECT', 'there is no such object')
    this.#options.say('info', `TAXII: ${caller.name} deletes ${id.slice(0, 100)} from ${alias}`)
    return json({})
  }

  #callerOf({ headers }: IncomingMessage): TaxiiCaller {
    const given = headers.authorization ?? ''
    const basic = /^basic ([A-Za-z0-9+/=]{1,1024})$/i.exec(given)?.[1]
    const bearer = /^bearer ([A-Za-z0-9._-]{1,4096})$/i.exec(given)?.[1]
    const text = basic === undefined ? '' : Buffer.from(basic, 'base64').toString('utf8')
    const at = text.indexOf(':')
    const caller =
      bearer !== undefined
        ? this.#options.operator(bearer)
        : at < 0
          ? undefined
          : this.#options.client(text.slice(0, at), text.slice(at + 1))
    if (caller === undefined)
      throw new TaxiiError(401, 'TAXII_UNAUTHENTICATED', 'expected name and key of a client (HTTP basic), or an operator’s token')
    return caller
  }

  #take(name: string, nowMs: number): void {
    const { perSecond, burst } = REQUESTS
    const before = this.#buckets.get(name) ?? { tokens: burst, atMs: nowMs }
    const tokens = Math.min(burst, before.tokens + (Math.max(0, nowMs - before.atMs) * perSecond) / 1_000)
    this.#buckets.delete(name)
    this.#buckets.set(name, { tokens: Math.max(0, tokens - 1), atMs: nowMs })
    if (this.#buckets.size > BUCKETS_MAX) this.#buckets.delete(this.#buckets.keys().next().value as string)
    if (tokens < 1) throw new TaxiiError(429, 'TAXII_RATE', `${name} asks more than ${perSecond} times a second`)
  }
}

const json = (value: unknown): Reply => ({ text: JSON.stringify(value) })

function allow(isAllowed: boolean, path: string, methods: string): void {
  if (!isAllowed) throw new TaxiiError(405, 'TAXII_METHOD', `${path.slice(0, 200)} takes ${methods}`)
}

/** Section 1.6.8.1: without a version, the latest that the server has. */
function checkAccept(accept: string | undefined): void {
  if (accept === undefined) return
  const isTaken = accept
    .split(',')
    .some((one) =>
      /^\s*(?:\*\/\*|application\/\*|application\/taxii\+json(?:\s*;\s*version\s*=\s*"?2\.1"?)?)\s*(?:;\s*q\s*=.*)?$/i.test(one),
    )
  if (!isTaken) throw new TaxiiError(406, 'TAXII_ACCEPT', `expected accept: ${TAXII_TYPE}`)
}

function describe(
  { id, alias, title, description, inbox }: TaxiiCollection,
  caller: TaxiiCaller,
): Readonly<Record<string, unknown>> {
  const canWrite = inbox !== undefined && caller.mayWrite(alias)
  return { id, title, description, alias, can_read: caller.mayRead(alias), can_write: canWrite, media_types: [STIX_TYPE] }
}

/** Empty lists are left out (section 3.7). */
function envelope(
  list: 'objects' | 'versions',
  { entries, more }: ShelfPage,
  write: (entry: ShelfPage['entries'][number]) => string,
): string {
  if (entries.length === 0) return '{}'
  const rest = more ? `"more":true,"next":"${entries.at(-1)!.added}",` : ''
  return `{${rest}"${list}":[${entries.map(write).join(',')}]}`
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TaxiiError(400, 'TAXII_TARGET', 'a percent-encoding in the path is broken')
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const tooLong = (): Error => new TaxiiError(413, 'TAXII_TOO_LARGE', `a body may have ${BODY_BYTES_MAX} bytes`)
  return (await bodyWithin(request, BODY_BYTES_MAX, tooLong)).toString('utf8')
}

/** Of an envelope (section 3.7). @throws {TaxiiError} */
export function objectsOf(text: string): readonly unknown[] {
  if (nestingOf(text) > NESTING_MAX) throw new TaxiiError(422, 'TAXII_ENVELOPE', `expected at most ${NESTING_MAX} levels of JSON`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new TaxiiError(400, 'TAXII_ENVELOPE', 'the body is no JSON')
  }
  const objects: unknown =
    typeof value === 'object' && value !== null && Object.hasOwn(value, 'objects')
      ? (value as { objects: unknown }).objects
      : undefined
  if (!Array.isArray(objects) || objects.length === 0)
    throw new TaxiiError(422, 'TAXII_ENVELOPE', '/objects: expected a list of STIX objects, with one at least')
  if (objects.length > OBJECTS_A_POST_MAX)
    throw new TaxiiError(413, 'TAXII_TOO_LARGE', `/objects: expected at most ${OBJECTS_A_POST_MAX} objects`)
  return objects
}
