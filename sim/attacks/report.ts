/** The score as a table for people. */
import type { DetectorScore, IncidentScore, KindScore, Score } from './score.ts'
import { HOUR, MINUTE } from './traffic.ts'

export interface RunFacts {
  readonly seed: number
  readonly users: number
  readonly days: number
  readonly denials: number
  readonly cpuS: number
  readonly incidents: IncidentScore
}

const percent = (share: number): string => `${(100 * share).toFixed(share > 0 && share < 0.01 ? 2 : 0)} %`

function duration(ms: number | undefined): string {
  if (ms === undefined) return '–'
  if (ms < 2 * MINUTE) return `${(ms / 1_000).toFixed(0)} s`
  return ms < 3 * HOUR ? `${(ms / MINUTE).toFixed(0)} min` : `${(ms / HOUR).toFixed(1)} h`
}

export function table(score: Score, { seed, users, days, denials, cpuS, incidents }: RunFacts): string {
  const per = (count: number): string => ((count * 100_000) / users).toFixed(count === 0 ? 0 : 2)
  const lines = [
    `seed ${seed}: ${users} people, ${days} days, ${score.plays} requests, ${denials} statements of nodes, ${Math.round(cpuS)} s of CPU (${cpuS === 0 ? '–' : Math.round((users * days) / cpuS)} people-days a second of CPU)`,
    '',
    `${'kind'.padEnd(22)}${'ATT&CK'.padEnd(11)}${'found'.padStart(7)}${'after'.padStart(9)}${'refused'.padStart(9)}${'named'.padStart(8)}  by`,
  ]
  for (const { kind, attack, instances, found, afterMs, refusedShare, namedShare, by } of score.kinds) {
    const cells = [`${found}/${instances}`.padStart(7), duration(afterMs).padStart(9), percent(refusedShare).padStart(9)]
    lines.push(`${kind.padEnd(22)}${attack.padEnd(11)}${cells.join('')}${percent(namedShare).padStart(8)}  ${by.join(', ')}`)
  }
  lines.push(
    '',
    `${'detector'.padEnd(22)}${'findings'.padStart(9)}${'false'.padStart(7)}${'false/100k'.padStart(12)}${'refused/100k'.padStart(14)}`,
  )
  for (const { detector, findings, falseFindings, refusedPeople } of score.detectors)
    lines.push(
      `${detector.padEnd(22)}${String(findings).padStart(9)}${String(falseFindings).padStart(7)}${per(falseFindings).padStart(12)}${per(refusedPeople).padStart(14)}`,
    )
  const { falseIncidents, duplicates, told } = incidents
  const attacks = score.kinds.reduce((sum, kind) => sum + kind.instances, 0)
  lines.push(
    '',
    `incidents: ${incidents.incidents}, ${duplicates} conclusions that say again what was said; ${told} of ${attacks} attacks are told of`,
    `incidents that name nobody who attacks: ${falseIncidents} (${(falseIncidents / days).toFixed(2)} a day)`,
  )
  const logins = score.logins === 0 ? 0 : score.refusedLogins / score.logins
  lines.push(
    '',
    `people refused at least once: ${score.refusedPeople} (${per(score.refusedPeople)} per 100,000)`,
    `logins of people refused: ${score.refusedLogins} of ${score.logins} (${(100 * logins).toFixed(4)} %)`,
    '',
  )
  return lines.join('\n')
}

/** What was not as usual: which attacks it named, and what it said besides. */
export function anomalyTable(score: Score, incidents: IncidentScore, { days }: Pick<RunFacts, 'days'>): string {
  const lines = ['not as usual (observed only):']
  for (const { detector, findings, falseFindings } of score.detectors.filter((one) => one.findings > 0))
    lines.push(
      `${detector.padEnd(22)}${String(findings).padStart(9)} findings, ${falseFindings} false (${(falseFindings / days).toFixed(2)} a day)`,
    )
  const found = score.kinds.filter((kind) => kind.found > 0)
  lines.push(
    `kinds named: ${found.length} of ${score.kinds.length}${found.length === 0 ? '' : ': '}${found.map(({ kind, found: times, instances, afterMs }) => `${kind} ${times}/${instances} after ${duration(afterMs)}`).join(', ')}`,
    `with rules: ${incidents.incidents} incidents, ${incidents.falseIncidents} name nobody who attacks (${(incidents.falseIncidents / days).toFixed(2)} a day)`,
    '',
  )
  return lines.join('\n')
}

const falseOf = (detectors: readonly DetectorScore[]): number =>
  detectors.reduce((sum, { falseFindings }) => sum + falseFindings, 0)

/** What a ring found beside what CrowdSec found. */
export function besideTable(
  ours: Score,
  theirs: Score,
  { seed, users, days }: Pick<RunFacts, 'seed' | 'users' | 'days'>,
): string {
  const cells = (kind: KindScore | undefined): string =>
    kind === undefined
      ? '–'.padStart(29)
      : `${`${kind.found}/${kind.instances}`.padStart(7)}${duration(kind.afterMs).padStart(9)}${percent(kind.refusedShare).padStart(13)}`
  const isFound = ({ found, instances }: KindScore): boolean => found === instances
  const lines = [
    `seed ${seed}: ${users} people, ${days} days, ${ours.plays} requests`,
    '',
    `${''.padEnd(22)}${'Ringwall'.padStart(16)}${'refused'.padStart(13)}${'CrowdSec'.padStart(16)}${'refused'.padStart(13)}  CrowdSec’s scenarios`,
  ]
  for (const kind of [...ours.kinds].sort((a, b) => (a.kind < b.kind ? -1 : 1))) {
    const other = theirs.kinds.find((one) => one.kind === kind.kind)
    lines.push(`${kind.kind.padEnd(22)}${cells(kind)}${cells(other)}  ${other?.by.join(', ') ?? ''}`.trimEnd())
  }
  const row = (name: string, of: (score: Score) => string): string =>
    `${name.padEnd(38)}${of(ours).padStart(12)}${of(theirs).padStart(12)}`
  lines.push(
    '',
    row('', (score) => (score === ours ? 'Ringwall' : 'CrowdSec')),
    row('kinds found, each time', ({ kinds }) => `${kinds.filter(isFound).length} of ${kinds.length}`),
    row('findings that name nobody who attacks', ({ detectors }) => String(falseOf(detectors))),
    row('people refused at least once', ({ refusedPeople }) => String(refusedPeople)),
    row('logins of people refused', ({ refusedLogins, logins }) => `${refusedLogins} of ${logins}`),
    '',
  )
  return lines.join('\n')
}
