import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import { type Denial, ringIssuer } from '@ringwall/ring'
import { subjectId } from '@ringwall/ring/tx'
import type { CodeClaims } from './openid-check.ts'
import { checkPerson, type PersonView, readSigned } from './person-check.ts'
import type { CodeRequest, PersonRequest, TokensRequest } from './person-request.ts'
import { alice, NOW, occasion, passkeyProof, RING, signed, viewWith } from './test-people.ts'

const VERIFIER = 'v'.repeat(43)
const openid = {
  service: 'app',
  issuer: 'https://login.example',
  clients: [
    { id: 'web', redirectUris: ['https://web.example/cb'], postLogoutRedirectUris: [], consent: 'skip', groups: [] },
    { id: 'board', redirectUris: ['https://web.example/cb'], postLogoutRedirectUris: [], consent: 'skip', groups: ['board'] },
  ],
}

function view(denials: readonly Denial[] = [], more: Parameters<typeof viewWith>[0] = {}): PersonView {
  const plain = viewWith({ denials, ...more })
  return { ...plain, policy: { ...plain.policy, openid } } as unknown as PersonView
}

function made(request: PersonRequest, of: PersonView = view()): string {
  const checked = checkPerson(request, of, NOW)
  assert.ok(checked.ok, checked.ok ? '' : checked.reason)
  return signed(checked.message)
}

const codeOf = (request: PersonRequest, of: PersonView = view()): string => {
  const checked = checkPerson(request, of, NOW)
  return checked.ok ? 'ok' : checked.code
}

const session = made({ ...occasion, type: 'login', person: 'alice', proof: passkeyProof() })

const asked = (more: Partial<CodeRequest> = {}): CodeRequest => ({
  type: 'code',
  atMs: NOW,
  challenge: hash('sha256', VERIFIER, 'base64url'),
  client: 'web',
  jkt: '',
  nonce: 'n',
  redirectUri: 'https://web.example/cb',
  ring: RING,
  scope: 'groups offline_access openid profile',
  token: session,
  ...more,
})

const denial = (subject: Denial['subject'], reason: string): Denial => ({
  id: subjectId(subject),
  subject,
  reason,
  issuer: 'node:n1',
  issuedAtMs: NOW + 1_000,
  expiresAtMs: NOW + 600_000,
  height: 1,
})

const code = made(asked())
const claims = readSigned(code, view()) as unknown as CodeClaims
const used = denial({ kind: 'token', value: claims.jti }, 'used once: AAAAAAAAAAAAAAAAAAAAAA')
const tokens = (want: TokensRequest['want'], more: Partial<TokensRequest> = {}): TokensRequest => ({
  type: 'tokens',
  grant: code,
  proof: '',
  ring: RING,
  verifier: VERIFIER,
  want,
  ...more,
})

test('a code is for a session at the provider, a client of the policy and an address of its own', () => {
  assert.equal(claims.exp - claims.iat, 60)
  assert.equal(codeOf(asked({ client: 'nobody' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(asked({ redirectUri: 'https://web.example/cb/' })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(asked({ client: 'board' })), 'MINT_NOT_ENTITLED', 'alice is not on the board')
  assert.equal(codeOf(asked({ token: code })), 'MINT_PERSON', 'a code is no session')
  assert.equal(codeOf(asked(), view([], { people: [] })), 'MINT_PERSON')
  assert.equal(codeOf(asked(), view([], { people: [{ ...alice, sinceMs: NOW }] })), 'MINT_PERSON', 'reset since')
  assert.equal(codeOf(asked({ atMs: NOW - 61_000 })), 'MINT_STALE')
  const ended = denial({ kind: 'session', issuer: ringIssuer(RING), value: claims.psid }, 'lost')
  assert.equal(codeOf(asked(), view([ended])), 'MINT_PERSON')
})

test('nothing is given for a code before the ring has agreed that it is used, nor without its verifier', () => {
  assert.equal(codeOf(tokens('id')), 'MINT_STALE')
  const revoked = denial({ kind: 'token', value: claims.jti }, 'revoked by who held it')
  assert.equal(codeOf(tokens('id'), view([revoked])), 'MINT_STALE')
  for (const verifier of ['', 'w'.repeat(43)]) assert.equal(codeOf(tokens('id', { verifier }), view([used])), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(tokens('id', { grant: session }), view([used])), 'MINT_PERSON', 'a session is no grant')
})

test('one redemption comes to one set of tokens, each of its own kind', () => {
  const now = view([used])
  const [id, access, refresh] = [made(tokens('id'), now), made(tokens('access'), now), made(tokens('refresh'), now)]
  assert.equal(made(tokens('access'), now), access)
  const said = readSigned(id, now, openid.issuer)!
  assert.deepEqual(
    [said.aud, said.sub, said.nonce, said.preferred_username, said.groups],
    ['web', 'person:alice', 'n', 'alice', ['staff']],
  )
  assert.equal(said.iat, Math.floor(used.issuedAtMs / 1_000))
  assert.equal(readSigned(id, now), undefined, 'an ID token is none of the ring’s own')
  assert.deepEqual(
    [access, refresh].map((token) => readSigned(token, now)?.use),
    ['access', 'refresh'],
  )
  assert.equal(codeOf(tokens('access', { grant: access }), now), 'MINT_PERSON', 'an access token redeems nothing')
  const again = readSigned(refresh, now) as unknown as CodeClaims
  const rotated = view([used, denial({ kind: 'token', value: again.jti }, 'used once: B')])
  const next = made(tokens('refresh', { grant: refresh, verifier: '' }), rotated)
  assert.notEqual(next, refresh)
  assert.equal((readSigned(next, rotated) as unknown as CodeClaims).sid, claims.sid)
})

/** A proof of a key for the token endpoint (RFC 9449 section 4.2), and its thumbprint. */
function proofBy(
  { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject },
  more: object = {},
): [string, string] {
  const { crv, kty, x } = publicKey.export({ format: 'jwk' })
  const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const said = { jti: 'j', htm: 'POST', htu: 'https://login.example/.ringwall/oidc/token', iat: NOW / 1_000, ...more }
  const body = `${encoded({ typ: 'dpop+jwt', alg: 'EdDSA', jwk: { crv, kty, x } })}.${encoded(said)}`
  const thumbprint = hash('sha256', JSON.stringify({ crv, kty, x }), 'base64url')
  return [`${body}.${sign(null, Buffer.from(body), privateKey).toString('base64url')}`, thumbprint]
}

test('who shows a proof of a key gets tokens bound to it; each holder looks at the proof itself', () => {
  const [mine, other] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')]
  const [proof, jkt] = proofBy(mine)
  const now = view([used])
  const cnfOf = (token: string, of: PersonView): unknown => (readSigned(token, of) as unknown as CodeClaims).cnf
  assert.deepEqual(cnfOf(made(tokens('access', { proof }), now), now), { jkt })
  const refresh = made(tokens('refresh', { proof }), now)
  assert.deepEqual(cnfOf(refresh, now), { jkt }, 'of a public client')
  const rotated = view([
    used,
    denial({ kind: 'token', value: (readSigned(refresh, now) as unknown as CodeClaims).jti }, 'used once: B'),
  ])
  const next = (by: string): string => codeOf(tokens('access', { grant: refresh, verifier: '', proof: by }), rotated)
  assert.equal(next(proof), 'ok')
  assert.equal(next(''), 'MINT_PROOF', 'no proof')
  assert.equal(next(proofBy(other)[0]), 'MINT_PROOF', 'of another key')
  for (const wrong of [
    { htm: 'GET' },
    { htu: 'https://login.example/.ringwall/oidc/userinfo' },
    { iat: NOW / 1_000 - 61 },
    { jti: '' },
  ])
    assert.equal(codeOf(tokens('access', { proof: proofBy(mine, wrong)[0] }), now), 'MINT_PROOF', JSON.stringify(wrong))
  assert.equal(codeOf(tokens('access', { proof: `${proof.slice(0, -4)}AAAA` }), now), 'MINT_PROOF')
  // A code that was asked for with dpop_jkt is redeemed by that key alone.
  const bound = made(asked({ jkt }))
  const agreed = view([
    denial({ kind: 'token', value: (readSigned(bound, view()) as unknown as CodeClaims).jti }, 'used once: C'),
  ])
  assert.equal(codeOf(tokens('id', { grant: bound, proof }), agreed), 'ok')
  assert.equal(codeOf(tokens('id', { grant: bound }), agreed), 'MINT_PROOF')
  assert.equal(codeOf(tokens('id', { grant: bound, proof: proofBy(other)[0] }), agreed), 'MINT_PROOF')
})

test('a grant ends with itself, with its session, its person and its client', () => {
  const of = (kind: 'session' | 'subject', value: string): Denial => denial({ kind, issuer: ringIssuer(RING), value }, 'lost')
  for (const one of [of('session', claims.sid), of('session', claims.psid), of('subject', 'person:alice')])
    assert.equal(codeOf(tokens('access'), view([used, one])), 'MINT_PERSON')
  assert.equal(codeOf(tokens('access'), view([used], { people: [] })), 'MINT_PERSON')
  const without = { ...view([used]), policy: { services: {} } } as unknown as PersonView
  assert.equal(codeOf(tokens('access'), without), 'MINT_PERSON')
  const plain = made(asked({ scope: 'openid' }))
  const jti = (readSigned(plain, view()) as unknown as CodeClaims).jti
  const taken = view([denial({ kind: 'token', value: jti }, 'used once: C')])
  assert.equal(codeOf(tokens('refresh', { grant: plain }), taken), 'MINT_NOT_ENTITLED', 'no offline_access')
  assert.equal(readSigned(made(tokens('id', { grant: plain }), taken), taken, openid.issuer)?.groups, undefined)
})
