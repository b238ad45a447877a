/** The shape of buckets, objects and access keys in a snapshot. */
import { z } from 'zod'
import { BUCKET_NAME, OBJECT_BYTES_MAX, OBJECT_SHARDS_MAX, RETAIN_MS_MAX } from './object-bounds.ts'
import { ACCESS_KEY_ID, isObjectKey } from './object-parse.ts'
import { OBJECT_VERSIONS_MAX, VERSIONS_OF_OBJECT_MAX } from './objects.ts'

const Ms = z.int().min(0)
const Count = z.int().min(1).max(OBJECT_SHARDS_MAX)
const By = z.string().max(80)
const Hash = z.string().regex(/^([0-9a-f]{64})?$/)
const Sealed = z
  .string()
  .max(2_731)
  .regex(/^[A-Za-z0-9_-]+$/)

export const BucketLine = z.strictObject({
  name: z.string().regex(BUCKET_NAME),
  by: By,
  atMs: Ms,
  data: Count,
  shards: Count,
  durableNodes: Count,
  durableRegions: Count,
  residency: z.array(z.string().min(1).max(63)).max(16),
  versioning: z.enum(['off', 'on', 'suspended']),
  retainMs: Ms.max(RETAIN_MS_MAX),
  locks: z.literal(true).exactOptional(),
  held: z.int().min(0).max(OBJECT_VERSIONS_MAX),
})

export const ObjectLine = z.strictObject({
  bucket: z.string().regex(BUCKET_NAME),
  key: z.string().refine(isObjectKey),
  versions: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[0-9a-f]{32}$/),
        atMs: Ms,
        by: By,
        size: Ms.max(OBJECT_BYTES_MAX),
        etag: z.string().regex(/^([0-9a-f]{32}(-[1-9][0-9]{0,4})?)?$/),
        manifest: Hash,
        capsule: Hash,
        marker: z.boolean(),
        plain: z.boolean(),
        retainUntilMs: Ms,
        hold: z.boolean(),
      }),
    )
    .min(1)
    .max(VERSIONS_OF_OBJECT_MAX),
})

export const AccessKeyLine = z.strictObject({
  id: z.string().regex(ACCESS_KEY_ID),
  identity: By,
  publicKey: z.string().length(43),
  capsule: Sealed,
  ciphertext: Sealed,
  by: By,
  atMs: Ms,
})
