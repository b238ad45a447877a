/** A ring with real keys, for this package's tests. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { createCounters, type RuleSet } from '@ringwall/waf'
import { createRingApplication, type RingApplication, type RingApplicationOptions } from './application.ts'
import { parseGenesis } from './genesis.ts'
import type { RuleCompiler } from './policy-compile.ts'
import type { PolicyJudge } from './rehearsal.ts'
import type { RingState } from './state.ts'
import { batchOf, encodeBase64url, encodeTx, signingBytes } from './tx.ts'
import type { GenesisDocument, SignedTx, TxBody, TxContent } from './types.ts'

export const NOW = 1_800_000_000_000

export const POLICY = `version: 1
services:
  shop:
    upstreams:
      - url: http://127.0.0.1:3000
denials:
  safe: [192.0.2.0/24]
  nodePerHour: 3
`

const DER_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const pairs = {
  ada: generateKeyPairSync('ed25519'),
  bob: generateKeyPairSync('ed25519'),
  cy: generateKeyPairSync('ed25519'),
  n1: generateKeyPairSync('ed25519'),
  n2: generateKeyPairSync('ed25519'),
}

export function keyOf(name: keyof typeof pairs): KeyObject {
  return pairs[name].privateKey
}

function rawKey(key: KeyObject): string {
  return encodeBase64url(new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-32)))
}

/** Refuses rules whose text holds `broken`. */
export const compile: RuleCompiler = (sources) => {
  if (sources.some(({ text }) => text.includes('broken'))) throw new Error('line 1: no such operator')
  const none: RuleSet = {
    ruleCount: 0,
    rules: [],
    all: [],
    leftOut: [],
    counters: createCounters(0),
    describe: () => undefined,
    begin: () => {
      throw new Error('no request runs in these tests')
    },
    rehearse: () => {
      let work = sources.some(({ text }) => text.includes('heavy')) ? 1_000_000 : 10
      if (sources.some(({ text }) => text.includes('crash'))) throw new Error('rule crashed')
      const verdict = { blocked: false, status: 403, score: 0, matches: [] }
      return {
        get work() {
          return work
        },
        audit: { engine: undefined, parts: undefined, wanted: false, isRelevant: undefined, ruleEngine: 'On', components: [] },
        requestHead: () => verdict,
        requestBody: (body) => {
          work += body.length
          return verdict
        },
        requestBodyInSlices: () => () => verdict,
        responseHead: () => verdict,
        inspectsResponses: false,
        responseBytesWanted: 0,
        responseBody: () => verdict,
        log: () => verdict,
      }
    },
    examine: () => ({ ...none.rehearse(), findings: [] }),
    excluding: () => none,
  }
  return none
}

export const rules = new Map([
  ['base', [{ file: 'base.conf', text: '' }]],
  ['bad', [{ file: 'bad.conf', text: 'broken' }]],
  ['heavy', [{ file: 'heavy.conf', text: 'heavy' }]],
  ['crash', [{ file: 'crash.conf', text: 'crash' }]],
])

/** Denies sources under 203.0.113; `/crash` throws, `/heavy` is much work. */
export const judge: PolicyJudge = () => (request) => {
  if (request.target === '/crash') throw new Error('the guard failed')
  const denied = request.remoteAddress.startsWith('203.0.113.')
  return {
    outcome: denied ? 'deny' : 'allow',
    status: denied ? 403 : 200,
    check: denied ? 'waf' : 'none',
    rule: denied ? 'rule:7' : undefined,
    ruleIds: denied ? [7] : [],
    reason: denied ? 'bad source' : 'nothing objected',
    work: request.target === '/heavy' ? 30_000_000 : 10,
  }
}

export const genesis = parseGenesis(
  JSON.stringify({
    format: 'ringwall/genesis/1',
    createdAtMs: NOW - 1_000,
    nodes: [
      { id: 'n1', region: 'eu', address: '127.0.0.1:1', publicKey: rawKey(pairs.n1.publicKey), roles: ['validator', 'edge'] },
      { id: 'n2', region: 'us', address: '127.0.0.1:2', publicKey: rawKey(pairs.n2.publicKey), roles: ['validator'] },
    ],
    operators: (['ada', 'bob', 'cy'] as const).map((name) => ({ name, publicKey: rawKey(pairs[name].publicKey) })),
    policy: POLICY,
  }),
)

export function begin(
  policy: string = POLICY,
  more: Pick<RingApplicationOptions, 'hash' | 'voucher' | 'quote'> = {},
  of: GenesisDocument = genesis,
): RingApplication {
  return createRingApplication({
    ...more,
    genesis: { ...of, policy },
    compile,
    rules,
    judge,
    verify: (key, message, signature) =>
      verify(null, message, { key: Buffer.concat([DER_PREFIX, key]), format: 'der', type: 'spki' }, signature),
  })
}

let nonces = 0

/** Signed by the issuer's key unless `by` says another. */
export function signed(
  ring: string,
  issuer: `operator:${'ada' | 'bob' | 'cy'}` | 'node:n1' | 'node:n2',
  body: TxBody,
  changes: Partial<TxContent> = {},
  by: keyof typeof pairs = issuer.split(':')[1] as keyof typeof pairs,
): SignedTx {
  nonces += 1
  const nonce = new Uint8Array(16)
  new DataView(nonce.buffer).setUint32(0, nonces)
  const content: TxContent = { ring, issuer, atMs: NOW, untilMs: NOW + 60_000, nonce: encodeBase64url(nonce), body, ...changes }
  return { content, signature: encodeBase64url(new Uint8Array(sign(null, signingBytes(content), pairs[by].privateKey))) }
}

/** The same statements under one signature of their issuer. */
export function together(txs: readonly SignedTx[], by: keyof typeof pairs): readonly SignedTx[] {
  const { message, signatures } = batchOf(txs.map(({ content }) => signingBytes(content)))
  const each = signatures(new Uint8Array(sign(null, message, pairs[by].privateKey)))
  return txs.map(({ content }, at) => ({ content, signature: encodeBase64url(each[at] as Uint8Array) }))
}

export function signedBytes(...args: Parameters<typeof signed>): Uint8Array {
  return encodeTx(signed(...args))
}

/**
 * One block. What a leader prepares and what the others execute is the same, and so is what a snapshot brings back: with every second height
 * things go on from that.
 */
export function executeAgreed(
  app: RingApplication,
  state: RingState,
  txs: readonly Uint8Array[],
  context: Parameters<RingApplication['execute']>[2],
): RingState {
  const chosen = app.prepare(state, txs, context, 1_000_000)
  assert.equal(chosen.length, txs.length, 'the leader takes what was given')
  const own = app.execute(state, chosen, context)
  const other = app.execute(state, [...txs], context)
  assert.ok(own.ok && other.ok, JSON.stringify([own, other]))
  assert.equal(app.root(own.state), app.root(other.state))
  const restored = app.restore(Buffer.concat([...app.snapshot(other.state)]))
  assert.equal(app.root(restored), app.root(other.state))
  return context.height % 2 === 0 ? restored : own.state
}
