import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ShardFolder } from './shard-folder.ts'

const VERSION = 'ab'.repeat(16)
const BLOB = 'cd'.repeat(8)

async function opened(t: TestContext): Promise<{ readonly root: string; readonly folder: ShardFolder }> {
  const root = await mkdtemp(join(tmpdir(), 'ringwall-shards-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  return { root, folder: await ShardFolder.open(root, undefined, 1e9) }
}

async function read(folder: ShardFolder, index: number, length: number): Promise<Uint8Array | undefined> {
  const room = new Uint8Array(length)
  const shard = await folder.openShard(VERSION, BLOB, index)
  const isWhole = await shard?.readInto(0, room)
  await shard?.close()
  return isWhole === true ? room : undefined
}

test('a shard that goes on to the disk while it comes is whole once it is committed, and nowhere before', async (t) => {
  const { folder } = await opened(t)
  const bytes = randomBytes(20_000_001)
  const writer = await folder.receive(VERSION, BLOB, 0)
  for (let at = 0; at < bytes.length; at += 1_048_576) await writer.write(bytes.subarray(at, at + 1_048_576))
  assert.equal(await read(folder, 0, bytes.length), undefined)
  await writer.commit()
  assert.equal(Buffer.compare((await read(folder, 0, bytes.length)) as Uint8Array, bytes), 0)
  assert.equal(folder.bytes, bytes.length)
})

test('a large shard goes past the cache, from memory of its own or of others, and is whole; one given up leaves nothing', async (t) => {
  const { root, folder } = await opened(t)
  const bytes = randomBytes(9_000_001)
  const [shard, lost] = await Promise.all([0, 1].map((index) => folder.receive(VERSION, BLOB, index, bytes.length)))
  for (const writer of [shard, lost] as const) {
    assert.ok(writer !== undefined)
    for (let at = 0; at < bytes.length; at += 2_097_160) await writer.write(bytes.subarray(at, at + 2_097_160))
  }
  await lost?.abort()
  assert.equal(await read(folder, 0, bytes.length), undefined)
  await shard?.commit()
  assert.equal(Buffer.compare((await read(folder, 0, bytes.length)) as Uint8Array, bytes), 0)
  assert.deepEqual(await readdir(join(root, 'incoming')), [])
  assert.equal(folder.bytes, bytes.length)
})

test('shards of a version, and its manifest, may come at the same time', async (t) => {
  const { folder } = await opened(t)
  const writers = await Promise.all([0, 1, 2].map((index) => folder.receive(VERSION, BLOB, index)))
  await Promise.all(writers.map((writer) => writer.write(randomBytes(1_000))))
  await Promise.all([...writers.map((writer) => writer.commit()), folder.putManifest(VERSION, Buffer.from('manifest'))])
  assert.deepEqual((await folder.held(VERSION)).map(({ index }) => index).sort(), [0, 1, 2])
  assert.equal(Buffer.from((await folder.manifest(VERSION)) as Uint8Array).toString(), 'manifest')
})

test('what is given up, also on its last way to the disk, is not there and leaves nothing', async (t) => {
  const { root, folder } = await opened(t)
  const [before, within] = await Promise.all([folder.receive(VERSION, BLOB, 0), folder.receive(VERSION, BLOB, 1)])
  for (const writer of [before, within]) await writer.write(randomBytes(9_000_000))
  await before.abort()
  const committing = assert.rejects(within.commit())
  await within.abort()
  await committing
  assert.deepEqual(await folder.held(VERSION), [])
  assert.deepEqual(await readdir(join(root, 'incoming')), [])
  assert.equal(folder.bytes, 0)
})
