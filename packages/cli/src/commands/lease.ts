/** Users of databases, for a time: their passwords are made here, and the ring is told a verifier. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { ApiError, type Lease, NodeUnreachable, type RingwallClient } from '@ringwall/client'
import { PASS_AUDIENCE, passSigningBytes, type ServicePass } from '@ringwall/ring'
import { newPassword } from '@ringwall/vault'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { mintedPass, thumbprintOf } from './vault-pass.ts'
import type { VaultSession } from './vault-session.ts'

const READY_MS_MAX = 40_000
const LOOK_MS = 200
const VALID_MS = 60_000
const PASS_S = 600

type Body = Extract<Parameters<RingwallClient['submit']>[0], { type: 'lease.begin' | 'lease.renew' | 'lease.revoke' }>

interface Holder {
  readonly pass: ServicePass
  readonly privateKey: KeyObject
}

/** A service acts by a pass that it has made for this one command. */
async function holderOf(session: VaultSession): Promise<Holder> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const { x = '' } = privateKey.export({ format: 'jwk' })
  const service = session.reader.issuer.slice('service:'.length)
  const want = {
    type: 'token',
    service,
    audience: PASS_AUDIENCE,
    ttlS: PASS_S,
    claims: {},
    cnf: { jkt: thumbprintOf(x) },
  } as const
  const { token } = await mintedPass(session, want)
  return { pass: { key: x, token }, privateKey }
}

/** The id of the transaction, and the node that took it. */
async function stated(session: VaultSession, body: Body): Promise<{ readonly id: string; readonly client: RingwallClient }> {
  const { asked, ring, reader } = session
  if (reader.issuer.startsWith('operator:')) {
    const [client] = asked
    return { id: (await client.submit(body)).id, client }
  }
  const { pass, privateKey } = await holderOf(session)
  let last: unknown
  for (const client of asked) {
    try {
      const { node } = await client.vaultFacts()
      const atMs = Date.now()
      const nonce = randomBytes(16).toString('base64url')
      const unsigned = { ...body, pass: { ...pass, signature: '' } }
      const content = { ring, issuer: `node:${node}`, atMs, untilMs: atMs + VALID_MS, nonce, body: unsigned }
      const signature = sign(null, passSigningBytes(content), privateKey).toString('base64url')
      const { id } = await client.statement({ ...content, body: { ...body, pass: { ...pass, signature } } })
      return { id, client }
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) throw error
      last = error
    }
  }
  throw last
}

/** What is wrong lies with the ring, not with the arguments. @throws {QuietFailure} */
function fail(what: string): never {
  process.stderr.write(`ringwall: ${what}\n`)
  throw new QuietFailure()
}

async function ready(clients: readonly RingwallClient[], id: string): Promise<Lease> {
  const deadline = Date.now() + READY_MS_MAX
  for (;;) {
    for (const client of clients) {
      try {
        const lease = await client.lease(id)
        if (lease.state === 'live') return lease
        if (lease.end !== null) fail(`the lease has ended already: ${printable(lease.end)}`)
        break
      } catch (error) {
        const mayPass = error instanceof NodeUnreachable || (error instanceof ApiError && error.code === 'LEASE_UNKNOWN')
        if (!mayPass) throw error
      }
    }
    if (Date.now() > deadline)
      fail(`no node has made the user within ${duration(READY_MS_MAX)}: ringwall events says why; the lease is ${id}`)
    await delay(LOOK_MS)
  }
}

/** @param place `DATABASE/ROLE`. */
export async function leaseBegin(session: VaultSession, format: Format, place: string, ttlMs: number): Promise<void> {
  const [database = '', role = '', ...more] = place.split('/')
  if (database === '' || role === '' || more.length > 0)
    throw new UsageError(`${printable(place)}: expected DATABASE/ROLE of the policy`)
  const { password, verifier } = newPassword()
  const { id } = await stated(session, { type: 'lease.begin', database, role, ttlMs, verifier })
  const lease = await ready(session.asked, id.slice(0, 32))
  const { host, port, dbname, user, expiresAtMs } = lease
  const url = `postgresql://${user}:${password}@${host}:${port}/${dbname}`
  printOne(format, { lease: lease.id, user, password, host, port, dbname, url, expiresAtMs }, () => url, lease.id)
  process.stderr.write(`lease ${lease.id}, until ${time(expiresAtMs)}\n`)
}

export async function leaseRenew(session: VaultSession, id: string, ttlMs: number): Promise<void> {
  await stated(session, { type: 'lease.renew', id, ttlMs })
  const lease = await ready(session.asked, id)
  process.stderr.write(`renewed ${id}, until ${time(lease.expiresAtMs)}\n`)
}

export async function leaseRevoke(session: VaultSession, id: string): Promise<void> {
  await stated(session, { type: 'lease.revoke', id })
  process.stderr.write(`revoked ${id}: its user is being dropped\n`)
}

export async function leaseList(client: RingwallClient, format: Format): Promise<void> {
  const { leases } = await client.leases()
  printList<Lease>(
    format,
    leases,
    [
      { title: 'LEASE', value: ({ id }) => id },
      { title: 'DATABASE', value: ({ database, role }) => `${printable(database)}/${printable(role)}` },
      { title: 'HOLDER', value: ({ holder }) => printable(holder) },
      { title: 'STATE', value: ({ state, end }) => (end === null ? state : `${state}: ${end}`) },
      { title: 'LEFT', value: ({ expiresAtMs }) => duration(Math.max(0, expiresAtMs - Date.now())) },
      { title: 'USER', value: ({ user }) => user, wide: true },
    ],
    ({ id }) => id,
    'no leases of roles that this operator may use',
  )
}
