import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { DirectFile, DirectRuns, RUN_BYTES } from './direct-file.ts'
import type { Slab } from './slabs.ts'

async function folderOf(t: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'ringwall-direct-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  return root
}

/** Writes pieces; those that are marked lie in a run, as those of peers do. */
async function written(path: string, pieces: readonly { bytes: Buffer; inRun: boolean }[], runs: DirectRuns): Promise<Buffer> {
  const plain = await open(path, 'w+')
  const file = await DirectFile.open(path, plain, runs)
  if (file === undefined) {
    await plain.close()
    return Buffer.concat(pieces.map(({ bytes }) => bytes))
  }
  for (const { bytes, inRun } of pieces) {
    const run = inRun ? runs.take() : undefined
    run?.bytes.set(bytes)
    const own = new Uint8Array(bytes)
    await file.write(run?.bytes.subarray(0, bytes.length) ?? own)
    // Whoever writes uses the memory again.
    ;(run?.bytes ?? own).fill(0)
    run?.release()
  }
  await file.end()
  await file.close()
  await plain.close()
  return readFile(path)
}

test('property: pieces of any lengths, of runs and of other memory, are in the file as they came', async (t) => {
  const root = await folderOf(t)
  const runs = new DirectRuns()
  const lengths = fc.oneof(
    fc.constantFrom(RUN_BYTES, RUN_BYTES, 8_192, 4_096, RUN_BYTES - 1),
    fc.integer({ min: 0, max: RUN_BYTES }),
  )
  const piece = fc.record({ length: lengths, inRun: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (list) => {
      const pieces = list.map(({ length, inRun }) => ({ bytes: randomBytes(length), inRun }))
      const seen = await written(join(root, 'shard'), pieces, runs)
      assert.ok(seen.equals(Buffer.concat(pieces.map(({ bytes }) => bytes))))
    }),
    { numRuns: 25 },
  )
  runs.clear()
})

test('only the last bytes go through the cache, where memory and place of the others are whole blocks', async (t) => {
  const path = join(await folderOf(t), 'shard')
  const runs = new DirectRuns()
  const plain = await open(path, 'w+')
  const file = await DirectFile.open(path, plain, runs)
  if (file === undefined) return t.skip('this file system does not write past the cache')
  const bytes = randomBytes(3 * RUN_BYTES + 5_000)
  await file.write(bytes)
  assert.equal(file.cachedBytes, 0)
  await file.end()
  assert.equal(file.cachedBytes, 5_000 - 4_096)
  await file.close()
  await plain.close()
  assert.ok((await readFile(path)).equals(bytes))
})

test('where no runs are left, or memory is none of them, a file is written all the same', async (t) => {
  const root = await folderOf(t)
  const runs = new DirectRuns()
  const taken: Slab[] = []
  for (let run = runs.take(); run !== undefined; run = runs.take()) taken.push(run)
  assert.equal(taken.length, 64)
  const pieces = [3_000_001, 5].map((length) => ({ bytes: randomBytes(length), inRun: false }))
  const seen = await written(join(root, 'shard'), pieces, runs)
  assert.ok(seen.equals(Buffer.concat(pieces.map(({ bytes }) => bytes))))
  for (const run of taken) run.release()
})

test('a run is whole blocks, used again once it was given back, and kept while somebody has another', () => {
  const runs = new DirectRuns()
  const [first, second] = [runs.take() as Slab, runs.take() as Slab]
  assert.equal(first.bytes.length, RUN_BYTES)
  assert.ok(runs.isAligned(first.bytes) && runs.isAligned(second.bytes))
  assert.ok(!runs.isAligned(first.bytes.subarray(1)) && !runs.isAligned(first.bytes.subarray(0, 10)))
  assert.ok(!runs.isAligned(new Uint8Array(new SharedArrayBuffer(RUN_BYTES))))
  second.bytes[0] = 7
  first.release()
  first.release()
  runs.clear()
  const [third, fourth] = [runs.take() as Slab, runs.take() as Slab]
  assert.equal(third.bytes, first.bytes)
  assert.notEqual(fourth.bytes, first.bytes)
  assert.equal(second.bytes[0], 7)
})

test('a file that fails says so to whoever writes next, and gives its memory back', async (t) => {
  const root = await folderOf(t)
  const runs = new DirectRuns()
  const plain = await open(join(root, 'shard'), 'w+')
  const file = await DirectFile.open(join(root, 'shard'), plain, runs)
  if (file === undefined) return t.skip('this file system does not write past the cache')
  await plain.close()
  await assert.rejects(async () => {
    await file.write(randomBytes(100))
    await file.end()
  }, /closed|EBADF/)
  await file.close()
  const again = Array.from({ length: 64 }, () => runs.take())
  assert.ok(again.every((run) => run !== undefined))
})
