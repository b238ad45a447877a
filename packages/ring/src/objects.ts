/**
 * Objects as the ledger holds them: buckets, of each object its versions, and the access keys that clients have. Immutable.
 *
 * What an object holds is not here, nor what opens it: a version has the hashes of its manifest and of its capsule, which lie with the nodes
 * that hold its shards. A version that is gone from here is opened by no honest holder of the sealing key, and every node erases its capsule.
 */
import { MerkleTrie } from './merkle-trie.ts'
import { portableSha256, type Sha256 } from './tx.ts'

export const BUCKETS_MAX = 1_000
/** Of all objects together. */
export const OBJECT_VERSIONS_MAX = 100_000
/** Of one object. */
export const VERSIONS_OF_OBJECT_MAX = 1_000
export const ACCESS_KEYS_MAX = 1_000

export interface Bucket {
  readonly name: string
  /** `operator:NAME` or `service:NAME`. */
  readonly by: string
  readonly atMs: number
  /** Shards that are enough, and all. */
  readonly data: number
  readonly shards: number
  /** What is put is acknowledged when so many nodes, in so many regions, have it on disk. */
  readonly durableNodes: number
  readonly durableRegions: number
  /** In order; empty: anywhere. */
  readonly residency: readonly string[]
  readonly versioning: 'off' | 'on' | 'suspended'
  /** How long every version is kept at least; 0: it may be deleted. */
  readonly retainMs: number
  /** Versions in it can be locked; it stays so, and keeps versions. Absent: they cannot. */
  readonly locks?: true
  /** Of versions in it, markers too. */
  readonly held: number
}

export interface ObjectVersion {
  /** 32 hex digits, random: of no other version of any object. */
  readonly id: string
  readonly atMs: number
  readonly by: string
  /** Of plaintext, bytes. */
  readonly size: number
  readonly etag: string
  /** SHA-256, hex; empty of a marker. */
  readonly manifest: string
  /** SHA-256 of the capsule, hex; empty of a marker. */
  readonly capsule: string
  /** It says that the object is deleted. */
  readonly marker: boolean
  /** Put while the bucket kept no versions: the next such takes its place. */
  readonly plain: boolean
  /** Unix milliseconds; 0: not at all. */
  readonly retainUntilMs: number
  /** Kept until somebody says otherwise. */
  readonly hold: boolean
}

export interface ObjectEntry {
  readonly bucket: string
  readonly key: string
  /** Oldest first. */
  readonly versions: readonly ObjectVersion[]
}

/** What a client signs with: its secret is known to who made it, and sealed to the ring for the nodes that check its signatures. */
export interface AccessKey {
  readonly id: string
  /** `operator:NAME` or `service:NAME`: whose rights it has. */
  readonly identity: string
  /** Ed25519, derived from the secret, base64url. */
  readonly publicKey: string
  /** Base64url. */
  readonly capsule: string
  readonly ciphertext: string
  readonly by: string
  readonly atMs: number
}

export interface ObjectsContents {
  readonly buckets: readonly Bucket[]
  readonly objects: readonly ObjectEntry[]
  readonly accessKeys: readonly AccessKey[]
}

interface Parts {
  readonly buckets: MerkleTrie<Bucket>
  readonly objects: MerkleTrie<ObjectEntry>
  readonly accessKeys: MerkleTrie<AccessKey>
  /** Where each version is; follows from the rest. */
  readonly byId: MerkleTrie<readonly [bucket: string, key: string]>
}

const keyOf = (name: string): string => portableSha256(new TextEncoder().encode(name))
const objectKey = (bucket: string, key: string): string => keyOf(`${bucket}/${key}`)
const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export class VaultObjects {
  static readonly empty: VaultObjects = new VaultObjects({
    buckets: MerkleTrie.empty(),
    objects: MerkleTrie.empty(),
    accessKeys: MerkleTrie.empty(),
    byId: MerkleTrie.empty(),
  })
  readonly #parts: Parts
  #lists: Map<string, readonly ObjectEntry[]> | undefined

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  /** From contents that are known to be well formed. */
  static from({ buckets, objects, accessKeys }: ObjectsContents): VaultObjects {
    return new VaultObjects({
      buckets: MerkleTrie.from(buckets.map((one) => [keyOf(one.name), one])),
      objects: MerkleTrie.from(objects.map((one) => [objectKey(one.bucket, one.key), one])),
      accessKeys: MerkleTrie.from(accessKeys.map((one) => [keyOf(one.id), one])),
      byId: MerkleTrie.from(
        objects.flatMap(({ bucket, key, versions }) => versions.map(({ id }) => [id, [bucket, key] as const] as const)),
      ),
    })
  }

  get isEmpty(): boolean {
    const { buckets, accessKeys } = this.#parts
    return buckets.size === 0 && accessKeys.size === 0
  }

  /** Of versions, markers too. */
  get size(): number {
    return this.#parts.byId.size
  }

  get bucketCount(): number {
    return this.#parts.buckets.size
  }

  get accessKeyCount(): number {
    return this.#parts.accessKeys.size
  }

  bucket(name: string): Bucket | undefined {
    return this.#parts.buckets.get(keyOf(name))
  }

  buckets(): readonly Bucket[] {
    return [...this.#parts.buckets.entries()].map(([, one]) => one).sort((a, b) => byName(a.name, b.name))
  }

  object(bucket: string, key: string): ObjectEntry | undefined {
    return this.#parts.objects.get(objectKey(bucket, key))
  }

  /** A version by its id alone; undefined when it is none, or gone. */
  version(id: string): { readonly bucket: Bucket; readonly key: string; readonly version: ObjectVersion } | undefined {
    const at = this.#parts.byId.get(id)
    if (at === undefined) return undefined
    const bucket = this.bucket(at[0])
    const version = this.object(at[0], at[1])?.versions.find((one) => one.id === id)
    return bucket === undefined || version === undefined ? undefined : { bucket, key: at[1], version }
  }

  /** Ids of all versions that have shards. */
  *versions(): Generator<{ readonly bucket: string; readonly key: string; readonly version: ObjectVersion }> {
    for (const [, { bucket, key, versions }] of this.#parts.objects.entries())
      for (const version of versions) if (!version.marker) yield { bucket, key, version }
  }

  /** Of one bucket, in the order of their keys (UTF-8), as S3 lists them. Sorted once a state. */
  list(bucket: string): readonly ObjectEntry[] {
    this.#lists ??= new Map()
    let list = this.#lists.get(bucket)
    if (list === undefined) {
      const found: { readonly bytes: Uint8Array; readonly entry: ObjectEntry }[] = []
      for (const [, entry] of this.#parts.objects.entries())
        if (entry.bucket === bucket) found.push({ bytes: new TextEncoder().encode(entry.key), entry })
      list = found.sort((a, b) => compareBytes(a.bytes, b.bytes)).map(({ entry }) => entry)
      this.#lists.set(bucket, list)
    }
    return list
  }

  accessKey(id: string): AccessKey | undefined {
    return this.#parts.accessKeys.get(keyOf(id))
  }

  accessKeys(): readonly AccessKey[] {
    return [...this.#parts.accessKeys.entries()].map(([, one]) => one).sort((a, b) => byName(a.id, b.id))
  }

  withBucket(bucket: Bucket): VaultObjects {
    return this.#with({ buckets: this.#parts.buckets.set(keyOf(bucket.name), bucket) })
  }

  withoutBucket(name: string): VaultObjects {
    return this.#with({ buckets: this.#parts.buckets.delete(keyOf(name)) })
  }

  withAccessKey(key: AccessKey): VaultObjects {
    return this.#with({ accessKeys: this.#parts.accessKeys.set(keyOf(key.id), key) })
  }

  withoutAccessKey(id: string): VaultObjects {
    return this.#with({ accessKeys: this.#parts.accessKeys.delete(keyOf(id)) })
  }

  /** The versions of an object from now on; without any it is gone. */
  withVersions(bucket: string, key: string, versions: readonly ObjectVersion[]): VaultObjects {
    const before = this.object(bucket, key)?.versions ?? []
    let { objects, byId, buckets } = this.#parts
    for (const { id } of before) if (!versions.some((one) => one.id === id)) byId = byId.delete(id)
    for (const { id } of versions) if (!before.some((one) => one.id === id)) byId = byId.set(id, [bucket, key])
    const at = objectKey(bucket, key)
    objects = versions.length === 0 ? objects.delete(at) : objects.set(at, { bucket, key, versions })
    const holder = this.bucket(bucket)
    if (holder !== undefined && versions.length !== before.length)
      buckets = buckets.set(keyOf(bucket), { ...holder, held: holder.held + versions.length - before.length })
    return this.#with({ objects, byId, buckets })
  }

  root(hash?: Sha256): { readonly accessKeys: string; readonly buckets: string; readonly objects: string } {
    const { accessKeys, buckets, objects } = this.#parts
    return { accessKeys: accessKeys.root(hash), buckets: buckets.root(hash), objects: objects.root(hash) }
  }

  /** Buckets and keys in the order of their names, objects in that of the trie. */
  contents(): ObjectsContents {
    return {
      buckets: this.buckets(),
      objects: [...this.#parts.objects.entries()].map(([, one]) => one),
      accessKeys: this.accessKeys(),
    }
  }

  #with(changed: Partial<Parts>): VaultObjects {
    return new VaultObjects({ ...this.#parts, ...changed })
  }
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const difference = (a[at] as number) - (b[at] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
