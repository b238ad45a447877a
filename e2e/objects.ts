/**
 * `npm run e2e:objects`: what takes longer than the suite may. A real ring of five processes: nodes die, lie, come back, leave and join, and what
 * clients put is read all the while; then clients that others wrote: curl and the AWS command line where they are installed (rclone: `e2e/rclone.ts`). With
 * `--repair-gb 1`: how long so many gigabytes take to be whole again after the loss of a node, and nothing else.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { eventually } from './local-ring.ts'
import { repairAfterLoss } from './objects-repair.ts'
import { bytesOf, ObjectRing } from './objects-scene.ts'

const { values } = parseArgs({ options: { 'repair-gb': { type: 'string' } } })
if (values['repair-gb'] !== undefined) {
  await repairAfterLoss(Number(values['repair-gb']))
  process.exit(0)
}

const Bucket = 'shop-heal'
const WAIT_MS = 90_000
const QUICK = '\nobjects: { everyMs: 500, awayMs: 3000, residueMs: 180000, scrubHours: 0.0014 }\n'
const out = (text: string): void => void process.stdout.write(`${text}\n`)
const scene = await ObjectRing.start('', 5)
const { ring } = scene
const files = new Map<string, Buffer>()

async function status(node: number) {
  return ring.client(node).vaultObjects()
}

async function readAll(by: number): Promise<void> {
  const s3 = scene.s3(by, key)
  for (const [Key, body] of files) {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
    assert.ok(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(body), `${Key} by way of n${by}`)
  }
}

/** Every node of these has all that it is to have, and nothing else. */
async function whole(nodes: readonly number[], since: number): Promise<void> {
  for (const node of nodes)
    await eventually(
      `n${node} is whole`,
      async () => {
        const { missing, waiting, passedAtMs, repairing } = await status(node)
        return missing === 0 && waiting === 0 && repairing === null && (passedAtMs ?? 0) > since + 1_500
      },
      WAIT_MS,
    )
}

const key = scene.accessKey()
try {
  // Nodes look after their shards more often than is usual, so that this takes minutes and not days.
  for (const node of [1, 2, 3, 4, 5]) {
    await ring.kill(node)
    appendFileSync(join(ring.data, `n${node}`, 'node.yaml'), QUICK)
    await ring.restart(node)
  }
  const s3 = scene.s3(1, key)
  await eventually(
    'the ring goes on',
    async () => (await s3.send(new CreateBucketCommand({ Bucket }))).Location !== undefined,
    60_000,
  )
  for (const [at, size] of [10, 1_000_000, 5_000_000, 12_000_000].entries()) {
    files.set(`file-${at}`, bytesOf(size))
    await s3.send(new PutObjectCommand({ Bucket, Key: `file-${at}`, Body: files.get(`file-${at}`) as Buffer }))
  }
  await whole([1, 2, 3, 4, 5], Date.now())
  out('five nodes hold what was put')

  // 1. A disk that rots.
  const rotten = scene.shardFiles(2)
  assert.ok(rotten.length > 0)
  for (const file of rotten) {
    const bytes = readFileSync(file)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 0x40
    writeFileSync(file, bytes)
  }
  await readAll(1)
  await readAll(2)
  await eventually(
    'n2 finds and mends them',
    async () => (await status(2)).corrupt >= rotten.length && (await status(2)).repaired >= rotten.length,
    WAIT_MS,
  )
  const { events } = await ring.client(2).events({})
  assert.ok(
    events.some(({ what }) => /^n2 (holds a changed|gave a wrong) shard/.test(what)),
    'n2 is named',
  )
  out(`n2 found ${rotten.length} changed shards of its own, named itself and mended them`)

  // 2. A node that loses its disk's shards.
  for (const file of scene.shardFiles(3)) rmSync(file)
  await eventually('n3 makes them anew', async () => scene.shardFiles(3).length > 0 && (await status(3)).missing === 0, WAIT_MS)
  await whole([3], Date.now())
  out('n3 lost its shards, and made them anew')

  // 3. A node that is away for long, and comes back.
  const before = scene.shardFiles(5).length
  assert.ok(before > 0)
  await ring.kill(5)
  await readAll(4)
  await eventually('n5 counts as away', async () => (await status(1)).away.includes('n5'), WAIT_MS)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'meanwhile', Body: 'meanwhile' }))
  files.set('meanwhile', Buffer.from('meanwhile'))
  await whole([1, 2, 3, 4], Date.now())
  await readAll(2)
  await ring.restart(5)
  await whole([1, 2, 3, 4, 5], Date.now())
  await readAll(5)
  out('n5 was away, others had its part meanwhile, and it has it again')

  // 4. A node that leaves for good.
  const { code, stderr } = ring.cli('node', 'rm', 'n4', '--reason', 'leaves')
  assert.equal(code, 0, stderr)
  await whole([1, 2, 3, 5], Date.now())
  await readAll(3)
  const shown = ring.cli('vault', 'status')
  assert.match(shown.stdout, /n1 .* whole/)
  out(`n4 left, and the others hold its part:\n${shown.stdout}`)

  // 5. Deleted is deleted.
  const Objects = ((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map(({ Key }) => ({
    Key: Key as string,
  }))
  await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  for (const node of [1, 2, 3, 5]) await eventually(`n${node} erased them`, () => scene.shardFiles(node).length === 0, WAIT_MS)
  out('deleted objects are on no disk any more')

  clients()
} finally {
  await scene.destroy()
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const ran = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 120_000,
    maxBuffer: 64_000_000,
  })
  assert.equal(ran.status, 0, `${command} ${args.join(' ')}: ${ran.stderr || ran.error?.message}`)
  return ran.stdout
}

function has(command: string): boolean {
  return spawnSync(command, ['--version']).status === 0
}

function clients(): void {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-s3-'))
  const endpoint = `http://127.0.0.1:${scene.port(1)}`
  const file = join(folder, 'big')
  writeFileSync(file, bytesOf(20_000_000))
  try {
    if (has('curl')) {
      const signed = [
        '-sS',
        '--fail-with-body',
        '--aws-sigv4',
        'aws:amz:us-east-1:s3',
        '--user',
        `${key.accessKeyId}:${key.secretAccessKey}`,
        '-H',
        'x-amz-content-sha256: UNSIGNED-PAYLOAD',
      ]
      run('curl', [...signed, '-X', 'PUT', `${endpoint}/shop-curl`])
      run('curl', [...signed, '-T', file, `${endpoint}/shop-curl/a%20b`])
      run('curl', [...signed, '-o', join(folder, 'back'), `${endpoint}/shop-curl/a%20b`])
      assert.ok(readFileSync(join(folder, 'back')).equals(readFileSync(file)))
      assert.match(run('curl', [...signed, `${endpoint}/shop-curl?list-type=2&prefix=a`]), /<Key>a b<\/Key>/)
      run('curl', [...signed, '-X', 'DELETE', `${endpoint}/shop-curl/a%20b`])
      run('curl', [...signed, '-X', 'DELETE', `${endpoint}/shop-curl`])
      out('curl put, got, listed and deleted')
    } else out('curl is not installed: skipped')
    const env = {
      AWS_ACCESS_KEY_ID: key.accessKeyId,
      AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_EC2_METADATA_DISABLED: 'true',
    }
    if (has('aws')) {
      const aws = (...args: readonly string[]): string => run('aws', ['--endpoint-url', endpoint, ...args], env)
      aws('s3', 'mb', 's3://shop-aws')
      aws('s3', 'cp', '--quiet', file, 's3://shop-aws/big')
      aws('s3', 'cp', '--quiet', 's3://shop-aws/big', join(folder, 'aws'))
      assert.ok(readFileSync(join(folder, 'aws')).equals(readFileSync(file)))
      assert.match(aws('s3', 'ls', 's3://shop-aws'), /20000000 big/)
      aws('s3', 'rb', '--force', 's3://shop-aws')
      out('the AWS command line copied there and back, in parts, listed and deleted')
    } else out('the AWS command line is not installed: skipped')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
