import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { installRelease } from './install-release.ts'
import {
  listFault,
  makeRelease,
  RELEASE_FILE,
  ReleaseInvalid,
  type ReleaseList,
  readHeader,
  unpackRelease,
  verifyFolder,
} from './release-archive.ts'
import { Slots } from './slots.ts'

const work = mkdtempSync(join(tmpdir(), 'ringwall-release-'))
after(() => rmSync(work, { recursive: true }))
const at = (name: string): string => join(work, name)
const { privateKey } = generateKeyPairSync('ed25519')
const other = generateKeyPairSync('ed25519').privateKey

function tree(): string {
  const root = at('tree')
  for (const folder of [
    'packages/cli/bin',
    'packages/ring/src',
    'node_modules/@ringwall',
    'node_modules/dep',
    'node_modules/unused',
  ])
    mkdirSync(join(root, folder), { recursive: true })
  const file = (path: string, text: string): void => writeFileSync(join(root, path), text)
  file('packages/cli/package.json', '{"name":"@ringwall/cli","dependencies":{"dep":"1.0.0","@ringwall/ring":"0.1.0"}}')
  file('packages/cli/bin/ringwall.mjs', '#!/usr/bin/env node\n')
  chmodSync(join(root, 'packages/cli/bin/ringwall.mjs'), 0o755)
  file('packages/ring/package.json', '{"name":"@ringwall/ring"}')
  file('packages/ring/src/state.ts', `export const state = '${'x'.repeat(5_000)}'\n`)
  file('packages/ring/src/state.test.ts', 'a test')
  file('node_modules/dep/package.json', '{"name":"dep"}')
  file('node_modules/dep/index.js', '')
  file('node_modules/unused/index.js', 'unused')
  symlinkSync('../../packages/ring', join(root, 'node_modules/@ringwall/ring'))
  symlinkSync('../../packages/cli', join(root, 'node_modules/@ringwall/cli'))
  return root
}

const root = tree()
const archive = at('good.release')
const made = await makeRelease(root, archive, { version: '0.2.0', key: privateKey, programs: ['ff'.repeat(32)] })

function fresh(): string {
  return mkdtempSync(join(work, 'slot-'))
}

test('a release is unpacked as it was packed: without tests and what nothing depends on, with links and what runs', async () => {
  const folder = fresh()
  assert.deepEqual((await readHeader(archive)).digest, made.digest)
  const { header } = await unpackRelease(archive, folder, made.digest)
  assert.equal(header.version, '0.2.0')
  assert.equal(header.programs.length, 2)
  assert.deepEqual(readdirSync(join(folder, 'node_modules')).sort(), ['@ringwall', 'dep'])
  assert.deepEqual(readdirSync(join(folder, 'packages/ring/src')), ['state.ts'])
  assert.equal(readlinkSync(join(folder, 'node_modules/@ringwall/ring')), '../../packages/ring')
  assert.equal(statSync(join(folder, 'packages/cli/bin/ringwall.mjs')).mode & 0o111, 0o111)
  assert.equal((await verifyFolder(folder)).digest, made.digest)
})

test('whatever byte of an archive is changed, or wherever it ends, it is refused', async () => {
  const bytes = readFileSync(archive)
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (where, change, cut) => {
      const changed = Buffer.from(bytes)
      changed.writeUInt8((changed.readUInt8(where) ^ change) & 0xff, where)
      const file = at('changed.release')
      writeFileSync(file, cut ? bytes.subarray(0, where) : changed)
      const folder = fresh()
      const error = await unpackRelease(file, folder, made.digest).then(
        () => verifyFolder(folder).then(({ digest }) => digest),
        (reason: unknown) => reason,
      )
      // Bytes of gzip's own header, such as its time, say nothing of the contents.
      assert.ok(error instanceof ReleaseInvalid || error === made.digest, String(error))
      if (cut) assert.ok(error instanceof ReleaseInvalid)
      rmSync(folder, { recursive: true })
    }),
    { numRuns: 60 },
  )
})

test('a release is refused that is another than the ring agreed on, or that another key signed', async () => {
  const file = at('other.release')
  const strange = await makeRelease(root, file, { version: '0.2.0', key: other })
  assert.notEqual(strange.digest, made.digest)
  await assert.rejects(unpackRelease(file, fresh(), made.digest), /is the release/)
  await assert.rejects(installRelease(file, at('folder'), made.key), /is signed by the key/)
  const [line, rest] = split(readFileSync(file))
  const forged = { ...JSON.parse(line.toString()), key: made.key }
  writeFileSync(file, Buffer.concat([Buffer.from(`${JSON.stringify(forged)}\n`), rest]))
  await assert.rejects(readHeader(file), /signature is not by the key/)
})

function split(bytes: Buffer): readonly [Buffer, Buffer] {
  const end = bytes.indexOf(0x0a)
  return [bytes.subarray(0, end), bytes.subarray(end + 1)]
}

const empty = createHash('sha256').digest('hex')
const file = (path: string): ReleaseList[number] => ({ path, bytes: 0, sha256: empty, run: false })
const LISTS: readonly (readonly [string, readonly ReleaseList[number][]])[] = [
  ['that leaves the folder', [file('../x')]],
  ['that is absolute', [file('/etc/x')]],
  ['with an empty part', [file('a//b')]],
  ['with a backslash', [file('a\\b')]],
  ['with a line break', [file('a\nb')]],
  ['that comes twice', [file('a'), file('a')]],
  ['out of order', [file('b'), file('a')]],
  ['below a file', [file('a'), file('a/b')]],
  ['below a link', [{ path: 'a', link: 'b' }, file('a/c')]],
  ['that is a link out of the folder', [{ path: 'a/b', link: '../../x' }]],
  ['that is a link to an absolute path', [{ path: 'a', link: '/etc/passwd' }]],
  ['of the list itself', [file(RELEASE_FILE)]],
]
for (const [what, list] of LISTS)
  test(`a list with a path ${what} is not unpacked`, () => {
    assert.ok(listFault([...list], list.length, 0))
  })

test('a file of a slot that is changed, gone or another link is found', async () => {
  const folder = fresh()
  await unpackRelease(archive, folder, made.digest)
  const path = join(folder, 'packages/ring/src/state.ts')
  const text = readFileSync(path)
  writeFileSync(path, 'changed')
  await assert.rejects(verifyFolder(folder), /state\.ts was changed/)
  rmSync(path)
  await assert.rejects(verifyFolder(folder), /state\.ts is gone/)
  writeFileSync(path, text)
  await verifyFolder(folder)
  const link = join(folder, 'node_modules/@ringwall/ring')
  rmSync(link)
  symlinkSync('../../packages/cli', link)
  await assert.rejects(verifyFolder(folder), /not the link/)
  await assert.rejects(verifyFolder(fresh()), /no whole release/)
})

test('an installation begins in slot a; what is cleared is never the one that is current', async () => {
  const folder = at('machine')
  await installRelease(archive, folder, made.key)
  const slots = new Slots(folder)
  assert.equal(slots.current(), 'a')
  assert.equal(await slots.clear(), 'b')
  await unpackRelease(archive, slots.path('b'), made.digest)
  await slots.point('b')
  assert.deepEqual([slots.current(), await slots.clear()], ['b', 'a'])
  await assert.rejects(installRelease(archive, folder, made.key), /has a release already/)
  await slots.setTrial({ version: '0.2.0', slot: 'a', attempt: 2 })
  assert.equal(new Slots(folder).trial()?.attempt, 2)
  writeFileSync(join(folder, 'trial.json'), '{"version":')
  assert.equal(slots.trial(), undefined)
})
