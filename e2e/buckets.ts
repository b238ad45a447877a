/**
 * `npm run e2e:buckets`: a ring of four processes of which one keeps its shards in an S3 bucket, on a server that others wrote. Its owner looks for what
 * was put, changes, swaps, takes away and puts back old shards; the server dies and comes back; clients read all the while.
 */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, DeleteObjectsCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { freePorts } from '../tools/free-ports.ts'
import { eventually } from './local-ring.ts'
import { bytesOf, ObjectRing } from './objects-scene.ts'
import { Versitygw, whyNoVersitygw } from './versitygw.ts'

const startedMs = performance.now()
const out = (text: string): void =>
  void process.stdout.write(`${Math.round((performance.now() - startedMs) / 1_000)} s  ${text}\n`)
const reason = whyNoVersitygw()
if (reason !== undefined) {
  out(`skipped: ${reason}`)
  process.exit(0)
}

const Bucket = 'shop-far'
const FAR = 2
const NODES = [1, 2, 3, 4]
const WAIT_MS = 180_000
const CANARY = 'canary-in-the-clear'
const RULES = `
vault:
  objects:
    - bucket: 'shop-*'
      read: [service:shop]
      write: [service:shop]
      shards: 2/3
`
const QUICK = 'everyMs: 1000, awayMs: 8000, residueMs: 180000, scrubHours: 0.006'
const [ID, SECRET] = ['AKIAFARAWAYBUCKET0', 'a-secret-of-the-bucket']
const folder = mkdtempSync(join(tmpdir(), 'ringwall-buckets-'))
const shards = join(folder, 'buckets', 'shards')
mkdirSync(shards, { recursive: true })
mkdirSync(join(folder, 'sidecar'))
const [port] = (await freePorts(1)) as [number]
const server = new Versitygw(port, join(folder, 'buckets'), join(folder, 'sidecar'), ID, SECRET)
await server.start()
const scene = await ObjectRing.start('', 4, RULES)
const { ring } = scene
const files = new Map<string, Buffer>()
const key = scene.accessKey()

const status = (node: number) => ring.client(node).vaultObjects()

/** Files of shards, as the owner of the bucket sees them. */
function farFiles(): readonly string[] {
  const names = readdirSync(shards, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => /[0-9a-f]{16}\.[0-7]$/.test(name)).map((name) => join(shards, name))
}

async function readAll(): Promise<void> {
  for (const node of NODES)
    for (const [Key, body] of files) {
      const { Body } = await scene.s3(node, key).send(new GetObjectCommand({ Bucket, Key }))
      assert.ok(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(body), `${Key} by way of n${node}`)
    }
}

async function put(Key: string, body: Buffer): Promise<void> {
  await scene.s3(1, key).send(new PutObjectCommand({ Bucket, Key, Body: body }))
  files.set(Key, body)
}

async function whole(nodes: readonly number[] = NODES): Promise<void> {
  const since = Date.now()
  for (const node of nodes)
    await eventually(
      `n${node} is whole`,
      async () => {
        const { missing, waiting, repairing, passedAtMs } = await status(node)
        return missing === 0 && waiting === 0 && repairing === null && (passedAtMs ?? 0) > since + 2_500
      },
      WAIT_MS,
    )
}

try {
  writeFileSync(join(folder, 'credentials'), `[default]\naws_access_key_id = ${ID}\naws_secret_access_key = ${SECRET}\n`)
  const store = `{ s3: { endpoint: '${server.endpoint}', bucket: shards, credentials: ${join(folder, 'credentials')}, listMs: 3000 } }`
  for (const node of NODES) {
    await ring.kill(node)
    const settings = node === FAR ? `${QUICK}, store: ${store}` : QUICK
    appendFileSync(join(ring.data, `n${node}`, 'node.yaml'), `\nobjects: { ${settings} }\n`)
    ring.start(node)
    await ring.answers(node, WAIT_MS)
  }
  await eventually(
    'a bucket of the ring',
    async () => (await scene.s3(1, key).send(new CreateBucketCommand({ Bucket }))).Location !== undefined,
    60_000,
  )
  for (let at = 0; at < 8; at += 1) await put(`small-${CANARY}-${at}`, Buffer.from(`${CANARY} ${at}`))
  await put('middle', bytesOf(5_000_000))
  await put('large', bytesOf(24_000_000))
  await whole()
  await readAll()
  const { store: where, shards: held } = await status(FAR)
  assert.match(where, /^http:.* shards$/)
  assert.equal(farFiles().length, held)
  assert.equal(scene.shardFiles(FAR).length, 0, 'no shard is on its disk')
  assert.ok(held > 0)
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (!name.includes(CANARY)) {
      const file = join(folder, name)
      const text = existsSync(file) && !readdirSafe(file) ? readFileSync(file) : Buffer.alloc(0)
      assert.ok(!text.includes(CANARY), `${name} tells what was put`)
    } else assert.fail(`${name} tells a name`)
  out(`n${FAR} holds ${held} shards in a bucket of ${where.split(' ')[0]}; neither names nor content of what was put are there`)

  const [first, second, third, fourth] = farFiles().filter((file) => readFileSync(file).length < 5_000)
  if (first !== undefined && second !== undefined) {
    const [one, other] = [readFileSync(first), readFileSync(second)]
    writeFileSync(first, other)
    writeFileSync(second, one)
  }
  if (third !== undefined) {
    const bytes = readFileSync(third)
    bytes[0] = (bytes[0] as number) ^ 1
    writeFileSync(third, bytes)
  }
  if (fourth !== undefined) rmSync(fourth)
  const tampered = [first, second, third, fourth].filter((file) => file !== undefined).length
  await readAll()
  await eventually('n2 mends them', async () => (await status(FAR)).repaired >= tampered, WAIT_MS)
  await whole([FAR])
  const { events } = await ring.client(FAR).events({})
  assert.ok(
    events.some(({ what }) => /^n2 (holds a changed|gave a wrong|gave no) shard/.test(what)),
    'n2 is named',
  )
  out(`its owner swapped, changed and removed ${tampered} shards: all were found and made anew, and reads were right meanwhile`)

  // What was there before a new version came is put back under the names of the new one.
  await put('rolled', Buffer.from('the first version'))
  await whole()
  const old = farFiles().map((file) => [file, readFileSync(file)] as const)
  await put('rolled', Buffer.from('the other version'))
  await whole()
  const now = new Set(farFiles())
  const gone = old.filter(([file]) => !now.has(file))
  const come = [...now].filter((file) => !old.some(([before]) => before === file))
  if (gone.length > 0 && come.length > 0) writeFileSync(come[0] as string, gone[0]?.[1] as Buffer)
  for (const [file, bytes] of gone) {
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, bytes)
  }
  await readAll()
  await eventually('what was put back is removed', () => gone.every(([file]) => !existsSync(file)), 2 * WAIT_MS)
  await whole()
  await readAll()
  out(`its owner put ${gone.length} old shards back: none was taken for a new one, and they are gone again`)

  await server.stop()
  await readAll()
  await eventually('it can be put without it', () => put('while it is away', bytesOf(1_000_000)).then(() => true), WAIT_MS)
  await eventually(`n${FAR} says so`, async () => (await status(FAR)).storeAway !== null, WAIT_MS)
  await eventually('the others know', async () => (await status(1)).away.includes(`n${FAR}`), WAIT_MS)
  await whole(NODES.filter((node) => node !== FAR))
  await readAll()
  const told = ring.cli('vault', 'status')
  assert.match(told.stdout, /n2 .*its bucket is away/)
  out(`the bucket is away: reads went elsewhere, and the others hold its part\n${told.stdout}`)

  await server.start()
  await eventually(
    'it is back',
    async () => (await status(FAR)).storeAway === null && !(await status(1)).away.includes('n2'),
    WAIT_MS,
  )
  await whole()
  await readAll()
  assert.ok(farFiles().length > 0)
  out('the bucket is back, and has its part again')

  // SIGKILL to the node while it puts into the bucket.
  const putting = put('killed meanwhile', bytesOf(24_000_000)).catch(() => files.delete('killed meanwhile'))
  await sleep(300)
  await ring.kill(FAR)
  await putting
  ring.start(FAR)
  await ring.answers(FAR, WAIT_MS)
  await whole()
  await readAll()
  out('the node was killed while it put, and is whole again')

  const Objects = [...files.keys()].map((Key) => ({ Key }))
  await scene.s3(1, key).send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  await eventually('nothing is left in the bucket', () => farFiles().length === 0, WAIT_MS)
  out('deleted objects are in no bucket any more')
} finally {
  await scene.destroy()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}

function readdirSafe(file: string): boolean {
  try {
    readdirSync(file)
    return true
  } catch {
    return false
  }
}
