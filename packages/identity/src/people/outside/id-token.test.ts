import assert from 'node:assert/strict'
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import type { ProviderPolicy } from '@ringwall/ring'
import fc from 'fast-check'
import { checkPerson, type PersonView, readSession } from '../person-check.ts'
import { type OutsideRequest, outsideNonce, parsePersonRequest } from '../person-request.ts'
import { alice, NOW, occasion, signed, viewWith } from '../test-people.ts'
import type { ProviderKey } from './id-token.ts'

const issuer = 'https://idp.example'
const [rsa, ec, weak] = [
  generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('rsa', { modulusLength: 1_024 }),
]
const jwk = (key: KeyObject, more: object): ProviderKey => ({ ...key.export({ format: 'jwk' }), ...more }) as ProviderKey
const keys: readonly ProviderKey[] = [
  jwk(rsa.publicKey, { kid: 'r', use: 'sig' }),
  jwk(ec.publicKey, { kid: 'e', alg: 'ES256' }),
  jwk(weak.publicKey, { kid: 'w' }),
  jwk(ec.publicKey, { kid: 'enc', use: 'enc' }),
]

const corp = {
  kind: 'openid',
  name: 'corp',
  issuer,
  clientId: 'ringwall',
  authentication: { method: 'none' },
  scopes: ['openid'],
  algorithms: ['ES256', 'RS256', 'PS256'],
  accounts: 'both',
  claims: { name: 'preferred_username', groups: 'groups' },
  groups: { engineers: 'staff', owners: 'board' },
  domains: ['corp.example'],
} as const

const S = NOW / 1_000
const claims = {
  iss: issuer,
  sub: 'A-1',
  aud: 'ringwall',
  exp: S + 300,
  iat: S - 5,
  nonce: outsideNonce(occasion, 'corp'),
  preferred_username: 'Bob',
  email: 'bob@corp.example',
  email_verified: true,
  groups: ['engineers', 'others', 'engineers'],
}

const encoded = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

function token(more: object = {}, header: object = {}, key: KeyObject = ec.privateKey): string {
  const head = { alg: 'ES256', kid: 'e', ...header }
  const body = `${encoded(head)}.${encoded({ ...claims, ...more })}`
  const options = key.asymmetricKeyType === 'ec' ? { key, dsaEncoding: 'ieee-p1363' as const } : { key }
  const pss = head.alg === 'PS256' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : {}
  return `${body}.${sign('sha256', Buffer.from(body), { ...options, ...pss }).toString('base64url')}`
}

const linked = { ...alice, credentials: [...alice.credentials, { kind: 'outside', provider: 'corp', subject: 'A-1' } as const] }

function view(more: Partial<ProviderPolicy> = {}, people = [alice], serves: readonly string[] = ['corp']): PersonView {
  const held = viewWith({ people, policy: { providers: serves } })
  const providers = [{ ...corp, ...more }] as unknown as ProviderPolicy[]
  return { ...held, policy: { ...held.policy, providers }, providerKeys: () => keys }
}

const request = (idToken: string, more: Partial<OutsideRequest> = {}): OutsideRequest => ({
  ...occasion,
  type: 'outside',
  provider: 'corp',
  proof: { kind: 'openid', idToken },
  ...more,
})

/** The code of the refusal, or `ok`. */
function told(idToken: string, of: PersonView = view(), more: Partial<OutsideRequest> = {}): string {
  const checked = checkPerson(request(idToken, more), of, NOW)
  return checked.ok ? 'ok' : `${checked.code} ${checked.reason}`.replace(/^MINT_PERSON (OUTSIDE_[A-Z]+): .*$/, '$1')
}

function sessionOf(idToken: string, of: PersonView): ReturnType<typeof readSession> {
  const checked = checkPerson(request(idToken), of, NOW)
  assert.ok(checked.ok, checked.ok ? '' : checked.reason)
  return readSession(signed(checked.message), of)
}

test('an ID token for this login makes a session: of who enrolled by it, or of somebody whose name holds the provider’s', () => {
  for (const one of [
    token(),
    token({}, { alg: 'RS256', kid: 'r' }, rsa.privateKey),
    token({}, { alg: 'PS256', kid: 'r' }, rsa.privateKey),
  ])
    assert.equal(told(one), 'ok')
  const made = sessionOf(token(), view())
  assert.deepEqual(
    [made?.sub, made?.groups, made?.amr, made?.idp, made?.idp_sub],
    ['person:corp:bob', ['staff'], ['fed'], 'corp', 'A-1'],
  )
  const own = sessionOf(token(), view({ groups: { engineers: 'pilots' } }, [linked]))
  assert.deepEqual([own?.sub, own?.groups], ['person:alice', ['pilots', 'staff']])
  // Without an id the only key that fits is taken.
  assert.equal(told(token({}, { kid: undefined })), 'ok')
})

test('an ID token that is wrong in one thing makes nothing', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['another login', token({ nonce: outsideNonce({ ...occasion, nonce: 'B'.repeat(22) }, 'corp') }), 'OUTSIDE_OCCASION'],
    ['another provider', token({ nonce: outsideNonce(occasion, 'other') }), 'OUTSIDE_OCCASION'],
    ['another service', token({ nonce: outsideNonce({ ...occasion, service: 'other' }, 'corp') }), 'OUTSIDE_OCCASION'],
    ['no nonce', token({ nonce: undefined }), 'OUTSIDE_OCCASION'],
    ['another issuer', token({ iss: `${issuer}/` }), 'OUTSIDE_ISSUER'],
    ['another client', token({ aud: 'other' }), 'OUTSIDE_AUDIENCE'],
    ['several, asked for by another', token({ aud: ['ringwall', 'other'], azp: 'other' }), 'OUTSIDE_AUDIENCE'],
    ['several, by nobody', token({ aud: ['ringwall', 'other'] }), 'OUTSIDE_AUDIENCE'],
    ['over', token({ exp: S - 61 }), 'OUTSIDE_TIME'],
    ['to come', token({ iat: S + 61 }), 'OUTSIDE_TIME'],
    ['not yet', token({ nbf: S + 61 }), 'OUTSIDE_TIME'],
    ['of before the login', token({ iat: S - 80 }), 'OUTSIDE_TIME'],
    ['without exp', token({ exp: undefined }), 'OUTSIDE_MALFORMED'],
    ['a blank in sub', token({ sub: 'a b' }), 'OUTSIDE_SUBJECT'],
    ['no sub', token({ sub: undefined }), 'OUTSIDE_SUBJECT'],
    ['mail elsewhere', token({ email: 'bob@corp.example.evil.example' }), 'OUTSIDE_DOMAIN'],
    ['mail not verified', token({ email_verified: 'true' }), 'OUTSIDE_DOMAIN'],
    ['no name that can be one', token({ preferred_username: 'a:b' }), 'OUTSIDE_NAME'],
    [
      'another key',
      token({}, { alg: 'RS256', kid: 'r' }, generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey),
      'OUTSIDE_SIGNATURE',
    ],
    ['an unknown key', token({}, { kid: 'x' }), 'OUTSIDE_KEY'],
    ['a key for encrypting', token({}, { kid: 'enc' }), 'OUTSIDE_KEY'],
    ['a key of another kind', token({}, { kid: 'r' }), 'OUTSIDE_KEY'],
    ['a short key', token({}, { alg: 'RS256', kid: 'w' }, weak.privateKey), 'OUTSIDE_SIGNATURE'],
    ['an extension', token({}, { crit: ['x'] }), 'OUTSIDE_ALGORITHM'],
    ['none', `${encoded({ alg: 'none' })}.${encoded(claims)}.AA`, 'OUTSIDE_ALGORITHM'],
    ['no signature', `${encoded({ alg: 'ES256', kid: 'e' })}.${encoded(claims)}.`, 'OUTSIDE_MALFORMED'],
    [
      'a name twice',
      `${encoded({ alg: 'ES256', kid: 'e' })}.${encoded(`{"iss":"${issuer}","iss":"x"}`)}.AAAA`,
      'OUTSIDE_MALFORMED',
    ],
  ]
  for (const [what, idToken, code] of cases) assert.equal(told(idToken), code, what)
  // A public key as the secret of a MAC.
  const body = `${encoded({ alg: 'HS256', kid: 'r' })}.${encoded(claims)}`
  const pem = rsa.publicKey.export({ format: 'pem', type: 'spki' })
  assert.equal(told(`${body}.${createHmac('sha256', pem).update(body).digest('base64url')}`), 'OUTSIDE_ALGORITHM')
  assert.equal(told(token(), { ...view(), providerKeys: () => [] }), 'OUTSIDE_KEY')
})

test('the policy says who may come in by a provider, and what it takes away ends sessions', () => {
  assert.equal(told(token(), view({ accounts: 'linked' })), 'OUTSIDE_UNKNOWN')
  assert.equal(told(token(), view({ accounts: 'linked' }, [linked])), 'ok')
  assert.match(told(token(), view({}, [alice], [])), /^MINT_NOT_ENTITLED/)
  assert.match(told(token(), view(), { provider: 'other' }), /^MINT_NOT_ENTITLED/)
  assert.match(told(token(), view(), { atMs: NOW - 300_001 }), /^MINT_STALE/)
  const [session] = [checkPerson(request(token()), view(), NOW)]
  assert.ok(session.ok)
  const held = signed(session.message)
  const renewed = (of: PersonView): string => {
    const checked = checkPerson({ type: 'renew', atMs: NOW + 1_000, ring: occasion.ring, token: held }, of, NOW + 1_000)
    return checked.ok ? (readSession(signed(checked.message), of)?.groups.join() ?? '') : checked.code
  }
  assert.equal(renewed(view()), 'staff')
  assert.equal(renewed(view({ groups: {} })), '', 'a group that the policy gives no more')
  assert.equal(renewed(view({ accounts: 'linked' })), 'MINT_PERSON')
  assert.equal(renewed(view({}, [linked])), 'MINT_PERSON', 'who enrolled by it meanwhile is somebody else')
  assert.equal(renewed(view({}, [alice], [])), 'MINT_NOT_ENTITLED')
  assert.equal(renewed(view({ name: 'renamed' })), 'MINT_PERSON')
})

test('one occasion comes to one session, whatever the provider signs for it', () => {
  const [a, b] = [sessionOf(token(), view()), sessionOf(token({ groups: [], iat: S }), view())]
  assert.equal(a?.sid, b?.sid)
})

test('property: a request is read in one spelling or not at all, and a changed token is worth nothing', () => {
  const good = token()
  assert.deepEqual(parsePersonRequest(JSON.parse(JSON.stringify(request(good)))), request(good))
  for (const bad of [{ proof: { kind: 'openid', idToken: good, more: 1 } }, { provider: 'A B' }, { proof: { kind: 'x' } }])
    assert.throws(() => parsePersonRequest({ ...request(good), ...bad }), { name: 'MintRequestInvalid' })
  const of = view()
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.constantFrom('A', 'b', '9', '-', '_'), (at, character) => {
      const changed = good.slice(0, at) + character + good.slice(at + 1)
      if (changed !== good) assert.notEqual(told(changed, of), 'ok')
    }),
    { numRuns: 200 },
  )
})
