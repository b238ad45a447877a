import assert from 'node:assert/strict'
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { accessKeyPublic, makeAccessKey } from './access-key.ts'
import { ErasureCode } from './erasure.ts'
import {
  BlobShape,
  blobKey,
  OBJECT_SEGMENT_BYTES,
  OBJECT_TAG_BYTES,
  openObjectSegment,
  sealObjectSegment,
} from './object-cipher.ts'
import { encodeManifest, type Manifest, PartHashes, parseManifest } from './object-manifest.ts'
import { placeShards } from './placement.ts'

const ABOUT = Buffer.from('about')
const corrupt = { code: 'VAULT_CORRUPT' }

/** The segment over two pieces, and how it is opened in a place. */
function sealed(key: Uint8Array, plain: Uint8Array, number = 3, isLast = true) {
  const sealedBytes = plain.length + OBJECT_TAG_BYTES
  const pieces = [0, 1].map(() => new Uint8Array(Math.ceil(sealedBytes / 2)).fill(255))
  sealObjectSegment(key, ABOUT, number, isLast, plain, pieces)
  return { pieces, sealedBytes }
}

test('a segment opens in its place of its blob of its version, and nowhere else; what is not right leaves nothing', () => {
  const objectKey = randomBytes(32)
  const [key, other] = [blobKey(objectKey, 'ab'.repeat(8)), blobKey(objectKey, 'cd'.repeat(8))]
  const plain = randomBytes(1_001)
  const { pieces, sealedBytes } = sealed(key, plain)
  const room = Buffer.alloc(plain.length)
  const open = (by: Uint8Array, about: Uint8Array, number: number, isLast: boolean, bytes = sealedBytes): void => {
    openObjectSegment(by, about, number, isLast, { pieces, sealedBytes: bytes }, room.subarray(0, Math.max(0, bytes - 16)))
  }
  open(key, ABOUT, 3, true)
  assert.ok(room.equals(plain))
  assert.equal(pieces[1]?.at(-1), 0, 'what is left is zeros')
  assert.throws(() => open(key, ABOUT, 2, true), corrupt)
  assert.ok(room.equals(Buffer.alloc(plain.length)))
  assert.throws(() => open(key, ABOUT, 3, false), corrupt)
  assert.throws(() => open(key, Buffer.from('other'), 3, true), corrupt)
  assert.throws(() => open(other, ABOUT, 3, true), corrupt)
  assert.throws(() => open(key, ABOUT, 3, true, 10), corrupt)
  assert.throws(() => open(key, ABOUT, 3, true, sealedBytes - 1), corrupt)
  assert.throws(() => open(key, ABOUT, 3, true, sealedBytes + 2), corrupt, 'more than there is')
})

test('a segment of any length, over pieces of shared memory, is what node:crypto makes of it at once, and opens', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 1, max: 7 }), (length, data) => {
      const [key, plain] = [randomBytes(32), randomBytes(length)]
      const pieceBytes = Math.ceil((length + OBJECT_TAG_BYTES) / data)
      const pieces = Array.from({ length: data }, () => new Uint8Array(new SharedArrayBuffer(pieceBytes)))
      sealObjectSegment(key, ABOUT, 0, true, plain, pieces)
      const nonce = Buffer.alloc(12)
      nonce[11] = 1
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(ABOUT)
      const expected = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
      assert.ok(Buffer.concat(pieces).subarray(0, expected.length).equals(expected))
      const room = new Uint8Array(new SharedArrayBuffer(length))
      openObjectSegment(key, ABOUT, 0, true, { pieces, sealedBytes: expected.length }, room)
      assert.ok(plain.equals(room))
    }),
    { numRuns: 60 },
  )
})

test('the pieces of any size of blob lie one after the other, and any that are enough bring each segment back', () => {
  const size = fc.integer({ min: 0, max: 3 * OBJECT_SEGMENT_BYTES + 5 })
  fc.assert(
    fc.property(size, fc.integer({ min: 1, max: 7 }), (bytes, data) => {
      const shape = new BlobShape(bytes, data)
      let [plain, at] = [0, 0]
      for (let number = 0; number < shape.segments; number += 1) {
        assert.equal(shape.pieceStart(number), at)
        at += shape.pieceBytes(number)
        plain += shape.plainBytes(number)
        assert.equal(new ErasureCode(data, data + 1).shardBytes(shape.sealedBytes(number)), shape.pieceBytes(number))
      }
      assert.deepEqual([plain, at], [bytes, shape.shardBytes])
    }),
    { numRuns: 200 },
  )
})

function manifestOf(sizes: readonly number[]): Manifest {
  const parts = sizes.map((size, at) => {
    const hashes = randomBytes(new BlobShape(size, 2).segments * 4 * 32).toString('base64url')
    return { blob: at.toString(16).padStart(16, '0'), hashes, size }
  })
  const names = { bucket: 'shop-a', key: 'ä/b', ring: 'ab'.repeat(32), version: 'cd'.repeat(16) }
  return { ...names, capsule: 'AAAA', ciphertext: 'AAAA', data: 2, headers: [['content-type', 'text/plain']], parts, shards: 4 }
}

test('a manifest is read as it was written; one that is cut off, or says too much or too little, is not', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20_000_000 }), { minLength: 1, maxLength: 5 }), (sizes) => {
      const manifest = manifestOf(sizes)
      assert.deepEqual(parseManifest(encodeManifest(manifest)), manifest)
    }),
    { numRuns: 50 },
  )
  const good = manifestOf([5])
  const [part] = good.parts
  for (const bad of [
    { ...good, more: 1 },
    { ...good, data: 4 },
    { ...good, parts: [] },
    { ...good, parts: [part, part] },
    { ...good, parts: [{ ...part, size: 5_000_000 }] },
    { ...good, key: '\n' },
    { ...good, headers: [['a', 'b\r\nc: d']] },
  ])
    assert.throws(() => parseManifest(encodeManifest(bad as Manifest)), { code: 'VAULT_MALFORMED' })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
      assert.throws(() => parseManifest(bytes), { code: 'VAULT_MALFORMED' }),
    ),
    { numRuns: 50 },
  )
})

test('a piece fits its own place in the hashes alone', () => {
  const pieces = Array.from({ length: 8 }, () => randomBytes(50))
  const hashes = Buffer.concat(pieces.map((piece) => createHash('sha256').update(piece).digest())).toString('base64url')
  const held = new PartHashes({ hashes }, 4)
  for (const [at, piece] of pieces.entries())
    for (let other = 0; other < 8; other += 1) assert.equal(held.fits(Math.floor(other / 4), other % 4, piece), other === at)
})

/** The product in the field of GCM (NIST SP 800-38D, section 6.3). */
function timesInField(x: bigint, y: bigint): bigint {
  let [product, shifted] = [0n, y]
  for (let bit = 127n; bit >= 0n; bit -= 1n) {
    if ((x >> bit) & 1n) product ^= shifted
    shifted = shifted & 1n ? (shifted >> 1n) ^ (0xe1n << 120n) : shifted >> 1n
  }
  return product
}

test('a node that once had the key of a version changes its piece so that the tag still holds: it is the hash that finds it', () => {
  const [key, plain] = [randomBytes(32), randomBytes(1_000)]
  const { pieces, sealedBytes } = sealed(key, plain)
  const hashes = Buffer.concat(pieces.map((piece) => createHash('sha256').update(piece).digest())).toString('base64url')
  const own = pieces[0] as Uint8Array
  const subkey = BigInt(`0x${createCipheriv('aes-256-ecb', key, null).update(Buffer.alloc(16)).toString('hex')}`)
  const change = (block: number, by: bigint): void => {
    const bytes = Buffer.from(by.toString(16).padStart(32, '0'), 'hex')
    for (let at = 0; at < 16; at += 1) own[block * 16 + at]! ^= bytes[at] as number
  }
  const by = BigInt(`0x${randomBytes(16).toString('hex')}`) | 1n
  change(4, by)
  change(5, timesInField(by, subkey))
  const room = Buffer.alloc(plain.length)
  openObjectSegment(key, ABOUT, 3, true, { pieces, sealedBytes }, room)
  assert.ok(!room.equals(plain), 'another content, and the tag is right')
  const held = new PartHashes({ hashes }, 2)
  assert.deepEqual(
    pieces.map((piece, index) => held.fits(0, index, piece)),
    [false, true],
  )
})

test('shards are on nodes of their own, spread over regions; what lies outside a bucket’s regions is not enough to have it', () => {
  const node = fc.record({ id: fc.string({ minLength: 1, maxLength: 6 }), region: fc.constantFrom('eu', 'us', 'ap') })
  const nodes = fc.uniqueArray(node, { maxLength: 12, selector: ({ id }) => id })
  fc.assert(
    fc.property(nodes, fc.integer({ min: 2, max: 8 }), fc.nat(), fc.boolean(), (all, shards, seed, isBound) => {
      const data = 1 + (seed % (shards - 1))
      const layout = { data, shards, residency: isBound ? ['eu'] : [] }
      const placed = placeShards(`${seed}`, layout, all)
      const held = placed.filter((id) => id !== undefined)
      assert.equal(new Set(held).size, held.length)
      assert.deepEqual(placeShards(`${seed}`, layout, all.toReversed()), placed, 'in whatever order the nodes are named')
      const regionOf = (id: string | undefined): string | undefined => all.find((one) => one.id === id)?.region
      for (const [index, id] of placed.entries())
        if (isBound && id !== undefined && regionOf(id) !== 'eu') assert.ok(index < data - 1)
      if (isBound || all.length < shards) return
      assert.equal(held.length, shards)
      const counts = ['eu', 'us', 'ap'].map(
        (region) =>
          [held.filter((id) => regionOf(id) === region).length, all.filter((one) => one.region === region).length] as const,
      )
      const least = Math.min(...counts.filter(([used, there]) => used < there).map(([used]) => used))
      for (const [used] of counts) assert.ok(used <= least + 1, 'a region is full, or has as many as the others')
    }),
    { numRuns: 300 },
  )
})

test('an access key is one of its own every time, and its public key follows from its secret', () => {
  const [one, two] = [makeAccessKey(), makeAccessKey()]
  assert.match(one.id, /^RW[A-Z2-7]{18}$/)
  assert.notEqual(one.secret, two.secret)
  assert.equal(accessKeyPublic(one.secret), accessKeyPublic(one.secret))
  assert.notEqual(accessKeyPublic(one.secret), accessKeyPublic(two.secret))
})
