/**
 * `npm run e2e:enroll`: devices with software TPMs join a ring of four real nodes, then are tampered with in turn. Each line says what was done, what the ring
 * made of it, and how long it took until the last of the four nodes refused. Before that, devices of another ring find it by DNS and by multicast DNS, in
 * namespaces of their own.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createPrivateKey, type KeyObject, randomBytes, sign } from 'node:crypto'
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
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError } from '@ringwall/client'
import { TpmDevice } from '@ringwall/enroll'
import { type AttestationStatement, quoteNonce, type TxBody, verdictBytes } from '@ringwall/ring'
import { encodeBase64url, signingBytes } from '@ringwall/ring/tx'
import { done, powerOnDevice, shipDevice } from './device-steps.ts'
import { findRing, whyNoNamespaces } from './find-ring.ts'
import { CLI, eventually, freePorts, TestRing } from './local-ring.ts'
import { SoftTpm, swtpmMissing } from './swtpm.ts'

const EVERY_MS = 4_000
const NODES = [1, 2, 3, 4]
const ROOT = resolve(import.meta.dirname, '..')

const missing = swtpmMissing()
if (missing !== undefined) {
  process.stderr.write(`e2e:enroll needs a software TPM: ${missing}\n`)
  process.exit(2)
}

interface Device {
  readonly directory: string
  readonly child: ChildProcess
  readonly traffic: number
  readonly node: string
  readonly tpm: SoftTpm
  readonly servedMs: number
}

const rows: (readonly [what: string, outcome: string, ms: number])[] = []

function note(what: string, outcome: string, ms: number): void {
  rows.push([what, outcome, ms])
  process.stderr.write(`${what}: ${outcome} (${Math.round(ms)} ms)\n`)
}

// Before the other ring is there: they would share the machine.
const why = whyNoNamespaces()
if (why !== undefined) process.stdout.write(`skipped: finding the ring by DNS and on the link ${why}\n`)
else for (const { what, outcome, ms } of await findRing()) note(what, outcome, ms)

const root = mkdtempSync(join(tmpdir(), 'rw-'))
const ring = await TestRing.start()
const children: ChildProcess[] = []
const tpms: SoftTpm[] = []

/** Made in a factory, shipped, registered: all that is left is power. */
async function prepared(serial: string): Promise<{ readonly directory: string; readonly tpm: SoftTpm }> {
  const tpm = await SoftTpm.start(join(root, serial.toLowerCase()))
  tpms.push(tpm)
  const directory = shipDevice(ring, serial, ['--tpm', tpm.tcti, '--tpm-roots', tpm.roots])
  return { directory, tpm }
}

async function powerOn(directory: string, tpm: SoftTpm, withTpm = true, cli = CLI): Promise<Device> {
  let child: ChildProcess | undefined
  const onChild = (started: ChildProcess): void => {
    child = started
    children.push(started)
  }
  const { traffic, servedMs } = await powerOnDevice(ring, directory, { more: withTpm ? ['--tpm', tpm.tcti] : [], cli, onChild })
  const node = /^id: "(.+)"$/m.exec(readFileSync(join(directory, 'node/node.yaml'), 'utf8'))?.[1] as string
  return { directory, child: child!, traffic, node, tpm, servedMs }
}

const trustOf = async (node: string, at = 1) => (await ring.client(at).enrolment()).trust.find((one) => one.node === node)

async function trusted({ node }: Device, kind = 'tpm'): Promise<void> {
  await eventually(
    `${node} is trusted`,
    async () => {
      const found = await trustOf(node)
      return found?.state === 'trusted' && found.kind === kind
    },
    60_000,
  )
}

/** Until none of the ring's nodes has it; what they say why. */
async function refusedBy(
  nodes: readonly number[],
  device: Device,
  beganAtMs: number,
): Promise<readonly [code: string, ms: number]> {
  const codes = await Promise.all(
    nodes.map(async (at) => {
      let code = ''
      await eventually(
        `n${at} refuses ${device.node}`,
        async () => {
          const { expelled, addresses } = await ring.client(at).enrolment()
          code = expelled.find(({ node }) => node === device.node)?.code ?? ''
          return code !== '' && !addresses.some(({ id }) => id === device.node)
        },
        60_000,
      )
      return code
    }),
  )
  assert.equal(new Set(codes).size, 1)
  return [codes[0] as string, performance.now() - beganAtMs]
}

/** What somebody with root on the device may say in its name. */
function signedBy(key: KeyObject, ringHash: string, node: string, body: TxBody) {
  const atMs = Date.now()
  const content = {
    ring: ringHash,
    issuer: `node:${node}`,
    atMs,
    untilMs: atMs + 60_000,
    nonce: randomBytes(16).toString('base64url'),
    body,
  }
  return { content, signature: encodeBase64url(sign(null, signingBytes(content), key)) }
}

const keyIn = (file: string): KeyObject => createPrivateKey(readFileSync(file, 'utf8'))

/** Each of the four nodes refuses it; the slowest counts. */
async function refusedEverywhere(what: string, code: string, device: Device, bodyOf: () => Promise<TxBody>): Promise<void> {
  const key = keyIn(join(device.directory, 'node/node.key'))
  const { ring: ringHash } = await ring.client(1).enrolment()
  const body = await bodyOf()
  const beganAtMs = performance.now()
  const codes = await Promise.all(
    NODES.map(async (at) => {
      try {
        await ring.client(at).submitSigned(signedBy(key, ringHash, device.node, body))
        return 'accepted'
      } catch (error) {
        if (error instanceof ApiError) return error.code
        throw error
      }
    }),
  )
  assert.deepEqual(new Set(codes), new Set([code]), what)
  note(what, code, performance.now() - beganAtMs)
}

type Quote = Extract<AttestationStatement, { type: 'attest.quote' }>

/** A quote of the device's own TPM, made by whoever has root there; `changes` is what is made wrong in it. */
async function quoteBy(device: Device, over: { readonly beacon?: string; readonly nonce?: string } = {}): Promise<Quote> {
  const enrolment = await ring.client(1).enrolment()
  const held = enrolment.trust.find(({ node }) => node === device.node)
  const beacon = over.beacon ?? (enrolment.beacon as string)
  const measured = { configuration: held?.configuration as string, program: held?.program as string }
  const boot = 'cccccccccccccccc'
  const nonce = over.nonce ?? quoteNonce({ ring: enrolment.ring, node: device.node, beacon, boot, measured })
  const quote = await new TpmDevice(device.tpm.tcti).quote(nonce)
  return { type: 'attest.quote', alarm: null, beacon, boot, measured, tpm: { ...quote, log: '' } }
}

/** A whole installation of its own, so that its files can be changed. */
function ownInstallation(): string {
  const home = join(root, 'installation')
  mkdirSync(join(home, 'node_modules/@ringwall'), { recursive: true })
  cpSync(join(ROOT, 'packages'), join(home, 'packages'), { recursive: true })
  for (const name of readdirSync(join(ROOT, 'node_modules')))
    if (name !== '@ringwall') symlinkSync(join(ROOT, 'node_modules', name), join(home, 'node_modules', name))
  for (const name of readdirSync(join(home, 'packages')))
    symlinkSync(join(home, 'packages', name), join(home, 'node_modules/@ringwall', name))
  return home
}

try {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', join(ring.data, 'factory')))
  const { text } = await ring.client(1).policy()
  const devices = `devices:\n  attestation: { least: tpm, every: ${EVERY_MS}ms }\n  manufacturers:\n    - { name: acme, key: ${key} }\n`
  writeFileSync(join(ring.data, 'ringwall.yaml'), `${text}\n${devices}`)
  done(ring.cli('policy', 'apply', join(ring.data, 'ringwall.yaml'), '--yes'))
  writeFileSync(join(ring.data, 'ring.json'), done(ring.cli('device', 'address')))

  const madeAtMs = performance.now()
  const first = await prepared('D1')
  note('make, ship, register', 'ready to be powered on', performance.now() - madeAtMs)
  const d1 = await powerOn(first.directory, first.tpm)
  note('power on, 0 keystrokes', 'serves the application', d1.servedMs)
  const servedAtMs = performance.now()
  await trusted(d1)
  note('after that', 'trusted by its TPM', performance.now() - servedAtMs)

  await refusedEverywhere('the quote’s nonce is another', 'QUOTE_NONCE', d1, () => quoteBy(d1, { nonce: 'ab'.repeat(32) }))
  await refusedEverywhere('a quote over no beacon of the ring', 'BEACON_OLD', d1, () => quoteBy(d1, { beacon: 'ab'.repeat(32) }))
  await refusedEverywhere('the values of the registers are changed', 'QUOTE_PCRS', d1, async () => {
    const said = await quoteBy(d1)
    return { ...said, tpm: said.tpm === null ? null : { ...said.tpm, pcrs: said.tpm.pcrs.with(3, 'ab'.repeat(32)) } }
  })
  const { encodeEventLog } = await import('../packages/enroll/src/tpm/event-log.ts')
  await refusedEverywhere('the event log is changed', 'QUOTE_LOG', d1, async () => {
    const said = await quoteBy(d1)
    const log = encodeBase64url(
      encodeEventLog([{ pcr: 7, type: 8, digest: Buffer.alloc(32, 1), event: Buffer.from('a driver') }]),
    )
    return { ...said, tpm: said.tpm === null ? null : { ...said.tpm, log } }
  })
  await refusedEverywhere('software in place of the TPM', 'ATTESTATION_TOO_WEAK', d1, async () => ({
    ...(await quoteBy(d1)),
    tpm: null,
  }))
  const shown = await quoteBy(d1)
  const before = (await trustOf(d1.node))?.atMs ?? 0
  await eventually('the device has attested since', async () => ((await trustOf(d1.node))?.atMs ?? 0) > before, 20_000)
  await sleep(EVERY_MS / 4)
  await refusedEverywhere('an old quote is shown again', 'QUOTE_CLOCK', d1, async () => shown)

  // Of a device that has not attested: a validator that lies vouches for a key that it never saw.
  const fifth = await prepared('D5')
  const d5 = await powerOn(fifth.directory, fifth.tpm, false)
  await refusedEverywhere('one lying verifier vouches for a false TPM', 'VERDICTS_SHORT', d5, async () => {
    const { ring: ringHash, devices: known } = await ring.client(1).enrolment()
    const ak = encodeBase64url(randomBytes(90))
    const ek = known.find(({ serial }) => serial === 'D5')?.ek as string
    const liar = keyIn(join(ring.data, 'n4/node.key'))
    const signature = encodeBase64url(sign(null, verdictBytes(ringHash, d5.node, ak, ek), liar))
    return { type: 'attest.enrol', ak, verdicts: [{ node: 'n4', signature }] }
  })
  const changed = async (what: string, device: Device, tamper: () => void): Promise<void> => {
    const beganAtMs = performance.now()
    tamper()
    const [code, ms] = await refusedBy(NODES, device, beganAtMs)
    note(what, code, ms)
  }
  await changed('register 7 is extended', d1, () => d1.tpm.extend(7, 'ab'.repeat(32)))

  const second = await prepared('D2')
  const d2 = await powerOn(second.directory, second.tpm)
  await trusted(d2)
  await changed('its configuration is changed', d2, () => appendFileSync(join(d2.directory, 'node/node.yaml'), '# changed\n'))

  const fourth = await prepared('D4')
  const home = ownInstallation()
  const d4 = await powerOn(fourth.directory, fourth.tpm, true, join(home, 'packages/cli/bin/ringwall.mjs'))
  await trusted(d4)
  await changed('a file of its program is changed', d4, () => appendFileSync(join(home, 'packages/guard/src/guard.ts'), '\n'))

  const third = await prepared('D3')
  const d3 = await powerOn(third.directory, third.tpm)
  await trusted(d3)
  const elsewhere = await SoftTpm.start(join(root, 'other'))
  tpms.push(elsewhere)
  const copy = join(ring.data, 'copy')
  cpSync(d3.directory, copy, { recursive: true })
  const yaml = readFileSync(join(copy, 'node/node.yaml'), 'utf8')
  const ports = await freePorts(1)
  let at = 0
  const moved = yaml
    .replace(third.tpm.tcti, elsewhere.tcti)
    .replace(/127\.0\.0\.1:\d+/g, () => `127.0.0.1:${ports + 1 + 9 * at++}`)
  writeFileSync(join(copy, 'node/node.yaml'), moved)
  rmSync(join(copy, 'node/lock'), { recursive: true, force: true })
  d3.child.kill('SIGKILL')
  const copiedAtMs = performance.now()
  children.push(
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CLI, 'node', '--config', join(copy, 'node/node.yaml')], {
      stdio: 'ignore',
    }),
  )
  note('its disk in a machine with another TPM', ...(await refusedBy(NODES, d3, copiedAtMs)))

  const sixth = await prepared('D6')
  const d6 = await powerOn(sixth.directory, sixth.tpm)
  await trusted(d6)
  const delayedAtMs = performance.now()
  d6.child.kill('SIGSTOP')
  await eventually('D6 is stale', async () => (await trustOf(d6.node))?.state === 'stale', 30_000)
  note('quotes are held back', 'shown as stale', performance.now() - delayedAtMs)
  note('quotes are held back', ...(await refusedBy(NODES, d6, delayedAtMs)))

  const seventh = await prepared('D7')
  const d7 = await powerOn(seventh.directory, seventh.tpm)
  await trusted(d7)
  const killedAtMs = performance.now()
  for (const node of [2, 3, 4]) await ring.kill(node)
  await eventually('n1 shows it as stale', async () => (await trustOf(d7.node))?.state !== 'trusted', 60_000)
  note(`all verifiers but one are killed (an interval: ${EVERY_MS / 1_000} s)`, 'shown as stale', performance.now() - killedAtMs)
} finally {
  for (const child of children) child.kill('SIGKILL')
  for (const tpm of tpms) tpm.end()
  await ring.destroy()
  rmSync(root, { recursive: true, force: true })
}

const width = Math.max(...rows.map(([what]) => what.length))
const middle = Math.max(...rows.map(([, outcome]) => outcome.length))
process.stdout.write(`${'what was done'.padEnd(width)}  ${'what the ring made of it'.padEnd(middle)}  until the last node\n`)
for (const [what, outcome, ms] of rows)
  process.stdout.write(`${what.padEnd(width)}  ${outcome.padEnd(middle)}  ${(ms / 1_000).toFixed(2).padStart(8)} s\n`)
