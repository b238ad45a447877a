/**
 * `npm run bench:ledger`: four validators, four processes, real links and real disks on this machine, the real application:
 * transactions a second when all submit without pause, and how long one takes when there is little to do.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GenesisDocument } from '@ringwall/ring'
import { plainPolicy } from '../packages/node/src/local/up.ts'
import { freePorts } from './free-ports.ts'
import type { BenchChildConfig, BenchOrder } from './ledger-child.ts'

const NODES = 4
const COUNT = Number(process.env.COUNT ?? 4_000)
const IN_FLIGHT = Number(process.env.IN_FLIGHT ?? 256)

interface Done {
  readonly kind: 'done'
  readonly times: readonly number[]
  readonly ms: number
  readonly bytes: number
}

const pkcs8 = (key: KeyObject): string => key.export({ format: 'der', type: 'pkcs8' }).toString('base64')
const raw = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string

const quantile = (values: readonly number[], q: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN
}

async function main(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-bench-ledger-'))
  const ports = await freePorts(NODES)
  const keys = ports.map(() => generateKeyPairSync('ed25519'))
  const operator = generateKeyPairSync('ed25519')
  const genesis: GenesisDocument = {
    format: 'ringwall/genesis/1',
    createdAtMs: Date.now(),
    nodes: ports.map((port, i) => ({
      id: `n${i + 1}`,
      region: 'local',
      address: `127.0.0.1:${port}`,
      publicKey: raw((keys[i] as { publicKey: KeyObject }).publicKey),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'bench', publicKey: raw(operator.publicKey) }],
    policy: plainPolicy('http://127.0.0.1:9'),
  }
  const children: ChildProcess[] = genesis.nodes.map(({ id }, i) => {
    const config: BenchChildConfig = {
      id,
      directory: join(root, id),
      genesis,
      privateKey: pkcs8((keys[i] as { privateKey: KeyObject }).privateKey),
      operatorKey: pkcs8(operator.privateKey),
    }
    return fork(join(import.meta.dirname, 'ledger-child.ts'), [JSON.stringify(config)])
  })
  const order = (child: ChildProcess, what: BenchOrder): Promise<Done> =>
    new Promise((settle) => {
      child.once('message', (answer) => settle(answer as Done))
      child.send(what)
    })
  try {
    await Promise.all(children.map((child) => once(child, 'message')))
    // The first ones find the links; they count for nothing.
    await order(children[0] as ChildProcess, { count: 20, inFlight: 1, everyMs: 0, from: 0 })

    const low = await order(children[1] as ChildProcess, { count: 200, inFlight: 1, everyMs: 50, from: 100_000 })
    process.stdout.write(`${NODES} validators on this machine, denials of ${low.bytes} bytes, signed by an operator\n\n`)
    process.stdout.write(
      `one at a time          p50 ${quantile(low.times, 0.5).toFixed(1)} ms, p99 ${quantile(low.times, 0.99).toFixed(1)} ms until it is final and on disk\n`,
    )

    const began = performance.now()
    const all = await Promise.all(
      children.map((child, i) => order(child, { count: COUNT, inFlight: IN_FLIGHT, everyMs: 0, from: 1_000_000 * (i + 1) })),
    )
    const seconds = (performance.now() - began) / 1_000
    const times = all.flatMap(({ times: each }) => each)
    process.stdout.write(
      `${IN_FLIGHT} at a time a node   ${(times.length / (Math.max(...all.map(({ ms }) => ms)) / 1_000)).toFixed(0)} transactions/s, p50 ${quantile(times, 0.5).toFixed(0)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms (${times.length} in ${seconds.toFixed(1)} s with signing)\n`,
    )
  } finally {
    for (const child of children) child.send('stop')
    await Promise.all(children.map((child) => once(child, 'exit')))
    rmSync(root, { recursive: true, force: true })
  }
}

await main()
