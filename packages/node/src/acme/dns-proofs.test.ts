import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { testDns } from '../test-dns.ts'
import type { Proof } from './client.ts'
import { DnsProofs } from './dns-proofs.ts'
import { isSignedBy, signAnswer, signatureOf, type TsigKey, updateMessage } from './dns-update.ts'

const KEY: TsigKey = { name: 'ringwall', algorithm: 'hmac-sha256', secret: Buffer.alloc(32, 7) }
const PROOF: Proof = { type: 'dns-01', name: 'shop.example.org', token: 'tok', keyAuthorization: 'tok.thumb' }
const NAME = '_acme-challenge.shop.example.org'
const TEXT = createHash('sha256').update('tok.thumb').digest('base64url')

/** A zone's primary server, which makes the changes that it is asked for with the key. */
async function scene(t: TestContext, { key = KEY, zone }: { key?: TsigKey; zone?: string } = {}) {
  const records: Record<string, readonly string[] | undefined> = {
    'SOA example.org': ['ns1.example.org'],
    'NS example.org': ['ns1.example.org'],
  }
  const { server, asked } = await testDns(t, records)
  const port = Number(server.split(':')[1])
  const seen: string[] = []
  const updates = createServer((socket) =>
    socket.on('data', (framed) => {
      const update = signatureOf(framed.subarray(2))!
      const isGood = isSignedBy(KEY, update)
      const id = update.message.readUInt16BE(0)
      for (const what of ['add', 'remove'] as const) {
        const expected = updateMessage(id, { what, zone: 'example.org', name: NAME, text: TEXT, ttlS: 60 })
        if (!isGood || !expected.equals(update.message)) continue
        seen.push(what)
        records[`TXT ${NAME}`] = what === 'add' ? ['of somebody else', TEXT] : ['of somebody else']
      }
      const head = Buffer.alloc(12)
      head.writeUInt16BE(id, 0)
      head.writeUInt16BE(isGood ? 0xa800 : 0xa809, 2)
      const said = signAnswer(head, KEY, update.mac, Math.floor(Date.now() / 1_000), isGood ? 0 : 16)
      const length = Buffer.alloc(2)
      length.writeUInt16BE(said.length)
      // In two pieces, as TCP may have it.
      socket.write(Buffer.concat([length, said.subarray(0, 5)]))
      setImmediate(() => socket.end(said.subarray(5)))
    }),
  ).listen(port, '127.0.0.1')
  await once(updates, 'listening')
  t.after(() => updates.close())
  const warnings: string[] = []
  const proofs = new DnsProofs({
    server: { host: '127.0.0.1', port },
    key,
    zone,
    stop: new AbortController().signal,
    warn: (line) => warnings.push(line),
  })
  return { proofs, records, seen, asked, warnings }
}

test('RFC 8555 8.4: a proof is in DNS when the validation is asked for, and gone afterwards; others’ stay', async (t) => {
  const { proofs, records, seen, asked } = await scene(t)
  await proofs.present(PROOF)
  assert.deepEqual(records[`TXT ${NAME}`], ['of somebody else', TEXT])
  assert.ok(asked.includes('SOA shop.example.org') && asked.includes(`TXT ${NAME}`))
  proofs.withdraw(PROOF)
  while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.deepEqual([seen, records[`TXT ${NAME}`]], [['add', 'remove'], ['of somebody else']])
})

test('a server that has the record later is waited for', async (t) => {
  const { proofs, records, seen } = await scene(t, { zone: 'example.org' })
  let isDone = false
  const presented = proofs.present(PROOF).then(() => {
    isDone = true
  })
  while (seen.length < 1) await new Promise((resolve) => setTimeout(resolve, 1))
  const good = records[`TXT ${NAME}`]
  delete records[`TXT ${NAME}`]
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.ok(!isDone)
  records[`TXT ${NAME}`] = good
  await presented
})

test('what goes wrong is said: another secret, no such zone, no server', async (t) => {
  const { proofs } = await scene(t, { key: { ...KEY, secret: Buffer.alloc(32) } })
  await assert.rejects(proofs.present(PROOF), /does not change _acme-challenge\.shop\.example\.org in example\.org: .*BADSIG/)
  await assert.rejects(
    proofs.present({ ...PROOF, name: 'shop.example.net' }),
    /has no zone with _acme-challenge\.shop\.example\.net/,
  )
  const warnings: string[] = []
  const none = new DnsProofs({
    server: { host: '127.0.0.1', port: 1 },
    key: KEY,
    zone: 'example.org',
    stop: new AbortController().signal,
    warn: (line) => warnings.push(line),
  })
  await assert.rejects(none.present(PROOF), /127\.0\.0\.1:1 does not change .*ECONNREFUSED/)
  none.withdraw(PROOF)
  while (warnings.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.match(warnings[0]!, /the record at _acme-challenge\.shop\.example\.org stays: /)
})
