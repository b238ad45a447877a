/** Keys of the transit, used by way of services that talk through memory. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { transitPlace } from '@ringwall/ring'
import { encapsulate } from '@ringwall/threshold'
import {
  type AskTransit,
  authenticateTransit,
  decryptTransit,
  encryptTransit,
  parseSignedTransitRequest,
  readTransitText,
  transitText,
} from '@ringwall/vault'
import { RING, Vaults } from './test-vaults.ts'

let vaults: Vaults
before(() => {
  vaults = new Vaults()
  const version = (number: number) => ({ version: number, atMs: 1, by: 'operator:ada', signer: '' })
  vaults.transit = [
    { name: 'elsewhere', id: '1'.repeat(32), use: 'encrypt', versions: [version(1)] },
    { name: 'shop/cards', id: '2'.repeat(32), use: 'encrypt', versions: [version(2), version(3)] },
    { name: 'shop/mac', id: '3'.repeat(32), use: 'mac', versions: [version(1), version(2)] },
  ]
})
after(() => vaults.stop())

const ways = (): readonly AskTransit[] => [
  (request) => vaults.member('n1').service.open(parseSignedTransitRequest(JSON.parse(JSON.stringify(request)))),
]
const key = (name: string) => vaults.transit.find((one) => one.name === name)!
const NONE = new Uint8Array()

function sealed(name: string, version: number, text: string, bound = ''): string {
  const place = { ring: RING, key: name, id: key(name).id, version }
  return encryptTransit(vaults.publicKey, place, Buffer.from(text), Buffer.from(bound))
}

const opened = async (name: string, ciphertext: string, bound = ''): Promise<string> => {
  const all = [{ key: name, ciphertext, context: Buffer.from(bound) }]
  return ((await decryptTransit(vaults.facts, vaults.reader, all, ways()))[0] as Buffer).toString()
}

test('what is encrypted to a key decrypts under its name, version and context, and under no others', async () => {
  assert.equal(await opened('shop/cards', sealed('shop/cards', 3, '4111')), '4111')
  assert.equal(await opened('shop/cards', sealed('shop/cards', 2, '4111', 'user 7'), 'user 7'), '4111')
  await assert.rejects(opened('shop/cards', sealed('shop/cards', 2, '4111', 'user 7'), 'user 8'), /in this context/)
  await assert.rejects(opened('shop/cards', sealed('shop/cards', 1, '4111')), /version 1 of shop\/cards cannot be used/)
  const text = sealed('shop/cards', 3, '4111')
  await assert.rejects(opened('shop/cards', text.replace('v3', 'v2')), /was not encrypted to version 2/)
  await assert.rejects(opened('elsewhere', sealed('elsewhere', 1, '4111')), /lets operator:ada use elsewhere/)
  await assert.rejects(opened('shop/cards', sealed('elsewhere', 1, '4111').replace('v1', 'v3')), /was not encrypted/)
  await assert.rejects(opened('shop/mac', text), /is a key to mac/)
})

test('a capsule whose proof was changed, and one of a secret, is opened by no holder', async () => {
  const { bytes } = readTransitText(sealed('shop/cards', 3, '4111'))
  const length = bytes.readUInt16BE(0)
  bytes[1 + length] = (bytes[1 + length] as number) ^ 1
  await assert.rejects(opened('shop/cards', transitText(3, bytes)), /proof does not verify|non-canonical|not a canonical/)
  const label = Buffer.from('RINGWALL_SECRET_V1\n{}')
  const { capsule } = encapsulate(vaults.publicKey, label, randomBytes(32))
  const head = Buffer.alloc(2)
  head.writeUInt16BE(capsule.length)
  await assert.rejects(
    opened('shop/cards', transitText(3, Buffer.concat([head, capsule, Buffer.alloc(40)]))),
    /was not encrypted/,
  )
})

test('a batch of more than one request may hold decrypts in order, and a holder that lies changes nothing', async () => {
  const all = Array.from({ length: 18 }, (_, i) => ({
    key: 'shop/cards',
    ciphertext: sealed('shop/cards', 3, `card ${i}`),
    context: NONE,
  }))
  const plain = await decryptTransit(vaults.facts, vaults.reader, all, ways())
  assert.deepEqual(
    plain.map(String),
    all.map((_, i) => `card ${i}`),
  )
  vaults.tamper = (from, _to, answer) => {
    if (from === 'n2') answer[answer.length - 70] = (answer[answer.length - 70] as number) ^ 1
    return answer
  }
  assert.equal(await opened('shop/cards', sealed('shop/cards', 3, 'still')), 'still')
  vaults.tamper = (_from, _to, answer) => answer
})

test('an authenticator is the same from any holders, another for each message, key and version, and takes three of four', async () => {
  const mac = async (text: string, version = 2): Promise<string> => {
    const place = transitPlace(RING, key('shop/mac'), version)!
    return (await authenticateTransit(vaults.facts, vaults.reader, [{ place, message: Buffer.from(text) }], ways()))[0] as string
  }
  const first = await mac('order 1')
  assert.match(first, /^ringwall:v2:[A-Za-z0-9_-]{43}$/)
  vaults.member('n2').isDown = true
  assert.equal(await mac('order 1'), first)
  vaults.member('n3').isDown = true
  await assert.rejects(mac('order 1'), /it takes 3 holders/)
  vaults.member('n2').isDown = false
  vaults.member('n3').isDown = false
  assert.notEqual(await mac('order 2'), first)
  assert.notEqual((await mac('order 1', 1)).slice(12), first.slice(12))
})

test('each use is on the record of the holders, by the key’s name', () => {
  const names = vaults.members.flatMap(({ records }) => records.flatMap(({ secrets }) => secrets.map(([name]) => name)))
  assert.ok(names.includes('transit:shop/cards') && names.includes('transit:shop/mac'))
})
