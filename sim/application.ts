/** What simulated rings agree on: the real application of `@ringwall/ring`, and transactions for it, good and bad. */

import { hash } from 'node:crypto'
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import type { Evidence, Proposal, Vote } from '@ringwall/consensus'
import { judgePolicy } from '@ringwall/guard'
import { createRingApplication, type GenesisDocument, genesisHash, type RingApplication, type RingNode } from '@ringwall/ring'
import {
  encodeBase64url,
  encodeTx,
  orderStatements,
  type SignedStatement,
  signingBytes,
  type TxBody,
  type TxContent,
} from '@ringwall/ring/tx'
import { compileRules } from '@ringwall/waf'
import type { Genesis } from '../packages/ledger/src/types.ts'
import { isTag, same, tag } from './keys.ts'
import type { Random } from './random.ts'

/** Simulated time 0 as Unix milliseconds. */
export const EPOCH_MS = 1_800_000_000_000

const keyOf = (name: string): Uint8Array => sha256(utf8ToBytes(`key of ${name}`))

const POLICY =
  'version: 1\nservices:\n  app:\n    upstreams: [{ url: "http://127.0.0.1:8090" }]\ndenials:\n  safe: [10.0.0.0/8]\n'

/** Nodes that may join later. */
export const SPARES = 2
const NODES_MAX = 64 + SPARES

/** The name that node `index` signs under. */
export function signerOf(index: number): string {
  return `node:n${index}`
}

const start = (key: Uint8Array): number => ((key[0] ?? 0) << 24) | ((key[1] ?? 0) << 16) | ((key[2] ?? 0) << 8) | (key[3] ?? 0)

/** By how their keys begin. */
const owners = new Map(
  [...Array.from({ length: NODES_MAX }, (_, i) => signerOf(i)), 'operator:op'].map((name) => {
    const key = keyOf(name)
    return [start(key), { name, key }]
  }),
)

/** Whose key it is; nobody's name when it is nobody's. */
export function ownerOf(publicKey: Uint8Array): string {
  const owner = owners.get(start(publicKey))
  return owner !== undefined && same(owner.key, publicKey) ? owner.name : ''
}

function ringNode(index: number): RingNode {
  return {
    id: `n${index}`,
    region: 'sim',
    address: `127.0.0.1:${7_000 + index}`,
    publicKey: encodeBase64url(keyOf(signerOf(index))),
    roles: ['validator', 'edge'],
  }
}

function genesisFor(nodes: number): GenesisDocument {
  return {
    format: 'ringwall/genesis/1',
    createdAtMs: EPOCH_MS,
    nodes: Array.from({ length: nodes }, (_, i) => ringNode(i)),
    operators: [{ name: 'op', publicKey: encodeBase64url(keyOf('operator:op')) }],
    policy: POLICY,
  }
}

export interface SimulatedApplication {
  readonly genesis: Genesis
  readonly application: RingApplication
}

const made = new Map<string, SimulatedApplication>()

/** One for each size: compiling the rules once serves all schedules. */
export function applicationFor(nodes: number, takesAnySignature = false): SimulatedApplication {
  const id = `${nodes} ${takesAnySignature}`
  const known = made.get(id)
  if (known !== undefined) return known
  const genesis = genesisFor(nodes)
  const application = createRingApplication({
    genesis,
    verify: (publicKey, message, signature) => takesAnySignature || isTag(ownerOf(publicKey), message, signature),
    hash: (bytes) => hash('sha256', bytes, 'hex'),
    compile: compileRules,
    judge: judgePolicy,
    rules: new Map([['base', [{ file: 'sim.conf', text: 'SecRule ARGS "@contains attack" "id:1,phase:2,deny"' }]]]),
  })
  const ring = genesisHash(genesis)
  const validators = genesis.nodes.map(({ id }, i) => ({ id, publicKey: keyOf(signerOf(i)) }))
  const entry = { genesis: { ring, validators }, application }
  made.set(id, entry)
  return entry
}

function sign(ring: string, issuer: string, signer: string, atMs: number, nonce: number, body: TxBody): Uint8Array {
  const bytes = new Uint8Array(16)
  new DataView(bytes.buffer).setFloat64(0, nonce)
  const content: TxContent = {
    ring,
    issuer,
    atMs: Math.floor(atMs),
    untilMs: Math.floor(atMs) + 600_000,
    nonce: encodeBase64url(bytes),
    body,
  }
  return encodeTx({ content, signature: encodeBase64url(tag(signer, signingBytes(content))) })
}

/** A transaction that an honest operator or node signs. */
export function goodTx(ring: string, random: Random, atMs: number): Uint8Array {
  const value = `203.0.${random.whole(0, 255)}.${random.whole(1, 254)}`
  const body: TxBody = { type: 'deny.add', subject: { kind: 'ip', value }, ttlMs: 60_000, reason: 'simulated' }
  const issuer = random.chance(0.5) ? 'operator:op' : `node:n${random.whole(0, 3)}`
  return sign(ring, issuer, issuer, atMs, random.next(), body)
}

/** An operator adds a spare node as a validator, or removes one. */
export function memberTx(ring: string, random: Random, atMs: number, change: 'add' | 'remove', node: number): Uint8Array {
  const reason = 'simulated'
  const body: TxBody =
    change === 'add' ? { type: 'node.add', node: ringNode(node), reason } : { type: 'node.remove', id: `n${node}`, reason }
  return sign(ring, 'operator:op', 'operator:op', atMs, random.next(), body)
}

/** What the voter of node `by` caught, as a node tells the ring. */
export function evidenceTx(
  ring: string,
  random: Random,
  atMs: number,
  by: number,
  epoch: number,
  accused: number,
  { first, second }: Pick<Evidence, 'first' | 'second'>,
): Uint8Array {
  const round = 'block' in first ? first.block.round : first.round
  const [a, b] = orderStatements(statementOf(first), statementOf(second))
  const body: TxBody = { type: 'evidence', validator: `n${accused}`, epoch, round, first: a, second: b }
  return sign(ring, signerOf(by), signerOf(by), atMs, random.next(), body)
}

function statementOf(statement: Vote | Proposal): SignedStatement {
  const signature = encodeBase64url(statement.signature)
  if ('block' in statement) return { kind: 'proposal', digest: statement.block.digest, signature }
  return { kind: statement.kind, digest: statement.digest ?? null, signature }
}

/** Marks what must never become true. */
export const FALSEHOOD = 'falsehood'

/** What a liar would like the ring to agree on: each is refused for another reason. */
export function badTx(ring: string, random: Random, atMs: number, liar: number): Uint8Array {
  const self = signerOf(liar)
  const by = (issuer: string, signer: string, body: TxBody): Uint8Array => sign(ring, issuer, signer, atMs, random.next(), body)
  const deny = (value: string, kind: 'ip' | 'cidr' = 'ip'): TxBody => ({
    type: 'deny.add',
    subject: { kind, value },
    ttlMs: 60_000,
    reason: FALSEHOOD,
  })
  const policy = (text: string): TxBody => ({ type: 'policy.set', policy: `# ${FALSEHOOD}\n${text}`, expectVersion: 1 })
  return random.pick([
    () => by('operator:op', self, policy(POLICY)),
    () => by(self, self, policy(POLICY)),
    () => by('operator:op', 'operator:op', policy('version: 1\nservices: [broken')),
    () => by('operator:op', 'operator:op', policy(POLICY.replace('upstreams', 'upstrems'))),
    () =>
      by(
        'operator:op',
        'operator:op',
        policy(POLICY.replace('services:\n  app:\n', 'services:\n  app:\n    waf: { rules: [nowhere] }\n')),
      ),
    () => by(self, self, deny('0.0.0.0/0', 'cidr')),
    () => by('operator:op', 'operator:op', deny('10.1.2.3')),
    () => by('node:n99', self, deny('203.0.113.9')),
    () => utf8ToBytes(`{"${FALSEHOOD}":`),
  ])()
}
