/** Devices that are no nodes, and get certificates from the ring (EST). */
import { randomBytes } from 'node:crypto'
import type { RingwallClient } from '@ringwall/client'
import { estSecretHash } from '@ringwall/ring'
import { duration, time } from '../format.ts'
import { type Format, printList, write } from '../output.ts'
import { settle } from './device.ts'

export interface CertificateOptions {
  readonly ttlMs: number
  readonly reason: string
  readonly dryRun: boolean
}

export async function deviceCertificate(client: RingwallClient, name: string, options: CertificateOptions): Promise<void> {
  const { ttlMs, reason, dryRun } = options
  const secret = randomBytes(32).toString('base64url')
  const body = { type: 'est.invite', name, reason, secret: estSecretHash(secret), ttlMs } as const
  const done = `whoever has the secret may be ${name}, once, for ${duration(ttlMs)}: HTTP basic ${name}:SECRET at /.well-known/est/simpleenroll`
  if (await settle(client, body, `let ${name} have a certificate`, done, dryRun)) write(secret)
}

export async function deviceCertificates(client: RingwallClient, format: Format): Promise<void> {
  printList(
    format,
    (await client.enrolment()).certificates,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'SINCE', value: ({ atMs }) => time(atMs) },
      { title: 'BY', value: ({ by }) => (by === 'secret' ? 'a one-time secret' : 'the key it was made with') },
      { title: 'KEY', value: ({ publicKey }) => publicKey, wide: true },
    ],
    ({ name }) => name,
    'no device has certificates of this ring: ringwall device certificate NAME',
  )
}

export async function deviceRevoke(client: RingwallClient, name: string, reason: string, dryRun: boolean): Promise<void> {
  const done = `${name} gets no more certificates, and those that it has count no more in this ring`
  await settle(client, { type: 'est.revoke', name, reason }, `revoke ${name}`, done, dryRun)
}
