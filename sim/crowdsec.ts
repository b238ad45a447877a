/**
 * `npm run sim:crowdsec`: the traffic of `sim:attacks`, once through a ring and once as an access log through Debian's CrowdSec with the collection
 * that it has for nginx. Prints for each kind of attack what both found and how soon, and whom both took for an attacker.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endUsage, readOptions, whole } from '../tools/options.ts'
import { AccessLog } from './attacks/access-log.ts'
import { crowdsecMissing, runCrowdsec } from './attacks/crowdsec.ts'
import { scoreCrowdsec } from './attacks/crowdsec-score.ts'
import { CRAWLER_PREFIX, PROBE_PREFIX } from './attacks/people.ts'
import { besideTable } from './attacks/report.ts'
import { playTraffic, run } from './attacks/run.ts'

const options = readOptions({
  users: whole(2_000, 100, 1_000_000),
  days: whole(4, 1, 90),
  seed: whole(1),
  instances: whole(1, 1, 50),
})
const missing = crowdsecMissing()
if (missing !== undefined) endUsage(missing)

const folder = mkdtempSync(join(tmpdir(), 'ringwall-crowdsec-'))
const tell = (text: string): void => void process.stderr.write(`${text}\n`)
try {
  const path = join(folder, 'access.log')
  const log = new AccessLog(path)
  playTraffic(
    options,
    () => {},
    (play) => log.add(play),
  )
  log.close()
  tell(`${log.lines} lines are written; crowdsec reads them`)
  const begun = Date.now()
  const { alerts, scenarios } = await runCrowdsec(folder, path, [CRAWLER_PREFIX, PROBE_PREFIX])
  tell(`crowdsec: ${alerts.length} alerts in ${Math.round((Date.now() - begun) / 1_000)} s, by ${scenarios.length} scenarios`)
  const theirs = scoreCrowdsec(options, alerts)
  tell('the same traffic through a ring')
  const ours = run(options).score
  process.stdout.write(besideTable(ours, theirs, options))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
