/** Objects on a real ring of four processes, by the SDK that clients use. Steps build on one another, in order. */
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  ListPartsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { BlobShape } from '@ringwall/vault'
import { BucketClient } from '../packages/node/src/objects/bucket-client.ts'
import { ShardBucket } from '../packages/node/src/objects/shard-bucket.ts'
import { ShardFolder } from '../packages/node/src/objects/shard-folder.ts'
import { consoleSkip, launchChromium, signedInAt } from './console-page.ts'
import { eventually } from './local-ring.ts'
import { type AccessKey, bytesOf, md5, ObjectRing } from './objects-scene.ts'

const Bucket = 'shop-a'
let scene: ObjectRing
let key: AccessKey
let s3: S3Client

const fails =
  (code: string, status: number) => (error: Error & { readonly $metadata?: { readonly httpStatusCode?: number } }) => {
    assert.deepEqual([error.name, error.$metadata?.httpStatusCode], [code, status], error.message)
    return true
  }

async function get(client: S3Client, Key: string, more: object = {}): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, ...more }))
  return Buffer.from((await Body?.transformToByteArray()) ?? [])
}

const put = (Key: string, Body: Uint8Array | string, more: object = {}) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))

before(async () => {
  scene = await ObjectRing.start()
  key = scene.accessKey()
  s3 = scene.s3(1, key)
})
after(() => scene?.destroy())

test('01 buckets are made by who may write them; wrong secrets, unknown keys and unsigned requests are told so in XML', async () => {
  await s3.send(new CreateBucketCommand({ Bucket }))
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket })), fails('BucketAlreadyOwnedByYou', 409))
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'elsewhere' })), fails('AccessDenied', 403))
  await s3.send(new HeadBucketCommand({ Bucket }))
  assert.equal((await s3.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint, undefined)
  assert.deepEqual(
    (await s3.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name),
    [Bucket],
  )
  const wrong = scene.s3(1, { ...key, secretAccessKey: `${key.secretAccessKey}x` })
  await assert.rejects(wrong.send(new ListBucketsCommand({})), fails('SignatureDoesNotMatch', 403))
  const unknown = scene.s3(1, { ...key, accessKeyId: `RW${'A'.repeat(18)}` })
  await assert.rejects(unknown.send(new ListBucketsCommand({})), fails('InvalidAccessKeyId', 403))
  const answer = await fetch(`http://127.0.0.1:${scene.port(1)}/${Bucket}`)
  assert.equal(answer.status, 403)
  assert.match(await answer.text(), /^<\?xml[^>]*>\n<Error><Code>AccessDenied<\/Code><Message>.*not signed/)
})

test('02 what is put through one node is read through the others, whole and in ranges, as it is or not at all', async () => {
  const big = bytesOf(9_000_001)
  const Metadata = { colour: 'blue' }
  const { ETag } = await put('a/big', big, { ContentType: 'image/png', Metadata })
  assert.equal(ETag, `"${md5(big)}"`)
  for (const node of [1, 2, 3, 4]) {
    const other = scene.s3(node, key)
    await eventually(
      'it is there',
      async () => (await other.send(new HeadObjectCommand({ Bucket, Key: 'a/big' }))).ContentLength === big.length,
    )
    assert.ok((await get(other, 'a/big')).equals(big))
  }
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a/big' }))
  assert.deepEqual([head.ContentType, head.Metadata, head.ETag], ['image/png', Metadata, ETag])
  for (const [Range, expected] of [
    ['bytes=0-0', big.subarray(0, 1)],
    ['bytes=4194300-4194310', big.subarray(4_194_300, 4_194_311)],
    ['bytes=-5', big.subarray(-5)],
    ['bytes=8999999-', big.subarray(8_999_999)],
  ] as const)
    assert.ok((await get(s3, 'a/big', { Range })).equals(expected), Range)
  await assert.rejects(get(s3, 'a/big', { Range: 'bytes=9000001-' }), fails('InvalidRange', 416))
  await assert.rejects(get(s3, 'a/big', { IfMatch: '"0"' }), fails('PreconditionFailed', 412))
  await assert.rejects(
    get(s3, 'a/big', { IfNoneMatch: ETag }),
    (error: Error & { $metadata?: { httpStatusCode?: number } }) => error.$metadata?.httpStatusCode === 304,
  )
  await assert.rejects(put('a/big', 'x', { IfNoneMatch: '*' }), fails('PreconditionFailed', 412))
  await put('a/empty', '')
  assert.equal((await get(s3, 'a/empty')).length, 0)
  await assert.rejects(get(s3, 'none'), fails('NoSuchKey', 404))
  await assert.rejects(put('a/md5', 'x', { ContentMD5: Buffer.alloc(16).toString('base64') }), fails('BadDigest', 400))
  for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const)
    await put('a/sum', bytesOf(70_000), { ChecksumAlgorithm })
  const { ChecksumSHA256 } = await s3.send(new GetObjectCommand({ Bucket, Key: 'a/sum', ChecksumMode: 'ENABLED' }))
  assert.equal(ChecksumSHA256?.length, 44)
})

test('03 lists are in the order of bytes, by pages, and by what keys have in common', async () => {
  await Promise.all(['b/1', 'b/2', 'b/c/1', 'ä & <b>'].map((name) => put(name, name)))
  const all = await s3.send(new ListObjectsV2Command({ Bucket }))
  assert.deepEqual(
    all.Contents?.map(({ Key }) => Key),
    ['a/big', 'a/empty', 'a/sum', 'b/1', 'b/2', 'b/c/1', 'ä & <b>'],
  )
  const folders = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/' }))
  assert.deepEqual(
    folders.CommonPrefixes?.map(({ Prefix }) => Prefix),
    ['a/', 'b/'],
  )
  assert.deepEqual(
    folders.Contents?.map(({ Key }) => Key),
    ['ä & <b>'],
  )
  const paged: (string | undefined)[] = []
  for (let token: string | undefined, more = true; more; ) {
    const page = await s3.send(
      new ListObjectsV2Command({ Bucket, Delimiter: '/', Prefix: 'b/', MaxKeys: 1, ContinuationToken: token }),
    )
    paged.push(...(page.Contents ?? []).map(({ Key }) => Key), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix))
    token = page.NextContinuationToken
    more = page.IsTruncated === true
  }
  assert.deepEqual(paged, ['b/1', 'b/2', 'b/c/'])
  assert.equal((await s3.send(new ListObjectsCommand({ Bucket, Marker: 'b/1', MaxKeys: 1 }))).Contents?.[0]?.Key, 'b/2')
})

test('04 an upload in parts is one object once it is completed, and nothing before; a part that is put again counts once', async () => {
  const parts = [bytesOf(5_242_880), bytesOf(6_000_000), bytesOf(100)]
  const Key = 'parts'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ContentType: 'text/plain' }))
  const upload = (PartNumber: number, Body: Buffer) => s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
  await upload(1, bytesOf(5_300_000))
  const sent = await Promise.all(parts.map((body, at) => upload(at + 1, body)))
  const listed = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId }))
  assert.deepEqual(
    listed.Parts?.map(({ Size }) => Size),
    parts.map(({ length }) => length),
  )
  assert.equal((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length, 1)
  await assert.rejects(get(s3, Key), fails('NoSuchKey', 404))
  const Parts = sent.map(({ ETag }, at) => ({ ETag, PartNumber: at + 1 }))
  const wrong = [{ ETag: '"0"', PartNumber: 1 }]
  await assert.rejects(
    s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: wrong } })),
    fails('InvalidPart', 400),
  )
  const { ETag } = await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  assert.match(ETag ?? '', /^"[0-9a-f]{32}-3"$/)
  const whole = Buffer.concat(parts)
  assert.ok((await get(s3, Key)).equals(whole))
  assert.ok((await get(s3, Key, { Range: 'bytes=5242870-11242890' })).equals(whole.subarray(5_242_870, 11_242_891)))
  assert.ok((await get(s3, Key, { PartNumber: 2 })).equals(parts[1] as Buffer))
  const other = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'gone' }))
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'gone', UploadId: other.UploadId }))
  await assert.rejects(
    s3.send(new UploadPartCommand({ Bucket, Key: 'gone', UploadId: other.UploadId, PartNumber: 1, Body: 'x' })),
    fails('NoSuchUpload', 404),
  )
})

test('05 copies, presigned addresses, many deletions at once', async () => {
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/a/big` }))
  assert.ok((await get(s3, 'copy')).equals(await get(s3, 'a/big')))
  assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy' }))).ContentType, 'image/png')
  const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'b/1' }), { expiresIn: 60 })
  assert.equal(await (await fetch(url)).text(), 'b/1')
  assert.equal((await fetch(url.replace('b/1', 'b/2'))).status, 403)
  assert.equal((await fetch(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=600'))).status, 403)
  const signed = await getSignedUrl(
    s3,
    new PutObjectCommand({ Bucket, Key: 'b/signed', Metadata: { owner: 'ada' }, ContentType: 'text/plain' }),
    { expiresIn: 60 },
  )
  assert.match(signed, /x-amz-meta-owner=ada/)
  assert.equal((await fetch(signed, { method: 'PUT', body: 'x', headers: { 'content-type': 'text/plain' } })).status, 200)
  assert.deepEqual((await s3.send(new HeadObjectCommand({ Bucket, Key: 'b/signed' }))).Metadata, { owner: 'ada' })
  const locking = { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: new Date(Date.now() + 60_000) } as const
  const locked = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'b/locked', ...locking }), { expiresIn: 60 })
  assert.match(locked, /x-amz-object-lock-mode=COMPLIANCE/)
  assert.equal((await fetch(locked, { method: 'PUT', body: 'x' })).status, 400, 'this bucket has no object lock')
  await assert.rejects(get(s3, 'b/locked'), fails('NoSuchKey', 404))
  const Objects = ['b/1', 'b/2', 'b/c/1', 'never'].map((Key) => ({ Key }))
  const { Deleted, Errors } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  assert.deepEqual([Deleted?.length, Errors ?? []], [4, []])
  await assert.rejects(get(s3, 'b/1'), fails('NoSuchKey', 404))
  await assert.rejects(s3.send(new DeleteBucketCommand({ Bucket })), fails('BucketNotEmpty', 409))
})

test('06 what a deletion expects holds, or nothing is deleted; what is not taken is refused, not left out of account', async () => {
  const { ETag } = await put('conditional', 'one')
  const remove = (IfMatch: string) => s3.send(new DeleteObjectCommand({ Bucket, Key: 'conditional', IfMatch }))
  await assert.rejects(remove(`"${'0'.repeat(32)}"`), fails('PreconditionFailed', 412))
  await assert.rejects(remove('nope'), fails('PreconditionFailed', 412))
  const Objects = [{ Key: 'conditional', ETag: '"bad"' }]
  const { Errors } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
  assert.equal(Errors?.[0]?.Code, 'PreconditionFailed')
  assert.equal((await get(s3, 'conditional')).toString(), 'one')
  await remove(ETag!)
  await assert.rejects(get(s3, 'conditional'), fails('NoSuchKey', 404))
  await assert.rejects(remove(ETag!), fails('PreconditionFailed', 412))
  await assert.rejects(put('conditional', 'two', { IfMatch: ETag! }), fails('NoSuchKey', 404))
  await put('log', 'line1')
  await assert.rejects(put('log', 'line2', { WriteOffsetBytes: 5 }), fails('NotImplemented', 501))
  await assert.rejects(put('log', 'open', { ACL: 'public-read' }), fails('NotImplemented', 501))
  await assert.rejects(put('log', 'cold', { StorageClass: 'GLACIER' }), fails('NotImplemented', 501))
  assert.equal((await get(s3, 'log')).toString(), 'line1')
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'joined' }))
  const copyPart = (CopySourceRange: string) =>
    s3.send(
      new UploadPartCopyCommand({ Bucket, Key: 'joined', UploadId, PartNumber: 1, CopySource: `${Bucket}/log`, CopySourceRange }),
    )
  await assert.rejects(copyPart('junk'), fails('InvalidArgument', 400))
  await assert.rejects(copyPart('bytes=0-1,2-3'), fails('InvalidArgument', 400))
  await assert.rejects(copyPart('bytes=0-5'), fails('InvalidRange', 416))
  assert.equal(
    (await copyPart('bytes=0-4')).CopyPartResult?.ETag,
    (await s3.send(new HeadObjectCommand({ Bucket, Key: 'log' }))).ETag,
  )
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'joined', UploadId }))
})

test('07 versions stay behind a marker until they are deleted by their ids; what is kept or held is deleted by nobody', async () => {
  const kept = { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: new Date(Date.now() + 60_000) } as const
  await assert.rejects(put('v', 'for ever', kept), fails('InvalidRequest', 400))
  await assert.rejects(
    s3.send(new GetObjectLockConfigurationCommand({ Bucket })),
    fails('ObjectLockConfigurationNotFoundError', 404),
  )
  const lock = { Bucket, ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled' } } as const
  await assert.rejects(s3.send(new PutObjectLockConfigurationCommand(lock)), fails('InvalidBucketState', 409))
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
  assert.equal((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status, 'Enabled')
  await s3.send(new PutObjectLockConfigurationCommand(lock))
  const first = await put('v', 'first')
  const second = await put('v', 'second', kept)
  assert.notEqual(first.VersionId, second.VersionId)
  const { VersionId: marker, DeleteMarker } = await s3.send(new DeleteObjectCommand({ Bucket, Key: 'v' }))
  assert.equal(DeleteMarker, true)
  await assert.rejects(get(s3, 'v'), fails('NoSuchKey', 404))
  assert.equal((await get(s3, 'v', { VersionId: first.VersionId })).toString(), 'first')
  const { Versions, DeleteMarkers } = await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'v' }))
  assert.deepEqual([Versions?.length, DeleteMarkers?.[0]?.VersionId], [2, marker])
  const paged: (string | undefined)[] = []
  for (let next: { KeyMarker?: string; VersionIdMarker?: string } | undefined = {}; next !== undefined; ) {
    const page: ListObjectVersionsCommandOutput = await s3.send(
      new ListObjectVersionsCommand({ Bucket, Prefix: 'v', MaxKeys: 1, ...next }),
    )
    paged.push(...[...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])].map(({ VersionId }) => VersionId))
    const { NextKeyMarker, NextVersionIdMarker } = page
    next =
      page.IsTruncated === true
        ? { KeyMarker: NextKeyMarker ?? '', ...(NextVersionIdMarker ? { VersionIdMarker: NextVersionIdMarker } : {}) }
        : undefined
  }
  assert.deepEqual(paged, [marker, second.VersionId, first.VersionId], 'a version a page')
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'v', VersionId: marker }))
  assert.equal((await get(s3, 'v')).toString(), 'second')
  const retained = await s3.send(new GetObjectRetentionCommand({ Bucket, Key: 'v' }))
  assert.equal(retained.Retention?.Mode, 'COMPLIANCE')
  await assert.rejects(
    s3.send(new DeleteObjectCommand({ Bucket, Key: 'v', VersionId: second.VersionId })),
    fails('AccessDenied', 403),
  )
  const hold = (Status: 'ON' | 'OFF') =>
    s3.send(new PutObjectLegalHoldCommand({ Bucket, Key: 'v', VersionId: first.VersionId, LegalHold: { Status } }))
  await hold('ON')
  await assert.rejects(
    s3.send(new DeleteObjectCommand({ Bucket, Key: 'v', VersionId: first.VersionId })),
    fails('AccessDenied', 403),
  )
  await hold('OFF')
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'v', VersionId: first.VersionId }))
  await assert.rejects(get(s3, 'v', { VersionId: first.VersionId }), fails('NoSuchVersion', 404))
})

test('08 who may read one folder reads that and nothing else', async () => {
  const guest = scene.s3(2, scene.accessKey('service:guest'))
  await s3.send(new CreateBucketCommand({ Bucket: 'shop-public' }))
  await s3.send(new PutObjectCommand({ Bucket: 'shop-public', Key: 'open/a', Body: 'open' }))
  await s3.send(new PutObjectCommand({ Bucket: 'shop-public', Key: 'closed/a', Body: 'closed' }))
  const read = (Key: string) => guest.send(new GetObjectCommand({ Bucket: 'shop-public', Key }))
  await eventually('it is there', async () => (await (await read('open/a')).Body?.transformToString()) === 'open')
  await assert.rejects(read('closed/a'), fails('AccessDenied', 403))
  await assert.rejects(guest.send(new ListObjectsV2Command({ Bucket: 'shop-public' })), fails('AccessDenied', 403))
  assert.equal((await guest.send(new ListObjectsV2Command({ Bucket: 'shop-public', Prefix: 'open/' }))).KeyCount, 1)
  await assert.rejects(
    guest.send(new PutObjectCommand({ Bucket: 'shop-public', Key: 'open/b', Body: 'x' })),
    fails('AccessDenied', 403),
  )
})

test('09 what is deleted is on no disk any more', async () => {
  const before = scene.shardFiles(1).length
  assert.ok(before > 0)
  const Objects = ((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map(({ Key }) => ({
    Key: Key as string,
  }))
  await Promise.all(Objects.map(({ Key }) => s3.send(new DeleteObjectCommand({ Bucket, Key, VersionId: 'null' }))))
  await eventually('they are erased', () => scene.shardFiles(1).length < before / 2)
})

test('10 shards of another ring are kept in a bucket of this one: whole, in parts, in ranges, listed and erased', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-shards-'))
  try {
    const place = {
      endpoint: `http://127.0.0.1:${scene.port(1)}`,
      region: 'us-east-1',
      bucket: Bucket,
      pathStyle: true,
      ca: undefined,
    }
    const settings = { where: 'a ring', prefix: 'ringwall/x/n1/', bytesMax: 1e9, listMs: 0, residueMs: 0, say: () => {} }
    const open = async (): Promise<ShardBucket> => {
      const client = new BucketClient({ place, credentials: () => key })
      return new ShardBucket(await ShardFolder.open(folder, undefined, 1e9), { ...settings, client })
    }
    const store = await open()
    const [version, blob] = ['1'.repeat(32), 'a'.repeat(16)]
    const shards = [bytesOf(9_000_000), bytesOf(100)]
    for (const [index, bytes] of shards.entries()) {
      const writer = await store.receive(version, blob, index)
      for (let at = 0; at < bytes.length; at += 1_000_000) await writer.write(bytes.subarray(at, at + 1_000_000))
      await writer.commit()
    }
    const again = await open()
    assert.deepEqual(
      (await again.held(version)).map(({ bytes }) => bytes),
      shards.map(({ length }) => length),
    )
    const shard = await again.openShard(version, blob, 0)
    const part = Buffer.alloc(100_000)
    assert.equal(await shard?.readInto(8_388_600, part), true)
    assert.ok(part.equals((shards[0] as Buffer).subarray(8_388_600, 8_488_600)))
    await shard?.close()
    await again.erase(version)
    const { KeyCount } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'ringwall/' }))
    assert.equal(KeyCount, 0)
    await again.tend(new AbortController().signal)
    assert.deepEqual(await again.held(version), [])
    for (const one of [store, again]) one.stop()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('11 the console shows a shard that rotted as it is found, named and made anew, and one that was removed, without a command', {
  skip: consoleSkip,
}, async () => {
  await put('healed', bytesOf(5_100_001))
  // No other object of these tests has shards of this size.
  const { shardBytes } = new BlobShape(5_100_001, 2)
  const isOfHealed = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.size === shardBytes
  const shardOf = (node: number): string => scene.shardFiles(node).find(isOfHealed) as string
  const standing = (node: number) => scene.ring.client(node).vaultObjects()
  for (const node of [2, 3])
    await eventually(
      `n${node} has compared its shard`,
      async () => shardOf(node) !== undefined && (await standing(node)).uncompared === 0 && (await standing(node)).missing === 0,
    )
  const browser = await launchChromium()
  try {
    const page = await signedInAt(browser, scene.ring.adminUrl(1), scene.ring.context)
    await page.getByRole('link', { name: 'Objects' }).click()
    await page.getByText(/^All whole: \d+ shards of \d+ versions on 4 nodes\.$/).waitFor()
    const before = await Promise.all([2, 3].map(standing))

    flipByte(shardOf(3), 1_000)
    assert.equal((await get(scene.s3(3, key), 'healed')).length, 5_100_001)
    const accused = page.getByRole('region', { name: 'Nodes that gave wrong shards, or none' }).getByRole('row', { name: 'n3' })
    await eventually('n3 is named', async () => /^n3\s+[1-9]\d*\s.* ago\s.*\bn3$/.test(await accused.innerText()))

    const removed = shardOf(2)
    rmSync(removed)
    // Something is put through n2, so that it looks at its shards now.
    await scene.s3(2, key).send(new PutObjectCommand({ Bucket, Key: 'small', Body: 'small' }))
    const holders = page.getByRole('region', { name: 'Nodes and their shards' })
    const [second, third] = before.map(({ repaired }) => repaired + 1) as [number, number]
    await holders.getByRole('row', { name: new RegExp(`^n2 .*whole.* ${second} \\S+ MiB 0 `) }).waitFor()
    await holders.getByRole('row', { name: new RegExp(`^n3 .*whole.* ${third} \\S+ MiB 1 `) }).waitFor()
    assert.ok(isOfHealed(removed))
    const { faults } = await standing(3)
    assert.equal((await get(scene.s3(3, key), 'healed')).length, 5_100_001)
    assert.equal((await standing(3)).faults, faults, 'its shard is right again')
  } finally {
    await browser.close()
  }
})

function flipByte(file: string, at: number): void {
  const handle = openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  readSync(handle, byte, 0, 1, at)
  writeSync(handle, Buffer.of((byte[0] as number) ^ 1), 0, 1, at)
  closeSync(handle)
}

test('12 a download that is under way ends when its access key is removed', async () => {
  const whole = bytesOf(60_000_000)
  await put('download', whole)
  const lost = scene.accessKey()
  const url = await getSignedUrl(scene.s3(1, lost), new GetObjectCommand({ Bucket, Key: 'download' }), { expiresIn: 600 })
  const response = await new Promise<IncomingMessage>((settle, refuse) => httpGet(url, settle).on('error', refuse))
  response.pause()
  scene.ring.cli('vault', 'access-key', 'rm', lost.accessKeyId, '--reason', 'lost')
  await eventually('new requests are refused', async () => (await fetch(url)).status === 403)
  let read = 0
  await assert.rejects(async () => {
    for await (const chunk of response) read += (chunk as Buffer).length
  })
  // What was on its way already, and no more.
  assert.ok(response.statusCode === 200 && read < whole.length / 2, `${response.statusCode} ${read}`)
})
