/**
 * What a version of an object is made of: its capsule, how its blobs are cut, and the hash of every piece of every shard. It lies with each node
 * that has a shard; the ledger has its hash, and that of the capsule apart, so that holders of the sealing key need the capsule alone.
 *
 * Hash over manifest over pieces: a Merkle tree of two levels, of which every reader has the upper one.
 */
import { hash } from 'node:crypto'
import { BUCKET_NAME, canonicalJson, fieldReaders, isObjectKey, OBJECT_BYTES_MAX, OBJECT_SHARDS_MAX } from '@ringwall/ring'
import { VaultError } from './errors.ts'
import { BlobShape } from './object-cipher.ts'

export const MANIFEST_BYTES_MAX = 8_388_608
export const OBJECT_PARTS_MAX = 10_000
/** Of what a client says about its object, names and values. */
export const OBJECT_HEADERS_BYTES_MAX = 8_192
const HEADERS_MAX = 64
const FORMAT = 'ringwall/object/1'
const HASH_BYTES = 32
const BLOB = /^[0-9a-f]{16}$/
const VERSION = /^[0-9a-f]{32}$/
const CAPSULE_BYTES_MAX = 2_048

export interface ManifestPart {
  /** 16 hex digits. */
  readonly blob: string
  /** SHA-256 of each piece, segment after segment and in it shard after shard, base64url. */
  readonly hashes: string
  /** Of plaintext. */
  readonly size: number
}

export interface Manifest {
  readonly bucket: string
  /** Base64url. */
  readonly capsule: string
  /** The object's key, sealed under that of the capsule, base64url. */
  readonly ciphertext: string
  /** Shards that are enough. */
  readonly data: number
  /** Content type and the like, as they are handed back; in order of their names, lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly key: string
  readonly parts: readonly ManifestPart[]
  readonly ring: string
  readonly shards: number
  readonly version: string
}

export const sha256Hex = (bytes: Uint8Array): string => hash('sha256', bytes, 'hex')

export function encodeManifest(manifest: Manifest): Buffer {
  return Buffer.from(canonicalJson({ ...manifest, format: FORMAT }))
}

function fail(where: string, expected: string): never {
  throw new VaultError('VAULT_MALFORMED', `the manifest’s ${where} must be ${expected}`)
}

const { record, whole, text, bytes } = fieldReaders(fail)

/** @throws {VaultError} VAULT_MALFORMED. That it is the right one is for its hash to say. */
export function parseManifest(encoded: Uint8Array): Manifest {
  if (encoded.length > MANIFEST_BYTES_MAX) fail('bytes', `at most ${MANIFEST_BYTES_MAX}`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(encoded))
  } catch {
    return fail('bytes', 'JSON in UTF-8')
  }
  const names = ['bucket', 'capsule', 'ciphertext', 'data', 'format', 'headers', 'key', 'parts', 'ring', 'shards', 'version']
  const fields = record(value, 'value', names)
  if (fields.format !== FORMAT) fail('format', FORMAT)
  const { headers, key, parts } = fields
  if (typeof key !== 'string' || !isObjectKey(key)) return fail('key', 'the key of an object')
  const shards = whole(fields.shards, 'shards', 2, OBJECT_SHARDS_MAX)
  const data = whole(fields.data, 'data', 1, shards - 1)
  if (!Array.isArray(headers) || headers.length > HEADERS_MAX) return fail('headers', `a list of at most ${HEADERS_MAX}`)
  const said = headers.map((one: unknown): readonly [string, string] => {
    const [name, held] = Array.isArray(one) && one.length === 2 ? (one as unknown[]) : [undefined, undefined]
    if (typeof name !== 'string' || typeof held !== 'string' || !isHeader(name, held)) return fail('headers', 'names and values')
    return [name, held]
  })
  if (said.reduce((sum, [name, held]) => sum + name.length + held.length, 0) > OBJECT_HEADERS_BYTES_MAX)
    fail('headers', `at most ${OBJECT_HEADERS_BYTES_MAX} bytes`)
  if (!Array.isArray(parts) || parts.length === 0 || parts.length > OBJECT_PARTS_MAX)
    return fail('parts', `a list of 1 to ${OBJECT_PARTS_MAX}`)
  const manifest: Manifest = {
    bucket: text(fields.bucket, 'bucket', BUCKET_NAME, 'the name of a bucket'),
    capsule: bytes(fields.capsule, 'capsule', 1, CAPSULE_BYTES_MAX),
    ciphertext: bytes(fields.ciphertext, 'ciphertext', 1, 128),
    data,
    headers: said,
    key,
    parts: parts.map((one: unknown, at) => parsePart(one, `parts[${at}]`, data, shards)),
    ring: text(fields.ring, 'ring', /^[0-9a-f]{64}$/, '64 hex digits'),
    shards,
    version: text(fields.version, 'version', VERSION, '32 hex digits'),
  }
  if (manifest.parts.reduce((sum, { size }) => sum + size, 0) > OBJECT_BYTES_MAX)
    fail('parts', `${OBJECT_BYTES_MAX} bytes at most`)
  if (new Set(manifest.parts.map(({ blob }) => blob)).size !== manifest.parts.length) fail('parts', 'blobs that differ')
  return manifest
}

/** What may go into an HTTP head. */
export function isHeader(name: string, value: string): boolean {
  return /^[a-z0-9-]{1,128}$/.test(name) && /^[\t\x20-\x7e\x80-\xff]{0,4096}$/.test(value)
}

function parsePart(value: unknown, where: string, data: number, shards: number): ManifestPart {
  const fields = record(value, where, ['blob', 'hashes', 'size'])
  const size = whole(fields.size, `${where}.size`, 0, OBJECT_BYTES_MAX)
  const length = new BlobShape(size, data).segments * shards * HASH_BYTES
  const { hashes } = fields
  if (typeof hashes !== 'string' || hashes.length !== Math.ceil((length * 4) / 3) || !/^[A-Za-z0-9_-]*$/.test(hashes))
    return fail(`${where}.hashes`, `${length} bytes in base64url`)
  return { blob: text(fields.blob, `${where}.blob`, BLOB, '16 hex digits'), hashes, size }
}

/** Looks up hashes of one part. */
export class PartHashes {
  readonly #bytes: Buffer
  readonly #shards: number

  constructor({ hashes }: Pick<ManifestPart, 'hashes'>, shards: number) {
    this.#bytes = Buffer.from(hashes, 'base64url')
    this.#shards = shards
  }

  /** Is this what shard `index` has of segment `number`? */
  fits(number: number, index: number, piece: Uint8Array): boolean {
    return this.isHash(number, index, hash('sha256', piece, 'buffer'))
  }

  /** @param hashed SHA-256 of the piece, for who had it made elsewhere. */
  isHash(number: number, index: number, hashed: Uint8Array): boolean {
    const at = (number * this.#shards + index) * HASH_BYTES
    return this.#bytes.subarray(at, at + HASH_BYTES).equals(hashed)
  }
}

/** As the ledger has it: `bodyDigest`, hex. */
export function capsuleHash({ capsule, ciphertext }: Pick<Manifest, 'capsule' | 'ciphertext'>): string {
  return sha256Hex(Buffer.from(`${capsule} ${ciphertext}`))
}
