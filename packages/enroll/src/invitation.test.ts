import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvitationInvalid } from './errors.ts'
import { encodeInvitation, newInvitationKey, parseInvitation } from './invitation.ts'

const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'))
const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
const address = fc
  .tuple(fc.constantFrom('10.0.0.1', 'node-1.example.net', '[2001:db8::1]', 'localhost'), fc.integer({ min: 1, max: 65_535 }))
  .map(([host, port]) => `${host}:${port}`)
const line = fc.record({
  ring: hex,
  privateKey: fc.constant(undefined).map(() => newInvitationKey().privateKey),
  peers: fc.array(fc.record({ address, key }, { noNullPrototype: true }), { minLength: 1, maxLength: 8 }),
})

test('a line says again what was written into it', () => {
  fc.assert(
    fc.property(line, (given) => {
      const read = parseInvitation(`  ${encodeInvitation(given)}\n`)
      assert.equal(read.ring, given.ring)
      assert.deepEqual(read.peers, given.peers)
      assert.equal(read.privateKey.equals(given.privateKey), true)
    }),
    { numRuns: 100 },
  )
})

test('a line that was cut, lengthened or changed in any character is told, and never anything but InvitationInvalid', () => {
  const given = {
    ring: 'ab'.repeat(32),
    privateKey: newInvitationKey().privateKey,
    peers: [{ address: '10.0.0.1:7081', key: 'A'.repeat(43) }],
  }
  const text = encodeInvitation(given)
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom(...'AZaz09-_.+= \u00e9'), (at, character) => {
      if (text[at] === character) return
      const changed = text.slice(0, at) + character + text.slice(at + 1)
      if (changed.trim() === text) return
      assert.throws(() => parseInvitation(changed), InvitationInvalid)
    }),
  )
  for (let length = 0; length < text.length; length += 1)
    assert.throws(() => parseInvitation(text.slice(0, length)), InvitationInvalid)
  assert.throws(() => parseInvitation(`${text}AAAA`), InvitationInvalid)
})

test('any text at all is read or refused', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 400 }), (text) => {
      assert.throws(() => parseInvitation(`ringwall-invite-1.${text}`), InvitationInvalid)
    }),
  )
  assert.throws(() => parseInvitation(`ringwall-invite-1.${'A'.repeat(9_000)}`), /longer than/)
})
