/**
 * Objects: 64 MB put and got through one node of a real ring of four local processes (2 of 4 shards, all on this machine's one disk), beside what
 * AES-256-GCM, the erasure code and that disk allow here, and beside all that five processes have to do for it on these cores. Got twice: from the
 * disk, with no page of it in the system's memory, and from there. CPU time is what others' load spoils least. With `OBJECT_GB=5` also one object of so many gigabytes, and the most memory that each node had meanwhile. The client
 * is a bare socket with a presigned address, which reads into one buffer: it takes little of the cores that it shares with the nodes.
 *
 *     npm run bench:objects
 */
import { createCipheriv, hash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { cpus } from 'node:os'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { ErasureCode, giveBack, OBJECT_SEGMENT_BYTES } from '@ringwall/vault'
import { ObjectRing } from '../e2e/objects-scene.ts'
import { diskLimits, dropPages } from './disk.ts'

const MB = 1_000_000
const SIZE = 64 * MB
const RUNS = Number(process.env.RUNS ?? 5)
export const Bucket = 'shop-bench'
const out = (text: string): void => void process.stdout.write(`${text}\n`)
const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[times.length >> 1] as number

/** In milliseconds. */
interface Cost {
  /** The median of some runs. */
  readonly ms: number
  /** Of CPU time, the least: what others do meanwhile spoils it less. */
  readonly cpuMs: number
}

function costOf(work: () => void, runs = RUNS): Cost {
  const costs = Array.from({ length: runs + 1 }, () => {
    const [began, before] = [performance.now(), process.cpuUsage()]
    work()
    const { user, system } = process.cpuUsage(before)
    return { ms: performance.now() - began, cpuMs: (user + system) / 1_000 }
  }).slice(1)
  return { ms: median(costs.map(({ ms }) => ms)), cpuMs: Math.min(...costs.map(({ cpuMs }) => cpuMs)) }
}

const row = (name: string, ms: number, bytes: number): void =>
  out(`${name.padEnd(64)}${ms.toFixed(0).padStart(8)} ms ${(bytes / MB / (ms / 1_000)).toFixed(0).padStart(8)} MB/s`)

/** What is measured: got from the disk, and from memory. */
type What = 'put' | 'get' | 'get again'

interface Limit {
  /** Milliseconds that the bar is about: the slower of disk, and encryption with the erasure code, on one core. */
  readonly bar: number
  /** That all five processes take at least for what they do, on all cores; without HTTP, copies and the ledger. */
  readonly work: number
  /** CPU time of that, and of the disk, in milliseconds. */
  readonly cpu: number
}

async function limits(): Promise<Readonly<Record<What, Limit>>> {
  const segment = randomBytes(OBJECT_SEGMENT_BYTES)
  const key = randomBytes(32)
  const count = Math.ceil(SIZE / OBJECT_SEGMENT_BYTES)
  // As fast as it gets: in runs that stay in a cache, without memory that is touched for the first time.
  const encrypt = (bytes: Uint8Array): void => {
    const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12))
    for (let at = 0; at < bytes.length; at += 32_768) giveBack(cipher.update(bytes.subarray(at, at + 32_768)))
    cipher.final()
  }
  const each = (name: string, work: () => void): Cost => {
    const cost = costOf(() => {
      for (let number = 0; number < count; number += 1) work()
    })
    row(name, cost.ms, SIZE)
    return cost
  }
  const gcm = each('AES-256-GCM, one core', () => encrypt(segment))
  const code = new ErasureCode(2, 4)
  const halves = [0, 1].map((at) => segment.subarray((at * OBJECT_SEGMENT_BYTES) / 2, ((at + 1) * OBJECT_SEGMENT_BYTES) / 2))
  const parity = halves.map((half) => new Uint8Array(half.length))
  const erasure = each('erasure code 2 of 4, one core', () => code.fillParity(halves, parity))
  const md5 = each('MD5 of the object (its ETag), one core', () => void hash('md5', segment))
  const sha = each('SHA-256 of as many bytes, one core', () => void hash('sha256', segment))
  const disk = await diskLimits(2 * SIZE, SIZE, RUNS)
  row('disk: four shards at once, twice the bytes, written and synced', disk.write.ms, SIZE)
  row('disk: two shards at once, with no page of them in memory, read', disk.read.ms, SIZE)
  row('the same again, from memory', disk.readAgain.ms, SIZE)
  // Three of four shards travel, half the object each, and are encrypted and decrypted for it; of two that are read one does.
  const putWork = (of: (cost: Cost) => number): number => of(md5) + of(gcm) + of(erasure) + 2 * of(sha) + 2 * 1.5 * of(gcm)
  const getWork = (of: (cost: Cost) => number): number => of(gcm) + of(sha) + 2 * 0.5 * of(gcm)
  const limit = (what: string, cipherMs: number, from: Cost, work: typeof putWork): Limit => {
    const ms = Math.max(from.ms, (work((cost) => cost.ms) + from.cpuMs) / cpus().length)
    row(`${what}: disk, hashes, encryption and code of all nodes on all cores`, ms, SIZE)
    return { bar: Math.max(from.ms, cipherMs), work: ms, cpu: work(({ cpuMs }) => cpuMs) + from.cpuMs }
  }
  return {
    put: limit('put', gcm.ms + erasure.ms, disk.write, putWork),
    get: limit('get', gcm.ms, disk.read, getWork),
    'get again': limit('get again', gcm.ms, disk.readAgain, getWork),
  }
}

interface Node {
  readonly s3: S3Client
}

const read = Buffer.alloc(262_144)

/**
 * One request on a connection of its own; the bytes of the answer's body.
 *
 * @param send Writes the body, and says when the socket has taken all of it. @throws {Error} Another status than 200.
 */
function exchange(url: string, head: string, send?: (socket: Socket) => void): Promise<number> {
  const { hostname, host, port, pathname, search } = new URL(url)
  return new Promise((settle, refuse) => {
    let text = ''
    let left = -1
    let seen = 0
    const onread = {
      buffer: read,
      callback: (count: number): boolean => {
        let from = 0
        if (left < 0) {
          const before = text.length
          text += read.toString('latin1', 0, count)
          const end = text.indexOf('\r\n\r\n')
          if (end < 0) return true
          if (!text.startsWith('HTTP/1.1 200 ')) socket.destroy(new Error(`answered ${text}`))
          left = Number(/^content-length: (\d+)/im.exec(text)?.[1] ?? 0)
          from = end + 4 - before
        }
        seen += count - from
        if (seen >= left) {
          socket.destroy()
          settle(seen)
        }
        return true
      },
    }
    const socket = connect({ host: hostname, port: Number(port), onread })
    socket.on('error', refuse)
    socket.on('close', () => refuse(new Error('it closed the connection')))
    socket.write(`${head} ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n`)
    if (send === undefined) socket.write('\r\n')
    else send(socket)
  })
}

export async function put({ s3 }: Node, Key: string, size: number): Promise<number> {
  const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key }), { expiresIn: 3_600 })
  const chunk = randomBytes(1_048_576)
  const began = performance.now()
  await exchange(url, 'PUT', (socket) => {
    socket.write(`content-length: ${size}\r\n\r\n`)
    let left = size
    const go = (): void => {
      while (left > 0) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk
        left -= part.length
        if (!socket.write(part)) {
          socket.once('drain', go)
          return
        }
      }
    }
    go()
  })
  return performance.now() - began
}

export async function get({ s3 }: Node, Key: string, size: number): Promise<number> {
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key }), { expiresIn: 3_600 })
  const began = performance.now()
  const bytes = await exchange(url, 'GET')
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
  const limit = await limits()
  const scene = await ObjectRing.start()
  try {
    const key = scene.accessKey()
    const node = { s3: scene.s3(1, key) }
    await node.s3.send(new CreateBucketCommand({ Bucket }))
    const pids = await Promise.all([1, 2, 3, 4].map((one) => scene.ring.pid(one)))
    const measured = async (
      what: What,
      work: (node: Node, Key: string, size: number) => Promise<number>,
      prepare: () => Promise<void> = async () => {},
    ): Promise<void> => {
      const times: number[] = []
      let [nodes, first, own] = [0, 0, 0]
      for (let run = 0; run <= RUNS; run += 1) {
        await prepare()
        const before = [cpuOf(pids), cpuOf(pids.slice(0, 1)), process.cpuUsage()] as const
        times.push(await work(node, `run-${run}`, SIZE))
        if (run === 0) continue
        nodes += cpuOf(pids) - before[0]
        first += cpuOf(pids.slice(0, 1)) - before[1]
        const { user, system } = process.cpuUsage(before[2])
        own += (user + system) / 1_000
      }
      const tookMs = median(times.slice(1))
      const { bar, work: workMs, cpu } = limit[what]
      const each = (ms: number): string => (ms / RUNS / (SIZE / MB)).toFixed(1)
      const share = (allowed: number): string => `${((100 * allowed) / tookMs).toFixed(0)} %`
      row(`${what} through one node`, tookMs, SIZE)
      out(
        `${what}: ${share(bar)} of what the slower of ${what === 'get again' ? 'memory' : 'disk'}, and AES-256-GCM with the erasure code, allow (the aim: 50 %); ` +
          `${share(workMs)} of what all nodes’ work allows on ${cpus().length} cores`,
      )
      out(
        `${what}: CPU a MB: four nodes ${each(nodes)} ms (the one that is asked ${each(first)}), client ${each(own)} ms; ` +
          `of it disk, hashes, encryption and code take ${each(cpu * RUNS)} ms at least`,
      )
    }
    await measured('put', put)
    const shards = [1, 2, 3, 4].flatMap((one) => scene.shardFiles(one))
    try {
      await measured('get', get, () => dropPages(shards))
    } catch (error) {
      out(`get: not measured from the disk: ${(error as Error).message}`)
    }
    for (let run = 0; run <= RUNS; run += 1) await get(node, `run-${run}`, SIZE)
    await measured('get again', get)
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
