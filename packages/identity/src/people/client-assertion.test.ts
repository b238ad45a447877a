import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { ringIssuer } from '@ringwall/ring'
import fc from 'fast-check'
import { MintRequestInvalid } from '../mint-request.ts'
import { checkPerson, type PersonView, readSigned } from './person-check.ts'
import { type ClientRequest, parsePersonRequest } from './person-request.ts'

const NOW = 1_800_000_000_000
const RING = 'a'.repeat(64)
const ISSUER = 'https://corp.example'
const publicKey = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x as string

function viewWith(clientId: string, method: string, kind = 'openid'): PersonView {
  return {
    ring: RING,
    signingKey: { key: publicKey, former: [] },
    nodes: [],
    policy: {
      services: {},
      providers: [{ kind, name: 'corp', issuer: ISSUER, clientId, authentication: { method } }],
      openid: { issuer: 'https://login.example', streams: [] },
    },
  } as unknown as PersonView
}

const asked: ClientRequest = { type: 'client', atMs: NOW, nonce: 'A'.repeat(22), provider: 'corp', ring: RING }
const check = (request: Partial<ClientRequest>, view: PersonView) => checkPerson({ ...asked, ...request }, view, NOW)
const good = viewWith('ringwall', 'private_key_jwt')

test('a holder signs that the ring is the client that its policy names, for that provider alone and for a minute', () => {
  const made = check({}, good)
  assert.ok(made.ok)
  const [header, claims] = Buffer.from(made.message)
    .toString()
    .split('.')
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>)
  assert.equal(header?.typ, 'client-authentication+jwt')
  assert.equal(header?.alg, 'EdDSA')
  const { jti, ...rest } = claims ?? {}
  const iat = NOW / 1_000
  assert.deepEqual(rest, { aud: ISSUER, exp: iat + 60, iat, iss: 'ringwall', sub: 'ringwall' })
  assert.match(String(jti), /^[0-9a-f]{32}$/)
  assert.deepEqual(check({}, good), made, 'the same request makes the same')
  assert.notDeepEqual(check({ nonce: 'B'.repeat(22) }, good), made)
})

test('nothing is signed of another ring, another moment, a provider that takes something else, or in the ring’s own name', () => {
  const table: readonly (readonly [string, Partial<ClientRequest>, PersonView])[] = [
    ['another ring', { ring: 'b'.repeat(64) }, good],
    ['long ago', { atMs: NOW - 31_000 }, good],
    ['to come', { atMs: NOW + 31_000 }, good],
    ['no such provider', { provider: 'other' }, good],
    ['a provider that takes a secret', {}, viewWith('ringwall', 'client_secret_basic')],
    ['a provider that takes none', {}, viewWith('ringwall', 'none')],
    ['one of SAML', {}, viewWith('ringwall', 'private_key_jwt', 'saml')],
    ['a client called as the ring is', {}, viewWith(ringIssuer(RING), 'private_key_jwt')],
    ['a client called as its issuer is', {}, viewWith('https://login.example', 'private_key_jwt')],
  ]
  for (const [what, request, view] of table) assert.equal(check(request, view).ok, false, what)
})

test('what shows the ring to be a client is no token of the ring, whoever takes it for one', () => {
  const made = check({}, good)
  assert.ok(made.ok)
  assert.equal(readSigned(`${Buffer.from(made.message).toString()}.${'A'.repeat(86)}`, good, 'ringwall'), undefined)
})

test('property: a request to be shown as a client is read as it was written, or refused', () => {
  const field = fc.oneof(fc.string(), fc.nat(), fc.constant(undefined))
  fc.assert(
    fc.property(fc.record({ atMs: field, nonce: field, provider: field, more: field }, { requiredKeys: [] }), (some) => {
      const request = { ...asked, ...some }
      try {
        assert.deepEqual(parsePersonRequest(request), request)
      } catch (error) {
        assert.ok(error instanceof MintRequestInvalid, String(error))
      }
    }),
  )
  assert.deepEqual(parsePersonRequest(asked), asked)
})
