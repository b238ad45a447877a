/**
 * Objects: 64 MB put and got through one node of a real ring of four local processes (2 of 4 shards, all on this machine's one disk), beside what
 * AES-256-GCM, the erasure code and that disk allow here, and beside all that five processes have to do for it on these cores. CPU time is what
 * others' load spoils least. With `OBJECT_GB=5` also one object of so many gigabytes, and the most memory that each node had meanwhile. The client
 * is bare `node:http` with a presigned address.
 *
 *     npm run bench:objects
 */
import { createCipheriv, hash, randomBytes } from 'node:crypto'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { request } from 'node:http'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { ErasureCode, OBJECT_SEGMENT_BYTES } from '@ringwall/vault'
import { ObjectRing } from '../e2e/objects-scene.ts'

const MB = 1_000_000
const SIZE = 64 * MB
const RUNS = Number(process.env.RUNS ?? 5)
export const Bucket = 'shop-bench'
const out = (text: string): void => void process.stdout.write(`${text}\n`)
const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1] as number

/** Milliseconds, the median of some runs. */
function timed(work: () => void, runs = RUNS): number {
  const times = Array.from({ length: runs + 1 }, () => {
    const began = performance.now()
    work()
    return performance.now() - began
  })
  return median(times.slice(1))
}

const row = (name: string, ms: number, bytes: number): void =>
  out(`${name.padEnd(64)}${ms.toFixed(0).padStart(8)} ms ${(bytes / MB / (ms / 1_000)).toFixed(0).padStart(8)} MB/s`)

interface Limits {
  /** Milliseconds that the bar is about: the slower of disk, and encryption with the erasure code, on one core. */
  readonly bar: { readonly put: number; readonly get: number }
  /** That all five processes take at least for what they do, on all cores; without HTTP, copies and the ledger. */
  readonly work: { readonly put: number; readonly get: number }
}

function limits(): Limits {
  const segment = randomBytes(OBJECT_SEGMENT_BYTES)
  const key = randomBytes(32)
  const count = Math.ceil(SIZE / OBJECT_SEGMENT_BYTES)
  const encrypt = (bytes: Uint8Array): void => {
    const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12))
    cipher.update(bytes)
    cipher.final()
  }
  const each = (name: string, work: () => void): number => {
    const ms = timed(() => {
      for (let number = 0; number < count; number += 1) work()
    })
    row(name, ms, SIZE)
    return ms
  }
  const gcm = each('AES-256-GCM, one core', () => encrypt(segment))
  const code = new ErasureCode(2, 4)
  const erasure = each('erasure code 2 of 4, one core', () => void code.encode(segment))
  const md5 = each('MD5 of the object (its ETag), one core', () => void hash('md5', segment))
  const sha = each('SHA-256 of as many bytes, one core', () => void hash('sha256', segment))
  const records = each('the same in records of 16 KiB, as TLS has them, one core', () => {
    for (let at = 0; at < segment.length; at += 16_384) encrypt(segment.subarray(at, at + 16_384))
  })
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-bench-'))
  const disk = timed(() => {
    for (let shard = 0; shard < 4; shard += 1) {
      const file = openSync(join(folder, `${shard}`), 'w')
      for (let number = 0; number < count; number += 1) writeSync(file, segment, 0, OBJECT_SEGMENT_BYTES / 2)
      fdatasyncSync(file)
      closeSync(file)
    }
  })
  rmSync(folder, { recursive: true })
  row('disk: four shards, twice the bytes, written and synced', disk, SIZE)
  // Three of four shards travel, half the object each, and are encrypted and decrypted for it; of two that are read one does.
  const put = (md5 + gcm + erasure + 2 * sha + 2 * 1.5 * records) / cpus().length
  const get = (gcm + sha + 2 * 0.5 * records) / cpus().length
  row('put: hashes, encryption, code and TLS of all nodes on all cores', put, SIZE)
  row('get: the same', get, SIZE)
  // Reading comes from the system's memory: what is left is decryption.
  return { bar: { put: Math.max(disk, gcm + erasure), get: gcm }, work: { put: Math.max(disk, put), get } }
}

interface Node {
  readonly s3: S3Client
}

export async function put({ s3 }: Node, Key: string, size: number): Promise<number> {
  const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key }), { expiresIn: 3_600 })
  const chunk = randomBytes(1_048_576)
  const began = performance.now()
  await new Promise<void>((settle, refuse) => {
    const call = request(url, { method: 'PUT', headers: { 'content-length': size } }, (response) => {
      response.resume()
      response.on('end', () => (response.statusCode === 200 ? settle() : refuse(new Error(`answered ${response.statusCode}`))))
    })
    call.on('error', refuse)
    let left = size
    const go = (): void => {
      while (left > 0) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk
        left -= part.length
        if (!call.write(part)) {
          call.once('drain', go)
          return
        }
      }
      call.end()
    }
    go()
  })
  return performance.now() - began
}

export async function get({ s3 }: Node, Key: string, size: number): Promise<number> {
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key }), { expiresIn: 3_600 })
  const began = performance.now()
  const bytes = await new Promise<number>((settle, refuse) => {
    request(url, (response) => {
      let seen = 0
      response.on('data', (part: Buffer) => (seen += part.length))
      response.on('end', () => settle(seen))
      response.on('error', refuse)
    })
      .on('error', refuse)
      .end()
  })
  if (bytes !== size) throw new Error(`${bytes} bytes came, not ${size}`)
  return performance.now() - began
}

/** CPU time of processes so far, milliseconds, by the kernel's clock of 100 ticks a second. */
export function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) * 10
  }, 0)
}

const statusOf = (pid: number, name: string): number =>
  Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024

/** MiB in memory now; the kernel’s account of the most begins anew (proc(5), clear_refs). */
function memoryOf(pid: number): number {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
  return statusOf(pid, 'VmRSS')
}

/** The most since then, MiB. */
const peakOf = (pid: number): number => statusOf(pid, 'VmHWM')

export async function benchObjects(): Promise<void> {
  out('objects of 64 MB, the median of some runs')
  const limit = limits()
  const scene = await ObjectRing.start()
  try {
    const key = scene.accessKey()
    const node = { s3: scene.s3(1, key) }
    await node.s3.send(new CreateBucketCommand({ Bucket }))
    const pids = await Promise.all([1, 2, 3, 4].map((one) => scene.ring.pid(one)))
    const measured = async (what: (node: Node, Key: string, size: number) => Promise<number>): Promise<number> => {
      const times: number[] = []
      let [nodes, first, own] = [0, 0, 0]
      for (let run = 0; run <= RUNS; run += 1) {
        const before = [cpuOf(pids), cpuOf(pids.slice(0, 1)), process.cpuUsage()] as const
        times.push(await what(node, `run-${run}`, SIZE))
        if (run === 0) continue
        nodes += cpuOf(pids) - before[0]
        first += cpuOf(pids.slice(0, 1)) - before[1]
        const { user, system } = process.cpuUsage(before[2])
        own += (user + system) / 1_000
      }
      const each = (ms: number): string => (ms / RUNS / (SIZE / MB)).toFixed(1)
      out(`${what.name}: CPU a MB: four nodes ${each(nodes)} ms (the one that is asked ${each(first)}), client ${each(own)} ms`)
      return median(times.slice(1))
    }
    const putMs = await measured(put)
    const getMs = await measured(get)
    row('put through one node', putMs, SIZE)
    row('get through one node', getMs, SIZE)
    const share = (allowed: number, took: number): string => `${((100 * allowed) / took).toFixed(0)} %`
    for (const [name, took, bar, work] of [
      ['put', putMs, limit.bar.put, limit.work.put],
      ['get', getMs, limit.bar.get, limit.work.get],
    ] as const)
      out(
        `${name}: ${share(bar, took)} of what the slower of disk, and AES-256-GCM with the erasure code, allow (the aim: 50 %); ` +
          `${share(work, took)} of what all nodes’ work allows on ${cpus().length} cores`,
      )
    const gigabytes = Number(process.env.OBJECT_GB ?? 0)
    if (gigabytes === 0) return
    const size = gigabytes * 1_000 * MB
    const before = pids.map(memoryOf)
    row(`put of ${gigabytes} GB`, await put(node, 'large', size), size)
    row(`get of ${gigabytes} GB`, await get(node, 'large', size), size)
    for (const [at, pid] of pids.entries()) {
      const [was, most] = [before[at] ?? 0, peakOf(pid)]
      const grown = `${Math.max(0, most - was).toFixed(0)} MiB more than before${at === 0 ? ' (the aim: 256)' : ''}`
      out(`n${at + 1}: at most ${most.toFixed(0)} MiB in memory, ${grown}`)
    }
  } finally {
    await scene.destroy()
  }
}

if (import.meta.main) await benchObjects()
