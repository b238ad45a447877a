/**
 * `npm run e2e:updates`: a ring of four real nodes goes to another release by itself, each from two slots, under load, attesting what it runs.
 *
 * 1. releases that the ring refuses: signed by another key, and one whose header was changed
 * 2. an archive with a changed byte is refused by the node that has it, and fetched whole from a peer
 * 3. the first node is ended by SIGKILL, its launcher too, again and again while it unpacks and tries: one whole release starts each time
 * 4. one node, then its region, then all; nobody is put out for what it measures, and requests are answered throughout
 * 5. a release that does not start, and one that is never ready: the node that tries it goes back, the others never begin
 * 6. a slot with a changed byte on its disk is not started: the other one is
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, parseContext, RingwallClient } from '@ringwall/client'
import { type LocalNode, localNodes, provisionRing } from '../packages/node/src/local/provision.ts'
import { readOptions, whole } from '../tools/options.ts'
import { ask, CLI, eventually, freePorts, NODE_FLAGS } from './local-ring.ts'

const { kills } = readOptions({ kills: whole(4, 0, 20) })
const ROOT = resolve(import.meta.dirname, '..')
const UPDATE_MS_MAX = 900_000
const say = (line: string): void => void process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)

const work = mkdtempSync(join(tmpdir(), 'ringwall-updates-'))
const at = (name: string): string => join(work, name)

/** This installation, as another version, and changed. */
function tree(version: string, change: (file: string) => string = () => ''): string {
  const root = at(`tree-${version}`)
  mkdirSync(root)
  cpSync(join(ROOT, 'packages'), join(root, 'packages'), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  const manifest = join(root, 'packages/node/package.json')
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"version": "0.1.0"', `"version": "${version}"`))
  const file = join(root, 'packages/node/src/start/membership.ts')
  const text = readFileSync(file, 'utf8')
  const changed = change(text)
  // A release that is to be bad and is as good as the one before it would be installed, and shown nothing.
  assert.notEqual(changed, text, `nothing was changed in ${file}`)
  if (changed !== '') writeFileSync(file, changed)
  return root
}

const base = await freePorts(4)
const data = at('ring')
const nodes = localNodes(data, 4, base)
const upstream = createServer((_, response) => response.end('hello'))
await new Promise<void>((settle) => upstream.listen(base + 10, '127.0.0.1', settle))
const policy = `version: 1\nservices: { app: { upstreams: [{ url: 'http://127.0.0.1:${base + 10}' }], waf: { mode: 'off' } } }\n`
provisionRing(data, nodes, { text: policy, file: 'policy' }, Date.now())
const operator = parseContext(readFileSync(join(data, 'operator.json'), 'utf8'))

function client(n: number): RingwallClient {
  return new RingwallClient({ baseUrl: `http://127.0.0.1:${(nodes[n - 1] as LocalNode).admin}`, operator })
}

class Machine {
  readonly n: number
  readonly folder: string
  #launcher: ChildProcess | undefined
  talk = ''

  constructor(n: number) {
    this.n = n
    this.folder = at(`machine-${n}`)
  }

  get id(): string {
    return `n${this.n}`
  }

  /** As a service manager would: the launcher of the release that is current. */
  start(): void {
    const program = join(this.folder, 'current/packages/cli/bin/ringwall.mjs')
    const config = (nodes[this.n - 1] as LocalNode).configFile
    const child = spawn(process.execPath, [...NODE_FLAGS, program, 'fleet', 'run', '--folder', this.folder, '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (this.talk += chunk.toString()))
    this.#launcher = child
  }

  /** Launcher and nodes at once, whatever they are at. */
  async kill(): Promise<void> {
    const launcher = this.#launcher as ChildProcess
    const ended = new Promise((settle) => launcher.once('exit', settle))
    const children = childrenOf(launcher.pid as number)
    launcher.kill('SIGKILL')
    for (const pid of children)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    await ended
  }

  async stop(): Promise<void> {
    const launcher = this.#launcher
    if (launcher === undefined || launcher.exitCode !== null || launcher.signalCode !== null) return
    const ended = new Promise((settle) => launcher.once('exit', settle))
    launcher.kill('SIGTERM')
    await ended
  }

  get slot(): string {
    return readlinkSync(join(this.folder, 'current'))
  }

  /** Of what starts. */
  get installed(): string {
    const text = readFileSync(join(this.folder, 'current/ringwall-release.json'), 'utf8')
    return (JSON.parse(text) as { readonly header: { readonly version: string } }).header.version
  }

  async version(): Promise<string> {
    return (await client(this.n).status()).version
  }
}

function childrenOf(pid: number): readonly number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

async function refused(what: string, code: string, asked: Promise<unknown>): Promise<void> {
  const error = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ApiError, `${what} was not refused`)
  assert.equal(error.code, code)
  say(`refused, ${code}: ${what}`)
}

function run(...args: readonly string[]) {
  return spawnSync(process.execPath, [...NODE_FLAGS, CLI, ...args], { encoding: 'utf8', timeout: 240_000 })
}

function cli(...args: readonly string[]): string {
  const { status, stdout, stderr } = run(...args)
  assert.equal(status, 0, `${args.join(' ')}: ${stderr}`)
  return stdout.trim()
}

function make(version: string, change?: (text: string) => string): string {
  const out = at(`${version}.release`)
  cli('release', 'make', tree(version, change), '--key', at('maker.key'), '--out', out)
  return out
}

const header = (file: string) => {
  const text = readFileSync(file).toString('latin1')
  return JSON.parse(text.slice(0, text.indexOf('\n')))
}

/** All nodes of the ring that answer. */
const others = [1, 2, 3, 4]
async function anyClient() {
  for (const n of others)
    try {
      await client(n).status()
      return client(n)
    } catch {
      // It is the one that is away.
    }
  throw new Error('nobody answers')
}

async function setFleet(version: string): Promise<void> {
  const asked = await anyClient()
  const { version: held } = await asked.policy()
  const fleet = `fleet:
  keys: [${key}]
  updates:
    - { name: all, version: ${version}, first: n1, trial: 5s, wait: 5s, errors: 20% }
devices:
  attestation: { least: software, nodes: all, every: 20s, absence: 1h }
`
  await asked.policyApply(`${policy}${fleet}`, held)
}

async function standing() {
  const { updates, nodes } = await (await anyClient()).fleet()
  return { update: updates[0] as (typeof updates)[number], nodes }
}

const machines = others.map((n) => new Machine(n))
const [first] = machines as [Machine]
let key = ''
const load = { answered: 0, failed: 0, over: false }

/** One request after another at each node, each on a connection of its own: a client that meets a closed port goes on to the next node. */
async function loading(): Promise<void> {
  for (let turn = 0; !load.over; turn += 1) {
    let isAnswered = false
    for (let tries = 0; tries < 4 && !isAnswered; tries += 1)
      isAnswered = await ask(base + 1 + ((turn + tries) % 4), '/').then(
        ({ status }) => status < 500,
        () => false,
      )
    if (isAnswered) load.answered += 1
    else load.failed += 1
    await sleep(50)
  }
}

try {
  say('making releases')
  key = cli('release', 'key', at('maker.key'))
  const other = cli('release', 'key', at('other.key'))
  cli('release', 'make', ROOT, '--key', at('maker.key'), '--out', at('0.1.0.release'))
  const good = make('0.2.0')
  const dead = make('0.3.0', (text) => `throw new Error('this release does not start')\n${text}`)
  const unready = make('0.4.0', (text) =>
    text.replace('whyNotReady(): string | undefined {', `$& if (Date.now() > 0) return 'it never is'`),
  )
  cli('release', 'make', at('tree-0.2.0'), '--key', at('other.key'), '--out', at('other.release'))

  say('four machines, each with 0.1.0 in its first slot')
  for (const machine of machines) {
    cli('release', 'install', at('0.1.0.release'), '--folder', machine.folder, '--key', key)
    machine.start()
  }
  for (const machine of machines)
    await eventually(
      `${machine.id} is in the ring`,
      async () => (await client(machine.n).status()).ledger.viewAgeMs !== null,
      240_000,
    )
  await setFleet('0.2.0')

  say('1. what the ring refuses')
  const asked = await anyClient()
  const add = (file: string, changes: object = {}) => {
    const signed = header(file)
    return asked.submit({ type: 'release.add', ...signed, header: { ...signed.header, ...changes }, reason: 'e2e' })
  }
  await refused('a release signed by another key', 'RELEASE_KEY_UNKNOWN', add(at('other.release')))
  await refused('a release whose header was changed', 'RELEASE_SIGNATURE', add(good, { contents: 'ab'.repeat(32) }))
  assert.notEqual(other, key)
  assert.equal(run('release', 'install', at('other.release'), '--folder', at('nowhere'), '--key', key).status, 1)

  say('2. an archive with a changed byte in n1, a whole one in n2')
  const bytes = readFileSync(good)
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1)
  writeFileSync(join(first.folder, 'releases/given.release'), bytes)
  copyFileSync(good, join((machines[1] as Machine).folder, 'releases/given.release'))
  void loading()
  await add(good)
  await eventually('n1 refuses the archive', () => /a release of .*given\.release is refused/.test(first.talk), 120_000)
  assert.ok(!existsSync(join(first.folder, 'releases/given.release')))
  say(`refused by n1: ${/is refused: (.*)/.exec(first.talk)?.[1]?.replace(work, '…')}`)
  await eventually('n1 has it from n2', () => /release 0\.2\.0 came from n2/.test(first.talk), 120_000)
  say('n1 got it from n2')

  say(`3. n1 and its launcher, ended by SIGKILL ${kills} times`)
  for (let time = 0; time < kills; time += 1) {
    await sleep(500 + Math.random() * 6_000)
    const before = first.installed
    await first.kill()
    const held = first.installed
    assert.ok(held === before || held === '0.2.0', `slot ${first.slot} holds ${held}`)
    say(
      `killed; slot ${first.slot} is current and holds ${held}${existsSync(join(first.folder, 'trial.json')) ? ', a trial was interrupted' : ''}`,
    )
    first.talk = ''
    first.start()
    await eventually('the launcher finds a whole release', () => /slot [ab] holds 0\.[12]\.0, whole/.test(first.talk), 60_000)
    // Interrupted for the third time the ring is told that it failed: an operator has it tried again.
    await eventually('n1 answers', async () => (await first.version()) !== '', 120_000)
    const { update } = await standing()
    if (update.failed.length > 0)
      await (await anyClient()).submit({ type: 'fleet.resume', version: '0.2.0', reason: 'it was interrupted on purpose' })
  }

  say('4. one node, its region, all')
  const seen: string[] = []
  await eventually(
    'all nodes run 0.2.0',
    async () => {
      const { update, nodes } = await standing()
      if (update.failed.length > 0)
        await (await anyClient()).submit({ type: 'fleet.resume', version: '0.2.0', reason: 'it was interrupted on purpose' })
      for (const { id, state } of update.members)
        if (state === 'current' && !seen.includes(id)) {
          seen.push(id)
          say(`${id} runs 0.2.0, stage ${update.stage}`)
        }
      return update.stage === 'done' && nodes.every((node) => node.version === '0.2.0')
    },
    UPDATE_MS_MAX,
  )
  assert.deepEqual(seen.slice(0, 2), ['n1', 'n4'], 'n4 is in the region of n1')
  const { expelled, trust } = await (await anyClient()).enrolment()
  assert.deepEqual(expelled, [])
  assert.equal(trust.length, 4)
  for (const machine of machines) assert.equal(machine.installed, '0.2.0')
  load.over = true
  say(`requests meanwhile: ${load.answered} answered, ${load.failed} by none of the four`)
  assert.equal(load.failed, 0)

  for (const [number, file, version, why] of [
    ['5a', dead, '0.3.0', /ended/],
    ['5b', unready, '0.4.0', /not ready/],
  ] as const) {
    say(`${number}. ${version} is no good`)
    for (const machine of machines) copyFileSync(file, join(machine.folder, `releases/${version}.release`))
    const signed = header(file)
    await (await anyClient()).submit({ type: 'release.add', ...signed, reason: 'e2e' })
    await setFleet(version)
    await eventually(`n1 gives up ${version}`, async () => (await standing()).update.failed.includes('n1'), UPDATE_MS_MAX)
    const { update, nodes } = await standing()
    const reason = nodes.find(({ id }) => id === 'n1')?.failed?.reason ?? ''
    assert.match(reason, why)
    say(`stopped: ${update.stopped}; n1 says: ${reason}`)
    await eventually('n1 runs what it ran', async () => (await first.version()) === '0.2.0', 120_000)
    assert.equal(first.installed, '0.2.0')
    await sleep(5_000)
    for (const machine of machines) assert.equal(await machine.version(), '0.2.0')
    const said = await (await anyClient()).enrolment()
    assert.deepEqual(said.expelled, [])
  }

  say('6. a byte of the current slot of n1 is changed')
  await first.stop()
  const slot = first.slot
  // What was tried last lies in the other slot, whole; the launcher would start that rather than what was changed.
  const changed = join(first.folder, slot, 'packages/ring/src/state.ts')
  writeFileSync(changed, `${readFileSync(changed, 'utf8')} `)
  first.talk = ''
  first.start()
  await eventually('the launcher says so', () => /state\.ts was changed; slot [ab] holds 0\.4\.0, whole/.test(first.talk), 60_000)
  assert.notEqual(first.slot, slot)
  say('the other slot is current')
  say('done')
} finally {
  load.over = true
  await Promise.all(machines.map((machine) => machine.stop()))
  upstream.close()
  upstream.closeAllConnections()
  if (process.exitCode === undefined || process.exitCode === 0) rmSync(work, { recursive: true, force: true })
}
