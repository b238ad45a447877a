/** For tests: the face on a node of a ring of three in memory. Its application, its vault services and its passes are real; blocks come at once. */
import { createHash, generateKeyPairSync, hash, randomBytes, sign } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { checkMint } from '@ringwall/identity'
import { LedgerError } from '@ringwall/ledger'
import {
  createDenialIndex,
  type Denial,
  genesisHash,
  NO_RING_KEY,
  PASS_AUDIENCE,
  parseGenesis,
  type RingState,
} from '@ringwall/ring'
import { encodeBase64url, encodeTx, signingBytes, type TxBody, type TxContent } from '@ringwall/ring/tx'
import { dealTrusted, type KeyShare, ORDER } from '@ringwall/threshold'
import { generateKey, randomNonce, signMessage } from '../keys.ts'
import { ringApplication } from '../ring-application.ts'
import { NodeShare } from '../signing/node-share.ts'
import { MintRefused } from '../signing/signing-service.ts'
import { VaultService } from '../vault/vault-service.ts'
import type { FaceAnswer } from './answers.ts'
import { HashicorpFace } from './face.ts'

const POLICY = `version: 1
services:
  web:
    upstreams:
      - url: http://127.0.0.1:3000
vault:
  rules:
    - path: web
      read: [service:web]
      write: [service:web]
    - path: seen
      read: [service:web]
    - path: other
      read: [operator:ada]
      write: [operator:ada]
  transit:
    - key: web
      use: [service:web]
      manage: [operator:ada]
    - key: other
      manage: [operator:ada]
`

const IDS = ['n1', 'n2', 'n3'] as const
type Id = (typeof IDS)[number]
type Handler = (from: string, payload: Uint8Array) => Promise<Uint8Array>

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const drawn = (): bigint => BigInt(`0x${randomBytes(48).toString('hex')}`) % ORDER

/** The ring's signing key, which here one has whole. */
const ringKey = generateKeyPairSync('ed25519')

/** RFC 8032 section 5.1.5: the scalar of an Ed25519 key, so that what it signs is signed by the key that is dealt of it. */
function scalarOf(seed: Uint8Array): bigint {
  const bytes = createHash('sha512').update(seed).digest().subarray(0, 32)
  bytes[0] = (bytes[0] as number) & 248
  bytes[31] = ((bytes[31] as number) & 63) | 64
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`) % ORDER
}

export interface Wish {
  readonly method?: string
  readonly token?: string | undefined
  /** JSON, or text as it is. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export class TestFace {
  readonly ring: string
  readonly face: HashicorpFace
  state: RingState
  height = 1
  /** What nodes said, and no block yet. */
  early: readonly Denial[] = []
  /** Statements that were proposed. */
  proposed: TxBody['type'][] = []
  readonly #keys = new Map(IDS.map((id) => [id, generateKey()]))
  readonly #operator = generateKey()
  readonly #app: ReturnType<typeof ringApplication>
  readonly #services: readonly VaultService[]
  readonly #handlers = new Map<string, Handler>()

  constructor() {
    const nodes = IDS.map((id, at) => ({
      id,
      region: 'eu',
      address: `127.0.0.1:${at + 1}`,
      publicKey: encodeBase64url(this.#keyOf(id).publicKey),
      roles: ['validator', 'edge'],
    }))
    const operators = [{ name: 'ada', publicKey: encodeBase64url(this.#operator.publicKey) }]
    const document = { format: 'ringwall/genesis/1', createdAtMs: 1, nodes, operators, policy: POLICY }
    const genesis = parseGenesis(JSON.stringify(document))
    this.ring = genesisHash(genesis)
    this.#app = ringApplication(genesis, new Map([['base', []]]))
    const members = IDS.map((party, at) => ({ party, index: at + 1 }))
    const parts = { purpose: 'tests', epoch: 0, threshold: 2, members }
    const shares = dealTrusted({ ...parts, suite: 'ristretto255' }, [drawn(), drawn()])
    const seed = Buffer.from(ringKey.privateKey.export({ format: 'jwk' }).d as string, 'base64url')
    const [signing] = dealTrusted({ ...parts, suite: 'ed25519' }, [scalarOf(seed), drawn()]) as [KeyShare]
    const keyOf = ({ publicKey }: KeyShare) => ({ ...NO_RING_KEY, publicKey: encodeBase64url(publicKey.encode()), attempts: 1 })
    this.state = this.#app
      .initial()
      .withKey('sealing', keyOf(shares[0] as KeyShare))
      .withKey('signing', keyOf(signing))
    this.#services = IDS.map((id, at) => this.#service(id, shares[at] as KeyShare))
    this.face = new HashicorpFace({
      id: 'n1',
      ring: this.ring,
      version: '0',
      isReady: () => true,
      view: () => this.view,
      state: () => this.state,
      denials: {
        matchCredential: (credential, nowMs) =>
          this.view.denials.matchCredential(credential, nowMs) ??
          createDenialIndex(this.early).matchCredential(credential, nowMs),
      },
      open: (signed) => (this.#services[0] as VaultService).open(signed),
      mint: async ({ mint }) => {
        const checked = checkMint(mint, { ...this.view, transit: this.state.transit }, Date.now())
        if (!checked.ok) throw new MintRefused(checked)
        return { signature: signMessage(ringKey.privateKey, checked.message) }
      },
      propose: (content) => this.#propose(content, 'n1'),
      proposeInOwnName: (body) => this.say(body, 'n1'),
    })
  }

  #keyOf(id: Id): ReturnType<typeof generateKey> {
    return this.#keys.get(id) as ReturnType<typeof generateKey>
  }

  #service(id: Id, share: KeyShare): VaultService {
    const service = new VaultService({
      self: id,
      view: () => this.view,
      state: () => this.state,
      sign: (message) => signMessage(this.#keyOf(id).privateKey, message),
      log: { add: async () => {} },
      fabric: {
        request: async (to, _channel, payload) => (this.#handlers.get(to) as Handler)(id, payload.slice()),
        onRequest: (_channel, handler) => this.#handlers.set(id, handler),
      },
    })
    service.use(share.publicKey, NodeShare.decode(share.encodeSecret()))
    return service
  }

  get view(): ReturnType<ReturnType<typeof ringApplication>['view']> {
    return this.#app.view(this.state, this.height, Date.now())
  }

  /** As the ledger does: what is proposed is checked, waits for a block, and is checked again. */
  async #propose(content: TxContent, by: Id | 'ada'): Promise<void> {
    const { privateKey } = by === 'ada' ? this.#operator : this.#keyOf(by)
    const tx = encodeTx({ content, signature: encodeBase64url(signMessage(privateKey, signingBytes(content))) })
    this.proposed.push(content.body.type)
    this.#check(tx)
    await turn()
    this.#check(tx)
    this.height += 1
    const done = this.#app.execute(this.state, [tx], { height: this.height, timestampMs: Date.now(), proposer: 'n1' })
    if (!done.ok) throw new Error(done.reason)
    this.state = done.state
  }

  #check(tx: Uint8Array): void {
    const checked = this.#app.check(this.state, tx, Date.now())
    if (checked.ok) return
    const { code, reason } = checked
    throw new LedgerError('TX_REFUSED', `the transaction is refused (${code}): ${reason}`, { refusal: { code, reason } })
  }

  say(body: TxBody, by: Id | 'ada' = 'ada'): Promise<void> {
    const atMs = Date.now()
    const issuer: TxContent['issuer'] = by === 'ada' ? 'operator:ada' : `node:${by}`
    return this.#propose({ ring: this.ring, issuer, atMs, untilMs: atMs + 60_000, nonce: randomNonce(), body }, by)
  }

  /** One line, as `ringwall vault pass` prints it. */
  pass(service = 'web', changes: Readonly<Record<string, unknown>> = {}, by = ringKey): string {
    const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
    const nowS = Math.floor(Date.now() / 1_000)
    const claims = {
      aud: PASS_AUDIENCE,
      cnf: { jkt: hash('sha256', `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`, 'base64url') },
      exp: nowS + 600,
      iat: nowS,
      iss: `urn:ringwall:${this.ring}`,
      jti: randomBytes(16).toString('hex'),
      sub: `spiffe://${this.ring}/service/${service}`,
      ...changes,
    }
    const signed = `${part({ alg: 'EdDSA', kid: 'k', typ: 'JWT' })}.${part(claims)}`
    return `rwv1.${d}.${signed}.${sign(null, Buffer.from(signed), by.privateKey).toString('base64url')}`
  }

  /** The answer as it goes out: `text` is its body, `json` what a client makes of it. */
  async ask(
    path: string,
    { method = 'GET', token, body, headers = {} }: Wish = {},
  ): Promise<FaceAnswer & { text: string; json: Answered }> {
    const url = new URL(`http://localhost/v1/${path}`)
    const text = async (): Promise<string> => (typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body))
    const header = (name: string): string | undefined => headers[name]
    const { status, json } = await this.face.answer({ method, path: url.pathname, query: url.searchParams, token, header, text })
    const said = json === undefined ? '' : JSON.stringify(json)
    return { status, text: said, json: (said === '' ? {} : JSON.parse(said)) as Answered }
  }

  async stop(): Promise<void> {
    for (const service of this.#services) await service.stop()
  }
}

/** What tests look at of answers. */
export interface Answered {
  readonly errors?: readonly string[]
  readonly auth?: Readonly<Record<string, unknown>>
  readonly data?: Readonly<Record<string, unknown>> & {
    readonly data?: Readonly<Record<string, unknown>> | null
    readonly version?: number
    readonly ciphertext?: string
    readonly batch_results?: readonly Readonly<Record<string, unknown>>[]
  }
}
