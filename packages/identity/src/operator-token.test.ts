import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { verifyOperatorToken } from './operator-token.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const NOW = 1_800_000_000
const operators = [{ name: 'ada', publicKey: publicKey.export({ format: 'jwk' }).x as string }]
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function token(claims: object = {}, header: object = {}, key = privateKey): string {
  const signed = `${part({ alg: 'EdDSA', kid: 'ada', ...header })}.${part({ iss: 'ada', aud: 'ring', iat: NOW, exp: NOW + 60, ...claims })}`
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`
}

const verdict = (text: string, ring = 'ring'): string => {
  const found = verifyOperatorToken(text, { ring, operators, nowMs: NOW * 1_000 })
  return found.ok ? found.operator : found.reason
}

test('an operator’s token says who it is', () => assert.equal(verdict(token()), 'ada'))

test('anything else is refused, with a reason that does not hold the token', () => {
  const good = token()
  for (const [text, says] of [
    ['', /no compact JWS/],
    [`${good}.x`, /no compact JWS/],
    ['x'.repeat(3_000), /no compact JWS/],
    [token({}, { alg: 'none' }), /not signed with EdDSA/],
    [token({}, { alg: 'HS256' }), /not signed with EdDSA/],
    [token({}, { crit: ['x'] }), /not signed with EdDSA/],
    [token({}, { kid: 'eve' }), /no such operator/],
    [token({ iss: 'eve' }), /no such operator/],
    [token({ aud: 'other' }), /another ring/],
    [token({}, {}, generateKeyPairSync('ed25519').privateKey), /does not verify/],
    [`${good.slice(0, -10)}${good.at(-10) === 'A' ? 'B' : 'A'}${good.slice(-9)}`, /does not verify/],
    [token({ exp: NOW + 301 }), /does not live up to 300 s/],
    [token({ iat: NOW + 20, exp: NOW + 10 }), /does not live up to 300 s/],
    [token({ exp: NOW }), /does not live up to 300 s/],
    [token({ iat: NOW - 200, exp: NOW - 100 }), /has expired/],
    [token({ iat: NOW + 100, exp: NOW + 200 }), /from the future/],
    [token({ iat: '1' }), /does not live up/],
  ] as const) {
    assert.match(verdict(text), says)
    assert.ok(text.length < 20 || !verdict(text).includes(text))
  }
})
