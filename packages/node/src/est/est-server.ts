/**
 * Enrolment over Secure Transport (RFC 7030): devices that are no nodes get certificates from the ring. This server decides nothing: who may have a name is agreed
 * on by the ring, from the device's own request and its secret, and each holder of the ring's key looks that up by itself before it signs.
 */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { TLSSocket } from 'node:tls'
import { CSR_BYTES_MAX, readCsr } from '@ringwall/enroll'
import { certificateOf, type MintRequest, mintSigningBytes, type SignedMintRequest } from '@ringwall/identity'
import { LedgerError } from '@ringwall/ledger'
import type { RingState, View } from '@ringwall/ring'
import { encodeBase64url, type TxBody } from '@ringwall/ring/tx'
import type { HostPort } from '../address.ts'
import { bodyWithin } from '../body-within.ts'
import { StartError } from '../errors.ts'
import { randomNonce } from '../keys.ts'
import { listenOn } from '../listen-on.ts'
import { AuthorityCertificates } from '../signing/authority-certificates.ts'
import { type Asked, MintRefused, SigningError } from '../signing/signing-service.ts'
import { certificatesOnly, csrAttributes } from './certs-only.ts'

const WELL_KNOWN = '/.well-known/est/'
const BODY_CHARS_MAX = CSR_BYTES_MAX * 2
const CONNECTIONS_MAX = 64
/** Each costs the ring a transaction and a signature. */
const ENROLLING_MAX = 16
const AGREE_MS_MAX = 10_000
const MINT_MS_MAX = 8_000
const SECRET = /^[A-Za-z0-9_-]{43}$/
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/

export interface EstConfig {
  readonly listen: HostPort
  /** PEM files that the server shows: names of a public authority, or of one that the devices were given. */
  readonly certificate: string
  readonly key: string
}

export interface EstOptions {
  readonly config: EstConfig
  readonly self: string
  readonly ring: string
  state(): RingState
  view(): View
  sign(message: Uint8Array): Uint8Array
  mint(asked: Asked, timeoutMs: number): Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
  submit(body: TxBody, waitMs: number): Promise<unknown>
  say(level: 'info' | 'warn', line: string): void
}

/** Answered as it is: a line of text with a code, why, and what to do. */
class EstProblem extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, reason: string) {
    super(reason)
    this.status = status
    this.code = code
  }
}

export class EstServer {
  readonly #options: EstOptions
  readonly #server: Server
  readonly #authority: AuthorityCertificates
  readonly #notAfterMs: number
  #enrolling = 0

  /** @throws {StartError} `CONFIG_INVALID` when certificate and key are no pair that can be read. */
  constructor(options: EstOptions) {
    const { config, view, mint } = options
    this.#options = options
    this.#authority = new AuthorityCertificates({ view, sign: () => mint({ authority: true }, MINT_MS_MAX) })
    try {
      this.#notAfterMs = Date.parse(new X509Certificate(readFileSync(config.certificate)).validTo)
      this.#server = createServer(
        {
          cert: readFileSync(config.certificate),
          key: readFileSync(config.key),
          // Whom a certificate is of is for the ring to say, by its key: no authority stands above that.
          requestCert: true,
          rejectUnauthorized: false,
          minVersion: 'TLSv1.2',
          handshakeTimeout: 8_000,
          headersTimeout: 5_000,
          requestTimeout: 15_000,
          keepAliveTimeout: 5_000,
          maxHeaderSize: 8_192,
        },
        (request, response) => void this.#serve(request, response),
      )
    } catch (cause) {
      throw new StartError('CONFIG_INVALID', `est: certificate and key cannot be used: ${(cause as Error).message}`, { cause })
    }
    this.#server.maxConnections = CONNECTIONS_MAX
    this.#server.on('tlsClientError', () => {})
  }

  /** Until when the server's own certificate is good. */
  get notAfterMs(): number {
    return this.#notAfterMs
  }

  /** @throws {StartError} `PORT_IN_USE`. */
  async start(): Promise<void> {
    await listenOn(this.#server, this.#options.config.listen, 'est.listen')
  }

  stop(): Promise<void> {
    return new Promise((settle) => {
      this.#server.close(() => settle())
      this.#server.closeAllConnections()
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(request, response)
    } catch (error) {
      const problem = problemOf(error)
      if (problem.status === 401) response.setHeader('www-authenticate', 'Basic realm="EST", charset="UTF-8"')
      if (problem.status === 503) response.setHeader('retry-after', '5')
      response.writeHead(problem.status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
      response.end(`${problem.code}: ${problem.message}\n`)
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?')[0] as string
    const name = path.startsWith(WELL_KNOWN) ? path.slice(WELL_KNOWN.length) : ''
    const wanted = name === 'simpleenroll' || name === 'simplereenroll' ? 'POST' : 'GET'
    if (!['cacerts', 'csrattrs', 'simpleenroll', 'simplereenroll'].includes(name))
      throw new EstProblem(404, 'EST_PATH', `expected ${WELL_KNOWN} and cacerts, csrattrs, simpleenroll or simplereenroll`)
    if (request.method !== wanted) throw new EstProblem(405, 'EST_METHOD', `${name} takes ${wanted}`)
    if (name === 'csrattrs') return send(response, 'application/csrattrs', csrAttributes())
    if (name === 'cacerts') {
      const current = await this.#authority.current()
      const former = (this.#authority.known() ?? []).flatMap(({ certificate }) =>
        Buffer.compare(certificate, current) === 0 ? [] : [certificate],
      )
      return send(response, 'application/pkcs7-mime', certificatesOnly([current, ...former]))
    }
    if (this.#enrolling >= ENROLLING_MAX) throw new EstProblem(503, 'EST_BUSY', 'too many enrol at once: try again')
    this.#enrolling += 1
    try {
      const csr = await csrIn(request)
      const certificate = name === 'simpleenroll' ? await this.#enrol(request, csr) : await this.#renew(request, csr)
      send(response, 'application/pkcs7-mime; smime-type=certs-only', certificatesOnly([certificate]))
    } finally {
      this.#enrolling -= 1
    }
  }

  async #enrol(request: IncomingMessage, csr: Csr): Promise<Uint8Array> {
    const { state, submit, say } = this.#options
    const shown = shownKey(request)
    const basic = basicIn(request)
    if (basic === undefined && shown !== csr.publicKey)
      throw new EstProblem(
        401,
        'EST_UNAUTHENTICATED',
        shown === undefined
          ? 'a one-time secret is needed (HTTP basic: its name, the secret), or the certificate that the device was made with'
          : 'the request is to be by the key of the certificate that was shown',
      )
    if (basic !== undefined) {
      await submit({ type: 'est.enrol', csr: csr.text, name: basic.name, secret: basic.secret }, AGREE_MS_MAX)
      say('info', `${basic.name} has enrolled by a one-time secret`)
      return this.#certificate(basic.name, csr.publicKey)
    }
    const { enrolment } = state()
    const device = enrolment.deviceWithKey(rawKey(csr.publicKey))
    if (device === undefined)
      throw new EstProblem(403, 'EST_UNKNOWN', 'the ring knows no device with this key: ringwall device register')
    const name = device.serial.toLowerCase()
    if (!enrolment.est.clients.some((one) => one.name === name && one.publicKey === csr.publicKey))
      await submit({ type: 'est.enrol', csr: csr.text, name, secret: null }, AGREE_MS_MAX)
    say('info', `${name} has enrolled by the key that it was made with`)
    return this.#certificate(name, csr.publicKey)
  }

  /** By a certificate of the ring that is good now, for the key that it is of. */
  async #renew(request: IncomingMessage, csr: Csr): Promise<Uint8Array> {
    const { ring, state } = this.#options
    const shown = certificateIn(request)
    if (shown === undefined)
      throw new EstProblem(401, 'EST_UNAUTHENTICATED', 'the certificate that is to be renewed has to be shown')
    const name = /^URI:spiffe:\/\/([0-9a-f]{64})\/device\/([a-z0-9][a-z0-9._-]{0,62})$/.exec(shown.subjectAltName ?? '')
    const client = state().enrolment.est.clients.find((one) => name?.[1] === ring && one.name === name?.[2])
    if (client === undefined || client.publicKey !== shownKey(request))
      throw new EstProblem(403, 'EST_UNKNOWN', 'this is no certificate that the ring made for a device, or it was revoked')
    const nowMs = Date.now()
    if (nowMs > Date.parse(shown.validTo) || nowMs < Date.parse(shown.validFrom))
      throw new EstProblem(403, 'EST_EXPIRED', 'the certificate is not good now: it takes a new one-time secret')
    if (csr.publicKey !== client.publicKey)
      throw new EstProblem(403, 'EST_REKEY', 'a certificate is renewed for its own key; another key takes a new one-time secret')
    return this.#certificate(client.name, client.publicKey)
  }

  async #certificate(name: string, publicKey: string): Promise<Uint8Array> {
    const { ring, self, view, sign, mint } = this.#options
    const request: MintRequest = {
      ring,
      issuer: `node:${self}`,
      certificate: '',
      atMs: Date.now(),
      nonce: randomNonce(),
      want: { type: 'svid', of: 'device', name, publicKey, proof: '', ttlS: Math.floor(view().policy.devices.est.ttl / 1_000) },
    }
    const asked: SignedMintRequest = { request, signature: encodeBase64url(sign(mintSigningBytes(request))) }
    const { message, signature } = await mint({ mint: asked }, MINT_MS_MAX)
    return certificateOf(message, signature)
  }
}

interface Csr {
  /** DER, base64url. */
  readonly text: string
  readonly publicKey: string
}

async function csrIn(request: IncomingMessage): Promise<Csr> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/pkcs10') throw new EstProblem(415, 'EST_TYPE', 'expected content-type: application/pkcs10')
  const tooLong = (): Error => new EstProblem(413, 'EST_TOO_LONG', `a request has at most ${BODY_CHARS_MAX} characters`)
  const text = (await bodyWithin(request, BODY_CHARS_MAX, tooLong)).toString('latin1').replace(/[\r\n\t ]/g, '')
  const der = Buffer.from(text, 'base64')
  if (text === '' || der.toString('base64') !== text)
    throw new EstProblem(
      400,
      'CSR_INVALID',
      'expected a PKCS#10 request in DER, in base64 (RFC 4648): openssl req -outform DER | openssl base64',
    )
  const read = readCsr(encodeBase64url(der))
  if (!read.ok) throw new EstProblem(400, 'CSR_INVALID', `the request is not valid: ${read.reason}`)
  return { text: encodeBase64url(der), publicKey: read.publicKey }
}

function certificateIn(request: IncomingMessage): X509Certificate | undefined {
  return (request.socket as TLSSocket).getPeerX509Certificate()
}

/** SubjectPublicKeyInfo of what the client showed that it holds, base64url. */
function shownKey(request: IncomingMessage): string | undefined {
  const spki = certificateIn(request)?.publicKey.export({ format: 'der', type: 'spki' })
  return spki === undefined ? undefined : encodeBase64url(spki)
}

/** Of an Ed25519 key; of any other what no device has. */
function rawKey(spki: string): string {
  return encodeBase64url(Buffer.from(spki, 'base64url').subarray(12))
}

function basicIn({ headers }: IncomingMessage): { readonly name: string; readonly secret: string } | undefined {
  const given = headers.authorization
  if (given === undefined) return undefined
  const encoded = /^basic ([A-Za-z0-9+/=]{1,512})$/i.exec(given)?.[1]
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8')
  const at = text.indexOf(':')
  const [name, secret] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)]
  if (NAME.test(name) && SECRET.test(secret)) return { name, secret }
  throw new EstProblem(401, 'EST_SECRET', 'expected HTTP basic with the device’s name and the secret that an operator was given')
}

function send(response: ServerResponse, type: string, der: Uint8Array): void {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,76}/g) ?? []
  response.writeHead(200, { 'content-type': type, 'content-transfer-encoding': 'base64' })
  response.end(`${lines.join('\r\n')}\r\n`)
}

function problemOf(error: unknown): EstProblem {
  if (error instanceof EstProblem) return error
  if (error instanceof LedgerError)
    return error.refusal === undefined
      ? new EstProblem(503, error.code, error.message)
      : new EstProblem(error.refusal.code === 'EST_SECRET' ? 401 : 403, error.refusal.code, error.refusal.reason)
  if (error instanceof MintRefused) return new EstProblem(error.code === 'MINT_NO_KEY' ? 503 : 403, error.code, error.message)
  if (error instanceof SigningError) return new EstProblem(503, error.code, error.message)
  return new EstProblem(400, 'EST_REQUEST', 'the request ended early, or cannot be read')
}
