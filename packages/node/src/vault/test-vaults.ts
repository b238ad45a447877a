/** For tests: vault services that talk through memory, over a sealing key that was dealt by hand. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto'
import {
  createDenialIndex,
  NO_SIGNING_KEY_VIEW,
  parsePolicyDocument,
  type RingState,
  type TransitKeys,
  VaultObjects,
  VaultSecrets,
  type View,
} from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { dealTrusted, type KeyShare, ORDER, type PublicKey } from '@ringwall/threshold'
import { type AskNode, parseSignedOpenRequest, type Reader, sealSecret, type VaultFacts } from '@ringwall/vault'
import { NodeShare } from '../signing/node-share.ts'
import type { OpeningRecord } from './opening-log.ts'
import { VaultService } from './vault-service.ts'

export const RING: string = 'ab'.repeat(32)
const POLICY = `version: 1
services:
  shop:
    upstreams:
      - url: http://127.0.0.1:3000
vault:
  rules:
    - path: shop
      read: [operator:ada]
      write: [operator:ada]
  transit:
    - key: shop
      use: [operator:ada]
  databases:
    orders:
      host: 127.0.0.1
      database: orders
      user: ringwall
      password: shop/orders
      roles:
        reader:
          use: [operator:ada]
          grant: ['GRANT SELECT ON things TO {{name}}']
          ttl: 1h
          ttlMax: 2h
`

function policyOf(text: string): View['policy'] {
  const document = parsePolicyDocument(text, 'test', () => [])
  if (!document.ok) throw new Error(JSON.stringify(document.problems))
  return document.policy
}

type Handler = (from: string, payload: Uint8Array) => Promise<Uint8Array>

export interface Member {
  readonly id: string
  readonly service: VaultService
  readonly share: KeyShare
  readonly records: OpeningRecord[]
  handler: Handler
  height: number
  vault: VaultSecrets
  isDown: boolean
  /** Called before a record is on disk. */
  onRecord: () => Promise<void>
}

const rawKey = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string

export class Vaults {
  readonly operator = generateKeyPairSync('ed25519')
  readonly members: Member[] = []
  readonly publicKey: PublicKey
  /** What an answer on its way from one to another becomes. */
  tamper: (from: string, to: string, answer: Uint8Array) => Uint8Array = (_from, _to, answer) => answer
  now: () => number = Date.now
  transit: TransitKeys = []
  leases: RingState['leases'] = []
  readonly #keys = new Map<string, KeyObject>()
  #view: View

  constructor(count = 4, threshold = 3) {
    const named = Array.from({ length: count }, (_, i) => ({ party: `n${i + 1}`, index: i + 1 }))
    const coefficients = Array.from({ length: threshold }, () => BigInt(`0x${randomBytes(48).toString('hex')}`) % ORDER)
    const shares = dealTrusted({ suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold, members: named }, coefficients)
    this.publicKey = (shares[0] as KeyShare).publicKey
    for (const { party } of named) this.#keys.set(party, generateKeyPairSync('ed25519').privateKey)
    this.#view = {
      ring: RING,
      policy: policyOf(POLICY),
      operators: [{ name: 'ada', publicKey: rawKey(this.operator.privateKey) }],
      nodes: named.map(({ party }) => ({ id: party, publicKey: rawKey(this.#keys.get(party) as KeyObject) })),
      denials: createDenialIndex([]),
      signingKey: NO_SIGNING_KEY_VIEW,
    } as unknown as View
    for (const [i, { party }] of named.entries()) this.#add(party, shares[i] as KeyShare)
  }

  #add(id: string, share: KeyShare): void {
    const key = this.#keys.get(id) as KeyObject
    const sealingKey = { publicKey: encodeBase64url(this.publicKey.encode()) } as RingState['sealingKey']
    let handler: Handler = () => Promise.reject(new Error('not there yet'))
    const records: OpeningRecord[] = []
    const service: VaultService = new VaultService({
      self: id,
      now: () => this.now(),
      view: () => ({ ...this.#view, height: this.member(id).height }),
      state: () =>
        ({
          vault: this.member(id).vault,
          transit: this.transit,
          objects: VaultObjects.empty,
          leases: this.leases,
          sealingKey,
        }) as RingState,
      sign: (message) => sign(null, message, key),
      log: {
        add: async (record) => {
          await this.member(id).onRecord()
          records.push(record)
        },
      },
      fabric: {
        request: async (to, _channel, payload) => {
          const other = this.member(to)
          if (other.isDown) throw new Error('no link')
          return this.tamper(to, id, await other.handler(id, payload.slice()))
        },
        onRequest: (_channel, given) => {
          handler = given
        },
      },
    })
    const state = { height: 1, vault: VaultSecrets.empty, isDown: false, onRecord: async () => {} }
    this.members.push({ id, service, share, records, handler, ...state })
    service.use(this.publicKey, NodeShare.decode(share.encodeSecret()))
  }

  get policy(): View['policy'] {
    return this.#view.policy
  }

  /** On all nodes: of one service, and this. */
  usePolicy(more: string): void {
    const services = 'services: { shop: { upstreams: [{ url: "http://127.0.0.1:3000" }] } }'
    this.#view = { ...this.#view, policy: policyOf(`version: 1\n${services}\n${more}`) }
  }

  member(id: string): Member {
    const found = this.members.find((one) => one.id === id)
    if (found === undefined) throw new Error(`no ${id}`)
    return found
  }

  /** On all nodes but those named. */
  put(name: string, secret: string, without: readonly string[] = []): void {
    const version = Math.max(...this.members.map(({ vault }) => vault.get(name)?.versions.at(-1)?.version ?? 0)) + 1
    const sealedAtMs = this.now()
    const { capsule, ciphertext } = sealSecret(
      this.publicKey,
      { ring: RING, name, version, sealedAtMs, expiresAtMs: 0 },
      Buffer.from(secret),
    )
    const body = { capsule: encodeBase64url(capsule), ciphertext: encodeBase64url(ciphertext) }
    for (const member of this.members) {
      if (without.includes(member.id)) continue
      member.vault = member.vault.with(name, { version, by: 'operator:ada', sealedAtMs, expiresAtMs: 0 }, body, sealedAtMs)
      member.height += 1
    }
  }

  get facts(): VaultFacts {
    return {
      ring: RING,
      publicKey: this.publicKey,
      verify: (party, message, signature) => {
        const key = this.#keys.get(party)
        return key !== undefined && verify(null, message, { key: rawPublic(key), format: 'jwk' }, signature)
      },
    }
  }

  get reader(): Reader {
    const sealed = async (message: Uint8Array): Promise<string> =>
      sign(null, message, this.operator.privateKey).toString('base64url')
    return { issuer: 'operator:ada', certificate: '', sign: sealed }
  }

  readerOf(node: string): Reader {
    const key = this.#keys.get(node) as KeyObject
    return { issuer: `node:${node}`, certificate: '', sign: async (message) => sign(null, message, key).toString('base64url') }
  }

  /** By way of the first node, as the admin API takes it. */
  readonly ask: AskNode = (request) => this.member('n1').service.open(parseSignedOpenRequest(JSON.parse(JSON.stringify(request))))

  async stop(): Promise<void> {
    for (const { service } of this.members) await service.stop()
  }
}

function rawPublic(key: KeyObject): { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string } {
  return { kty: 'OKP', crv: 'Ed25519', x: rawKey(key) }
}
