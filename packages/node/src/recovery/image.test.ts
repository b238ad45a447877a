import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type HeldByOperators, makeRecovery, OperatorParts, operatorPart } from '../disk/recovery.ts'
import { newestImages, restoreForDrill } from './drill.ts'
import { imageKey, readEnvelope, readImage, writeImage } from './image.ts'

const RING = 'ab'.repeat(32)
const folder = mkdtempSync(join(tmpdir(), 'ringwall-image-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const { privateKey } = generateKeyPairSync('ed25519')
const key = imageKey(privateKey, RING, 'n1')
const recovery = makeRecovery(3, 2)
const data = join(folder, 'n1')
const files = { config: join(data, 'node.yaml'), key: join(data, 'node.key'), genesis: join(folder, 'genesis.json'), data }
mkdirSync(join(data, 'ledger'), { recursive: true })
mkdirSync(join(data, 'traces'))
writeFileSync(files.config, 'id: n1\n')
writeFileSync(files.key, 'a canary: the key')
writeFileSync(files.genesis, '{}')
writeFileSync(join(data, 'ledger', 'blocks.log'), Buffer.alloc(2_500_000, 'block '))
writeFileSync(join(data, 'ledger', 'votes-0.log'), 'votes')
writeFileSync(join(data, 'traces', 'big'), 'left out')
writeFileSync(join(data, 'lock.1.abc'), '')

const target = join(folder, 'images')
let atMs = 1_800_000_000_000
const image = async () => writeImage(files, { ring: RING, node: 'n1', key }, recovery.key, target, (atMs += 1_000))
const restored = (file: string, by: Uint8Array = key): Map<string, string> =>
  new Map([...readImage(file, by)].map(({ path, chunks }) => [path, Buffer.concat([...chunks]).toString('latin1')]))

test('an image holds what a node needs, encrypted, and the next one writes what is new alone; both bring all of it back', async () => {
  const first = await image()
  const before = restored(first.file)
  assert.deepEqual([...before.keys()].sort(), [
    'data/ledger/blocks.log',
    'data/ledger/votes-0.log',
    'genesis.json',
    'node.key',
    'node.yaml',
  ])
  assert.equal(before.get('data/ledger/blocks.log'), readFileSync(join(data, 'ledger', 'blocks.log'), 'latin1'))
  appendFileSync(join(data, 'ledger', 'blocks.log'), 'one more')
  const second = await image()
  assert.ok(second.written < 1_048_577 && second.written > 0 && first.written > second.written, `${second.written}`)
  assert.equal((await image()).written, 0)
  assert.ok(restored(second.file).get('data/ledger/blocks.log')?.endsWith('one more'))
  assert.deepEqual(restored(first.file), before)
  for (const name of readdirSync(target, { recursive: true, encoding: 'utf8' }))
    if (!existsSync(join(target, name, '.')) && !readFileSync(join(target, name)).equals(Buffer.alloc(0)))
      assert.equal(readFileSync(join(target, name)).indexOf('a canary'), -1, name)
})

test('two of three operators open an image, one does not, and a part of another image or another key is refused', async () => {
  const { operators } = readEnvelope((await image()).file)
  const another = readEnvelope((await image()).file).operators
  const taken = new OperatorParts(operators)
  const give = (share: string | undefined, held: HeldByOperators = operators): boolean => {
    const part = operatorPart(share ?? '', held)
    return taken.take(part.index, part.partial)
  }
  assert.equal(give(recovery.shares[0], another), false, 'of another image')
  assert.ok(give(recovery.shares[0]))
  assert.equal(taken.storageKey(), undefined)
  assert.throws(() => give(makeRecovery(3, 2).shares[1]), { code: 'DISK_LOCKED' })
  assert.ok(give(recovery.shares[2]))
  assert.deepEqual(taken.storageKey(), key)
})

test('what was changed, is missing, or is of another key is told, by file and piece', async () => {
  const { file } = await image()
  const other = imageKey(generateKeyPairSync('ed25519').privateKey, RING, 'n1')
  assert.throws(() => restored(file, other), { code: 'BACKUP_INVALID' })
  const chunks = join(target, 'chunks')
  const [name] = [...readImage(file, key)].filter(({ path }) => path === 'node.key').length > 0 ? readdirSync(chunks) : []
  const held = readFileSync(join(chunks, name as string))
  const changed = Buffer.from(held)
  changed[0] = (changed[0] as number) ^ 1
  writeFileSync(join(chunks, name as string), changed)
  const all = (): void => {
    for (const one of readdirSync(target).filter((entry) => entry.startsWith('image-'))) restored(join(target, one))
  }
  assert.throws(all, /was changed/)
  unlinkSync(join(chunks, name as string))
  assert.throws(all, /is missing/)
  const envelope = readEnvelope(file)
  writeFileSync(join(target, 'renamed.json'), JSON.stringify({ ...envelope, node: 'n2' }))
  assert.throws(() => restored(join(target, 'renamed.json')), /list of files was changed/)
})

test('a drill takes the newest image of each node, tells what was changed without opening, and opens with shares that differ and are enough', async () => {
  const place = join(folder, 'drill')
  const first = await writeImage(files, { ring: RING, node: 'n1', key }, recovery.key, join(place, 'n1'), (atMs += 1_000))
  const second = await writeImage(files, { ring: RING, node: 'n1', key }, recovery.key, join(place, 'n1'), (atMs += 1_000))
  await writeImage(files, { ring: RING, node: 'n2', key }, recovery.key, join(place, 'n2'), atMs)
  const images = newestImages(place)
  assert.deepEqual(
    images.map(({ node, needed }) => [node, needed]),
    [
      ['n1', 2],
      ['n2', 2],
    ],
  )
  assert.equal(images[0]?.file, second.file)
  assert.equal(newestImages(join(place, 'n1')).length, 1)
  assert.throws(() => newestImages(join(folder, 'n1')), /holds no image/)
  const scratch = join(folder, 'scratch')
  mkdirSync(scratch)
  const [one] = recovery.shares as readonly [string]
  for (const shares of [[], [one], [one, one]])
    assert.throws(() => restoreForDrill(images[0] as (typeof images)[number], shares, scratch, 0), /1 more|2 more/)
  const envelope = readEnvelope(first.file)
  const capsule = envelope.operators.capsule.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'))
  const late = join(place, 'n2', 'image-later.json')
  writeFileSync(late, JSON.stringify({ ...envelope, atMs: atMs + 1, operators: { ...envelope.operators, capsule } }))
  assert.throws(() => newestImages(place), /sealed to the operators was changed/)
  writeFileSync(late, JSON.stringify({ ...envelope, node: 'n9', ring: 'cd'.repeat(32) }))
  assert.throws(() => newestImages(place), /of another ring/)
})
