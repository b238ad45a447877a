/** The shape of what is stated about objects: strict, keys in canonical order. */
import { encodeUtf8 } from './encoding.ts'
import type { StatementReaders } from './enrolment-parse.ts'
import type { ObjectAct, ObjectStatement } from './object-acts.ts'
import {
  BUCKET_NAME,
  BUCKET_NAME_EXPECTED,
  OBJECT_BYTES_MAX,
  OBJECT_KEY_BYTES_MAX,
  OBJECT_SHARDS_MAX,
  RETAIN_MS_MAX,
} from './object-bounds.ts'

const VERSION = /^[0-9a-f]{32}$/
const HASH = /^[0-9a-f]{64}$/
const ETAG = /^[0-9a-f]{32}(-[1-9][0-9]{0,4})?$/
const EXPECT = /^(-?|[0-9a-f]{32}(-[1-9][0-9]{0,4})?)$/
export const ACCESS_KEY_ID: RegExp = /^RW[A-Z2-7]{18}$/
export const ACCESS_KEY_ID_EXPECTED = 'the id of an access key: RW and 18 letters and digits'
const IDENTITY = /^(operator:[A-Za-z0-9][A-Za-z0-9._-]{0,62}|service:[a-z0-9][a-z0-9._-]{0,62})$/
const BASE64URL = /^[A-Za-z0-9_-]+$/
const REGIONS_MAX = 16

export const OBJECT_TYPES: readonly ObjectStatement['type'][] = ['object.act', 'access.put', 'access.remove']

/** What keys may be: text of 1 to 1,024 bytes without control characters. */
export function isObjectKey(key: string): boolean {
  return key !== '' && key.isWellFormed() && !/\p{Cc}/u.test(key) && encodeUtf8(key).length <= OBJECT_KEY_BYTES_MAX
}

export function parseObjectStatement(type: ObjectStatement['type'], value: unknown, readers: StatementReaders): ObjectStatement {
  const { record, matching, base64url, whole, reason } = readers
  const id = (held: unknown, where: string): string => matching(held, where, ACCESS_KEY_ID, ACCESS_KEY_ID_EXPECTED)
  if (type === 'access.remove') {
    const fields = record(value, 'body', ['id', 'reason', 'type'])
    return { id: id(fields.id, 'body.id'), reason: reason(fields.reason), type }
  }
  if (type === 'access.put') {
    const fields = record(value, 'body', ['capsule', 'ciphertext', 'id', 'identity', 'publicKey', 'reason', 'type'])
    const sealed = (held: unknown, where: string): string =>
      matching(readers.bounded(held, where, 1, 2_731), where, BASE64URL, 'base64url')
    return {
      capsule: sealed(fields.capsule, 'body.capsule'),
      ciphertext: sealed(fields.ciphertext, 'body.ciphertext'),
      id: id(fields.id, 'body.id'),
      identity: matching(fields.identity, 'body.identity', IDENTITY, 'operator:NAME or service:NAME'),
      publicKey: base64url(fields.publicKey, 'body.publicKey', 32),
      reason: reason(fields.reason),
      type,
    }
  }
  const fields = record(value, 'body', ['accessKey', 'act', 'atMs', 'proof', 'type'])
  return {
    accessKey: id(fields.accessKey, 'body.accessKey'),
    act: parseAct(fields.act, readers),
    atMs: whole(fields.atMs, 'body.atMs'),
    proof: base64url(fields.proof, 'body.proof', 64),
    type,
  }
}

const KEYS: Readonly<Record<ObjectAct['kind'], readonly string[]>> = {
  'bucket.create': ['bucket', 'data', 'durableNodes', 'durableRegions', 'kind', 'residency', 'retainMs', 'shards'],
  'bucket.remove': ['bucket', 'kind'],
  'bucket.version': ['bucket', 'kind', 'versioning'],
  'bucket.retain': ['bucket', 'kind', 'retainMs'],
  'bucket.lock': ['bucket', 'kind'],
  put: ['bucket', 'capsule', 'etag', 'expect', 'hold', 'key', 'kind', 'manifest', 'retainUntilMs', 'size', 'version'],
  delete: ['bucket', 'key', 'kind', 'marker', 'version'],
  lock: ['bucket', 'hold', 'key', 'kind', 'retainUntilMs', 'version'],
}

function parseAct(value: unknown, { record, matching, whole, printable, fail }: StatementReaders): ObjectAct {
  const kinds = Object.keys(KEYS) as ObjectAct['kind'][]
  const named: unknown = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  const kind = kinds.find((known) => known === named)
  if (kind === undefined) return fail(`body.act.kind must be one of ${kinds.join(', ')}`)
  const fields = record(value, 'body.act', KEYS[kind])
  const within = (held: unknown, where: string, least: number, most: number): number => {
    const number = whole(held, where)
    return number >= least && number <= most ? number : fail(`${where} must be from ${least} to ${most}`)
  }
  const flag = (held: unknown, where: string): boolean =>
    typeof held === 'boolean' ? held : fail(`${where} must be true or false`)
  const version = (held: unknown, where: string): string => matching(held, where, VERSION, '32 hex digits')
  const bucket = matching(fields.bucket, 'body.act.bucket', BUCKET_NAME, BUCKET_NAME_EXPECTED)
  if (kind === 'bucket.remove' || kind === 'bucket.lock') return { bucket, kind }
  if (kind === 'bucket.version') {
    const { versioning } = fields
    if (versioning !== 'on' && versioning !== 'suspended') return fail('body.act.versioning must be on or suspended')
    return { bucket, kind, versioning }
  }
  if (kind === 'bucket.retain') return { bucket, kind, retainMs: within(fields.retainMs, 'body.act.retainMs', 0, RETAIN_MS_MAX) }
  if (kind === 'bucket.create') {
    const { residency } = fields
    if (!Array.isArray(residency) || residency.length > REGIONS_MAX)
      return fail(`body.act.residency must be a list of at most ${REGIONS_MAX}`)
    const regions = residency.map((one: unknown) => printable(one, 'body.act.residency', 1, 63))
    if (regions.some((one, at) => at > 0 && one <= (regions[at - 1] as string)))
      return fail('body.act.residency must ascend, without repeats')
    const shards = within(fields.shards, 'body.act.shards', 2, OBJECT_SHARDS_MAX)
    const data = within(fields.data, 'body.act.data', 1, shards - 1)
    return {
      bucket,
      data,
      durableNodes: within(fields.durableNodes, 'body.act.durableNodes', data, shards),
      durableRegions: within(fields.durableRegions, 'body.act.durableRegions', 1, shards),
      kind,
      residency: regions,
      retainMs: within(fields.retainMs, 'body.act.retainMs', 0, RETAIN_MS_MAX),
      shards,
    }
  }
  const { key } = fields
  if (typeof key !== 'string' || !isObjectKey(key))
    return fail(`body.act.key must be text of 1 to ${OBJECT_KEY_BYTES_MAX} bytes without control characters`)
  const either = (held: unknown, where: string): string => (held === '' ? '' : version(held, where))
  if (kind === 'delete') {
    const [marker, gone] = [either(fields.marker, 'body.act.marker'), either(fields.version, 'body.act.version')]
    if ((marker === '') === (gone === '')) return fail('body.act must have either a marker or a version')
    return { bucket, key, kind, marker, version: gone }
  }
  const retainUntilMs = within(fields.retainUntilMs, 'body.act.retainUntilMs', 0, 8_640_000_000_000_000)
  const hold = flag(fields.hold, 'body.act.hold')
  const id = version(fields.version, 'body.act.version')
  if (kind === 'lock') return { bucket, hold, key, kind, retainUntilMs, version: id }
  return {
    bucket,
    capsule: matching(fields.capsule, 'body.act.capsule', HASH, '64 hex digits'),
    etag: matching(fields.etag, 'body.act.etag', ETAG, 'an MD5, and the number of parts'),
    expect: matching(fields.expect, 'body.act.expect', EXPECT, 'nothing, -, or an etag'),
    hold,
    key,
    kind,
    manifest: matching(fields.manifest, 'body.act.manifest', HASH, '64 hex digits'),
    retainUntilMs,
    size: within(fields.size, 'body.act.size', 0, OBJECT_BYTES_MAX),
    version: id,
  }
}
