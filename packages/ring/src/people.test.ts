import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { People, type Person, type PersonCredential } from './people.ts'
import { enrolmentBytes } from './person-statements.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, genesis, keyOf, NOW, POLICY, signedBytes } from './test-ring.ts'
import { ringIssuer } from './token-revocation.ts'
import type { TxBody } from './types.ts'

const application = begin()
let height = 0
const invitation = generateKeyPairSync('ed25519')
const rawKey = (key: KeyObject): string => key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64url')

const put = (name: string, more: Partial<Extract<TxBody, { type: 'person.put' }>> = {}): TxBody => ({
  groups: ['staff'],
  invitation: { key: rawKey(invitation.publicKey), untilMs: NOW + 3_600_000 },
  name,
  reason: 'joins',
  type: 'person.put',
  ...more,
})

const passkeyId = (id: string): string => Buffer.from(id).toString('base64url')

const passkey = (id: string): PersonCredential => ({
  id: passkeyId(id),
  kind: 'passkey',
  publicKey: Buffer.alloc(44, 1).toString('base64url'),
  rpId: 'app.example',
})

const password: PersonCredential = {
  cost: { lanes: 4, memoryKiB: 65_536, passes: 3 },
  kind: 'password',
  publicKey: Buffer.alloc(32, 2).toString('base64url'),
  salt: Buffer.alloc(16, 3).toString('base64url'),
}

function enrol(name: string, credential: PersonCredential, key: KeyObject = invitation.privateKey): TxBody {
  const proof = sign(null, enrolmentBytes(application.ring, name, credential), key).toString('base64url')
  return { credential, name, proof, type: 'person.enrol' }
}

const tx = (body: TxBody, issuer: 'ada' | 'n1', atMs: number): Uint8Array =>
  signedBytes(application.ring, issuer === 'ada' ? 'operator:ada' : 'node:n1', body, { atMs, untilMs: atMs + 60_000 })

const codeOf = (state: RingState, body: TxBody, issuer: 'ada' | 'n1' = 'n1', nowMs: number = NOW): string => {
  const checked = application.check(state, tx(body, issuer, nowMs), nowMs)
  return checked.ok ? 'ok' : checked.code
}

function after(state: RingState, body: TxBody, issuer: 'ada' | 'n1' = 'ada', nowMs: number = NOW): RingState {
  height += 1
  return executeAgreed(application, state, [tx(body, issuer, nowMs)], { height, timestampMs: nowMs, proposer: 'n1' })
}

test('whoever has the invitation enrols, once; nobody else, and nothing else', () => {
  const invited = after(application.initial(), put('alice'))
  const stranger = generateKeyPairSync('ed25519').privateKey
  assert.equal(codeOf(invited, enrol('alice', password, stranger)), 'INVITATION_INVALID')
  assert.equal(codeOf(invited, enrol('bob', password)), 'INVITATION_INVALID', 'nobody of that name')
  const swapped = { ...(enrol('alice', password) as Extract<TxBody, { type: 'person.enrol' }>), credential: passkey('x') }
  assert.equal(codeOf(invited, swapped), 'INVITATION_INVALID', 'another credential than was signed for')
  assert.equal(codeOf(invited, enrol('alice', password), 'n1', NOW + 3_600_000), 'INVITATION_INVALID', 'too late')
  assert.equal(codeOf(invited, put('carol'), 'n1'), 'NOT_ENTITLED', 'a node adds nobody')
  const enrolled = after(invited, enrol('alice', passkey('one')), 'n1')
  assert.equal(codeOf(enrolled, enrol('alice', password)), 'INVITATION_INVALID', 'used up')
  assert.equal(enrolled.people.byPasskey(passkeyId('one'))?.name, 'alice')
  const more = after(after(enrolled, put('alice', { groups: ['board'] })), enrol('alice', password), 'n1')
  assert.deepEqual(
    more.people.get('alice')?.credentials.map(({ kind }) => kind),
    ['passkey', 'password'],
  )
  assert.deepEqual(more.people.get('alice')?.groups, ['board'])
  const other = after(more, put('bob'))
  assert.equal(codeOf(other, enrol('bob', passkey('one'))), 'CREDENTIAL_INVALID', 'somebody else’s passkey')
})

test('reset and removal end sessions that began before, at once and by the state', () => {
  const enrolled = after(after(application.initial(), put('alice')), enrol('alice', password), 'n1')
  const credential = { issuer: ringIssuer(application.ring), subject: 'person:alice', issuedAtMs: NOW }
  for (const body of [
    { type: 'person.reset', name: 'alice', invitation: null, reason: 'lost it' },
    { type: 'person.remove', name: 'alice', reason: 'left' },
  ] as const) {
    const early = application.provisional(enrolled, tx(body, 'ada', NOW + 5_000), NOW + 5_000)
    assert.ok(early.ok && early.denial.subject.kind === 'issued-before')
    const ended = after(enrolled, body, 'ada', NOW + 5_000)
    assert.ok(ended.denials.matchCredential(credential, NOW + 5_000) !== undefined)
    assert.equal(ended.denials.matchCredential({ ...credential, issuedAtMs: NOW + 6_000 }, NOW + 6_000), undefined)
    assert.deepEqual(ended.people.get('alice')?.credentials ?? [], [])
    assert.equal(codeOf(ended, { type: 'person.remove', name: 'bob', reason: 'x' }, 'ada', NOW + 6_000), 'PERSON_UNKNOWN')
  }
})

test('people outlast a snapshot, and another spelling of it is refused', () => {
  const state = after(after(after(application.initial(), put('bob')), put('alice')), enrol('alice', password), 'n1')
  const bytes = Buffer.concat([...application.snapshot(state)])
  const restored = application.restore(bytes)
  assert.equal(application.root(restored), application.root(state))
  assert.deepEqual(restored.people.list(), state.people.list())
  for (const [from, to] of [
    ['"groups":["staff"]', '"groups":["staff","a"]'],
    ['"lanes":4', '"lanes":0'],
    ['"name":"alice"', '"name":"Alice"'],
  ] as const)
    assert.throws(
      () => application.restore(Buffer.from(bytes.toString('utf8').replace(from, to))),
      { code: 'SNAPSHOT_INVALID' },
      to,
    )
})

test('property: passkeys are found by their ids, whatever was added and removed', () => {
  const name = fc.constantFrom('ada', 'bob', 'cy', 'dee')
  const step = fc.oneof(
    fc.record({ add: name, ids: fc.uniqueArray(fc.constantFrom('1', '2', '3'), { maxLength: 3 }) }),
    fc.record({ drop: name }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let people = People.empty
      const model = new Map<string, Person>()
      for (const one of steps) {
        if ('drop' in one) {
          people = people.without(one.drop)
          model.delete(one.drop)
          continue
        }
        const credentials = one.ids.map((id) => passkey(`${one.add} ${id}`))
        const person: Person = { credentials, groups: [], invitation: null, name: one.add, sinceMs: 1 }
        people = people.with(person)
        model.set(one.add, person)
      }
      assert.deepEqual(
        people.list(),
        [...model.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
      )
      for (const owner of ['ada', 'bob', 'cy', 'dee'])
        for (const id of ['1', '2', '3']) {
          const held = model
            .get(owner)
            ?.credentials.some((one) => one.kind === 'passkey' && one.id === passkeyId(`${owner} ${id}`))
          assert.equal(people.byPasskey(passkeyId(`${owner} ${id}`))?.name, held === true ? owner : undefined)
        }
      assert.equal(people.root(), People.from([...model.values()].reverse()).root())
    }),
    { numRuns: 50 },
  )
})

/** A ring of one validator. */
const alone = begin(POLICY, {}, { ...genesis, nodes: genesis.nodes.slice(0, 1) })

/** As a validator's key signs it, in a ring that has no key that is held together. */
function ringToken(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'EdDSA' })}.${part({ iss: ringIssuer(alone.ring), ...claims })}`
  return `${text}.${sign(null, Buffer.from(text), keyOf('n1')).toString('base64url')}`
}

test('what serves once is redeemed once; a second time ends its session, and a third is refused', () => {
  const nowS = NOW / 1_000
  const claims = { jti: 'a'.repeat(32), sid: 'b'.repeat(32), exp: nowS + 60, session_end: nowS + 3_600, use: 'code' }
  const use = (of: object = claims): TxBody & { readonly type: 'token.use' } => ({
    token: ringToken(of),
    type: 'token.use',
  })
  const transaction = (body: TxBody, atMs: number): Uint8Array =>
    signedBytes(alone.ring, 'node:n1', body, { atMs, untilMs: atMs + 60_000 })
  const next = (state: RingState, body: TxBody, atMs: number): RingState => {
    height += 1
    return executeAgreed(alone, state, [transaction(body, atMs)], { height, timestampMs: atMs, proposer: 'n1' })
  }
  const check = (state: RingState, body: TxBody, atMs: number): string => {
    const checked = alone.check(state, transaction(body, atMs), atMs)
    return checked.ok ? 'ok' : checked.code
  }
  const session = { issuer: ringIssuer(alone.ring), sessionId: claims.sid, issuedAtMs: NOW }
  const once = next(alone.initial(), use(), NOW)
  assert.match(
    once.denials.matchCredential({ issuer: ringIssuer(alone.ring), tokenId: claims.jti }, NOW)?.reason ?? '',
    /^used once: /,
  )
  assert.equal(once.denials.matchCredential(session, NOW), undefined)
  const twice = next(once, use(), NOW + 1)
  assert.match(twice.denials.matchCredential(session, NOW + 1)?.reason ?? '', /twice/)
  assert.equal(check(twice, use(), NOW + 2), 'TOKEN_USED')
  assert.equal(check(once, { type: 'token.use', token: `${ringToken(claims).slice(0, -4)}AAAA` }, NOW), 'TOKEN_UNKNOWN')
  assert.equal(check(once, use({ ...claims, sid: undefined }), NOW), 'TOKEN_UNKNOWN', 'of no session')
  assert.equal(check(once, use({ ...claims, exp: nowS - 120 }), NOW), 'DENIAL_OVER')
  // Whoever holds a session may end all of it; of an access token that alone.
  for (const [kind, ended] of [
    ['session', true],
    ['refresh', true],
    ['access', false],
  ] as const) {
    const revoked = next(alone.initial(), { type: 'token.revoke', token: ringToken({ ...claims, use: kind }) }, NOW)
    assert.equal(revoked.denials.matchCredential(session, NOW) !== undefined, ended, kind)
  }
  // What the holders made of a provider's security event ends what somebody began before, and nobody else's.
  const event = { ...claims, sid: undefined, sub: 'person:alice', use: 'event', before: nowS }
  const said = next(alone.initial(), { type: 'token.revoke', token: ringToken(event) }, NOW)
  const begun = (subject: string, atS: number): boolean =>
    said.denials.matchCredential({ issuer: ringIssuer(alone.ring), subject, issuedAtMs: atS * 1_000 }, NOW) !== undefined
  assert.deepEqual(
    [begun('person:alice', nowS - 1), begun('person:alice', nowS), begun('person:bob', nowS - 1)],
    [true, false, false],
  )
  const forged = { type: 'token.revoke', token: `${ringToken(event).slice(0, -4)}AAAA` } as const
  assert.equal(check(alone.initial(), forged, NOW), 'TOKEN_UNKNOWN')
})
