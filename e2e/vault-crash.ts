/**
 * `npm run e2e:vault-crash -- --kills 100 --seed 1`: SIGKILL at random points of put, repair, reshare and delete. A real ring of four processes; clients put,
 * read and delete all the while, an operator has the sealing key shared anew, shards are taken away, and at random moments one node is killed: in the
 * middle of its work, or of starting again, and now and then a second one while the first is not back: then there is no quorum. After each `--round` of kills what was acknowledged is read back, what was deleted is gone, and of what was
 * never acknowledged no node has a file left, three minutes later.
 *
 * The schedule (who, when, how often) follows from the seed, and each round has its own: `--from 3` begins with the third one. What the processes are at
 * just then does not.
 */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, rmSync } from 'node:fs'
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
import { Random } from '../sim/random.ts'
import { readOptions, whole } from '../tools/options.ts'
import { eventually } from './local-ring.ts'
import { bytesOf, md5, ObjectRing } from './objects-scene.ts'

const options = readOptions({
  kills: whole(100, 1, 100_000),
  writers: whole(4, 1, 32),
  seed: whole(1, 0, 4_294_967_295),
  round: whole(50, 1, 1_000),
  from: whole(1, 1, 10_000),
})
const Bucket = 'shop-crash'
const NODES = [1, 2, 3, 4]
const SETTINGS = '\nobjects: { everyMs: 300, awayMs: 600000, residueMs: 180000, scrubHours: 0.002 }\n'
const SIZES = [0, 1, 5_000, 700_000, 4_194_304, 5_000_000]
/** Between two kills in a node that works, and while one is down. */
const WORK_MS = 900
const DOWN_MS = 250
/** A node that starts is killed again so often, and within so long. */
const AGAIN = 0.4
/** So often a second node dies before the first is back: nothing is acknowledged then. */
const BESIDE = 0.15
const START_MS = 1_500
/** Between two refreshes of the sealing key. */
const REFRESH_MS = 6_000
const WAIT_MS = 180_000
/** What was never acknowledged is removed after `residueMs`, by the ring's time. */
const RESIDUE_WAIT_MS = 400_000
const out = (text: string): void =>
  void process.stdout.write(`${Math.round((performance.now() - startedMs) / 1_000)} s  ${text}\n`)
const startedMs = performance.now()
const scene = await ObjectRing.start()
const { ring } = scene

/** By key: MD5 of what was acknowledged last; null: its deletion was; `maybe`: what may be besides, as the answer was lost. */
interface Fact {
  readonly known: string | null
  readonly maybe: readonly (string | null)[]
}
const facts = new Map<string, Fact>()
let isOver = false
let [kills, startKills, acknowledged, unknown, deleted, refreshed] = [0, 0, 0, 0, 0, 0]

async function write(name: string, clients: readonly S3Client[], random: Random): Promise<void> {
  for (let count = 0; !isOver; count += 1) {
    const s3 = random.pick(clients)
    const Key = `${name}/${count % 5}`
    const fact = facts.get(Key) ?? { known: null, maybe: [] }
    const isDeletion = fact.known !== null && random.chance(0.3)
    const body = isDeletion ? Buffer.alloc(0) : bytesOf(random.pick(SIZES))
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

/** The sealing key in new shares, again and again: a ceremony that kills meet in its middle. */
async function refresh(random: Random): Promise<void> {
  while (!isOver) {
    await sleep(REFRESH_MS)
    await ring
      .client(random.pick(NODES))
      .keyRefresh('a crash test', { key: 'sealing' })
      .then(
        () => {
          refreshed += 1
        },
        // One is under way, or the node is down.
        () => {},
      )
  }
}

/** Kills one node, at a random moment, or two; resolves when they answer. */
async function strike(random: Random): Promise<void> {
  await sleep(random.next() * WORK_MS)
  const node = random.pick(NODES)
  const beside = random.pick(NODES.filter((one) => one !== node))
  // Each has a schedule of its own: how long a start takes is not the seed's to say.
  const [first, second] = [0, 1].map(() => new Random(random.whole(0, 2 ** 31))) as [Random, Random]
  const fallen = [fell(node, first)]
  if (random.chance(BESIDE)) fallen.push(sleep(second.next() * START_MS).then(() => fell(beside, second)))
  await Promise.all(fallen)
}

/** What was taken from one node is back before another loses any: three of an object's four shards at once would be more than it is made to bear. */
let taken: { readonly node: number; readonly files: readonly string[] } | undefined

function takeShards(node: number): void {
  const isBack = taken === undefined || taken.files.every((file) => existsSync(file))
  if (!isBack && taken?.node !== node) return
  const files = scene.shardFiles(node).slice(0, 3)
  taken = { node, files: isBack ? files : [...(taken?.files ?? []), ...files] }
  for (const file of files) rmSync(file, { force: true })
}

/** Perhaps again while it starts. */
async function fell(node: number, random: Random): Promise<void> {
  await ring.end(node)
  kills += 1
  // Repairs are under way, too, when the next one dies.
  if (random.chance(0.3)) takeShards(node)
  await sleep(random.next() * DOWN_MS)
  ring.start(node)
  while (random.chance(AGAIN)) {
    await sleep(random.next() * START_MS)
    await ring.end(node)
    kills += 1
    startKills += 1
    ring.start(node)
  }
  await ring.answers(node, WAIT_MS)
}

/** What was acknowledged is there, what was deleted is not, and nothing else is on any disk. */
async function verify(s3: S3Client): Promise<number> {
  for (const node of NODES)
    await eventually(
      `n${node} has a share of the sealing key`,
      async () => (await ring.client(node).keys()).keys.find(({ name }) => name === 'sealing')?.state === 'ready',
      WAIT_MS,
    )
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
  for (const one of lost) out(`lost ${one}`)
  assert.equal(lost.length, 0)
  // All shards of what is there, and no file besides.
  for (const node of NODES)
    await eventually(
      `n${node} is whole, and has no residue`,
      async () => {
        const { missing, waiting, shards } = await ring.client(node).vaultObjects()
        const files = scene.shardFiles(node).length
        if (missing === 0 && waiting === 0 && shards === there.size && files === there.size) return true
        throw new Error(`${missing} missing, ${waiting} waiting, ${shards} shards and ${files} files of ${there.size} objects`)
      },
      RESIDUE_WAIT_MS,
    )
  taken = undefined
  return there.size
}

try {
  for (const node of NODES) {
    await ring.kill(node)
    appendFileSync(join(ring.data, `n${node}`, 'node.yaml'), SETTINGS)
    ring.start(node)
  }
  for (const node of NODES) await ring.answers(node, WAIT_MS)
  const key = scene.accessKey()
  const clients = NODES.map((node) => scene.s3(node, key, { maxAttempts: 1 }))
  const patient = scene.s3(1, key, { maxAttempts: 5 })
  await eventually(
    'a bucket',
    async () => (await patient.send(new CreateBucketCommand({ Bucket }))).Location !== undefined,
    60_000,
  )
  const beganMs = performance.now()
  for (let round = options.from; kills < options.kills; round += 1) {
    const random = new Random(options.seed + 1_000_003 * round)
    const before = kills
    isOver = false
    const work = [
      ...Array.from({ length: options.writers }, (_, at) => write(`w${at}`, clients, new Random(random.whole(0, 2 ** 31)))),
      refresh(new Random(random.whole(0, 2 ** 31))),
    ]
    try {
      while (kills - before < options.round && kills < options.kills) await strike(random)
    } finally {
      isOver = true
    }
    await Promise.all(work)
    const held = await verify(patient)
    const perMinute = (kills / ((performance.now() - beganMs) / 60_000)).toFixed(1)
    out(
      `round=${round} kills=${kills} while-starting=${startKills} acknowledged=${acknowledged} deleted=${deleted} unknown=${unknown} refreshes=${refreshed} held=${held} lost=0 residue=0 kills/min=${perMinute} (go on: --seed ${options.seed} --from ${round + 1})`,
    )
  }
} finally {
  isOver = true
  await scene.destroy()
}
