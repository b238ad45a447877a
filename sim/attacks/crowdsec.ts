/**
 * Debian's CrowdSec over an access log, in its time machine mode: the collection `crowdsecurity/nginx` as the package ships it (its hub is
 * installed with it), with the local API and an SQLite file of its own in a folder of its own. Nothing leaves the machine.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { parse, parseAllDocuments } from 'yaml'
import { freePort } from '../../tools/free-ports.ts'

const HUB = '/usr/share/crowdsec/hub'
const DATA = '/usr/share/crowdsec/data'
const PATTERNS = '/etc/crowdsec/patterns'
const COLLECTION = 'crowdsecurity/nginx'
/** A line is a date and a message; these come with the first. */
const BASE_PARSERS = ['crowdsecurity/syslog-logs', 'crowdsecurity/dateparse-enrich']
const STAGES = ['s00-raw', 's01-parse', 's02-enrich']
const run = promisify(execFile)

/** What CrowdSec concluded of one source. */
export interface CrowdsecAlert {
  readonly scenario: string
  readonly source: string
  /** By the clock of the log: when its bucket ran over. */
  readonly atMs: number
}

/** Why it cannot run; undefined: it can. */
export function crowdsecMissing(): string | undefined {
  const programs = ['crowdsec', 'cscli'].every((name) => spawnSync(name, ['-h']).error === undefined)
  if (!programs) return 'crowdsec and cscli are not installed: apt-get install crowdsec'
  return existsSync(`${HUB}/collections/${COLLECTION}.yaml`) ? undefined : `${HUB} has no collection ${COLLECTION}`
}

interface Collection {
  readonly parsers?: readonly string[]
  readonly scenarios?: readonly string[]
  readonly collections?: readonly string[]
}

/** All that a collection asks for, those that it is made of included. */
function contents(name: string): { readonly parsers: readonly string[]; readonly scenarios: readonly string[] } {
  const path = `${HUB}/collections/${name}.yaml`
  if (!existsSync(path)) return { parsers: [], scenarios: [] }
  const { parsers = [], scenarios = [], collections = [] } = parse(readFileSync(path, 'utf8')) as Collection
  const inner = collections.map(contents)
  return {
    parsers: [...parsers, ...inner.flatMap((one) => one.parsers)],
    scenarios: [...scenarios, ...inner.flatMap((one) => one.scenarios)],
  }
}

/** With the lists that it reads, which the package keeps by their names at the source. @returns Whether all of it is there. */
function installScenario(folder: string, name: string): boolean {
  const path = `${HUB}/scenarios/${name}.yaml`
  if (!existsSync(path)) return false
  const lists = parseAllDocuments(readFileSync(path, 'utf8')).flatMap(
    (document) => (document.toJSON() as { data?: readonly { source_url: string; dest_file: string }[] }).data ?? [],
  )
  const files = lists.map(
    ({ source_url, dest_file }) => [`${DATA}/${basename(source_url)}`, join(folder, 'data', dest_file)] as const,
  )
  if (!files.every(([from]) => existsSync(from))) return false
  for (const [from, to] of files) copyFileSync(from, to)
  copyFileSync(path, join(folder, 'scenarios', `${name.replace('/', '-')}.yaml`))
  return true
}

/** @returns The scenarios that are there. */
function install(folder: string, welcome: readonly string[]): readonly string[] {
  const { parsers, scenarios } = contents(COLLECTION)
  for (const stage of STAGES) {
    mkdirSync(join(folder, 'parsers', stage), { recursive: true })
    for (const name of [...BASE_PARSERS, ...parsers]) {
      const path = `${HUB}/parsers/${stage}/${name}.yaml`
      if (existsSync(path)) copyFileSync(path, join(folder, 'parsers', stage, `${name.replace('/', '-')}.yaml`))
    }
  }
  // Its own form of what `bots` and `denials.safe` say in our policy.
  writeFileSync(
    join(folder, 'parsers/s02-enrich/welcome.yaml'),
    JSON.stringify({ name: 'sim/welcome', description: 'welcome machines', whitelist: { reason: 'welcome', cidr: welcome } }),
  )
  mkdirSync(join(folder, 'scenarios'))
  cpSync(PATTERNS, join(folder, 'patterns'), { recursive: true })
  const there = scenarios.filter((name) => installScenario(folder, name))
  return there
}

/** It says more than is worth keeping; the first complaint is what went wrong. */
async function readLog(config: string, log: string): Promise<void> {
  const child = spawn('crowdsec', ['-c', config, '-dsn', `file://${log}`, '-type', 'nginx'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint: string | undefined
  child.stderr.on('data', (chunk: Buffer) => {
    complaint ??= /level=(?:fatal|error) msg="?([^"\n]+)/.exec(String(chunk))?.[1]
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`crowdsec ended with ${code}: ${complaint ?? 'it said nothing'}`)
}

/** @param welcome Prefixes of machines that it is told to pass over. */
export async function runCrowdsec(
  folder: string,
  log: string,
  welcome: readonly string[],
): Promise<{ readonly alerts: readonly CrowdsecAlert[]; readonly scenarios: readonly string[] }> {
  for (const name of ['data', 'hub', 'notifications', 'plugins']) mkdirSync(join(folder, name), { recursive: true })
  const scenarios = install(folder, welcome)
  const port = await freePort()
  const paths = {
    credentials: join(folder, 'credentials.yaml'),
    profiles: join(folder, 'profiles.yaml'),
    simulation: join(folder, 'simulation.yaml'),
    config: join(folder, 'config.yaml'),
  }
  writeFileSync(paths.credentials, '')
  writeFileSync(paths.profiles, 'name: none\nfilters: ["false"]\n')
  writeFileSync(paths.simulation, 'simulation: false\n')
  writeFileSync(join(folder, 'hub/.index.json'), '{"parsers":{},"scenarios":{},"postoverflows":{},"collections":{}}')
  const settings = {
    common: { daemonize: false, log_media: 'stdout', log_level: 'warning', log_dir: folder, working_dir: '.' },
    config_paths: {
      config_dir: folder,
      data_dir: join(folder, 'data'),
      simulation_path: paths.simulation,
      hub_dir: join(folder, 'hub'),
      index_path: join(folder, 'hub/.index.json'),
      notification_dir: join(folder, 'notifications'),
      plugin_dir: join(folder, 'plugins'),
    },
    crowdsec_service: { parser_routines: 1 },
    cscli: { output: 'raw' },
    db_config: { type: 'sqlite', db_path: join(folder, 'data/crowdsec.db'), log_level: 'error' },
    api: {
      client: { credentials_path: paths.credentials },
      server: { listen_uri: `127.0.0.1:${port}`, profiles_path: paths.profiles, log_level: 'error' },
    },
    prometheus: { enabled: false },
  }
  writeFileSync(paths.config, JSON.stringify(settings))
  const url = `http://127.0.0.1:${port}/`
  const cscli = ['-c', paths.config]
  await run('cscli', [...cscli, 'machines', 'add', 'sim', '--password', 'only-here', '-f', paths.credentials, '-u', url])
  await readLog(paths.config, log)
  return { alerts: readAlerts(join(folder, 'data/crowdsec.db')), scenarios }
}

/** From its own file: `cscli alerts list` prints every event of each. */
function readAlerts(path: string): readonly CrowdsecAlert[] {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    return database
      .prepare('SELECT scenario, source_ip AS source, stopped_at AS stopped FROM alerts ORDER BY stopped_at')
      .all()
      .map(({ scenario, source, stopped }) => ({
        scenario: String(scenario),
        source: String(source),
        atMs: Date.parse(
          String(stopped)
            .replace(' ', 'T')
            .replace(/ ?\+0000.*$|[+]00:00$/, 'Z'),
        ),
      }))
  } finally {
    database.close()
  }
}
