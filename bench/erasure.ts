/**
 * `npm run bench:erasure`: how fast objects become shards and shards objects again, on one core of this machine, beside what else has to be done
 * with them: AES-256-GCM and SHA-256 of OpenSSL. Rates are of object bytes per second of CPU time; the plain loop is what the same code costs
 * without SIMD.
 */
import { createCipheriv, hash, randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import { ErasureCode, ShardTree } from '@ringwall/vault'
import { times } from '../packages/vault/src/erasure-kernel.ts'

const MB = 1_048_576
const OBJECT_BYTES = Number(process.env.OBJECT_MB ?? 16) * MB
const ROUNDS = Number(process.env.ROUNDS ?? 9)

const out = (text: string): void => void process.stdout.write(`${text}\n`)

/** Median over rounds. */
function rate(name: string, bytes: number, work: () => unknown): void {
  work()
  const rates: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    rates.push(bytes / MB / ((user + system) / 1_000_000))
  }
  rates.sort((a, b) => a - b)
  const at = (part: number): string => (rates[Math.floor((ROUNDS - 1) * part)] as number).toFixed(0).padStart(7)
  out(`${name.padEnd(52)}${at(0.5)} MB/s  (${at(0).trim()} to ${at(1).trim()}, n ${ROUNDS})`)
}

const object = randomBytes(OBJECT_BYTES)
out(`${cpus()[0]?.model}, Node ${process.versions.node}; object of ${OBJECT_BYTES / MB} MB\n`)
for (const [k, n] of [
  [4, 6],
  [6, 9],
  [10, 14],
] as const) {
  const code = new ErasureCode(k, n)
  const shards = code.encode(object)
  const lost = shards.map((shard, index) => (index < n - k ? undefined : shard))
  const one = shards.map((shard, index) => (index === 0 ? undefined : shard))
  rate(`encode ${k}+${n - k}`, OBJECT_BYTES, () => code.encode(object))
  rate(`decode ${k}+${n - k}, ${n - k} shards of data lost`, OBJECT_BYTES, () => code.decode(lost, OBJECT_BYTES))
  rate(`restore one shard of ${k}+${n - k}`, OBJECT_BYTES, () => code.restore(one))
  rate(`hash tree over ${n} shards`, OBJECT_BYTES, () => new ShardTree(shards))
}
const small = object.subarray(0, Math.min(OBJECT_BYTES, 2 * MB))
const factors = [29, 76, 143, 11, 200, 91, 3, 77]
rate('4+2 by a plain loop with tables', small.length, () => {
  const length = small.length / 4
  const tables = factors.map((factor) => Uint8Array.from({ length: 256 }, (_, byte) => times(factor, byte)))
  const parity = [new Uint8Array(length), new Uint8Array(length)]
  for (const [at, target] of parity.entries())
    for (let column = 0; column < 4; column += 1) {
      const table = tables[at * 4 + column] as Uint8Array
      for (let i = 0; i < length; i += 1)
        target[i] = (target[i] as number) ^ (table[small[column * length + i] as number] as number)
    }
  return parity
})
const key = randomBytes(32)
rate('AES-256-GCM', OBJECT_BYTES, () => createCipheriv('aes-256-gcm', key, Buffer.alloc(12)).update(object))
rate('SHA-256', OBJECT_BYTES, () => hash('sha256', object, 'buffer'))
