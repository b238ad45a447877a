/** A bucket in memory for tests, with an owner who can do with it what they like. It checks every signature; lists have two keys a page. */
import { hash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseClaim, parseTarget, verifyClaim } from '../s3/sigv4.ts'
import { type XmlNode, xmlDocument } from '../s3/xml.ts'

const PAGE = 2
export const TEST_CREDENTIALS = { accessKeyId: 'TESTTESTTESTTEST', secretAccessKey: 'secret' }

/** What the next requests meet: a status with its code, or silence. */
export type Trouble = { readonly status: number; readonly code: string } | 'silence'

export class TestBucket {
  readonly objects = new Map<string, Buffer>()
  readonly uploads = new Map<string, { readonly key: string; readonly parts: Map<number, Buffer> }>()
  readonly requests: string[] = []
  /** Taken from the front, one a request. */
  readonly troubles: Trouble[] = []
  secret = TEST_CREDENTIALS.secretAccessKey
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response).catch(() => response.destroy()))
  }

  static async start(): Promise<TestBucket> {
    const bucket = new TestBucket()
    await new Promise<void>((settle) => bucket.#server.listen(0, '127.0.0.1', settle))
    return bucket
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((settle) => this.#server.close(settle))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', rawHeaders } = request
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const { path = '', query: pairs = [] } = parseTarget(url) ?? {}
    const query = new Map(pairs)
    const key = decodeURIComponent(path.slice('/bucket/'.length))
    this.requests.push(`${method} ${key}${request.headers.range === undefined ? '' : ` ${request.headers.range}`}`)
    const trouble = this.troubles.shift()
    if (trouble === 'silence') return
    const fail = (status: number, code: string): void => {
      response.writeHead(status).end(xmlDocument('Error', [['Code', code]]))
    }
    if (trouble !== undefined) return fail(trouble.status, trouble.code)
    const signed = { method, target: url, rawHeaders }
    const claim = parseClaim(signed, Date.now())
    if ('fault' in claim || !verifyClaim(signed, claim, this.secret)) return fail(403, 'SignatureDoesNotMatch')
    if (claim.payload !== hash('sha256', body, 'hex')) return fail(400, 'XAmzContentSHA256Mismatch')
    const document = (name: string, content: readonly XmlNode[]): void => {
      response.writeHead(200).end(xmlDocument(name, content))
    }
    const upload = this.uploads.get(query.get('uploadId') ?? '')
    if (key === '' && query.has('uploads')) {
      const found = [...this.uploads].map(
        ([id, one]): XmlNode => [
          'Upload',
          [
            ['Key', one.key],
            ['UploadId', id],
            ['Initiated', '2020-01-01T00:00:00.000Z'],
          ],
        ],
      )
      document('ListMultipartUploadsResult', found)
    } else if (key === '') document('ListBucketResult', this.#page(query))
    else if (method === 'POST' && query.has('uploads')) {
      const id = `upload-${this.uploads.size + 1}`
      this.uploads.set(id, { key, parts: new Map() })
      document('InitiateMultipartUploadResult', [['UploadId', id]])
    } else if (query.has('uploadId') && upload === undefined) fail(404, 'NoSuchUpload')
    else if (method === 'PUT' && upload !== undefined) {
      upload.parts.set(Number(query.get('partNumber')), body)
      response.writeHead(200, { etag: `"${hash('md5', body)}"` }).end()
    } else if (method === 'POST' && upload !== undefined) {
      const parts = [...upload.parts].sort(([a], [b]) => a - b).map(([, part]) => part)
      this.objects.set(key, Buffer.concat(parts))
      this.uploads.delete(query.get('uploadId') as string)
      document('CompleteMultipartUploadResult', [])
    } else if (method === 'DELETE') {
      if (upload === undefined) this.objects.delete(key)
      else this.uploads.delete(query.get('uploadId') as string)
      response.writeHead(204).end()
    } else if (method === 'PUT') {
      this.objects.set(key, body)
      response.writeHead(200, { etag: '"1"' }).end()
    } else this.#give(key, request.headers.range, response, fail)
  }

  #page(query: ReadonlyMap<string, string>): readonly XmlNode[] {
    const after = query.get('continuation-token') ?? ''
    const all = [...this.objects.keys()].sort().filter((key) => key.startsWith(query.get('prefix') ?? '') && key > after)
    const page = all.slice(0, PAGE)
    return [
      ['IsTruncated', all.length > PAGE],
      ['NextContinuationToken', page.at(-1) ?? ''],
      ...page.map(
        (key): XmlNode => [
          'Contents',
          [
            ['Key', key],
            ['Size', this.objects.get(key)?.length ?? 0],
            ['LastModified', '2026-01-01T00:00:00.000Z'],
          ],
        ],
      ),
    ]
  }

  #give(key: string, range: string | undefined, response: ServerResponse, fail: (status: number, code: string) => void): void {
    const object = this.objects.get(key)
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
    const part = object?.subarray(Number(from), Number(to) + 1)
    if (part === undefined) fail(404, 'NoSuchKey')
    else if (part.length === 0) fail(416, 'InvalidRange')
    else response.writeHead(206, { 'content-length': part.length }).end(part)
  }
}
