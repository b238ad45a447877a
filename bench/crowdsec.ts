/**
 * The traffic of `npm run sim:attacks` as access logs of five nodes, read by CrowdSec’s agents, one a node, as one would install it: for each kind of attack, in how
 * many of its instances some agent named one of its sources, and how many addresses were named that attack nobody. Needs `crowdsec` on this machine, with its
 * scenarios (`--config`, /etc/crowdsec/config.yaml unless said otherwise); asks no service of theirs.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NODES, run } from '../sim/attacks/run.ts'
import type { Play } from '../sim/attacks/traffic.ts'
import { endUsage, readOptions, text, whole } from '../tools/options.ts'

const { users, days, seed, instances, config } = readOptions({
  users: whole(2_000, 100, 1_000_000),
  days: whole(5, 1, 30),
  seed: whole(1),
  instances: whole(1, 1, 10),
  config: text('/etc/crowdsec/config.yaml'),
})
if (spawnSync('crowdsec', ['-version']).error !== undefined) endUsage('crowdsec is not installed: apt install crowdsec')
const NOTHING = `version: 1
services: { shop: { hosts: [shop.example], upstreams: [{ url: 'http://127.0.0.1:9' }], waf: { mode: off, rules: [] } } }
detectors: { floods: { mode: off } }
`
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const LINES_MAX = 5_000

const folder = mkdtempSync(join(tmpdir(), 'ringwall-crowdsec-'))
const logs = Array.from({ length: NODES }, (_, at) => join(folder, `n${at + 1}.log`))
const waiting: string[][] = logs.map(() => [])
/** Of attacks, by source: the instance. */
const attackers = new Map<string, number>()
const people = new Set<string>()

/** As nginx writes it, `combined`. */
function lineOf({ atMs, source, method, path, status, bytes }: Play): string {
  const at = new Date(atMs).toISOString()
  const day = `${at.slice(8, 10)}/${MONTHS[Number(at.slice(5, 7)) - 1]}/${at.slice(0, 4)}:${at.slice(11, 19)} +0000`
  return `${source} - - [${day}] "${method} ${path} HTTP/1.1" ${status} ${bytes} "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"\n`
}

function flush(at: number): void {
  appendFileSync(logs[at]!, waiting[at]!.splice(0).join(''))
}

try {
  const { score } = run({
    seed,
    users,
    days,
    instances,
    policy: NOTHING,
    onPlay: (play) => {
      if (play.who !== undefined && play.who < 0) attackers.set(play.source, play.who)
      else people.add(play.source)
      waiting[play.node]!.push(lineOf(play))
      if (waiting[play.node]!.length >= LINES_MAX) flush(play.node)
    },
  })
  for (const at of logs.keys()) flush(at)
  const named = new Map<string, Set<string>>()
  for (const log of logs) {
    const { stdout, stderr, status } = spawnSync(
      'crowdsec',
      ['-c', config, '-dsn', `file://${log}`, '-type', 'nginx', '-no-api'],
      {
        encoding: 'utf8',
        maxBuffer: 256 * 1_048_576,
      },
    )
    if (status !== 0) endUsage(`crowdsec ended with ${status}: ${stderr.split('\n').slice(-3).join(' ').slice(0, 500)}`)
    for (const [, source, scenario] of `${stdout}${stderr}`.matchAll(/Ip ([0-9a-f.:]+) performed '([^']+)'/g)) {
      const scenarios = named.get(source!) ?? new Set<string>()
      named.set(source!, scenarios.add(scenario!))
    }
  }
  const found = new Set([...named.keys()].flatMap((source) => attackers.get(source) ?? []))
  const wrong = [...named].filter(([source]) => !attackers.has(source) && people.has(source))
  process.stdout.write(`seed ${seed}: ${users} people, ${days} days, ${score.plays} requests in ${NODES} logs\n\n`)
  for (const { kind, instances: all, whos } of score.kinds) {
    const own = new Set(whos)
    const scenarios = new Set([...named].flatMap(([source, by]) => (own.has(attackers.get(source) ?? 0) ? [...by] : [])))
    const hit = [...own].filter((who) => found.has(who)).length
    process.stdout.write(`${kind.padEnd(22)}${`${hit}/${all}`.padStart(6)}  ${[...scenarios].sort().join(', ')}\n`)
  }
  process.stdout.write(`\naddresses named that attack nobody: ${wrong.length}\n`)
  for (const [source, scenarios] of wrong.slice(0, 20)) process.stdout.write(`wrong: ${source}: ${[...scenarios].join(', ')}\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
