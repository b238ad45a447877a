/**
 * `npm run sim:attacks`: days of a shop’s traffic over five nodes, people and attacks of 20 kinds, from a seed, by the guards, detectors and
 * denials of a node (`attacks/ring.ts`), with a clock that runs as fast as the machine. Prints, for each kind, how many were found and how soon,
 * and for each detector whom it took for an attacker. `--show 20` prints as many findings that were
 * wrong; with `--benign` nobody attacks; with `--observe` no rule denies anybody, so that attacks go on as long as they last.
 */
import { flag, readOptions, whole } from '../tools/options.ts'
import { observing, POLICY } from './attacks/policy.ts'
import { anomalyTable, table } from './attacks/report.ts'
import { run } from './attacks/run.ts'

const options = readOptions({
  users: whole(1_000_000, 100, 1_000_000),
  days: whole(30, 1, 90),
  seed: whole(1),
  instances: whole(undefined, 1, 50),
  show: whole(0, 0, 200),
  benign: flag(),
  observe: flag(),
})
const { users, days, seed, show } = options
const instances = options.instances ?? Math.max(1, Math.round(days / 5))
const begun = process.cpuUsage()
const cpuS = (): number => {
  const { user, system } = process.cpuUsage(begun)
  return (user + system) / 1e6
}
const { score, wrong, denials, incidents, anomalies } = run({
  seed,
  users,
  days,
  instances,
  ...(options.benign ? { kinds: [] } : {}),
  ...(options.observe ? { policy: observing(POLICY) } : {}),
  onDay: (day, plays) => {
    const mib = Math.round(process.memoryUsage.rss() / 1_048_576)
    process.stderr.write(`day ${day} of ${days}: ${plays} requests, ${Math.round(cpuS())} s of CPU, ${mib} MiB\n`)
  },
})
process.stdout.write(table(score, { seed, users, days, denials, incidents, cpuS: cpuS() }))
process.stdout.write(`${anomalyTable(anomalies.score, anomalies.incidents, { days })}\n`)
for (const line of [...wrong.slice(0, show), ...anomalies.wrong.slice(0, show)]) process.stdout.write(`wrong: ${line}\n`)
