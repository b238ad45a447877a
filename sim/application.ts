/** What simulated rings agree on: the real application of `@ringwall/ring`, and transactions for it, good and bad. */

import { hash } from 'node:crypto'
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { type Block, genesisBlock } from '@ringwall/consensus'
import { judgePolicy } from '@ringwall/guard'
import { createRingApplication, type GenesisDocument, genesisHash, type RingApplication } from '@ringwall/ring'
import { encodeBase64url, encodeTx, signingBytes, type TxBody, type TxContent } from '@ringwall/ring/tx'
import { compileRules } from '@ringwall/waf'
import { same, tag } from './keys.ts'
import type { Random } from './random.ts'

/** Simulated time 0 as Unix milliseconds. */
export const EPOCH_MS = 1_800_000_000_000

const keyOf = (name: string): Uint8Array => sha256(utf8ToBytes(`key of ${name}`))

const POLICY =
  'version: 1\nservices:\n  app:\n    upstreams: [{ url: "http://127.0.0.1:8090" }]\ndenials:\n  safe: [10.0.0.0/8]\n'

/** As long as an Ed25519 signature, and like one different from others in all its parts: what is remembered goes by its end. */
function signatureOf(signer: string, message: Uint8Array): Uint8Array {
  const signature = new Uint8Array(64)
  const part = tag(signer, message)
  for (let at = 0; at < signature.length; at += part.length) signature.set(part, at)
  return signature
}

function genesisFor(nodes: number): GenesisDocument {
  return {
    format: 'ringwall/genesis/1',
    createdAtMs: EPOCH_MS,
    nodes: Array.from({ length: nodes }, (_, i) => ({
      id: `n${i}`,
      region: 'sim',
      address: `127.0.0.1:${7_000 + i}`,
      publicKey: encodeBase64url(keyOf(`node:n${i}`)),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'op', publicKey: encodeBase64url(keyOf('operator:op')) }],
    policy: POLICY,
  }
}

export interface SimulatedApplication {
  readonly ring: string
  readonly genesis: Block
  readonly application: RingApplication
}

const made = new Map<string, SimulatedApplication>()

/** One for each size: compiling the rules once serves all schedules. */
export function applicationFor(nodes: number, takesAnySignature = false): SimulatedApplication {
  const id = `${nodes} ${takesAnySignature}`
  const known = made.get(id)
  if (known !== undefined) return known
  const genesis = genesisFor(nodes)
  const names = [...genesis.nodes.map(({ id }) => `node:${id}`), 'operator:op']
  const byKey = new Map(names.map((name) => [encodeBase64url(keyOf(name)), name]))
  const application = createRingApplication({
    genesis,
    verify: (publicKey, message, signature) => {
      if (takesAnySignature) return true
      const name = byKey.get(Buffer.from(publicKey).toString('base64url'))
      return name !== undefined && same(signatureOf(name, message), signature)
    },
    hash: (bytes) => hash('sha256', bytes, 'hex'),
    compile: compileRules,
    judge: judgePolicy,
    rules: new Map([['base', [{ file: 'sim.conf', text: 'SecRule ARGS "@contains attack" "id:1,phase:2,deny"' }]]]),
  })
  const ring = genesisHash(genesis)
  const entry = { ring, genesis: genesisBlock(ring), application }
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
  return encodeTx({ content, signature: encodeBase64url(signatureOf(signer, signingBytes(content))) })
}

/** A transaction that an honest operator or node signs. */
export function goodTx(ring: string, random: Random, atMs: number): Uint8Array {
  const value = `203.0.${random.whole(0, 255)}.${random.whole(1, 254)}`
  const body: TxBody = { type: 'deny.add', subject: { kind: 'ip', value }, ttlMs: 60_000, reason: 'simulated' }
  const issuer = random.chance(0.5) ? 'operator:op' : `node:n${random.whole(0, 3)}`
  return sign(ring, issuer, issuer, atMs, random.next(), body)
}

/** Marks what must never become true. */
export const FALSEHOOD = 'falsehood'

/** What a liar would like the ring to agree on: each is refused for another reason. */
export function badTx(ring: string, random: Random, atMs: number, liar: number): Uint8Array {
  const self = `node:n${liar}`
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
