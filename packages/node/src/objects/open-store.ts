/** The store of a node's shards as `objects.store` of `node.yaml` says. */
import { readFileSync } from 'node:fs'
import type { DiskSeal } from '@ringwall/store'
import { StartError } from '../errors.ts'
import { BucketClient } from './bucket-client.ts'
import { readBucketCredentials } from './bucket-credentials.ts'
import { ShardBucket } from './shard-bucket.ts'
import { ShardFolder } from './shard-folder.ts'
import type { ShardStore } from './shard-store.ts'

export interface BucketSettings {
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** Empty, or ends in `/`. */
  readonly prefix: string
  readonly pathStyle: boolean
  /** File in the form of AWS's shared credentials; undefined: the environment. */
  readonly credentials: string | undefined
  readonly profile: string
  /** PEM file of the authority that the endpoint's certificate is from. */
  readonly ca: string | undefined
  /** What there is in the bucket is listed anew so often. */
  readonly listMs: number
}

export interface StoreSettings {
  readonly s3: BucketSettings
}

export interface StoreOptions {
  readonly self: string
  readonly ring: string
  readonly folder: string
  readonly seal: DiskSeal | undefined
  readonly settings: { readonly bytesMax: number; readonly residueMs: number; readonly store?: StoreSettings | undefined }
  readonly say: (level: 'info' | 'warn', line: string) => void
}

/** A bucket that does not answer is no reason not to start. @throws {StartError} CONFIG_INVALID when credentials or authority cannot be read. */
export async function openStore({ self, ring, folder, seal, settings, say }: StoreOptions): Promise<ShardStore> {
  const { bytesMax, residueMs, store } = settings
  const local = await ShardFolder.open(folder, seal, bytesMax)
  if (store === undefined) return local
  const { endpoint, region, bucket, pathStyle, credentials, profile, listMs } = store.s3
  readBucketCredentials(credentials, profile)
  const client = new BucketClient({
    place: { endpoint, region, bucket, pathStyle, ca: store.s3.ca === undefined ? undefined : readAuthority(store.s3.ca) },
    credentials: () => readBucketCredentials(credentials, profile),
  })
  const prefix = `${store.s3.prefix}${ring.slice(0, 16)}/${self}/`
  return new ShardBucket(local, { client, where: `${endpoint} ${bucket}`, prefix, bytesMax, listMs, residueMs, say })
}

function readAuthority(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new StartError('CONFIG_INVALID', `${file}: cannot be read, and objects.store.s3.ca names it`, { cause })
  }
}
