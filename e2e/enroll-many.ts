/**
 * `npm run e2e:enroll-many`: devices that are powered on in the same moment join a ring of four real validators, one of which lies. The devices are simulated in
 * this process, the product's own code from the voucher on: each finds the ring, proves itself, joins with a fresh key and is served once its
 * links to all three honest validators stand. Some are powered on twice, as a copy would be, and some were never registered. A ring has 100 nodes:
 * of more devices than that leaves room for, as many are served, and the others told so. `--devices`, `--liar` (0: nobody lies), `--copies`, `--strangers`. Limits: all served, no validator above 80 % of a core for longer than 5 s.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { idevidIssuerOf, makeDevice, makeManufacturer, makeVoucher, parseVoucher, passOn } from '@ringwall/enroll'
import { createFabric, type Fabric } from '@ringwall/fabric'
import { NODES_MAX, parseGenesis, type RingNode } from '@ringwall/ring'
import { decodeBase64url, encodeBase64url } from '@ringwall/ring/tx'
import { askPatiently } from '../packages/node/src/enrolment/join-ring.ts'
import { untilFound } from '../packages/node/src/enrolment/run-device.ts'
import { generateKey, verifySignature } from '../packages/node/src/keys.ts'
import { readOptions, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'
import { CpuMeter } from './cpu-meter.ts'
import { eventually, NODE_FLAGS, TestRing } from './local-ring.ts'

const {
  devices: count,
  liar,
  copies,
  strangers,
} = readOptions({
  devices: whole(NODES_MAX - 4, 1, 2_000),
  liar: whole(1, 0, 1),
  copies: whole(5, 0, 100),
  strangers: whole(5, 0, 100),
})
const HONEST = [1, 2, 3]
const LIAR = 4
const LANES = 16
const REGION = 'eu-west'
const LIMITS = { share: 0.8, seconds: 5 } as const
const SERVED_MS_MAX = 300_000
const ROOM = NODES_MAX - HONEST.length - 1

const ring = await TestRing.start()
const fabrics: Fabric[] = []
let lying: ChildProcess | undefined
let looks = 0

/** What a device is shipped with. */
interface Shipped {
  readonly serial: string
  readonly privateKey: Awaited<ReturnType<typeof makeDevice>>['privateKey']
  readonly voucher: string
}

async function inLanes<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const left = [...all]
  const lane = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await run(one)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

const genesis = parseGenesis(readFileSync(join(ring.data, 'genesis.json'), 'utf8'))
const { ring: ringHash } = await ring.client(1).enrolment()
const operator = genesis.operators[0]?.publicKey as string
const addresses = genesis.nodes.map(({ address, publicKey }) => ({ address, key: publicKey }))
const manufacturer = await makeManufacturer('acme', Date.now())
const idevidIssuer = await idevidIssuerOf(manufacturer)

async function shipped(serial: string): Promise<Shipped> {
  const createdAtMs = Date.now()
  const device = await makeDevice(serial, manufacturer, createdAtMs)
  const made = makeVoucher({
    serial,
    deviceKey: device.key,
    owner: manufacturer.key,
    manufacturer: manufacturer.privateKey,
    idevidIssuer,
    createdAtMs,
  })
  const to = { owner: operator, ring: ringHash, addresses, createdAtMs }
  return { serial, privateKey: device.privateKey, voucher: passOn(made, manufacturer.privateKey, to, verifySignature) }
}

/** Its links stand: it hears of every block. @throws With the ring's code when it is refused. */
async function powerOn({ serial, privateKey, voucher }: Shipped): Promise<number> {
  const beganAtMs = performance.now()
  const { addresses: peers, entries } = parseVoucher(voucher, verifySignature)
  const spread = peers.map((peer) => [Math.random(), peer] as const).sort(([a], [b]) => a - b)
  const vouched = { ring: ringHash, peers: spread.map(([, peer]) => peer), privateKey }
  const { invited } = await untilFound(vouched, [], () => {
    looks += 1
  })
  const own = generateKey()
  const node: RingNode = {
    id: `${serial.toLowerCase()}-${randomBytes(4).toString('hex')}`,
    region: REGION,
    // Nobody listens there: a device behind a router links to others, and is not linked to.
    address: '127.0.0.1:9',
    publicKey: encodeBase64url(own.publicKey),
    roles: ['edge'],
  }
  const wanted = { node, privateKey: own.privateKey, head: entries.at(-1) as string }
  await askPatiently(invited, wanted, false)
  await askPatiently(invited, wanted, true)
  const honest = genesis.nodes.filter(({ id }) => HONEST.includes(Number(id.slice(1))))
  const peerOf = ({ id, region, address, publicKey }: RingNode) => {
    const colon = address.lastIndexOf(':')
    return {
      id,
      region,
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      publicKey: decodeBase64url(publicKey),
    }
  }
  const fabric = createFabric({
    ring: ringHash,
    self: peerOf(node),
    privateKey: own.privateKey,
    peers: honest.map(peerOf),
    dialsOnly: true,
  })
  fabrics.push(fabric)
  await fabric.start()
  while (!fabric.links().every(({ connected }) => connected)) {
    if (performance.now() - beganAtMs > SERVED_MS_MAX)
      throw new Error(
        `${serial}: ${fabric
          .links()
          .map(({ reason }) => reason)
          .join('; ')}`,
      )
    await sleep(100)
  }
  return performance.now() - beganAtMs
}

const codeOf = (outcome: PromiseSettledResult<number>): string =>
  outcome.status === 'fulfilled' ? 'served' : String((outcome.reason as { readonly code?: string }).code ?? outcome.reason)

function told(codes: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const code of codes) counts.set(code, (counts.get(code) ?? 0) + 1)
  return [...counts].map(([code, times]) => `${code} ${times}`).join(', ') || 'none'
}

try {
  const { text } = await ring.client(1).policy()
  const devices = `devices:\n  manufacturers:\n    - { name: acme, key: ${manufacturer.key} }\n`
  writeFileSync(join(ring.data, 'ringwall.yaml'), `${text}\n${devices}`)
  const applied = ring.cli('policy', 'apply', join(ring.data, 'ringwall.yaml'), '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  const known: Shipped[] = []
  const unknown: Shipped[] = []
  await inLanes(
    Array.from({ length: count }, (_, at) => at),
    async (at) => void known.push(await shipped(`M${at}`)),
  )
  for (let at = 0; at < strangers; at += 1) unknown.push(await shipped(`S${at}`))
  const registeredAtMs = performance.now()
  await inLanes(known, async ({ voucher }) => {
    await ring.client(1).submit({ type: 'device.register', reason: 'many', region: REGION, roles: ['edge'], voucher })
  })
  process.stderr.write(`${count} registered in ${((performance.now() - registeredAtMs) / 1_000).toFixed(1)} s\n`)
  if (liar === 1) {
    await ring.kill(LIAR)
    const port = Number(/:(\d+)$/.exec(genesis.nodes[LIAR - 1]?.address ?? '')?.[1])
    const program = resolve(import.meta.dirname, 'liar.ts')
    const args = [
      program,
      join(ring.data, 'genesis.json'),
      `n${LIAR}`,
      join(ring.data, `n${LIAR}`, 'node.key'),
      'invalid proposer',
      String(port),
    ]
    lying = spawn(process.execPath, [...NODE_FLAGS, ...args], { stdio: 'ignore' })
    await sleep(2_000)
  }
  const meter = new CpuMeter(await Promise.all(HONEST.map((node) => ring.pid(node))))
  const beganAtMs = performance.now()
  const [first, second, never] = await Promise.all([
    Promise.allSettled(known.map(powerOn)),
    Promise.allSettled(known.slice(0, copies).map(powerOn)),
    Promise.allSettled(unknown.map(powerOn)),
  ])
  const tookMs = performance.now() - beganAtMs
  const spent = meter.stop()
  const served = Math.min(count, ROOM)
  const allowed = new Set(count > ROOM ? ['served', 'NODES_FULL'] : ['served'])
  const all = [...first, ...second].map(codeOf)
  assert.equal(all.filter((code) => code === 'served').length, served, told(all))
  const copied = first
    .slice(0, copies)
    .flatMap((outcome, at) => [codeOf(outcome), codeOf(second[at] as PromiseSettledResult<number>)])
  assert.ok(
    copied.every((code) => code === 'DEVICE_JOINED' || allowed.has(code)),
    told(copied),
  )
  const others = first.slice(copies).map(codeOf)
  assert.ok(
    others.every((code) => allowed.has(code)),
    told(others),
  )
  assert.ok(
    never.every((outcome) => codeOf(outcome) === 'ISSUER_UNKNOWN'),
    told(never.map(codeOf)),
  )
  for (const at of HONEST) {
    await eventually(`n${at} knows them all, once each`, async () => {
      const { devices: joined } = await ring.client(at).enrolment()
      const nodes = joined.flatMap(({ status, node }) => (status === 'joined' && node !== null ? [node] : []))
      return nodes.length === served && new Set(nodes).size === served
    })
  }
  const times = [...first, ...second].flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const s = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
  const longest = meter.longestAbove(LIMITS.share)
  process.stdout.write(
    [
      `${count} devices powered on at once, four validators${liar === 1 ? ', one of them lying' : ''}: ${served === count ? 'all' : served} served, all answered in ${s(tookMs)}`,
      `served after        p50 ${s(quantile(times, 0.5))}, p95 ${s(quantile(times, 0.95))}, max ${s(quantile(times, 1))}`,
      `powered on once     ${told(others)}`,
      `powered on twice    ${told(copied)}`,
      `not registered      ${told(never.map(codeOf))}`,
      `looked again        ${looks} times, since no node had time`,
      `validators' CPU     ${spent.map((one) => `${(one * 100).toFixed(0)} %`).join(', ')} of a core; above ${LIMITS.share * 100} % for ${longest} s at most: ${longest <= LIMITS.seconds ? 'within' : 'OVER'} ${LIMITS.seconds} s`,
      '',
    ].join('\n'),
  )
} finally {
  lying?.kill('SIGKILL')
  await Promise.all(fabrics.map((fabric) => fabric.stop()))
  await ring.destroy()
}
