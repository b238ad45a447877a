/** Denials: add, remove, list. */
import type { Denial, PendingDenial, RingwallClient } from '@ringwall/client'
import { accountKey, type DenialSubject } from '@ringwall/ring/tx'
import { UsageError } from '../errors.ts'
import { duration, paint, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { tellWaiting } from './waiting.ts'

export const KINDS = ['ip', 'cidr', 'token', 'subject', 'account'] as const

export interface DenyAddOptions {
  readonly ttlMs: number
  readonly reason: string
  readonly service: string | undefined
  readonly dryRun: boolean
}

export async function denyAdd(client: RingwallClient, kind: string, value: string, options: DenyAddOptions): Promise<void> {
  const subject = await subjectOf(client, kind, value, options.service)
  const what = `${kind} ${value} for ${duration(options.ttlMs)}`
  if (options.dryRun) {
    await client.rehearse({ type: 'deny.add', subject, ttlMs: options.ttlMs, reason: options.reason })
    process.stderr.write(`would deny ${what}: ${options.reason}\n`)
    return
  }
  const answer = await client.denyAdd(subject, options.ttlMs, options.reason)
  if ('height' in answer)
    process.stderr.write(`denied ${what}; certified at height ${answer.height} in ${duration(answer.elapsedMs)}\n`)
  else process.stderr.write(`denied ${what}, provisionally: ${answer.waiting}\n`)
}

async function subjectOf(
  client: RingwallClient,
  kind: string,
  value: string,
  service: string | undefined,
): Promise<DenialSubject> {
  const known = KINDS.find((one) => one === kind)
  if (known === undefined) throw new UsageError(`${kind} cannot be denied; expected one of ${KINDS.join(', ')}`)
  if (known !== 'account') return { kind: known, value }
  if (service === undefined) throw new UsageError('an account belongs to a service: --service NAME')
  const { ring } = await client.status()
  return { kind: 'account', service, value: accountKey(ring, service, value) }
}

/** @param target A denial's id, or what is denied. */
export async function denyRemove(client: RingwallClient, target: string, reason: string, dryRun: boolean): Promise<void> {
  const { denials, pending } = await client.denials()
  const found = [...denials, ...pending].find(({ id, subject }) => id === target || subject.value === target)
  if (found === undefined) throw new UsageError(`nothing denies ${target}; ringwall deny ls lists what is denied`)
  if (dryRun) {
    await client.rehearse({ type: 'deny.remove', id: found.id, reason })
    process.stderr.write(`would lift the denial of ${found.subject.kind} ${found.subject.value}\n`)
    return
  }
  const answer = await client.denyRemove(found.id, reason)
  if ('height' in answer && tellWaiting(answer)) return
  process.stderr.write(
    `lifted the denial of ${found.subject.kind} ${found.subject.value}${'height' in answer ? ` at height ${answer.height}` : ''}\n`,
  )
}

/** What some nodes say, and not enough of them yet. */
export async function denyPending(client: RingwallClient, format: Format): Promise<void> {
  const { pending } = await client.denials()
  printList<PendingDenial>(
    format,
    pending,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'KIND', value: ({ subject }) => subject.kind },
      {
        title: 'SUBJECT',
        value: ({ subject }) => printable('service' in subject ? `${subject.service}/${subject.value}` : subject.value),
      },
      {
        title: 'SAID BY',
        value: ({ statements, nodesNeeded }) =>
          `${printable(statements.map(({ issuer }) => issuer).join(' '))} (${statements.length} of ${nodesNeeded})`,
      },
      {
        title: 'LAPSES IN',
        value: ({ statements }) => duration(Math.max(...statements.map(({ lapsesAtMs }) => lapsesAtMs)) - Date.now()),
      },
      { title: 'REASON', value: ({ statements }) => printable(statements[0]?.reason ?? '') },
    ],
    ({ id }) => id,
    'nothing waits for more nodes to say so',
  )
}

export async function denyList(client: RingwallClient, format: Format): Promise<void> {
  const { denials, pending } = await client.denials()
  if (pending.length > 0)
    process.stderr.write(`${pending.length} more wait for other nodes to say the same: ringwall deny ls --pending\n`)
  printList<Denial>(
    format,
    denials,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'KIND', value: ({ subject }) => subject.kind },
      {
        title: 'SUBJECT',
        value: ({ subject }) => printable('service' in subject ? `${subject.service}/${subject.value}` : subject.value),
      },
      { title: 'ENDS IN', value: ({ expiresAtMs }) => duration(expiresAtMs - Date.now()) },
      {
        title: 'STATE',
        value: ({ provisional, height }) => (provisional ? paint('yellow', 'provisional') : `certified ${height}`),
      },
      { title: 'BY', value: ({ issuer, statedBy }) => printable(statedBy?.join(' ') ?? issuer) },
      { title: 'REASON', value: ({ reason }) => printable(reason) },
    ],
    ({ id }) => id,
    'nothing is denied',
  )
}
