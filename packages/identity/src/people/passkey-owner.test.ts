import assert from 'node:assert/strict'
import { test } from 'node:test'
import { People } from '@ringwall/ring'
import { passkeyOwner } from './passkey-owner.ts'
import { type LoginOccasion, type LoginProof, loginChallenge } from './person-request.ts'
import { Authenticator, alice, authenticator, occasion, passkeyProof } from './test-people.ts'

type PasskeyProof = Extract<LoginProof, { kind: 'passkey' }>

const people = People.from([alice])
const proofOf = (of: LoginOccasion = occasion, more: Partial<PasskeyProof> = {}): PasskeyProof =>
  ({ ...passkeyProof(of), ...more }) as PasskeyProof
const expected = { challenge: loginChallenge(occasion), rpId: 'app.example' }

test('a passkey is its owner’s by a proof of this occasion alone; one that nobody has is nobody’s, whatever proof is shown', () => {
  assert.equal(passkeyOwner(people, proofOf(), expected)?.name, 'alice')
  assert.equal(passkeyOwner(people, proofOf(), { ...expected, rpId: 'other.example' })?.name, 'alice', 'hers is as it was made')
  const stranger = new Authenticator().says({ challenge: expected.challenge })
  const refused: readonly PasskeyProof[] = [
    proofOf({ ...occasion, nonce: 'B'.repeat(22) }),
    proofOf(occasion, stranger),
    proofOf(occasion, { signature: '' }),
    proofOf(occasion, { id: Buffer.from('another').toString('base64url') }),
    proofOf(occasion, { id: 'constructor' }),
  ]
  for (const proof of refused) assert.equal(passkeyOwner(people, proof, expected), undefined)
})

test('a passkey that nobody has costs the verification of one that somebody has', () => {
  const verified: string[] = []
  const { authenticatorData, clientDataJSON, signature } = authenticator.says({ challenge: expected.challenge })
  const counted = (id: string): PasskeyProof => ({
    kind: 'passkey',
    id,
    authenticatorData,
    clientDataJSON,
    // Read last, once a key is there to verify by.
    get signature() {
      verified.push(id)
      return signature
    },
  })
  for (const id of [authenticator.id, 'nobodys']) passkeyOwner(people, counted(id), expected)
  assert.deepEqual(verified, [authenticator.id, 'nobodys'])
})
