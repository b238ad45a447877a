/** Incidents: what there is, one with its timeline, who works on it, that it is done with, and all of it as JSON. */
import type { Incident, IncidentDetail, RingwallClient } from '@ringwall/client'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne, write } from '../output.ts'

export async function incidentList(client: RingwallClient, format: Format, state: 'open' | 'closed' | 'all'): Promise<void> {
  const { incidents, more } = await client.incidents({ state })
  if (more > 0) process.stderr.write(`${more} more are not shown\n`)
  printList<Incident>(
    format,
    incidents,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'SEVERITY', value: ({ severity }) => severity },
      { title: 'LAST', value: ({ lastMs }) => `${duration(Date.now() - lastMs)} ago` },
      { title: 'WHAT', value: ({ title }) => printable(title) },
      { title: 'NODES', value: ({ nodes }) => nodes.join(', ') },
      { title: 'FINDINGS', value: ({ findings }) => findings },
      { title: 'REPEATED', value: ({ duplicates }) => duplicates },
      { title: 'ASSIGNED', value: ({ assigned }) => printable(assigned?.to ?? '') },
      { title: 'CLOSED', value: ({ closed }) => (closed === null ? '' : printable(`${closed.by}: ${closed.note}`)) },
      { title: 'ATT&CK', value: ({ attack }) => attack.join(', '), wide: true },
    ],
    ({ id }) => id,
    state === 'open' ? 'there is no open incident' : 'there are no incidents',
  )
}

export async function incidentShow(client: RingwallClient, format: Format, id: string): Promise<void> {
  printOne<IncidentDetail>(format, await client.incident(id), textOf, id)
}

function textOf(incident: IncidentDetail): string {
  const { closed, assigned, timeline, sources, accounts, sessions } = incident
  const lines = [
    `${incident.id}  ${incident.severity}  ${printable(incident.title)}`,
    `ATT&CK     ${incident.attack.join(', ') || 'none named'}`,
    `from       ${time(incident.firstMs)} to ${time(incident.lastMs)}`,
    `nodes      ${incident.nodes.join(', ')}`,
    `findings   ${incident.findings}, and ${incident.duplicates} that say the same`,
    ...(assigned === null
      ? []
      : [
          `assigned   to ${printable(assigned.to ?? '')}, ${time(assigned.atMs)} by ${printable(assigned.by)} on ${assigned.node}${assigned.note === '' ? '' : `: ${printable(assigned.note)}`}`,
        ]),
    ...(closed === null
      ? []
      : [`closed     ${time(closed.atMs)} by ${printable(closed.by)} on ${closed.node}: ${printable(closed.note)}`]),
    ...(sources.length === 0 ? [] : [`sources    ${printable(sources.join(', '))}`]),
    ...(accounts.length === 0 ? [] : [`accounts   ${accounts.join(', ')}`]),
    ...(sessions.length === 0 ? [] : [`sessions   ${sessions.join(', ')}`]),
    '',
  ]
  for (const { firstMs, detector, subject, nodes, times, reason, denied } of timeline) {
    const again = times === 1 ? '' : ` (${times} times)`
    lines.push(
      `${time(firstMs)}  ${detector}  ${subject.kind} ${printable(subject.value)}: ${printable(reason)}${again}; ${nodes.join(', ')}${denied ? '; denied' : ''}`,
    )
  }
  return `${lines.join('\n')}\n`
}

/** @param to An operator; undefined: whoever asks; null: nobody. */
export async function incidentAssign(
  client: RingwallClient,
  id: string,
  to: string | null | undefined,
  note: string,
): Promise<void> {
  const { id: found, title, assigned } = await client.incidentAssign(id, to, note)
  process.stderr.write(`incident ${found} is assigned to ${printable(assigned?.to ?? 'nobody')}: ${printable(title)}\n`)
}

export async function incidentClose(client: RingwallClient, id: string, note: string): Promise<void> {
  const { id: closed, title } = await client.incidentClose(id, note)
  process.stderr.write(`incident ${closed} is closed: ${printable(title)}\n`)
}

/** With receipts of decisions and the denials of what it names, signed by the node that is asked. */
export async function incidentExport(client: RingwallClient, id: string): Promise<void> {
  const evidence = await client.incidentEvidence(id)
  write(`${JSON.stringify(evidence, undefined, 2)}\n`)
  const { receipts, missing, denials } = evidence
  const lost = missing.length === 0 ? '' : `; ${missing.length} more decisions could not be proven`
  process.stderr.write(`${receipts.length} receipts, ${denials.length} denials${lost}\n`)
}

/** What a bundle comes to that verifies; the incident is as its node signed it. */
export interface Verdict {
  readonly incident: Readonly<Record<string, unknown>>
  readonly node: string
  readonly exportedAtMs: number
  readonly provenHeight: number
  readonly receipts: readonly {
    readonly decision: { readonly requestId: string; readonly node: string; readonly outcome: string; readonly source: string }
  }[]
  readonly missing: readonly { readonly requestId: string; readonly why: string }[]
  readonly denials: readonly { readonly id: string; readonly [key: string]: unknown }[]
  readonly signers: readonly string[]
}

function verdictText({ incident, node, exportedAtMs, provenHeight, receipts, missing, denials, signers }: Verdict): string {
  return [
    'good: nothing in it was changed',
    `  incident   ${String(incident.id)}, ${printable(String(incident.title))}`,
    `  signed by  ${node}, ${new Date(exportedAtMs).toISOString()}`,
    ...receipts.map(
      ({ decision: { requestId, node: of, outcome, source } }) =>
        `  receipt    ${requestId}: ${outcome}, of ${printable(source)}, signed by ${of}`,
    ),
    ...missing.map(({ requestId, why }) => `  no receipt ${requestId}: ${printable(why)}`),
    ...denials.map(
      ({ id, reason, issuer }) => `  denial     ${id}, by ${printable(String(issuer))}: ${printable(String(reason))}`,
    ),
    `  state      after block ${provenHeight}, certified by ${signers.join(', ')}`,
  ].join('\n')
}

export function printEvidence(format: Format, verdict: Verdict): void {
  printOne(format, verdict, verdictText, String(verdict.incident.id))
}
