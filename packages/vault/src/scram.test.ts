import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPassword, scramVerifier } from './scram.ts'

test('the verifier is that of RFC 7677’s example', () => {
  // "pencil", with the salt of section 3; what PostgreSQL itself stores is compared in e2e/leases.ts, where it lets users in.
  const verifier = scramVerifier('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'))
  assert.equal(
    verifier,
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  )
})

test('each password is another one, of 192 random bits, and its verifier says nothing of it', () => {
  const [one, other] = [newPassword(), newPassword()]
  assert.notEqual(one.password, other.password)
  assert.match(one.password, /^[A-Za-z0-9_-]{32}$/)
  assert.ok(!one.verifier.includes(one.password))
})
