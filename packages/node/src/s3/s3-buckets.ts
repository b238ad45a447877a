/** What S3's clients do with buckets and lists. */
import { BUCKET_NAME, BUCKET_NAME_EXPECTED, type ObjectEntry, type ObjectVersion } from '@ringwall/ring'
import type { ObjectService } from '../objects/object-service.ts'
import type { S3Call } from './s3-call.ts'
import { S3Error } from './s3-error.ts'
import { list, shownVersion } from './s3-listing.ts'
import { refuseUntaken, type S3Objects } from './s3-objects.ts'
import { s3ErrorOf } from './s3-refusals.ts'
import { awsEncode } from './sigv4.ts'
import { childText, type XmlNode } from './xml.ts'

const KEYS_MAX = 1_000
/** Deletions of one request that are before the ring at a time. */
const AT_ONCE = 32
const DAY_MS = 86_400_000

export class S3Buckets {
  readonly #service: ObjectService
  readonly #objects: S3Objects
  readonly #region: string

  constructor(service: ObjectService, objects: S3Objects, region: string) {
    this.#service = service
    this.#objects = objects
    this.#region = region
  }

  listAll(call: S3Call): void {
    const { identity } = call.client.key
    const shown = this.#service.state.objects.buckets().filter(({ name }) => {
      try {
        this.#objects.need(call, 'read', name, '')
        return true
      } catch {
        return this.#mayWrite(call, name)
      }
    })
    const buckets = shown.map(
      ({ name, atMs }): XmlNode => [
        'Bucket',
        [
          ['Name', name],
          ['CreationDate', new Date(atMs).toISOString()],
        ],
      ],
    )
    call.sendXml('ListAllMyBucketsResult', [ownerNode(identity), ['Buckets', buckets]])
  }

  #mayWrite(call: S3Call, name: string): boolean {
    try {
      this.#objects.need(call, 'write', name, '')
      return true
    } catch {
      return false
    }
  }

  async create(call: S3Call, name: string): Promise<void> {
    if (!BUCKET_NAME.test(name)) throw new S3Error('InvalidBucketName', `a bucket’s name has ${BUCKET_NAME_EXPECTED}`)
    this.#objects.need(call, 'write', name, '')
    if (Number(call.header('content-length') ?? 0) > 0 || call.header('transfer-encoding') !== undefined)
      await call.xml('CreateBucketConfiguration')
    refuseUntaken(call)
    const before = this.#service.state.objects.bucket(name)
    if (before !== undefined) throw new S3Error('BucketAlreadyOwnedByYou', `there is a bucket ${name} already`)
    await this.#service.createBucket(call.client, name)
    if (call.header('x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true') {
      await this.#service.act(call.client, { kind: 'bucket.version', bucket: name, versioning: 'on' })
      await this.#service.act(call.client, { kind: 'bucket.lock', bucket: name })
    }
    call.sendEmpty(200, { location: `/${name}` })
  }

  async remove(call: S3Call, name: string): Promise<void> {
    this.#objects.bucket(name)
    this.#objects.need(call, 'write', name, '')
    await this.#service.act(call.client, { kind: 'bucket.remove', bucket: name })
    call.sendEmpty(204)
  }

  head(call: S3Call, name: string): void {
    this.#objects.bucket(name)
    if (!this.#mayWrite(call, name)) this.#objects.need(call, 'read', name, '')
    call.sendEmpty(200, { 'x-amz-bucket-region': this.#region })
  }

  location(call: S3Call, name: string): void {
    this.#objects.bucket(name)
    if (!this.#mayWrite(call, name)) this.#objects.need(call, 'read', name, '')
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${this.#region === 'us-east-1' ? '' : this.#region}</LocationConstraint>`
    call.response.writeHead(200, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) }).end(body)
  }

  versioning(call: S3Call, name: string): void {
    const { versioning } = this.#objects.bucket(name)
    this.#objects.need(call, 'read', name, '')
    call.sendXml(
      'VersioningConfiguration',
      versioning === 'off' ? [] : [['Status', versioning === 'on' ? 'Enabled' : 'Suspended']],
    )
  }

  async setVersioning(call: S3Call, name: string): Promise<void> {
    this.#objects.bucket(name)
    this.#objects.need(call, 'write', name, '')
    const status = childText(await call.xml('VersioningConfiguration'), 'Status')
    if (status !== 'Enabled' && status !== 'Suspended') throw new S3Error('MalformedXML', 'Status must be Enabled or Suspended')
    const versioning = status === 'Enabled' ? 'on' : 'suspended'
    await this.#service.act(call.client, { kind: 'bucket.version', bucket: name, versioning })
    call.sendEmpty(200)
  }

  lock(call: S3Call, name: string): void {
    const { retainMs, locks } = this.#objects.bucket(name)
    this.#objects.need(call, 'read', name, '')
    if (locks !== true && retainMs === 0)
      throw new S3Error('ObjectLockConfigurationNotFoundError', 'the bucket has no object lock')
    const retention: XmlNode = [
      'DefaultRetention',
      [
        ['Mode', 'COMPLIANCE'],
        ['Days', Math.ceil(retainMs / DAY_MS)],
      ],
    ]
    const rule: readonly XmlNode[] = retainMs === 0 ? [] : [['Rule', [retention]]]
    call.sendXml('ObjectLockConfiguration', [['ObjectLockEnabled', 'Enabled'], ...rule])
  }

  async setLock(call: S3Call, name: string): Promise<void> {
    const { locks } = this.#objects.bucket(name)
    this.#objects.need(call, 'write', name, '')
    const wanted = await call.xml('ObjectLockConfiguration')
    const retention = wanted.children.find((one) => one.name === 'Rule')?.children.find((one) => one.name === 'DefaultRetention')
    if (retention !== undefined && childText(retention, 'Mode') !== 'COMPLIANCE')
      throw new S3Error('NotImplemented', 'Mode must be COMPLIANCE')
    const [days, years] = [childText(retention ?? wanted, 'Days'), childText(retention ?? wanted, 'Years')].map((text) =>
      Number(text ?? 0),
    )
    const retainMs = ((days ?? 0) + 365 * (years ?? 0)) * DAY_MS
    if (!Number.isSafeInteger(retainMs) || retainMs < 0 || retainMs > 36_500 * DAY_MS)
      throw new S3Error('InvalidArgument', 'Days or Years must be whole numbers, of a hundred years at most')
    if (locks !== true) await this.#service.act(call.client, { kind: 'bucket.lock', bucket: name })
    if (retention !== undefined) await this.#service.act(call.client, { kind: 'bucket.retain', bucket: name, retainMs })
    call.sendEmpty(200)
  }

  /** Versions 1 and 2. */
  list(call: S3Call, name: string): void {
    this.#objects.bucket(name)
    const { query } = call
    const prefix = query.get('prefix') ?? ''
    this.#objects.need(call, 'read', name, prefix)
    const isSecond = query.get('list-type') === '2'
    const delimiter = query.get('delimiter') ?? ''
    const most = call.whole('max-keys', 0, KEYS_MAX, KEYS_MAX)
    const token = query.get('continuation-token')
    const after = isSecond
      ? token === undefined
        ? (query.get('start-after') ?? '')
        : Buffer.from(token, 'base64url').toString('utf8')
      : (query.get('marker') ?? '')
    const newest = ({ key, versions }: ObjectEntry): readonly { readonly key: string; readonly version: ObjectVersion }[] => {
      const version = versions.at(-1)
      return version === undefined || version.marker ? [] : [{ key, version }]
    }
    const entries = this.#service.state.objects.list(name)
    const found = list(entries, { prefix, delimiter, after, most }, newest)
    const text = textOf(query)
    const contents = found.items.map(
      ({ key, version }): XmlNode => [
        'Contents',
        [
          ['Key', text(key)],
          ['LastModified', new Date(version.atMs).toISOString()],
          ['ETag', `"${version.etag}"`],
          ['Size', version.size],
          ['StorageClass', 'STANDARD'],
          ...(isSecond && query.get('fetch-owner') !== 'true' ? [] : [ownerNode(version.by)]),
        ],
      ],
    )
    const common = found.common.map((one): XmlNode => ['CommonPrefixes', [['Prefix', text(one)]]])
    const head: XmlNode[] = [
      ['Name', name],
      ['Prefix', text(prefix)],
      ['MaxKeys', most],
      ['IsTruncated', found.isTruncated],
    ]
    if (delimiter !== '') head.push(['Delimiter', text(delimiter)])
    if (query.get('encoding-type') === 'url') head.push(['EncodingType', 'url'])
    if (isSecond) {
      head.push(['KeyCount', found.items.length + found.common.length])
      if (token !== undefined) head.push(['ContinuationToken', token])
      if (found.isTruncated) head.push(['NextContinuationToken', Buffer.from(found.next).toString('base64url')])
    } else {
      head.push(['Marker', text(after)])
      if (found.isTruncated) head.push(['NextMarker', text(found.next)])
    }
    call.sendXml('ListBucketResult', [...head, ...contents, ...common])
  }

  listVersions(call: S3Call, name: string): void {
    this.#objects.bucket(name)
    const { query } = call
    const prefix = query.get('prefix') ?? ''
    this.#objects.need(call, 'read', name, prefix)
    const delimiter = query.get('delimiter') ?? ''
    const most = call.whole('max-keys', 0, KEYS_MAX, KEYS_MAX)
    const after = query.get('key-marker') ?? ''
    const afterVersion = query.get('version-id-marker') ?? ''
    if (afterVersion !== '' && after === '') throw new S3Error('InvalidArgument', 'a version-id-marker goes with a key-marker')
    const all = ({ key, versions }: ObjectEntry) => {
      const shown = versions.toReversed().map((version, at) => ({ key, version, isLatest: at === 0 }))
      // One that is gone meanwhile was the end of a page: rather some twice than some never.
      return key === after ? shown.slice(shown.findIndex(({ version }) => shownVersion(version) === afterVersion) + 1) : shown
    }
    const asked = { prefix, delimiter, after, isWithin: afterVersion !== '', most }
    const found = list(this.#service.state.objects.list(name), asked, all)
    const last = found.items.at(-1)
    const text = textOf(query)
    const items = found.items.map(({ key, version, isLatest }): XmlNode => {
      const said: XmlNode[] = [
        ['Key', text(key)],
        ['VersionId', shownVersion(version)],
        ['IsLatest', isLatest],
        ['LastModified', new Date(version.atMs).toISOString()],
      ]
      if (version.marker) return ['DeleteMarker', said]
      return ['Version', [...said, ['ETag', `"${version.etag}"`], ['Size', version.size], ['StorageClass', 'STANDARD']]]
    })
    const common = found.common.map((one): XmlNode => ['CommonPrefixes', [['Prefix', text(one)]]])
    call.sendXml('ListVersionsResult', [
      ['Name', name],
      ['Prefix', text(prefix)],
      ['KeyMarker', text(after)],
      ['VersionIdMarker', afterVersion],
      ['MaxKeys', most],
      ...(delimiter === '' ? [] : [['Delimiter', text(delimiter)] as const]),
      ...(query.get('encoding-type') === 'url' ? [['EncodingType', 'url'] as const] : []),
      ['IsTruncated', found.isTruncated],
      ...(found.isTruncated ? [['NextKeyMarker', text(found.next)] as const] : []),
      ...(found.isTruncated && last?.key === found.next ? [['NextVersionIdMarker', shownVersion(last.version)] as const] : []),
      ...items,
      ...common,
    ])
  }

  listUploads(call: S3Call, name: string): void {
    this.#objects.bucket(name)
    const prefix = call.query.get('prefix') ?? ''
    this.#objects.need(call, 'write', name, prefix)
    const uploads = this.#objects.uploads.of(name, call.client.key.identity).filter(({ draft }) => draft.key.startsWith(prefix))
    const text = textOf(call.query)
    call.sendXml('ListMultipartUploadsResult', [
      ['Bucket', name],
      ['MaxUploads', KEYS_MAX],
      ['IsTruncated', false],
      ...uploads.slice(0, KEYS_MAX).map(
        ({ draft, id, atMs }): XmlNode => [
          'Upload',
          [
            ['Key', text(draft.key)],
            ['UploadId', id],
            ['Initiated', new Date(atMs).toISOString()],
          ],
        ],
      ),
    ])
  }

  async removeMany(call: S3Call, name: string): Promise<void> {
    this.#objects.bucket(name)
    const wanted = await call.xml('Delete')
    const isQuiet = childText(wanted, 'Quiet') === 'true'
    const named = wanted.children.filter((one) => one.name === 'Object')
    if (named.length === 0 || named.length > KEYS_MAX)
      throw new S3Error('MalformedXML', `from 1 to ${KEYS_MAX} objects can be named`)
    const results: XmlNode[] = []
    const each = async (element: (typeof named)[number]): Promise<void> => {
      const key = childText(element, 'Key') ?? ''
      const version = childText(element, 'VersionId')
      const etag = childText(element, 'ETag')
      const said: XmlNode[] = [['Key', key], ...(version === undefined ? [] : [['VersionId', version] as const])]
      try {
        if (['LastModifiedTime', 'Size'].some((condition) => childText(element, condition) !== undefined))
          throw new S3Error('NotImplemented', 'of conditions, ETag is taken')
        const condition = (header: string): string | undefined => (header === 'if-match' ? etag : undefined)
        const headers = await this.#objects.removeOne(call, name, key, version, condition)
        if (headers['x-amz-delete-marker'] !== undefined) {
          said.push(['DeleteMarker', true])
          if (headers['x-amz-version-id'] !== undefined) said.push(['DeleteMarkerVersionId', headers['x-amz-version-id']])
        }
        if (!isQuiet) results.push(['Deleted', said])
      } catch (error) {
        const { code, message } = s3ErrorOf(error)
        results.push(['Error', [...said, ['Code', code], ['Message', message]]])
      }
    }
    for (let at = 0; at < named.length; at += AT_ONCE) await Promise.all(named.slice(at, at + AT_ONCE).map(each))
    call.sendXml('DeleteResult', results)
  }
}

function ownerNode(identity: string): XmlNode {
  return [
    'Owner',
    [
      ['ID', identity],
      ['DisplayName', identity],
    ],
  ]
}

/** Keys may have what XML cannot hold: clients ask for them encoded then. */
function textOf(query: ReadonlyMap<string, string>): (text: string) => string {
  return query.get('encoding-type') === 'url' ? (text) => awsEncode(text).replaceAll('%2F', '/') : (text) => text
}
