/** The operator's context: which ring, as whom, where its nodes are. Runs in browsers too. */
import { type MintRequest, mintSigningBytes, type SignedMintRequest } from '@ringwall/identity/mint-request'
import {
  batchOf,
  decodeBase64url,
  encodeBase64url,
  type SignedTx,
  signingBytes,
  type TxBody,
  type TxContent,
} from '@ringwall/ring/tx'
import { ContextInvalid } from './errors.ts'

/** A private key as WebCrypto takes it: Ed25519, as a JWK or already imported (and then perhaps not exportable). */
export type OperatorKey = SigningKey | OperatorJwk

/** What WebCrypto gives for an imported key. */
export type SigningKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>

/** RFC 8037. */
export interface OperatorJwk {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly d: string
  readonly x: string
}

export interface OperatorCredentials {
  readonly ring: string
  readonly name: string
  readonly privateKey: OperatorKey
}

/** The file `operator.json`. */
export interface OperatorContext extends OperatorCredentials {
  readonly nodes: readonly { readonly id: string; readonly url: string }[]
}

const FORMAT = 'ringwall/context/1'
const TX_VALID_MS = 600_000
const TOKEN_VALID_S = 240
/** A token is made anew when it has less than this left. */
const TOKEN_RENEW_S = 30

/** @throws {ContextInvalid} Saying which member is wrong. */
export function parseContext(text: string): OperatorContext {
  const expected = (what: string): ContextInvalid => new ContextInvalid(`not an operator’s context: ${what}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw expected('it is no JSON')
  }
  if (typeof value !== 'object' || value === null) throw expected('it is no JSON object')
  const { format, ring, name, privateKey, nodes } = value as Record<string, unknown>
  if (format !== FORMAT) throw expected(`format is not ${FORMAT}`)
  if (typeof ring !== 'string' || ring === '') throw expected('ring is missing')
  if (typeof name !== 'string' || name === '') throw expected('name is missing')
  const key = privateKey as Partial<OperatorJwk> | undefined
  if (key?.kty !== 'OKP' || key.crv !== 'Ed25519' || typeof key.d !== 'string' || typeof key.x !== 'string')
    throw expected('privateKey is no Ed25519 key (JWK)')
  if (!Array.isArray(nodes) || nodes.length === 0) throw expected('nodes is empty')
  const parsed = nodes.map((node: unknown, index) => {
    const { id, url } = (node ?? {}) as Record<string, unknown>
    if (typeof id !== 'string' || typeof url !== 'string' || !URL.canParse(url))
      throw expected(`nodes[${index}] has no id or url`)
    return { id, url }
  })
  return { ring, name, privateKey: { kty: 'OKP', crv: 'Ed25519', d: key.d, x: key.x }, nodes: parsed }
}

/** Imports the key so that it can sign but not be read again. */
export function importOperatorKey(key: OperatorJwk): Promise<SigningKey> {
  return crypto.subtle.importKey('jwk', { ...key }, 'Ed25519', false, ['sign'])
}

/** Signs transactions and sign-in tokens with an operator's key. */
export class OperatorSigner {
  readonly #credentials: OperatorCredentials
  #key: Promise<SigningKey> | undefined
  #token: { readonly text: string; readonly expiresS: number } | undefined

  constructor(credentials: OperatorCredentials) {
    this.#credentials = credentials
  }

  async #sign(bytes: Uint8Array): Promise<string> {
    const { privateKey } = this.#credentials
    this.#key ??= 'd' in privateKey ? importOperatorKey(privateKey) : Promise.resolve(privateKey)
    return encodeBase64url(new Uint8Array(await crypto.subtle.sign('Ed25519', await this.#key, Uint8Array.from(bytes))))
  }

  /** A bearer token for the admin API, renewed shortly before it runs out. */
  async token(): Promise<string> {
    const nowS = Math.floor(Date.now() / 1_000)
    if (this.#token !== undefined && this.#token.expiresS - nowS > TOKEN_RENEW_S) return this.#token.text
    const { ring, name } = this.#credentials
    const part = (value: unknown): string => encodeBase64url(new TextEncoder().encode(JSON.stringify(value)))
    const expiresS = nowS + TOKEN_VALID_S
    const signed = `${part({ alg: 'EdDSA', kid: name })}.${part({ iss: name, aud: ring, iat: nowS, exp: expiresS })}`
    const text = `${signed}.${await this.#sign(new TextEncoder().encode(signed))}`
    this.#token = { text, expiresS }
    return text
  }

  /** A statement in the operator's name, valid for ten minutes. */
  statement(body: TxBody, atMs: number = Date.now()): TxContent {
    const { ring, name } = this.#credentials
    const nonce = encodeBase64url(crypto.getRandomValues(new Uint8Array(16)))
    return { ring, issuer: `operator:${name}`, atMs, untilMs: atMs + TX_VALID_MS, nonce, body }
  }

  /** What is asked of the ring's signing key, in the operator's name: good for a minute. */
  async mintRequest(want: MintRequest['want']): Promise<SignedMintRequest> {
    const { ring, name } = this.#credentials
    const nonce = encodeBase64url(crypto.getRandomValues(new Uint8Array(16)))
    const request = { ring, issuer: `operator:${name}`, certificate: '', atMs: Date.now(), nonce, want }
    return { request, signature: await this.#sign(mintSigningBytes(request)) }
  }

  /** What is asked of the holders of the sealing key, by `openSigningBytes` of `@ringwall/vault`; base64url. */
  signOpening(signed: Uint8Array): Promise<string> {
    return this.#sign(signed)
  }

  /** @param atMs When it is stated, where that is part of what is stated. */
  async transaction(body: TxBody, atMs?: number): Promise<SignedTx> {
    const content = this.statement(body, atMs)
    return { content, signature: await this.#sign(signingBytes(content)) }
  }

  /**
   * As many transactions under one signature, each of them whole and to be sent alone.
   *
   * @param bodies `BATCH_MAX` at most.
   */
  async transactions(bodies: readonly TxBody[]): Promise<readonly SignedTx[]> {
    const [only] = bodies
    if (bodies.length < 2) return only === undefined ? [] : [await this.transaction(only)]
    const contents = bodies.map((body) => this.statement(body))
    const { message, signatures } = batchOf(contents.map(signingBytes))
    const signed = signatures(decodeBase64url(await this.#sign(message)))
    return contents.map((content, at) => ({ content, signature: encodeBase64url(signed[at] as Uint8Array) }))
  }
}
