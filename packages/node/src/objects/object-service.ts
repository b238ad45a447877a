/**
 * Objects, for whoever has an access key: put, read, deleted through any node. Content streams through in segments; who may do what the validators
 * see to, and of reading the holders of the sealing key, each for itself.
 */
import { randomBytes, sign } from 'node:crypto'
import type { Fabric } from '@ringwall/fabric'
import { spiffeId } from '@ringwall/identity'
import {
  type AccessKey,
  accessKeyName,
  type Bucket,
  type ObjectAct,
  type ObjectVersion,
  objectActBytes,
  objectLabel,
  publicKeyOf,
  type RingState,
  residencyOf,
  ringIssuer,
  rulesOfBucket,
  type View,
} from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'
import {
  accessKeySigner,
  capsuleHash,
  encodeManifest,
  type Manifest,
  type ManifestPart,
  type OpenAnswer,
  openSecrets,
  parseManifest,
  placeShards,
  type Reader,
  type SignedOpenRequest,
  sealObjectKey,
  sha256Hex,
  usualLayout,
  VaultError,
  type VaultFacts,
} from '@ringwall/vault'
import { BlobWriter, ObjectsUnavailable, type StoredBlob } from './blob-writer.ts'
import { readContent } from './content.ts'
import type { DigestName } from './digests.ts'
import type { ObjectThread } from './object-thread.ts'
import { PieceReader, type ShardPlace } from './piece-reader.ts'
import type { ShardClient, ShardSink } from './shard-client.ts'
import { type ShardStore, StoreAway } from './shard-store.ts'

const ACT_MS_MAX = 15_000
/** What nodes said they stored is taken for stored so long: what the ring does not know is erased some time later (`residueMs`). */
const STORED_MS_MAX = 60_000
/** Secrets of access keys are kept so long, and opened again then: a key that was removed is none at once all the same. */
const SECRET_KEPT_MS = 300_000
const SECRETS_KEPT_MAX = 1_000
const CULPRITS_MAX = 256
const MANIFESTS_KEPT_MAX = 64
/** Whose round trip differs by less is as fast. */
const RTT_STEP_MS = 5

export interface ObjectServiceOptions {
  readonly self: string
  readonly ring: string
  readonly fabric: Pick<Fabric, 'links'>
  readonly folder: ShardStore
  readonly client: ShardClient
  readonly thread: ObjectThread
  readonly view: () => View
  readonly state: () => RingState
  readonly facts: () => VaultFacts | undefined
  /** Ed25519, by this node's key. */
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly open: (request: SignedOpenRequest) => Promise<OpenAnswer>
  /** @throws {LedgerError} */
  readonly submit: (body: TxBody, waitMs: number) => Promise<unknown>
  /** Nodes that are to hold shards now: those that have been away for long are not. */
  readonly present: () => readonly { readonly id: string; readonly region: string }[]
  /** Wrong or missing shards, by whom. */
  readonly onFault: (party: string, version: string, index: number, what: 'wrong' | 'missing') => void
  /** A node that did not take its shard. */
  readonly onLeftOut: (party: string, version: string, reason: string) => void
  /** Something was put or deleted through this node. */
  readonly onChange: () => void
  readonly now?: () => number
}

/** An access key whose secret this node has had opened. */
export interface Client {
  readonly key: AccessKey
  readonly secret: string
}

/** A node whose shards were wrong, or not there, when this node asked for them. */
export interface Culprit {
  readonly party: string
  readonly wrong: number
  readonly missing: number
  readonly lastAtMs: number
}

export interface Draft {
  readonly version: string
  readonly objectKey: Uint8Array
  readonly about: Uint8Array
  readonly capsule: string
  readonly ciphertext: string
  readonly bucket: Bucket
  readonly key: string
}

export interface PutSettings {
  readonly headers: Manifest['headers']
  readonly etag: string
  readonly expect: string
  readonly hold: boolean
  readonly retainUntilMs: number
}

/** A manifest, and the nodes that have it on disk. */
export interface SpreadManifest {
  readonly bytes: Uint8Array
  readonly stored: readonly string[]
}

export class ObjectService {
  readonly #options: ObjectServiceOptions
  readonly #secrets = new Map<string, { readonly secret: string; readonly publicKey: string; readonly untilMs: number }>()
  readonly #manifests = new Map<string, Manifest>()
  readonly #culprits = new Map<string, Culprit>()
  /** Since this node started. */
  readonly counts = { put: 0, read: 0, faults: 0 }

  constructor(options: ObjectServiceOptions) {
    this.#options = options
  }

  get state(): RingState {
    return this.#options.state()
  }

  get view(): View {
    return this.#options.view()
  }

  #now(): number {
    return (this.#options.now ?? Date.now)()
  }

  /**
   * The secret of an access key, opened by the ring for this node; undefined for a key that the ring does not know.
   *
   * @throws {VaultError | OpenRefused} When too few holders answer.
   */
  async client(id: string): Promise<Client | undefined> {
    const key = this.state.objects.accessKey(id)
    if (key === undefined) return undefined
    const nowMs = this.#now()
    const kept = this.#secrets.get(id)
    if (kept !== undefined && kept.untilMs > nowMs && kept.publicKey === key.publicKey) return { key, secret: kept.secret }
    const { self, sign: signed, open } = this.#options
    const reader: Reader = {
      issuer: `node:${self}`,
      certificate: '',
      sign: async (message) => Buffer.from(signed(message)).toString('base64url'),
    }
    const { secrets } = await openSecrets(this.#facts(), reader, [{ name: accessKeyName(id), version: 1 }], [open])
    const secret = Buffer.from(secrets[0]?.secret ?? []).toString('utf8')
    if (this.#secrets.size >= SECRETS_KEPT_MAX) this.#secrets.delete(this.#secrets.keys().next().value as string)
    this.#secrets.set(id, { secret, publicKey: key.publicKey, untilMs: nowMs + SECRET_KEPT_MS })
    return { key, secret }
  }

  #facts(): VaultFacts {
    const facts = this.#options.facts()
    if (facts === undefined)
      throw new VaultError('VAULT_SHORT', 'the ring has no sealing key yet: ringwall key ls shows how it stands')
    return facts
  }

  /** Why whoever has this access key is not to be served; undefined when all is good. */
  refusal({ key }: Client): string | undefined {
    if (this.state.objects.accessKey(key.id) === undefined) return `the access key ${key.id} was removed`
    const [kind, name] = key.identity.split(':') as [string, string]
    const { ring } = this.#options
    if (kind === 'operator')
      return this.view.operators.some((one) => one.name === name) ? undefined : `${key.identity} is none of this ring’s operators`
    const subject = spiffeId(ring, 'service', name)
    const nowMs = this.#now()
    const denied = this.view.denials.matchCredential({ issuer: ringIssuer(ring), subject, issuedAtMs: key.atMs }, nowMs)
    return denied === undefined ? undefined : `${subject} is denied by ${denied.issuer}: ${denied.reason}`
  }

  /** Has the ring agree to it. @throws {LedgerError} `TX_REFUSED` with the reason of the validators. */
  async act({ key, secret }: Client, act: ObjectAct): Promise<void> {
    const atMs = this.#now()
    const proof = sign(null, objectActBytes(this.#options.ring, key.id, atMs, act), accessKeySigner(secret)).toString('base64url')
    await this.#options.submit({ type: 'object.act', accessKey: key.id, act, atMs, proof }, ACT_MS_MAX)
    this.#options.onChange()
  }

  async createBucket(client: Client, bucket: string): Promise<void> {
    const rules = this.view.policy.vault.objects
    const named = rulesOfBucket(rules, bucket)
    const usual = usualLayout(this.view.nodes.length)
    const text = named.find(({ shards }) => shards !== undefined)?.shards
    const [data, shards] = text === undefined ? [usual.data, usual.shards] : [Number(text[0]), Number(text[2])]
    const durable = named.find((rule) => rule.durable !== undefined)?.durable
    const durableNodes = Math.min(shards, Math.max(data, durable?.nodes ?? data + 1))
    const residency = residencyOf(rules, bucket)
    const durableRegions = Math.min(shards, durable?.regions ?? 1)
    await this.act(client, { kind: 'bucket.create', bucket, data, durableNodes, durableRegions, residency, retainMs: 0, shards })
  }

  /** Begins a version: its key, sealed to the ring. @throws {VaultError} */
  draft(bucket: Bucket, key: string): Draft {
    const publicKey = publicKeyOf(this.state.sealingKey)
    if (publicKey === undefined) throw new VaultError('VAULT_SHORT', 'the ring has no sealing key yet')
    const version = randomBytes(16).toString('hex')
    const objectKey = randomBytes(32)
    const about = this.#label(bucket.name, key, version)
    const sealed = sealObjectKey(publicKey, about, objectKey)
    const [capsule, ciphertext] = [sealed.capsule, sealed.ciphertext].map((bytes) => Buffer.from(bytes).toString('base64url'))
    return { version, objectKey, about, capsule: capsule as string, ciphertext: ciphertext as string, bucket, key }
  }

  #label(bucket: string, key: string, version: string): Uint8Array {
    return objectLabel({ ring: this.#options.ring, bucket, version }, sha256Hex(Buffer.from(key)))
  }

  /** Where a version's shards belong now, by index. */
  placed(version: string, bucket: Bucket): readonly (string | undefined)[] {
    return placeShards(version, bucket, this.#options.present())
  }

  /** @param length Of what is to come. @param digests Of it. @throws {ObjectsUnavailable} */
  blobWriter({ version, objectKey, about, bucket }: Draft, length: number, digests: readonly DigestName[]): BlobWriter {
    const { thread, folder, client, self } = this.#options
    const placed = this.placed(version, bucket)
    return new BlobWriter({
      thread,
      objectKey,
      about,
      data: bucket.data,
      shards: bucket.shards,
      needed: bucket.durableNodes,
      length,
      digests,
      open: async (blob, index, bytes): Promise<ShardSink | undefined> => {
        const party = placed[index]
        if (party === undefined) return undefined
        if (party !== self) return client.putShard(party, version, blob, index, bytes)
        const writer = await folder.receive(version, blob, index, bytes).catch((error: unknown) => {
          if (!(error instanceof StoreAway)) throw error
          this.#options.onLeftOut(self, version, error.message)
        })
        if (writer === undefined) return undefined
        return {
          party,
          write: (piece) => writer.write(piece),
          commit: () => writer.commit(),
          abort: () => void writer.abort().catch(() => {}),
        }
      },
      onFailed: (party, reason) => this.#options.onLeftOut(party, version, reason),
    })
  }

  /**
   * Gives the manifest of a version to the nodes that have its shards, or are to have them: it may go beside them.
   *
   * @throws {VaultError} VAULT_MALFORMED
   */
  async spreadManifest(
    { bucket, key, version, capsule, ciphertext }: Draft,
    parts: readonly ManifestPart[],
    headers: Manifest['headers'],
    parties: readonly string[],
  ): Promise<SpreadManifest> {
    const { ring } = this.#options
    const layout = { data: bucket.data, shards: bucket.shards }
    const bytes = encodeManifest({
      bucket: bucket.name,
      capsule,
      ciphertext,
      ...layout,
      headers,
      key,
      parts,
      ring,
      version,
    })
    parseManifest(bytes)
    return { bytes, stored: await this.#putManifests(version, bytes, parties) }
  }

  /**
   * Agrees on a version whose blobs are stored: acknowledged when it resolves.
   *
   * @param spread Its manifest, where that went beside its one blob.
   * @throws {ObjectsUnavailable} When too few nodes, or in too few regions, have it. @throws {LedgerError}
   */
  async commit(
    client: Client,
    draft: Draft,
    blobs: readonly StoredBlob[],
    settings: PutSettings,
    spread?: SpreadManifest,
  ): Promise<void> {
    const { bucket, key, version, capsule, ciphertext } = draft
    const parts = blobs.map(({ part }) => part)
    const all = [...new Set(blobs.flatMap(({ parties }) => parties))]
    // Durable is what has every blob, and the manifest.
    const whole = all.filter((party) => blobs.every(({ parties }) => parties.includes(party)))
    const atMs = this.#now()
    const { bytes, stored } = spread ?? (await this.spreadManifest(draft, parts, settings.headers, all))
    const told = stored.filter((party) => whole.includes(party))
    const isOld = blobs.some((blob) => atMs - blob.atMs > STORED_MS_MAX)
    const durable = isOld ? await this.#stillHolding(version, parts, told) : told
    const regions = new Set(durable.map((party) => this.view.nodes.find(({ id }) => id === party)?.region))
    if (durable.length < bucket.durableNodes || regions.size < bucket.durableRegions)
      throw new ObjectsUnavailable(
        `${durable.length} nodes in ${regions.size} regions have it on disk, and ${bucket.durableNodes} in ${bucket.durableRegions} must: try again`,
      )
    const { etag, expect, hold, retainUntilMs } = settings
    const size = parts.reduce((sum, part) => sum + part.size, 0)
    const hashes = { capsule: capsuleHash({ capsule, ciphertext }), manifest: sha256Hex(bytes) }
    if (this.#now() - atMs > STORED_MS_MAX)
      throw new ObjectsUnavailable('the nodes took too long to say what they have: try again')
    const put = { bucket: bucket.name, key, ...hashes, etag, expect, hold, retainUntilMs, size, version }
    await this.act(client, { kind: 'put', ...put })
    this.counts.put += 1
    this.#keep(version, parseManifest(bytes))
  }

  async #putManifests(version: string, bytes: Uint8Array, parties: readonly string[]): Promise<readonly string[]> {
    const { self, folder, client } = this.#options
    const stored: string[] = []
    await Promise.all(
      parties.map(async (party) => {
        try {
          if (party === self) await folder.putManifest(version, bytes)
          else await client.putManifest(party, version, bytes)
          stored.push(party)
        } catch {
          // It fetches the manifest when it scrubs.
        }
      }),
    )
    return stored
  }

  /** Of the parties, those that have a shard of every blob now. */
  async #stillHolding(version: string, parts: readonly ManifestPart[], parties: readonly string[]): Promise<readonly string[]> {
    const { self, folder, client } = this.#options
    const asked = parties.map(async (party) => {
      const shards = party === self ? await folder.held(version) : (await client.held(party, version)).shards
      const held = new Set(shards.map(({ blob }) => blob))
      return parts.every(({ blob }) => held.has(blob)) ? [party] : []
    })
    return (await Promise.allSettled(asked)).flatMap((said) => (said.status === 'fulfilled' ? said.value : []))
  }

  #keep(version: string, manifest: Manifest): void {
    if (this.#manifests.size >= MANIFESTS_KEPT_MAX) this.#manifests.delete(this.#manifests.keys().next().value as string)
    this.#manifests.set(version, manifest)
  }

  /** The manifest of a version of the ledger, from whoever has it. @throws {VaultError} VAULT_SHORT */
  async manifest({ id, manifest: wanted }: ObjectVersion, bucket: Bucket): Promise<Manifest> {
    const kept = this.#manifests.get(id)
    if (kept !== undefined) return kept
    const bytes = await this.manifestBytes(id, wanted, bucket)
    const manifest = parseManifest(bytes)
    if (bytes.length < 65_536) this.#keep(id, manifest)
    return manifest
  }

  /** From here, or from the first peer whose bytes are right. @param wanted Its hash. */
  async manifestBytes(id: string, wanted: string, bucket: Bucket): Promise<Uint8Array> {
    const { folder, client, self } = this.#options
    const own = await folder.manifest(id)
    if (own !== undefined && sha256Hex(own) === wanted) return own
    const placed = this.placed(id, bucket).filter((party) => party !== undefined)
    const linked = this.#linked()
    const order = [...new Set([...placed, ...linked.keys()])].filter((party) => party !== self && linked.has(party))
    for (const party of order) {
      try {
        const bytes = await client.manifest(party, id)
        if (bytes === undefined) continue
        if (sha256Hex(bytes) === wanted) return bytes
        this.fault(party, id, 0, 'wrong')
      } catch {
        // The next one may have it.
      }
    }
    throw new VaultError('VAULT_SHORT', `no node that can be reached has the manifest of ${id}`)
  }

  /** Peers that can be asked, with their round trips. */
  #linked(): ReadonlyMap<string, number> {
    const links = this.#options.fabric.links().filter(({ connected }) => connected)
    return new Map(links.map(({ id, roundTripMs }) => [id, roundTripMs ?? 1_000]))
  }

  /** Fastest first, shards of data before others that are as fast. */
  places(version: string, bucket: Bucket): readonly ShardPlace[] {
    const linked = this.#linked()
    const { self } = this.#options
    const cost = ({ party, index }: ShardPlace): number =>
      (party === self ? 0 : Math.floor((linked.get(party) ?? 0) / RTT_STEP_MS) + 1) * 16 + index
    return this.placed(version, bucket)
      .flatMap((party, index) => (party !== undefined && (party === self || linked.has(party)) ? [{ party, index }] : []))
      .sort((a, b) => cost(a) - cost(b))
  }

  /** Shards of a version wherever they are now, by asking. */
  async whereabouts(version: string, blob: string): Promise<readonly ShardPlace[]> {
    const { folder, client, self } = this.#options
    const own = await folder.held(version).catch(() => [])
    const found: ShardPlace[] = own.filter((one) => one.blob === blob).map(({ index }) => ({ party: self, index }))
    await Promise.all(
      [...this.#linked().keys()].map(async (party) => {
        const held = await client.held(party, version).catch(() => undefined)
        for (const shard of held?.shards ?? []) if (shard.blob === blob) found.push({ party, index: shard.index })
      }),
    )
    return found
  }

  pieceReader(
    manifest: Manifest,
    part: ManifestPart,
    bucket: Bucket,
    from: number,
    to: number,
    without?: ShardPlace,
  ): PieceReader {
    const { self, folder, client, thread } = this.#options
    const keep = (place: ShardPlace): boolean =>
      without === undefined || (place.index !== without.index && place.party !== without.party)
    return new PieceReader({
      self,
      folder,
      client,
      thread,
      manifest,
      part,
      from,
      to,
      places: this.places(manifest.version, bucket).filter(keep),
      more: async () => (await this.whereabouts(manifest.version, part.blob)).filter(keep),
      onFault: (party, index, what) => this.fault(party, manifest.version, index, what),
    })
  }

  /** Since this node started; the last first. */
  get culprits(): readonly Culprit[] {
    return [...this.#culprits.values()].reverse()
  }

  /** Somebody gave something wrong, or had not what it is to have. */
  fault(party: string, version: string, index: number, what: 'wrong' | 'missing'): void {
    this.counts.faults += 1
    const before = this.#culprits.get(party) ?? { party, wrong: 0, missing: 0, lastAtMs: 0 }
    // Who is named last stands last: the one of longest ago makes room.
    this.#culprits.delete(party)
    if (this.#culprits.size >= CULPRITS_MAX) this.#culprits.delete(this.#culprits.keys().next().value as string)
    this.#culprits.set(party, { ...before, [what]: before[what] + 1, lastAtMs: this.#now() })
    this.#options.onFault(party, version, index, what)
  }

  /** The object's key, as the holders open it for who has the access key. @throws {VaultError | OpenRefused} */
  async openKey({ key, secret }: Client, manifest: Manifest): Promise<Uint8Array> {
    const signer = accessKeySigner(secret)
    const { bucket, version, capsule, ciphertext } = manifest
    const about = this.#label(bucket, manifest.key, version)
    const reader: Reader = {
      issuer: `key:${key.id}`,
      certificate: '',
      sign: async (message) => sign(null, message, signer).toString('base64url'),
      labelOf: () => about,
    }
    const ask = (request: SignedOpenRequest): Promise<OpenAnswer> =>
      this.#options.open({ ...request, bodies: [{ capsule, ciphertext }] })
    const { secrets } = await openSecrets(this.#facts(), reader, [{ name: `${bucket}/${version}`, version: 1 }], [ask])
    return secrets[0]?.secret ?? new Uint8Array(0)
  }

  /** As `readContent` says. @param start From this byte. @param end Up to and without this one. */
  read(
    objectKey: Uint8Array | Promise<Uint8Array>,
    manifest: Manifest,
    bucket: Bucket,
    start: number,
    end: number,
  ): AsyncGenerator<Uint8Array> {
    this.counts.read += 1
    return readContent({
      objectKey,
      manifest,
      about: this.#label(manifest.bucket, manifest.key, manifest.version),
      start,
      end,
      readerOf: (part, first, until) => this.pieceReader(manifest, part, bucket, first, until),
      thread: this.#options.thread,
    })
  }
}
