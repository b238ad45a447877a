/** Invitations: a line of text that lets one node in. */
import type { RingwallClient } from '@ringwall/client'
import { encodeInvitation, INVITATION_PEERS_MAX, newInvitationKey, type RingAddress } from '@ringwall/enroll/invitation'
import type { RingNode } from '@ringwall/ring/tx'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration } from '../format.ts'
import { type Format, printList, write } from '../output.ts'
import { tellWaiting, withCode } from './waiting.ts'

const ROLES = ['validator', 'edge'] as const
/** A line that a terminal and a person can take. */
const PEERS_NAMED = 4

/** With commas. @throws {UsageError} */
export function parseRoles(text: string): RingNode['roles'] {
  return text.split(',').map((one): RingNode['roles'][number] => {
    const role = ROLES.find((known) => known === one)
    if (role === undefined) throw new UsageError(`--roles ${text}: expected validator, edge, or both with a comma`)
    return role
  })
}

export interface InviteOptions {
  readonly region: string | null
  readonly roles: string
  readonly ttlMs: number
  readonly reason: string
  readonly dryRun: boolean
}

export async function nodeInvite(client: RingwallClient, options: InviteOptions): Promise<void> {
  const { region, ttlMs, reason, dryRun } = options
  const roles = parseRoles(options.roles)
  const { privateKey, key } = newInvitationKey()
  const body = { type: 'node.invite', key, reason, region, roles, ttlMs } as const
  const what = `one node, as ${roles.join(' and ')}${region === null ? '' : ` in ${region}`}, for ${duration(ttlMs)}`
  if (dryRun) {
    await withCode(client.rehearse(body))
    process.stderr.write(`would invite ${what}\n`)
    return
  }
  const { ring, peers } = await ringAddresses(client, region)
  const answer = await withCode(client.submit(body))
  if (!('height' in answer)) throw new QuietFailure()
  write(encodeInvitation({ ring, privateKey, peers }))
  if (tellWaiting(answer)) process.stderr.write('the line is good once that is approved\n')
  process.stderr.write(
    `invites ${what}. Whoever has the line may join, once: keep it secret. On the new machine:\n  ringwall node join LINE\n`,
  )
}

/** Nodes that answer, those of the region first. */
export async function ringAddresses(
  client: RingwallClient,
  region: string | null,
): Promise<{ readonly ring: string; readonly peers: readonly RingAddress[] }> {
  const [{ ring, addresses }, { nodes }] = await Promise.all([client.enrolment(), client.nodes()])
  const up = new Set(nodes.filter(({ reachable }) => reachable).map(({ id }) => id))
  const near = (one: { readonly region: string }): number => (one.region === region ? 0 : 1)
  const named = addresses.filter(({ id }) => up.has(id)).sort((a, b) => near(a) - near(b))
  const peers = named.slice(0, Math.min(PEERS_NAMED, INVITATION_PEERS_MAX))
  return { ring, peers: peers.map(({ address, publicKey }) => ({ address, key: publicKey })) }
}

export async function inviteList(client: RingwallClient, format: Format): Promise<void> {
  const { invitations } = await client.enrolment()
  const nowMs = Date.now()
  printList(
    format,
    invitations,
    [
      { title: 'KEY', value: ({ key }) => key.slice(0, 16) },
      { title: 'STATE', value: ({ state }) => state },
      { title: 'ROLES', value: ({ roles }) => roles.join(',') },
      { title: 'REGION', value: ({ region }) => region ?? 'any' },
      { title: 'EXPIRES IN', value: ({ expiresAtMs }) => (expiresAtMs > nowMs ? duration(expiresAtMs - nowMs) : '-') },
      { title: 'NODE', value: ({ node }) => node ?? '-' },
      { title: 'BY', value: ({ by }) => by },
    ],
    ({ key }) => key,
    'no invitations; ringwall node invite makes one',
  )
}
