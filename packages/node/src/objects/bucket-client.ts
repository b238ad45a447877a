/**
 * What a node needs of an S3 bucket of others (Amazon S3 API Reference, 2006-03-01), and no more. Each call is bounded in time and tries; what the server
 * says is believed as little as what a peer says: bodies have bounds, and what shards say their hashes judge.
 */
import { hash } from 'node:crypto'
import type { Agent as HttpAgent, IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeHttp } from '@ringwall/proxy/node-http'
import { bodyWithin } from '../body-within.ts'
import { awsEncode } from '../s3/sigv4.ts'
import { type S3Credentials, signRequest } from '../s3/sigv4-sign.ts'
import { childText, parseXml, type XmlElement } from '../s3/xml.ts'

const SOCKETS_MAX = 32
const TRIES_MAX = 3
/** Before the second try, and four times as long before the third. */
const PAUSE_MS = 100
const ANSWER_BYTES_MAX = 4_194_304
const PAGE = 1_000
const EMPTY = hash('sha256', '', 'hex')
/** Another key may be in the file by now. */
const REFUSED = new Set(['AccessDenied', 'ExpiredToken', 'InvalidAccessKeyId', 'InvalidToken', 'SignatureDoesNotMatch'])

/** The bucket refuses, or cannot be reached, after as many tries as are made. */
export class BucketFault extends Error {
  override readonly name = 'BucketFault'
  readonly code = 'BUCKET_FAULT'
  /** S3's own word; undefined when there was no answer. */
  readonly s3Code: string | undefined
  constructor(message: string, s3Code?: string) {
    super(message)
    this.s3Code = s3Code
  }
}

export interface BucketPlace {
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** The bucket in the path, or in the host’s name. */
  readonly pathStyle: boolean
  /** PEM. */
  readonly ca: string | undefined
}

export interface BucketClientOptions {
  readonly place: BucketPlace
  /** Read again when the bucket refuses those that it gave. */
  readonly credentials: () => S3Credentials
  /** A connection on which nothing moves, milliseconds. */
  readonly silentMsMax?: number
  /** One call with all its tries, milliseconds; what is read of an object's bytes is not in it. */
  readonly callMsMax?: number
  readonly now?: () => number
}

export interface ListedKey {
  readonly key: string
  readonly bytes: number
  readonly atMs: number
}

interface Call {
  readonly method: string
  readonly key: string
  readonly query?: readonly (readonly [string, string])[]
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

export class BucketClient {
  readonly #options: BucketClientOptions
  readonly #url: URL
  readonly #host: string
  readonly #agent: HttpAgent
  readonly #silentMs: number
  readonly #callMs: number
  #credentials: S3Credentials | undefined

  constructor(options: BucketClientOptions) {
    const { endpoint, bucket, pathStyle, ca } = options.place
    this.#options = options
    this.#url = new URL(endpoint)
    this.#host = pathStyle ? this.#url.host : `${bucket}.${this.#url.host}`
    const settings = { keepAlive: true, maxSockets: SOCKETS_MAX }
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent({ ...settings, ca }) : new nodeHttp.Agent(settings)
    this.#silentMs = options.silentMsMax ?? 10_000
    this.#callMs = options.callMsMax ?? 30_000
  }

  stop(): void {
    this.#agent.destroy()
  }

  /** Bytes as they come; undefined when there is no such key, or it ends before. @throws {BucketFault} */
  async get(key: string, start: number, length: number): Promise<IncomingMessage | undefined> {
    const range = `bytes=${start}-${start + length - 1}`
    const response = await this.#call({ method: 'GET', key, headers: { range } }, [404, 416])
    if (response.statusCode === 206 && response.headers['content-length'] === String(length)) return response
    // A whole object that is as long as what was asked for is the same, and servers may say so.
    if (response.statusCode === 200 && start === 0 && response.headers['content-length'] === String(length)) return response
    response.destroy()
    return undefined
  }

  /** @throws {BucketFault} */
  async put(key: string, body: Uint8Array): Promise<void> {
    await this.#text({ method: 'PUT', key, body })
  }

  /** @throws {BucketFault} */
  async remove(key: string): Promise<void> {
    await this.#text({ method: 'DELETE', key }, [404])
  }

  /** Does the bucket answer, with these credentials? @throws {BucketFault} */
  async probe(prefix: string): Promise<void> {
    const query = [['list-type', '2'] as const, ['max-keys', '1'] as const, ['prefix', prefix] as const]
    await this.#text({ method: 'GET', key: '', query })
  }

  /** All keys that begin so, page after page. @throws {BucketFault} */
  async *list(prefix: string): AsyncGenerator<ListedKey> {
    for (let token: string | undefined, more = true; more; ) {
      const query: (readonly [string, string])[] = [
        ['list-type', '2'],
        ['max-keys', String(PAGE)],
        ['prefix', prefix],
      ]
      if (token !== undefined) query.push(['continuation-token', token])
      const page = await this.#document({ method: 'GET', key: '', query }, 'ListBucketResult')
      for (const one of page.children.filter(({ name }) => name === 'Contents').slice(0, PAGE)) {
        const [key, bytes] = [childText(one, 'Key') ?? '', Number(childText(one, 'Size'))]
        const atMs = Date.parse(childText(one, 'LastModified') ?? '')
        if (key.startsWith(prefix) && Number.isSafeInteger(bytes) && bytes >= 0)
          yield { key, bytes, atMs: Number.isNaN(atMs) ? 0 : atMs }
      }
      const next = childText(page, 'NextContinuationToken')
      more = childText(page, 'IsTruncated') === 'true'
      if (more && (next === undefined || next === token)) throw new BucketFault('the bucket’s list does not go on where it ended')
      token = next
    }
  }

  /** Begins an upload in parts: its id. @throws {BucketFault} */
  async begin(key: string): Promise<string> {
    const begun = await this.#document({ method: 'POST', key, query: [['uploads', '']] }, 'InitiateMultipartUploadResult')
    const id = childText(begun, 'UploadId')
    if (id === undefined || id === '') throw new BucketFault('the bucket began an upload without an id')
    return id
  }

  /** @returns Its ETag. @throws {BucketFault} */
  async putPart(key: string, upload: string, number: number, body: Uint8Array): Promise<string> {
    const query = [['partNumber', String(number)] as const, ['uploadId', upload] as const]
    const { etag } = await this.#text({ method: 'PUT', key, query, body })
    if (etag === undefined) throw new BucketFault('the bucket took a part and gave no ETag')
    return etag
  }

  /** @param etags Of its parts, from the first. @throws {BucketFault} */
  async complete(key: string, upload: string, etags: readonly string[]): Promise<void> {
    const escaped = (text: string): string => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`)
    const parts = etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escaped(etag)}</ETag></Part>`)
    const body = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`)
    // That it failed may be said in the body of a 200.
    await this.#document({ method: 'POST', key, query: [['uploadId', upload]], body }, 'CompleteMultipartUploadResult')
  }

  /** @throws {BucketFault} */
  async abandon(key: string, upload: string): Promise<void> {
    await this.#text({ method: 'DELETE', key, query: [['uploadId', upload]] }, [404])
  }

  /** Uploads in parts that were begun and are not over; the first thousand. @throws {BucketFault} */
  async uploads(prefix: string): Promise<readonly { readonly key: string; readonly upload: string; readonly atMs: number }[]> {
    const query = [['prefix', prefix] as const, ['uploads', ''] as const]
    const { children } = await this.#document({ method: 'GET', key: '', query }, 'ListMultipartUploadsResult')
    return children.flatMap((one) => {
      const [key, upload, begun] = ['Key', 'UploadId', 'Initiated'].map((name) => childText(one, name) ?? '')
      const atMs = Date.parse(begun ?? '')
      if (one.name !== 'Upload' || key?.startsWith(prefix) !== true || upload === '' || Number.isNaN(atMs)) return []
      return [{ key, upload: upload as string, atMs }]
    })
  }

  async #document(call: Call, root: string): Promise<XmlElement> {
    const { text } = await this.#text(call)
    const document = parseXml(text)
    if (document?.name === root) return document
    const code = document?.name === 'Error' ? childText(document, 'Code') : undefined
    throw new BucketFault(`${call.method} was answered ${code ?? 'in no form of S3'}, expected ${root}`, code)
  }

  async #text(call: Call, also: readonly number[] = []): Promise<{ readonly text: string; readonly etag: string | undefined }> {
    const response = await this.#call(call, also)
    // What it says of a key that is not there was read already.
    if (response.statusCode === 404) return { text: '', etag: undefined }
    try {
      return { text: await textWithin(response, ANSWER_BYTES_MAX), etag: response.headers.etag }
    } catch (error) {
      response.destroy()
      throw new BucketFault(`${call.method}: ${(error as Error).message}`)
    }
  }

  /** Answers of 2xx, and those that `also` says. */
  async #call(call: Call, also: readonly number[]): Promise<IncomingMessage> {
    const { place } = this.#options
    const deadline = performance.now() + this.#callMs
    let isReread = false
    let reason = new BucketFault('no answer')
    for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
      if (attempt > 0) await sleep(PAUSE_MS * 4 ** (attempt - 1) * (0.5 + Math.random()))
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) break
      let response: IncomingMessage
      const credentials = this.#signer()
      try {
        response = await this.#once(call, credentials, leftMs)
      } catch (error) {
        reason = new BucketFault(`${place.endpoint} does not answer: ${(error as Error).message}`)
        continue
      }
      const status = response.statusCode ?? 0
      if ((status >= 200 && status < 300) || (also.includes(status) && !(await isNoBucket(response)))) return response
      const said = await textWithin(response, 65_536).catch(() => '')
      const document = parseXml(said)
      const code = document === undefined ? undefined : childText(document, 'Code')
      const what = `${place.endpoint} answers ${status}${code === undefined ? '' : ` ${code.slice(0, 64)}`} for the bucket ${place.bucket}`
      reason = new BucketFault(`${what}${adviceFor(status, code)}`, code)
      if (status >= 500 || status === 429 || status === 408) continue
      if (!REFUSED.has(code ?? '') || isReread) throw reason
      isReread = true
      this.#credentials = undefined
    }
    throw reason
  }

  /** @throws {BucketFault} When there are none any more. */
  #signer(): S3Credentials {
    try {
      this.#credentials ??= this.#options.credentials()
      return this.#credentials
    } catch (error) {
      throw new BucketFault((error as Error).message)
    }
  }

  #once(call: Call, credentials: S3Credentials, msMax: number): Promise<IncomingMessage> {
    const { method, key, query = [], headers = {}, body } = call
    const { place, now = Date.now } = this.#options
    const path = `${place.pathStyle ? `/${place.bucket}` : ''}/${key.split('/').map(awsEncode).join('/')}`
    const sorted = query.map(([name, value]) => `${awsEncode(name)}=${awsEncode(value)}`)
    const target = sorted.length === 0 ? path : `${path}?${sorted.join('&')}`
    const payload = body === undefined ? EMPTY : hash('sha256', body, 'hex')
    const sent: Record<string, string> = { ...headers, host: this.#host }
    if (body !== undefined || method === 'PUT' || method === 'POST') sent['content-length'] = String(body?.length ?? 0)
    const signed = signRequest({ method, target, headers: sent, payload }, credentials, place.region, now())
    return new Promise((settle, refuse) => {
      const { protocol, hostname, port } = this.#url
      const host = (place.pathStyle ? hostname : `${place.bucket}.${hostname}`).replace(/^\[|\]$/g, '')
      const send = protocol === 'https:' ? httpsRequest : nodeHttp.request
      const options = { agent: this.#agent, method, path: target, host, port, headers: signed, timeout: this.#silentMs }
      const sending = send(options, (response) => {
        clearTimeout(late)
        response.on('error', () => {})
        settle(response)
      })
      const late = setTimeout(() => sending.destroy(new Error('it takes too long')), msMax)
      sending.on('timeout', () => sending.destroy(new Error(`nothing for ${this.#silentMs / 1_000} s`)))
      sending.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(late)
        refuse(new Error(error.code ?? error.message))
      })
      sending.end(body)
    })
  }
}

/** A key that is not there is an answer; a bucket that is not there is none. */
async function isNoBucket(response: IncomingMessage): Promise<boolean> {
  if (response.statusCode !== 404) return false
  const text = await textWithin(response, 65_536).catch(() => '')
  return text.includes('<Code>NoSuchBucket<')
}

function adviceFor(status: number, code: string | undefined): string {
  if (code === 'NoSuchBucket') return ': make it, or correct objects.store.s3.bucket'
  if (REFUSED.has(code ?? '') || status === 401 || status === 403) return ': look at the credentials, and what they may do'
  if (status === 301 || code === 'AuthorizationHeaderMalformed') return ': look at objects.store.s3.region and endpoint'
  return ''
}

async function textWithin(body: AsyncIterable<unknown>, bytesMax: number): Promise<string> {
  const bytes = await bodyWithin(body, bytesMax, () => new Error(`an answer of more than ${bytesMax} bytes`))
  return bytes.toString('utf8')
}
