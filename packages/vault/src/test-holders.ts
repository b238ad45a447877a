/** For tests: holders of a sealing key that was dealt by hand, a vault with secrets in it, and a node that passes things on. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto'
import { parsePolicyDocument, type RingState, type SecretLabel, VaultObjects, VaultSecrets } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import {
  dealTrusted,
  type KeyShare,
  makeBarePartial,
  makePartial,
  ORDER,
  type PublicKey,
  readCapsule,
  verifyCapsule,
} from '@ringwall/threshold'
import { checkOpen, type OpenView } from './open-check.ts'
import { openSigningBytes, type SignedOpenRequest } from './open-request.ts'
import type { AskNode, OpenAnswer, Reader, VaultFacts } from './opening.ts'
import { bodyDigest, type PartialOpening, ReplyMaker, requestDigest } from './reply.ts'
import { sealSecret } from './seal.ts'

export const RING: string = 'ab'.repeat(32)

export interface Holder {
  readonly party: string
  readonly key: KeyObject
  readonly publicKey: KeyObject
  readonly share: KeyShare
  readonly maker: ReplyMaker
  isDown: boolean
  /** What it makes of an opening before it answers. */
  lie: (opening: PartialOpening, proven: boolean) => PartialOpening
}

export const POLICY = `version: 1
services:
  shop:
    upstreams:
      - url: http://127.0.0.1:3000
vault:
  rules:
    - path: shop
      read: [operator:ada, service:shop]
      write: [operator:ada]
`

export class Holders {
  readonly publicKey: PublicKey
  readonly holders: readonly Holder[]
  readonly operator: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } = generateKeyPairSync('ed25519')
  vault: VaultSecrets = VaultSecrets.empty
  /** What the node that passes things on makes of an answer. */
  pass: (answer: OpenAnswer, request: SignedOpenRequest) => OpenAnswer = (answer) => answer
  requests: SignedOpenRequest[] = []
  /** As liars, each time that one was found. */
  named: (readonly string[])[] = []
  nowMs: () => number = Date.now

  constructor(count = 4, threshold = 3) {
    const members = Array.from({ length: count }, (_, i) => ({ party: `n${i + 1}`, index: i + 1 }))
    const coefficients = Array.from({ length: threshold }, () => BigInt(`0x${randomBytes(48).toString('hex')}`) % ORDER)
    const shares = dealTrusted({ suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold, members }, coefficients)
    this.publicKey = (shares[0] as KeyShare).publicKey
    this.holders = shares.map((share, i) => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519')
      const party = `n${i + 1}`
      const maker = new ReplyMaker(party, (message) => sign(null, message, privateKey))
      return { party, key: privateKey, publicKey, share, maker, isDown: false, lie: (opening) => opening }
    })
  }

  get facts(): VaultFacts {
    return {
      ring: RING,
      publicKey: this.publicKey,
      onLiars: (parties) => this.named.push(parties),
      verify: (party, message, signature) => {
        const holder = this.holders.find((one) => one.party === party)
        return holder !== undefined && verify(null, message, holder.publicKey, signature)
      },
    }
  }

  get reader(): Reader {
    const { privateKey } = this.operator
    return {
      issuer: 'operator:ada',
      certificate: '',
      sign: async (message) => sign(null, message, privateKey).toString('base64url'),
    }
  }

  get view(): OpenView {
    const document = parsePolicyDocument(POLICY, 'test', () => [])
    if (!document.ok) throw new Error(JSON.stringify(document.problems))
    const sealingKey = { publicKey: encodeBase64url(this.publicKey.encode()) } as RingState['sealingKey']
    return {
      ring: RING,
      policy: document.policy,
      state: { vault: this.vault, objects: VaultObjects.empty, sealingKey, leases: [] },
      askerFault: ({ issuer }, signed, signature) =>
        issuer === 'operator:ada' && verify(null, signed, this.operator.publicKey, Buffer.from(signature, 'base64url'))
          ? undefined
          : 'not signed by ada',
    }
  }

  put(name: string, secret: Uint8Array, ttlMs = 0): void {
    const version = (this.vault.get(name)?.versions.at(-1)?.version ?? 0) + 1
    const sealedAtMs = this.nowMs()
    const expiresAtMs = ttlMs === 0 ? 0 : sealedAtMs + ttlMs
    const label: SecretLabel = { ring: RING, name, version, sealedAtMs, expiresAtMs }
    const { capsule, ciphertext } = sealSecret(this.publicKey, label, secret)
    const body = { capsule: encodeBase64url(capsule), ciphertext: encodeBase64url(ciphertext) }
    this.vault = this.vault.with(name, { version, by: 'operator:ada', sealedAtMs, expiresAtMs }, body, sealedAtMs)
  }

  reply(holder: Holder, signed: SignedOpenRequest): Uint8Array | string {
    const checked = checkOpen(signed, this.view, this.nowMs())
    if (!checked.ok) return checked.reason
    const { proven, replyTo } = signed.request
    const openings = checked.secrets.map(({ version, body }) => {
      const capsule = Buffer.from(body.capsule, 'base64url')
      const partial = proven
        ? makePartial(holder.share, verifyCapsule(this.publicKey, capsule))
        : makeBarePartial(holder.share, readCapsule(this.publicKey, capsule))
      return holder.lie({ version, body: bodyDigest(body), partial }, proven)
    })
    const content = { epoch: this.publicKey.id, index: holder.share.index, openings }
    return holder.maker.make(content, replyTo, requestDigest(openSigningBytes(signed.request)))
  }

  /** As a node does that is asked: the threshold's number of holders at first, all when there are to be proofs. */
  readonly ask: AskNode = async (signed) => {
    this.requests.push(signed)
    const checked = checkOpen(signed, this.view, this.nowMs())
    if (!checked.ok) throw new Error(checked.reason)
    const up = this.holders.filter(({ isDown }) => !isDown)
    const asked = signed.request.proven ? up : up.slice(0, this.publicKey.threshold)
    const answers = asked.map((holder) => ({ party: holder.party, reply: this.reply(holder, signed) }))
    return this.pass(
      {
        replies: answers.flatMap(({ party, reply }) =>
          typeof reply === 'string' ? [] : [{ party, reply: Buffer.from(reply).toString('base64url') }],
        ),
        bodies: checked.secrets.map(({ body }) => body),
        refusals: answers.flatMap(({ party, reply }) => (typeof reply === 'string' ? [{ party, reason: reply }] : [])),
      },
      signed,
    )
  }
}
