import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { TX_LIFETIME_MS_MAX, TX_SKEW_MS_MAX } from './application.ts'
import { canonicalJson } from './canonical-json.ts'
import { GenesisInvalid, SnapshotInvalid } from './errors.ts'
import { encodeGenesis, genesisHash, parseGenesis } from './genesis.ts'
import { POLICY_BYTES_MAX } from './meaning.ts'
import { DENIALS_MAX, type RingState } from './state.ts'
import { begin, genesis, NOW, POLICY, signed, signedBytes, together } from './test-ring.ts'
import { decodeBase64url, encodeBase64url, encodeTx, subjectId } from './tx.ts'
import type { DenialSubject, SignedTx, TxBody, TxContent } from './types.ts'

const app = begin()
const { ring } = app
const context = { height: 1, timestampMs: NOW, proposer: 'n1' }

function run(state: RingState, txs: readonly Uint8Array[], timestampMs = NOW, height = 1): RingState {
  const result = app.execute(state, txs, { ...context, timestampMs, height })
  assert.ok(result.ok, JSON.stringify(result))
  return result.state
}

function codeOf(state: RingState, tx: Uint8Array, nowMs = NOW): string {
  const result = app.check(state, tx, nowMs)
  return result.ok ? 'ok' : result.code
}

const ip = (value: string): DenialSubject => ({ kind: 'ip', value })
const deny = (subject: DenialSubject, ttlMs = 60_000, reason = 'test'): TxBody => ({ type: 'deny.add', subject, ttlMs, reason })
const setPolicy = (policy: string, expectVersion = 1): TxBody => ({ type: 'policy.set', policy, expectVersion })
const remove = (id: string): TxBody => ({ type: 'deny.remove', id, reason: 'over' })
const denied = run(app.initial(), [signedBytes(ring, 'operator:ada', deny(ip('10.0.0.9')))])
const ACCOUNT: DenialSubject = { kind: 'account', service: 'shop', value: '0'.repeat(32) }

const MOMENT = new Date(NOW - 1).toISOString()
const REVOCATIONS: readonly DenialSubject[] = [
  { kind: 'token', value: 'x' },
  { kind: 'session', value: 'x' },
  { kind: 'session', value: 'x', issuer: 'https://id.example' },
  { kind: 'device', value: 'x' },
  { kind: 'key', value: 'A'.repeat(43) },
  { kind: 'issuer', value: 'https://id.example' },
  { kind: 'issued-before', value: MOMENT },
  { kind: 'issued-before', value: MOMENT, subject: 'alice' },
  { kind: 'issued-before', value: MOMENT, issuer: 'https://id.example', subject: 'alice' },
]

test('revocations of every kind go through a snapshot with one root, and are found again', () => {
  const trusting = begin(`${POLICY}issuers: [{ issuer: "https://id.example", audience: shop, jwks: { keys: [{ kty: OKP }] } }]\n`)
  const txs = REVOCATIONS.map((subject) => signedBytes(trusting.ring, 'operator:ada', deny(subject)))
  const result = trusting.execute(trusting.initial(), txs, context)
  assert.ok(result.ok, JSON.stringify(result))
  const { state } = result
  assert.equal(state.denials.size, REVOCATIONS.length)
  const pieces = [...trusting.snapshot(state)]
  const restored = trusting.restore(Buffer.concat(pieces))
  assert.equal(trusting.root(restored), trusting.root(state))
  const others = { issuer: 'https://id.example', issuedAtMs: NOW }
  assert.equal(restored.denials.matchCredential({ ...others, issuer: 'https://b.example' }, NOW), undefined)
  for (const token of [{ sessionId: 'x' }, { deviceId: 'x' }, { keys: ['A'.repeat(43)] }, { tokenId: 'x' }])
    assert.ok(restored.denials.matchCredential({ ...others, issuer: 'https://b.example', ...token }, NOW))
  assert.ok(restored.denials.matchCredential(others, NOW))
  const later = trusting.execute(state, [], { ...context, height: 2, timestampMs: NOW + 60_001 })
  assert.ok(later.ok)
  assert.equal(later.state.denials.size, 0, 'what is over is swept from the index, too')
})

test('a block of addresses and tokens: each is found, whatever came before or after it', () => {
  const subjects: readonly DenialSubject[] = [
    ip('10.0.0.1'),
    { kind: 'token', value: 'a' },
    ip('10.0.0.2'),
    ip('2001:db8::1'),
    { kind: 'session', value: 'b' },
    ip('10.0.0.3'),
    ip('2001:db8::2'),
    ACCOUNT,
  ]
  const first = run(
    app.initial(),
    subjects.map((subject) => signedBytes(ring, 'operator:ada', deny(subject))),
  )
  const second = run(first, [signedBytes(ring, 'operator:ada', deny(ip('10.0.0.4')))], NOW, 2)
  for (const { denials } of [first, second]) {
    for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3', '2001:db8::1', '2001:db8::2'])
      assert.ok(denials.matchAddress(address, NOW), address)
    assert.ok(denials.matchCredential({ issuer: 'i', tokenId: 'a' }, NOW))
    assert.ok(denials.matchCredential({ issuer: 'i', sessionId: 'b' }, NOW))
    assert.ok(denials.matchAccount('shop', ACCOUNT.value, NOW))
  }
  assert.deepEqual([first.denials.size, second.denials.size], [subjects.length, subjects.length + 1])
  assert.equal(first.denials.matchAddress('10.0.0.4', NOW), undefined)
})

test('the moment of issued-before only ever grows, and one denial of a scope stands', () => {
  const before = (ms: number, ttlMs: number, atMs = NOW): Uint8Array => {
    const subject: DenialSubject = { kind: 'issued-before', value: new Date(ms).toISOString(), subject: 'alice' }
    return signedBytes(ring, 'operator:ada', deny(subject, ttlMs), { atMs })
  }
  const [wide, late] = [before(NOW - 9_000, 60_000), before(NOW - 1_000, 30_000, NOW - 500)]
  for (const order of [
    [wide, late],
    [late, wide],
  ]) {
    const { denials } = run(app.initial(), order)
    assert.equal(denials.size, 1)
    const [standing] = denials.list(NOW)
    assert.deepEqual([standing?.subject.value, standing?.expiresAtMs], [new Date(NOW - 1_000).toISOString(), NOW + 60_000])
    const of = (issuedAtMs: number) => denials.matchCredential({ issuer: 'i', subject: 'alice', issuedAtMs }, NOW) !== undefined
    assert.deepEqual([of(NOW - 1_001), of(NOW - 1_000)], [true, false])
  }
})

test('authority: who may propose what', () => {
  const cases: readonly (readonly ['operator:ada' | 'node:n1', TxBody, string])[] = [
    ['operator:ada', setPolicy(POLICY), 'ok'],
    ['node:n1', setPolicy(POLICY), 'NOT_ENTITLED'],
    ['operator:ada', remove(subjectId(ip('10.0.0.9'))), 'ok'],
    ['node:n1', remove(subjectId(ip('10.0.0.9'))), 'NOT_ENTITLED'],
    ['operator:ada', remove('0000000000000000'), 'NOT_DENIED'],
    ['node:n1', deny(ip('10.0.0.1')), 'ok'],
    ['node:n1', deny(ACCOUNT), 'ok'],
    ['node:n1', deny({ kind: 'cidr', value: '10.0.0.0/24' }), 'ok'],
    ['node:n1', deny({ kind: 'cidr', value: '10.0.0.0/23' }), 'PREFIX_TOO_WIDE'],
    ['node:n1', deny({ kind: 'cidr', value: '2001:db8:1::/48' }), 'ok'],
    ['node:n1', deny({ kind: 'cidr', value: '2001:db8::/47' }), 'PREFIX_TOO_WIDE'],
    ['node:n1', deny({ kind: 'token', value: 'x' }), 'NOT_ENTITLED'],
    ['node:n1', deny({ kind: 'subject', value: 'x' }), 'NOT_ENTITLED'],
    ...REVOCATIONS.flatMap(
      (subject) =>
        [
          ['node:n1', deny(subject), 'NOT_ENTITLED'],
          ['operator:ada', deny(subject), 'issuer' in subject || subject.kind === 'issuer' ? 'TOKEN_ISSUER_UNKNOWN' : 'ok'],
        ] as const,
    ),
    ['operator:ada', deny({ kind: 'issued-before', value: new Date(NOW + 1).toISOString() }), 'SUBJECT_INVALID'],
    ['operator:ada', deny({ kind: 'cidr', value: '10.0.0.0/24' }), 'ok'],
    ['operator:ada', deny({ kind: 'token', value: 'x' }), 'ok'],
    ['operator:ada', deny({ kind: 'subject', value: 'x' }), 'ok'],
    ['node:n1', deny(ip('10.0.0.1'), 3_600_000), 'ok'],
    ['node:n1', deny(ip('10.0.0.1'), 3_600_001), 'TTL_OUT_OF_RANGE'],
    ['operator:ada', deny(ip('10.0.0.1'), 90 * 86_400_000), 'ok'],
    ['operator:ada', deny(ip('10.0.0.1'), 90 * 86_400_000 + 1), 'TTL_OUT_OF_RANGE'],
    ['operator:ada', deny(ip('10.0.0.1'), 999), 'TTL_OUT_OF_RANGE'],
  ]
  for (const [issuer, body, code] of cases) {
    assert.equal(codeOf(denied, signedBytes(ring, issuer, body)), code, `${issuer} ${JSON.stringify(body)}`)
  }
})

test('a rehearsal says what a check would, without a signature and without leaving a trace', () => {
  const rehearsed = (content: unknown): string => {
    const result = app.rehearse(denied, content as TxContent, NOW)
    return result.ok ? 'ok' : result.code
  }
  for (const [issuer, body] of [
    ['operator:ada', deny(ip('10.0.0.1'))],
    ['operator:ada', deny({ kind: 'cidr', value: '0.0.0.0/0' })],
    ['operator:ada', deny(ip('999.1.1.1'))],
    ['operator:ada', setPolicy('version: 2')],
    ['operator:ada', remove('0000000000000000')],
    ['node:n1', setPolicy(POLICY)],
    ['node:n9', deny(ip('10.0.0.1'))],
  ] as const) {
    const bytes = signedBytes(ring, issuer === 'node:n9' ? 'node:n1' : issuer, body)
    const { content } = JSON.parse(new TextDecoder().decode(bytes)) as SignedTx
    const stated = { ...content, issuer }
    assert.equal(rehearsed(stated), issuer === 'node:n9' ? 'ISSUER_UNKNOWN' : codeOf(denied, bytes), JSON.stringify(body))
    // What was rehearsed is as unsigned as before.
    const unsigned = new TextEncoder().encode(canonicalJson({ content: stated, signature: 'A'.repeat(86) }))
    assert.notEqual(codeOf(denied, unsigned), 'ok')
  }
  for (const junk of [undefined, 7, {}, { body: {} }]) assert.equal(rehearsed(junk), 'TX_MALFORMED')
})

test('meaning: what may be denied', () => {
  const cases: readonly (readonly [DenialSubject, string])[] = [
    [ip('127.0.0.1'), 'ok'],
    [ip('2001:db8::1'), 'ok'],
    [ip('2001:DB8::1'), 'SUBJECT_INVALID'],
    [ip('::ffff:10.0.0.1'), 'SUBJECT_INVALID'],
    [ip('10.0.0'), 'SUBJECT_INVALID'],
    [ip('10.0.0.0/8'), 'SUBJECT_INVALID'],
    [ip('0.0.0.0'), 'SUBJECT_INVALID'],
    [ip('::'), 'SUBJECT_INVALID'],
    [ip('224.0.0.1'), 'SUBJECT_INVALID'],
    [ip('ff02::1'), 'SUBJECT_INVALID'],
    [ip('192.0.2.1'), 'SUBJECT_SAFE'],
    [{ kind: 'cidr', value: '192.0.0.0/16' }, 'SUBJECT_SAFE'],
    [{ kind: 'cidr', value: '10.0.0.0/16' }, 'ok'],
    [{ kind: 'cidr', value: '10.0.0.0/15' }, 'PREFIX_TOO_WIDE'],
    [{ kind: 'cidr', value: '0.0.0.0/0' }, 'PREFIX_TOO_WIDE'],
    [{ kind: 'cidr', value: '2001:db8::/31' }, 'PREFIX_TOO_WIDE'],
    [{ kind: 'cidr', value: '2001:db8::/32' }, 'ok'],
    [{ kind: 'cidr', value: '10.0.0.1/24' }, 'SUBJECT_INVALID'],
    [{ kind: 'cidr', value: '10.0.0.1/32' }, 'SUBJECT_INVALID'],
    [{ ...ACCOUNT, service: 'blog' } as DenialSubject, 'SERVICE_UNKNOWN'],
  ]
  for (const [subject, code] of cases) {
    assert.equal(codeOf(app.initial(), signedBytes(ring, 'operator:ada', deny(subject))), code, JSON.stringify(subject))
  }
})

test('envelope: ring, time, issuer and signature are checked before meaning', () => {
  const body = deny(ip('10.0.0.1'))
  const tx = (changes = {}, by: 'ada' | 'n1' | 'n2' = 'ada') => signedBytes(ring, 'operator:ada', body, changes, by)
  const cases: Record<string, readonly [Uint8Array, string]> = {
    good: [tx(), 'ok'],
    'another ring': [tx({ ring: '0'.repeat(64) }), 'RING_MISMATCH'],
    'the key of a node': [tx({}, 'n1'), 'SIGNATURE_INVALID'],
    'a stranger': [tx({ issuer: 'operator:eve' }), 'ISSUER_UNKNOWN'],
    'a node’s id as an operator’s name': [tx({ issuer: 'operator:n1' }, 'n1'), 'ISSUER_UNKNOWN'],
    'the last instant': [tx({ atMs: NOW - 60_000, untilMs: NOW }), 'DENIAL_OVER'],
    'after its time': [tx({ atMs: NOW - 60_000, untilMs: NOW - 1 }), 'TX_LAPSED'],
    'skew that is allowed': [tx({ atMs: NOW + TX_SKEW_MS_MAX }), 'ok'],
    'skew that is not': [tx({ atMs: NOW + TX_SKEW_MS_MAX + 1 }), 'TX_EARLY'],
    'the longest life': [tx({ untilMs: NOW + TX_LIFETIME_MS_MAX }), 'ok'],
    'too long a life': [tx({ untilMs: NOW + TX_LIFETIME_MS_MAX + 1 }), 'TX_LIFETIME'],
    'an end before its beginning': [tx({ untilMs: NOW }), 'TX_LIFETIME'],
    garbage: [new Uint8Array([1, 2, 3]), 'TX_MALFORMED'],
  }
  for (const [name, [bytes, code]] of Object.entries(cases)) assert.equal(codeOf(app.initial(), bytes), code, name)
  const changed = signed(ring, 'operator:ada', body)
  const forged = { ...changed, content: { ...changed.content, atMs: NOW - 1 } }
  assert.equal(codeOf(app.initial(), encodeTx(forged)), 'SIGNATURE_INVALID')
})

test('signed together, each is as good alone as one that was signed alone, and no better', () => {
  const each = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((value) => signed(ring, 'operator:ada', deny(ip(value))))
  const [first, second, third] = together(each, 'ada') as [SignedTx, SignedTx, SignedTx]
  let state = app.initial()
  const code = (tx: SignedTx) => codeOf(state, encodeTx(tx))
  assert.deepEqual([first, second, third].map(code), ['ok', 'ok', 'ok'])
  assert.equal(code({ ...first, signature: second.signature }), 'SIGNATURE_INVALID')
  assert.equal(code({ ...first, content: { ...first.content, atMs: NOW - 1 } }), 'SIGNATURE_INVALID')
  const alone = encodeBase64url(decodeBase64url(first.signature).subarray(0, 64))
  assert.equal(code({ ...first, signature: alone }), 'SIGNATURE_INVALID')
  assert.equal(code({ ...first, signature: first.signature.slice(0, -4) }), 'TX_MALFORMED')
  for (const tx of together(each, 'n1')) assert.equal(code(tx), 'SIGNATURE_INVALID')
  // The signature is no part of the statement: alone or together, it counts once.
  state = run(state, [encodeTx(second)])
  assert.equal(code(each[1] as SignedTx), 'TX_REPLAYED')
  assert.equal(code(first), 'ok')
})

test('a transaction counts once, and is forgotten only when it could no longer be valid', () => {
  const tx = signedBytes(ring, 'operator:ada', deny(ip('10.0.0.1')))
  const after = run(app.initial(), [tx])
  assert.equal(codeOf(after, tx), 'TX_REPLAYED')
  assert.equal(app.execute(app.initial(), [tx, tx], context).ok, false)
  const atEnd = run(after, [], NOW + 60_000)
  assert.equal(codeOf(atEnd, tx, NOW + 60_000), 'TX_REPLAYED')
  const later = run(atEnd, [], NOW + 60_001)
  assert.equal(codeOf(later, tx, NOW + 60_001), 'TX_LAPSED')
  assert.equal(app.root(later), app.root(run(run(app.initial(), []), [], NOW + 60_001)))
})

test('policy: it must parse, compile and be made against the version in force', () => {
  const set = (text: string, version = 1) =>
    app.check(app.initial(), signedBytes(ring, 'operator:ada', setPolicy(text, version)), NOW)
  const refusal = (result: ReturnType<typeof set>) => (result.ok ? 'ok' : `${result.code} ${result.reason}`)
  assert.match(refusal(set(`${POLICY}wat: 1\n`)), /^POLICY_INVALID .*ringwall.yaml:9:1: wat is not known/)
  assert.match(
    refusal(set(POLICY.replace('shop:', 'shop:\n    waf: { rules: [nope] }'))),
    /POLICY_INVALID .*no rule set is called nope/,
  )
  assert.match(
    refusal(set(POLICY.replace('shop:', 'shop:\n    waf: { rules: [bad] }'))),
    /POLICY_INVALID .*do not compile: line 1/,
  )
  assert.match(refusal(set(POLICY, 7)), /^POLICY_CONFLICT .*version 1 is in force.*version 7/)
  assert.match(refusal(set(`${POLICY}#${'x'.repeat(POLICY_BYTES_MAX - POLICY.length)}`)), /^POLICY_TOO_LARGE .*245761 bytes/)
  assert.match(refusal(set(`${POLICY}#${'é'.repeat((POLICY_BYTES_MAX + 10 - POLICY.length) >> 1)}`)), /^POLICY_TOO_LARGE /)
  assert.equal(refusal(set(`${POLICY}#${'x'.repeat(POLICY_BYTES_MAX - POLICY.length - 1)}`)), 'ok')
  const next = run(app.initial(), [signedBytes(ring, 'operator:ada', setPolicy(POLICY.replace('3000', '4000')))])
  assert.equal(next.policyVersion, 2)
  assert.equal(app.view(next, 1, NOW).policy.services.shop?.upstreams[0]?.url, 'http://127.0.0.1:4000')
  assert.equal(app.view(app.initial(), 0, NOW).policyVersion, 1)
})

test('a node stays within its quota, each node on its own, and gets it back after an hour', () => {
  const tx = (n: number, node: 'node:n1' | 'node:n2' = 'node:n1', at = NOW) =>
    signedBytes(ring, node, deny(ip(`10.0.1.${n}`)), { atMs: at, untilMs: at + 60_000 })
  const full = run(app.initial(), [tx(1), tx(2), tx(3)])
  assert.equal(codeOf(full, tx(4)), 'QUOTA_EXCEEDED')
  assert.equal(codeOf(full, tx(4, 'node:n2')), 'ok')
  const almost = NOW + 3_600_000
  assert.equal(codeOf(full, tx(4, 'node:n1', almost), almost), 'QUOTA_EXCEEDED')
  const later = NOW + 3_600_000 + 300_000
  assert.equal(codeOf(full, tx(4, 'node:n1', later), later), 'ok')
})

test('denying twice extends and never shortens; removing ends it', () => {
  const long = signedBytes(ring, 'operator:ada', deny(ip('10.0.0.9'), 120_000, 'long'))
  const short = signedBytes(ring, 'operator:ada', deny(ip('10.0.0.9'), 30_000, 'short'))
  const state = run(denied, [long, short], NOW, 2)
  assert.deepEqual(state.denial(subjectId(ip('10.0.0.9'))), {
    id: subjectId(ip('10.0.0.9')),
    subject: ip('10.0.0.9'),
    reason: 'long',
    issuer: 'operator:ada',
    issuedAtMs: NOW,
    expiresAtMs: NOW + 120_000,
    height: 1,
  })
  const free = run(state, [signedBytes(ring, 'operator:ada', remove(subjectId(ip('10.0.0.9'))))])
  assert.equal(app.view(free, 3, NOW).denials.matchAddress('10.0.0.9', NOW), undefined)
  assert.equal(app.view(state, 2, NOW).denials.size, 1)
})

test('property: denials in any order give one state root', () => {
  const ips = fc.integer({ min: 1, max: 5 }).map((n) => ip(`10.0.0.${n}`))
  const ttls = fc.integer({ min: 1, max: 3 }).map((n) => n * 10_000)
  const list = fc.array(fc.tuple(ips, ttls, fc.constantFrom('a', 'b')), { minLength: 2, maxLength: 8 })
  fc.assert(
    fc.property(list, fc.infiniteStream(fc.nat()), (entries, orders) => {
      const txs = entries.map(([subject, ttl, reason]) => signedBytes(ring, 'operator:ada', deny(subject, ttl, reason)))
      const shuffled = txs.map((tx) => [orders.next().value as number, tx] as const).sort(([a], [b]) => a - b)
      const other = shuffled.map(([, tx]) => tx)
      assert.equal(app.root(run(app.initial(), txs)), app.root(run(app.initial(), other)))
    }),
    { numRuns: 30 },
  )
})

test('a block with one bad transaction is refused whole; a leader leaves it out', () => {
  const good = signedBytes(ring, 'operator:ada', deny(ip('10.0.0.1')))
  const conflicting = [1, 2].map(() => signedBytes(ring, 'operator:ada', setPolicy(POLICY)))
  const garbage = new Uint8Array([0x7b])
  const refused = app.execute(app.initial(), [good, garbage], context)
  assert.ok(!refused.ok && /transaction 1 of block 1 is invalid: TX_MALFORMED/.test(refused.reason))
  const chosen = app.prepare(app.initial(), [garbage, good, good, ...conflicting], context, 1_000_000)
  assert.deepEqual(chosen, [good, conflicting[0]])
  assert.ok(app.execute(app.initial(), chosen, context).ok)
  assert.deepEqual(app.prepare(app.initial(), [good, ...conflicting], context, good.length), [good])
})

test('expired denials are swept oldest first, a bounded number a block, and no longer hold meanwhile', () => {
  const own = begin(POLICY)
  let state = own.initial()
  const many = Array.from({ length: 1_100 }, (_, n) =>
    signedBytes(own.ring, 'operator:ada', deny(ip(`10.1.${n >> 8}.${n & 255}`), 1_000 + n)),
  )
  const filled = own.execute(state, many, context)
  assert.ok(filled.ok)
  state = filled.state
  const swept = own.execute(state, [], { ...context, timestampMs: NOW + 10_000 })
  assert.ok(swept.ok)
  assert.equal(swept.state.denials.size, 100)
  assert.equal(swept.state.denials.matchAddress('10.1.4.75', NOW + 10_000), undefined)
  assert.equal(state.denials.size, 1_100)
})

const whole = (pieces: Iterable<Uint8Array>) => new Uint8Array(Buffer.concat([...pieces]))

test('a snapshot restores the same state; a changed one is refused or has another root', () => {
  const state = run(denied, [
    signedBytes(ring, 'node:n1', deny(ACCOUNT)),
    signedBytes(ring, 'operator:ada', setPolicy(`${POLICY}# x\n`)),
  ])
  const snapshot = whole(app.snapshot(state))
  const again = app.restore(snapshot)
  assert.equal(app.root(again), app.root(state))
  assert.deepEqual(whole(app.snapshot(again)), snapshot)
  assert.throws(() => app.restore(new Uint8Array([...snapshot, 10])), /not canonical/)
  assert.throws(() => app.restore(snapshot.subarray(0, -1)), /ends before line/)
  assert.deepEqual(app.view(again, 1, NOW).denials.list(NOW), app.view(state, 1, NOW).denials.list(NOW))
  fc.assert(
    fc.property(fc.nat(snapshot.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = snapshot.slice()
      changed[at]! ^= flip
      try {
        assert.notEqual(app.root(app.restore(changed)), app.root(state))
      } catch (error) {
        assert.ok(error instanceof SnapshotInvalid)
      }
    }),
  )
  assert.throws(() => begin(`${POLICY}# other\n`).restore(snapshot), /another ring/)
})

test('property: no bytes make check, prepare or execute throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((json) => new TextEncoder().encode(json)),
      ),
      (bytes) => {
        assert.equal(app.check(denied, bytes, NOW).ok, false)
        assert.equal(app.execute(denied, [bytes], context).ok, false)
        assert.deepEqual(app.prepare(denied, [bytes], context, 1_000), [])
      },
    ),
  )
})

test('a denial that is over but not yet swept cannot be removed', () => {
  const later = NOW + 60_000
  const tx = signedBytes(ring, 'operator:ada', remove(subjectId(ip('10.0.0.9'))), { atMs: later, untilMs: later + 1_000 })
  assert.equal(codeOf(denied, tx, later - 1), 'ok')
  assert.equal(codeOf(denied, tx, later), 'NOT_DENIED')
})

test('a ring that is full of denials takes no new one, and still extends those it has', () => {
  const full = new Proxy(denied, {
    get: (target, key) => {
      if (key === 'denials') return { size: DENIALS_MAX }
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  assert.equal(codeOf(full, signedBytes(ring, 'operator:ada', deny(ip('10.0.0.1')))), 'DENIALS_FULL')
  assert.equal(codeOf(full, signedBytes(ring, 'operator:ada', deny(ip('10.0.0.9')))), 'ok')
})

test('a snapshot whose denial has the id of another subject is refused', () => {
  const text = new TextDecoder().decode(whole(app.snapshot(denied)))
  const changed = text.replaceAll(subjectId(ip('10.0.0.9')), '0123456789abcdef')
  assert.notEqual(changed, text)
  assert.throws(() => app.restore(new TextEncoder().encode(changed)), /is of another subject|no valid subject/)
})

test('a check that throws refuses the transaction instead of stopping the node', () => {
  const crashing = begin()
  const state = crashing.initial()
  const broken = new Proxy(state, {
    get: (target, key) => {
      if (key === 'denial') throw new Error('disk on fire')
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  assert.equal(codeOf(broken, signedBytes(ring, 'operator:ada', deny(ip('10.0.0.1')))), 'INTERNAL')
})

test('a denial by gossip passes the same checks', () => {
  const good = app.provisional(app.initial(), signedBytes(ring, 'node:n1', deny(ip('10.0.0.1'))), NOW)
  assert.ok(good.ok && good.denial.height === undefined && good.denial.expiresAtMs === NOW + 60_000)
  const bad = app.provisional(app.initial(), signedBytes(ring, 'node:n1', deny(ip('192.0.2.1'))), NOW)
  assert.ok(!bad.ok && bad.code === 'SUBJECT_SAFE')
  assert.ok(!app.provisional(app.initial(), signedBytes(ring, 'operator:ada', setPolicy(POLICY)), NOW).ok)
})

test('genesis: its hash is of its meaning, and doubles are refused', () => {
  const text = encodeGenesis(genesis)
  assert.equal(genesisHash(parseGenesis(JSON.stringify(JSON.parse(text), null, 4))), ring)
  assert.notEqual(genesisHash({ ...genesis, createdAtMs: 1 }), ring)
  const [first] = genesis.nodes
  const cases: readonly unknown[] = [
    { ...genesis, format: 'ringwall/genesis/2' },
    { ...genesis, extra: 1 },
    { ...genesis, nodes: [first, first] },
    { ...genesis, nodes: [] },
    { ...genesis, nodes: [{ ...first, roles: ['edge'] }] },
    { ...genesis, nodes: [{ ...first, publicKey: 'AAAA' }] },
    { ...genesis, operators: [{ name: 'eve', publicKey: first!.publicKey }] },
  ]
  for (const value of cases)
    assert.throws(() => parseGenesis(JSON.stringify(value)), GenesisInvalid, JSON.stringify(value).slice(0, 80))
  assert.throws(() => parseGenesis('{'), GenesisInvalid)
  assert.throws(() => begin('version: 1\n'), /services is missing/)
})

test('a transaction that was found good vouches for no other bytes under its signature', () => {
  const app = begin()
  const good = signedBytes(ring, 'operator:ada', deny(ip('10.0.0.77')))
  assert.equal(app.check(app.initial(), good, NOW).ok, true)
  const text = new TextDecoder().decode(good)
  const other = new TextEncoder().encode(text.replace('10.0.0.77', '10.0.0.78'))
  const refused = app.check(app.initial(), other, NOW)
  assert.equal(refused.ok ? 'ok' : refused.code, 'SIGNATURE_INVALID')
  // The caller may reuse its buffer: what was found good is what was read then.
  good.set(other)
  const again = app.check(app.initial(), good, NOW)
  assert.equal(again.ok ? 'ok' : again.code, 'SIGNATURE_INVALID')
})

test('a hash that is passed in gives the ids and roots that the portable one gives', () => {
  const hashed: number[] = []
  const other = begin(POLICY, {
    hash: (bytes) => {
      hashed.push(bytes.length)
      return createHash('sha256').update(bytes).digest('hex')
    },
  })
  const tx = signedBytes(ring, 'operator:ada', deny(ip('10.0.0.79')))
  const [one, two] = [app, other].map((each) => each.execute(each.initial(), [tx], context))
  assert.ok(one?.ok && two?.ok)
  assert.deepEqual(two.results, one.results)
  assert.equal(two.state.root(), one.state.root())
  assert.equal(hashed.length, 2)
})

test('property: a leader that executes what it has just chosen comes to what the others come to', () => {
  const changes = fc.array(fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 40 })), { maxLength: 12 })
  fc.assert(
    fc.property(fc.array(fc.tuple(changes, fc.integer({ min: 1, max: 30 })), { minLength: 1, maxLength: 6 }), (blocks) => {
      let state = app.initial()
      let nowMs = NOW
      for (const [height, [denials, seconds]] of blocks.entries()) {
        nowMs += seconds * 1_000
        const at = { height: height + 1, timestampMs: nowMs, proposer: 'n1' }
        const candidates = denials.map(([host, ttl]) =>
          signedBytes(ring, 'operator:ada', deny(ip(`10.9.0.${host}`), ttl * 1_000), { atMs: nowMs, untilMs: nowMs + 60_000 }),
        )
        const before = state.root()
        const chosen = app.prepare(state, [...candidates, ...candidates.slice(0, 2)], at, 1_000_000)
        const [own, other] = [app.execute(state, chosen, at), app.execute(state, [...chosen], at)]
        assert.ok(own.ok && other.ok)
        assert.deepEqual(own.results, other.results)
        assert.equal(own.state.root(), other.state.root())
        const later = app.execute(state, chosen, { ...at, timestampMs: nowMs + 1 })
        assert.ok(later.ok)
        if (chosen.length > 0) assert.notEqual(later.state, own.state)
        assert.equal(state.root(), before)
        assert.equal(app.restore(Buffer.concat([...app.snapshot(state)])).root(), before)
        state = own.state
      }
    }),
    { numRuns: 60 },
  )
})
