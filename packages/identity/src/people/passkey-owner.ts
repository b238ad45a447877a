/** Whose passkey is shown, before anybody is asked to sign a session for it: in the same time and words for one that nobody has. */
import { generateKeyPairSync } from 'node:crypto'
import type { People, Person } from '@ringwall/ring'
import type { LoginProof } from './person-request.ts'
import { assertionFault, type PasskeyExpected } from './webauthn.ts'

type PasskeyProof = Extract<LoginProof, { readonly kind: 'passkey' }>

/** No name that anybody can have. */
const NOBODY = '(nobody here)'
/** Of the kind that nearly all passkeys are (ES256). Nobody has the other half. */
let nobodys: string | undefined

/**
 * Undefined: nobody has it, or this is no proof by it. Both cost one verification.
 *
 * @param expected The occasion of the login, and the domain of passkeys that are made now.
 */
export function passkeyOwner(people: People, proof: PasskeyProof, expected: PasskeyExpected): Person | undefined {
  nobodys ??= generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .publicKey.export({ format: 'der', type: 'spki' })
    .toString('base64url')
  // A passkey that somebody has takes a second look-up, by their name.
  const person = people.byPasskey(proof.id) ?? people.get(NOBODY)
  const passkey = person?.credentials.find((one) => one.kind === 'passkey' && one.id === proof.id)
  const held = passkey?.kind === 'passkey' ? passkey : { publicKey: nobodys, rpId: expected.rpId }
  const fault = assertionFault(proof, held.publicKey, { challenge: expected.challenge, rpId: held.rpId })
  return fault === undefined ? person : undefined
}
