/**
 * AWS Signature Version 4 as S3 takes it: in the Authorization header, in the query (presigned), and over the chunks of a body. Source: "Amazon S3
 * API Reference", "Authenticating Requests (AWS Signature Version 4)". Signatures are compared in constant time.
 */
import { createHash, createHmac, hash, timingSafeEqual } from 'node:crypto'

const ALGORITHM = 'AWS4-HMAC-SHA256'
const SKEW_MS_MAX = 900_000
const PRESIGNED_S_MAX = 604_800
const EMPTY_HASH = hash('sha256', '', 'hex')
const QUERY_CHARS_MAX = 16_384

export type S3AuthCode =
  | 'AccessDenied'
  | 'AuthorizationHeaderMalformed'
  | 'AuthorizationQueryParametersError'
  | 'RequestTimeTooSkewed'
  | 'SignatureDoesNotMatch'

export interface AuthFault {
  readonly fault: S3AuthCode
  readonly reason: string
}

export interface SignedRequest {
  readonly method: string
  /** As it came. */
  readonly target: string
  /** Names and values as they came. */
  readonly rawHeaders: readonly string[]
}

/** What a request says of its signature; nothing is verified yet. */
export interface Claim {
  readonly accessKey: string
  /** `YYYYMMDD`. */
  readonly day: string
  readonly region: string
  /** `YYYYMMDDTHHMMSSZ`. */
  readonly date: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
  readonly isPresigned: boolean
  /** Of the body: hex, or one of the words of `x-amz-content-sha256`. */
  readonly payload: string
}

const fault = (code: S3AuthCode, reason: string): AuthFault => ({ fault: code, reason })

/** RFC 3986: all but unreserved characters, byte by byte. */
export function awsEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** Undefined when its escapes are none of UTF-8. */
export function awsDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Path as it came, and names and values of the query, decoded; undefined when that cannot be. */
export function parseTarget(
  target: string,
): { readonly path: string; readonly query: readonly (readonly [string, string])[] } | undefined {
  if (target.length > QUERY_CHARS_MAX) return undefined
  const at = target.indexOf('?')
  const path = at < 0 ? target : target.slice(0, at)
  const query: [string, string][] = []
  for (const pair of at < 0 ? [] : target.slice(at + 1).split('&')) {
    if (pair === '') continue
    const middle = pair.indexOf('=')
    const name = awsDecode(middle < 0 ? pair : pair.slice(0, middle))
    const value = awsDecode(middle < 0 ? '' : pair.slice(middle + 1).replaceAll('+', '%20'))
    if (name === undefined || value === undefined) return undefined
    query.push([name, value])
  }
  return { path, query }
}

function headerValues(rawHeaders: readonly string[]): Map<string, string> {
  const values = new Map<string, string>()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    const value = (rawHeaders[at + 1] as string).trim().replace(/ +/g, ' ')
    const before = values.get(name)
    values.set(name, before === undefined ? value : `${before},${value}`)
  }
  return values
}

const CREDENTIAL = /^([A-Z0-9]{16,128})\/(\d{8})\/([a-z0-9-]{1,63})\/s3\/aws4_request$/
const DATE = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/
const SIGNATURE = /^[0-9a-f]{64}$/
const SIGNED_HEADERS = /^[a-z0-9-]+(;[a-z0-9-]+){0,63}$/

function momentOf(date: string): number | undefined {
  const found = DATE.exec(date)
  if (found === null) return undefined
  const [, year, month, day, hour, minute, second] = found.map(Number)
  return Date.UTC(year as number, (month as number) - 1, day, hour, minute, second)
}

/** Whose request it claims to be. */
export function parseClaim(request: SignedRequest, nowMs: number): Claim | AuthFault {
  const headers = headerValues(request.rawHeaders)
  const target = parseTarget(request.target)
  if (target === undefined) return fault('AuthorizationQueryParametersError', 'the request’s target cannot be read')
  const query = new Map(target.query)
  const isPresigned = query.has('X-Amz-Signature') || query.has('X-Amz-Algorithm')
  const header = headers.get('authorization')
  if (isPresigned && header !== undefined)
    return fault('AuthorizationQueryParametersError', 'only one kind of signature is taken')
  if (isPresigned) return parsePresigned(query, headers, nowMs)
  if (header === undefined) return fault('AccessDenied', 'the request is not signed; anonymous requests are not taken')
  const fields = new Map(
    header
      .slice(ALGORITHM.length)
      .split(',')
      .map((part) => {
        const at = part.indexOf('=')
        return [part.slice(0, at).trim(), part.slice(at + 1).trim()] as const
      }),
  )
  const credential = CREDENTIAL.exec(fields.get('Credential') ?? '')
  const signedHeaders = fields.get('SignedHeaders') ?? ''
  const signature = fields.get('Signature') ?? ''
  if (
    !header.startsWith(`${ALGORITHM} `) ||
    credential === null ||
    !SIGNED_HEADERS.test(signedHeaders) ||
    !SIGNATURE.test(signature)
  )
    return fault('AuthorizationHeaderMalformed', `expected ${ALGORITHM} with Credential, SignedHeaders and Signature`)
  const date = headers.get('x-amz-date') ?? ''
  const atMs = momentOf(date)
  if (atMs === undefined || date.slice(0, 8) !== credential[2])
    return fault('AuthorizationHeaderMalformed', 'x-amz-date must be there, and of the day of the credential')
  if (Math.abs(nowMs - atMs) > SKEW_MS_MAX) return fault('RequestTimeTooSkewed', 'the clocks are more than 15 minutes apart')
  const payload = headers.get('x-amz-content-sha256')
  if (payload === undefined) return fault('AuthorizationHeaderMalformed', 'x-amz-content-sha256 must be there')
  const names = signedHeaders.split(';')
  const unsigned = [...headers.keys()].find((name) => (name === 'host' || name.startsWith('x-amz-')) && !names.includes(name))
  if (unsigned !== undefined) return fault('AccessDenied', `the header ${unsigned} is not signed`)
  const [, accessKey, day, region] = credential as unknown as [string, string, string, string]
  return { accessKey, day, region, date, signedHeaders: names, signature, isPresigned: false, payload }
}

function parsePresigned(
  query: ReadonlyMap<string, string>,
  headers: ReadonlyMap<string, string>,
  nowMs: number,
): Claim | AuthFault {
  const credential = CREDENTIAL.exec(query.get('X-Amz-Credential') ?? '')
  const date = query.get('X-Amz-Date') ?? ''
  const atMs = momentOf(date)
  const expires = Number(query.get('X-Amz-Expires'))
  const signedHeaders = query.get('X-Amz-SignedHeaders') ?? ''
  const signature = query.get('X-Amz-Signature') ?? ''
  if (
    query.get('X-Amz-Algorithm') !== ALGORITHM ||
    credential === null ||
    atMs === undefined ||
    date.slice(0, 8) !== credential[2] ||
    !SIGNED_HEADERS.test(signedHeaders) ||
    !SIGNATURE.test(signature) ||
    !Number.isInteger(expires) ||
    expires < 1 ||
    expires > PRESIGNED_S_MAX
  )
    return fault('AuthorizationQueryParametersError', 'the query’s X-Amz parameters are malformed')
  if (nowMs < atMs - SKEW_MS_MAX || nowMs > atMs + expires * 1_000) return fault('AccessDenied', 'the request has expired')
  const names = signedHeaders.split(';')
  if (!names.includes('host')) return fault('AccessDenied', 'the header host is not signed')
  const unsigned = [...headers.keys()].find(
    (name) => name.startsWith('x-amz-') && name !== 'x-amz-content-sha256' && !names.includes(name),
  )
  if (unsigned !== undefined) return fault('AccessDenied', `the header ${unsigned} is not signed`)
  const payload = query.get('X-Amz-Content-Sha256') ?? headers.get('x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD'
  const [, accessKey, day, region] = credential as unknown as [string, string, string, string]
  return { accessKey, day, region, date, signedHeaders: names, signature, isPresigned: true, payload }
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const scopeOf = ({ day, region }: Claim): string => `${day}/${region}/s3/aws4_request`

export function signingKey(secret: string, { day, region }: Pick<Claim, 'day' | 'region'>): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), 's3'), 'aws4_request')
}

function canonicalRequest({ method, target, rawHeaders }: SignedRequest, claim: Claim): string {
  const parsed = parseTarget(target)
  const path = (parsed?.path ?? '/')
    .split('/')
    .map((part) => awsEncode(awsDecode(part) ?? part))
    .join('/')
  const query = (parsed?.query ?? [])
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [awsEncode(name), awsEncode(value)] as const)
    .sort((a, b) => (a[0] === b[0] ? (a[1] < b[1] ? -1 : 1) : a[0] < b[0] ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
  const headers = headerValues(rawHeaders)
  const lines = claim.signedHeaders.map((name) => `${name}:${headers.get(name) ?? ''}\n`).join('')
  return [method, path, query, lines, claim.signedHeaders.join(';'), claim.payload].join('\n')
}

export function signatureOf(request: SignedRequest, claim: Claim, secret: string): Buffer {
  const text = [ALGORITHM, claim.date, scopeOf(claim), hash('sha256', canonicalRequest(request, claim), 'hex')].join('\n')
  return hmac(signingKey(secret, claim), text)
}

/** Is the request signed by who has the secret? */
export function verifyClaim(request: SignedRequest, claim: Claim, secret: string): boolean {
  return isSame(signatureOf(request, claim, secret), claim.signature)
}

function isSame(computed: Buffer, given: string): boolean {
  const bytes = Buffer.from(given, 'hex')
  return bytes.length === computed.length && timingSafeEqual(bytes, computed)
}

/** Verifies the chunks of one body, each on the one before. */
export class ChunkSignatures {
  readonly #key: Buffer
  readonly #claim: Claim
  #previous: string
  #hash = createHash('sha256')

  constructor(claim: Claim, secret: string) {
    this.#key = signingKey(secret, claim)
    this.#claim = claim
    this.#previous = claim.signature
  }

  update(data: Uint8Array): void {
    this.#hash.update(data)
  }

  /** Ends a chunk. False when it is not signed so. */
  endChunk(signature: string): boolean {
    const digest = this.#hash.digest('hex')
    this.#hash = createHash('sha256')
    return this.#next(`${ALGORITHM}-PAYLOAD`, [EMPTY_HASH, digest], signature)
  }

  /** @param trailer `name:value\n` of each but the signature. */
  endTrailer(trailer: string, signature: string): boolean {
    return this.#next(`${ALGORITHM}-TRAILER`, [hash('sha256', trailer, 'hex')], signature)
  }

  #next(algorithm: string, hashes: readonly string[], signature: string): boolean {
    if (!SIGNATURE.test(signature)) return false
    const text = [algorithm, this.#claim.date, scopeOf(this.#claim), this.#previous, ...hashes].join('\n')
    this.#previous = signature
    return isSame(hmac(this.#key, text), signature)
  }
}
