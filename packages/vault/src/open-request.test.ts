import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonicalJson, encodeBase64url } from '@ringwall/ring/tx'
import fc from 'fast-check'
import { OPEN_SECRETS_MAX, openSigningBytes, parseSignedOpenRequest, type SignedOpenRequest } from './open-request.ts'

const bytes = (least: number, most = least) => fc.uint8Array({ minLength: least, maxLength: most }).map(encodeBase64url)
const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}(\/[a-z0-9]{1,8}){0,3}$/)
const secrets = fc.uniqueArray(fc.record({ name, version: fc.nat() }), {
  minLength: 1,
  maxLength: 8,
  selector: ({ name: held, version }) => `${held} ${version}`,
})
const common = {
  atMs: fc.nat(),
  nonce: bytes(16),
  proven: fc.boolean(),
  replyTo: bytes(32),
  ring: fc.constant('ab'.repeat(32)),
  secrets,
}
const request = fc.oneof(
  fc.record({ ...common, issuer: fc.constant('operator:ada'), certificate: fc.constant('') }),
  fc.record({ ...common, issuer: fc.constant('service:shop'), certificate: bytes(1, 1_024) }),
)
const signed: fc.Arbitrary<SignedOpenRequest> = fc.record({ request, signature: bytes(64, 80) })

test('property: a request is read as it was written, and what is signed tells any two apart', () => {
  fc.assert(
    fc.property(signed, signed, (one, other) => {
      const read = parseSignedOpenRequest(JSON.parse(JSON.stringify(one)))
      assert.equal(canonicalJson(read), canonicalJson(one))
      const same = canonicalJson(one.request) === canonicalJson(other.request)
      assert.equal(Buffer.compare(openSigningBytes(one.request), openSigningBytes(other.request)) === 0, same)
    }),
  )
})

test('property: anything else is refused with what was expected, never with another error', () => {
  fc.assert(
    fc.property(
      signed,
      fc.constantFrom('atMs', 'certificate', 'issuer', 'nonce', 'proven', 'replyTo', 'ring', 'secrets'),
      fc.jsonValue(),
      (one, key, value) => {
        const changed = { ...one, request: { ...one.request, [key]: value } }
        try {
          const read = parseSignedOpenRequest(changed)
          assert.equal(canonicalJson(read), canonicalJson(changed))
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'VAULT_MALFORMED')
          assert.match((error as Error).message, /must be/)
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('more secrets than a request may name, one twice, or a name that climbs, is refused', () => {
  const base = fc.sample(signed, 1)[0] as SignedOpenRequest
  const parse = (list: unknown): unknown => parseSignedOpenRequest({ ...base, request: { ...base.request, secrets: list } })
  const many = Array.from({ length: OPEN_SECRETS_MAX + 1 }, (_, i) => ({ name: `s${i}`, version: 0 }))
  assert.doesNotThrow(() => parse(many.slice(1)))
  for (const list of [
    many,
    [],
    [many[0], many[0]],
    [{ name: '../x', version: 0 }],
    [{ name: 'a//b', version: 0 }],
    [{ name: 'a/'.repeat(120), version: 0 }],
    [{ name: `${'a'.repeat(63)}/`.repeat(4).slice(0, -1), version: 0 }],
    [{ name: 'a', version: -1 }],
    [{ name: 'a', version: 0, more: 1 }],
  ])
    assert.throws(() => parse(list), { code: 'VAULT_MALFORMED' })
})
