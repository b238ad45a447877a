/**
 * `npm run e2e:vault-crash -- --kills 100`: SIGKILL at random points of put, repair and delete. A real ring of four processes; a client puts,
 * reads and deletes all the while, and at random moments one node is killed and started again. At the end what was acknowledged is read back, what
 * was deleted is gone, and of what was never acknowledged no node has a file left.
 */
import assert from 'node:assert/strict'
import { appendFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { readOptions, whole } from '../tools/options.ts'
import { eventually } from './local-ring.ts'
import { bytesOf, md5, ObjectRing } from './objects-scene.ts'

const { kills, writers } = readOptions({ kills: whole(100, 1, 100_000), writers: whole(4, 1, 32) })
const Bucket = 'shop-crash'
const NODES = [1, 2, 3, 4]
const SETTINGS = '\nobjects: { everyMs: 300, awayMs: 600000, residueMs: 5000, scrubHours: 0.002 }\n'
const SIZES = [0, 1, 5_000, 700_000, 4_194_304, 5_000_000]
const out = (text: string): void => void process.stdout.write(`${text}\n`)
const scene = await ObjectRing.start()
const { ring } = scene

/** By key: MD5 of what was acknowledged last; null: its deletion was; undefined besides: what may be, as the answer was lost. */
interface Fact {
  readonly known: string | null
  readonly maybe: readonly (string | null)[]
}
const facts = new Map<string, Fact>()
let isOver = false
let [acknowledged, unknown, deleted] = [0, 0, 0]

function other(node: number): number {
  return NODES[Math.floor(Math.random() * NODES.length)] ?? node
}

async function write(name: string, clients: readonly S3Client[]): Promise<void> {
  for (let count = 0; !isOver; count += 1) {
    const s3 = clients[other(1) - 1] as S3Client
    const Key = `${name}/${count % 5}`
    const fact = facts.get(Key) ?? { known: null, maybe: [] }
    const isDeletion = fact.known !== null && Math.random() < 0.3
    const body = isDeletion ? Buffer.alloc(0) : bytesOf(SIZES[Math.floor(Math.random() * SIZES.length)] as number)
    const next = isDeletion ? null : md5(body)
    // From now on it may be so, whether or not an answer comes.
    facts.set(Key, { known: fact.known, maybe: [...fact.maybe, next] })
    try {
      if (isDeletion) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
      else await s3.send(new PutObjectCommand({ Bucket, Key, Body: body }))
      facts.set(Key, { known: next, maybe: [] })
      if (isDeletion) deleted += 1
      else acknowledged += 1
    } catch {
      unknown += 1
      // What was sent may yet be agreed on: no later write of this key is confused with it.
      await sleep(2_500)
    }
  }
}

const startedMs = performance.now()
try {
  for (const node of NODES) {
    await ring.kill(node)
    appendFileSync(join(ring.data, `n${node}`, 'node.yaml'), SETTINGS)
    await ring.restart(node)
  }
  const key = scene.accessKey()
  const clients = NODES.map((node) => scene.s3(node, key, { maxAttempts: 1 }))
  await eventually(
    'a bucket',
    async () => (await (clients[0] as S3Client).send(new CreateBucketCommand({ Bucket }))).Location !== undefined,
    60_000,
  )
  const work = Array.from({ length: writers }, (_, at) => write(`w${at}`, clients))
  for (let done = 1; done <= kills; done += 1) {
    await sleep(Math.random() * 2_500)
    const node = other(1)
    await ring.kill(node)
    // Repairs are under way, too, when the next one dies.
    if (Math.random() < 0.3) for (const file of scene.shardFiles(node).slice(0, 3)) rmSync(file, { force: true })
    await sleep(Math.random() * 1_000)
    await ring.restart(node)
    if (done % 10 === 0)
      out(
        `${Math.round((performance.now() - startedMs) / 1_000)} s  ${done} kills, ${acknowledged} puts and ${deleted} deletions acknowledged, ${unknown} answers lost`,
      )
  }
  isOver = true
  await Promise.all(work)
  const s3 = clients[0] as S3Client
  await sleep(3_000)
  const there = new Set(((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map(({ Key }) => Key as string))
  const lost: string[] = []
  for (const [Key, { known, maybe }] of facts) {
    let found: string | null = null
    if (there.has(Key)) {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
      found = md5(Buffer.from((await Body?.transformToByteArray()) ?? []))
    }
    if (found !== known && !maybe.includes(found)) lost.push(`${Key}: ${found} instead of ${known}`)
  }
  out(`kills=${kills} acknowledged=${acknowledged} deleted=${deleted} unknown=${unknown} held=${there.size} lost=${lost.length}`)
  for (const one of lost) out(`lost ${one}`)
  assert.equal(lost.length, 0)
  // All shards of what is there, and no file besides.
  for (const node of NODES)
    await eventually(
      `n${node} is whole, and has no residue`,
      async () => {
        const { missing, waiting, shards } = await ring.client(node).vaultObjects()
        return missing === 0 && waiting === 0 && shards === there.size && scene.shardFiles(node).length === there.size
      },
      120_000,
    )
  out(`every node has its ${there.size} shards, and no file besides`)
} finally {
  isOver = true
  await scene.destroy()
}
