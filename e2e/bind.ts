/** BIND, the name server, as a process of its own (Debian: bind9), primary for one zone that a key may change records of. */
import { spawn, spawnSync } from 'node:child_process'
import { promises as dns } from 'node:dns'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../tools/free-ports.ts'

const NAMED = '/usr/sbin/named'
const READY_MS_MAX = 15_000

/** Undefined when it is at hand; otherwise why not. */
export function whyNoBind(): string | undefined {
  return spawnSync(NAMED, ['-v']).status === 0 ? undefined : 'BIND is not installed: apt-get install bind9'
}

export interface Bind {
  /** `127.0.0.1:PORT` */
  readonly server: string
  readonly keyFile: string
  texts(name: string): Promise<readonly string[]>
  stop(): void
}

/** @param names Whose TXT records the key may change. */
export async function startBind(folder: string, zone: string, names: readonly string[]): Promise<Bind> {
  mkdirSync(folder, { recursive: true })
  const [port] = (await freePorts(1)) as [number]
  const at = (name: string): string => join(folder, name)
  const keyFile = at('tsig.key')
  writeFileSync(keyFile, spawnSync('/usr/sbin/tsig-keygen', ['ringwall']).stdout, { mode: 0o600 })
  writeFileSync(at('zone'), '$TTL 60\n@ SOA ns1 ops 1 60 60 60 60\n@ NS ns1\n* A 127.0.0.1\n')
  const grants = names.map((name) => `grant ringwall name ${name}. TXT;`).join(' ')
  writeFileSync(
    at('named.conf'),
    `include "${keyFile}";
options {
  directory "${folder}"; pid-file "${at('pid')}"; session-keyfile "${at('session.key')}";
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no;
};
controls { };
zone "${zone}" { type primary; file "${at('zone')}"; update-policy { ${grants} }; };
`,
  )
  const child = spawn(NAMED, ['-f', '-c', at('named.conf')], { stdio: 'ignore' })
  const server = `127.0.0.1:${port}`
  const resolver = new dns.Resolver({ timeout: 1_000, tries: 1 })
  resolver.setServers([server])
  for (const untilMs = performance.now() + READY_MS_MAX; ; ) {
    if (await resolver.resolveSoa(zone).catch(() => undefined)) break
    if (performance.now() > untilMs) throw new Error('BIND did not start')
    await sleep(50)
  }
  const texts = async (name: string): Promise<readonly string[]> =>
    (await resolver.resolveTxt(name).catch(() => [])).map((parts) => parts.join(''))
  return { server, keyFile, texts, stop: () => void child.kill('SIGKILL') }
}
