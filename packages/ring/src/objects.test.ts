import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { test } from 'node:test'
import { dealTrusted, type KeyShare } from '@ringwall/threshold'
import type { RingApplication } from './application.ts'
import type { ObjectAct } from './object-acts.ts'
import { objectActBytes } from './object-label.ts'
import { NO_RING_KEY } from './ring-key.ts'
import { parseSnapshot } from './snapshot.ts'
import type { RingState } from './state.ts'
import { begin, executeAgreed, NOW, POLICY, signedBytes } from './test-ring.ts'
import { ringIssuer } from './token-revocation.ts'
import { encodeBase64url } from './tx.ts'
import type { DenialSubject, TxBody } from './types.ts'

const OBJECTS = `${POLICY}vault:
  objects:
    - bucket: photos
      read: [service:shop]
      write: [service:shop]
      residency: [eu-1, eu-2]
    - bucket: logs-*
      write: [service:shop]
`
const HASH = 'ab'.repeat(32)
const ETAG = 'cd'.repeat(16)
const id = (): string => randomBytes(16).toString('hex')
const CREATE = { kind: 'bucket.create', data: 2, durableNodes: 3, durableRegions: 1, retainMs: 0, shards: 4 } as const

class Objects {
  readonly app: RingApplication
  readonly key = generateKeyPairSync('ed25519')
  readonly accessKey = `RW${'A'.repeat(18)}`
  state: RingState
  nowMs = NOW
  height = 0

  constructor(policy = OBJECTS) {
    this.app = begin(policy)
    const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
    const parts = { suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold: 2, members } as const
    const [share] = dealTrusted(parts, [BigInt(`0x${randomBytes(30).toString('hex')}`), 5n]) as KeyShare[]
    const publicKey = encodeBase64url((share as KeyShare).publicKey.encode())
    this.state = this.app.initial().withKey('sealing', { ...NO_RING_KEY, publicKey, attempts: 1 })
    this.block(this.operator(this.access()))
  }

  access(): TxBody {
    const publicKey = this.key.publicKey.export({ format: 'jwk' }).x as string
    const sealed = { capsule: 'AAAA', ciphertext: 'AAAA' }
    return { type: 'access.put', ...sealed, id: this.accessKey, identity: 'service:shop', publicKey, reason: 'shop' }
  }

  body(act: ObjectAct, atMs = this.nowMs): TxBody {
    const proof = sign(null, objectActBytes(this.app.ring, this.accessKey, atMs, act), this.key.privateKey)
    return { type: 'object.act', accessKey: this.accessKey, act, atMs, proof: proof.toString('base64url') }
  }

  operator(body: TxBody): Uint8Array {
    return signedBytes(this.app.ring, 'operator:ada', body, { atMs: this.nowMs, untilMs: this.nowMs + 60_000 })
  }

  tx(body: TxBody): Uint8Array {
    return signedBytes(this.app.ring, 'node:n1', body, { atMs: this.nowMs, untilMs: this.nowMs + 60_000 })
  }

  codeOf(act: ObjectAct | TxBody): string {
    const result = this.app.check(this.state, this.tx('type' in act ? act : this.body(act)), this.nowMs)
    return result.ok ? 'ok' : result.code
  }

  do(act: ObjectAct): void {
    assert.equal(this.codeOf(act), 'ok', JSON.stringify(act))
    this.block(this.tx(this.body(act)))
  }

  block(...txs: readonly Uint8Array[]): void {
    this.height += 1
    this.nowMs += 1
    this.state = executeAgreed(this.app, this.state, txs, { height: this.height, timestampMs: this.nowMs, proposer: 'n1' })
  }

  put(key: string, changes: Partial<Extract<ObjectAct, { kind: 'put' }>> = {}): ObjectAct {
    const hashes = { capsule: HASH, etag: ETAG, manifest: HASH }
    const act = { kind: 'put', bucket: 'photos', key, ...hashes, expect: '', hold: false, retainUntilMs: 0 } as const
    return { ...act, size: 5, version: id(), ...changes }
  }

  ids(key: string): readonly string[] {
    return (this.state.objects.object('photos', key)?.versions ?? []).map((one) => one.id)
  }
}

const created = (policy?: string, retainMs = 0): Objects => {
  const objects = new Objects(policy)
  objects.do({ ...CREATE, retainMs, bucket: 'photos', residency: ['eu-1', 'eu-2'] })
  return objects
}
const gone = (key: string, version = ''): ObjectAct => ({
  kind: 'delete',
  bucket: 'photos',
  key,
  marker: version === '' ? id() : '',
  version,
})

test('an act counts when the access key signed it, lately, and the policy lets its identity write that key of that bucket', () => {
  const objects = created()
  const put = objects.put('a/b')
  const body = objects.body(put) as Extract<TxBody, { type: 'object.act' }>
  assert.equal(objects.codeOf(body), 'ok')
  assert.equal(objects.codeOf({ ...body, atMs: body.atMs + 1 }), 'ACCESS_KEY_PROOF')
  assert.equal(objects.codeOf({ ...body, act: { ...put, bucket: 'logs-1' } as ObjectAct }), 'ACCESS_KEY_PROOF')
  assert.equal(objects.codeOf({ ...body, accessKey: `RW${'B'.repeat(18)}` }), 'ACCESS_KEY_UNKNOWN')
  assert.equal(objects.codeOf(objects.body(put, NOW - 200_000)), 'OBJECT_STALE')
  assert.equal(objects.codeOf({ ...put, bucket: 'other' } as ObjectAct), 'OBJECT_NOT_ENTITLED')
  assert.equal(objects.codeOf({ ...put, bucket: 'logs-1' } as ObjectAct), 'BUCKET_UNKNOWN')
  assert.equal(objects.codeOf({ ...CREATE, bucket: 'logs-1', residency: ['eu-1'] }), 'BUCKET_RESIDENCY')
  objects.block(objects.operator({ type: 'access.remove', id: objects.accessKey, reason: 'lost' }))
  assert.equal(objects.codeOf(put), 'ACCESS_KEY_UNKNOWN')
})

test('an act does not count while the service is denied, nor ever when all was denied that was given out before', () => {
  const subject = `spiffe://${new Objects().app.ring}/service/shop`
  for (const [denial, isOver] of [
    [{ kind: 'subject', value: subject }, false],
    [
      { kind: 'issued-before', value: new Date(NOW + 60_000).toISOString(), issuer: ringIssuer(new Objects().app.ring), subject },
      false,
    ],
    [
      { kind: 'issued-before', value: new Date(NOW - 60_000).toISOString(), issuer: ringIssuer(new Objects().app.ring), subject },
      true,
    ],
  ] as const) {
    const objects = created()
    objects.nowMs = NOW + 90_000
    objects.block(objects.operator({ type: 'deny.add', subject: denial as DenialSubject, ttlMs: 60_000, reason: 'stolen' }))
    assert.equal(objects.codeOf(objects.put('k')), isOver ? 'ok' : 'OBJECT_NOT_ENTITLED', JSON.stringify(denial))
  }
})

test('without versions a put takes the place of the one before, and a delete leaves nothing', () => {
  const objects = created()
  const [first, second] = [objects.put('k'), objects.put('k')]
  objects.do(first)
  assert.equal(objects.codeOf({ kind: 'bucket.remove', bucket: 'photos' }), 'BUCKET_NOT_EMPTY')
  assert.equal(objects.codeOf(objects.put('k', { expect: '-' })), 'OBJECT_CHANGED')
  assert.equal(objects.codeOf(objects.put('k', { expect: '0'.repeat(32) })), 'OBJECT_CHANGED')
  assert.equal(objects.codeOf(objects.put('k', { expect: ETAG })), 'ok')
  assert.equal(objects.codeOf(first), 'OBJECT_TAKEN')
  objects.do(second)
  assert.deepEqual(objects.ids('k'), [(second as { version: string }).version])
  objects.do(gone('k'))
  assert.deepEqual([objects.ids('k'), objects.state.objects.size, objects.state.objects.bucket('photos')?.held], [[], 0, 0])
  objects.do({ kind: 'bucket.remove', bucket: 'photos' })
})

test('with versions what was stays, behind a marker; what is held or retained is deleted by nobody until then', () => {
  const objects = created()
  objects.do({ kind: 'bucket.version', bucket: 'photos', versioning: 'on' })
  objects.do({ kind: 'bucket.lock', bucket: 'photos' })
  const until = objects.nowMs + 60_000
  objects.do(objects.put('k', { retainUntilMs: until }))
  objects.do(objects.put('k', { hold: true }))
  objects.do(gone('k'))
  assert.equal(objects.ids('k').length, 3)
  const [kept, held] = objects.ids('k') as [string, string]
  assert.equal(objects.codeOf(gone('k', kept)), 'OBJECT_RETAINED')
  assert.equal(objects.codeOf(gone('k', held)), 'OBJECT_RETAINED')
  const lock = { kind: 'lock', bucket: 'photos', key: 'k', hold: false } as const
  assert.equal(objects.codeOf({ ...lock, version: kept, retainUntilMs: until - 1 }), 'OBJECT_RETAINED')
  objects.do({ ...lock, version: held, retainUntilMs: 0 })
  objects.do(gone('k', held))
  objects.nowMs = until
  objects.do(gone('k', kept))
  assert.equal(objects.state.objects.version(kept), undefined)
})

test('a bucket that keeps everything for a time can keep it longer, not shorter, and a put counts from its block', () => {
  const objects = created(undefined, 5_000)
  objects.do(objects.put('k'))
  assert.equal(objects.codeOf(objects.put('k')), 'OBJECT_RETAINED', 'without versions it would take the place of what is kept')
  assert.equal(objects.codeOf(gone('k')), 'OBJECT_RETAINED')
  objects.nowMs += 5_001
  objects.do(gone('k'))
  objects.do({ kind: 'bucket.version', bucket: 'photos', versioning: 'on' })
  objects.do({ kind: 'bucket.lock', bucket: 'photos' })
  objects.do({ kind: 'bucket.retain', bucket: 'photos', retainMs: 6_000 })
  assert.equal(objects.codeOf({ kind: 'bucket.retain', bucket: 'photos', retainMs: 5_999 }), 'OBJECT_RETAINED')
})

test('nobody locks anything in a bucket that has no object lock, and one that has it keeps versions', () => {
  const objects = created()
  objects.do(objects.put('k'))
  const lock = { kind: 'lock', bucket: 'photos', key: 'k', version: objects.ids('k')[0]! } as const
  for (const act of [
    objects.put('k', { hold: true }),
    objects.put('k', { retainUntilMs: objects.nowMs + 60_000 }),
    { ...lock, hold: true, retainUntilMs: 0 },
    { ...lock, hold: false, retainUntilMs: objects.nowMs + 60_000 },
    { kind: 'bucket.retain', bucket: 'photos', retainMs: 5_000 } as const,
  ])
    assert.equal(objects.codeOf(act), 'BUCKET_UNLOCKED', JSON.stringify(act))
  assert.equal(objects.codeOf({ kind: 'bucket.lock', bucket: 'photos' }), 'BUCKET_UNVERSIONED')
  objects.do({ kind: 'bucket.version', bucket: 'photos', versioning: 'on' })
  objects.do({ kind: 'bucket.lock', bucket: 'photos' })
  assert.equal(objects.codeOf({ kind: 'bucket.version', bucket: 'photos', versioning: 'suspended' }), 'BUCKET_LOCKS')
  objects.do({ ...lock, hold: true, retainUntilMs: 0 })
  const again = parseSnapshot(objects.app.ring, Buffer.concat([...objects.app.snapshot(objects.state)]))
  assert.equal(again.objects.bucket('photos')?.locks, true)
})

test('objects are in the snapshot and the root, the sealing key is not replaced while there are any, and lists are in the order of bytes', () => {
  const objects = created()
  for (const key of ['b', 'a', 'ä', '\u{1f600}', '\uffee']) objects.do(objects.put(key))
  const rotate: TxBody = { type: 'key.rotate', key: 'sealing', reason: 'suspected' }
  const refused = objects.app.check(objects.state, objects.operator(rotate), objects.nowMs)
  assert.ok(!refused.ok && refused.code === 'KEY_IN_USE')
  const bytes = Buffer.concat([...objects.app.snapshot(objects.state)])
  const again = parseSnapshot(objects.app.ring, bytes)
  assert.equal(again.root(), objects.state.root())
  assert.deepEqual(
    again.objects.list('photos').map(({ key }) => key),
    ['a', 'b', 'ä', '\uffee', '\u{1f600}'],
  )
})
