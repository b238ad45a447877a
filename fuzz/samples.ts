/** Keys and samples of a ring: made from fixed seeds, so that every machine has the same. */

import { createHash, createPrivateKey, type KeyObject, sign } from 'node:crypto'
import {
  type Block,
  type Certificate,
  genesisBlock,
  type Message,
  makeBlock,
  type Proposal,
  type VoteKind,
} from '@ringwall/consensus'
import { batchOf, encodeBase64url, encodeTx, genesisHash, parseGenesis, signingBytes, type TxContent } from '@ringwall/ring'
import { encodePayload } from '../packages/ledger/src/payload.ts'
import { plainPolicy } from '../packages/node/src/local/up.ts'
import { ringApplication } from '../packages/node/src/ring-application.ts'
import { loadRuleLibrary } from '../packages/node/src/rules.ts'

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

const keyFrom = (seed: string): KeyObject =>
  createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, createHash('sha256').update(seed).digest()]),
    format: 'der',
    type: 'pkcs8',
  })

export const nodeKeys = ['n1', 'n2', 'n3', 'n4'].map(keyFrom)

export const operatorKey = keyFrom('operator')

const rawOf = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string

export const operatorJwk = operatorKey.export({ format: 'jwk' }) as { readonly d: string; readonly x: string }

export const genesis = parseGenesis(
  JSON.stringify({
    format: 'ringwall/genesis/1',
    createdAtMs: 1_800_000_000_000,
    nodes: nodeKeys.map((key, i) => ({
      id: `n${i + 1}`,
      region: 'eu',
      address: `127.0.0.1:${7_001 + i}`,
      publicKey: rawOf(key),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'ada', publicKey: rawOf(operatorKey) }],
    policy: plainPolicy('http://127.0.0.1:9'),
  }),
)

export const ring = genesisHash(genesis)

export const NOW = 1_800_000_000_000

export const application = ringApplication(genesis, loadRuleLibrary({}))

const BODIES = [
  { type: 'deny.add', subject: { kind: 'ip', value: '203.0.113.7' }, ttlMs: 600_000, reason: 'too many failures' },
  { type: 'deny.add', subject: { kind: 'cidr', value: '2001:db8::/48' }, ttlMs: 600_000, reason: 'scanner' },
  { type: 'deny.add', subject: { kind: 'token', value: 'jti-\u{1f600}' }, ttlMs: 600_000, reason: 'stolen' },
  { type: 'deny.add', subject: { kind: 'account', service: 'app', value: '0'.repeat(32) }, ttlMs: 60_000, reason: 'guessed' },
  { type: 'deny.remove', id: '0123456789abcdef', reason: 'over' },
  { type: 'deny.withdraw', id: '0123456789abcdef', reason: 'over' },
  { type: 'cache.purge', service: 'app', path: '/assets', reason: 'a new release' },
  { type: 'policy.set', policy: plainPolicy('http://127.0.0.1:10'), expectVersion: 1 },
] as const

const contents = BODIES.map((body, i): TxContent => {
  const nonce = encodeBase64url(new Uint8Array(16).fill(i))
  return { ring, issuer: 'operator:ada', atMs: NOW, untilMs: NOW + 60_000, nonce, body }
})

const signedBy = (message: Uint8Array): Uint8Array => new Uint8Array(sign(null, message, operatorKey))

const batch = batchOf(contents.map(signingBytes))

const together = batch.signatures(signedBy(batch.message))

export const txs = contents.flatMap((content, at) =>
  [signedBy(signingBytes(content)), together[at] as Uint8Array].map((signature) =>
    encodeTx({ content, signature: encodeBase64url(signature) }),
  ),
)

export const first = genesisBlock(ring)

const signature = (n: number): Uint8Array => new Uint8Array(64).fill(n)

export const certificate = (kind: VoteKind, round: number, block: Block): Certificate => ({
  kind,
  round,
  digest: kind === 'nullify' ? undefined : block.digest,
  signatures: [0, 1, 3].map((signer) => ({ signer, signature: signature(signer) })),
})

export const ROOT = 'ab'.repeat(32)

export const blocks: Block[] = []
for (let i = 0; i < 4; i += 1) {
  const parent = blocks.at(-1) ?? first
  const payload = encodePayload({ root: ROOT, txs: txs.slice(0, i) })
  const round = 2 * i + 1
  blocks.push(makeBlock({ round, height: i + 1, parent: parent.digest, proposer: i, timestampMs: NOW + i, payload }))
}

export const [, , third, last] = blocks as [Block, Block, Block, Block]

const proposals: readonly Proposal[] = [
  {
    block: last,
    parentCertificate: certificate('notarize', 5, third),
    nullifications: [certificate('nullify', 6, third)],
    signature: signature(9),
  },
  { block: blocks[0] as Block, parentCertificate: undefined, nullifications: [], signature: signature(8) },
]

export const messages: readonly Message[] = [
  ...proposals.map((proposal) => ({ kind: 'proposal', proposal }) as const),
  ...(['notarize', 'nullify', 'finalize'] as const).flatMap((kind) => [
    { kind: 'certificate', certificate: certificate(kind, 5, third) } as const,
    {
      kind: 'vote',
      vote: { kind, round: 7, digest: kind === 'nullify' ? undefined : last.digest, signer: 2, signature: signature(3) },
    } as const,
  ]),
]

export const records = blocks.map((block, i) => ({
  block,
  certificate: i % 2 === 0 ? certificate('finalize', block.round, block) : undefined,
}))

export const tip = {
  epoch: 0,
  height: 4,
  digest: last.digest,
  certificate: certificate('finalize', last.round, last),
  closing: [],
}
