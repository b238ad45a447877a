import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { parseNodeConfig } from '../config.ts'
import { BucketClient } from './bucket-client.ts'
import { readBucketCredentials } from './bucket-credentials.ts'
import { ShardBucket } from './shard-bucket.ts'
import { ShardFolder } from './shard-folder.ts'
import { StoreAway } from './shard-store.ts'
import { TEST_CREDENTIALS, TestBucket, type Trouble } from './test-bucket.ts'

const [V, W] = ['1'.repeat(32), '2'.repeat(32)]
const BLOB = 'a'.repeat(16)
const PREFIX = 'ringwall/0123456789abcdef/n1/'
const signal = new AbortController().signal
let bucket: TestBucket
let folder: string
let said: string[] = []
const opened: ShardBucket[] = []

before(async () => {
  bucket = await TestBucket.start()
})
after(() => bucket.stop())
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringwall-bucket-'))
  said = []
  bucket.objects.clear()
  bucket.uploads.clear()
  bucket.troubles.length = 0
  bucket.requests.length = 0
  bucket.secret = TEST_CREDENTIALS.secretAccessKey
})
afterEach(() => {
  for (const store of opened.splice(0)) store.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function open(settings: { bytesMax?: number; listMs?: number; silentMsMax?: number; secret?: () => string } = {}) {
  const { bytesMax = 1e9, listMs = 60_000, silentMsMax = 2_000, secret = () => TEST_CREDENTIALS.secretAccessKey } = settings
  const place = { endpoint: bucket.endpoint, region: 'us-east-1', bucket: 'bucket', pathStyle: true, ca: undefined }
  const credentials = () => ({ ...TEST_CREDENTIALS, secretAccessKey: secret() })
  const client = new BucketClient({ place, credentials, silentMsMax, callMsMax: 4 * silentMsMax })
  const local = await ShardFolder.open(folder, undefined, bytesMax)
  const say = (_: string, line: string): void => void said.push(line)
  const store = new ShardBucket(local, { client, where: 'the bucket', prefix: PREFIX, bytesMax, listMs, residueMs: 1_000, say })
  opened.push(store)
  return store
}

async function put(store: ShardBucket, version: string, index: number, bytes: Uint8Array): Promise<void> {
  const writer = await store.receive(version, BLOB, index)
  for (let at = 0; at < bytes.length; at += 1_000_000) await writer.write(bytes.subarray(at, at + 1_000_000))
  await writer.commit()
}

async function read(store: ShardBucket, version: string, index: number, start: number, length: number) {
  const shard = await store.openShard(version, BLOB, index)
  const bytes = Buffer.alloc(length)
  const isThere = (await shard?.readInto(start, bytes)) === true
  await shard?.close()
  return isThere ? bytes : undefined
}

test('shards are there under ring, node, version, blob and index, in ranges, after a new start too; manifests never leave the disk', async () => {
  const store = await open()
  const [small, large] = [randomBytes(5_000), randomBytes(20_000_000)]
  await put(store, V, 0, small)
  await put(store, V, 3, large)
  await put(store, W, 1, small)
  await store.putManifest(V, Buffer.from('what opens'))
  assert.deepEqual([...bucket.objects.keys()].sort(), [
    `${PREFIX}${V}/${BLOB}.0`,
    `${PREFIX}${V}/${BLOB}.3`,
    `${PREFIX}${W}/${BLOB}.1`,
  ])
  assert.ok(bucket.objects.get(`${PREFIX}${V}/${BLOB}.3`)?.equals(large), 'put together of its parts')
  assert.ok([...bucket.objects.values()].every((bytes) => !bytes.includes('what opens')))
  for (const one of [store, await open()]) {
    assert.equal(one.bytes, one === store ? 20_010_000 : 0, 'nothing is listed before it is asked for')
    assert.deepEqual(
      (await one.held(V)).toSorted((a, b) => a.index - b.index),
      [
        { blob: BLOB, index: 0, bytes: 5_000 },
        { blob: BLOB, index: 3, bytes: 20_000_000 },
      ],
    )
    assert.equal(one.bytes, 20_010_000)
    assert.deepEqual((await read(one, V, 3, 8_388_600, 20))?.equals(large.subarray(8_388_600, 8_388_620)), true)
    assert.equal(await read(one, V, 0, 4_990, 20), undefined, 'it ends before')
    assert.equal(await read(one, V, 1, 0, 1), undefined, 'it is not there')
    const versions: string[] = []
    for await (const version of one.versions()) versions.push(version)
    assert.deepEqual(versions, [V, W])
  }
  assert.equal(Buffer.from((await store.manifest(V)) ?? []).toString(), 'what opens')
  await store.erase(V)
  assert.deepEqual([...bucket.objects.keys()], [`${PREFIX}${W}/${BLOB}.1`])
  assert.equal(await store.manifest(V), undefined)
  assert.equal(store.bytes, 5_000)
})

test('a shard read in order is one request', async () => {
  const store = await open()
  const bytes = randomBytes(3_000_000)
  await put(store, V, 0, bytes)
  bucket.requests.length = 0
  const shard = await store.openShard(V, BLOB, 0, 2_500_000)
  for (let at = 500_000; at < 2_500_000; at += 500_000) {
    const piece = Buffer.alloc(500_000)
    assert.equal(await shard?.readInto(at, piece), true)
    assert.ok(piece.equals(bytes.subarray(at, at + 500_000)))
  }
  await shard?.close()
  assert.deepEqual(bucket.requests, [`GET ${PREFIX}${V}/${BLOB}.0 bytes=500000-2499999`])
})

test('what fails for a moment is tried again; what fails for longer makes every call fail at once, until the bucket answers', async () => {
  const down: Trouble = { status: 503, code: 'SlowDown' }
  const store = await open()
  await put(store, V, 0, Buffer.from('shard'))
  bucket.troubles.push(down, down)
  assert.equal((await read(store, V, 0, 0, 5))?.toString(), 'shard')
  bucket.troubles.push(down, down, down)
  await assert.rejects(read(store, V, 0, 0, 5), { code: 'OBJECTS_STORE_AWAY', message: /answers 503 SlowDown/ })
  assert.match(store.away?.reason ?? '', /503 SlowDown/)
  const asked = bucket.requests.length
  await assert.rejects(read(store, V, 0, 0, 5), StoreAway)
  await assert.rejects(put(store, W, 0, Buffer.from('x')), StoreAway)
  assert.equal(await store.isThere(), false)
  assert.equal(bucket.requests.length, asked, 'nothing is asked for some seconds')
  assert.match(said.join('\n'), /^the shards of this node cannot be had/)
})

test('a bucket that is silent is given up in time', async () => {
  const store = await open({ silentMsMax: 50 })
  bucket.troubles.push('silence', 'silence', 'silence')
  await assert.rejects(store.held(V), { code: 'OBJECTS_STORE_AWAY', message: /does not answer/ })
})

test('credentials are read again when they are refused, and the error says what to look at', async () => {
  let secret = TEST_CREDENTIALS.secretAccessKey
  const store = await open({ secret: () => secret })
  await put(store, V, 0, Buffer.from('shard'))
  bucket.secret = 'another'
  secret = 'another'
  assert.equal((await read(store, V, 0, 0, 5))?.toString(), 'shard')
  bucket.secret = 'a third'
  await assert.rejects(read(store, V, 0, 0, 5), /403 SignatureDoesNotMatch .*look at the credentials/)
  bucket.troubles.push({ status: 404, code: 'NoSuchBucket' })
  await assert.rejects((await open()).held(V), /NoSuchBucket .*make it, or correct/)
})

test('what the owner of the bucket takes away is missing at the next list or read, and never an error', async () => {
  const store = await open({ listMs: 0 })
  await put(store, V, 0, Buffer.from('shard'))
  await put(store, V, 1, Buffer.from('shard'))
  bucket.objects.delete(`${PREFIX}${V}/${BLOB}.0`)
  assert.equal(await read(store, V, 0, 0, 5), undefined)
  assert.equal((await store.held(V)).length, 1)
  bucket.objects.clear()
  bucket.objects.set(`${PREFIX}not-a-shard`, Buffer.from('x'))
  bucket.objects.set('elsewhere', Buffer.from('x'))
  await store.tend(signal)
  assert.deepEqual(await store.held(V), [])
})

test('a repair goes on where it was, and shards that lie on the disk are brought into the bucket', async () => {
  const bytes = randomBytes(9_000_000)
  const store = await open()
  const begun = await store.repair(V, BLOB, 0)
  await begun.write(bytes.subarray(0, 4_000_000))
  await begun.rest()
  const again = await (await open()).repair(V, BLOB, 0)
  assert.equal(again.bytes, 4_000_000)
  await again.write(bytes.subarray(4_000_000))
  await again.commit()
  assert.ok(bucket.objects.get(`${PREFIX}${V}/${BLOB}.0`)?.equals(bytes))
  // A node that had a folder until now.
  const local = await ShardFolder.open(folder, undefined, 1e9)
  const writer = await local.receive(W, BLOB, 1)
  await writer.write(bytes)
  await writer.commit()
  const next = await open()
  assert.equal((await next.held(W)).length, 1)
  await next.tend(signal)
  assert.ok(bucket.objects.get(`${PREFIX}${W}/${BLOB}.1`)?.equals(bytes))
  assert.deepEqual(await local.held(W), [])
  assert.ok((await read(next, W, 1, 8_999_990, 10))?.equals(bytes.subarray(-10)))
})

test('an upload in parts that is broken off leaves nothing; one of a process that died is given up when it is old', async () => {
  const store = await open()
  const writer = await store.receive(V, BLOB, 0)
  for (let at = 0; at < 9; at += 1) await writer.write(Buffer.alloc(1_000_000))
  assert.equal(bucket.uploads.size, 1)
  await writer.abort()
  assert.deepEqual([bucket.uploads.size, bucket.objects.size, store.bytes], [0, 0, 0])
  bucket.uploads.set('of-another-run', { key: `${PREFIX}${V}/${BLOB}.0`, parts: new Map() })
  bucket.uploads.set('of-another-node', { key: `ringwall/0123456789abcdef/n2/${V}/${BLOB}.0`, parts: new Map() })
  await (await open()).tend(signal)
  assert.deepEqual([...bucket.uploads.keys()], ['of-another-node'])
})

test('no more than allowed is taken', async () => {
  const store = await open({ bytesMax: 10_000 })
  await put(store, V, 0, Buffer.alloc(9_000))
  await assert.rejects(put(store, V, 1, Buffer.alloc(2_000)), { code: 'OBJECTS_DISK_FULL' })
})

test('a bucket from which nothing may be removed is read all the same, and says so once', async () => {
  const store = await open()
  await put(store, V, 0, Buffer.from('shard'))
  const no: Trouble = { status: 403, code: 'AccessDenied' }
  bucket.troubles.push(no, no, no, no)
  await assert.rejects(store.removeShard(V, BLOB, 0), StoreAway)
  await assert.rejects(store.removeShard(V, BLOB, 0), StoreAway)
  assert.equal((await read(store, V, 0, 0, 5))?.toString(), 'shard')
  assert.equal(said.filter((line) => /is to go stays/.test(line)).length, 1)
})

test('credentials come from a file or the environment; what is wrong is said without them', () => {
  const file = join(folder, 'credentials')
  writeFileSync(file, '# ours\n[other]\naws_access_key_id = X\n[eu]\naws_access_key_id = AKIA1\naws_secret_access_key=s/e=c\n')
  assert.deepEqual(readBucketCredentials(file, 'eu'), {
    accessKeyId: 'AKIA1',
    secretAccessKey: 's/e=c',
    sessionToken: undefined,
  })
  assert.throws(() => readBucketCredentials(file, 'other'), /aws_secret_access_key of \[other\] must be there/)
  assert.throws(() => readBucketCredentials(file, 'us'), /expected a section \[us\]/)
  assert.throws(() => readBucketCredentials(undefined, 'default', {}), { code: 'CONFIG_INVALID' })
  const environment = { AWS_ACCESS_KEY_ID: 'A', AWS_SECRET_ACCESS_KEY: 'B', AWS_SESSION_TOKEN: 'C' }
  assert.equal(readBucketCredentials(undefined, 'default', environment).sessionToken, 'C')
})

test('objects.store of node.yaml: places of files are of the file, plain http is for loopback', () => {
  const yaml = (s3: string): string =>
    `format: ringwall/node/1\nid: n1\ndata: .\ngenesis: g\nkey: k\nlisten: { traffic: ['127.0.0.1:1'], admin: '127.0.0.1:2', fabric: '127.0.0.1:3' }\nobjects: { store: { s3: ${s3} } }\n`
  const parsed = parseNodeConfig(
    yaml('{ endpoint: "https://s3.example.com", bucket: shards, credentials: c }'),
    '/etc/x/node.yaml',
  )
  assert.equal(parsed.objects?.store?.s3.credentials, '/etc/x/c')
  assert.deepEqual(parsed.objects?.store?.s3.prefix, 'ringwall/')
  const wrong = (s3: string): void => void parseNodeConfig(yaml(s3), 'node.yaml')
  assert.throws(
    () => wrong('{ endpoint: "http://s3.example.com", bucket: shards }'),
    /node.yaml:7:\d+: .*endpoint.*http is for loopback/,
  )
  assert.throws(() => wrong('{ endpoint: "https://s3.example.com/x", bucket: shards }'), /expected no path/)
  assert.throws(() => wrong('{ endpoint: "https://s3.example.com", bucket: shards, prefix: x }'), /each end in a slash/)
})
