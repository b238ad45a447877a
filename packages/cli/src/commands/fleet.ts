/** The fleet: labels, what nodes are held from, and how far updates are. */
import type { Operations, RingwallClient } from '@ringwall/client'
import { LABEL, LABEL_EXPECTED, LABEL_KEY, matchesSelector, parseSelector } from '@ringwall/ring'
import { UsageError } from '../errors.ts'
import { duration, paint, printable, time } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { settle } from './device.ts'

type FleetNode = Operations['fleet']['answer']['nodes'][number]
type Member = Operations['fleet']['answer']['updates'][number]['members'][number] & {
  readonly update: string
  readonly version: string
  readonly stage: string
  readonly runs: string | null
  readonly reason: string
}

/** @param given `KEY=VALUE` sets, `KEY-` takes away. */
export async function setLabels(
  client: RingwallClient,
  of: 'node' | 'device',
  id: string,
  given: readonly string[],
  reason: string,
  dryRun: boolean,
): Promise<void> {
  const wrong = given.find((one) => !LABEL.test(one) && !(one.endsWith('-') && LABEL_KEY.test(one.slice(0, -1))))
  if (wrong !== undefined)
    throw new UsageError(`${JSON.stringify(wrong)}: expected ${LABEL_EXPECTED}, or KEY- to take a label away`)
  const set = given.filter((one) => LABEL.test(one)).sort()
  const unset = given
    .filter((one) => !LABEL.test(one))
    .map((one) => one.slice(0, -1))
    .sort()
  const keys = [...set.map((one) => one.slice(0, one.indexOf('='))), ...unset]
  const twice = keys.find((key, at) => keys.indexOf(key) !== at)
  if (twice !== undefined) throw new UsageError(`${twice} is named twice`)
  const what = `label ${id} ${given.join(' ')}`
  await settle(client, { type: 'fleet.label', of, id, set, unset, reason }, what, `${id} is labelled ${given.join(' ')}`, dryRun)
}

export async function hold(
  client: RingwallClient,
  kind: 'cordon' | 'drain' | 'none',
  id: string,
  options: { readonly ttlMs: number; readonly reason: string; readonly dryRun: boolean },
): Promise<void> {
  const { ttlMs, reason, dryRun } = options
  const verb = kind === 'none' ? 'uncordon' : kind
  const until = ttlMs === 0 ? '' : ` for ${duration(ttlMs)}`
  const done = {
    cordon: `${id} takes no new work of the ring, and no update${until}`,
    drain: `${id} sends its clients elsewhere, and takes no new work and no update${until}; its /readyz is 503`,
    none: `${id} is held from nothing any more`,
  }[kind]
  await settle(client, { type: 'fleet.hold', id, kind, ttlMs, reason }, `${verb} ${id}${until}`, done, dryRun)
}

function stateOf({ hold: held, reachable, ready }: FleetNode): string {
  if (!reachable) return paint('red', 'down')
  if (held !== null) return paint('yellow', held.kind === 'drain' ? 'drained' : 'cordoned')
  return ready === false ? paint('yellow', 'not ready') : paint('green', 'ready')
}

function versionOf({ version, wanted, trying, failed }: FleetNode): string {
  const has = version ?? '-'
  if (trying !== null) return `${has} ${paint('yellow', `trying ${trying}`)}`
  if (failed !== null && failed.version === wanted) return `${has} ${paint('red', `failed ${failed.version}`)}`
  return wanted === null || wanted === version ? has : `${has} of ${wanted}`
}

function ageLine({ age }: FleetNode, nowMs: number): string {
  if (age === null) return '-'
  const line = `${duration(Math.max(0, nowMs - age.sinceMs))} of ${duration(age.endsAtMs - age.sinceMs)}`
  if (age.endsAtMs <= nowMs) return paint('red', line)
  return age.drainAtMs <= nowMs ? paint('yellow', line) : line
}

export async function fleetList(client: RingwallClient, format: Format, select: string): Promise<void> {
  const selector = parseSelector(select)
  if ('fault' in selector) throw new UsageError(`--select: ${selector.fault}`)
  const { nodes } = await client.fleet()
  const chosen = nodes.filter(({ labels }) => matchesSelector(selector.terms, new Map(Object.entries(labels))))
  const nowMs = Date.now()
  const own = ({ labels }: FleetNode): string =>
    Object.entries(labels)
      .filter(([key]) => key !== 'node' && key !== 'region')
      .map(([key, value]) => `${key}=${value}`)
      .join(',')
  printList<FleetNode>(
    format,
    chosen,
    [
      { title: 'NODE', value: ({ id }) => id },
      { title: 'REGION', value: ({ region }) => region },
      { title: 'VERSION', value: versionOf },
      { title: 'STATE', value: stateOf },
      { title: 'VIEW', value: ({ viewAgeMs }) => (viewAgeMs === null ? '-' : duration(viewAgeMs)) },
      {
        title: 'ATTESTED',
        value: ({ attested }) => (attested === null ? '-' : `${attested.state}, until ${time(attested.untilMs)}`),
      },
      {
        title: 'SEEN',
        value: ({ reachable, lastSeenMs }) =>
          reachable ? 'now' : lastSeenMs === null ? '-' : `${duration(nowMs - lastSeenMs)} ago`,
      },
      { title: 'AGE', value: (node) => ageLine(node, nowMs) },
      { title: 'LABELS', value: (node) => own(node) || '-' },
      { title: 'HELD', value: ({ hold: held }) => (held === null ? '-' : printable(`${held.by}: ${held.reason}`)), wide: true },
      { title: 'UNTIL', value: ({ hold: held }) => (held?.untilMs == null ? '-' : time(held.untilMs)), wide: true },
    ],
    ({ id }) => id,
    nodes.length === 0 ? 'no nodes' : 'no node has these labels',
  )
}

export async function fleetStatus(client: RingwallClient, format: Format): Promise<void> {
  const { updates, nodes } = await client.fleet()
  const members: readonly Member[] = updates.flatMap(({ name, version, stage, members: all }) =>
    all.map((member) => {
      const node = nodes.find(({ id }) => id === member.id)
      const reason = member.state === 'failed' ? (node?.failed?.reason ?? '') : (node?.hold?.reason ?? '')
      return { ...member, update: name, version, stage, runs: node?.version ?? null, reason }
    }),
  )
  if (format === 'table' || format === 'wide')
    for (const { name, version, stage, stopped, members: all } of updates) {
      const current = all.filter(({ state }) => state === 'current').length
      const line = `${name}: ${current} of ${all.length} run ${version}; ${stage === 'done' ? 'done' : `stage: ${stage}`}`
      process.stderr.write(`${line}${stopped === null ? '' : `; ${paint('yellow', `stopped: ${printable(stopped)}`)}`}\n`)
    }
  const colours = { current: 'green', failed: 'red', silent: 'red', trying: 'yellow' } as const
  printList<Member>(
    format,
    members,
    [
      { title: 'UPDATE', value: ({ update }) => update },
      { title: 'NODE', value: ({ id }) => id },
      { title: 'RUNS', value: ({ runs }) => runs ?? '-' },
      { title: 'WANTED', value: ({ version }) => version },
      {
        title: 'STATE',
        value: ({ state }) => {
          const colour = Object.hasOwn(colours, state) ? colours[state as keyof typeof colours] : undefined
          return colour === undefined ? state : paint(colour, state)
        },
      },
      { title: 'REASON', value: ({ reason }) => printable(reason) },
    ],
    ({ id }) => id,
    'the policy has no updates (fleet.updates)',
  )
}

export async function resume(client: RingwallClient, version: string, reason: string, dryRun: boolean): Promise<void> {
  const done = `nodes that failed with ${version} may try again`
  await settle(client, { type: 'fleet.resume', version, reason }, `have them try ${version} again`, done, dryRun)
}
