import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import type { ObjectEntry, ObjectVersion } from '@ringwall/ring'
import fc from 'fast-check'
import { createDigest, type DigestName } from '../objects/digests.ts'
import { readBody, wholeBody } from './s3-body.ts'
import { checkConditions, expectOf, rangeOf } from './s3-conditions.ts'
import { list } from './s3-listing.ts'
import { Turns } from './s3-turns.ts'
import { ChunkSignatures, type Claim, parseClaim, verifyClaim } from './sigv4.ts'
import { childText, parseXml, writeXml } from './xml.ts'

// The examples of "Amazon S3 API Reference", "Authenticating Requests (AWS Signature Version 4)".
const ACCESS_KEY = 'AKIAIOSFODNN7EXAMPLE'
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const NOW = Date.UTC(2013, 4, 24)
const EMPTY = createHash('sha256').digest('hex')
const CREDENTIAL = `${ACCESS_KEY}/20130524/us-east-1/s3/aws4_request`
const authorization = (headers: string, signature: string): string =>
  `AWS4-HMAC-SHA256 Credential=${CREDENTIAL},SignedHeaders=${headers},Signature=${signature}`

const GET = {
  method: 'GET',
  target: '/test.txt',
  rawHeaders: [
    ...['Host', 'examplebucket.s3.amazonaws.com', 'Range', 'bytes=0-9'],
    ...['x-amz-content-sha256', EMPTY, 'x-amz-date', '20130524T000000Z'],
    'Authorization',
    authorization(
      'host;range;x-amz-content-sha256;x-amz-date',
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    ),
  ],
}
const PUT = {
  method: 'PUT',
  target: '/examplebucket/chunkObject.txt',
  rawHeaders: [
    ...['Host', 's3.amazonaws.com', 'x-amz-date', '20130524T000000Z', 'x-amz-storage-class', 'REDUCED_REDUNDANCY'],
    ...['x-amz-content-sha256', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'Content-Encoding', 'aws-chunked'],
    ...['x-amz-decoded-content-length', '66560', 'Content-Length', '66824'],
    'Authorization',
    authorization(
      'content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class',
      '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
    ),
  ],
}
const CHUNKS = [
  'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
  '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
  'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
]

function claimOf(request: typeof GET, nowMs = NOW): Claim {
  const claim = parseClaim(request, nowMs)
  assert.ok(!('fault' in claim), JSON.stringify(claim))
  return claim
}

test('the signatures of the specification verify, and with another secret, method, path or header they do not', () => {
  for (const request of [GET, PUT]) assert.ok(verifyClaim(request, claimOf(request), SECRET))
  const presigned = {
    method: 'GET',
    target: `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(CREDENTIAL)}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`,
    rawHeaders: ['Host', 'examplebucket.s3.amazonaws.com'],
  }
  assert.ok(verifyClaim(presigned, claimOf(presigned, NOW + 86_000_000), SECRET))
  assert.equal((parseClaim(presigned, NOW + 86_401_000) as { fault: string }).fault, 'AccessDenied')
  const claim = claimOf(GET)
  assert.ok(!verifyClaim(GET, claim, `${SECRET}x`))
  assert.ok(!verifyClaim({ ...GET, method: 'PUT' }, claim, SECRET))
  assert.ok(!verifyClaim({ ...GET, target: '/test.tx' }, claim, SECRET))
  assert.ok(!verifyClaim({ ...GET, rawHeaders: GET.rawHeaders.with(3, 'bytes=0-8') }, claim, SECRET))
})

test('what is not signed, signed long ago, or leaves headers unsigned is told apart', () => {
  const code = (request: typeof GET, nowMs = NOW): string => (parseClaim(request, nowMs) as { fault?: string }).fault ?? 'none'
  assert.equal(code({ ...GET, rawHeaders: GET.rawHeaders.slice(0, -2) }), 'AccessDenied')
  assert.equal(code(GET, NOW + 901_000), 'RequestTimeTooSkewed')
  assert.equal(code({ ...GET, rawHeaders: [...GET.rawHeaders, 'x-amz-meta-a', 'b'] }), 'AccessDenied')
  assert.equal(code({ ...GET, target: '/%ff' }), 'none', 'the path is for others to decode')
  assert.equal(code({ ...GET, target: '/?a=%ff' }), 'AuthorizationQueryParametersError')
  assert.equal(
    code({ ...GET, rawHeaders: GET.rawHeaders.with(-1, 'AWS4-HMAC-SHA256 Credential=x') }),
    'AuthorizationHeaderMalformed',
  )
})

const chunked = Buffer.concat(
  [65_536, 1_024, 0].flatMap((size, at) => [
    Buffer.from(`${size.toString(16)};chunk-signature=${CHUNKS[at]}\r\n`),
    Buffer.alloc(size, 'a'),
    Buffer.from('\r\n'),
  ]),
)

function requestOf(body: Buffer, headers: Readonly<Record<string, string>>, cuts: readonly number[] = []): IncomingMessage {
  const places = [0, ...cuts.map((cut) => cut % body.length).sort((a, b) => a - b), body.length]
  const parts = places.slice(1).map((to, at) => body.subarray(places[at], to))
  return Object.assign(Readable.from(parts.filter(({ length }) => length > 0)), { headers }) as unknown as IncomingMessage
}

async function read(request: IncomingMessage, claim: Claim): Promise<Buffer> {
  return wholeBody(readBody(request, claim, SECRET), 1_000_000)
}

test('signed chunks verify cut anywhere; one that was changed, left out or cut off does not', async () => {
  const claim = claimOf(PUT)
  const signatures = new ChunkSignatures(claim, SECRET)
  signatures.update(Buffer.alloc(65_536, 'a'))
  assert.ok(signatures.endChunk(CHUNKS[0] as string))
  const headers = { 'x-amz-decoded-content-length': '66560' }
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(), { maxLength: 12 }), async (cuts) => {
      assert.ok((await read(requestOf(chunked, headers, cuts), claim)).equals(Buffer.alloc(66_560, 'a')))
    }),
    { numRuns: 30 },
  )
  const changed = Buffer.from(chunked)
  changed[200] = 'b'.charCodeAt(0)
  await assert.rejects(read(requestOf(changed, headers), claim), { code: 'SignatureDoesNotMatch' })
  await assert.rejects(read(requestOf(chunked.subarray(0, -2), headers), claim), { code: 'IncompleteBody' })
  await assert.rejects(read(requestOf(chunked.subarray(0, 65_700), headers), claim), { code: 'IncompleteBody' })
  await assert.rejects(read(requestOf(Buffer.concat([chunked, chunked]), headers), claim), { code: 'IncompleteBody' })
})

test('trailing checksums are held against the body, which may be unsigned', async () => {
  const claim = { ...claimOf(PUT), payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' }
  const body = (sum: string): Buffer => Buffer.from(`5\r\nhello\r\n0\r\nx-amz-checksum-crc32:${sum}\r\n\r\n`)
  const headers = { 'x-amz-decoded-content-length': '5', 'x-amz-trailer': 'x-amz-checksum-crc32' }
  assert.equal((await read(requestOf(body('NhCmhg=='), headers), claim)).toString(), 'hello')
  await assert.rejects(read(requestOf(body('NhCmhQ=='), headers), claim), { code: 'BadDigest' })
  await assert.rejects(read(requestOf(Buffer.from('5\r\nhello\r\n0\r\n\r\n'), headers), claim), { code: 'InvalidRequest' })
  const plain = { ...claim, payload: createHash('sha256').update('hello').digest('hex') }
  assert.equal((await read(requestOf(Buffer.from('hello'), { 'content-length': '5' }), plain)).toString(), 'hello')
  await assert.rejects(read(requestOf(Buffer.from('hellO'), { 'content-length': '5' }), plain), {
    code: 'XAmzContentSHA256Mismatch',
  })
  await assert.rejects(read(requestOf(Buffer.from('hello'), {}), plain), { code: 'MissingContentLength' })
})

test('checksums are those of their specifications', () => {
  const of = (name: DigestName): string => {
    const checksum = createDigest(name)
    checksum.update(Buffer.from('12345'))
    checksum.update(Buffer.from('6789'))
    return checksum.digest().toString('hex')
  }
  assert.deepEqual([of('crc32'), of('crc32c'), of('crc64nvme')], ['cbf43926', 'e3069283', 'ae8b14860a799888'])
})

test('XML is read back as it was written, and what is not well-formed, or brings entities of its own, is not read', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const clean = text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '?')
      const element = parseXml(writeXml(['A', [['B', text]]]))
      assert.equal(element === undefined ? undefined : childText(element, 'B'), clean)
    }),
  )
  assert.equal(parseXml('<?xml version="1.0"?><!-- a --><A xmlns="x"><B/>&#x41;&amp;</A>')?.text, 'A&')
  for (const bad of [
    '',
    '<A>',
    '<A></B>',
    '<A/><B/>',
    'x<A/>',
    '<A>&b;</A>',
    '<A>&constructor;</A>',
    '<A>&__proto__;</A>',
    '<!DOCTYPE a [<!ENTITY b "c">]><A>&b;</A>',
    `${'<A>'.repeat(9)}${'</A>'.repeat(9)}`,
  ])
    assert.equal(parseXml(bad), undefined, bad)
})

test('ranges and conditions are those of RFC 9110', () => {
  assert.deepEqual(rangeOf('bytes=0-4', 10), [0, 5])
  assert.deepEqual(rangeOf('bytes=5-', 10), [5, 10])
  assert.deepEqual(rangeOf('bytes=-3', 10), [7, 10])
  assert.deepEqual(rangeOf('bytes=-30', 10), [0, 10])
  for (const whole of [undefined, 'bytes=-', 'bytes=5-4', 'bytes=0-1,3-4', 'lines=1-2'])
    assert.equal(rangeOf(whole, 10), undefined)
  assert.throws(() => rangeOf('bytes=10-', 10), { code: 'InvalidRange' })
  const version = { etag: 'ab'.repeat(16), atMs: 1_500 } as ObjectVersion
  const holds = (headers: Readonly<Record<string, string>>): string => {
    try {
      checkConditions((name) => headers[name], version)
      return 'yes'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  assert.equal(holds({ 'if-match': `"x", "${version.etag}"` }), 'yes')
  assert.equal(holds({ 'if-match': '"x"' }), 'PreconditionFailed')
  assert.equal(holds({ 'if-none-match': '*' }), 'NotModified')
  assert.equal(holds({ 'if-modified-since': new Date(1_000).toUTCString() }), 'NotModified')
  assert.equal(holds({ 'if-unmodified-since': new Date(1_000).toUTCString() }), 'yes')
  assert.equal(holds({ 'if-unmodified-since': new Date(0).toUTCString() }), 'PreconditionFailed')
  assert.equal(
    expectOf((name) => (name === 'if-none-match' ? '*' : undefined)),
    '-',
  )
})

test('pages of a list are together what the whole is, whatever the delimiter', () => {
  const key = fc.string({ unit: fc.constantFrom('a', 'b', '/', 'ä', '\u{1f600}'), minLength: 1, maxLength: 6 })
  const asked = fc.record({
    prefix: fc.constantFrom('', 'a', 'a/'),
    delimiter: fc.constantFrom('', '/'),
    most: fc.integer({ min: 1, max: 4 }),
  })
  fc.assert(
    fc.property(fc.uniqueArray(key, { maxLength: 30 }), asked, (keys, { prefix, delimiter, most }) => {
      const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      const entries = sorted.map((one): ObjectEntry => ({ bucket: 'b', key: one, versions: [] }))
      const all = list(entries, { prefix, delimiter, after: '', most: 1_000 }, ({ key: one }) => [one])
      const [items, common]: [string[], string[]] = [[], []]
      for (let after = '', more = true, pages = 0; more; pages += 1) {
        assert.ok(pages < 40, 'it goes on')
        const page = list(entries, { prefix, delimiter, after, most }, ({ key: one }) => [one])
        assert.ok(page.items.length + page.common.length <= most)
        items.push(...page.items)
        common.push(...page.common)
        after = page.next
        more = page.isTruncated
      }
      assert.deepEqual([items, common], [all.items, all.common])
      assert.equal(new Set(common).size, common.length)
    }),
    { numRuns: 300 },
  )
})

test('bodies take turns: so many at a time, so many wait, and the next one is told to come later', async () => {
  const turns = new Turns(1, 1)
  let release: () => void = () => {}
  const first = turns.take(() => new Promise<void>((settle) => (release = settle)))
  const second = turns.take(async () => 'second')
  await assert.rejects(
    turns.take(async () => 'third'),
    { code: 'SlowDown' },
  )
  release()
  await first
  assert.equal(await second, 'second')
  assert.equal(await turns.take(async () => 'fourth'), 'fourth')
})
