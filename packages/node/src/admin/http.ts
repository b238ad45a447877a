/** The admin listener: routing, sign-in, bounds, static files of the console. What the operations do is in `operations.ts`. */
import { createReadStream } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { extname, join, resolve, sep } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { nodeHttp } from '@ringwall/proxy/node-http'
import type { HostPort } from '../address.ts'
import { bodyWithin } from '../body-within.ts'
import { listenOn } from '../listen-on.ts'
import { ApiProblem, type Problem } from './problem.ts'

const BODY_BYTES_MAX = 1_048_576
const CONNECTIONS_MAX = 256
const STREAMS_MAX = 64
const HEAD_BYTES_MAX = 16_384
const STALLED_MS_MAX = 15_000
/** Of a stream on which nothing happens. */
const BEAT_MS = 10_000
/** As CrowdSec's local API says it. */
const KEY_UNKNOWN: Answer = { status: 403, json: { message: 'access forbidden' } }

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
}

/** The console runs only its own files and talks only to the node it came from. */
const CONSOLE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** One call, with its path parameters and query. */
export interface Call {
  /** As asked: HEAD goes by GET. */
  readonly method: string
  readonly parameters: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** Name of the operator who signed the bearer token, or of who has the key; empty on open operations. */
  readonly operator: string
  /** The address that asks, and what it says it is. */
  readonly source: string
  readonly agent: string
  /** The parsed JSON body. @throws {ApiProblem} 400, 413 or 415. */
  body(): Promise<unknown>
  /** The fields of a form (application/x-www-form-urlencoded). @throws {ApiProblem} 400, 413 or 415. */
  form(): Promise<URLSearchParams>
}

/** What an operation answers: a JSON value, text of a type, or a stream of server-sent events. */
export type Answer =
  | { readonly status?: number; readonly json: unknown }
  | { readonly text: string; readonly type: string; readonly status?: number }
  /** Text in pieces, each made when the one before is on its way. Nothing is made for HEAD. */
  | { readonly pieces: Iterable<string>; readonly type: string }
  | { readonly subscribe: (emit: (event: string, data: unknown) => void) => () => void }

export interface Operation {
  readonly method: 'GET' | 'POST'
  /** With `{name}` for parameters, as in OpenAPI. */
  readonly path: string
  readonly open?: true
  /** For who brings a key in `X-Api-Key`; another operation may have the same path for operators. */
  readonly byKey?: true
  run(call: Call): Answer | Promise<Answer>
}

/** Paths of another API, which answers in shapes of its own to who brings credentials of its own. */
export interface OtherApi {
  takes(method: string, path: string): boolean
  answer(call: {
    readonly method: string
    readonly path: string
    readonly query: URLSearchParams
    readonly token: string | undefined
    /** @param name In lower case. */
    header(name: string): string | undefined
    /** Of the body. @throws {ApiProblem} 400, 413 or 415. */
    text(): Promise<string>
  }): Promise<OtherAnswer>
}

interface OtherAnswer {
  readonly status: number
  /** Undefined: no body. */
  readonly json?: unknown
}

export interface AdminOptions {
  readonly listen: HostPort
  readonly operations: readonly Operation[]
  readonly consoleDirectory: string
  /** Verifies a bearer token; the operator's name, or why not. */
  signIn(token: string): { readonly ok: true; readonly operator: string } | { readonly ok: false; readonly reason: string }
  /** Whether the ring has this operator (still): streams outlive the token that opened them. */
  isOperator(name: string): boolean
  /** That of HashiCorp's Vault. */
  readonly other: OtherApi
  /** An operator asked for what is more than to look. */
  readonly onOperation?: (operator: string, operation: string) => void
  /** Whose key it is. */
  ownerOf(key: string): string | undefined
}

interface Route {
  readonly operation: Operation
  readonly pattern: RegExp
  readonly names: readonly string[]
}

function compile(operation: Operation): Route {
  const names = [...operation.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string)
  const pattern = new RegExp(`^${operation.path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '([^/]{1,256})')}$`)
  return { operation, pattern, names }
}

export class AdminServer {
  readonly #options: AdminOptions
  readonly #routes: readonly Route[]
  readonly #server: Server
  readonly #streams = new Set<ServerResponse>()

  constructor(options: AdminOptions) {
    this.#options = options
    this.#routes = options.operations.map(compile)
    this.#server = nodeHttp.createServer(
      { headersTimeout: 5_000, requestTimeout: 15_000, keepAliveTimeout: 65_000, maxHeaderSize: 16_384 },
      (request, response) => {
        void this.#serve(request, response)
      },
    )
    this.#server.maxConnections = CONNECTIONS_MAX
    this.#server.on('clientError', (error: Error & { readonly rawPacket?: Buffer }, socket) => {
      void this.#serveUnparsed(error.rawPacket, socket as Socket)
    })
  }

  /** @throws {StartError} `PORT_IN_USE`. */
  async start(): Promise<void> {
    await listenOn(this.#server, this.#options.listen, 'listen.admin')
  }

  stop(): Promise<void> {
    for (const stream of this.#streams) stream.end()
    return new Promise((settle) => {
      this.#server.close(() => settle())
      this.#server.closeAllConnections()
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('x-content-type-options', 'nosniff')
    response.setHeader('cache-control', 'no-store')
    try {
      const url = requestUrl(request.url)
      if (this.#options.other.takes(request.method ?? '', url.pathname)) return await this.#serveOther(request, url, response)
      const key = request.headers['x-api-key']
      const byKey = typeof key === 'string' ? this.#find(request.method ?? '', url.pathname, true) : undefined
      // A page elsewhere has no key: who brings one may call this listener by any name.
      if (byKey === undefined) this.#refuseForeignHost(request)
      const found = byKey ?? this.#find(request.method ?? '', url.pathname, false)
      if (found === undefined) return await this.#serveConsole(request, url.pathname, response)
      const operator = byKey !== undefined ? this.#options.ownerOf(key as string) : this.#operator(request, found.operation)
      if (operator === undefined) return this.#answer(request, response, KEY_UNKNOWN, '')
      const { method, path, open } = found.operation
      if (method !== 'GET' && open !== true && byKey === undefined) this.#options.onOperation?.(operator, `${method} ${path}`)
      const answer = await found.operation.run({
        method: request.method ?? '',
        parameters: found.parameters,
        query: url.searchParams,
        operator,
        source: request.socket.remoteAddress ?? '',
        agent: request.headers['user-agent'] ?? '',
        body: () => readJson(request),
        form: () => readForm(request),
      })
      this.#answer(request, response, answer, operator)
    } catch (error) {
      sendProblem(response, error)
    }
  }

  /** Its errors have its shape, those of this listener too. */
  async #serveOther(request: IncomingMessage, url: URL, response: ServerResponse): Promise<void> {
    const { authorization, 'x-vault-token': given } = request.headers
    const token = typeof given === 'string' ? given : /^Bearer (\S{1,4096})$/i.exec(authorization ?? '')?.[1]
    const { method = '' } = request
    const { status, json } = await this.#answerOther(async () => {
      // As with `X-Api-Key`: a page elsewhere has no token.
      if (token === undefined) this.#refuseForeignHost(request)
      const header = (name: string): string | undefined => request.headers[name]?.toString()
      const call = { method, path: url.pathname, query: url.searchParams, token, header, text: () => readUtf8(request) }
      return this.#options.other.answer(call)
    })
    const text = json === undefined ? '' : JSON.stringify(json)
    const head = json === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    response.writeHead(status, head)
    response.end(method === 'HEAD' ? undefined : text)
  }

  async #answerOther(answer: () => Promise<OtherAnswer>): Promise<OtherAnswer> {
    try {
      return await answer()
    } catch (error) {
      const { status, detail } = problemOf(error)
      return { status, json: { errors: [detail] } }
    }
  }

  /** Clients of Vault list with a method that Node's parser does not know: without a body, and whole in one packet, it is answered all the same. */
  async #serveUnparsed(packet: Buffer | undefined, socket: Socket): Promise<void> {
    const listed = packet === undefined ? undefined : readListing(packet)
    if (!socket.writable) return
    const refused = { status: 400, json: { errors: ['the request is malformed'] } }
    const isTaken = listed !== undefined && this.#options.other.takes('LIST', listed.url.pathname)
    const { status, json } = isTaken
      ? await this.#answerOther(() =>
          this.#options.other.answer({
            method: 'LIST',
            path: listed.url.pathname,
            query: listed.url.searchParams,
            token: listed.token,
            header: (name) => listed.fields.get(name),
            text: async () => '',
          }),
        )
      : refused
    const text = JSON.stringify(json ?? {})
    const head = `HTTP/1.1 ${status} ${nodeHttp.STATUS_CODES[status] ?? ''}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n`
    socket.end(head + text)
  }

  /** A page elsewhere whose name was re-pointed at this address (DNS rebinding) must not reach the API. */
  #refuseForeignHost(request: IncomingMessage): void {
    const name = (request.headers.host ?? '').replace(/:[0-9]+$/, '').toLowerCase()
    const isAddress = /^[0-9.]+$|^\[[0-9a-f:.]+\]$/.test(name)
    if (!isAddress && name !== 'localhost' && name !== this.#options.listen.host.toLowerCase()) {
      throw new ApiProblem(
        403,
        'FOREIGN_HOST',
        'this listener answers to its address and to localhost; use one of these in the URL',
      )
    }
  }

  #find(
    method: string,
    path: string,
    byKey: boolean,
  ): { readonly operation: Operation; readonly parameters: Readonly<Record<string, string>> } | undefined {
    let allowed = ''
    for (const { operation, pattern, names } of this.#routes) {
      const match = (operation.byKey === true) === byKey ? pattern.exec(path) : null
      if (match === null) continue
      if (operation.method === method || (operation.method === 'GET' && method === 'HEAD')) {
        const parameters = Object.fromEntries(names.map((name, index) => [name, decodeParameter(match[index + 1] as string)]))
        return { operation, parameters }
      }
      allowed = operation.method
    }
    if (allowed !== '') throw new ApiProblem(405, 'METHOD', `${path} takes ${allowed}`)
    if (path.startsWith('/v1/') && !byKey)
      throw new ApiProblem(404, 'NO_OPERATION', `${path} is no operation; /openapi.json lists them`)
    return undefined
  }

  #operator(request: IncomingMessage, { open }: Operation): string {
    if (open === true) return ''
    const match = /^Bearer ([A-Za-z0-9._-]{1,4096})$/i.exec(request.headers.authorization ?? '')
    if (match === null) throw new ApiProblem(401, 'NO_TOKEN', 'sign in with an operator’s key: Authorization: Bearer TOKEN')
    const verdict = this.#options.signIn(match[1] as string)
    if (!verdict.ok) throw new ApiProblem(401, 'BAD_TOKEN', verdict.reason)
    return verdict.operator
  }

  #answer(request: IncomingMessage, response: ServerResponse, answer: Answer, operator: string): void {
    if ('subscribe' in answer) {
      this.#stream(request, response, answer.subscribe, operator)
      return
    }
    if ('pieces' in answer) {
      response.writeHead(200, { 'content-type': answer.type })
      if (request.method === 'HEAD') response.end()
      else void pipeline(Readable.from(answer.pieces, { highWaterMark: 1 }), response).catch(() => response.destroy())
      // Who does not read on is let go of, with what was made for it.
      response.setTimeout(STALLED_MS_MAX, () => response.destroy())
      return
    }
    const [text, type] = 'json' in answer ? [JSON.stringify(answer.json), 'application/json'] : [answer.text, answer.type]
    response.writeHead(answer.status ?? 200, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
    response.end(request.method === 'HEAD' ? undefined : text)
  }

  #stream(
    request: IncomingMessage,
    response: ServerResponse,
    subscribe: (emit: (event: string, data: unknown) => void) => () => void,
    operator: string,
  ): void {
    if (this.#streams.size >= STREAMS_MAX)
      throw new ApiProblem(503, 'STREAMS', `${STREAMS_MAX} streams are open already; close one`)
    request.socket.setTimeout(0)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': open\n\n')
    this.#streams.add(response)
    const say = (text: () => string): void => {
      if (!this.#options.isOperator(operator)) response.end()
      // A reader that does not keep up misses events; it never makes the node hold them.
      else if (!response.writableNeedDrain) response.write(text())
    }
    const unsubscribe = subscribe((event, data) => say(() => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
    const beat = setInterval(() => say(() => ': beat\n\n'), BEAT_MS)
    response.on('close', () => {
      clearInterval(beat)
      unsubscribe()
      this.#streams.delete(response)
    })
  }

  async #serveConsole(request: IncomingMessage, path: string, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw new ApiProblem(405, 'METHOD', `${path} takes GET`)
    const root = this.#options.consoleDirectory
    const file = resolve(root, `.${path === '/' ? '/index.html' : path}`)
    const real = file.startsWith(`${root}${sep}`) ? await realpath(file).catch(() => undefined) : undefined
    if (real === undefined || !real.startsWith(`${await realpath(root)}${sep}`) || !(await stat(real)).isFile()) {
      const hint =
        path === '/'
          ? 'the console is not built (yet); try again in some seconds, or run: npm start'
          : `nothing is at ${path.slice(0, 100)}`
      throw new ApiProblem(404, 'NO_FILE', hint)
    }
    response.writeHead(200, {
      'content-type': CONTENT_TYPES[extname(real)] ?? 'application/octet-stream',
      'content-security-policy': CONSOLE_POLICY,
      'referrer-policy': 'no-referrer',
    })
    if (request.method === 'HEAD') response.end()
    else await pipeline(createReadStream(real), response).catch(() => response.destroy())
  }
}

/** A LIST request: its head alone, as it came. Undefined for anything else. */
function readListing(
  packet: Buffer,
): { readonly url: URL; readonly token: string; readonly fields: ReadonlyMap<string, string> } | undefined {
  if (packet.length > HEAD_BYTES_MAX) return undefined
  const text = packet.toString('latin1')
  const match = /^LIST (\/[!-~]*) HTTP\/1\.1\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)+)\r\n$/.exec(text)
  if (match === null) return undefined
  const fields = new Map<string, string>()
  for (const line of (match[2] as string).split('\r\n')) {
    const at = line.indexOf(':')
    const name = line.slice(0, at).toLowerCase()
    if (at > 0 && fields.has(name)) return undefined
    if (at > 0) fields.set(name, line.slice(at + 1).trim())
  }
  const token = fields.get('x-vault-token')
  const length = fields.get('content-length') ?? '0'
  if (token === undefined || length !== '0' || fields.has('transfer-encoding')) return undefined
  const url = URL.parse(`http://localhost${match[1]}`)
  return url === null || url.host !== 'localhost' ? undefined : { url, token, fields }
}

function requestUrl(target = '/'): URL {
  const url = target.startsWith('/') ? URL.parse(`http://localhost${target}`) : null
  if (url === null || url.host !== 'localhost') throw new ApiProblem(400, 'BAD_TARGET', 'the request target is no path')
  return url
}

function decodeParameter(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new ApiProblem(400, 'BAD_PATH', 'a percent-encoding in the path is broken')
  }
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  if (!/^application\/x-www-form-urlencoded(;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw new ApiProblem(415, 'CONTENT_TYPE', 'expected content-type: application/x-www-form-urlencoded')
  }
  return new URLSearchParams(await readText(request))
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  if (!/^application\/json(;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw new ApiProblem(415, 'CONTENT_TYPE', 'expected content-type: application/json')
  }
  const text = await readText(request)
  try {
    return JSON.parse(text)
  } catch {
    throw new ApiProblem(400, 'BAD_JSON', 'the body is no JSON')
  }
}

async function readText(request: IncomingMessage): Promise<string> {
  return (await readBytes(request)).toString('utf8')
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const tooLong = (): Error => new ApiProblem(413, 'TOO_LARGE', `a body may have ${BODY_BYTES_MAX} bytes`)
  // Who breaks off in the middle of it cuts the connection, and the client may not get to read why.
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw tooLong()
  return bodyWithin(request, BODY_BYTES_MAX, tooLong)
}

/** A body that names no charset is UTF-8. */
async function readUtf8(request: IncomingMessage): Promise<string> {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8'
  if (!/^(utf-?8|us-ascii)$/i.test(charset)) throw new ApiProblem(415, 'CONTENT_TYPE', 'the body must be in UTF-8')
  const bytes = await readBytes(request)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new ApiProblem(400, 'BAD_TEXT', 'the body is not in UTF-8')
  }
}

/** What the caller is told; what nobody foresaw goes to this node's log. */
function problemOf(error: unknown): Problem {
  if (error instanceof ApiProblem) return error.problem
  process.stderr.write(`admin API: ${error instanceof Error ? error.stack : String(error)}\n`)
  return new ApiProblem(500, 'INTERNAL', 'the node failed to answer; its log says more').problem
}

function sendProblem(response: ServerResponse, error: unknown): void {
  const problem = problemOf(error)
  if (response.headersSent) {
    response.destroy()
    return
  }
  const text = JSON.stringify({ type: 'about:blank', ...problem })
  response.writeHead(problem.status, {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(text),
    ...(problem.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
  })
  response.end(text)
}

/** Where the console's build lies in this installation. */
export const CONSOLE_DIRECTORY = join(resolve(import.meta.dirname, '../../../console'), 'dist')
