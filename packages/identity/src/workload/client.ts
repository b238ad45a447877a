/**
 * A program's side of the SPIFFE Workload API: keeps the X.509-SVID that it is given, for as long as it is given one. Not a general gRPC client: one
 * call with an empty request and a stream of answers (SPIFFE_Workload_API.md, section 5.2.1).
 */
import { createPrivateKey, createPublicKey, hash, type KeyObject, X509Certificate } from 'node:crypto'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import { framed, GRPC_STATUS } from './grpc.ts'
import { allBytesOf, bytesOf, readFields, textOf } from './protobuf.ts'

/** Of one answer: some services, each with a certificate and its authorities. */
const ANSWER_BYTES_MAX = 1_048_576
const PREFIX_BYTES = 5
const SVIDS_MAX = 64
const AUTHORITIES_MAX = 64
const RETRY_MS = { first: 250, most: 15_000 } as const
/** What does not answer at all is hung up on; an open call may be silent for long. */
const FIRST_ANSWER_MS_MAX = 30_000
const CALL = '/SpiffeWorkloadAPI/FetchX509SVID'

export interface HeldSvid {
  /** `spiffe://RING/service/NAME`. */
  readonly spiffeId: string
  /** Which of several it is; may be empty. */
  readonly hint: string
  /** The certificate, then those between it and the authorities. */
  readonly chain: readonly X509Certificate[]
  readonly key: KeyObject
  /** Of the trust domain. */
  readonly authorities: readonly X509Certificate[]
  /** Unix milliseconds. */
  readonly expiresAtMs: number
  /** Another one when anything of it is. */
  readonly digest: string
}

export class WorkloadAnswerInvalid extends Error {
  override readonly name = 'WorkloadAnswerInvalid'
  readonly code = 'WORKLOAD_ANSWER'
}

/** The program is something else now, and must not go on speaking as what it was. */
class AnotherService extends WorkloadAnswerInvalid {}

/** @throws {WorkloadAnswerInvalid} Whatever the bytes. */
export function parseSvids(message: Uint8Array): readonly HeldSvid[] {
  try {
    const fields = readFields(message)
    if (fields === undefined) throw new Error('it is no message')
    const svids = allBytesOf(fields, 1)
    if (svids.length === 0 || svids.length > SVIDS_MAX)
      throw new Error(`it has ${svids.length} SVIDs; 1 to ${SVIDS_MAX} are taken`)
    return svids.map(parseSvid)
  } catch (cause) {
    throw new WorkloadAnswerInvalid(`the Workload API’s answer cannot be used: ${(cause as Error).message}`, { cause })
  }
}

function parseSvid(bytes: Uint8Array): HeldSvid {
  const fields = readFields(bytes)
  if (fields === undefined) throw new Error('an SVID is no message')
  const [certificates, key, bundle] = [bytesOf(fields, 2), bytesOf(fields, 3), bytesOf(fields, 4)]
  const spiffeId = textOf(bytesOf(fields, 1))
  const chain = certificatesIn(certificates)
  const authorities = certificatesIn(bundle)
  const [leaf] = chain
  if (leaf === undefined || authorities.length === 0) throw new Error('a certificate or the bundle is missing')
  if (leaf.subjectAltName !== `URI:${spiffeId}`)
    throw new Error(`the certificate is not of ${JSON.stringify(spiffeId.slice(0, 200))}`)
  const secret = createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' })
  if (!createPublicKey(secret).equals(leaf.publicKey)) throw new Error('the key is not the certificate’s')
  return {
    spiffeId,
    hint: textOf(bytesOf(fields, 5)),
    chain,
    key: secret,
    authorities,
    expiresAtMs: Math.min(...chain.map(({ validToDate }) => validToDate.getTime())),
    digest: hash('sha256', bytes),
  }
}

/** DER, one after another. */
function certificatesIn(bytes: Uint8Array): readonly X509Certificate[] {
  const found: X509Certificate[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = derLength(bytes.subarray(at))
    if (length === undefined || at + length > bytes.length || found.length === AUTHORITIES_MAX)
      throw new Error('the certificates are no DER, or too many')
    found.push(new X509Certificate(bytes.subarray(at, at + length)))
    at += length
  }
  return found
}

/** Of the SEQUENCE that begins here, its head included (X.690, section 8.1.3). */
function derLength(bytes: Uint8Array): number | undefined {
  const [tag, first = 0] = bytes
  if (tag !== 0x30) return undefined
  if (first < 0x80) return 2 + first
  const count = first & 0x7f
  if (count === 0 || count > 3 || bytes.length < 2 + count) return undefined
  let length = 0
  for (let i = 0; i < count; i += 1) length = length * 256 + (bytes[2 + i] as number)
  return 2 + count + length
}

export interface WorkloadClientOptions {
  /** Path of the socket. */
  readonly socket: string
  /** Which of several services this program is; the first unless given. */
  readonly service?: string
  /** There is another one, or none any more. */
  readonly onChange: (svid: HeldSvid | undefined) => void
  /** Why there is none, or no newer one; each reason once until something comes. */
  readonly onProblem: (reason: string) => void
}

export class WorkloadClient {
  readonly #options: WorkloadClientOptions
  #svid: HeldSvid | undefined
  #session: ClientHttp2Session | undefined
  #retry: NodeJS.Timeout | undefined
  #failures = 0
  #problem = ''
  #isStopped = false

  constructor(options: WorkloadClientOptions) {
    this.#options = options
  }

  /** Good now. */
  get svid(): HeldSvid | undefined {
    return this.#svid !== undefined && Date.now() < this.#svid.expiresAtMs ? this.#svid : undefined
  }

  start(): void {
    this.#call()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#retry)
    this.#session?.destroy()
  }

  #call(): void {
    const { socket } = this.#options
    const session = connect('http://localhost', {
      createConnection: () => connectSocket(socket),
      maxSessionMemory: 4,
      settings: { enablePush: false },
    })
    this.#session = session
    let isOver = false
    const over = (reason: string, isForgotten = false): void => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      session.destroy()
      this.#failed(reason, isForgotten)
    }
    const timer = setTimeout(() => over('it does not answer'), FIRST_ANSWER_MS_MAX)
    session.on('error', ({ message }) => over(message))
    session.on('close', () => over('the connection ended'))
    const stream = session.request({
      ':method': 'POST',
      ':path': CALL,
      'content-type': 'application/grpc',
      te: 'trailers',
      'workload.spiffe.io': 'true',
    })
    stream.end(framed(new Uint8Array(0)))
    this.#follow(stream, timer, over)
  }

  #follow(stream: ClientHttp2Stream, timer: NodeJS.Timeout, over: (reason: string, isForgotten?: boolean) => void): void {
    let held: Buffer = Buffer.alloc(0)
    const status = (headers: Readonly<Record<string, unknown>>): void => {
      const code = headers['grpc-status']
      if (code === undefined) {
        if (headers[':status'] !== undefined && headers[':status'] !== 200)
          over(`it answers with status ${String(headers[':status'])}`)
        return
      }
      const words = decoded(String(headers['grpc-message'] ?? ''))
      // Who is this service no more must not go on speaking as it.
      over(words === '' ? `gRPC status ${String(code)}` : words, Number(code) === GRPC_STATUS.PERMISSION_DENIED)
    }
    stream.on('response', status)
    stream.on('trailers', status)
    stream.on('error', ({ message }: Error) => over(message))
    stream.on('close', () => over('the call ended'))
    stream.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      try {
        while (held.length >= PREFIX_BYTES) {
          const length = held.readUInt32BE(1)
          if (held[0] !== 0 || length > ANSWER_BYTES_MAX)
            throw new WorkloadAnswerInvalid('the Workload API’s answer is too long, or compressed')
          if (held.length < PREFIX_BYTES + length) break
          clearTimeout(timer)
          this.#take(parseSvids(held.subarray(PREFIX_BYTES, PREFIX_BYTES + length)))
          held = held.subarray(PREFIX_BYTES + length)
        }
      } catch (error) {
        stream.close(constants.NGHTTP2_CANCEL)
        over((error as Error).message, error instanceof AnotherService)
      }
    })
  }

  #take(svids: readonly HeldSvid[]): void {
    const { service, onChange } = this.#options
    // What it was first it stays: others take it for that.
    const known = this.#svid?.spiffeId
    const isIt = ({ spiffeId }: HeldSvid): boolean =>
      service === undefined ? (known ?? spiffeId) === spiffeId : spiffeId.endsWith(`/service/${service}`)
    const wanted = svids.find(isIt)
    if (wanted === undefined) {
      const names = svids.map(({ spiffeId }) => spiffeId).join(', ')
      throw new AnotherService(`this program is ${names}, and not the service ${service ?? known}`)
    }
    this.#failures = 0
    this.#problem = ''
    if (wanted.digest === this.#svid?.digest) return
    this.#svid = wanted
    onChange(wanted)
  }

  #failed(reason: string, isForgotten: boolean): void {
    if (this.#isStopped) return
    const { onProblem, onChange } = this.#options
    if (reason !== this.#problem) {
      this.#problem = reason
      onProblem(reason)
    }
    if (isForgotten && this.#svid !== undefined) {
      this.#svid = undefined
      onChange(undefined)
    }
    this.#failures += 1
    const most = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(this.#failures - 1, 16))
    this.#retry = setTimeout(() => this.#call(), (most / 2) * (1 + Math.random()))
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text).slice(0, 500)
  } catch {
    return text.slice(0, 500)
  }
}
