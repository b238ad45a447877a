import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Healer } from './healer.ts'
import type { ObjectService } from './object-service.ts'
import type { ObjectThread } from './object-thread.ts'
import type { ShardClient } from './shard-client.ts'
import { ShardFolder } from './shard-folder.ts'

const VERSION = 'ab'.repeat(16)
const RESIDUE_MS = 180_000

test('what the ring does not know is removed when it is old by the time of blocks, not by the clock: a put may come with a block that waited', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'ringwall-healer-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  const folder = await ShardFolder.open(root, undefined, 1e9)
  const writer = await folder.receive(VERSION, 'cd'.repeat(8), 0)
  await writer.write(randomBytes(1_000))
  await writer.commit()
  const putMs = 1_800_000_000_000
  await utimes(join(root, 'versions', VERSION.slice(0, 2), VERSION), putMs / 1_000, putMs / 1_000)
  assert.equal(await folder.touchedAtMs(VERSION), putMs)

  let [nowMs, agreedAtMs] = [putMs, putMs]
  const said: string[] = []
  const healer = new Healer({
    self: 'n1',
    settings: { everyMs: 1_000, scrubMs: 1e9, scrubBytesPerSecond: 1e9, repairBytesPerSecond: 1e9, residueMs: RESIDUE_MS },
    folder,
    client: {} as ShardClient,
    thread: {} as ObjectThread,
    service: { state: { objects: { versions: () => [], version: () => undefined } } } as unknown as ObjectService,
    look: async () => {},
    isCurrent: () => true,
    agreedAtMs: () => agreedAtMs,
    say: (_level, line) => said.push(line),
    now: () => nowMs,
  })
  // A minute without a quorum, and far more by a clock that jumped.
  ;[nowMs, agreedAtMs] = [putMs + 100 * RESIDUE_MS, putMs + 60_000]
  await healer.pass()
  assert.equal((await folder.held(VERSION)).length, 1)
  ;[nowMs, agreedAtMs] = [putMs + 60_000, putMs + 100 * RESIDUE_MS]
  await healer.pass()
  assert.equal((await folder.held(VERSION)).length, 1, 'nor by blocks from the future')
  ;[nowMs, agreedAtMs] = [putMs + RESIDUE_MS, putMs + RESIDUE_MS]
  await healer.pass()
  assert.equal((await folder.held(VERSION)).length, 0)
  assert.match(said.join('\n'), /removed what was left of abab/)
})
