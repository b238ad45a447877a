/**
 * `npm run e2e:tamper`: a ring of seven, one crashed and one lying, and devices that are tampered with in each way. `--rounds`. For each kind: how long from the
 * tampering until the node noticed, and from then until each of the five others refused it in every way.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createPrivateKey, randomBytes, sign } from 'node:crypto'
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ApiError } from '@ringwall/client'
import type { TxBody } from '@ringwall/ring'
import { encodeBase64url, signingBytes } from '@ringwall/ring/tx'
import { readOptions, whole } from '../tools/options.ts'
import { addressesAt, ask, eventually, freePorts, TestRing } from './local-ring.ts'
import { SoftTpm, swtpmMissing } from './swtpm.ts'

const { rounds } = readOptions({ rounds: whole(3, 1, 100) })
const EVERY_MS = 4_000
const HONEST = [1, 2, 3, 4, 5]
const [LIAR, CRASHED] = [6, 7]
const ROOT = resolve(import.meta.dirname, '..')
const FLAGS = ['--disable-warning=ExperimentalWarning']

const root = mkdtempSync(join(tmpdir(), 'rw-'))
const ring = await TestRing.start({ nodes: 7 })
const children: ChildProcess[] = []
const tpms: SoftTpm[] = []

interface Device {
  readonly directory: string
  readonly home: string
  readonly child: ChildProcess
  readonly base: number
  readonly node: string
  readonly tpm: SoftTpm | undefined
  readonly input: string
}

interface Kind {
  readonly name: string
  readonly code: string
  readonly tpm?: true
  readonly ownFiles?: true
  tamper(device: Device): Promise<void> | void
}

function done(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  assert.equal(run.code, 0, run.stderr)
  return run.stdout.trim()
}

/** A whole installation of its own, so that its files can be changed. */
function ownInstallation(name: string): string {
  const home = join(root, name)
  mkdirSync(join(home, 'node_modules/@ringwall'), { recursive: true })
  cpSync(join(ROOT, 'packages'), join(home, 'packages'), { recursive: true })
  for (const entry of readdirSync(join(ROOT, 'node_modules')))
    if (entry !== '@ringwall') symlinkSync(join(ROOT, 'node_modules', entry), join(home, 'node_modules', entry))
  for (const entry of readdirSync(join(home, 'packages')))
    symlinkSync(join(home, 'packages', entry), join(home, 'node_modules/@ringwall', entry))
  return home
}

const signedBy = (device: Device, ringHash: string, body: TxBody) => {
  const key = createPrivateKey(readFileSync(join(device.directory, 'node/node.key'), 'utf8'))
  const atMs = Date.now()
  const nonce = randomBytes(16).toString('base64url')
  const content = { ring: ringHash, issuer: `node:${device.node}`, atMs, untilMs: atMs + 60_000, nonce, body }
  return { content, signature: encodeBase64url(sign(null, signingBytes(content), key)) }
}

async function powerOn(serial: string, { tpm: hasTpm, ownFiles }: Kind): Promise<Device> {
  const tpm = hasTpm === true ? await SoftTpm.start(join(root, serial)) : undefined
  if (tpm !== undefined) tpms.push(tpm)
  const directory = join(ring.data, serial)
  const endorsed = tpm === undefined ? [] : ['--tpm', tpm.tcti, '--tpm-roots', tpm.roots]
  const factory = join(ring.data, 'factory')
  done(ring.cliAlone('device', 'make', serial, '--manufacturer', factory, '--directory', directory, ...endorsed))
  const to = ['--key', join(factory, 'manufacturer.key'), '--to', join(ring.data, 'ring.json')]
  done(ring.cliAlone('device', 'ship', join(directory, 'voucher.json'), ...to))
  done(ring.cli('device', 'register', join(directory, 'voucher.json'), '--region', 'eu-west'))
  const input = join(directory, 'case')
  writeFileSync(input, 'closed\n')
  const home = ownFiles === true ? ownInstallation(serial) : ROOT
  const base = await freePorts(1)
  const args = [...FLAGS, join(home, 'packages/cli/bin/ringwall.mjs'), 'node', '--device', directory, ...addressesAt(base)]
  const child = spawn(
    process.execPath,
    [...args, ...(tpm === undefined ? [] : ['--tpm', tpm.tcti]), '--case-file', input, '--case-closed', 'closed'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  children.push(child)
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += String(chunk)
  })
  let node = ''
  await eventually(
    `${serial} is trusted`,
    async () => {
      if (child.exitCode !== null) throw new Error(said)
      const { devices, trust } = await ring.client(1).enrolment()
      node = devices.find((one) => one.serial === serial)?.node ?? ''
      return trust.some((one) => one.node === node && one.state === 'trusted')
    },
    120_000,
  )
  await eventually(`${serial} takes traffic`, async () => (await ask(base + 1_001, '/readyz')).status === 200, 60_000)
  return { directory, home, child, base, node, tpm, input }
}

/** By another process with the device's key. */
async function saidElsewhere(device: Device, alarm: 'clock' | null): Promise<void> {
  const boot = randomBytes(8).toString('hex')
  await eventually('the ring takes its word', async () => {
    const { ring: ringHash, beacon, trust } = await ring.client(1).enrolment()
    const held = trust.find(({ node }) => node === device.node)
    const measured = { configuration: held?.configuration as string, program: held?.program as string }
    const body = { type: 'attest.quote', alarm, beacon: beacon as string, boot, measured, tpm: null } as const
    await ring.client(2).submitSigned(signedBy(device, ringHash, body))
    return true
  })
}

const kinds: readonly Kind[] = [
  {
    name: 'a file of its program',
    code: 'PROGRAM_CHANGED',
    ownFiles: true,
    tamper: ({ home }) => appendFileSync(join(home, 'packages/guard/src/guard.ts'), '\n'),
  },
  {
    name: 'its configuration',
    code: 'CONFIGURATION_CHANGED',
    tamper: ({ directory }) => appendFileSync(join(directory, 'node/node.yaml'), '# changed\n'),
  },
  { name: 'register 7 of its TPM', code: 'PCRS_CHANGED', tpm: true, tamper: ({ tpm }) => tpm?.extend(7, 'ab'.repeat(32)) },
  { name: 'a debugger', code: 'DEBUGGER_ATTACHED', tamper: ({ child }) => void child.kill('SIGUSR1') },
  { name: 'its case', code: 'CASE_OPENED', tamper: ({ input }) => writeFileSync(input, 'open\n') },
  // A copy has the same addresses, and a place of its own: this is what it says there.
  { name: 'a copy elsewhere', code: 'CLONED', tamper: (device) => saidElsewhere(device, null) },
  // No clock of this machine is set: this is what a node says that notices it.
  { name: 'its clock', code: 'CLOCK_ROLLBACK', tamper: (device) => saidElsewhere(device, 'clock') },
]

/** By its own word, in the events of the node itself, or of the one that passes a word on. */
async function noticedAtMs({ base }: Device, sinceMs: number): Promise<number | undefined> {
  const url = `http://127.0.0.1:${base + 1_001}`
  const client = ring.clientAt(url)
  const { events } = await client.events({ limit: 50 })
  return events.find(({ what, atMs }) => atMs >= sinceMs && what.startsWith('this node noticed'))?.atMs
}

/** One honest node refuses it in every way: its words, its links, its membership, its disk. */
async function refuses(at: number, device: Device, ringHash: string): Promise<boolean> {
  const { expelled, addresses } = await ring.client(at).enrolment()
  if (!expelled.some(({ node }) => node === device.node) || addresses.some(({ id }) => id === device.node)) return false
  const { links } = await ring.client(at).status()
  if (links.some(({ id, connected }) => id === device.node && connected)) return false
  const body: TxBody = { type: 'deny.add', subject: { kind: 'ip', value: '203.0.113.9' }, ttlMs: 60_000, reason: 'tamper' }
  try {
    await ring.client(at).submitSigned(signedBy(device, ringHash, body))
    return false
  } catch (error) {
    return error instanceof ApiError && error.code === 'ISSUER_UNKNOWN'
  }
}

interface Row {
  readonly kind: string
  readonly noticedMs: number
  readonly refusedMs: number
}
const rows: Row[] = []

try {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', join(ring.data, 'factory')))
  const { text } = await ring.client(1).policy()
  const devices = `devices:\n  attestation: { least: software, every: ${EVERY_MS}ms }\n  manufacturers:\n    - { name: acme, key: ${key} }\n`
  writeFileSync(join(ring.data, 'ringwall.yaml'), `${text}\n${devices}`)
  done(ring.cli('policy', 'apply', join(ring.data, 'ringwall.yaml'), '--yes'))
  writeFileSync(join(ring.data, 'ring.json'), done(ring.cli('device', 'address')))
  await ring.kill(CRASHED)
  await ring.kill(LIAR)
  const liar = [
    join(ROOT, 'e2e/liar.ts'),
    join(ring.data, 'genesis.json'),
    `n${LIAR}`,
    join(ring.data, `n${LIAR}/node.key`),
    'invalid proposer',
  ]
  const port = Number(/fabric: 127\.0\.0\.1:(\d+)/.exec(readFileSync(join(ring.data, `n${LIAR}/node.yaml`), 'utf8'))?.[1])
  children.push(spawn(process.execPath, [...FLAGS, ...liar, String(port)], { stdio: 'ignore' }))
  const { ring: ringHash } = await ring.client(1).enrolment()
  const noTpm = swtpmMissing()
  if (noTpm !== undefined) process.stderr.write(`no TPM is tampered with: ${noTpm}\n`)
  for (let round = 1; round <= rounds; round += 1)
    for (const [at, kind] of kinds.entries()) {
      if (kind.tpm === true && noTpm !== undefined) continue
      const device = await powerOn(`T${round}-${at}`, kind)
      const beganAtMs = Date.now()
      await kind.tamper(device)
      const lasts = await Promise.all(
        HONEST.map(async (node) => {
          await eventually(`n${node} refuses ${device.node}`, () => refuses(node, device, ringHash), 60_000)
          return Date.now()
        }),
      )
      const { expelled } = await ring.client(1).enrolment()
      assert.equal(expelled.find(({ node }) => node === device.node)?.code, kind.code)
      const noticed = (await noticedAtMs(device, beganAtMs).catch(() => undefined)) ?? beganAtMs
      const refused = Math.max(...lasts)
      await eventually('its traffic has moved', async () => (await ask(device.base + 1_001, '/readyz')).status === 503, 10_000)
      await eventually('it takes none', () =>
        ask(device.base + 1, '/').then(
          () => false,
          () => true,
        ),
      )
      rows.push({ kind: kind.name, noticedMs: noticed - beganAtMs, refusedMs: refused - noticed })
      process.stderr.write(
        `${kind.name}: ${kind.code}, noticed after ${noticed - beganAtMs} ms, refused by all ${refused - noticed} ms later\n`,
      )
      device.child.kill('SIGKILL')
      for (const child of children) if (child !== children[0]) child.kill('SIGKILL')
    }
  // The one that was down hears of all of it before it answers anybody.
  await ring.restart(CRASHED)
  await eventually(
    'the crashed one refuses them, too',
    async () => (await ring.client(CRASHED).enrolment()).expelled.length >= rows.length,
    60_000,
  )
} finally {
  for (const child of children) child.kill('SIGKILL')
  for (const tpm of tpms) tpm.end()
  await ring.destroy()
  rmSync(root, { recursive: true, force: true })
}

function percentile(values: readonly number[], share: number): string {
  const sorted = [...values].sort((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] as number
  return `${(value / 1_000).toFixed(2)} s`
}

const line = (cells: readonly string[]): string =>
  cells.map((cell, at) => (at === 0 ? cell.padEnd(24) : cell.padStart(13))).join(' ')
process.stdout.write(`${line(['tampered with', 'times', 'noticed p50', 'noticed max', 'refused p50', 'refused p99'])}\n`)
for (const kind of [...new Set(rows.map((row) => row.kind)), 'all']) {
  const of = rows.filter((row) => kind === 'all' || row.kind === kind)
  const [noticed, refused] = [of.map(({ noticedMs }) => noticedMs), of.map(({ refusedMs }) => refusedMs)]
  process.stdout.write(
    `${line([kind, String(of.length), percentile(noticed, 0.5), percentile(noticed, 1), percentile(refused, 0.5), percentile(refused, 0.99)])}\n`,
  )
}
