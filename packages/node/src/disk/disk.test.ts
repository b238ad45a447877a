import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { makeDirectory, openLog, readFileSealed, StoreError, writeFileSealed } from '@ringwall/store'
import { Seal } from '../signing/sealed-file.ts'
import { type Disk, type DiskMode, openDisk } from './disk.ts'
import { diskFileOf, readDiskFile } from './disk-file.ts'
import { wrapKey } from './local-lock.ts'

const roots: string[] = []
after(() => {
  for (const root of roots) rmSync(root, { recursive: true, force: true })
})

function folder(): string {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-disk-'))
  roots.push(root)
  return root
}

const { privateKey } = generateKeyPairSync('ed25519')
const CONTEXT = 'ring n1'

interface Start {
  readonly mode?: DiskMode
  readonly passphrase?: string
  readonly key?: typeof privateKey
  readonly released?: Uint8Array
}

async function start(data: string, { mode = 'local', passphrase, key = privateKey, released }: Start = {}): Promise<Disk> {
  return openDisk({
    data,
    mode,
    local: { privateKey: key, passphrase, context: CONTEXT },
    release: async () => released ?? Promise.reject(new Error('the ring was asked')),
    log: () => {},
  })
}

const LOCKED = { code: 'DISK_LOCKED' }

/** A log, a whole file and a small one, as a node has them. */
async function write(data: string, disk: Disk, word: string): Promise<void> {
  const log = await openLog(join(data, 'vault', 'openings.log'), { seal: disk.seal })
  await log.append([Buffer.from(word)])
  await log.close()
  await writeFileSealed(join(data, 'logins.bin'), word, disk.seal)
  await makeDirectory(join(data, 'keys', 'sealing'))
  const seal = new Seal(privateKey, CONTEXT, disk.seal)
  await seal.write(join(data, 'keys', 'sealing', 'share.sealed'), 'sealing share', Buffer.from(word))
}

async function read(data: string, disk: Disk): Promise<string[]> {
  const words: string[] = []
  const onRecord = (bytes: Uint8Array): void => void words.push(Buffer.from(bytes).toString())
  await (await openLog(join(data, 'vault', 'openings.log'), { seal: disk.seal, onRecord })).close()
  words.push(Buffer.from((await readFileSealed(join(data, 'logins.bin'), disk.seal)) ?? []).toString())
  const seal = new Seal(privateKey, CONTEXT, disk.seal)
  words.push(Buffer.from((await seal.read(join(data, 'keys', 'sealing', 'share.sealed'), 'sealing share')) ?? []).toString())
  return words
}

const holds = (data: string, word: string): readonly string[] =>
  readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(word))
    .map(({ name }) => name)
    .sort()

test('a disk is sealed from its first start on, opens again with the key file, and with no other', async () => {
  const data = folder()
  const first = await start(data)
  assert.equal(first.lock, 'local')
  await write(data, first, 'canary-one')
  await first.settled()
  assert.deepEqual(holds(data, 'canary-one'), [])
  const again = await start(data)
  assert.deepEqual(await read(data, again), ['canary-one', 'canary-one', 'canary-one'])
  await assert.rejects(start(data, { key: generateKeyPairSync('ed25519').privateKey }), LOCKED)
})

test('with a passphrase it takes that, too; one that is set later seals everything anew', async () => {
  const data = folder()
  const before = await start(data)
  await write(data, before, 'canary-two')
  await before.settled()
  const set = await start(data, { passphrase: 'correct horse' })
  assert.equal(set.lock, 'passphrase')
  assert.deepEqual(await read(data, set), ['canary-two', 'canary-two', 'canary-two'])
  await set.settled()
  assert.equal(readDiskFile(data)?.earlier.length, 0)
  await assert.rejects(start(data), LOCKED)
  await assert.rejects(start(data, { passphrase: 'wrong' }), LOCKED)
  // The keys of before open nothing any more.
  await assert.rejects(openLog(join(data, 'vault', 'openings.log'), { seal: before.seal }), { code: 'STORE_SEALED' })
  const again = await start(data, { passphrase: 'correct horse' })
  assert.deepEqual(await read(data, again), ['canary-two', 'canary-two', 'canary-two'])
})

test('what lies in the clear is sealed at the next start, and never accepted after that', async () => {
  const data = folder()
  const off = await start(data, { mode: 'off' })
  assert.equal(off.lock, 'none')
  await write(data, off, 'canary-three')
  // The share is under the node's key file as ever: the search finds the others.
  assert.deepEqual(holds(data, 'canary-three'), ['logins.bin', 'openings.log'])
  writeFileSync(join(data, 'left.tmp'), 'canary-three')
  const share = readFileSync(join(data, 'keys', 'sealing', 'share.sealed'))
  const sealed = await start(data)
  assert.deepEqual(await read(data, sealed), ['canary-three', 'canary-three', 'canary-three'])
  await sealed.settled()
  assert.deepEqual(holds(data, 'canary-three'), [])
  const again = await start(data)
  writeFileSync(join(data, 'keys', 'sealing', 'share.sealed'), share)
  await assert.rejects(read(data, again), { code: 'KEY_INVALID' })
  writeFileSync(join(data, 'logins.bin'), 'canary-three')
  await assert.rejects(read(data, again), (error: unknown) => error instanceof StoreError && error.code === 'STORE_UNSEALED')
})

test('turned off, the disk is written in the clear again, and can be sealed again', async () => {
  const data = folder()
  const first = await start(data)
  await write(data, first, 'canary-four')
  await first.settled()
  const off = await start(data, { mode: 'off' })
  assert.deepEqual(await read(data, off), ['canary-four', 'canary-four', 'canary-four'])
  // A start that ends here leaves some in the clear and some not.
  const halfway = await start(data)
  assert.deepEqual(await read(data, halfway), ['canary-four', 'canary-four', 'canary-four'])
  await halfway.settled()
  const last = await start(data, { mode: 'off' })
  assert.deepEqual(await read(data, last), ['canary-four', 'canary-four', 'canary-four'])
  await last.settled()
  assert.equal(readDiskFile(data), undefined)
  assert.deepEqual(holds(data, 'canary-four'), ['logins.bin', 'openings.log'])
})

test('handed to the ring, nothing on this machine opens it; what was sealed before is sealed anew at the next start', async () => {
  const data = folder()
  const first = await start(data, { mode: 'ring' })
  await write(data, first, 'canary-five')
  await first.settled()
  const storageKey = randomBytes(32)
  await first.handToRing('capsule', wrapKey(randomBytes(32), storageKey, 'any'), storageKey)
  assert.equal(first.lock, 'ring')
  await write(data, first, 'canary-six')
  await assert.rejects(start(data, { mode: 'ring' }), /the ring was asked/)
  await assert.rejects(start(data, { mode: 'local' }), /the ring was asked/)
  const again = await start(data, { mode: 'ring', released: storageKey })
  assert.deepEqual(await read(data, again), ['canary-five', 'canary-six', 'canary-six', 'canary-six'])
  await again.settled()
  await assert.rejects(openLog(join(data, 'vault', 'openings.log'), { seal: first.seal }), { code: 'STORE_SEALED' })
  // And back.
  const local = await start(data, { mode: 'local', released: storageKey })
  assert.deepEqual(await read(data, local), ['canary-five', 'canary-six', 'canary-six', 'canary-six'])
  await local.settled()
  assert.deepEqual((await start(data)).lock, 'local')
})

test('a disk file that was changed or cut is refused with what to do', async () => {
  const data = folder()
  await (await start(data)).settled()
  const text = readFileSync(diskFileOf(data), 'utf8')
  for (const bad of ['', '{}', text.slice(0, -20), text.replace('"clear": false', '"clear": 1')]) {
    writeFileSync(diskFileOf(data), bad)
    await assert.rejects(start(data), LOCKED)
  }
})
