/** What rules that only watch would refuse, by route, rule and variable. */
import type { PairEstimate, RingwallClient, RouteEstimate } from '@ringwall/client'
import { UsageError } from '../errors.ts'
import { duration, paint, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'

/** Fewer requests than this say little. */
const REQUESTS_ENOUGH = 1_000

interface Row extends PairEstimate {
  readonly label: string
  readonly mode: RouteEstimate['mode']
}

export async function ruleEstimate(
  client: RingwallClient,
  format: Format,
  label: string | undefined,
  local: boolean,
): Promise<void> {
  const { routes, nodes, silent } = await client.estimate({ scope: local ? 'node' : 'ring' })
  const shown = routes.filter((route) => label === undefined || route.label === label)
  if (label !== undefined && shown.length === 0)
    throw new UsageError(
      `--route ${label}: no request yet on a route of this name that learns or shadows${routes.length === 0 ? '' : `; there are ${routes.map((route) => route.label).join(', ')}`}`,
    )
  if (format === 'json' || format === 'jsonl' || format === 'yaml' || format === 'name') {
    printList<RouteEstimate>(format, shown, [], (route) => route.label, 'nothing')
    return
  }
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  if (silent.length > 0) say(`${silent.join(', ')} did not answer; this is what ${nodes.join(', ')} saw`)
  if (shown.length === 0) {
    say('no request yet on a route that learns or shadows: set waf.mode of a service or route to learn')
    return
  }
  for (const route of shown) for (const line of summary(route)) say(line)
  printList<Row>(
    format,
    shown.flatMap(({ label: name, mode, pairs }) => pairs.map((pair) => ({ ...pair, label: name, mode }))),
    [
      { title: 'ROUTE', value: (row) => printable(row.label) },
      { title: 'RULE', value: ({ ruleId }) => ruleId },
      { title: 'VARIABLE', value: ({ variable }) => printable(variable) },
      { title: 'REQUESTS', value: ({ requests }) => requests },
      { title: 'CLIENTS', value: ({ clients }) => clients },
      { title: 'GOOD', value: ({ goodClients }) => goodClients },
      { title: 'LOOKS LIKE', value: ({ looksLike }) => words(looksLike) },
      { title: 'LAST', value: ({ requestId }) => requestId },
    ],
    ({ requestId }) => requestId,
    'no rule would refuse any of these requests',
  )
}

function words(looksLike: PairEstimate['looksLike']): string {
  if (looksLike === 'false-positive') return paint('yellow', 'false positive')
  return looksLike === 'attack' ? paint('green', 'attack') : looksLike
}

function summary({
  label,
  mode,
  sinceMs,
  requests,
  clients,
  refused,
  refusedClients,
  falsePositives,
  falsePositiveClients,
  attacks,
  pairs,
}: RouteEstimate): readonly string[] {
  const share = (part: number): string =>
    requests === 0 ? '0 %' : `${((100 * part) / requests).toFixed(part * 100 < requests ? 2 : 1)} %`
  const lines = [
    `${paint('bold', printable(label))}: ${mode} for ${duration(Date.now() - sinceMs)}; ${requests} requests of about ${clients} clients`,
    `  ${refused} would be refused (${share(refused)}), of about ${refusedClients} clients; ${falsePositives} look like false positives (${share(falsePositives)} of all requests, ${falsePositiveClients} clients), ${attacks} like attacks`,
  ]
  const next = pairs.find(({ looksLike }) => looksLike === 'false-positive')
  const unclear = pairs.filter(({ looksLike }) => looksLike === 'unclear').length
  if (next !== undefined) lines.push(`  first: ringwall rule except ${next.requestId} --reason …, or mend rule ${next.ruleId}`)
  else if (requests < REQUESTS_ENOUGH) lines.push(`  too few requests to say more: at least ${REQUESTS_ENOUGH}`)
  else if (unclear > 0) lines.push(`  look at what is unclear: ringwall explain REQUEST-ID`)
  else lines.push(`  nothing looks like a false positive: ${mode === 'learn' ? 'shadow' : 'enforce'} is next`)
  return lines
}
