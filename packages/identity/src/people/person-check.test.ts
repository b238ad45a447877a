import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { ringIssuer } from '@ringwall/ring'
import fc from 'fast-check'
import { MintRequestInvalid } from '../mint-request.ts'
import { createTokenVerifier } from '../token-verifier.ts'
import { checkPerson, LOGIN_MS_MAX, type PersonView, readSession, sessionKeys } from './person-check.ts'
import { type PersonRequest, parsePersonRequest } from './person-request.ts'
import {
  Authenticator,
  alice,
  NOW,
  occasion,
  passkeyProof,
  passwordProof,
  peoplePolicy,
  RING,
  signed,
  viewWith,
} from './test-people.ts'

type Login = Extract<PersonRequest, { type: 'login' }>

const login = (more: Partial<Login> = {}): PersonRequest => ({
  ...occasion,
  type: 'login',
  person: 'alice',
  proof: passkeyProof(),
  ...more,
})

function tokenOf(request: PersonRequest, view: PersonView = viewWith(), nowMs: number = NOW): string {
  const checked = checkPerson(request, view, nowMs)
  assert.ok(checked.ok, checked.ok ? '' : checked.reason)
  return signed(checked.message)
}

const codeOf = (request: PersonRequest, view: PersonView = viewWith(), nowMs: number = NOW): string => {
  const checked = checkPerson(request, view, nowMs)
  return checked.ok ? 'ok' : checked.code
}

test('who shows a passkey or a password gets a session of the service, which every verifier of the ring takes', () => {
  for (const [proof, amr] of [
    [passkeyProof(), ['pop', 'user']],
    [passwordProof(), ['pwd']],
  ] as const) {
    const view = viewWith()
    const token = tokenOf(login({ proof }), view)
    const claims = readSession(token, view)
    assert.deepEqual([claims?.sub, claims?.aud, claims?.amr, claims?.groups], ['person:alice', 'app', amr, ['staff']])
    assert.equal(claims!.exp - claims!.iat, 1_800)
    assert.equal(claims!.session_end - claims!.auth_time, 43_200)
    const verdict = createTokenVerifier({ issuers: [], ring: { ring: RING, keys: sessionKeys(view) } }).verify(token, NOW)
    assert.ok(!(verdict instanceof Promise) && verdict.ok && verdict.issuer === ringIssuer(RING))
  }
})

test('one login makes one token, however often it is shown and signed', () => {
  // ECDSA is randomized: two signatures of one login.
  assert.equal(tokenOf(login()), tokenOf(login(), viewWith(), NOW + 60_000))
})

test('a proof for another occasion, person, service, ring or key makes no session', () => {
  const other = { ...occasion, nonce: `${'B'.repeat(21)}A` }
  const bob = { ...alice, name: 'bob', credentials: [] }
  const stranger = generateKeyPairSync('ed25519').privateKey
  const view = viewWith({ people: [alice, bob] })
  assert.equal(codeOf(login({ proof: passkeyProof(other) })), 'MINT_PERSON')
  assert.equal(codeOf(login({ proof: passwordProof(other) })), 'MINT_PERSON')
  assert.equal(codeOf(login({ person: 'bob' }), view), 'MINT_PERSON')
  assert.equal(codeOf(login({ person: 'bob', proof: passwordProof() }), view), 'MINT_PERSON')
  assert.equal(codeOf(login({ person: 'nobody' })), 'MINT_PERSON')
  assert.equal(codeOf(login({ proof: passwordProof(occasion, 'alice', stranger) })), 'MINT_PERSON')
  assert.equal(codeOf(login({ proof: { ...passkeyProof(), id: 'b3RoZXI' } as Login['proof'] })), 'MINT_PERSON')
  assert.equal(codeOf(login({ service: 'other' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(login({ service: 'constructor' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(login({ ring: 'cd'.repeat(32) })), 'MINT_OTHER_RING')
  assert.equal(codeOf(login(), viewWith(), NOW + LOGIN_MS_MAX), 'MINT_STALE')
  assert.equal(codeOf(login(), viewWith(), NOW - 60_000), 'MINT_STALE')
  assert.equal(codeOf(login({ proof: passwordProof() }), viewWith({ policy: { methods: ['passkey'] } })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(login(), viewWith({ people: [{ ...alice, sinceMs: NOW }] })), 'MINT_PERSON', 'reset since')
})

test('what an authenticator says of another site, or of nobody who was there, is not taken', () => {
  const bad: readonly [string, Parameters<typeof passkeyProof>[1]][] = [
    ['another site', { origin: 'https://evil.example' }],
    ['a site whose name ends alike', { origin: 'https://evilapp.example' }],
    ['no secure context', { origin: 'http://app.example' }],
    ['an origin with more to it', { origin: 'https://app.example/' }],
    ['the domain of another', { rpId: 'evil.example' }],
    ['a registration', { type: 'webauthn.create' }],
    ['within another page', { crossOrigin: true }],
    ['within another page, as newer browsers say it', { topOrigin: 'https://evil.example' }],
    ['nobody there', { flags: 0x04 }],
    ['not verified', { flags: 0x01 }],
    ['backed up, and not to be', { flags: 0x15 }],
    ['another challenge', { challenge: 'x' }],
  ]
  for (const [what, says] of bad) assert.equal(codeOf(login({ proof: passkeyProof(occasion, says) })), 'MINT_PERSON', what)
  assert.equal(codeOf(login({ proof: passkeyProof(occasion, { origin: 'https://eu.app.example' }) })), 'ok', 'below the domain')
  const proof = passkeyProof() as Extract<Login['proof'], { kind: 'passkey' }>
  const flipped = Buffer.from(proof.signature, 'base64url')
  flipped[flipped.length - 1]! ^= 1
  assert.equal(codeOf(login({ proof: { ...proof, signature: flipped.toString('base64url') } })), 'MINT_PERSON')
})

test('keys of all three kinds are taken', () => {
  for (const kind of ['ec', 'ed25519', 'rsa'] as const) {
    const own = new Authenticator(kind)
    const credentials = [{ id: own.id, kind: 'passkey', publicKey: own.publicKey, rpId: 'app.example' }] as const
    const clone = passkeyProof() as Extract<Login['proof'], { kind: 'passkey' }>
    const challenge = (JSON.parse(Buffer.from(clone.clientDataJSON, 'base64url').toString()) as { challenge: string }).challenge
    const proof = { kind: 'passkey', id: own.id, ...own.says({ challenge }) } as const
    assert.equal(codeOf(login({ proof }), viewWith({ people: [{ ...alice, credentials }] })), 'ok', kind)
  }
})

test('a session is renewed by itself alone, as the person and the policy are now, and never past its end', () => {
  const view = viewWith()
  const token = tokenOf(login(), view)
  const at = (minutes: number): number => NOW - 10_000 + minutes * 60_000
  const renew = (shown: string, minutes: number): PersonRequest => ({
    type: 'renew',
    atMs: at(minutes),
    ring: RING,
    token: shown,
  })
  const moved = viewWith({ people: [{ ...alice, groups: ['board'] }] })
  const again = readSession(tokenOf(renew(token, 20), moved, at(20)), moved)!
  const before = readSession(token, view)!
  assert.deepEqual([again.sid, again.auth_time, again.session_end], [before.sid, before.auth_time, before.session_end])
  assert.deepEqual(again.groups, ['board'])
  assert.equal(again.exp - again.iat, 1_800)
  assert.notEqual(again.jti, before.jti)
  assert.equal(codeOf(renew(token, 31), view, at(31)), 'MINT_PERSON', 'it was not used for too long')
  assert.equal(codeOf(renew(token, 5), view, at(7)), 'MINT_STALE')
  assert.equal(codeOf(renew(token, 5), viewWith({ people: [] }), at(5)), 'MINT_PERSON', 'gone')
  assert.equal(codeOf(renew(token, 5), viewWith({ people: [{ ...alice, sinceMs: at(1) }] }), at(5)), 'MINT_PERSON', 'reset')
  assert.equal(codeOf(renew(token, 5), viewWith({ policy: { methods: ['password'] } }), at(5)), 'MINT_NOT_ENTITLED')
  const [head, , seal] = token.split('.') as [string, string, string]
  const longer = Buffer.from(JSON.stringify({ ...before, session_end: before.session_end + 1 })).toString('base64url')
  assert.equal(codeOf(renew(`${head}.${longer}.${seal}`, 5), view, at(5)), 'MINT_PERSON', 'not as it was signed')
  // Renewed for as long as it goes.
  let last = token
  let minutes = 0
  for (; minutes < 12 * 60; minutes += 20) {
    const asked = checkPerson(renew(last, minutes), view, at(minutes))
    assert.ok(asked.ok)
    last = signed(asked.message)
    const { exp, session_end: end } = readSession(last, view)!
    assert.ok(exp <= end && end === before.session_end)
  }
  assert.equal(codeOf(renew(last, minutes), view, at(minutes)), 'MINT_PERSON', 'twelve hours are over')
})

test('denied sessions and people get nothing', () => {
  const subject = (kind: 'session' | 'subject', value: string) => ({
    id: '0'.repeat(16),
    subject: { kind, issuer: ringIssuer(RING), value },
    reason: 'lost',
    issuer: 'operator:ada',
    issuedAtMs: NOW,
    expiresAtMs: NOW + 86_400_000,
    height: 1,
  })
  const token = tokenOf(login())
  const { sid } = readSession(token, viewWith())!
  const renew: PersonRequest = { type: 'renew', atMs: NOW, ring: RING, token }
  assert.equal(codeOf(renew, viewWith({ denials: [subject('session', sid)] })), 'MINT_DENIED')
  assert.equal(codeOf(login(), viewWith({ denials: [subject('session', sid)] })), 'MINT_DENIED', 'the same login, shown again')
  assert.equal(codeOf(login(), viewWith({ denials: [subject('subject', 'person:alice')] })), 'MINT_DENIED')
})

test('property: a request that is not exactly one is refused with what is wrong, and never thrown at otherwise', () => {
  const good = login()
  assert.deepEqual(parsePersonRequest(JSON.parse(JSON.stringify(good))), good)
  const mutated = fc
    .tuple(fc.constantFrom(...Object.keys(good)), fc.anything())
    .map(([key, value]) => ({ ...good, [key]: value }) as unknown)
  fc.assert(
    fc.property(fc.oneof(fc.anything(), mutated), (value) => {
      try {
        const parsed = parsePersonRequest(value)
        assert.equal(typeof checkPerson(parsed, viewWith(), NOW).ok, 'boolean')
      } catch (error) {
        assert.ok(error instanceof MintRequestInvalid, String(error))
      }
    }),
  )
})

test('a policy that makes sessions shorter makes those that there are shorter', () => {
  const token = tokenOf(login())
  const view = viewWith({ policy: { ...peoplePolicy, lasts: 60_000 } })
  assert.equal(codeOf({ type: 'renew', atMs: NOW + 120_000, ring: RING, token }, view, NOW + 120_000), 'MINT_PERSON')
})
