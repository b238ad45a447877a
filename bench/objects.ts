/**
 * Objects: 64 MB put and got through one node of a real ring of four local processes (2 of 4 shards, all on this machine's one disk), beside what
 * AES-256-GCM, the erasure code and that disk allow here. With `OBJECT_GB=5` also one object of so many gigabytes, and the most memory that each
 * node had meanwhile. The client is bare `node:http` with a presigned address.
 */
import { createCipheriv, hash, randomBytes } from 'node:crypto'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
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

function limits(): { readonly put: number; readonly get: number } {
  const segment = randomBytes(OBJECT_SEGMENT_BYTES)
  const key = randomBytes(32)
  const count = Math.ceil(SIZE / OBJECT_SEGMENT_BYTES)
  const gcm = timed(() => {
    for (let number = 0; number < count; number += 1) {
      const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12, number))
      cipher.update(segment)
      cipher.final()
    }
  })
  row('AES-256-GCM, one core', gcm, SIZE)
  const code = new ErasureCode(2, 4)
  const erasure = timed(() => {
    for (let number = 0; number < count; number += 1) code.encode(segment)
  })
  row('erasure code 2 of 4, one core', erasure, SIZE)
  const hashes = timed(() => {
    for (let number = 0; number < 2 * count; number += 1) hash('sha256', segment)
  })
  row('SHA-256 of all shards (no part of the limit)', hashes, SIZE)
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
  row('disk: four shards written and synced', disk, SIZE)
  // Reading comes from the system's memory: what is left is decryption.
  return { put: Math.max(disk, gcm + erasure), get: gcm }
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

/** The most that a process had in memory, bytes. */
function peakOf(pid: number): number {
  const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(found?.[1] ?? 0) * 1_024
}

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
    out(`put: ${share(limit.put, putMs)} of what the slower of disk and AES-256-GCM with the erasure code allows (the aim: 50 %)`)
    out(`get: ${share(limit.get, getMs)} of what AES-256-GCM on one core allows`)
    const gigabytes = Number(process.env.OBJECT_GB ?? 0)
    if (gigabytes === 0) return
    const size = gigabytes * 1_000 * MB
    const before = pids.map(peakOf)
    row(`put of ${gigabytes} GB`, await put(node, 'large', size), size)
    row(`get of ${gigabytes} GB`, await get(node, 'large', size), size)
    for (const [at, pid] of pids.entries()) {
      const [was, is] = [(before[at] ?? 0) / 1_048_576, peakOf(pid) / 1_048_576]
      out(`n${at + 1}: at most ${is.toFixed(0)} MiB in memory, ${was.toFixed(0)} MiB before`)
    }
  } finally {
    await scene.destroy()
  }
}

if (import.meta.main) await benchObjects()
