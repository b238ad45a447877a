/** For tests and benchmarks: signing services that talk through memory, over a key that was dealt by hand. */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type MintRequest, mintSigningBytes, type SignedMintRequest, type SvidWanted, svidProofBytes } from '@ringwall/identity'
import { createDenialIndex, type Denial, NO_SIGNING_KEY_VIEW, People, type View } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { dealTrusted, type KeyShare, ORDER } from '@ringwall/threshold'
import { NodeShare } from './node-share.ts'
import { NonceNumbers } from './nonce-numbers.ts'
import { SigningService } from './signing-service.ts'

export const RING: string = 'ab'.repeat(32)

type Handler = (from: string, payload: Uint8Array) => Promise<Uint8Array>

export interface Member {
  readonly id: string
  readonly key: KeyObject
  readonly service: SigningService
  /** What people are told. */
  readonly said: string[]
  /** Whom it found at fault, and what for. */
  readonly named: readonly string[]
  handler: Handler | undefined
  isDown: boolean
}

const rawKey = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string

export class Signers {
  readonly operator: KeyObject = generateKeyPairSync('ed25519').privateKey
  readonly members: Member[] = []
  readonly shares: readonly KeyShare[]
  readonly #directory = mkdtempSync(join(tmpdir(), 'ringwall-signers-'))
  view: View
  people = People.empty
  denials: readonly Denial[] = []
  /** What an answer on its way from one to another becomes. */
  tamper: (from: string, to: string, answer: Uint8Array) => Uint8Array = (_from, _to, answer) => answer

  constructor(count = 4, threshold = 3) {
    const named = Array.from({ length: count }, (_, i) => ({ party: `n${i + 1}`, index: i + 1 }))
    const coefficients = Array.from({ length: threshold }, () => BigInt(`0x${randomBytes(48).toString('hex')}`) % ORDER)
    this.shares = dealTrusted({ suite: 'ed25519', purpose: 'tests', epoch: 0, threshold, members: named }, coefficients)
    const nodes = named.map(({ party }) => ({ party, key: generateKeyPairSync('ed25519').privateKey }))
    const { publicKey } = this.shares[0] as KeyShare
    this.view = {
      ring: RING,
      operators: [{ name: 'ada', publicKey: rawKey(this.operator) }],
      nodes: nodes.map(({ party, key }) => ({
        id: party,
        region: 'eu',
        address: '127.0.0.1:1',
        publicKey: rawKey(key),
        roles: ['validator'],
      })),
      denials: createDenialIndex([]),
      policy: { workloads: {} },
      signingKey: { ...NO_SIGNING_KEY_VIEW, key: encodeBase64url(publicKey.groupKey), madeAtMs: Date.now() },
    } as unknown as View
    for (const [i, { party, key }] of nodes.entries()) this.#add(party, key, this.shares[i] as KeyShare)
  }

  #add(id: string, key: KeyObject, share: KeyShare): void {
    const said: string[] = []
    const find = (to: string): Member => {
      const other = this.members.find((member) => member.id === to)
      if (other === undefined || other.isDown) throw new Error('no link')
      return other
    }
    const held: { handler: Handler | undefined } = { handler: undefined }
    const named: string[] = []
    const service = new SigningService({
      self: id,
      view: () => this.view,
      people: () => this.people,
      transit: () => [],
      sign: (message) => sign(null, message, key),
      numbers: new NonceNumbers(join(this.#directory, id, 'nonces.json')),
      events: { add: (_kind, _level, line) => said.push(line) },
      onFault: (party, fault) => named.push(`${party} ${fault}`),
      fabric: {
        request: async (to, _channel, payload) => {
          const answer = await (find(to).handler as Handler)(id, payload.slice())
          return this.tamper(to, id, answer)
        },
        onRequest: (_channel, handler) => {
          held.handler = handler
        },
      },
    })
    this.members.push({ id, key, service, said, named, handler: held.handler, isDown: false })
    service.use(share.publicKey, NodeShare.decode(share.encodeSecret()))
  }

  async stop(): Promise<void> {
    for (const { service } of this.members) await service.stop()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  tokenRequest(changes: Partial<MintRequest> = {}, want: Partial<MintRequest['want']> = {}): MintRequest {
    const token = { type: 'token', service: 'billing', audience: 'shop', ttlS: 300, claims: {}, ...want } as MintRequest['want']
    const nonce = randomBytes(16).toString('base64url')
    return { ring: RING, issuer: 'operator:ada', certificate: '', atMs: Date.now(), nonce, want: token, ...changes }
  }

  signed(request: MintRequest, by: KeyObject = this.operator): SignedMintRequest {
    return { request, signature: sign(null, mintSigningBytes(request), by).toString('base64url') }
  }

  /** With a fresh key of `type`. */
  svidRequest(
    of: SvidWanted['of'],
    name: string,
    issuer: string,
    type: 'ed25519' | 'p256' = 'ed25519',
  ): { readonly request: MintRequest; readonly key: KeyObject } {
    const key =
      type === 'ed25519'
        ? generateKeyPairSync('ed25519').privateKey
        : generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
    const publicKey = spki.toString('base64url')
    const proof = sign(type === 'ed25519' ? null : 'sha256', svidProofBytes(RING, { of, name, publicKey }), key)
    const want = { type: 'svid', of, name, publicKey, proof: proof.toString('base64url'), ttlS: 3_600 } as const
    return { request: { ...this.tokenRequest(), issuer, want }, key }
  }
}
