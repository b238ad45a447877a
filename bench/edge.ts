/**
 * `npm run bench:edge`: what a node that only takes traffic costs, as a small device would be: one joins a ring of four as a device and is left alone; it is
 * started again, as after a power cut, and left alone; then it is asked with rules on, and holds idle connections. Memory by part each time.
 * `--seconds` of looking, `--every` seconds between attestations, `--requests`, `--connections`. Limits: 150 MB of resident memory, and 2 % of a core while it idles.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressesAt, ask, CLI, eventually, freePorts, TestRing } from '../e2e/local-ring.ts'
import { readOptions, whole } from '../tools/options.ts'

const { seconds, every, requests, connections } = readOptions({
  seconds: whole(60, 5, 3_600),
  every: whole(60, 1, 3_600),
  requests: whole(10_000, 1, 10_000_000),
  connections: whole(1_000, 1, 10_000),
})
/** Threads that helped while it joined end after a minute. */
const SETTLE_MS = 75_000
const LIMITS = { bytes: 150e6, share: 0.02 } as const

/** Of the process, in bytes, by what the memory is of. */
interface Parts {
  readonly resident: number
  readonly engine: number
  readonly libraries: number
  readonly native: number
  readonly heaps: number
  readonly code: number
  readonly other: number
  /** Its share of what it shares with other processes, instead of all of that. */
  readonly proportional: number
}

const BLOCK = /^[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+ *(.*)$/

/** From the kernel's map of the process: V8 takes its heaps in pages of 256 KB, the C library what it needs in `[heap]` and larger pieces. */
function partsOf(pid: number): Parts {
  const parts = { resident: 0, engine: 0, libraries: 0, native: 0, heaps: 0, code: 0, other: 0, proportional: 0 }
  let [rights, name, kilobytes] = ['', '', 0]
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const head = BLOCK.exec(line)
    if (head !== null) [rights, name] = [head[1] as string, head[2] as string]
    const [key, value] = line.split(/:\s+/)
    const bytes = Number.parseInt(value ?? '', 10) * 1_024
    if (key === 'Size') kilobytes = bytes / 1_024
    if (key === 'Pss') parts.proportional += bytes
    if (key !== 'Rss') continue
    parts.resident += bytes
    if (name === process.execPath || name.endsWith('/bin/node')) parts.engine += bytes
    else if (name.startsWith('/')) parts.libraries += bytes
    else if (name === '[heap]') parts.native += bytes
    else if (rights.includes('x')) parts.code += bytes
    else if (kilobytes <= 256) parts.heaps += bytes
    else parts.other += bytes
  }
  return parts
}

/** By the names that the kernel knows, `name` and how many. */
function threadsOf(pid: number): string {
  const counts = new Map<string, number>()
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    const name = readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim()
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts].map(([name, count]) => (count === 1 ? name : `${name} ${count}`)).join(', ')
}

function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // After the name, which may hold anything: user and system time in hundredths of a second.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0)
const verdict = (isGood: boolean): string => (isGood ? 'within' : 'OVER')
const COLUMNS = ['resident', 'engine', 'libraries', 'native', 'heaps', 'code', 'other', 'proportional'] as const

function row(what: string, parts: Parts): void {
  const cells = COLUMNS.map((name) => megabytes(parts[name]).padStart(name.length))
  process.stdout.write(`${what.padEnd(34)}  ${cells.join('  ')}\n`)
}

/** Left alone: the most memory, and how busy it is. */
async function idle(what: string, pid: number): Promise<void> {
  await sleep(SETTLE_MS)
  const [beganAt, cpuMs] = [performance.now(), cpuMsOf(pid)]
  let most = partsOf(pid)
  while (performance.now() - beganAt < seconds * 1_000) {
    await sleep(1_000)
    const now = partsOf(pid)
    if (now.resident > most.resident) most = now
  }
  const share = (cpuMsOf(pid) - cpuMs) / (performance.now() - beganAt)
  row(`${what}, at most`, most)
  process.stdout.write(
    [
      `  memory ${verdict(most.resident <= LIMITS.bytes)} ${megabytes(LIMITS.bytes)} MB; ${(share * 100).toFixed(2)} % of a core over ${seconds} s: ${verdict(share <= LIMITS.share)} ${LIMITS.share * 100} %`,
      `  threads: ${threadsOf(pid)}`,
      '',
    ].join('\n'),
  )
}

/** Some of them attacks: rules judge all, and refuse those. */
async function load(port: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  let left = requests
  let refused = 0
  const one = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const path = left % 20 === 0 ? `/items?id=${left}%27%20union%20select%20password%20from%20users--` : `/items?id=${left}`
      const status = await new Promise<number>((settle, refuse) => {
        get({ host: '127.0.0.1', port, path, agent }, (response) => {
          response.resume().on('end', () => settle(response.statusCode ?? 0))
        }).on('error', refuse)
      })
      if (status === 403) refused += 1
    }
  }
  await Promise.all(Array.from({ length: 32 }, one))
  agent.destroy()
  return refused
}

async function connected(port: number): Promise<readonly Socket[]> {
  const sockets: Socket[] = []
  for (let at = 0; at < connections; at += 1) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    await new Promise((settle) => socket.once('connect', settle).once('close', settle))
    // The beginning of a request: what a connection costs while nothing more comes.
    socket.write('GET / HTTP/1.1\r\n')
    sockets.push(socket)
  }
  return sockets
}

function done(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  if (run.code !== 0) throw new Error(run.stderr)
  return run.stdout.trim()
}

const ring = await TestRing.start()
const at = (name: string): string => join(ring.data, name)
let child: ReturnType<typeof spawn> | undefined
try {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', at('factory')))
  const { text } = await ring.client(1).policy()
  const devices = `devices:\n  attestation: { least: software, every: ${every}s }\n  manufacturers:\n    - { name: acme, key: ${key} }\n`
  writeFileSync(at('ringwall.yaml'), `${text}\n${devices}`)
  done(ring.cli('policy', 'apply', at('ringwall.yaml'), '--yes'))
  writeFileSync(at('ring.json'), done(ring.cli('device', 'address')))
  done(ring.cliAlone('device', 'make', 'E-1', '--manufacturer', at('factory'), '--directory', at('E-1')))
  const voucher = join(at('E-1'), 'voucher.json')
  done(ring.cliAlone('device', 'ship', voucher, '--key', at('factory/manufacturer.key'), '--to', at('ring.json')))
  done(ring.cli('device', 'register', voucher, '--region', 'eu-west'))
  const base = await freePorts(1)
  const flags = ['--disable-warning=ExperimentalWarning']
  const start = async (): Promise<number> => {
    const node = spawn(process.execPath, [...flags, CLI, 'node', '--device', at('E-1'), ...addressesAt(base)], {
      stdio: 'ignore',
    })
    child = node
    await eventually('it is ready', async () => (await ask(base + 1_001, '/readyz')).status === 200, 120_000)
    return node.pid as number
  }
  process.stdout.write(
    `an edge node that attests by software every ${every} s; MB by part\n${''.padEnd(34)}  ${COLUMNS.join('  ')}\n`,
  )
  await idle('idle after it joined', await start())
  const ended = new Promise((settle) => child?.once('exit', settle))
  child?.kill('SIGTERM')
  await ended
  const pid = await start()
  await idle('idle after another start', pid)
  const cpuMs = cpuMsOf(pid)
  let most = partsOf(pid)
  const watch = setInterval(() => {
    const now = partsOf(pid)
    if (now.resident > most.resident) most = now
  }, 250)
  const refused = await load(base + 1)
  clearInterval(watch)
  const each = (cpuMsOf(pid) - cpuMs) / requests
  row(`during ${requests} requests, at most`, most)
  const bounded = (what: string): void => {
    const parts = partsOf(pid)
    row(what, parts)
    process.stdout.write(`  memory ${verdict(parts.resident <= LIMITS.bytes)} ${megabytes(LIMITS.bytes)} MB\n`)
  }
  bounded('after them')
  process.stdout.write(`  ${each.toFixed(2)} ms of CPU each; rules refused ${refused} of them\n`)
  const sockets = await connected(base + 1)
  bounded(`with ${sockets.filter(({ destroyed }) => !destroyed).length} open connections`)
  for (const socket of sockets) socket.destroy()
} finally {
  child?.kill('SIGKILL')
  await ring.destroy()
}
