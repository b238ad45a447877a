/** People of the ring's own directory: added, shown, reset and removed. */
import { generateKeyPairSync } from 'node:crypto'
import type { Person, RingwallClient } from '@ringwall/client'
import { PERSON_NAME, PERSON_NAME_EXPECTED, type TxBody } from '@ringwall/ring/tx'
import { UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'

const ENROL_PATH = '/.ringwall/enrol'

export interface InviteOptions {
  /** Where the person will log in: `https://HOST`; true: the path alone is printed. Undefined: no invitation. */
  readonly invite: string | true | undefined
  readonly ttlMs: number
  readonly reason: string
  readonly dryRun: boolean
}

/** A new key pair: the private half is in the link and nowhere else. */
function invitation(name: string, { invite, ttlMs }: InviteOptions) {
  if (invite === undefined) return { invitation: null, link: undefined }
  const { origin } = invite === true ? { origin: '' } : originOf(invite)
  // Both halves, raw, base64url (RFC 8037 section 2).
  const { d: seed, x: key = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const untilMs = Date.now() + ttlMs
  return { invitation: { key, untilMs }, link: `${origin}${ENROL_PATH}?name=${encodeURIComponent(name)}&key=${seed}`, untilMs }
}

function originOf(text: string): { readonly origin: string } {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '' || url.hash !== '')
    throw new UsageError(`--invite ${printable(text)}: expected where they log in, such as https://app.example`)
  return { origin: url.origin }
}

function named(name: string): string {
  if (!PERSON_NAME.test(name)) throw new UsageError(`${printable(name)}: expected ${PERSON_NAME_EXPECTED}`)
  return name
}

async function stated(client: RingwallClient, format: Format, body: TxBody, what: string, options: InviteOptions, link?: string) {
  if (options.dryRun) {
    await client.rehearse(body)
    process.stderr.write(`would ${what}\n`)
    return
  }
  const answer = await client.submit(body)
  const height = 'height' in answer ? answer.height : null
  process.stderr.write(`${what}: agreed at height ${height ?? '-'}\n`)
  if (link === undefined) return
  // The link alone on stdout: it is what is sent on.
  printOne(format, { link, height }, () => link, link)
  process.stderr.write(`whoever has this link chooses how they log in: once, within ${duration(options.ttlMs)}\n`)
}

export interface AddOptions extends InviteOptions {
  readonly groups: readonly string[]
}

export async function personAdd(client: RingwallClient, format: Format, given: string, options: AddOptions): Promise<void> {
  const name = named(given)
  const { invitation: invited, link } = invitation(name, options)
  const groups = [...new Set(options.groups)].sort()
  const body: TxBody = { type: 'person.put', groups, invitation: invited, name, reason: options.reason }
  await stated(client, format, body, `add ${name}${groups.length === 0 ? '' : `, in ${groups.join(', ')}`}`, options, link)
}

export async function personReset(client: RingwallClient, format: Format, given: string, options: InviteOptions): Promise<void> {
  const name = named(given)
  const { invitation: invited, link } = invitation(name, options)
  const body: TxBody = { type: 'person.reset', invitation: invited, name, reason: options.reason }
  await stated(client, format, body, `forget how ${name} logs in, and end their sessions`, options, link)
}

export async function personRemove(client: RingwallClient, format: Format, given: string, options: InviteOptions): Promise<void> {
  const name = named(given)
  const body: TxBody = { type: 'person.remove', name, reason: options.reason }
  await stated(client, format, body, `remove ${name}, and end their sessions`, options)
}

const ways = ({ outside, passkeys, password }: Person): string =>
  [
    passkeys === 0 ? '' : passkeys === 1 ? '1 passkey' : `${passkeys} passkeys`,
    password ? 'password' : '',
    ...outside.map(({ provider }) => provider),
  ]
    .filter((one) => one !== '')
    .join(', ') || '-'

const invited = ({ invitedUntilMs }: Person): string => (invitedUntilMs === null ? '-' : duration(invitedUntilMs - Date.now()))

export async function personList(client: RingwallClient, format: Format): Promise<void> {
  const { people } = await client.people()
  printList<Person>(
    format,
    people,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'GROUPS', value: ({ groups }) => groups.join(',') || '-' },
      { title: 'LOGS IN WITH', value: ways },
      { title: 'INVITED', value: invited },
      { title: 'SINCE', value: ({ sinceMs }) => time(sinceMs), wide: true },
    ],
    ({ name }) => name,
    'nobody yet: ringwall person add NAME --invite',
  )
}

export async function personShow(client: RingwallClient, format: Format, given: string): Promise<void> {
  const person = (await client.people()).people.find(({ name }) => name === given)
  if (person === undefined) throw new UsageError(`the ring knows nobody as ${printable(given)}: see ringwall person ls`)
  const lines = (held: Person): string =>
    [
      `name          ${held.name}`,
      `groups        ${held.groups.join(', ') || '-'}`,
      `logs in with  ${ways(held)}`,
      `invited       ${invited(held)}`,
      `since         ${time(held.sinceMs)}`,
      `in tokens     person:${held.name}`,
    ].join('\n')
  printOne(format, person, lines, person.name)
}
