import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { Authenticator } from './test-people.ts'
import { assertionFault, isOriginOf, registrationFault } from './webauthn.ts'

const own = new Authenticator()
const expected = { challenge: 'Y2hhbGxlbmdl', rpId: 'app.example' }

/** aaguid, length, id: what follows is not looked at. */
const attested = (id: string): Uint8Array => {
  const bytes = Buffer.from(id, 'base64url')
  return Buffer.concat([Buffer.alloc(16), Buffer.of(bytes.length >> 8, bytes.length & 255), bytes, Buffer.from('cose')])
}

const made = (more: Parameters<Authenticator['says']>[0] = {}) => {
  const says = { type: 'webauthn.create', challenge: expected.challenge, flags: 0x45, attested: attested(own.id), ...more }
  const { authenticatorData, clientDataJSON } = own.says(says)
  return { authenticatorData, clientDataJSON, id: own.id, publicKey: own.publicKey }
}

test('a new credential is taken when it is for this domain, challenge and id', () => {
  assert.equal(registrationFault(made(), expected), undefined)
  assert.match(registrationFault(made({ type: 'webauthn.get' }), expected)!, /webauthn.create/)
  assert.match(registrationFault(made({ challenge: 'b3RoZXI' }), expected)!, /challenge/)
  assert.match(registrationFault(made({ origin: 'https://evil.example' }), expected)!, /another site/)
  assert.match(registrationFault(made({ flags: 0x05 }), expected)!, /no credential/)
  assert.match(registrationFault(made({ flags: 0x41 }), expected)!, /verified/)
  assert.match(registrationFault(made({ attested: attested('b3RoZXI') }), expected)!, /another credential/)
  assert.match(registrationFault(made({ attested: attested(own.id).subarray(0, 20) }), expected)!, /another credential/)
  assert.match(registrationFault(made({ attested: new Uint8Array(10) }), expected)!, /cut off/)
})

test('keys of other kinds, too short, or with something after them are not taken', () => {
  const kinds = [
    generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
    generateKeyPairSync('rsa', { modulusLength: 1_024 }),
    generateKeyPairSync('x25519'),
  ]
  for (const { publicKey } of kinds) {
    const key = publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
    assert.match(registrationFault({ ...made(), publicKey: key }, expected)!, /kind/)
  }
  const longer = Buffer.concat([Buffer.from(own.publicKey, 'base64url'), Buffer.of(0)]).toString('base64url')
  assert.match(registrationFault({ ...made(), publicKey: longer }, expected)!, /kind/)
})

test('origins: https and the domain or below; http on this machine alone', () => {
  for (const good of ['https://app.example', 'https://a.app.example', 'https://app.example:8443'])
    assert.ok(isOriginOf(good, 'app.example'), good)
  assert.ok(isOriginOf('http://localhost:8081', 'localhost'))
  for (const bad of [
    '',
    'null',
    'https://app.example.',
    'https://xapp.example',
    'https://app.example@evil.example',
    'ftp://app.example',
  ])
    assert.ok(!isOriginOf(bad, 'app.example'), bad)
})

test('property: whatever an authenticator is said to have said is answered, never thrown at', () => {
  const text = fc.oneof(
    fc.string(),
    fc.base64String(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('base64url')),
  )
  fc.assert(
    fc.property(text, text, text, text, (authenticatorData, clientDataJSON, signature, key) => {
      assert.equal(typeof assertionFault({ authenticatorData, clientDataJSON, signature }, key, expected), 'string')
      assert.equal(
        typeof registrationFault({ authenticatorData, clientDataJSON, id: signature, publicKey: key }, expected),
        'string',
      )
    }),
  )
})
