/** Examples are RFC 7541's, appendix C. */
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeField, encodeStatus, HpackDecoder, NO_TABLE } from './hpack.ts'

const BOUNDS = { bytesMax: 65_536, fieldsMax: 200 }
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const fieldsOf = (decoder: HpackDecoder, block: Buffer) => decoder.decode(block, BOUNDS)?.fields

test('C.3: requests without Huffman coding, over one table', () => {
  const decoder = new HpackDecoder()
  const common = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com']
  assert.deepEqual(fieldsOf(decoder, hex('8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d')), common)
  assert.deepEqual(fieldsOf(decoder, hex('8286 84be 5808 6e6f 2d63 6163 6865')), [...common, 'cache-control', 'no-cache'])
  assert.deepEqual(fieldsOf(decoder, hex('8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65')), [
    ':method',
    'GET',
    ':scheme',
    'https',
    ':path',
    '/index.html',
    ':authority',
    'www.example.com',
    'custom-key',
    'custom-value',
  ])
})

test('C.4: the same with Huffman coding', () => {
  const decoder = new HpackDecoder()
  assert.deepEqual(fieldsOf(decoder, hex('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff'))?.slice(6), [
    ':authority',
    'www.example.com',
  ])
  assert.deepEqual(fieldsOf(decoder, hex('8286 84be 5886 a8eb 1064 9cbf'))?.slice(8), ['cache-control', 'no-cache'])
  assert.deepEqual(fieldsOf(decoder, hex('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf'))?.slice(8), [
    'custom-key',
    'custom-value',
  ])
})

test('C.5: entries are evicted from a table of 256 bytes', () => {
  const decoder = new HpackDecoder()
  const block =
    '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d'
  const first = fieldsOf(decoder, hex(`3fe101 ${block}`))
  assert.deepEqual(first?.slice(0, 4), [':status', '302', 'cache-control', 'private'])
  assert.deepEqual(fieldsOf(decoder, hex('4803 3330 37c1 c0bf')), [':status', '307', ...first!.slice(2)])
  // The first entry has made room for 307.
  assert.equal(fieldsOf(decoder, hex('c2')), undefined)
})

const broken: readonly [string, string][] = [
  ['index 0', '80'],
  ['an index past the tables', 'be'],
  ['an integer that does not end', 'ffffffffffff'],
  ['an integer of six bytes', 'ff80808080800100'],
  ['an integer cut short', 'ff'],
  ['a string cut short', '000a61'],
  ['a missing value', '000161'],
  ['a missing name', '40'],
  ['a change of the table’s size after a field', '8220'],
  ['a table larger than ours', '3fe21f'],
  ['Huffman: padding of eight bits', '00 01 61 82 1fff'],
  ['Huffman: padding of zeros', '00 01 61 81 18'],
  ['Huffman: the end of the string spelled out', '00 01 61 84 ffffffff'],
]

for (const [name, block] of broken) {
  test(`refused: ${name}`, () => assert.equal(new HpackDecoder().decode(hex(block), BOUNDS), undefined))
}

test('a header bomb: a thousand references to one large field cost nothing beyond the bound', () => {
  const decoder = new HpackDecoder()
  const bomb = Buffer.concat([
    Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]),
    Buffer.alloc(4_000, 0x62),
    Buffer.alloc(10_000, 0xbe),
  ])
  const list = decoder.decode(bomb, { bytesMax: 32_768, fieldsMax: 100 })
  assert.equal(list?.tooLong, true)
  assert.ok(list!.fields.length <= 18)
  // The table is still the sender's.
  assert.deepEqual(fieldsOf(decoder, hex('be'))?.[0], 'a')
})

test('property: what is encoded is decoded, whatever the bytes', () => {
  const name = fc.stringMatching(/^[a-z0-9-]{1,40}$/)
  const value = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 599 }),
      fc.array(fc.tuple(fc.oneof(name, fc.constantFrom('set-cookie', 'date')), value), { maxLength: 20 }),
      (status, fields) => {
        const text = NO_TABLE + encodeStatus(status) + fields.map(([a, b]) => encodeField(a, b)).join('')
        assert.deepEqual(fieldsOf(new HpackDecoder(), Buffer.from(text, 'latin1')), [':status', String(status), ...fields.flat()])
      },
    ),
  )
})

test('property: no bytes break a decoder, and its table keeps its bound', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), (blocks) => {
      const decoder = new HpackDecoder()
      for (const block of blocks) if (decoder.decode(Buffer.from(block), BOUNDS) === undefined) break
    }),
    { numRuns: 3_000 },
  )
})

test('Node’s encoder, which uses Huffman codes and the table, is understood for every byte that may stand in a value', async () => {
  const heard: Buffer[] = []
  const server = createServer((socket) => {
    // An empty SETTINGS frame, and Node begins.
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    socket.on('data', (bytes) => heard.push(bytes))
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  session.on('error', () => undefined)
  const values = Array.from({ length: 256 }, (_, code) => `a${String.fromCharCode(code).repeat(3)}b`).filter(
    (_, code) => code === 9 || (code >= 32 && code !== 127),
  )
  for (const value of [...values, ...values]) session.request({ ':path': '/', value }).on('error', () => undefined)
  while (Buffer.concat(heard).length < 4_000) await new Promise((wake) => setTimeout(wake, 20))
  await new Promise((wake) => setTimeout(wake, 100))
  session.destroy()
  server.close()
  const bytes = Buffer.concat(heard).subarray(24)
  const decoder = new HpackDecoder()
  const seen: string[] = []
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] !== 1) continue
    const from = at + 9 + ((bytes[at + 4]! & 0x20) !== 0 ? 5 : 0)
    const fields = decoder.decode(bytes.subarray(from, at + 9 + bytes.readUIntBE(at, 3)), BOUNDS)!.fields
    seen.push(fields[fields.indexOf('value') + 1]!)
  }
  assert.ok(seen.length >= 100)
  assert.deepEqual(seen, [...values, ...values].slice(0, seen.length))
})
