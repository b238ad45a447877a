/**
 * What is stated about objects. An access key signs each act, and any node brings it before the ring: every validator verifies the signature
 * and asks the policy what the key's identity may. No node can put or delete anything in a client's place without that client's secret.
 * Access keys themselves are made by operators.
 */
import { decodeBase64url } from './encoding.ts'
import type { Verify } from './nodes.ts'
import { objectActBytes } from './object-label.ts'
import {
  ACCESS_KEYS_MAX,
  BUCKETS_MAX,
  type Bucket,
  OBJECT_VERSIONS_MAX,
  type ObjectVersion,
  type VaultObjects,
  VERSIONS_OF_OBJECT_MAX,
} from './objects.ts'
import type { Policy } from './policy.ts'
import { mayUseObjects, residencyOf } from './policy-objects.ts'
import { publicKeyOf } from './ring-key.ts'
import type { RingState } from './state.ts'
import { ringIssuer } from './token-revocation.ts'
import type { TxContent } from './types.ts'

/** How old an act may be, and how far ahead its signer's clock. */
export const OBJECT_ACT_MS_MAX = 120_000

export type ObjectAct =
  | {
      readonly kind: 'bucket.create'
      readonly bucket: string
      readonly data: number
      readonly durableNodes: number
      readonly durableRegions: number
      readonly residency: readonly string[]
      readonly retainMs: number
      readonly shards: number
    }
  | { readonly kind: 'bucket.remove'; readonly bucket: string }
  | { readonly kind: 'bucket.version'; readonly bucket: string; readonly versioning: 'on' | 'suspended' }
  | { readonly kind: 'bucket.retain'; readonly bucket: string; readonly retainMs: number }
  /** From now on versions can be locked. */
  | { readonly kind: 'bucket.lock'; readonly bucket: string }
  | {
      readonly kind: 'put'
      readonly bucket: string
      readonly key: string
      readonly capsule: string
      readonly etag: string
      /** Empty: whatever is there; `-`: nothing is; else the etag of what is. */
      readonly expect: string
      readonly hold: boolean
      readonly manifest: string
      readonly retainUntilMs: number
      readonly size: number
      readonly version: string
    }
  /** Empty `version`: the object, as its bucket has it; `marker` is then the id of the marker, if it takes one. */
  | {
      readonly kind: 'delete'
      readonly bucket: string
      readonly key: string
      readonly marker: string
      readonly version: string
    }
  | {
      readonly kind: 'lock'
      readonly bucket: string
      readonly key: string
      readonly hold: boolean
      readonly retainUntilMs: number
      readonly version: string
    }

export type ObjectStatement =
  /** Of nodes, for who has the access key. `proof`: Ed25519 over `objectActBytes`, base64url. */
  | {
      readonly type: 'object.act'
      readonly accessKey: string
      readonly act: ObjectAct
      readonly atMs: number
      readonly proof: string
    }
  /** Of operators. */
  | {
      readonly type: 'access.put'
      readonly capsule: string
      readonly ciphertext: string
      readonly id: string
      readonly identity: string
      readonly publicKey: string
      readonly reason: string
    }
  | { readonly type: 'access.remove'; readonly id: string; readonly reason: string }

export type ObjectRefusalCode =
  | 'OBJECTS_CLOSED'
  | 'OBJECT_NOT_ENTITLED'
  | 'OBJECT_STALE'
  | 'OBJECT_UNKNOWN'
  | 'OBJECT_CHANGED'
  | 'OBJECT_RETAINED'
  | 'OBJECT_TAKEN'
  | 'OBJECTS_FULL'
  | 'BUCKET_UNKNOWN'
  | 'BUCKET_EXISTS'
  | 'BUCKET_NOT_EMPTY'
  | 'BUCKET_RESIDENCY'
  | 'BUCKET_LOCKS'
  | 'BUCKET_UNLOCKED'
  | 'BUCKET_UNVERSIONED'
  | 'ACCESS_KEY_UNKNOWN'
  | 'ACCESS_KEY_EXISTS'
  | 'ACCESS_KEY_PROOF'

type Refusal = { readonly code: ObjectRefusalCode; readonly reason: string }
const refuse = (code: ObjectRefusalCode, reason: string): Refusal => ({ code, reason })

/** Of operators, about access keys. */
export function refusalOfAccessKey(
  state: RingState,
  body: Extract<ObjectStatement, { type: 'access.put' | 'access.remove' }>,
  policy: Policy,
): Refusal | undefined {
  const { objects } = state
  if (body.type === 'access.remove') {
    if (objects.accessKey(body.id) !== undefined) return undefined
    return refuse('ACCESS_KEY_UNKNOWN', `there is no access key ${body.id}; list them with vault access-key ls`)
  }
  if (policy.vault.objects.length === 0)
    return refuse('OBJECTS_CLOSED', 'the policy has no rules for objects: add vault.objects to it')
  if (publicKeyOf(state.sealingKey) === undefined || state.sealingKey.asked === 'replace')
    return refuse('OBJECTS_CLOSED', 'the ring has no sealing key to seal it to: ringwall key ls shows how it stands')
  if (objects.accessKey(body.id) !== undefined)
    return refuse('ACCESS_KEY_EXISTS', `there is an access key ${body.id} already: make another one`)
  if (objects.accessKeyCount >= ACCESS_KEYS_MAX)
    return refuse('OBJECTS_FULL', `the ring knows ${ACCESS_KEYS_MAX} access keys; remove those that nobody uses`)
  return undefined
}

export function refusalOfObjectAct(
  state: RingState,
  ring: string,
  { accessKey, act, atMs, proof }: Extract<ObjectStatement, { type: 'object.act' }>,
  policy: Policy,
  nowMs: number,
  verify: Verify,
): Refusal | undefined {
  const { objects } = state
  const known = objects.accessKey(accessKey)
  if (known === undefined) return refuse('ACCESS_KEY_UNKNOWN', `the ring has no access key ${accessKey}`)
  if (Math.abs(nowMs - atMs) > OBJECT_ACT_MS_MAX) return refuse('OBJECT_STALE', 'it was signed too long ago, or in the future')
  if (!verify(decodeBase64url(known.publicKey), objectActBytes(ring, accessKey, atMs, act), decodeBase64url(proof)))
    return refuse('ACCESS_KEY_PROOF', `it is not signed with the access key ${accessKey}`)
  const rules = policy.vault.objects
  if (rules.length === 0) return refuse('OBJECTS_CLOSED', 'the policy has no rules for objects: add vault.objects to it')
  const { identity } = known
  if (identity.startsWith('service:')) {
    const subject = `spiffe://${ring}/service/${identity.slice('service:'.length)}`
    const denied = state.denials.matchCredential({ issuer: ringIssuer(ring), subject, issuedAtMs: known.atMs }, nowMs)
    if (denied !== undefined) return refuse('OBJECT_NOT_ENTITLED', `${subject} is denied by ${denied.issuer}: ${denied.reason}`)
  }
  const key = 'key' in act ? act.key : ''
  if (!mayUseObjects(rules, identity, 'write', act.bucket, key)) {
    const what = key === '' ? `the bucket ${act.bucket}` : `${key} in ${act.bucket}`
    return refuse('OBJECT_NOT_ENTITLED', `no rule of the policy (vault.objects) lets ${identity} write ${what}`)
  }
  const bucket = objects.bucket(act.bucket)
  if (act.kind === 'bucket.create') return refusalOfCreation(objects, act, bucket, rules)
  if (bucket === undefined) return refuse('BUCKET_UNKNOWN', `there is no bucket ${act.bucket}`)
  if (act.kind === 'bucket.remove')
    return bucket.held === 0 ? undefined : refuse('BUCKET_NOT_EMPTY', `${bucket.held} versions are in ${act.bucket}`)
  if (act.kind === 'bucket.version')
    return act.versioning === 'suspended' && bucket.locks === true
      ? refuse('BUCKET_LOCKS', `${act.bucket} has object lock: it keeps versions`)
      : undefined
  if (act.kind === 'bucket.lock')
    return bucket.versioning === 'on'
      ? undefined
      : refuse('BUCKET_UNVERSIONED', `${act.bucket} keeps no versions: enable versioning first`)
  if (isLocking(act) && bucket.locks !== true)
    return refuse('BUCKET_UNLOCKED', `${act.bucket} has no object lock: enable it for the bucket first`)
  if (act.kind === 'bucket.retain')
    return act.retainMs >= bucket.retainMs
      ? undefined
      : refuse('OBJECT_RETAINED', 'how long versions are kept can be made longer, not shorter')
  return refusalOfVersion(state, act, bucket, nowMs)
}

/** Whether it keeps something from being deleted. */
function isLocking(act: Extract<ObjectAct, { kind: 'bucket.retain' | 'put' | 'delete' | 'lock' }>): boolean {
  if (act.kind === 'put') return act.hold || act.retainUntilMs > 0
  return act.kind === 'bucket.retain' || act.kind === 'lock'
}

function refusalOfCreation(
  objects: VaultObjects,
  act: Extract<ObjectAct, { kind: 'bucket.create' }>,
  bucket: Bucket | undefined,
  rules: Policy['vault']['objects'],
): Refusal | undefined {
  if (bucket !== undefined) return refuse('BUCKET_EXISTS', `there is a bucket ${act.bucket} already`)
  if (objects.bucketCount >= BUCKETS_MAX) return refuse('OBJECTS_FULL', `the ring has ${BUCKETS_MAX} buckets`)
  const wanted = residencyOf(rules, act.bucket)
  if (wanted.length === act.residency.length && wanted.every((region, at) => region === act.residency[at])) return undefined
  return refuse('BUCKET_RESIDENCY', `the policy has ${act.bucket} stay in ${wanted.join(', ') || 'any region'}`)
}

function refusalOfVersion(
  { objects, sealingKey }: RingState,
  act: Extract<ObjectAct, { kind: 'put' | 'delete' | 'lock' }>,
  bucket: Bucket,
  nowMs: number,
): Refusal | undefined {
  const versions = objects.object(act.bucket, act.key)?.versions ?? []
  if (act.kind === 'put') {
    if (publicKeyOf(sealingKey) === undefined || sealingKey.asked === 'replace')
      return refuse('OBJECTS_CLOSED', 'the ring has no sealing key, or makes another one: ringwall key ls shows how it stands')
    if (objects.version(act.version) !== undefined) return refuse('OBJECT_TAKEN', `${act.version} is a version already`)
    if (objects.size >= OBJECT_VERSIONS_MAX || versions.length >= VERSIONS_OF_OBJECT_MAX)
      return refuse(
        'OBJECTS_FULL',
        `the ring knows ${OBJECT_VERSIONS_MAX} versions, ${VERSIONS_OF_OBJECT_MAX} of one object; delete what is not needed`,
      )
    const newest = versions.at(-1)
    const etag = newest === undefined || newest.marker ? undefined : newest.etag
    if ((act.expect === '-' && etag !== undefined) || (act.expect !== '' && act.expect !== '-' && etag !== act.expect))
      return refuse('OBJECT_CHANGED', `${act.key} is not as the request expects it`)
    return bucket.versioning === 'on' ? undefined : refusalOfLoss(versions, nowMs)
  }
  if (act.kind === 'delete' && act.version === '') {
    if (objects.version(act.marker) !== undefined) return refuse('OBJECT_TAKEN', `${act.marker} is a version already`)
    if (versions.length === 0) return refuse('OBJECT_UNKNOWN', `there is no ${act.key} in ${act.bucket}`)
    if (bucket.versioning !== 'off' && (versions.length >= VERSIONS_OF_OBJECT_MAX || objects.size >= OBJECT_VERSIONS_MAX))
      return refuse('OBJECTS_FULL', 'there is no room for a marker; delete versions by their ids')
    return bucket.versioning === 'on' ? undefined : refusalOfLoss(versions, nowMs)
  }
  const version = versions.find(({ id }) => id === act.version)
  if (version === undefined) return refuse('OBJECT_UNKNOWN', `there is no version ${act.version} of ${act.key}`)
  if (act.kind === 'delete') return refusalOfRetained(version, nowMs)
  if (version.retainUntilMs > nowMs && act.retainUntilMs < version.retainUntilMs)
    return refuse('OBJECT_RETAINED', 'how long a version is kept can be made longer, not shorter')
  return undefined
}

/** Without versions, what is plain makes room. */
function refusalOfLoss(versions: readonly ObjectVersion[], nowMs: number): Refusal | undefined {
  const plain = versions.find((one) => one.plain)
  return plain === undefined ? undefined : refusalOfRetained(plain, nowMs)
}

function refusalOfRetained({ hold, retainUntilMs }: ObjectVersion, nowMs: number): Refusal | undefined {
  if (hold) return refuse('OBJECT_RETAINED', 'it is under legal hold')
  if (retainUntilMs > nowMs) return refuse('OBJECT_RETAINED', `it is kept until ${new Date(retainUntilMs).toISOString()}`)
  return undefined
}

/** Applies what was not refused. */
export function withObjectStatement(
  objects: VaultObjects,
  { issuer }: Pick<TxContent, 'issuer'>,
  body: ObjectStatement,
  nowMs: number,
): VaultObjects {
  if (body.type === 'access.remove') return objects.withoutAccessKey(body.id)
  if (body.type === 'access.put') {
    const { capsule, ciphertext, id, identity, publicKey } = body
    return objects.withAccessKey({ atMs: nowMs, by: issuer, capsule, ciphertext, id, identity, publicKey })
  }
  const { act } = body
  const by = objects.accessKey(body.accessKey)?.identity ?? ''
  if (act.kind === 'bucket.create') {
    const { bucket: name, data, durableNodes, durableRegions, residency, retainMs, shards } = act
    const layout = { data, durableNodes, durableRegions, residency, retainMs, shards }
    return objects.withBucket({ ...layout, atMs: nowMs, by, held: 0, name, versioning: 'off' })
  }
  if (act.kind === 'bucket.remove') return objects.withoutBucket(act.bucket)
  const bucket = objects.bucket(act.bucket) as Bucket
  if (act.kind === 'bucket.version') return objects.withBucket({ ...bucket, versioning: act.versioning })
  if (act.kind === 'bucket.lock') return objects.withBucket({ ...bucket, locks: true })
  if (act.kind === 'bucket.retain') return objects.withBucket({ ...bucket, retainMs: act.retainMs })
  const versions = objects.object(act.bucket, act.key)?.versions ?? []
  if (act.kind === 'lock') {
    const { hold, retainUntilMs } = act
    const locked = versions.map((one) => (one.id === act.version ? { ...one, hold, retainUntilMs } : one))
    return objects.withVersions(act.bucket, act.key, locked)
  }
  if (act.kind === 'delete' && act.version !== '')
    return objects.withVersions(
      act.bucket,
      act.key,
      versions.filter(({ id }) => id !== act.version),
    )
  const plain = bucket.versioning !== 'on'
  const kept = plain ? versions.filter((one) => !one.plain) : versions
  if (act.kind === 'delete') {
    const gone = bucket.versioning === 'off' && kept.length === 0
    const marker = { id: act.marker, atMs: nowMs, by, size: 0, etag: '', manifest: '', capsule: '' }
    const marked = { ...marker, marker: true, plain, retainUntilMs: 0, hold: false }
    return objects.withVersions(act.bucket, act.key, gone ? [] : [...kept, marked])
  }
  const { capsule, etag, hold, manifest, size, version: id } = act
  const retainUntilMs = Math.max(act.retainUntilMs, bucket.retainMs === 0 ? 0 : nowMs + bucket.retainMs)
  const put = { id, atMs: nowMs, by, size, etag, manifest, capsule, marker: false, plain, retainUntilMs, hold }
  return objects.withVersions(act.bucket, act.key, [...kept, put])
}
