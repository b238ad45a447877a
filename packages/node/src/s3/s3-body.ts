/**
 * The body of an S3 request, as it comes: verified against its length and the chunk signatures on the way, and against the hash and the checksum
 * that go with it by whoever makes the digests, at the end and before anything is acknowledged.
 */
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { CHECKSUMS, type ChecksumName, createDigest, type DigestName } from '../objects/digests.ts'
import { pieceWithin } from '../objects/shard-server.ts'
import { S3Error } from './s3-error.ts'
import { ChunkSignatures, type Claim } from './sigv4.ts'

/** Of the line that begins a chunk, and of all trailers. */
const LINE_BYTES_MAX = 4_096
const HASH = /^[0-9a-f]{64}$/

export interface Body {
  /** Of what is to come. */
  readonly length: number
  readonly chunks: AsyncIterable<Buffer>
  /** The same, where it comes as it is; instead of `chunks`. */
  readonly stream: Readable | undefined
  /** What is to be made of all chunks. */
  readonly digests: readonly DigestName[]
  /** @param values Of these digests, hex. @throws {S3Error} When the client said another one. */
  check(values: readonly string[]): void
  /** Name and value (base64) of the checksum that came along, once the body has been read. */
  checksum(): readonly [ChecksumName, string] | undefined
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

const first = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value)

/** @throws {S3Error} */
export function readBody(request: IncomingMessage, claim: Claim, secret: string): Body {
  const { headers } = request
  const { payload } = claim
  const isStreaming = payload.startsWith('STREAMING-')
  const length = wholeNumber(first(headers[isStreaming ? 'x-amz-decoded-content-length' : 'content-length']))
  if (length === undefined) throw new S3Error('MissingContentLength', 'the length of the body must be given')
  if (!isStreaming && payload !== 'UNSIGNED-PAYLOAD' && !HASH.test(payload))
    throw new S3Error('InvalidRequest', 'x-amz-content-sha256 must be a SHA-256, UNSIGNED-PAYLOAD, or STREAMING')
  const named = CHECKSUMS.find((name) => headers[`x-amz-checksum-${name}`] !== undefined)
  const trailing = CHECKSUMS.find((name) => first(headers['x-amz-trailer'])?.toLowerCase().trim() === `x-amz-checksum-${name}`)
  const name = named ?? trailing
  let expected = named === undefined ? undefined : first(headers[`x-amz-checksum-${named}`])
  const md5 = first(headers['content-md5'])
  const source = isStreaming
    ? unchunked(request, claim, secret, payload, (trailer, value) => {
        if (name !== undefined && trailer === `x-amz-checksum-${name}`) expected = value
      })
    : (request as AsyncIterable<Buffer>)
  const wanted: (readonly [name: DigestName, check: (value: string) => void])[] = []
  if (HASH.test(payload))
    wanted.push([
      'sha256',
      (value) => {
        if (value !== payload) throw new S3Error('XAmzContentSHA256Mismatch', 'the body has another SHA-256')
      },
    ])
  if (md5 !== undefined)
    wanted.push([
      'md5',
      (value) => {
        if (base64(value) !== md5) throw new S3Error('BadDigest', 'the body has another MD5')
      },
    ])
  if (name !== undefined)
    wanted.push([
      name,
      (value) => {
        if (expected === undefined) throw new S3Error('InvalidRequest', 'the checksum that x-amz-trailer names is not there')
        if (base64(value) !== expected) throw new S3Error('BadDigest', `the body has another ${name}`)
      },
    ])
  return {
    length,
    chunks: ofLength(source, length),
    stream: isStreaming ? undefined : request,
    digests: wanted.map(([digest]) => digest),
    check: (values) => {
      for (const [at, [, check]] of wanted.entries()) check(values[at] ?? '')
    },
    checksum: () => (name === undefined || expected === undefined ? undefined : [name, expected]),
  }
}

const base64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64')

/** All of a small body, verified. @throws {S3Error} */
export async function wholeBody({ chunks, digests, check }: Body, bytesMax: number): Promise<Buffer> {
  const bytes = await pieceWithin(chunks, bytesMax)
  check(
    digests.map((name) => {
      const digest = createDigest(name)
      digest.update(bytes)
      return digest.digest().toString('hex')
    }),
  )
  return bytes
}

async function* ofLength(source: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer> {
  let seen = 0
  for await (const chunk of source) {
    seen += chunk.length
    if (seen > length) throw new S3Error('IncompleteBody', 'the body is longer than was said')
    yield chunk
  }
  if (seen !== length) throw new S3Error('IncompleteBody', 'the body is shorter than was said')
}

/** `aws-chunked`: `SIZE[;chunk-signature=…]`, data, …, `0`, and trailers. */
async function* unchunked(
  source: AsyncIterable<Buffer>,
  claim: Claim,
  secret: string,
  payload: string,
  onTrailer: (name: string, value: string) => void,
): AsyncGenerator<Buffer> {
  const isSigned = payload.startsWith('STREAMING-AWS4-HMAC-SHA256-PAYLOAD')
  const hasTrailer = payload.endsWith('-TRAILER')
  if (!isSigned && payload !== 'STREAMING-UNSIGNED-PAYLOAD-TRAILER')
    throw new S3Error('NotImplemented', `${payload} is not taken`)
  const signatures = isSigned ? new ChunkSignatures(claim, secret) : undefined
  const mismatch = (): S3Error => new S3Error('SignatureDoesNotMatch', 'a chunk is not signed as the request is')
  const malformed = (): S3Error => new S3Error('IncompleteBody', 'the body is not chunked as aws-chunked is')
  let held: Buffer = Buffer.alloc(0)
  let state: 'head' | 'data' | 'end' | 'trailer' | 'over' = 'head'
  let left = 0
  let signature = ''
  let trailer = ''
  let trailerBytes = 0
  for await (const chunk of source) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    for (;;) {
      if (state === 'over') {
        if (held.length > 0) throw malformed()
        break
      }
      if (state === 'data') {
        if (held.length === 0) break
        const part = held.subarray(0, left)
        held = held.subarray(part.length)
        left -= part.length
        signatures?.update(part)
        yield part
        if (left === 0) {
          if (signatures !== undefined && !signatures.endChunk(signature)) throw mismatch()
          state = 'end'
        }
        continue
      }
      if (state === 'end') {
        if (held.length < 2) break
        if (held[0] !== 13 || held[1] !== 10) throw malformed()
        held = held.subarray(2)
        state = 'head'
        continue
      }
      const at = held.indexOf('\r\n')
      if (at < 0 || at > LINE_BYTES_MAX) {
        if (held.length > LINE_BYTES_MAX) throw malformed()
        break
      }
      const line = held.toString('latin1', 0, at)
      held = held.subarray(at + 2)
      if (state === 'head') {
        const found = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line)
        if (found === null || (signatures !== undefined && found[2] === undefined)) throw malformed()
        left = Number.parseInt(found[1] as string, 16)
        signature = found[2] ?? ''
        if (left > 0) {
          state = 'data'
          continue
        }
        if (signatures !== undefined && !signatures.endChunk(signature)) throw mismatch()
        state = hasTrailer ? 'trailer' : 'end'
        // Without trailers an empty line ends it.
        if (state === 'end') state = 'trailer'
        continue
      }
      trailerBytes += line.length
      if (trailerBytes > LINE_BYTES_MAX) throw malformed()
      if (line === '') {
        if (signatures !== undefined && hasTrailer && !signatures.endTrailer(trailer, signature)) throw mismatch()
        state = 'over'
        continue
      }
      const colon = line.indexOf(':')
      if (colon < 1 || !hasTrailer) throw malformed()
      const [name, value] = [line.slice(0, colon).toLowerCase().trim(), line.slice(colon + 1).trim()]
      if (name === 'x-amz-trailer-signature') signature = value
      else {
        trailer += `${name}:${value}\n`
        onTrailer(name, value)
      }
    }
  }
  if (state !== 'over') throw malformed()
}
