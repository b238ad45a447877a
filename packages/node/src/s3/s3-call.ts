/** One request of a client who is known by its signature, and what it is answered with. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Client } from '../objects/object-service.ts'
import { type Body, readBody, wholeBody } from './s3-body.ts'
import { S3Error } from './s3-error.ts'
import type { Claim } from './sigv4.ts'
import { parseXml, type XmlElement, type XmlNode, xmlDocument } from './xml.ts'

const XML_BYTES_MAX = 2_097_152

/** What in the query is no header's: of the signature, and of a body that nobody had when the URL was made. */
const NOT_HEADERS =
  /^x-amz-(?:algorithm|content-sha256|credential|date|expires|security-token|signature|signedheaders|checksum-|sdk-|user-agent)/

export class S3Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly claim: Claim
  readonly client: Client
  readonly query: ReadonlyMap<string, string>
  /** What presigned requests say in the query, where others have `x-amz-` headers. */
  readonly #inQuery = new Map<string, string>()

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    claim: Claim,
    client: Client,
    query: ReadonlyMap<string, string>,
  ) {
    this.request = request
    this.response = response
    this.claim = claim
    this.client = client
    this.query = query
    for (const [named, value] of claim.isPresigned ? query : []) {
      const name = named.toLowerCase()
      if (name.startsWith('x-amz-') && !NOT_HEADERS.test(name)) this.#inQuery.set(name, value)
    }
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name] ?? this.#inQuery.get(name)
    return Array.isArray(value) ? value.join(',') : value
  }

  /** All of them, those in the query among them. Names are in lower case. */
  get headers(): Readonly<Record<string, string | readonly string[] | undefined>> {
    return { ...Object.fromEntries(this.#inQuery), ...this.request.headers }
  }

  /** @throws {S3Error} */
  body(): Body {
    return readBody(this.request, this.claim, this.client.secret)
  }

  /** Undefined when there is no body. @throws {S3Error} */
  async xml(root: string): Promise<XmlElement> {
    const body = this.body()
    if (body.length > XML_BYTES_MAX) throw new S3Error('MalformedXML', `the body has more than ${XML_BYTES_MAX} bytes`)
    const bytes = await wholeBody(body, XML_BYTES_MAX)
    const element = parseXml(bytes.toString('utf8'))
    if (element?.name !== root) throw new S3Error('MalformedXML', `the body must be a ${root} in XML`)
    return element
  }

  /** @param name Of the query. @throws {S3Error} */
  whole(name: string, least: number, most: number, usual: number): number {
    const text = this.query.get(name)
    if (text === undefined || text === '') return usual
    const value = /^\d{1,9}$/.test(text) ? Number(text) : -1
    if (value < least) throw new S3Error('InvalidArgument', `${name} must be a whole number from ${least}`)
    return Math.min(value, most)
  }

  sendXml(root: string, content: readonly XmlNode[], status = 200): void {
    const body = xmlDocument(root, content)
    this.response.writeHead(status, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) })
    this.response.end(this.request.method === 'HEAD' ? undefined : body)
  }

  sendEmpty(status: number, headers: Readonly<Record<string, string>> = {}): void {
    this.response.writeHead(status, status === 204 || status === 304 ? headers : { ...headers, 'content-length': '0' })
    this.response.end()
  }
}
