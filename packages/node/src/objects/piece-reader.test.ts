import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Manifest, ManifestPart } from '@ringwall/vault'
import { PieceReader, type ShardPlace } from './piece-reader.ts'
import type { ShardClient } from './shard-client.ts'
import type { ShardStore } from './shard-store.ts'
import { SlabPool } from './slabs.ts'

const SIZE = 1_000
const BYTES = (SIZE + 16) / 2

interface Scene {
  readonly reader: PieceReader
  readonly pieces: readonly Buffer[]
  readonly faults: readonly string[]
}

/** Two of four shards, of which peers `n0` to `n3` have one each and say so as `answer` has it. */
function sceneOf(
  places: readonly number[],
  more: readonly number[],
  answer: (index: number, piece: Buffer) => Promise<Buffer | undefined>,
): Scene {
  const pieces = Array.from({ length: 4 }, () => randomBytes(BYTES))
  const hashes = Buffer.concat(pieces.map((piece) => hash('sha256', piece, 'buffer'))).toString('base64url')
  const part: ManifestPart = { blob: '00'.repeat(8), hashes, size: SIZE }
  const placed = (list: readonly number[]): readonly ShardPlace[] => list.map((index) => ({ index, party: `n${index}` }))
  const faults: string[] = []
  const client: Pick<ShardClient, 'shard'> = {
    shard: async (_from, _version, _blob, index) => {
      const bytes = await answer(index, pieces[index] as Buffer)
      return bytes === undefined ? undefined : (Readable.from([bytes]) as IncomingMessage)
    },
  }
  const reader = new PieceReader({
    self: 'self',
    folder: {} as ShardStore,
    client: client as ShardClient,
    thread: { slabs: new SlabPool(), hash: async (bytes) => hash('sha256', bytes, 'buffer') },
    manifest: { version: '00'.repeat(16), data: 2, shards: 4, parts: [part] } as unknown as Manifest,
    part,
    from: 0,
    to: 1,
    places: placed(places),
    more: async () => placed(more),
    onFault: (party, _index, what) => faults.push(`${party} ${what}`),
  })
  return { reader, pieces, faults }
}

test('while one shard is on its way, and no other is to be had, the node goes on with other work, and then says that it is too few', async () => {
  const { reader } = sceneOf([2], [], async (_index, piece) => {
    await sleep(20)
    return piece
  })
  await assert.rejects(reader.pieces(0), { code: 'VAULT_SHORT', message: /^1 right/ })
})

test('who has none, or gives a wrong one, is named, and others are looked for until there are enough', async () => {
  const { reader, pieces, faults } = sceneOf([0, 1, 2], [3], async (index, piece) => {
    await sleep(5 * index)
    if (index === 0) return undefined
    return index === 1 ? randomBytes(BYTES) : piece
  })
  const found = await reader.pieces(0)
  assert.deepEqual(
    found.pieces.map((piece, index) => piece !== undefined && Buffer.compare(piece, pieces[index] as Buffer) === 0),
    [false, false, true, true],
  )
  assert.deepEqual(faults, ['n0 missing', 'n1 wrong'])
  found.release()
  reader.end()
})

test('when all fail it is said how many there were', async () => {
  const { reader } = sceneOf([0, 1], [2, 3], async (index) => {
    await sleep(5 * index)
    throw new Error('away')
  })
  await assert.rejects(reader.pieces(0), { code: 'VAULT_SHORT', message: /^0 right/ })
})
