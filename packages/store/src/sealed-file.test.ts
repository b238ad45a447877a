import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { DiskSeal } from './disk-seal.ts'
import { StoreError } from './errors.ts'
import { openSealedBytes, readFileSealed, readPieceSealed, sealBytes, sealParts, writeFileSealed } from './sealed-file.ts'

let root = ''
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ringwall-sealed-file-'))
})
after(() => rm(root, { recursive: true }))

const secret = randomBytes(32)
const sealOf = (current: Uint8Array | undefined = secret, acceptsPlain = false): DiskSeal =>
  new DiskSeal({ root, current, acceptsPlain })
const isCode = (code: string) => (error: unknown) => error instanceof StoreError && error.code === code
const SEGMENT = 65_536
const sizes = fc.constantFrom(0, 1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 77)

test('property: what is sealed in any parts is read back, as a whole and piece by piece', async () => {
  const path = join(root, 'file.bin')
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1, max: 50_000 }), fc.nat(), fc.nat(), async (size, step, from, count) => {
      const plain = randomBytes(size)
      const parts: Uint8Array[] = []
      for (let at = 0; at < size; at += step) parts.push(plain.subarray(at, at + step))
      const sealed: Uint8Array[] = []
      for await (const part of sealParts(sealOf(), path, parts)) sealed.push(part)
      await writeFile(path, Buffer.concat(sealed))
      assert.ok(plain.equals((await readFileSealed(path, sealOf())) as Buffer))
      assert.ok(plain.equals(openSealedBytes(sealOf(), path, sealBytes(sealOf(), path, plain))))
      const offset = from % (size + 1)
      const length = count % (size + 100)
      const piece = await readPieceSealed(path, sealOf(), offset, length)
      assert.ok(plain.subarray(offset, offset + length).equals(Buffer.from(piece)))
    }),
    { numRuns: 25 },
  )
})

test('a file that was cut, extended, reordered, flipped or renamed is refused', async () => {
  const path = join(root, 'cut.bin')
  const plain = randomBytes(2 * SEGMENT + 10)
  await writeFileSealed(path, plain, sealOf())
  const whole = await readFile(path)
  const head = 73
  const piece = SEGMENT + 16
  const forged = {
    'cut at a segment': whole.subarray(0, head + 2 * piece),
    'cut in a segment': whole.subarray(0, head + piece + 9),
    'cut to its header': whole.subarray(0, head),
    'cut in its header': whole.subarray(0, 40),
    extended: Buffer.concat([whole, whole.subarray(-26)]),
    reordered: Buffer.concat([
      whole.subarray(0, head),
      whole.subarray(head + piece, head + 2 * piece),
      whole.subarray(head, head + piece),
      whole.subarray(head + 2 * piece),
    ]),
    flipped: Buffer.from(whole.map((byte, i) => (i === head + 70_000 ? byte ^ 1 : byte))),
    'of another salt': Buffer.from(whole.map((byte, i) => (i === 30 ? byte ^ 1 : byte))),
  }
  for (const [what, bytes] of Object.entries(forged)) {
    await writeFile(path, bytes)
    await assert.rejects(readFileSealed(path, sealOf()), isCode('STORE_CORRUPT'), what)
  }
  await writeFile(join(root, 'other.bin'), whole)
  await assert.rejects(readFileSealed(join(root, 'other.bin'), sealOf()), isCode('STORE_CORRUPT'))
})

test('it takes the key; what is in the clear is only taken where it is expected', async () => {
  const path = join(root, 'keys.bin')
  await writeFileSealed(path, 'canary', sealOf())
  assert.equal((await readFile(path)).includes('canary'), false)
  await assert.rejects(readFileSealed(path, undefined), isCode('STORE_SEALED'))
  await assert.rejects(readFileSealed(path, sealOf(randomBytes(32))), isCode('STORE_SEALED'))
  await writeFile(path, 'in the clear')
  await assert.rejects(readFileSealed(path, sealOf()), isCode('STORE_UNSEALED'))
  await assert.rejects(readPieceSealed(path, sealOf(), 0, 4), isCode('STORE_UNSEALED'))
  assert.equal(Buffer.from((await readFileSealed(path, sealOf(secret, true))) as Uint8Array).toString(), 'in the clear')
  assert.equal(Buffer.from((await readFileSealed(path, undefined)) as Uint8Array).toString(), 'in the clear')
  assert.equal(await readFileSealed(join(root, 'none'), sealOf()), undefined)
  await assert.rejects(readFileSealed(path, undefined, 3), isCode('STORE_TOO_LARGE'))
})

test('the same content is never sealed to the same bytes', () => {
  const path = join(root, 'same.bin')
  const [a, b] = [sealBytes(sealOf(), path, Buffer.from('x')), sealBytes(sealOf(), path, Buffer.from('x'))]
  assert.notDeepEqual(a.slice(25, 57), b.slice(25, 57))
  assert.notDeepEqual(a.slice(73), b.slice(73))
})
