/** How the ring is: status, check, nodes, top, events, ledger. */
import type { BlockDetail, NodeEvent, NodeStatus, NodeSummary, RingwallClient } from '@ringwall/client'
import { QuietFailure, UsageError } from '../errors.ts'
import { clock, duration, paint, printable, time } from '../format.ts'
import { type Format, printList, printOne, write } from '../output.ts'

export async function status(client: RingwallClient, format: Format): Promise<void> {
  printOne(format, await client.status(), describeStatus, 'status')
}

function describeStatus(it: NodeStatus): string {
  const { ledger, traffic } = it
  const rows: [string, string][] = [
    [
      'node',
      `${it.node} in ${it.region}, ${it.roles.join(' and ')}, version ${it.version}, pid ${it.pid}, up ${duration(Date.now() - it.startedAtMs)}`,
    ],
    ['listens', `traffic ${it.listen.traffic}, admin ${it.listen.admin}, links ${it.listen.fabric}`],
    ['ring', `${it.ring.slice(0, 16)}…`],
    [
      'ledger',
      `height ${ledger.height}, round ${ledger.round}, ${ledger.lag === 0 ? 'up to date' : `${ledger.lag} blocks behind`}`,
    ],
    ['view', viewText(ledger)],
    [
      'quorum',
      `${ledger.reachable.length} of ${ledger.validators} validators answer, ${ledger.quorum} needed, ${ledger.faultsTolerated} may fail`,
    ],
    ...(it.hold === null
      ? []
      : [
          ['held', `${it.hold.kind === 'drain' ? 'drained' : 'cordoned'} by ${it.hold.by}: ${it.hold.reason}`] as [
            string,
            string,
          ],
        ]),
    ...(it.notReady === null ? [] : [['unready', paint('yellow', printable(it.notReady))] as [string, string]]),
    ...(it.age === null ? [] : [['age', ageText(it.age)] as [string, string]]),
    ...(ledger.unreachable.length === 0 ? [] : [['missing', ledger.unreachable.join(', ')] as [string, string]]),
    ['policy', `version ${it.policyVersion}`],
    [
      'denials',
      `${it.denials} certified, ${it.provisionalDenials} provisional, ${it.pendingDenials} wait for more nodes to say so`,
    ],
    ...it.unconfirmedDenials.map(
      ({ issuer, count }) => ['', `${issuer} signed ${count} within the hour that nobody confirmed`] as [string, string],
    ),
    [
      'traffic',
      `${traffic.requests} requests (${traffic.requestsPerSecond}/s): ${traffic.allowed} allowed, ${traffic.denied} denied, ${traffic.throttled} throttled, ${traffic.upstreamErrors} upstream errors, ${traffic.overloaded} overloaded`,
    ],
    ...it.upstreams
      .filter(({ state }) => state !== 'up')
      .map(
        ({ service, url, state, reason }) =>
          ['upstream', `${service}: ${url} is ${state}: ${reason ?? 'no reason given'}`] as [string, string],
      ),
  ]
  return rows.map(([name, value]) => `${name.padEnd(9)}${value}`).join('\n')
}

function ageText({ sinceMs, endsAtMs, end }: NonNullable<NodeStatus['age']>): string {
  const nowMs = Date.now()
  const text = `${duration(Math.max(0, nowMs - sinceMs))} of ${duration(endsAtMs - sinceMs)}`
  if (endsAtMs <= nowMs) return paint('red', `${text}: over; set it up anew`)
  return `${text}, then it ${end === 'drain' ? 'stays drained' : 'is out'}: ${time(endsAtMs)}`
}

/** Older than this it is certain that the node is cut off, or the ring is. */
const STALE_MS = 60_000

function viewText({ viewAgeMs, blockAgeMs }: NodeStatus['ledger']): string {
  const ageMs = viewAgeMs ?? blockAgeMs
  const text =
    viewAgeMs === null ? `not certified since start, ${duration(blockAgeMs)} old` : `certified ${duration(viewAgeMs)} ago`
  return ageMs < STALE_MS ? text : paint('yellow', `stale: ${text}; what it holds is enforced all the same`)
}

const MARKS = { ok: ['✓', 'green'], warn: ['!', 'yellow'], bad: ['✗', 'red'] } as const

/** Exit code 1 when something is bad. */
export async function check(client: RingwallClient, format: Format): Promise<void> {
  const { findings } = await client.check()
  const groups = [...new Set(findings.map(({ group }) => group))]
  const text = (): string =>
    groups
      .map((group) => {
        const lines = findings
          .filter((finding) => finding.group === group)
          .map(({ level, what, fix }) => {
            const [mark, colour] = MARKS[level]
            return `  ${paint(colour, mark)} ${printable(what)}${fix === null ? '' : `\n      ${paint('dim', `→ ${fix}`)}`}`
          })
        return [paint('bold', group), ...lines].join('\n')
      })
      .join('\n')
  printOne(format, findings, text, 'check')
  const bad = findings.filter(({ level }) => level === 'bad').length
  if (bad === 0) return
  process.stderr.write(`${bad} ${bad === 1 ? 'thing is' : 'things are'} bad\n`)
  throw new QuietFailure()
}

function attestedText(attested: NodeSummary['attested']): string {
  if (attested === null) return '-'
  const { state, kind } = attested
  return state === 'trusted' ? paint('green', `by ${kind}`) : paint(state === 'lapsed' ? 'red' : 'yellow', state)
}

export async function nodeList(client: RingwallClient, format: Format): Promise<void> {
  const { nodes } = await client.nodes()
  const dash = (value: number | string | null): number | string => value ?? '-'
  printList(
    format,
    nodes,
    [
      { title: 'NODE', value: ({ id, self }) => `${id}${self ? ' *' : ''}` },
      { title: 'REGION', value: ({ region }) => region },
      { title: 'STATE', value: ({ reachable }) => (reachable ? paint('green', 'up') : paint('red', 'down')) },
      { title: 'HEIGHT', value: ({ height }) => dash(height) },
      { title: 'VIEW', value: ({ viewAgeMs }) => (viewAgeMs === null ? '-' : duration(viewAgeMs)) },
      { title: 'POLICY', value: ({ policyVersion }) => dash(policyVersion) },
      { title: 'DENIALS', value: ({ denials }) => dash(denials) },
      { title: 'REQ/S', value: ({ requestsPerSecond }) => dash(requestsPerSecond) },
      { title: 'DENIED/S', value: ({ deniedPerSecond }) => dash(deniedPerSecond) },
      { title: 'RTT', value: ({ roundTripMs }) => (roundTripMs === null ? '-' : `${roundTripMs.toFixed(1)}ms`) },
      { title: 'ATTESTED', value: ({ attested }) => attestedText(attested) },
      { title: 'CONSOLE', value: ({ adminUrl }) => adminUrl ?? '-', wide: true },
      { title: 'REASON', value: ({ reason }) => printable(reason ?? ''), wide: true },
    ],
    ({ id }) => id,
    'no nodes',
  )
}

export async function nodeShow(client: RingwallClient, format: Format, id: string): Promise<void> {
  const { nodes } = await client.nodes()
  const found = nodes.find((node) => node.id === id)
  if (found === undefined) throw new UsageError(`no node ${id}; there are ${nodes.map((node) => node.id).join(', ')}`)
  const text = (node: typeof found): string =>
    Object.entries(node)
      .map(([name, value]) => `${name.padEnd(19)}${value === null ? '-' : printable(String(value))}`)
      .join('\n')
  printOne(format, found, text, found.id)
}

const TOPS = ['source', 'path', 'rule', 'service'] as const

export async function top(client: RingwallClient, format: Format, by: string, windowMs: number): Promise<void> {
  const known = TOPS.find((value) => value === by)
  if (known === undefined) throw new UsageError(`--by ${by}: expected one of ${TOPS.join(', ')}`)
  const { rows } = await client.top({ by: known, windowMs, limit: 20 })
  printList(
    format,
    rows,
    [
      { title: by.toUpperCase(), value: ({ key }) => printable(key) },
      { title: 'REQUESTS', value: ({ requests }) => requests },
      { title: 'DENIED', value: ({ denied }) => denied },
    ],
    ({ key }) => key,
    `nothing in the last ${duration(windowMs)}`,
  )
}

const LEVELS = { info: 'dim', warn: 'yellow', bad: 'red' } as const

function eventLine({ atMs, level, kind, what, node }: NodeEvent): string {
  return `${paint('dim', clock(atMs))} ${node} ${paint(LEVELS[level], kind.padEnd(8))} ${printable(what)}`
}

export async function events(client: RingwallClient, format: Format, follow: boolean): Promise<void> {
  const { events: past } = await client.events({ limit: 50 })
  const line = (event: NodeEvent): void =>
    write(format === 'table' || format === 'wide' ? eventLine(event) : JSON.stringify(event))
  for (const event of [...past].reverse()) line(event)
  if (follow) for await (const event of client.eventStream()) line(event)
}

export async function ledgerList(client: RingwallClient, format: Format, limit: number): Promise<void> {
  const { blocks } = await client.ledger({ limit })
  printList(
    format,
    blocks,
    [
      { title: 'HEIGHT', value: ({ height }) => height },
      { title: 'ROUND', value: ({ round }) => round },
      { title: 'PROPOSER', value: ({ proposer }) => proposer },
      { title: 'TIME', value: ({ timestampMs }) => time(timestampMs) },
      { title: 'TXS', value: ({ transactions }) => transactions },
      { title: 'DIGEST', value: ({ digest }) => `${digest.slice(0, 16)}…` },
    ],
    ({ height }) => String(height),
    'no blocks yet',
  )
}

export async function ledgerShow(client: RingwallClient, format: Format, text: string): Promise<void> {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new UsageError(`${text} is no height; expected a whole number from 1`)
  printOne(format, await client.block(Number(text)), describeBlock, text)
}

function describeBlock(block: BlockDetail): string {
  const { certificate } = block
  return [
    `height    ${block.height} (round ${block.round})`,
    `digest    ${block.digest}`,
    `parent    ${block.parent}`,
    `proposer  ${block.proposer}, ${time(block.timestampMs)}`,
    `certified ${certificate.kind} of round ${certificate.round} by ${certificate.signers.join(', ')}${certificate.digest === block.digest ? '' : ' (for a descendant)'}`,
    ...block.transactions.map(
      ({ id, type, issuer, summary }) =>
        `  ${type.padEnd(12)} ${issuer}  ${printable(summary)}  ${paint('dim', id.slice(0, 16))}`,
    ),
    ...(block.transactions.length === 0 ? ['  no transactions: proof of freshness'] : []),
  ].join('\n')
}

export async function ledgerTail(client: RingwallClient): Promise<never> {
  let { height } = await client.ledger({ limit: 1 })
  for (;;) {
    const next = await client.ledger({ limit: 20 })
    for (const block of [...next.blocks].reverse().filter((one) => one.height > height)) {
      write(
        `${clock(block.timestampMs)} ${block.height} by ${block.proposer}: ${block.transactions} transactions ${paint('dim', block.digest.slice(0, 16))}`,
      )
    }
    height = next.height
    await new Promise((wake) => setTimeout(wake, 500))
  }
}
