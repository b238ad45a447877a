import assert from 'node:assert/strict'
import { createHash, createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import type { TokenVerdict } from '@ringwall/guard'
import type { IssuerPolicy } from '@ringwall/ring'
import fc from 'fast-check'
import { verifyOperatorToken } from './operator-token.ts'
import { createTokenVerifier } from './token-verifier.ts'

const NOW_MS = 1_800_000_000_000
const NOW_S = NOW_MS / 1_000
const own = generateKeyPairSync('ed25519')
const other = generateKeyPairSync('ed25519')
const publicJwk = { ...own.publicKey.export({ format: 'jwk' }), kid: 'k1' }

const issuer = {
  issuer: 'https://id.example',
  audience: 'shop',
  algorithms: ['EdDSA'],
  jwks: { keys: [publicJwk] },
} as unknown as IssuerPolicy
const CLAIMS = { iss: 'https://id.example', aud: 'shop', sub: 'ada', jti: 't1', exp: NOW_S + 600 }

const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

function token(claims: unknown = CLAIMS, header: unknown = { alg: 'EdDSA', kid: 'k1' }, key = own.privateKey): string {
  const signed = `${part(header)}.${part(claims)}`
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`
}

const check = async (text: string, nowMs = NOW_MS): Promise<TokenVerdict> =>
  createTokenVerifier({ issuers: [issuer] }).verify(text, nowMs)
const codeOf = (verdict: TokenVerdict): string => (verdict.ok ? 'ok' : verdict.code)

test('a good token is accepted, and the second time at once', async () => {
  const verifier = createTokenVerifier({ issuers: [issuer] })
  const text = token()
  const first = await verifier.verify(text, NOW_MS)
  assert.ok(first.ok && first.subject === 'ada' && first.tokenId === 't1')
  assert.equal(verifier.verify(text, NOW_MS + 1), first)
  assert.equal(
    codeOf((await verifier.verify(text, NOW_MS + 700_000)) as TokenVerdict),
    'TOKEN_EXPIRED',
    'remembered tokens expire too',
  )
})

test('what a token can be denied by is read from it: session, device, issuing time, keys', async () => {
  const thumbprint = createHash('sha256')
    .update(JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x: publicJwk.x }))
    .digest('base64url')
  const jwk = other.publicKey.export({ format: 'jwk' })
  const jkt = createHash('sha256')
    .update(JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x: jwk.x }))
    .digest('base64url')
  const x5t = createHash('sha256').update('the certificate of the client').digest('base64url')
  const cnf = { jkt, 'x5t#S256': x5t }
  for (const confirmed of [cnf, { ...cnf, jwk }, { 'x5t#S256': x5t, jwk }]) {
    const verdict = await check(token({ ...CLAIMS, sid: 's1', device_id: 'd1', iat: NOW_S - 5, cnf: confirmed }))
    assert.ok(verdict.ok)
    assert.deepEqual([verdict.sessionId, verdict.deviceId, verdict.issuedAtMs], ['s1', 'd1', NOW_MS - 5_000])
    assert.deepEqual(verdict.keys, [thumbprint, jkt, x5t])
  }
})

const hmacKey = Buffer.from(publicJwk.x as string, 'base64url')
const confused = (() => {
  const signed = `${part({ alg: 'HS256', kid: 'k1' })}.${part(CLAIMS)}`
  return `${signed}.${createHmac('sha256', hmacKey).update(signed).digest('base64url')}`
})()

const bad: readonly [string, string, string][] = [
  ['no signature (alg none)', `${part({ alg: 'none' })}.${part(CLAIMS)}.`, 'TOKEN_MALFORMED'],
  ['alg none with some signature', token(CLAIMS, { alg: 'none', kid: 'k1' }), 'TOKEN_ALGORITHM'],
  ['the public key used as an HMAC secret', confused, 'TOKEN_ALGORITHM'],
  ['an algorithm the issuer does not use', token(CLAIMS, { alg: 'ES256', kid: 'k1' }), 'TOKEN_ALGORITHM'],
  ['a critical extension', token(CLAIMS, { alg: 'EdDSA', kid: 'k1', crit: ['exp'] }), 'TOKEN_CRITICAL'],
  ['an unencoded payload (b64)', token(CLAIMS, { alg: 'EdDSA', kid: 'k1', b64: false }), 'TOKEN_CRITICAL'],
  [
    'a key that the token brings along',
    token(CLAIMS, { alg: 'EdDSA', jwk: other.publicKey.export({ format: 'jwk' }) }, other.privateKey),
    'TOKEN_SIGNATURE',
  ],
  ['an unknown key id', token(CLAIMS, { alg: 'EdDSA', kid: 'k2' }), 'TOKEN_KEY_UNKNOWN'],
  ['another key', token(CLAIMS, { alg: 'EdDSA', kid: 'k1' }, other.privateKey), 'TOKEN_SIGNATURE'],
  ['another issuer', token({ ...CLAIMS, iss: 'https://evil.example' }), 'TOKEN_ISSUER_UNKNOWN'],
  ['another audience', token({ ...CLAIMS, aud: ['mail'] }), 'TOKEN_AUDIENCE'],
  ['no audience', token({ ...CLAIMS, aud: undefined }), 'TOKEN_AUDIENCE'],
  ['no expiry', token({ ...CLAIMS, exp: undefined }), 'TOKEN_NO_EXPIRY'],
  ['an expiry that is a string', token({ ...CLAIMS, exp: '9999999999' }), 'TOKEN_NO_EXPIRY'],
  ['expired', token({ ...CLAIMS, exp: NOW_S - 31 }), 'TOKEN_EXPIRED'],
  ['not yet', token({ ...CLAIMS, nbf: NOW_S + 31 }), 'TOKEN_NOT_YET'],
  [
    'a duplicate claim',
    token(`{"iss":"https://id.example","aud":"shop","exp":${NOW_S + 9},"sub":"ada","sub":"root"}`),
    'TOKEN_MALFORMED',
  ],
  [
    'a duplicate claim in disguise',
    token(`{"iss":"https://id.example","aud":"shop","exp":${NOW_S + 9},"sub":"ada","s\\u0075b":"root"}`),
    'TOKEN_MALFORMED',
  ],
  ['claims that are no object', token('[]'), 'TOKEN_MALFORMED'],
  ['a numeric subject', token({ ...CLAIMS, sub: 7 }), 'TOKEN_MALFORMED'],
  ['a session that is no text', token({ ...CLAIMS, sid: 7 }), 'TOKEN_MALFORMED'],
  ['a device that is no text', token({ ...CLAIMS, device_id: ['d'] }), 'TOKEN_MALFORMED'],
  ['an issuing time that is no number', token({ ...CLAIMS, iat: '1' }), 'TOKEN_MALFORMED'],
  ['a confirmation that is no object', token({ ...CLAIMS, cnf: 'x' }), 'TOKEN_MALFORMED'],
  [
    'a key and the thumbprint of another',
    token({ ...CLAIMS, cnf: { jkt: 'A'.repeat(43), jwk: other.publicKey.export({ format: 'jwk' }) } }),
    'TOKEN_MALFORMED',
  ],
  ['a thumbprint that is none', token({ ...CLAIMS, cnf: { jkt: 'x' } }), 'TOKEN_MALFORMED'],
  ['a key to be bound to that is none', token({ ...CLAIMS, cnf: { jwk: { kty: 'OKP' } } }), 'TOKEN_MALFORMED'],
  ['five parts (JWE)', 'a.b.c.d.e', 'TOKEN_MALFORMED'],
  ['more than 8 KiB', token({ ...CLAIMS, pad: 'x'.repeat(9_000) }), 'TOKEN_TOO_LONG'],
]

for (const [name, text, code] of bad) {
  test(`refused: ${name}`, async () => {
    const verdict = await check(text)
    assert.equal(codeOf(verdict), code)
    assert.ok(!JSON.stringify(verdict).includes(text), 'and the answer does not hold the token')
  })
}

test('property: no changed token verifies', async () => {
  const text = token()
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: text.length - 1 }), fc.constantFrom(...alphabet), async (at, character) => {
      const changed = `${text.slice(0, at)}${character}${text.slice(at + 1)}`
      fc.pre(changed !== text && at < text.length - 2)
      assert.equal((await check(changed)).ok, false)
    }),
    { numRuns: 200 },
  )
})

const operators = [{ name: 'ada', publicKey: own.publicKey.export({ format: 'jwk' }).x as string }]
const SIGNED_IN = { iss: 'ada', aud: 'ring', iat: NOW_S, exp: NOW_S + 60 }
const signIn = (text: string): boolean => verifyOperatorToken(text, { ring: 'ring', operators, nowMs: NOW_MS }).ok

test('an operator’s token: accepted for its ring and its time, refused for anything else', () => {
  const header = { alg: 'EdDSA', kid: 'ada' }
  assert.equal(signIn(token(SIGNED_IN, header)), true)
  const refused: readonly [string, string][] = [
    ['another ring', token({ ...SIGNED_IN, aud: 'other' }, header)],
    ['longer than five minutes', token({ ...SIGNED_IN, exp: NOW_S + 301 }, header)],
    ['expired', token({ ...SIGNED_IN, iat: NOW_S - 200, exp: NOW_S - 60 }, header)],
    ['from the future', token({ ...SIGNED_IN, iat: NOW_S + 60, exp: NOW_S + 90 }, header)],
    ['no times', token({ iss: 'ada', aud: 'ring' }, header)],
    ['in another name', token({ ...SIGNED_IN, iss: 'eve' }, header)],
    ['an unknown operator', token({ ...SIGNED_IN, iss: 'eve' }, { alg: 'EdDSA', kid: 'eve' })],
    ['another key', token(SIGNED_IN, header, other.privateKey)],
    ['another algorithm', token(SIGNED_IN, { alg: 'none', kid: 'ada' })],
    ['no token', ''],
  ]
  for (const [name, text] of refused) assert.equal(signIn(text), false, name)
})
