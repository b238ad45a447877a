/**
 * What may be stated about people: operators add, reset and remove them; a node passes on what somebody with an invitation chose to log in with.
 * The link holds a key, and the choice is signed with it: a node that never saw the link can enrol nothing.
 */
import { canonicalJson } from './canonical-json.ts'
import { decodeBase64url, encodeUtf8, isBase64url } from './encoding.ts'
import type { Verify } from './nodes.ts'
import { CREDENTIALS_MAX, PEOPLE_MAX, type People, type Person, type PersonCredential } from './people.ts'
import type { PersonStatement } from './person-parsing.ts'
import type { TxContent } from './types.ts'

export const INVITATION_MS_MAX = 30 * 86_400_000
const ENROL_DOMAIN = 'RINGWALL_ENROL_V1\n'
/** Tokens live an hour at most; sessions end by what the state says of the person. */
const ENDED_MS = 3_900_000

export type PersonRefusalCode =
  | 'PERSON_UNKNOWN'
  | 'PEOPLE_FULL'
  | 'INVITATION_INVALID'
  | 'CREDENTIAL_INVALID'
  | 'CREDENTIALS_FULL'

type Refusal = { readonly code: PersonRefusalCode; readonly reason: string }

const refuse = (code: PersonRefusalCode, reason: string): Refusal => ({ code, reason })

/** What the key of an invitation signs. */
export function enrolmentBytes(ring: string, name: string, credential: PersonCredential): Uint8Array {
  return encodeUtf8(ENROL_DOMAIN + canonicalJson({ credential, name, ring }))
}

/** `sub` of somebody's tokens. */
export function personSubject(name: string): string {
  return `person:${name}`
}

/** Undefined when the statement may be applied. Who signed it is looked at elsewhere. */
export function refusalOfPersonStatement(
  people: People,
  { ring, atMs }: Pick<TxContent, 'ring' | 'atMs'>,
  body: PersonStatement,
  nowMs: number,
  verify: Verify,
): Refusal | undefined {
  const held = people.get(body.name)
  if (body.type === 'person.enrol') return refusalOfEnrolment(people, held, ring, body, nowMs, verify)
  if (body.type !== 'person.remove' && body.invitation !== null) {
    const { untilMs } = body.invitation
    if (untilMs <= nowMs || untilMs > atMs + INVITATION_MS_MAX)
      return refuse('INVITATION_INVALID', 'an invitation ends in the future, and within 30 days')
  }
  if (body.type !== 'person.put')
    return held === undefined ? refuse('PERSON_UNKNOWN', `the ring knows nobody as ${body.name}; see person ls`) : undefined
  if (held === undefined && people.size >= PEOPLE_MAX)
    return refuse('PEOPLE_FULL', `the ring knows ${PEOPLE_MAX} people; remove some`)
  return undefined
}

function refusalOfEnrolment(
  people: People,
  held: Person | undefined,
  ring: string,
  { name, credential, proof }: Extract<PersonStatement, { type: 'person.enrol' }>,
  nowMs: number,
  verify: Verify,
): Refusal | undefined {
  // One answer for all that is wrong with an invitation: it says nothing about who there is.
  const invalid = refuse('INVITATION_INVALID', 'the invitation is used up, over, or none of this ring’s')
  if (held?.invitation == null || held.invitation.untilMs <= nowMs) return invalid
  const signed = enrolmentBytes(ring, name, credential)
  if (!isBase64url(held.invitation.key, 32) || !verify(decodeBase64url(held.invitation.key), signed, decodeBase64url(proof)))
    return invalid
  if (credential.kind === 'passkey' && people.byPasskey(credential.id) !== undefined)
    return refuse('CREDENTIAL_INVALID', 'this passkey is known already')
  if (credential.kind === 'outside' && people.byOutside(credential.provider, credential.subject) !== undefined)
    return refuse('CREDENTIAL_INVALID', `somebody is known by this account of ${credential.provider} already`)
  const others = held.credentials.filter((one) => credential.kind !== 'password' || one.kind !== 'password')
  if (others.length >= CREDENTIALS_MAX)
    return refuse('CREDENTIALS_FULL', `${CREDENTIALS_MAX} credentials are there already: have them reset`)
  return undefined
}

/** Applies a statement that was not refused. @param nowMs The block's. */
export function withPersonStatement(people: People, body: PersonStatement, nowMs: number): People {
  if (body.type === 'person.remove') return people.without(body.name)
  const held = people.get(body.name)
  if (body.type === 'person.put') {
    const { name, groups } = body
    const before = held ?? { credentials: [], invitation: null, sinceMs: nowMs }
    const { credentials, sinceMs } = before
    return people.with({ credentials, groups, invitation: body.invitation ?? before.invitation, name, sinceMs })
  }
  if (held === undefined) return people
  const { groups, name, sinceMs } = held
  if (body.type === 'person.reset')
    return people.with({ credentials: [], groups, invitation: body.invitation, name, sinceMs: nowMs })
  const { credential } = body
  // There is one password at a time.
  const others = held.credentials.filter((one) => credential.kind !== 'password' || one.kind !== 'password')
  return people.with({ credentials: [...others, credential], groups, invitation: null, name, sinceMs })
}

/** Whose sessions a statement ends, and until when that is to be remembered; undefined: nobody's. */
export function endedBy(body: PersonStatement, atMs: number): { readonly subject: string; readonly untilMs: number } | undefined {
  if (body.type !== 'person.reset' && body.type !== 'person.remove') return undefined
  return { subject: personSubject(body.name), untilMs: atMs + ENDED_MS }
}
