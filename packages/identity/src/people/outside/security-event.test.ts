import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import type { ProviderPolicy } from '@ringwall/ring'
import { checkPerson, type PersonView, readSigned } from '../person-check.ts'
import { parsePersonRequest } from '../person-request.ts'
import { alice, NOW, RING, signed, viewWith } from '../test-people.ts'

const issuer = 'https://idp.example'
const pair = generateKeyPairSync('ed25519')
const keys = [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'k' }]
const S = NOW / 1_000
const REVOKED = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
const CHANGED = 'https://schemas.openid.net/secevent/caep/event-type/credential-change'
const linked = { ...alice, credentials: [{ kind: 'outside', provider: 'corp', subject: 'A-1' } as const] }

function view(more: object = {}): PersonView {
  const corp = {
    kind: 'openid',
    name: 'corp',
    issuer,
    clientId: 'ringwall',
    algorithms: ['EdDSA'],
    accounts: 'both',
    claims: { name: 'preferred_username', groups: 'groups' },
    groups: {},
    domains: [],
    signals: {},
    ...more,
  }
  const held = viewWith({ people: [linked], ringPolicy: { providers: [corp] as unknown as ProviderPolicy[] } })
  return { ...held, providerKeys: () => keys }
}

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const said = {
  iss: issuer,
  aud: 'ringwall',
  iat: S - 1,
  jti: 'e1',
  sub_id: { format: 'iss_sub', iss: issuer, sub: 'A-1' },
  events: { [REVOKED]: { event_timestamp: S - 5 } },
}

function set(more: object = {}, header: object = {}, key: KeyObject = pair.privateKey): string {
  const body = `${encoded({ alg: 'EdDSA', typ: 'secevent+jwt', kid: 'k', ...header })}.${encoded({ ...said, ...more })}`
  return `${body}.${sign(null, Buffer.from(body), key).toString('base64url')}`
}

function told(of: string, by: PersonView = view()): string {
  const checked = checkPerson({ type: 'event', provider: 'corp', ring: RING, set: of }, by, NOW)
  return checked.ok
    ? 'ok'
    : `${checked.code} ${checked.reason}`.replace(/^(?:MINT_PROOF|MINT_PERSON) (OUTSIDE_[A-Z]+): .*$/, '$1')
}

test('a session revoked or a credential changed at the provider comes to one token, which ends sessions of before', () => {
  for (const event of [
    said,
    { ...said, events: { [CHANGED]: { credential_type: 'password', change_type: 'update' } } },
    // As earlier drafts have it.
    { ...said, sub_id: undefined, events: { [REVOKED]: { subject: said.sub_id, event_timestamp: S - 5 } } },
  ]) {
    const request = { type: 'event', provider: 'corp', ring: RING, set: set(event) } as const
    assert.deepEqual(parsePersonRequest(JSON.parse(JSON.stringify(request))), request)
    const checked = checkPerson(request, view(), NOW)
    assert.ok(checked.ok, checked.ok ? '' : checked.reason)
    const claims = readSigned(signed(checked.message), view())
    assert.deepEqual([claims?.use, claims?.sub, claims?.iat], ['event', 'person:alice', S - 1])
    assert.ok(Number(claims?.before) <= S)
  }
  // Where the provider’s sub is what somebody is called here, that is enough.
  const named = view({ accounts: 'made', claims: { name: 'sub', groups: 'groups' } })
  const checked = checkPerson({ type: 'event', provider: 'corp', ring: RING, set: set() }, named, NOW)
  assert.ok(checked.ok)
  assert.equal(readSigned(signed(checked.message), named)?.sub, 'person:corp:a-1')
})

test('an event that is wrong in one thing ends nothing', () => {
  const stranger = generateKeyPairSync('ed25519').privateKey
  for (const [what, token, code] of [
    ['no event', set({}, { typ: 'JWT' }), 'OUTSIDE_MALFORMED'],
    ['no type', set({}, { typ: undefined }), 'OUTSIDE_MALFORMED'],
    ['another issuer', set({ iss: 'https://other.example' }), 'OUTSIDE_ISSUER'],
    ['another audience', set({ aud: 'other' }), 'OUTSIDE_AUDIENCE'],
    ['another key', set({}, {}, stranger), 'OUTSIDE_SIGNATURE'],
    ['an unknown key', set({}, { kid: 'x' }), 'OUTSIDE_KEY'],
    ['another algorithm', set({}, { alg: 'none' }), 'OUTSIDE_ALGORITHM'],
    ['of last week', set({ iat: S - 7 * 86_400 }), 'OUTSIDE_TIME'],
    ['to come', set({ iat: S + 3_600 }), 'OUTSIDE_TIME'],
    ['about a time to come', set({ events: { [REVOKED]: { event_timestamp: S + 86_400 } } }), 'OUTSIDE_TIME'],
    ['with an end', set({ exp: S + 60 }), 'OUTSIDE_MALFORMED'],
    ['without an id', set({ jti: undefined }), 'OUTSIDE_MALFORMED'],
    ['two events', set({ events: { [REVOKED]: {}, [CHANGED]: {} } }), 'OUTSIDE_MALFORMED'],
    ['another event', set({ events: { 'urn:x': {} } }), 'OUTSIDE_MALFORMED'],
    ['nobody', set({ sub_id: undefined }), 'OUTSIDE_SUBJECT'],
    ['somebody of another issuer', set({ sub_id: { ...said.sub_id, iss: 'https://other.example' } }), 'OUTSIDE_SUBJECT'],
    ['somebody by mail', set({ sub_id: { format: 'email', email: 'a@b.example' } }), 'OUTSIDE_SUBJECT'],
    ['somebody who is not here', set({ sub_id: { ...said.sub_id, sub: 'A-2' } }), 'OUTSIDE_NAME'],
  ] as const)
    assert.equal(told(token), code, what)
  assert.match(told(set(), view({ signals: undefined })), /^MINT_NOT_ENTITLED/)
})
