import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { DNS_BYTES_MAX, DnsMalformed, type DnsMessage, type DnsRecord, encodeDns, parseDns } from './dns-message.ts'
import { findByDns, findOnLink, LinkResponder, searched } from './find-ring.ts'

const PLAIN = { noNullPrototype: true }
const LOOPBACK = { through: '127.0.0.1', port: 25_353 }

test('nodes on the link answer whoever asks for the ring, and nobody who asks for something else', async (t) => {
  const responders = [1, 2].map((n) => new LinkResponder(`n${n}`, { host: '127.0.0.1', port: 7_080 + n }, LOOPBACK))
  try {
    await Promise.all(responders.map((one) => one.start()))
  } catch (error) {
    return t.skip(`no multicast on loopback here: ${(error as Error).message}`)
  }
  t.after(() => responders.forEach((one) => void one.stop()))
  assert.deepEqual([...(await findOnLink(LOOPBACK, 500))].sort(), ['127.0.0.1:7081', '127.0.0.1:7082'])
  const socket = createSocket('udp4')
  t.after(() => socket.close())
  let answers = 0
  socket.on('message', () => {
    answers += 1
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  socket.setMulticastInterface('127.0.0.1')
  const other = encodeDns({ id: 1, isAnswer: false, questions: [{ name: '_printer._tcp.local', type: 12 }], records: [] })
  for (const bytes of [other, Buffer.from('nothing of the kind'), Buffer.alloc(DNS_BYTES_MAX + 1)])
    socket.send(bytes, LOOPBACK.port, '224.0.0.251')
  await new Promise((wake) => setTimeout(wake, 300))
  assert.equal(answers, 0)
})

test('nobody on the link is an empty list, after the wait', async () => {
  assert.deepEqual(await findOnLink({ through: '127.0.0.1', port: 25_354 }, 100), [])
})

test('name servers say where the ring is, the preferred first, and their silence is an empty list', async (t) => {
  const socket = createSocket('udp4')
  t.after(() => socket.close())
  const srv = (priority: number, port: number): Buffer => {
    const target = Buffer.from(`\x02n${priority}\x07example\x00`, 'latin1')
    const head = Buffer.from([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 6 + target.length, 0, priority, 0, 0, port >> 8, port & 255])
    return Buffer.concat([head, target])
  }
  socket.on('message', (query, from) => {
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(0x8180, 2)
    head.writeUInt16BE(2, 6)
    head.writeUInt32BE(0, 8)
    const end = query.indexOf(0, 12) + 5
    if (query.includes('example'))
      socket.send(Buffer.concat([head, query.subarray(12, end), srv(2, 7_082), srv(1, 7_081)]), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const servers = [`127.0.0.1:${socket.address().port}`]
  assert.deepEqual(await findByDns(['ring.example'], servers), ['n1.example:7081', 'n2.example:7082'])
  assert.deepEqual(await findByDns([], servers), [])
})

test('the domains that the machine searches are read from its resolver’s file', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-resolv-'))
  t.after(() => rmSync(root, { recursive: true }))
  writeFileSync(join(root, 'resolv.conf'), 'nameserver 127.0.0.53\nsearch corp.example  lab.example\n# search no\n')
  assert.deepEqual(searched(join(root, 'resolv.conf')), ['corp.example', 'lab.example'])
  assert.deepEqual(searched(join(root, 'none')), [])
})

test('property: messages read as they were written, and no bytes whatever are read in any other way than refused', () => {
  const name = fc.stringMatching(/^[a-z0-9_-]{1,12}(\.[a-z0-9_-]{1,12}){0,3}$/)
  const record: fc.Arbitrary<DnsRecord> = fc.oneof(
    fc.record({ type: fc.constant('PTR' as const), name, target: name }, PLAIN),
    fc.record({ type: fc.constant('SRV' as const), name, target: name, port: fc.nat(65_535) }, PLAIN),
    fc.record({ type: fc.constant('A' as const), name, address: fc.ipV4() }, PLAIN),
  )
  const questions = fc.array(fc.record({ name, type: fc.nat(255) }, PLAIN), { maxLength: 3 })
  const records = fc.array(record, { maxLength: 6 })
  const message: fc.Arbitrary<DnsMessage> = fc.record({ id: fc.nat(65_535), isAnswer: fc.boolean(), questions, records }, PLAIN)
  fc.assert(fc.property(message, (one) => assert.deepEqual(parseDns(encodeDns(one)), one)))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseDns(Buffer.from(bytes))
      } catch (error) {
        assert.ok(error instanceof DnsMalformed)
      }
    }),
  )
  // A name that points at itself.
  const loop = Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Buffer.from([0xc0, 12, 0, 12, 0, 1])])
  assert.throws(() => parseDns(loop), /goes round/)
})
