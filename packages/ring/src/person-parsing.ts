/** The words of statements about people, and their strict readers: one spelling of each. Nothing but encodings behind this import. */
import type { FieldReaders } from './field-readers.ts'
import { fieldReaders } from './field-readers.ts'
import type { PersonCredential, PersonInvitation } from './people.ts'

export const GROUPS_MAX = 32
export const PERSON_NAME: RegExp = /^[a-z0-9][a-z0-9._@+-]{0,62}$/
export const PERSON_NAME_EXPECTED = '1 to 63 lower-case letters, digits and . _ @ + -, beginning with a letter or digit'
const GROUP = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$/
const RP_ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?){0,9}$/
const PROVIDER = /^[a-z0-9][a-z0-9-]{0,62}$/
/** What an outside provider may call somebody (OpenID Connect Core 1.0 section 2: at most 255 characters, ASCII). */
export const OUTSIDE_SUBJECT: RegExp = /^[\x21-\x7e]{1,255}$/
const OUTSIDE_SUBJECT_EXPECTED = '1 to 255 printable ASCII characters without blanks'
const PASSKEY_ID_BYTES_MAX = 512
const PASSKEY_BYTES_MAX = 600
/** How strong the derivation of a key from a password must be (RFC 9106 section 4), and how much work a login may be. */
const COST = {
  memoryKiB: { least: 19_456, most: 262_144 },
  passes: { least: 2, most: 10 },
  lanes: { least: 1, most: 16 },
} as const

export type PersonStatement =
  /** Adds somebody, or gives somebody other groups. Null: no invitation is made, and one that is open stays. */
  | {
      readonly type: 'person.put'
      readonly groups: readonly string[]
      readonly invitation: PersonInvitation | null
      readonly name: string
      readonly reason: string
    }
  /** Forgets what somebody logs in with, and ends their sessions. */
  | {
      readonly type: 'person.reset'
      readonly invitation: PersonInvitation | null
      readonly name: string
      readonly reason: string
    }
  | { readonly type: 'person.remove'; readonly name: string; readonly reason: string }
  /** `proof`: by the invitation's key over `enrolmentBytes`. */
  | {
      readonly type: 'person.enrol'
      readonly credential: PersonCredential
      readonly name: string
      readonly proof: string
    }

/** Keys in canonical order. @param fail Throws. */
export function parsePersonStatement(
  type: PersonStatement['type'],
  value: unknown,
  fail: (where: string, expected: string) => never,
  reason: (value: unknown) => string,
): PersonStatement {
  const readers = fieldReaders(fail)
  const { record, text, bytes } = readers
  const invitation = (held: unknown): PersonInvitation | null => {
    if (held === null) return null
    const fields = record(held, 'body.invitation', ['key', 'untilMs'])
    return {
      key: bytes(fields.key, 'body.invitation.key', 32, 32),
      untilMs: readers.whole(fields.untilMs, 'body.invitation.untilMs', 0, Number.MAX_SAFE_INTEGER),
    }
  }
  const name = (held: unknown): string => text(held, 'body.name', PERSON_NAME, PERSON_NAME_EXPECTED)
  if (type === 'person.put') {
    const fields = record(value, 'body', ['groups', 'invitation', 'name', 'reason', 'type'])
    const groups = parseGroups(fields.groups, fail)
    return { groups, invitation: invitation(fields.invitation), name: name(fields.name), reason: reason(fields.reason), type }
  }
  if (type === 'person.reset') {
    const fields = record(value, 'body', ['invitation', 'name', 'reason', 'type'])
    return { invitation: invitation(fields.invitation), name: name(fields.name), reason: reason(fields.reason), type }
  }
  if (type === 'person.remove') {
    const fields = record(value, 'body', ['name', 'reason', 'type'])
    return { name: name(fields.name), reason: reason(fields.reason), type }
  }
  const fields = record(value, 'body', ['credential', 'name', 'proof', 'type'])
  return {
    credential: parseCredential(fields.credential, readers, fail),
    name: name(fields.name),
    proof: bytes(fields.proof, 'body.proof', 64, 64),
    type,
  }
}

/** In order, none twice: one spelling. */
function parseGroups(value: unknown, fail: (where: string, expected: string) => never): readonly string[] {
  if (!Array.isArray(value) || value.length > GROUPS_MAX) return fail('body.groups', `a list of at most ${GROUPS_MAX}`)
  const groups = value.map((one: unknown) =>
    typeof one === 'string' && GROUP.test(one) ? one : fail('body.groups', 'names of letters, digits and . _ : -'),
  )
  return groups.every((one, at) => at === 0 || (groups[at - 1] as string) < one)
    ? groups
    : fail('body.groups', 'in order, none twice')
}

function parseCredential(
  value: unknown,
  { record, text, bytes, whole }: FieldReaders,
  fail: (where: string, expected: string) => never,
): PersonCredential {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  if (kind === 'passkey') {
    const fields = record(value, 'body.credential', ['id', 'kind', 'publicKey', 'rpId'])
    return {
      id: bytes(fields.id, 'body.credential.id', 1, PASSKEY_ID_BYTES_MAX),
      kind,
      publicKey: bytes(fields.publicKey, 'body.credential.publicKey', 44, PASSKEY_BYTES_MAX),
      rpId: text(fields.rpId, 'body.credential.rpId', RP_ID, 'a domain in lower case'),
    }
  }
  if (kind === 'outside') {
    const fields = record(value, 'body.credential', ['kind', 'provider', 'subject'])
    return {
      kind,
      provider: text(fields.provider, 'body.credential.provider', PROVIDER, 'the name of a provider'),
      subject: text(fields.subject, 'body.credential.subject', OUTSIDE_SUBJECT, OUTSIDE_SUBJECT_EXPECTED),
    }
  }
  if (kind !== 'password') return fail('body.credential.kind', 'passkey, password or outside')
  const fields = record(value, 'body.credential', ['cost', 'kind', 'publicKey', 'salt'])
  const cost = record(fields.cost, 'body.credential.cost', ['lanes', 'memoryKiB', 'passes'])
  const within = (name: keyof typeof COST): number =>
    whole(cost[name], `body.credential.cost.${name}`, COST[name].least, COST[name].most)
  return {
    cost: { lanes: within('lanes'), memoryKiB: within('memoryKiB'), passes: within('passes') },
    kind,
    publicKey: bytes(fields.publicKey, 'body.credential.publicKey', 32, 32),
    salt: bytes(fields.salt, 'body.credential.salt', 16, 16),
  }
}
