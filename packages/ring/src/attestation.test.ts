import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import { quoteNonce, recordOf, verdictBytes } from './attestation.ts'
import type { AttestationStatement, QuoteReader, TpmEvidence } from './attestation-statements.ts'
import { deviceJoinBytes, type VoucherFacts, type VoucherReader } from './enrolment-statements.ts'
import { begin, executeAgreed, genesis, keyOf, NOW, POLICY } from './test-ring.ts'
import { encodeBase64url, encodeTx, signingBytes } from './tx.ts'
import type { RingNode, TxBody, TxContent } from './types.ts'

const EVERY = 10_000

function newKey(): { readonly privateKey: KeyObject; readonly key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, key: encodeBase64url(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)) }
}

const [maker, device, own] = [newKey(), newKey(), newKey()]
const voucher: VoucherReader = (text) => ({ ok: true, voucher: JSON.parse(text) as VoucherFacts })
/** Quotes here are `KEY NONCE PCRS CLOCK` in base64url: what TPMs make of them is the business of `@ringwall/enroll`. */
const quote: QuoteReader = (tpm, ak, nonce) => {
  const [key, over, pcrs, clock] = Buffer.from(tpm.quote, 'base64url').toString().split(' ') as [string, string, string, string]
  if (key !== ak) return { ok: false, code: 'QUOTE_SIGNATURE', reason: 'another key' }
  if (over !== nonce) return { ok: false, code: 'QUOTE_NONCE', reason: 'another nonce' }
  return { ok: true, pcrs, clock: { resetCount: 1, clockMs: Number(clock) } }
}
const hash = (digit: string): string => digit.repeat(64)

function ring(least: 'none' | 'software' | 'tpm') {
  const policy = `${POLICY}devices:\n  manufacturers:\n    - { name: acme, key: ${maker.key} }\n  attestation: { least: ${least}, every: 10s }\n`
  return begin(policy, { voucher, quote })
}

type App = ReturnType<typeof ring>
type State = ReturnType<App['initial']>
const keys: Record<string, KeyObject> = { ada: keyOf('ada'), n1: keyOf('n1'), n2: keyOf('n2'), d1: own.privateKey }
let nonces = 0

function tx(app: App, issuer: string, body: TxBody, atMs: number): Uint8Array {
  nonces += 1
  const nonce = Buffer.alloc(16)
  nonce.writeUInt32BE(nonces)
  const content: TxContent = { ring: app.ring, issuer, atMs, untilMs: atMs + 60_000, nonce: encodeBase64url(nonce), body }
  const key = keys[issuer.split(':')[1] as string] as KeyObject
  return encodeTx({ content, signature: encodeBase64url(new Uint8Array(sign(null, signingBytes(content), key))) })
}

const codeOf = (app: App, state: State, bytes: Uint8Array, nowMs: number): string => {
  const result = app.check(state, bytes, nowMs)
  return result.ok ? 'ok' : result.code
}

/** A ring in which a device has joined as d1, at NOW. */
function joined(least: 'none' | 'software' | 'tpm', ek: string | null = null): readonly [App, State] {
  const app = ring(least)
  const facts = {
    serial: 'AC-1',
    key: device.key,
    manufacturer: maker.key,
    owner: genesis.operators[0]!.publicKey,
    ring: app.ring,
  }
  const text = JSON.stringify({ ...facts, expiresAtMs: null, ek, entries: [hash('a')] })
  const register = { type: 'device.register', reason: 'new', region: null, roles: ['edge'], voucher: text } as const
  const node: RingNode = { address: '10.0.0.9:7081', id: 'd1', publicKey: own.key, region: 'eu', roles: ['edge'] }
  const bytes = deviceJoinBytes(app.ring, { atMs: NOW, head: hash('a'), node, serial: 'AC-1' })
  const by = (key: KeyObject): string => encodeBase64url(new Uint8Array(sign(null, bytes, key)))
  const proofs = { own: by(own.privateKey), proof: by(device.privateKey) }
  const join = { type: 'device.join', atMs: NOW, head: hash('a'), node, serial: 'AC-1', ...proofs } as const
  const txs = [tx(app, 'operator:ada', register, NOW), tx(app, 'node:n1', join, NOW)]
  const state = executeAgreed(app, app.initial(), txs, { height: 1, timestampMs: NOW, proposer: 'n1' })
  return [app, step(app, state, NOW + 100)]
}

let height = 1
/** A block at that time. */
function step(app: App, state: State, atMs: number, ...txs: readonly Uint8Array[]): State {
  height += 1
  return executeAgreed(app, state, txs, { height, timestampMs: atMs, proposer: 'n1' })
}

type QuoteBody = Extract<AttestationStatement, { type: 'attest.quote' }>
function quoted(state: State, changes: Partial<QuoteBody> = {}): TxBody {
  const beacon = state.enrolment.trust.beacons.at(-1)!.value
  const measured = { configuration: hash('c'), program: hash('d') }
  return { type: 'attest.quote', alarm: null, beacon, boot: 'aaaaaaaaaaaaaaaa', measured, tpm: null, ...changes }
}
const say = (app: App, state: State, atMs: number, changes: Partial<QuoteBody> = {}): Uint8Array =>
  tx(app, 'node:d1', quoted(state, changes), atMs)
const outcome = (state: State) => state.enrolment.trust.expelled.map(({ code }) => code)

test('no fresh quote, no trust: a node is stale after two intervals and out after three, by the time of blocks alone', () => {
  const [app, begun] = joined('software')
  const trusted = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const record = recordOf(trusted.enrolment.trust, 'd1')
  assert.deepEqual(
    [record?.kind, record?.staleAtMs, record?.untilMs],
    ['software', NOW + 1_000 + 2 * EVERY, NOW + 1_000 + 3 * EVERY],
  )
  const before = step(app, trusted, NOW + 1_000 + 3 * EVERY - 1)
  assert.notEqual(before.node('d1'), undefined)
  const after = step(app, before, NOW + 1_000 + 3 * EVERY)
  assert.equal(after.node('d1'), undefined)
  assert.deepEqual(outcome(after), ['ATTESTATION_LATE'])
  assert.equal(after.enrolment.device('AC-1')?.status, 'expelled')
  const never = step(app, begun, NOW + 100 + 3 * EVERY)
  assert.deepEqual(outcome(never), ['ATTESTATION_LATE'], 'also one that never said anything')
})

test('each tampering puts the node out by its own word, at once', () => {
  const [app, begun] = joined('software')
  const trusted = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const cases: readonly (readonly [string, Partial<QuoteBody>])[] = [
    ['PROGRAM_CHANGED', { measured: { configuration: hash('c'), program: hash('e') } }],
    ['CONFIGURATION_CHANGED', { measured: { configuration: hash('e'), program: hash('d') } }],
    ['TAMPER_ALARM', { alarm: 'debugger' }],
    ['TAMPER_ALARM', { alarm: 'clock' }],
  ]
  for (const [code, changes] of cases) {
    const after = step(app, trusted, NOW + 4_000, say(app, trusted, NOW + 4_000, changes))
    assert.equal(after.node('d1'), undefined)
    assert.deepEqual(outcome(after), [code])
    assert.equal(codeOf(app, after, say(app, trusted, NOW + 5_000), NOW + 5_000), 'ISSUER_UNKNOWN', 'its key is dead')
  }
})

test('a copy is found when it and the original speak in turn; a restart is none', () => {
  const [app, begun] = joined('software')
  const first = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const late = say(app, first, NOW + 2_900)
  const second = step(app, first, NOW + 4_000, say(app, first, NOW + 3_000, { boot: 'bbbbbbbbbbbbbbbb' }))
  const third = step(app, second, NOW + 6_000, late)
  assert.notEqual(third.node('d1'), undefined, 'signed before the restart, agreed on after it')
  const clone = step(app, second, NOW + 6_000, say(app, second, NOW + 6_000))
  assert.deepEqual(outcome(clone), ['CLONED'])
})

test('a clock that goes back is found out', () => {
  const [app, begun] = joined('software')
  const first = step(app, begun, NOW + 40_000 - 20_000, say(app, begun, NOW + 20_000))
  const back = step(app, first, NOW + 45_000, say(app, first, NOW - 11_000 + 60_000 - 60_000))
  assert.deepEqual(outcome(back), ['CLOCK_ROLLBACK'])
})

test('quotes that are old, early, of nobody, or that nobody asked for change nothing', () => {
  const [app, begun] = joined('software')
  const first = say(app, begun, NOW + 1_000)
  const trusted = step(app, begun, NOW + 1_000, first)
  assert.equal(codeOf(app, trusted, first, NOW + 1_000), 'TX_REPLAYED')
  assert.equal(codeOf(app, trusted, say(app, trusted, NOW + 1_500), NOW + 1_500), 'ATTESTATION_EARLY')
  let later = trusted
  const old = quoted(trusted)
  for (let at = 1; at <= 5; at += 1) later = step(app, later, NOW + 1_000 + at * 5_000)
  assert.equal(codeOf(app, later, tx(app, 'node:d1', old, NOW + 27_000), NOW + 27_000), 'BEACON_OLD')
  assert.equal(codeOf(app, trusted, tx(app, 'node:n1', quoted(trusted), NOW + 3_000), NOW + 3_000), 'ATTESTATION_OFF')
  assert.equal(codeOf(app, trusted, tx(app, 'operator:ada', quoted(trusted), NOW + 3_000), NOW + 3_000), 'NOT_ENTITLED')
  const [off, none] = joined('none')
  assert.deepEqual(none.enrolment.trust.beacons, [])
  assert.equal(codeOf(off, none, tx(off, 'node:d1', quoted(trusted), NOW + 3_000), NOW + 3_000), 'ATTESTATION_OFF')
})

test('reference values say which programs may be; an operator accepts a change; without either the first stays', () => {
  const [app, begun] = joined('software')
  const allow = {
    type: 'attest.reference',
    allowed: true,
    digest: hash('e'),
    kind: 'program',
    label: '0.2',
    reason: 'release',
  } as const
  const trusted = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const program = { measured: { configuration: hash('c'), program: hash('e') } }
  const allowed = step(app, trusted, NOW + 2_000, tx(app, 'operator:ada', allow, NOW + 2_000))
  const upgraded = step(app, allowed, NOW + 4_000, say(app, allowed, NOW + 4_000, program))
  assert.equal(recordOf(upgraded.enrolment.trust, 'd1')?.program, hash('e'))
  const back = step(app, upgraded, NOW + 7_000, say(app, upgraded, NOW + 7_000))
  assert.deepEqual(outcome(back), ['PROGRAM_CHANGED'], 'with references, only what they name')
  const accepting = { type: 'attest.accept', node: 'd1', reason: 'new listener' } as const
  const accepted = step(app, trusted, NOW + 2_000, tx(app, 'operator:ada', accepting, NOW + 2_000))
  const changed = { measured: { configuration: hash('f'), program: hash('f') } }
  const after = step(app, accepted, NOW + 4_000, say(app, accepted, NOW + 4_000, changed))
  assert.equal(recordOf(after.enrolment.trust, 'd1')?.configuration, hash('f'))
  const out = step(app, trusted, NOW + 4_000, say(app, trusted, NOW + 4_000, changed))
  const again = step(app, out, NOW + 5_000, tx(app, 'operator:ada', accepting, NOW + 5_000))
  assert.equal(again.enrolment.device('AC-1')?.status, 'registered', 'one that was put out may come back')
})

test('an attestation key takes as many validators as agree on blocks: one that lies admits nobody', () => {
  const ek = hash('9')
  const [app, begun] = joined('tpm', ek)
  const ak = 'QUs'
  const verdict = (node: 'n1' | 'n2', of = ak): { node: string; signature: string } => {
    const signature = new Uint8Array(sign(null, verdictBytes(app.ring, 'd1', of, ek), keyOf(node)))
    return { node, signature: encodeBase64url(signature) }
  }
  const enrol = (...verdicts: { node: string; signature: string }[]): Uint8Array =>
    tx(app, 'node:d1', { type: 'attest.enrol', ak, verdicts }, NOW + 1_000)
  assert.equal(codeOf(app, begun, enrol(verdict('n1')), NOW + 1_000), 'VERDICTS_SHORT')
  assert.equal(codeOf(app, begun, enrol(verdict('n1'), verdict('n1')), NOW + 1_000), 'VERDICTS_SHORT', 'twice the same')
  assert.equal(codeOf(app, begun, enrol(verdict('n1'), verdict('n2', 'QUt')), NOW + 1_000), 'VERDICTS_SHORT', 'of another key')
  const enrolled = step(app, begun, NOW + 1_000, enrol(verdict('n1'), verdict('n2')))
  assert.equal(codeOf(app, enrolled, enrol(verdict('n1'), verdict('n2')), NOW + 1_000), 'AK_KNOWN')

  const evidence = (state: State, pcrs: string, clock: number, key = ak, nonce?: string): TpmEvidence => {
    const { beacon, boot, measured } = quoted(state) as QuoteBody
    const over = nonce ?? quoteNonceOf(app, { beacon, boot, measured })
    return { log: '', pcrs: [], quote: Buffer.from(`${key} ${over} ${pcrs} ${clock}`).toString('base64url'), signature: 'AA' }
  }
  const by = (state: State, atMs: number, tpm: TpmEvidence): Uint8Array => say(app, state, atMs, { tpm })
  assert.equal(codeOf(app, enrolled, say(app, enrolled, NOW + 2_000), NOW + 2_000), 'ATTESTATION_TOO_WEAK')
  assert.equal(codeOf(app, begun, by(begun, NOW + 500, evidence(begun, hash('1'), 1)), NOW + 500), 'AK_UNKNOWN')
  assert.equal(
    codeOf(app, enrolled, by(enrolled, NOW + 2_000, evidence(enrolled, hash('1'), 1, 'other')), NOW + 2_000),
    'QUOTE_SIGNATURE',
  )
  assert.equal(
    codeOf(app, enrolled, by(enrolled, NOW + 2_000, evidence(enrolled, hash('1'), 1, ak, hash('0'))), NOW + 2_000),
    'QUOTE_NONCE',
  )
  const trusted = step(app, enrolled, NOW + 2_000, by(enrolled, NOW + 2_000, evidence(enrolled, hash('1'), 5)))
  assert.equal(recordOf(trusted.enrolment.trust, 'd1')?.kind, 'tpm')
  const again = by(trusted, NOW + 5_000, evidence(trusted, hash('1'), 5))
  assert.equal(codeOf(app, trusted, again, NOW + 5_000), 'QUOTE_CLOCK', 'the same quote in another transaction')
  const changed = step(app, trusted, NOW + 5_000, by(trusted, NOW + 5_000, evidence(trusted, hash('2'), 9)))
  assert.deepEqual(outcome(changed), ['PCRS_CHANGED'])
})

function quoteNonceOf(app: App, said: Pick<QuoteBody, 'beacon' | 'boot' | 'measured'>): string {
  return quoteNonce({ ring: app.ring, node: 'd1', ...said })
}
