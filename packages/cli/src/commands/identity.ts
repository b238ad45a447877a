/** Certificates (X.509-SVIDs) of services: an operator gives the first, the service itself renews it and has tokens made. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ApiError, NodeUnreachable, RingwallClient } from '@ringwall/client'
import {
  type MintRequest,
  mintSigningBytes,
  type SignedMintRequest,
  type SvidWanted,
  svidProofBytes,
} from '@ringwall/identity/mint-request'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration, time } from '../format.ts'
import { write } from '../output.ts'

const FILES = { key: 'key.pem', certificate: 'certificate.pem', bundle: 'bundle.pem' } as const
/** A failed renewal is tried again so often within what is left. */
const RETRIES = 20
const RETRY_MS_MIN = 5_000

/** A fresh key, and what is asked for it. */
function freshKey(ring: string, name: string, ttlS: number): { readonly want: SvidWanted; readonly key: KeyObject } {
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).toString('base64url')
  const proof = sign(null, svidProofBytes(ring, { of: 'service', name, publicKey }), privateKey).toString('base64url')
  return { want: { type: 'svid', of: 'service', name, publicKey, proof, ttlS }, key: privateKey }
}

/** Key first: who reads the new certificate finds its key. Each file is the old one or the new one. */
function writeIdentity(
  directory: string,
  key: KeyObject,
  minted: { readonly certificate: string; readonly authority: string },
): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const texts = [
    [FILES.key, key.export({ format: 'pem', type: 'pkcs8' }).toString()],
    [FILES.certificate, minted.certificate],
    [FILES.bundle, minted.authority],
  ] as const
  for (const [file, text] of texts) writeFileSync(join(directory, `${file}.new`), text, { mode: 0o600 })
  for (const [file] of texts) renameSync(join(directory, `${file}.new`), join(directory, file))
}

/** Ends what a crash cut off between two files: all of them had been written when the first was put in place. */
function finishWriting(directory: string): void {
  if (existsSync(join(directory, `${FILES.key}.new`))) return
  for (const file of [FILES.certificate, FILES.bundle]) {
    const path = join(directory, file)
    if (existsSync(`${path}.new`)) renameSync(`${path}.new`, path)
  }
}

/** Makes a key, has the ring certify it, and writes both. */
export async function identityMint(
  client: RingwallClient,
  name: string,
  options: { readonly directory: string; readonly ttlMs: number },
): Promise<void> {
  const { ring } = await client.status()
  const { want, key } = freshKey(ring, name, Math.round(options.ttlMs / 1_000))
  const minted = await client.svidMint(want)
  writeIdentity(options.directory, key, minted)
  write(`spiffe://${ring}/service/${name}`)
  const files = Object.values(FILES).join(', ')
  process.stderr.write(`wrote ${files} to ${options.directory}; good until ${time(minted.expiresAtMs)}\n`)
}

export interface Identity {
  readonly ring: string
  readonly name: string
  readonly key: KeyObject
  readonly certificate: X509Certificate
}

/** @throws {UsageError} Saying which file is wrong. */
export function readIdentity(directory: string): Identity {
  finishWriting(directory)
  const read = <T>(file: string, parse: (text: string) => T, expected: string): T => {
    const path = join(directory, file)
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch {
      throw new UsageError(
        `${path}: cannot be read; an operator makes it with ringwall identity mint SERVICE --directory ${directory}`,
      )
    }
    try {
      return parse(text)
    } catch {
      throw new UsageError(`${path}: expected ${expected}`)
    }
  }
  const certificate = read(FILES.certificate, (text) => new X509Certificate(text), 'a certificate in PEM')
  const key = read(FILES.key, (text) => createPrivateKey(text), 'a private key in PEM')
  const id = /^URI:spiffe:\/\/([0-9a-f]{64})\/service\/([a-z0-9._-]+)$/.exec(certificate.subjectAltName ?? '')
  if (id === null) throw new UsageError(`${join(directory, FILES.certificate)}: is no certificate of a service of a ring`)
  if (!certificate.checkPrivateKey(key)) throw new UsageError(`${join(directory, FILES.key)}: is not the key of the certificate`)
  return { ring: id[1] as string, name: id[2] as string, key, certificate }
}

function signedBy({ ring, name, key, certificate }: Identity, want: MintRequest['want']): SignedMintRequest {
  const request: MintRequest = {
    ring,
    issuer: `service:${name}`,
    certificate: certificate.raw.toString('base64url'),
    atMs: Date.now(),
    nonce: randomBytes(16).toString('base64url'),
    want,
  }
  return { request, signature: signIdentity({ key }, mintSigningBytes(request)) }
}

/** By the certificate's key, base64url. */
export function signIdentity({ key }: Pick<Identity, 'key'>, message: Uint8Array): string {
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return sign(digest, message, key).toString('base64url')
}

/** @throws {UsageError} When there is none, or one is no URL. */
export function nodeUrls(nodes: readonly string[]): readonly string[] {
  if (nodes.length === 0) throw new UsageError('name a node to ask: --node http://HOST:PORT of its admin API; may be given again')
  for (const baseUrl of nodes) {
    if (!URL.canParse(baseUrl)) throw new UsageError(`--node ${baseUrl}: expected a URL such as http://127.0.0.1:9081`)
  }
  return nodes
}

/** Of the nodes, the first that answers. */
async function fromAny<T>(nodes: readonly string[], ask: (client: RingwallClient) => Promise<T>): Promise<T> {
  let reason: unknown
  for (const baseUrl of nodeUrls(nodes)) {
    try {
      return await ask(new RingwallClient({ baseUrl }))
    } catch (error) {
      if (!(error instanceof NodeUnreachable) && !(error instanceof ApiError && error.status === 503)) throw error
      reason = error
    }
  }
  throw reason
}

/** Renews the certificate at about half of its life, for ever, or once now. */
export async function identityKeep(directory: string, nodes: readonly string[], isOnce: boolean): Promise<void> {
  for (;;) {
    const identity = readIdentity(directory)
    const from = Date.parse(identity.certificate.validFrom)
    const until = Date.parse(identity.certificate.validTo)
    const life = until - from
    // Not all at once: services that were started together renew apart.
    const dueMs = from + life * (0.45 + 0.1 * Math.random())
    if (!isOnce) await delay(Math.min(2 ** 31 - 1, Math.max(0, dueMs - Date.now())))
    try {
      const { want, key } = freshKey(identity.ring, identity.name, Math.max(60, Math.round(life / 1_000)))
      const signed = signedBy(identity, want)
      const minted = await fromAny(nodes, (client) => client.svidMintSigned(signed))
      writeIdentity(directory, key, minted)
      process.stderr.write(`renewed ${want.name}; good until ${time(minted.expiresAtMs)}\n`)
      if (isOnce) return
    } catch (error) {
      if (error instanceof UsageError || isOnce) throw error
      const left = until - Date.now()
      process.stderr.write(`not renewed: ${(error as Error).message}; good for another ${duration(left)}\n`)
      if (left <= 0) throw new QuietFailure()
      await delay(Math.max(RETRY_MS_MIN, left / RETRIES))
    }
  }
}

/** A token of the service itself. */
export async function identityToken(
  directory: string,
  nodes: readonly string[],
  options: { readonly audience: string; readonly ttlMs: number },
): Promise<void> {
  const identity = readIdentity(directory)
  const ttlS = Math.round(options.ttlMs / 1_000)
  const want = { type: 'token', service: identity.name, audience: options.audience, ttlS, claims: {} } as const
  const minted = await fromAny(nodes, (client) => client.tokenMintSigned(signedBy(identity, want)))
  write(minted.token)
  process.stderr.write(`token ${minted.id} for ${minted.audience}, until ${time(minted.expiresAtMs)}\n`)
}
