/** What S3's clients do with single objects. */
import { createHash, randomBytes } from 'node:crypto'
import { type Bucket, isObjectKey, mayUseObjects, OBJECT_BYTES_MAX, type ObjectVersion } from '@ringwall/ring'
import { isHeader, type Manifest, type ManifestPart, OBJECT_HEADERS_BYTES_MAX, OBJECT_PARTS_MAX } from '@ringwall/vault'
import type { BlobWriter, StoredBlob } from '../objects/blob-writer.ts'
import type { Draft, ObjectService, SpreadManifest } from '../objects/object-service.ts'
import { BodyReader } from '../objects/pour.ts'
import { written } from '../objects/shard-server.ts'
import type { Body } from './s3-body.ts'
import type { S3Call } from './s3-call.ts'
import { checkConditions, checkRemoval, copyRangeOf, expectOf, rangeOf } from './s3-conditions.ts'
import { S3Error } from './s3-error.ts'
import { shownVersion } from './s3-listing.ts'
import type { Turns } from './s3-turns.ts'
import { type Upload, Uploads } from './s3-uploads.ts'
import { awsDecode, awsEncode } from './sigv4.ts'
import { childText, type XmlNode } from './xml.ts'

const PART_BYTES_MIN = 5_242_880
const KEPT_HEADERS = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-type', 'expires']
/** Query and the header that it sets, of a GET. */
const RESPONSE_HEADERS = KEPT_HEADERS.map((name) => [`response-${name}`, name] as const)

/** Headers that ask for what is not there: to leave them out of account would be to promise it. */
const UNTAKEN =
  /^x-amz-(?:server-side-encryption-(?:customer|aws|context|bucket)|grant-|website|tagging$|write-offset-bytes$|object-ownership$)/
/** Those with values that say what happens anyway. */
const TAKEN: ReadonlyMap<string, readonly string[]> = new Map([
  ['x-amz-acl', ['private', 'bucket-owner-full-control']],
  ['x-amz-server-side-encryption', ['AES256']],
  ['x-amz-storage-class', ['STANDARD']],
])

/** @throws {S3Error} NotImplemented */
export function refuseUntaken({ headers }: S3Call): void {
  for (const [name, value] of Object.entries(headers)) {
    const taken = TAKEN.get(name)
    if (UNTAKEN.test(name)) throw new S3Error('NotImplemented', `${name} is not taken`)
    if (taken !== undefined && !taken.includes(String(value)))
      throw new S3Error('NotImplemented', `of ${name}, ${taken.join(' and ')} can be asked for`)
  }
}

interface Found {
  readonly bucket: Bucket
  readonly version: ObjectVersion
}

export class S3Objects {
  readonly #service: ObjectService
  readonly #turns: Turns
  readonly uploads: Uploads

  constructor(service: ObjectService, self: string, turns: Turns) {
    this.#service = service
    this.#turns = turns
    this.uploads = new Uploads(self)
  }

  /** @throws {S3Error} */
  bucket(name: string): Bucket {
    const bucket = this.#service.state.objects.bucket(name)
    if (bucket === undefined) throw new S3Error('NoSuchBucket', `there is no bucket ${name}`)
    return bucket
  }

  /** @throws {S3Error} AccessDenied */
  need(call: S3Call, action: 'read' | 'write', bucket: string, key: string): void {
    const { identity } = call.client.key
    if (mayUseObjects(this.#service.view.policy.vault.objects, identity, action, bucket, key)) return
    throw new S3Error('AccessDenied', `no rule of the policy (vault.objects) lets ${identity} ${action} it`)
  }

  /** Whether the client may still have it: a download may take hours. @throws {S3Error} AccessDenied */
  #checkStanding(call: S3Call, bucket: string, key: string): void {
    const refusal = this.#service.refusal(call.client)
    if (refusal !== undefined) throw new S3Error('AccessDenied', refusal)
    this.need(call, 'read', bucket, key)
  }

  /** @param named As clients name versions; undefined: the newest. @throws {S3Error} */
  #find(bucket: Bucket, key: string, named: string | undefined): Found {
    const versions = this.#service.state.objects.object(bucket.name, key)?.versions ?? []
    const version = named === undefined ? versions.at(-1) : versions.find((one) => shownVersion(one) === named)
    if (version === undefined)
      throw named === undefined
        ? new S3Error('NoSuchKey', 'there is no such object')
        : new S3Error('NoSuchVersion', 'there is no such version')
    return { bucket, version }
  }

  async get(call: S3Call, bucketName: string, key: string): Promise<void> {
    const bucket = this.bucket(bucketName)
    this.need(call, 'read', bucketName, key)
    const named = call.query.get('versionId')
    const { version } = this.#find(bucket, key, named)
    if (version.marker) {
      call.response.setHeader('x-amz-delete-marker', 'true')
      call.response.setHeader('x-amz-version-id', shownVersion(version))
      throw named === undefined
        ? new S3Error('NoSuchKey', 'the object is deleted')
        : new S3Error('MethodNotAllowed', 'this version says that the object is deleted')
    }
    const header = (name: string): string | undefined => call.header(name)
    call.response.setHeader('etag', `"${version.etag}"`)
    call.response.setHeader('last-modified', new Date(version.atMs).toUTCString())
    checkConditions(header, version)
    const manifest = await this.#service.manifest(version, bucket)
    let range = rangeOf(header('range'), version.size)
    const part = call.whole('partNumber', 1, OBJECT_PARTS_MAX, 0)
    if (part > 0) {
      if (header('range') !== undefined) throw new S3Error('InvalidRequest', 'a range and a part exclude each other')
      if (part > manifest.parts.length) throw new S3Error('InvalidRange', `the object has ${manifest.parts.length} parts`)
      const start = manifest.parts.slice(0, part - 1).reduce((sum, { size }) => sum + size, 0)
      range = [start, start + (manifest.parts[part - 1]?.size ?? 0)]
    }
    const [start, end] = range ?? [0, version.size]
    const headers: Record<string, string> = {
      'accept-ranges': 'bytes',
      'content-type': 'binary/octet-stream',
      ...Object.fromEntries(manifest.headers.filter(([name]) => !name.startsWith('x-amz-checksum-'))),
      'content-length': String(end - start),
      ...lockHeaders(version),
    }
    if (bucket.versioning !== 'off') headers['x-amz-version-id'] = shownVersion(version)
    if (range !== undefined) headers['content-range'] = `bytes ${start}-${end - 1}/${version.size}`
    if (version.etag.includes('-')) headers['x-amz-mp-parts-count'] = String(manifest.parts.length)
    else if (range === undefined && header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED')
      for (const [name, value] of manifest.headers) if (name.startsWith('x-amz-checksum-')) headers[name] = value
    for (const [name, set] of RESPONSE_HEADERS) {
      const value = call.query.get(name)
      if (value === undefined) continue
      if (!isHeader(set, value)) throw new S3Error('InvalidArgument', `${name} can be no header`)
      headers[set] = value
    }
    const status = range === undefined ? 200 : 206
    if (call.request.method === 'HEAD' || start === end) {
      if (call.request.method !== 'HEAD') await this.#service.openKey(call.client, manifest)
      call.response.writeHead(status, headers).end()
      return
    }
    await this.#turns.take(async () => {
      // Ciphertext is fetched while the holders are asked.
      const objectKey = this.#service.openKey(call.client, manifest)
      try {
        const content = this.#service.read(objectKey, manifest, bucket, start, end)
        // What cannot be had is said before the head of the answer.
        const first = await content.next()
        call.response.writeHead(status, headers)
        await send(call, first, content, () => this.#checkStanding(call, bucketName, key))
      } finally {
        await objectKey.then(
          (key) => key.fill(0),
          () => {},
        )
      }
    })
  }

  /** @throws {S3Error} */
  #settings(
    call: S3Call,
    bucket: Bucket,
  ): { readonly headers: Manifest['headers']; readonly hold: boolean; readonly retainUntilMs: number } {
    const kept = new Map<string, string>()
    for (const [name, value] of Object.entries(call.headers)) {
      if (typeof value !== 'string') continue
      if (KEPT_HEADERS.includes(name)) kept.set(name, value)
      else if (name.startsWith('x-amz-meta-')) kept.set(name, value)
    }
    const encoding = kept
      .get('content-encoding')
      ?.split(',')
      .map((one) => one.trim())
      .filter((one) => one !== 'aws-chunked')
      .join(',')
    if (encoding === '') kept.delete('content-encoding')
    else if (encoding !== undefined) kept.set('content-encoding', encoding)
    const headers = [...kept].sort(([a], [b]) => (a < b ? -1 : 1))
    if (headers.some(([name, value]) => !isHeader(name, value)) || headers.length > 60)
      throw new S3Error('InvalidArgument', 'a header of the object is malformed')
    if (headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0) > OBJECT_HEADERS_BYTES_MAX - 256)
      throw new S3Error('MetadataTooLarge', `the object’s headers have more than ${OBJECT_HEADERS_BYTES_MAX - 256} bytes`)
    refuseUntaken(call)
    const mode = call.header('x-amz-object-lock-mode')
    if (mode !== undefined && mode !== 'COMPLIANCE') throw new S3Error('NotImplemented', 'the lock’s mode must be COMPLIANCE')
    const until = call.header('x-amz-object-lock-retain-until-date')
    const retainUntilMs = until === undefined ? 0 : Date.parse(until)
    if (
      (mode === undefined) !== (until === undefined) ||
      Number.isNaN(retainUntilMs) ||
      (until !== undefined && retainUntilMs <= Date.now())
    )
      throw new S3Error('InvalidArgument', 'a lock has a mode, and a date in the future until which it holds')
    const hold = call.header('x-amz-object-lock-legal-hold') === 'ON'
    // The ring would say so, too, when all of the body has been stored.
    if ((hold || retainUntilMs > 0) && bucket.locks !== true)
      throw new S3Error('InvalidRequest', `${bucket.name} has no object lock: enable it for the bucket first`)
    return { headers, hold, retainUntilMs }
  }

  /** @throws {S3Error} */
  #forWriting(call: S3Call, bucketName: string, key: string): Bucket {
    const bucket = this.bucket(bucketName)
    if (Buffer.byteLength(key) > 1_024) throw new S3Error('KeyTooLongError', 'a key has at most 1,024 bytes')
    if (!isObjectKey(key)) throw new S3Error('InvalidArgument', 'a key is text without control characters')
    this.need(call, 'write', bucketName, key)
    return bucket
  }

  /** As `ObjectAct.expect`. @throws {S3Error} */
  #expected(call: S3Call, bucket: Bucket, key: string): string {
    const expect = expectOf((name) => call.header(name))
    if (expect !== '' && expect !== '-' && this.#find(bucket, key, undefined).version.marker)
      throw new S3Error('NoSuchKey', 'the object is deleted')
    return expect
  }

  async put(call: S3Call, bucketName: string, key: string): Promise<void> {
    const bucket = this.#forWriting(call, bucketName, key)
    const settings = this.#settings(call, bucket)
    const expect = this.#expected(call, bucket, key)
    const body = call.body()
    const draft = this.#service.draft(bucket, key)
    let headers = settings.headers
    let spread: SpreadManifest | undefined
    const { blob, etag } = await this.#store(draft, body, async (part, parties) => {
      const checksum = body.checksum()
      if (checksum !== undefined) {
        const all = [...headers, [`x-amz-checksum-${checksum[0]}`, checksum[1]] as const]
        headers = all.sort(([a], [b]) => (a < b ? -1 : 1))
      }
      spread = await this.#service.spreadManifest(draft, [part], headers, parties)
    })
    const checksum = body.checksum()
    await this.#service.commit(call.client, draft, [blob], { ...settings, headers, etag, expect }, spread)
    draft.objectKey.fill(0)
    call.sendEmpty(200, {
      etag: `"${etag}"`,
      ...(checksum === undefined ? {} : { [`x-amz-checksum-${checksum[0]}`]: checksum[1] }),
      ...this.#versionHeader(bucket, draft),
    })
  }

  #versionHeader({ name, versioning }: Bucket, { key, version }: Draft): Readonly<Record<string, string>> {
    if (versioning === 'off') return {}
    const held = this.#service.state.objects.object(name, key)?.versions.find(({ id }) => id === version)
    return { 'x-amz-version-id': held?.plain === true ? 'null' : version }
  }

  /** @param beside What may be done while nodes put it on their disks. */
  async #store(
    draft: Draft,
    { length, chunks, stream, digests, check }: Pick<Body, 'length' | 'chunks' | 'stream' | 'digests' | 'check'>,
    beside: (part: ManifestPart, parties: readonly string[]) => Promise<void> = async () => {},
  ): Promise<{ blob: StoredBlob; etag: string }> {
    if (length > OBJECT_BYTES_MAX) throw new S3Error('EntityTooLarge', `an object has at most ${OBJECT_BYTES_MAX} bytes`)
    return this.#turns.take(async () => {
      const writer: BlobWriter = this.#service.blobWriter(draft, length, ['md5', ...digests])
      let etag = ''
      try {
        if (stream === undefined) for await (const chunk of chunks) await writer.write(chunk)
        else if (!(await writer.writeAll(new BodyReader(stream))))
          throw new S3Error('IncompleteBody', 'the body is shorter than was said')
        const part = await writer.finish(([md5 = '', ...others]) => {
          etag = md5
          check(others)
        })
        const [blob] = await Promise.all([writer.commit(part), beside(part, writer.parties)])
        return { blob, etag }
      } catch (error) {
        await writer.abort()
        throw error
      }
    })
  }

  async remove(call: S3Call, bucketName: string, key: string): Promise<void> {
    const headers = await this.removeOne(call, bucketName, key, call.query.get('versionId'), (name) => call.header(name))
    call.sendEmpty(204, headers)
  }

  /**
   * What is not there is deleted.
   *
   * @param header Of its conditions.
   * @throws {S3Error} And what the ring refuses it with.
   */
  async removeOne(
    call: S3Call,
    bucketName: string,
    key: string,
    named: string | undefined,
    header: (name: string) => string | undefined,
  ): Promise<Readonly<Record<string, string>>> {
    const bucket = this.#forWriting(call, bucketName, key)
    const versions = this.#service.state.objects.object(bucketName, key)?.versions ?? []
    const version = named === undefined ? versions.at(-1) : versions.find((one) => shownVersion(one) === named)
    const isConditional = checkRemoval(header, version)
    if (named !== undefined) {
      if (version !== undefined) await this.#removeVersion(call, bucketName, key, version)
      return { 'x-amz-version-id': named, ...(version?.marker === true ? { 'x-amz-delete-marker': 'true' } : {}) }
    }
    if (version === undefined) return {}
    // By its id: of one that was put meanwhile nobody said that it may go.
    if (isConditional && bucket.versioning === 'off') {
      await this.#removeVersion(call, bucketName, key, version)
      return {}
    }
    const marker = randomBytes(16).toString('hex')
    await this.#service.act(call.client, { kind: 'delete', bucket: bucketName, key, marker, version: '' })
    if (bucket.versioning === 'off') return {}
    return { 'x-amz-delete-marker': 'true', 'x-amz-version-id': bucket.versioning === 'on' ? marker : 'null' }
  }

  async #removeVersion(call: S3Call, bucket: string, key: string, { id }: ObjectVersion): Promise<void> {
    await this.#service.act(call.client, { kind: 'delete', bucket, key, marker: '', version: id })
  }

  /** @throws {S3Error} */
  #source(call: S3Call): Found & { readonly key: string } {
    const decoded = awsDecode((call.header('x-amz-copy-source') ?? '').replace(/^\//, '').replace(/\?versionId=([^?]*)$/, ''))
    const named = /\?versionId=([^?]*)$/.exec(call.header('x-amz-copy-source') ?? '')?.[1]
    const at = decoded?.indexOf('/') ?? -1
    if (decoded === undefined || at < 1) throw new S3Error('InvalidArgument', 'x-amz-copy-source must be BUCKET/KEY')
    const [bucketName, key] = [decoded.slice(0, at), decoded.slice(at + 1)]
    const bucket = this.bucket(bucketName)
    this.need(call, 'read', bucketName, key)
    const found = this.#find(bucket, key, named)
    if (found.version.marker) throw new S3Error('NoSuchKey', 'the object is deleted')
    checkConditions((name) => call.header(name), found.version, 'x-amz-copy-source-')
    return { ...found, key }
  }

  async #copied(
    call: S3Call,
    { bucket, version }: Found,
    draft: Draft,
    range: readonly [number, number] | undefined,
  ): Promise<{ blob: StoredBlob; etag: string; manifest: Manifest }> {
    const manifest = await this.#service.manifest(version, bucket)
    const objectKey = await this.#service.openKey(call.client, manifest)
    const [start, end] = range ?? [0, version.size]
    const chunks = this.#service.read(objectKey, manifest, bucket, start, end) as AsyncIterable<Buffer>
    try {
      const body = { length: end - start, chunks, stream: undefined, digests: [], check: () => {} }
      return { ...(await this.#store(draft, body)), manifest }
    } finally {
      objectKey.fill(0)
    }
  }

  async copy(call: S3Call, bucketName: string, key: string): Promise<void> {
    const bucket = this.#forWriting(call, bucketName, key)
    const source = this.#source(call)
    const settings = this.#settings(call, bucket)
    const replaces = call.header('x-amz-metadata-directive')?.toUpperCase() === 'REPLACE'
    if (
      !replaces &&
      source.bucket.name === bucketName &&
      source.key === key &&
      call.header('x-amz-copy-source')?.includes('?') !== true
    )
      throw new S3Error('InvalidRequest', 'a copy onto itself must replace the metadata')
    const draft = this.#service.draft(bucket, key)
    const { blob, etag, manifest } = await this.#copied(call, source, draft, undefined)
    const headers = replaces ? settings.headers : manifest.headers.filter(([name]) => !name.startsWith('x-amz-checksum-'))
    const expect = this.#expected(call, bucket, key)
    await this.#service.commit(call.client, draft, [blob], { ...settings, headers, etag, expect })
    draft.objectKey.fill(0)
    for (const [name, value] of Object.entries(this.#versionHeader(bucket, draft))) call.response.setHeader(name, value)
    call.sendXml('CopyObjectResult', [
      ['LastModified', new Date().toISOString()],
      ['ETag', `"${etag}"`],
    ])
  }

  // Uploads in parts.

  beginUpload(call: S3Call, bucketName: string, key: string): void {
    const bucket = this.#forWriting(call, bucketName, key)
    const draft = this.#service.draft(bucket, key)
    const upload = this.uploads.begin(draft, call.client.key.identity, this.#settings(call, bucket), Date.now())
    call.sendXml('InitiateMultipartUploadResult', [
      ['Bucket', bucketName],
      ['Key', key],
      ['UploadId', upload.id],
    ])
  }

  #upload(call: S3Call, bucketName: string, key: string): Upload {
    this.#forWriting(call, bucketName, key)
    return this.uploads.get(call.query.get('uploadId') ?? '', bucketName, key, call.client.key.identity)
  }

  async putPart(call: S3Call, bucketName: string, key: string): Promise<void> {
    const upload = this.#upload(call, bucketName, key)
    const number = call.whole('partNumber', 1, OBJECT_PARTS_MAX + 1, 0)
    if (number < 1 || number > OBJECT_PARTS_MAX)
      throw new S3Error('InvalidArgument', `partNumber is from 1 to ${OBJECT_PARTS_MAX}`)
    if (call.header('x-amz-copy-source') !== undefined) {
      const source = this.#source(call)
      const range = copyRangeOf(call.header('x-amz-copy-source-range'), source.version.size)
      const { blob, etag } = await this.#copied(call, source, upload.draft, range)
      upload.parts.set(number, { blob, etag, atMs: Date.now() })
      call.sendXml('CopyPartResult', [
        ['LastModified', new Date().toISOString()],
        ['ETag', `"${etag}"`],
      ])
      return
    }
    const body = call.body()
    const { blob, etag } = await this.#store(upload.draft, body)
    upload.parts.set(number, { blob, etag, atMs: Date.now() })
    const checksum = body.checksum()
    call.sendEmpty(200, {
      etag: `"${etag}"`,
      ...(checksum === undefined ? {} : { [`x-amz-checksum-${checksum[0]}`]: checksum[1] }),
    })
  }

  listParts(call: S3Call, bucketName: string, key: string): void {
    const upload = this.#upload(call, bucketName, key)
    const after = call.whole('part-number-marker', 0, OBJECT_PARTS_MAX, 0)
    const most = call.whole('max-parts', 0, 1_000, 1_000)
    const all = [...upload.parts].sort(([a], [b]) => a - b).filter(([number]) => number > after)
    const shown = all.slice(0, most)
    call.sendXml('ListPartsResult', [
      ['Bucket', bucketName],
      ['Key', key],
      ['UploadId', upload.id],
      ['PartNumberMarker', after],
      ['NextPartNumberMarker', shown.at(-1)?.[0] ?? after],
      ['MaxParts', most],
      ['IsTruncated', shown.length < all.length],
      ...shown.map(
        ([number, { etag, atMs, blob }]): XmlNode => [
          'Part',
          [
            ['PartNumber', number],
            ['LastModified', new Date(atMs).toISOString()],
            ['ETag', `"${etag}"`],
            ['Size', blob.part.size],
          ],
        ],
      ),
    ])
  }

  abortUpload(call: S3Call, bucketName: string, key: string): void {
    const upload = this.#upload(call, bucketName, key)
    this.uploads.end(upload.id)
    call.sendEmpty(204)
  }

  async completeUpload(call: S3Call, bucketName: string, key: string): Promise<void> {
    const upload = this.#upload(call, bucketName, key)
    const expect = this.#expected(call, upload.draft.bucket, key)
    const asked = (await call.xml('CompleteMultipartUpload')).children.filter(({ name }) => name === 'Part')
    if (asked.length === 0) throw new S3Error('MalformedXML', 'there is no part')
    let before = 0
    const chosen = asked.map((one, at) => {
      const number = Number(childText(one, 'PartNumber'))
      const part = upload.parts.get(number)
      if (part === undefined || childText(one, 'ETag')?.trim().replaceAll('"', '') !== part.etag)
        throw new S3Error('InvalidPart', `part ${number} was not uploaded so`)
      if (number <= before) throw new S3Error('InvalidPartOrder', 'parts must ascend')
      before = number
      if (at < asked.length - 1 && part.blob.part.size < PART_BYTES_MIN)
        throw new S3Error('EntityTooSmall', `part ${number} has fewer than ${PART_BYTES_MIN} bytes`)
      return part
    })
    if (chosen.reduce((sum, { blob }) => sum + blob.part.size, 0) > OBJECT_BYTES_MAX)
      throw new S3Error('EntityTooLarge', `an object has at most ${OBJECT_BYTES_MAX} bytes`)
    const md5 = createHash('md5')
    for (const { etag } of chosen) md5.update(Buffer.from(etag, 'hex'))
    const etag = `${md5.digest('hex')}-${chosen.length}`
    const blobs = chosen.map(({ blob }) => blob)
    await this.#service.commit(call.client, upload.draft, blobs, { ...upload.settings, etag, expect })
    const versionHeader = this.#versionHeader(upload.draft.bucket, upload.draft)
    this.uploads.end(upload.id)
    for (const [name, value] of Object.entries(versionHeader)) call.response.setHeader(name, value)
    call.sendXml('CompleteMultipartUploadResult', [
      ['Location', `/${bucketName}/${awsEncode(key)}`],
      ['Bucket', bucketName],
      ['Key', key],
      ['ETag', `"${etag}"`],
    ])
  }

  // Locks.

  showLock(call: S3Call, bucketName: string, key: string, what: 'retention' | 'legal-hold'): void {
    const bucket = this.bucket(bucketName)
    this.need(call, 'read', bucketName, key)
    const { version } = this.#find(bucket, key, call.query.get('versionId'))
    if (what === 'legal-hold') call.sendXml('LegalHold', [['Status', version.hold ? 'ON' : 'OFF']])
    else if (version.retainUntilMs === 0) throw new S3Error('NoSuchObjectLockConfiguration', 'it is not retained')
    else
      call.sendXml('Retention', [
        ['Mode', 'COMPLIANCE'],
        ['RetainUntilDate', new Date(version.retainUntilMs).toISOString()],
      ])
  }

  async setLock(call: S3Call, bucketName: string, key: string, what: 'retention' | 'legal-hold'): Promise<void> {
    const bucket = this.#forWriting(call, bucketName, key)
    const { version } = this.#find(bucket, key, call.query.get('versionId'))
    let { hold, retainUntilMs } = version
    if (what === 'legal-hold') {
      const status = childText(await call.xml('LegalHold'), 'Status')
      if (status !== 'ON' && status !== 'OFF') throw new S3Error('MalformedXML', 'Status must be ON or OFF')
      hold = status === 'ON'
    } else {
      const wanted = await call.xml('Retention')
      retainUntilMs = Date.parse(childText(wanted, 'RetainUntilDate') ?? '')
      if (childText(wanted, 'Mode') !== 'COMPLIANCE') throw new S3Error('NotImplemented', 'Mode must be COMPLIANCE')
      if (!(retainUntilMs > Date.now())) throw new S3Error('InvalidArgument', 'RetainUntilDate must be in the future')
    }
    await this.#service.act(call.client, { kind: 'lock', bucket: bucketName, hold, key, retainUntilMs, version: version.id })
    call.sendEmpty(200)
  }
}

function lockHeaders({ hold, retainUntilMs }: ObjectVersion): Readonly<Record<string, string>> {
  return {
    ...(hold ? { 'x-amz-object-lock-legal-hold': 'ON' } : {}),
    ...(retainUntilMs === 0
      ? {}
      : {
          'x-amz-object-lock-mode': 'COMPLIANCE',
          'x-amz-object-lock-retain-until-date': new Date(retainUntilMs).toISOString(),
        }),
  }
}

/** At the pace of who reads it; what fails on the way cuts the answer off. @param check Before each piece. @throws {S3Error} */
async function send(
  { response }: S3Call,
  first: IteratorResult<Uint8Array>,
  content: AsyncGenerator<Uint8Array>,
  check: () => void,
): Promise<void> {
  try {
    for (let next = first; next.done !== true; next = await content.next()) {
      if (response.destroyed) return
      check()
      await written(response, next.value)
    }
    response.end()
  } catch (error) {
    response.destroy()
    throw error
  } finally {
    await content.return(undefined)
  }
}
