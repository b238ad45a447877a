/** The score as a table for people. */
import type { Score } from './score.ts'
import { HOUR, MINUTE } from './traffic.ts'

export interface RunFacts {
  readonly seed: number
  readonly users: number
  readonly days: number
  readonly denials: number
  readonly cpuS: number
}

const percent = (share: number): string => `${(100 * share).toFixed(share > 0 && share < 0.01 ? 2 : 0)} %`

function duration(ms: number | undefined): string {
  if (ms === undefined) return '–'
  if (ms < 2 * MINUTE) return `${(ms / 1_000).toFixed(0)} s`
  return ms < 3 * HOUR ? `${(ms / MINUTE).toFixed(0)} min` : `${(ms / HOUR).toFixed(1)} h`
}

export function table(score: Score, { seed, users, days, denials, cpuS }: RunFacts): string {
  const per = (count: number): string => ((count * 100_000) / users).toFixed(count === 0 ? 0 : 2)
  const lines = [
    `seed ${seed}: ${users} people, ${days} days, ${score.plays} requests, ${denials} statements of nodes, ${Math.round(cpuS)} s of CPU`,
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
  const logins = score.logins === 0 ? 0 : score.refusedLogins / score.logins
  lines.push(
    '',
    `people refused at least once: ${score.refusedPeople} (${per(score.refusedPeople)} per 100,000)`,
    `logins of people refused: ${score.refusedLogins} of ${score.logins} (${(100 * logins).toFixed(4)} %)`,
    '',
  )
  return lines.join('\n')
}
