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
      : 'no node has to attest (devices.attestation.nodes)',
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

/** @param ek As `ringwall device tpm` prints it. */
export async function bind(client: RingwallClient, node: string, ek: string, reason: string, dryRun: boolean): Promise<void> {
  if (!/^[0-9a-f]{64}$/.test(ek)) throw new UsageError('a TPM is named by 64 hex digits: ringwall device tpm prints them')
  const body = { type: 'attest.bind', ek, node, reason } as const
  await settle(client, body, `bind ${node} to this TPM`, `${node} attests by this TPM from now on`, dryRun)
}

export async function references(client: RingwallClient, format: Format): Promise<void> {
  printList(
    format,
    (await client.enrolment()).references,
    [
      { title: 'KIND', value: ({ kind }) => kind },
      { title: 'DIGEST', value: ({ digest }) => digest },
      { title: 'FOR', value: ({ scope }) => scope },
      { title: 'ENDS', value: ({ endsAtMs }) => (endsAtMs === null ? '-' : time(endsAtMs)) },
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
  /** Whom it is for: all, region:NAME or node:ID. */
  readonly scope: string
  readonly withinMs: number
  readonly reason: string
  readonly dryRun: boolean
}

export async function setReference(client: RingwallClient, digest: string, options: ReferenceOptions): Promise<void> {
  const { kind, label, allowed, scope, withinMs, reason, dryRun } = options
  if (kind !== 'program' && kind !== 'pcrs') throw new UsageError(`--kind ${kind}: expected program or pcrs`)
  if (!/^[0-9a-f]{64}$/.test(digest)) throw new UsageError('a digest has 64 hex digits: ringwall device trust -o wide shows them')
  const verb = allowed ? 'allow' : 'no longer allow'
  const body = { type: 'attest.reference', allowed, digest, kind, label, reason, scope, withinMs } as const
  await settle(
    client,
    body,
    `${verb} it`,
    allowed
      ? `${scope === 'all' ? 'all nodes' : `nodes of ${scope}`} may be in this state`
      : `nodes may no longer be in this state${withinMs === 0 ? '' : `, from ${duration(withinMs)} on`}`,
    dryRun,
  )
}
