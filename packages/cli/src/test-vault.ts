/** For tests: four nodes with a vault, as far as its commands ask them, in this process; and the command line beside them. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import type { VaultSecrets as Listed, VaultHistory } from '@ringwall/client'
import { type Secret, type SecretVersion, VaultSecrets } from '@ringwall/ring'
import { encodeBase64url, type TxBody } from '@ringwall/ring/tx'
import { dealTrusted, type KeyShare, makeBarePartial, ORDER, readCapsule } from '@ringwall/threshold'
import {
  bodyDigest,
  type OpenAnswer,
  openSigningBytes,
  ReplyMaker,
  requestDigest,
  type SignedOpenRequest,
  sealSecret,
} from '@ringwall/vault'
import { runCli, type Told } from './test-node.ts'

const RING = 'ab'.repeat(32)
const IDS = ['n1', 'n2', 'n3', 'n4']
const THRESHOLD = 3

type Put = Extract<TxBody, { type: 'vault.put' }>
type Answered = { readonly status: number; readonly value: unknown }

interface Holder {
  readonly id: string
  readonly key: KeyObject
  readonly share: KeyShare
  readonly maker: ReplyMaker
}

function deal(): readonly Holder[] {
  const members = IDS.map((party, at) => ({ party, index: at + 1 }))
  const coefficients = Array.from({ length: THRESHOLD }, () => BigInt(`0x${randomBytes(48).toString('hex')}`) % ORDER)
  const shares = dealTrusted({ suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold: THRESHOLD, members }, coefficients)
  return shares.map((share, at) => {
    const id = IDS[at] as string
    const { privateKey } = generateKeyPairSync('ed25519')
    return { id, key: privateKey, share, maker: new ReplyMaker(id, (message) => sign(null, message, privateKey)) }
  })
}

const stateOf = ({ end, hiddenAtMs }: SecretVersion): string => end?.why ?? (hiddenAtMs === undefined ? 'live' : 'hidden')

export class TestVault {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'ringwall-vault-cli-'))
  /** What was asked for and of whom, such as `n2 POST /v1/transactions`. */
  asked: string[] = []
  secrets: VaultSecrets = VaultSecrets.empty
  readonly #holders = deal()
  readonly #servers = new Map<string, Server>()

  static async start(): Promise<TestVault> {
    const vault = new TestVault()
    for (const id of IDS) {
      const server = createServer(async (request, response) => {
        const { status, value } = await vault.#answer(id, request)
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
      })
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
      vault.#servers.set(id, server)
    }
    const nodes = IDS.map((id) => ({ id, url: vault.urlOf(id) }))
    const privateKey = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
    const context = { format: 'ringwall/context/1', ring: RING, name: 'ada', privateKey, nodes }
    writeFileSync(join(vault.folder, 'operator.json'), JSON.stringify(context))
    return vault
  }

  urlOf(id: string): string {
    const { port } = (this.#servers.get(id) as Server).address() as AddressInfo
    return `http://127.0.0.1:${port}`
  }

  run(...args: readonly string[]): Promise<Told> {
    return this.runWith('', ...args)
  }

  /** @param input On standard input. */
  runWith(input: string, ...args: readonly string[]): Promise<Told> {
    return runCli(args, { RINGWALL_CONTEXT: join(this.folder, 'operator.json') }, this.folder, input)
  }

  /** Makes secrets that say what they are called. */
  put(...names: readonly string[]): void {
    for (const name of names) {
      const expectVersion = this.#newest(name)
      const label = { ring: RING, name, version: expectVersion + 1, sealedAtMs: Date.now(), expiresAtMs: 0 }
      const sealed = sealSecret(this.#publicKey, label, Buffer.from(`of ${name}`))
      const [capsule, ciphertext] = [encodeBase64url(sealed.capsule), encodeBase64url(sealed.ciphertext)]
      this.#take({ type: 'vault.put', name, expectVersion, ttlMs: 0, capsule, ciphertext })
    }
  }

  remove(name: string, ...versions: readonly number[]): void {
    this.secrets = this.secrets.without(name, versions, { atMs: Date.now(), why: 'deleted' })
  }

  /** A file with something in it, for `--file`. */
  file(text: string): string {
    const file = join(this.folder, 'secret')
    writeFileSync(file, text)
    return file
  }

  /** Nothing listens there any more. */
  async end(id: string): Promise<void> {
    const server = this.#servers.get(id)
    server?.closeAllConnections()
    await new Promise((closed) => server?.close(closed))
  }

  async stop(): Promise<void> {
    for (const id of IDS) await this.end(id)
    rmSync(this.folder, { recursive: true, force: true })
  }

  get #publicKey(): KeyShare['publicKey'] {
    return (this.#holders[0] as Holder).share.publicKey
  }

  #newest(name: string): number {
    return this.secrets.get(name)?.versions.at(-1)?.version ?? 0
  }

  async #answer(id: string, request: IncomingMessage): Promise<Answered> {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://node')
    this.asked.push(`${id} ${request.method} ${pathname}`)
    const named = searchParams.get('name') ?? searchParams.get('path') ?? ''
    switch (pathname) {
      case '/v1/vault':
        return { status: 200, value: this.#facts(id) }
      case '/v1/vault/secrets':
        return { status: 200, value: this.#list(named) }
      case '/v1/vault/history':
        return { status: 200, value: this.#history(named) }
      case '/v1/vault/open':
        return { status: 200, value: this.#open(((await json(request)) as { readonly request: SignedOpenRequest }).request) }
      case '/v1/transactions':
        return this.#take(
          ((await json(request)) as { readonly tx: { readonly content: { readonly body: Put } } }).tx.content.body,
        )
      default:
        return { status: 404, value: { code: 'NOT_FOUND', detail: 'nothing here' } }
    }
  }

  #facts(node: string): unknown {
    const nodes = this.#holders.map(({ id, key }) => ({ id, publicKey: key.export({ format: 'jwk' }).x }))
    return { ring: RING, height: 1, node, publicKey: encodeBase64url(this.#publicKey.encode()), nodes }
  }

  #list(path: string): unknown {
    const below = ({ name }: Secret): boolean => path === '' || name === path || name.startsWith(`${path}/`)
    const secrets = this.secrets.list().flatMap((secret) => {
      const newest = secret.versions.at(-1)
      if (newest === undefined || !below(secret)) return []
      const { version, sealedAtMs, by } = newest
      const live = secret.versions.filter((one) => stateOf(one) === 'live').length
      const may = { mayRead: true, mayWrite: true }
      return [{ name: secret.name, version, state: stateOf(newest), sealedAtMs, expiresAtMs: null, by, live, ...may }]
    })
    return { secrets } satisfies { secrets: readonly Record<keyof Listed['secrets'][0], unknown>[] }
  }

  #history(name: string): unknown {
    const versions = (this.secrets.get(name)?.versions ?? []).toReversed().map((one) => {
      const { version, sealedAtMs, by, end } = one
      return { version, state: stateOf(one), sealedAtMs, expiresAtMs: null, by, endedAtMs: end?.atMs ?? null }
    })
    return { name, versions, openings: [] } satisfies Record<keyof VaultHistory, unknown>
  }

  /** By as many holders as it takes, who ask nobody what the asker may. */
  #open(signed: SignedOpenRequest): OpenAnswer {
    const { replyTo, secrets } = signed.request
    const opened = secrets.map(({ name, version: wanted }) => {
      const version = wanted === 0 ? this.#newest(name) : wanted
      const body = this.secrets.body(name, version, Date.now())
      if (body === undefined) throw new Error(`${name} has no version ${version} that can be opened`)
      return { version, body, capsule: readCapsule(this.#publicKey, Buffer.from(body.capsule, 'base64url')) }
    })
    const digest = requestDigest(openSigningBytes(signed.request))
    const replies = this.#holders.slice(0, THRESHOLD).map(({ id, share, maker }) => {
      const openings = opened.map(({ version, body, capsule }) => {
        return { version, body: bodyDigest(body), partial: makeBarePartial(share, capsule) }
      })
      const reply = maker.make({ epoch: this.#publicKey.id, index: share.index, openings }, replyTo, digest)
      return { party: id, reply: Buffer.from(reply).toString('base64url') }
    })
    return { replies, bodies: opened.map(({ body }) => body), refusals: [] }
  }

  /** As the ring does, as far as versions are concerned. */
  #take({ name, expectVersion, ttlMs, capsule, ciphertext }: Put): Answered {
    const newest = this.#newest(name)
    if (newest !== expectVersion)
      return { status: 422, value: { code: 'VAULT_CONFLICT', detail: `${name} is at version ${newest}: seal anew` } }
    const sealedAtMs = Date.now()
    const version = { version: newest + 1, by: 'operator:ada', sealedAtMs, expiresAtMs: ttlMs === 0 ? 0 : sealedAtMs + ttlMs }
    this.secrets = this.secrets.with(name, version, { capsule, ciphertext }, sealedAtMs)
    return { status: 200, value: { id: 'ab', height: 1 } }
  }
}
