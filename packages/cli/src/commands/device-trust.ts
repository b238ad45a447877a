/** What nodes of devices attested, and what they may be. */
import type { Operations, RingwallClient } from '@ringwall/client'
import { UsageError } from '../errors.ts'
import { duration, paint, time } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { settle } from './device.ts'

type Enrolment = Operations['enrolment']['answer']
type Row = Enrolment['trust'][number] & { readonly expelled: string | null }

export async function trustList(client: RingwallClient, format: Format): Promise<void> {
  const { trust, expelled, attestation } = await client.enrolment()
  const nowMs = Date.now()
  const none = {
    kind: 'none',
    state: 'lapsed',
    staleAtMs: 0,
    untilMs: 0,
    program: null,
    configuration: null,
    pcrs: null,
  } as const
  const rows: readonly Row[] = [
    ...trust.map((one) => ({ ...one, expelled: null })),
    ...expelled.map(({ node, code, atMs }) => ({ ...none, node, atMs, expelled: code })),
  ]
  const state = (row: Row): string => {
    if (row.expelled !== null) return paint('red', `out: ${row.expelled}`)
    return row.state === 'trusted' ? paint('green', row.state) : paint('yellow', row.state)
  }
  printList<Row>(
    format,
    rows,
    [
      { title: 'NODE', value: ({ node }) => node },
      { title: 'STATE', value: state },
      { title: 'BY', value: ({ kind, expelled: code }) => (code === null ? kind : '-') },
      { title: 'LAST', value: ({ atMs }) => (atMs === null ? 'never' : `${duration(nowMs - atMs)} ago`) },
      { title: 'UNTIL', value: ({ untilMs }) => (untilMs === 0 ? '-' : time(untilMs)) },
      { title: 'PROGRAM', value: ({ program }) => program ?? '-', wide: true },
      { title: 'CONFIGURATION', value: ({ configuration }) => configuration ?? '-', wide: true },
      { title: 'PCRS', value: ({ pcrs }) => pcrs ?? '-', wide: true },
    ],
    ({ node }) => node,
    attestation.least === 'none'
      ? 'the policy asks for no attestation (devices.attestation.least)'
      : 'no node joined as a device',
  )
}

export async function accept(client: RingwallClient, node: string, reason: string, dryRun: boolean): Promise<void> {
  const done = `what ${node} measures next is how it is to be`
  await settle(
    client,
    { type: 'attest.accept', node, reason },
    `take what ${node} measures next as how it is to be`,
    done,
    dryRun,
  )
}

export async function references(client: RingwallClient, format: Format): Promise<void> {
  printList(
    format,
    (await client.enrolment()).references,
    [
      { title: 'KIND', value: ({ kind }) => kind },
      { title: 'DIGEST', value: ({ digest }) => digest },
      { title: 'LABEL', value: ({ label }) => label },
    ],
    ({ digest }) => digest,
    'no reference values: each node is held to what it measured first',
  )
}

export interface ReferenceOptions {
  readonly kind: string
  readonly label: string
  readonly allowed: boolean
  readonly reason: string
  readonly dryRun: boolean
}

export async function setReference(client: RingwallClient, digest: string, options: ReferenceOptions): Promise<void> {
  const { kind, label, allowed, reason, dryRun } = options
  if (kind !== 'program' && kind !== 'pcrs') throw new UsageError(`--kind ${kind}: expected program or pcrs`)
  if (!/^[0-9a-f]{64}$/.test(digest)) throw new UsageError('a digest has 64 hex digits: ringwall device trust -o wide shows them')
  const verb = allowed ? 'allow' : 'no longer allow'
  const body = { type: 'attest.reference', allowed, digest, kind, label, reason } as const
  await settle(
    client,
    body,
    `${verb} it`,
    allowed ? 'nodes may be in this state' : 'nodes may no longer be in this state',
    dryRun,
  )
}
