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

function ring(least: 'none' | 'software' | 'tpm', more = '') {
  const policy = `${POLICY}devices:\n  manufacturers:\n    - { name: acme, key: ${maker.key} }\n  attestation: { least: ${least}, every: 10s${more} }\n`
  return begin(policy, { voucher, quote })
}

type App = ReturnType<typeof ring>
type State = ReturnType<App['initial']>
const keys: Record<string, KeyObject> = {
  ...Object.fromEntries((['ada', 'n1', 'n2'] as const).map((name) => [name, keyOf(name)])),
  d1: own.privateKey,
}
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
function joined(least: 'none' | 'software' | 'tpm', ek: string | null = null, more = ''): readonly [App, State] {
  const app = ring(least, more)
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

/** Blocks in which nobody says anything, the last of them then. */
function idle(app: App, state: State, fromMs: number, toMs: number): State {
  let next = state
  for (let at = fromMs + 5_000; at < toMs; at += 5_000) next = step(app, next, at)
  return step(app, next, toMs)
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
  const before = idle(app, trusted, NOW + 1_000, NOW + 1_000 + 3 * EVERY - 1)
  assert.notEqual(before.node('d1'), undefined)
  const after = step(app, before, NOW + 1_000 + 3 * EVERY)
  assert.equal(after.node('d1'), undefined)
  assert.deepEqual(outcome(after), ['ATTESTATION_LATE'])
  assert.equal(after.enrolment.device('AC-1')?.status, 'expelled')
  const never = idle(app, begun, NOW + 100, NOW + 100 + 60_000)
  assert.deepEqual(outcome(never), ['ATTESTATION_LATE'], 'also one that never said anything')
})

test('each tampering puts the node out by its own word, at once', () => {
  const [app, begun] = joined('software')
  const trusted = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const cases: readonly (readonly [string, Partial<QuoteBody>])[] = [
    ['PROGRAM_CHANGED', { measured: { configuration: hash('c'), program: hash('e') } }],
    ['CONFIGURATION_CHANGED', { measured: { configuration: hash('e'), program: hash('d') } }],
    ['DEBUGGER_ATTACHED', { alarm: 'debugger' }],
    ['CLOCK_ROLLBACK', { alarm: 'clock' }],
    ['CASE_OPENED', { alarm: 'case' }],
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
    scope: 'all',
    withinMs: 0,
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
  const foreign = step(app, enrolled, NOW + 2_000, by(enrolled, NOW + 2_000, evidence(enrolled, hash('1'), 1, 'other')))
  assert.deepEqual(outcome(foreign), ['TPM_CHANGED'], 'the node’s key in a machine with another TPM')
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

const sayAs = (app: App, state: State, node: string, atMs: number, changes: Partial<QuoteBody> = {}): Uint8Array =>
  tx(app, `node:${node}`, quoted(state, { boot: node.replace(/[^a-f0-9]/g, '').padEnd(16, '0'), ...changes }), atMs)
const denial = { type: 'deny.add', subject: { kind: 'ip', value: '203.0.113.7' }, ttlMs: 60_000, reason: 'scans' } as const

test('with nodes: all validators attest, too, and one that is late is out, but never so many that most are', () => {
  const [app, begun] = joined('software', null, ', nodes: all')
  const three = newKey()
  keys.n3 = three.privateKey
  const node: RingNode = { address: '10.0.0.8:7081', id: 'n3', publicKey: three.key, region: 'eu', roles: ['validator'] }
  const grown = step(app, begun, NOW + 200, tx(app, 'operator:ada', { type: 'node.add', node, reason: 'r' }, NOW + 200))
  const whole = step(app, grown, NOW + 300)
  const ids = whole.nodes.map(({ id }) => id)
  assert.deepEqual(
    whole.enrolment.trust.nodes.map(({ node }) => node),
    [...ids].sort(),
  )
  let state = whole
  const others = ids.filter((id) => id !== 'n2')
  for (let at = NOW + 5_000; at <= NOW + 65_000; at += 5_000)
    state = step(app, state, at, ...others.map((id) => sayAs(app, state, id, at)))
  assert.equal(outcome(state).includes('ATTESTATION_LATE'), true)
  const left = state.validators.length
  assert.equal(left, 2)
  state = idle(app, state, NOW + 65_000, NOW + 200_000)
  assert.equal(state.validators.length, left, 'nobody of the others says anything: something else is wrong')
})

test('a ring that stood still puts nobody out for that, and believes nobody until it attests', () => {
  const [app, begun] = joined('software', null, ', nodes: all')
  const at = NOW + 1_000
  const trusted = step(app, begun, at, sayAs(app, begun, 'n1', at), sayAs(app, begun, 'd1', at))
  const later = step(app, trusted, NOW + 3_600_000)
  assert.deepEqual(outcome(later), [])
  const word = tx(app, 'node:n1', denial, NOW + 3_600_500)
  assert.equal(codeOf(app, later, word, NOW + 3_600_500), 'TRUST_LAPSED')
  const back = step(app, later, NOW + 3_601_000, sayAs(app, later, 'n1', NOW + 3_601_000))
  assert.equal(codeOf(app, back, word, NOW + 3_601_000), 'ok')
  const out = idle(app, back, NOW + 3_601_000, NOW + 3_661_000)
  assert.equal(out.node('d1'), undefined, 'who had its minute and said nothing is late')
})

test('one that may be absent comes back by attesting, and is out once it was away for longer', () => {
  const [app, begun] = joined('software', null, ', absence: 10m')
  const first = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const state = idle(app, first, NOW + 1_000, NOW + 600_000)
  assert.notEqual(state.node('d1'), undefined)
  assert.equal(codeOf(app, state, tx(app, 'node:d1', denial, NOW + 600_000), NOW + 600_000), 'TRUST_LAPSED')
  const back = step(app, state, NOW + 600_000, say(app, state, NOW + 600_000))
  assert.equal(codeOf(app, back, tx(app, 'node:d1', denial, NOW + 600_500), NOW + 600_500), 'ok')
  const still = idle(app, back, NOW + 600_000, NOW + 600_000 + 3 * EVERY + 599_999)
  assert.notEqual(still.node('d1'), undefined)
  const gone = step(app, still, NOW + 600_000 + 3 * EVERY + 600_000)
  assert.deepEqual(outcome(gone), ['ATTESTATION_LATE'])
})

test('a new state is tried out on one node, its region, then all; taken back, who stays in it is out', () => {
  const [app, begun] = joined('software')
  const reference = (scope: string, allowed = true, withinMs = 0) =>
    ({
      type: 'attest.reference',
      allowed,
      digest: hash('e'),
      kind: 'program',
      label: '0.2',
      reason: 'r',
      scope,
      withinMs,
    }) as const
  const by = (state: State, body: TxBody, atMs: number): State => step(app, state, atMs, tx(app, 'operator:ada', body, atMs))
  const code = (state: State, body: TxBody, atMs: number): string => codeOf(app, state, tx(app, 'operator:ada', body, atMs), atMs)
  const upgraded = { measured: { configuration: hash('c'), program: hash('e') } }
  const trusted = step(app, begun, NOW + 1_000, say(app, begun, NOW + 1_000))
  const elsewhere = by(trusted, reference('node:n1'), NOW + 2_000)
  assert.deepEqual(outcome(step(app, elsewhere, NOW + 4_000, say(app, elsewhere, NOW + 4_000, upgraded))), ['PROGRAM_CHANGED'])
  const staged = by(trusted, reference('node:d1'), NOW + 2_000)
  assert.equal(code(staged, reference('region:eu'), NOW + 3_000), 'REFERENCE_UNPROVEN')
  assert.equal(code(staged, reference('node:n1'), NOW + 3_000), 'REFERENCE_NARROWS')
  const one = step(app, staged, NOW + 4_000, say(app, staged, NOW + 4_000, upgraded))
  assert.deepEqual(outcome(one), [])
  const wide = by(one, reference('region:eu'), NOW + 5_000)
  const all = by(wide, reference('all'), NOW + 6_000)
  assert.equal(all.enrolment.trust.references[0]?.scope, 'all')
  const reverting = by(wide, reference('all', false, 10_000), NOW + 6_000)
  const still = step(app, reverting, NOW + 8_000, say(app, reverting, NOW + 8_000, upgraded))
  assert.deepEqual(outcome(still), [], 'it has ten seconds to go back')
  const back = step(app, still, NOW + 12_000, say(app, still, NOW + 12_000))
  assert.deepEqual(outcome(back), [], 'what it was held to before counts again')
  const stayed = step(app, still, NOW + 17_000, say(app, still, NOW + 17_000, upgraded))
  assert.deepEqual(outcome(stayed), ['PROGRAM_CHANGED'])
})

test('operators say which TPM a node has that was added by hand; no two nodes have the same', () => {
  const [app, begun] = joined('tpm', hash('9'), ', nodes: all')
  const bind = (node: string, ek: string) => ({ type: 'attest.bind', ek, node, reason: 'r' }) as const
  const code = (state: State, body: TxBody): string => codeOf(app, state, tx(app, 'operator:ada', body, NOW + 2_000), NOW + 2_000)
  assert.equal(code(begun, bind('n1', hash('9'))), 'EK_KNOWN')
  assert.equal(code(begun, bind('d1', hash('8'))), 'EK_KNOWN')
  assert.equal(code(begun, bind('n99', hash('8'))), 'NODE_UNKNOWN')
  const bound = step(app, begun, NOW + 2_000, tx(app, 'operator:ada', bind('n1', hash('8')), NOW + 2_000))
  assert.deepEqual(bound.enrolment.trust.endorsements, [{ ek: hash('8'), node: 'n1' }])
  assert.equal(code(bound, bind('n2', hash('8'))), 'EK_KNOWN')
  assert.deepEqual(app.restore(Buffer.concat([...app.snapshot(bound)])).enrolment.trust, bound.enrolment.trust)
})
