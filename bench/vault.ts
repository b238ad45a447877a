/**
 * `npm run bench:vault`: what putting and opening secrets costs. Starts a real ring of four local processes (3 of 4 open) and reads through one
 * node's admin API over loopback, as any reader does; the figures hold HTTP, the reader's signature, the checks and records of the holders, the
 * links between nodes, and what the reader combines in this process. First, for comparison, what no design can do without: three partial
 * decryptions, their combination and AES-GCM, in this process on one core. Then objects: `bench/objects.ts`.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import {
  combineUnproven,
  dealTrusted,
  decodePartial,
  encapsulate,
  type KeyShare,
  makeBarePartial,
  makePartial,
  readCapsule,
  verifyCapsule,
  verifyPartials,
} from '@ringwall/threshold'
import { loadSodium } from '@ringwall/threshold/sodium'
import { openSecrets, sealSecret, unsealSecret } from '@ringwall/vault'
import { TestRing } from '../e2e/local-ring.ts'
import { openVault, VaultClient } from '../e2e/vault-client.ts'
import { waysToAsk } from '../packages/cli/src/commands/vault-session.ts'
import { benchObjects } from './objects.ts'

const SECRETS = Number(process.env.SECRETS ?? 200)
const WARM = Number(process.env.WARM ?? 1_000)
const AT_ONCE = 16
const SECRET_BYTES = 1_024

const out = (text: string): void => void process.stdout.write(`${text}\n`)

function line(name: string, times: readonly number[]): void {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (part: number): string => (sorted[Math.floor((sorted.length - 1) * part)] as number).toFixed(2).padStart(8)
  out(`${name.padEnd(64)}p50 ${at(0.5)} ms  p99 ${at(0.99)} ms  n ${times.length}`)
}

/** CPU time of this process for each of `count` runs, milliseconds. */
function cost(name: string, count: number, work: () => void): number {
  for (let i = 0; i < count / 4; i += 1) work()
  const before = process.cpuUsage()
  for (let i = 0; i < count; i += 1) work()
  const { user, system } = process.cpuUsage(before)
  const ms = (user + system) / 1_000 / count
  out(`${name.padEnd(64)}CPU ${ms.toFixed(2).padStart(8)} ms  n ${count}`)
  return ms
}

/** CPU time of a process so far, milliseconds; 0 where the kernel does not say. */
function cpuOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return 0
  }
}

function limits(): void {
  const members = [1, 2, 3, 4].map((index) => ({ party: `n${index}`, index }))
  const parts = { suite: 'ristretto255', purpose: 'bench', epoch: 0, threshold: 3, members } as const
  const draw = (): bigint => BigInt(`0x${randomBytes(31).toString('hex')}`)
  const shares = dealTrusted(parts, [draw(), draw(), draw()])
  const { publicKey } = shares[0] as KeyShare
  const label = { ring: 'ab'.repeat(32), name: 'bench', version: 1, sealedAtMs: 1, expiresAtMs: 0 }
  const sealed = sealSecret(publicKey, label, randomBytes(SECRET_BYTES))
  const capsule = readCapsule(publicKey, sealed.capsule)
  const three = shares.slice(0, 3)
  const values = three.map((share) => ({ index: share.index, value: makeBarePartial(share, capsule) }))
  const open = (): void => void unsealSecret(combineUnproven(publicKey, capsule, values), capsule.label, sealed.ciphertext)
  const bare = cost('3 partial decryptions without proofs', 100, () => {
    for (const share of three) makeBarePartial(share, capsule)
  })
  const combined = cost('their combination, and AES-GCM of 1 KB', 200, open)
  out(`${'what an open costs at least, the first time'.padEnd(64)}CPU ${(bare + combined).toFixed(2).padStart(8)} ms`)
  const verified = verifyCapsule(publicKey, sealed.capsule)
  const proven = three.map((share) => decodePartial(publicKey, share.index, makePartial(share, verified)))
  cost('3 partial decryptions with proofs', 50, () => {
    for (const share of three) makePartial(share, verified)
  })
  cost('check of their proofs, all at once', 50, () => void verifyPartials(publicKey, verified, proven))
  cost('a capsule made', 50, () => void encapsulate(publicKey, capsule.label, randomBytes(32)))
  cost('a capsule’s proof checked, by each validator once', 50, () => void verifyCapsule(publicKey, sealed.capsule))
  out('')
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** So many at a time. */
async function atOnce<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items]
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
    }),
  )
}

out(
  `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}; 3 of 4 open, all on this machine; secrets of 1 KB\n`,
)
await loadSodium()
limits()
const ring = await TestRing.start()
try {
  await openVault(ring)
  const vault = new VaultClient(ring, 'n1')
  const pids = await Promise.all([1, 2, 3, 4].map((node) => ring.pid(node)))
  const nodesCpu = (): number => pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
  const secret = randomBytes(SECRET_BYTES)
  const names = Array.from({ length: SECRETS }, (_, i) => `shop/bench/s${i}`)
  const more = names.map((name) => `${name}-more`)
  await vault.put('shop/warm-up', secret, 0)
  await vault.get('shop/warm-up')

  const puts: number[] = []
  for (const name of names.slice(0, 30)) puts.push(await timed(() => vault.put(name, secret, 0)))
  line('put, one at a time, agreed on by the ring', puts)
  const began = performance.now()
  const rest = [...names.slice(30), ...more]
  await atOnce(rest, (name) => vault.put(name, secret, 0))
  out(
    `${`put, ${AT_ONCE} at a time`.padEnd(64)}${((rest.length * 1_000) / (performance.now() - began)).toFixed(0).padStart(12)} /s`,
  )

  const measured = async (what: string, count: number, work: () => Promise<void>): Promise<void> => {
    const [nodesBefore, own, start] = [nodesCpu(), process.cpuUsage(), performance.now()]
    await work()
    const ms = performance.now() - start
    const { user, system } = process.cpuUsage(own)
    const nodes = ((nodesCpu() - nodesBefore) / count).toFixed(2)
    const reader = ((user + system) / 1_000 / count).toFixed(2)
    out(
      `${what.padEnd(64)}${((count * 1_000) / ms).toFixed(0).padStart(12)} /s  CPU an open: nodes ${nodes} ms, reader ${reader} ms`,
    )
  }
  const one = async (list: readonly string[]): Promise<number[]> => {
    const times: number[] = []
    for (const name of list) times.push(await timed(() => vault.get(name)))
    return times
  }
  line('open, each for the first time, one at a time', await one(names))
  line('open again, one at a time', await one(names))
  await measured(`open, each for the first time, ${AT_ONCE} at a time`, more.length, () =>
    atOnce(more, (name) => vault.get(name)),
  )
  const again = Array.from({ length: WARM }, (_, i) => names[i % names.length] as string)
  await measured(`open again, ${AT_ONCE} at a time`, again.length, () => atOnce(again, (name) => vault.get(name)))
  const facts = await vault.facts()
  const batch = names.slice(0, 32).map((name) => ({ name, version: 0 }))
  const ways = waysToAsk(vault.session.clients.slice(0, 1))
  const batches: number[] = []
  for (let i = 0; i < 20; i += 1) batches.push(await timed(() => openSecrets(facts, vault.session.reader, batch, ways)))
  line('open 32 secrets again in one request', batches)
} finally {
  await ring.destroy()
}

await benchObjects()
