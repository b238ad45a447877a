import assert from 'node:assert/strict'
import { generateKeyPairSync, hash } from 'node:crypto'
import { test } from 'node:test'
import { type Denial, People, ringIssuer } from '@ringwall/ring'
import fc from 'fast-check'
import { MintRequestInvalid } from '../mint-request.ts'
import { checkPerson, type PersonView, readSigned } from './person-check.ts'
import { parsePersonRequest, type SignalFact } from './person-request.ts'

const NOW = 1_800_000_000_000
const RING = 'a'.repeat(64)
const publicKey = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x as string

function viewWith(
  denials: readonly Partial<Denial>[],
  events: readonly string[] = ['session-revoked', 'credential-change'],
): PersonView {
  const ann = { credentials: [{ kind: 'password' }], groups: [], invitation: null, name: 'ann', sinceMs: 0 }
  return {
    ring: RING,
    denials: { find: (id: string) => denials.find((one) => one.id === id) },
    signingKey: { key: publicKey, former: [] },
    nodes: [],
    people: People.from([ann as never]),
    policy: {
      services: {},
      providers: [],
      openid: { issuer: 'https://login.example', streams: [{ name: 'audit', audience: 'aud', events }] },
    },
  } as unknown as PersonView
}

const denial = (subject: object, more: Partial<Denial> = {}): Partial<Denial> => ({
  id: 'd'.repeat(32),
  subject: subject as Denial['subject'],
  issuer: 'operator:ada',
  issuedAtMs: NOW - 5_000,
  ...more,
})
const bobs = denial({ kind: 'issued-before', issuer: ringIssuer(RING), subject: 'person:bob', value: 'x' })
const sessions: SignalFact = { kind: 'sessions', atMs: NOW - 5_000, denial: 'd'.repeat(32) }
const credentials: SignalFact = {
  kind: 'credentials',
  atMs: NOW - 5_000,
  change: 'create',
  credential: 'password',
  person: 'ann',
}
const check = (fact: SignalFact, view: PersonView, stream = 'audit') =>
  checkPerson({ type: 'signal', fact, ring: RING, stream }, view, NOW)

test('a holder signs that sessions are over when a denial that stands says so, and nothing that a node makes up', () => {
  const good = check(sessions, viewWith([bobs]))
  assert.ok(good.ok)
  const [header, body] = Buffer.from(good.message)
    .toString()
    .split('.')
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>)
  assert.equal(header?.typ, 'secevent+jwt')
  assert.deepEqual(body?.sub_id, { format: 'iss_sub', iss: 'https://login.example', sub: 'person:bob' })
  assert.deepEqual(check(sessions, viewWith([bobs])), good, 'one fact is one event')
  const table: readonly (readonly [string, SignalFact, PersonView, string?])[] = [
    ['no denial', sessions, viewWith([])],
    ['of another moment', { ...sessions, atMs: NOW }, viewWith([bobs])],
    ['of a machine', sessions, viewWith([denial({ kind: 'subject', value: 'urn:machine' })])],
    ['of another issuer', sessions, viewWith([denial({ kind: 'subject', issuer: 'https://other', value: 'person:bob' })])],
    ['of an address', sessions, viewWith([denial({ kind: 'ip', value: '192.0.2.1' })])],
    ['of another stream', sessions, viewWith([bobs]), 'other'],
    ['not wanted', sessions, viewWith([bobs], ['credential-change'])],
    ['nobody', { ...credentials, person: 'zed' }, viewWith([])],
    ['another kind', { ...credentials, credential: 'passkey' }, viewWith([])],
    ['still there', { ...credentials, change: 'revoke' }, viewWith([])],
    ['too old', { ...credentials, atMs: NOW - 90_000_000 }, viewWith([])],
    ['to come', { ...credentials, atMs: NOW + 90_000 }, viewWith([])],
  ]
  for (const [what, fact, view, stream] of table) assert.equal(check(fact, view, stream).ok, false, what)
  assert.ok(check(credentials, viewWith([])).ok)
  assert.ok(check({ ...credentials, change: 'revoke', person: 'zed' }, viewWith([])).ok)
})

test('an event is no token of the ring, whoever takes it for one', () => {
  const good = check(sessions, viewWith([bobs]))
  assert.ok(good.ok)
  const token = `${Buffer.from(good.message).toString()}.${hash('sha512', 'x', 'base64url')}`
  assert.equal(readSigned(token, viewWith([]), 'https://login.example'), undefined)
})

test('property: a request for an event is read as it was written, or refused', () => {
  const fact = fc.oneof(
    fc.record({
      kind: fc.constantFrom('sessions', 'credentials', 'verification', 'x'),
      atMs: fc.nat(),
      denial: fc.string(),
      state: fc.string(),
    }),
    fc.constantFrom<object>(sessions, credentials, { kind: 'verification', atMs: NOW, nonce: 'A'.repeat(22), state: 's' }),
  )
  fc.assert(
    fc.property(fact, (one) => {
      try {
        const request = { type: 'signal', fact: one, ring: RING, stream: 'audit' }
        assert.deepEqual(parsePersonRequest(request), request)
      } catch (error) {
        assert.ok(error instanceof MintRequestInvalid, String(error))
      }
    }),
  )
})
