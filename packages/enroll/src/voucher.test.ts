import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject, verify, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkDeviceCertificate, idevidIssuerOf, makeDevice, makeManufacturer, rawPublicKey } from './device-identity.ts'
import { VoucherInvalid } from './errors.ts'
import { makeVoucher, parseVoucher, passOn, readVoucher, TRANSFERS_MAX } from './voucher.ts'

const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const check = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, message, createPublicKey({ key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' }), signature)

const NOW = Date.parse('2027-01-31T12:00:00Z')
const RING = 'ab'.repeat(32)
const ADDRESSES = [{ address: '10.0.0.1:7081', key: 'A'.repeat(43) }]

function newKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey
}

const [maker, device, first, second] = [newKey(), newKey(), newKey(), newKey()]
const made = makeVoucher({
  serial: 'AC-1',
  deviceKey: rawPublicKey(device),
  owner: rawPublicKey(first),
  manufacturer: maker,
  idevidIssuer: 'AAECAwQ=',
  createdAtMs: NOW,
  expiresAtMs: NOW + 1_000,
})
const sold = passOn(made, first, { owner: rawPublicKey(second), createdAtMs: NOW }, check)
const shipped = passOn(sold, second, { owner: rawPublicKey(first), ring: RING, addresses: ADDRESSES, createdAtMs: NOW }, check)

test('a chain says who made the device, whose it is and where its ring is found', () => {
  const voucher = parseVoucher(shipped, check)
  assert.equal(voucher.serial, 'AC-1')
  assert.equal(voucher.key, rawPublicKey(device))
  assert.equal(voucher.manufacturer, rawPublicKey(maker))
  assert.equal(voucher.owner, rawPublicKey(first))
  assert.equal(voucher.ring, RING)
  assert.deepEqual(voucher.addresses, ADDRESSES)
  assert.equal(voucher.expiresAtMs, NOW + 1_000)
  assert.equal(voucher.entries.length, 3)
  assert.deepEqual(parseVoucher(sold, check).entries, voucher.entries.slice(0, 2))
})

test('the first entry has the members and the form of RFC 8366 in a general JWS', () => {
  const { voucher } = JSON.parse(made) as { voucher: { payload: string; signatures: { protected: string }[] } }
  const payload = JSON.parse(Buffer.from(voucher.payload, 'base64url').toString()) as Record<string, Record<string, unknown>>
  assert.deepEqual(payload['ietf-voucher:voucher'], {
    'created-on': '2027-01-31T12:00:00.000Z',
    'expires-on': '2027-01-31T12:00:01.000Z',
    assertion: 'verified',
    'serial-number': 'AC-1',
    'idevid-issuer': 'AAECAwQ=',
    'ringwall:device-key': rawPublicKey(device),
    'ringwall:owner': rawPublicKey(first),
  })
  const header = JSON.parse(Buffer.from(voucher.signatures[0]!.protected, 'base64url').toString()) as Record<string, unknown>
  assert.equal(header.typ, 'voucher-jws+json')
})

test('only the owner of the moment passes a device on', () => {
  for (const key of [maker, first, device]) {
    assert.throws(() => passOn(sold, key, { owner: rawPublicKey(key), createdAtMs: NOW }, check), /not its owner’s/)
  }
})

interface Chain {
  voucher: Record<string, unknown>
  transfers: Record<string, unknown>[]
}

test('no entry is taken out, put elsewhere, or taken over from another device', () => {
  const of = (text: string): Chain => JSON.parse(text) as Chain
  const reasonOf = (chain: Chain): string => {
    const read = readVoucher(JSON.stringify(chain), check)
    return read.ok ? 'valid' : read.reason
  }
  const whole = of(shipped)
  assert.equal(reasonOf(whole), 'valid')
  assert.match(reasonOf({ ...whole, transfers: whole.transfers.slice(1) }), /not signed by the owner before/)
  assert.match(reasonOf({ ...whole, transfers: whole.transfers.toReversed() }), /not signed by the owner before/)
  const otherMade = makeVoucher({
    serial: 'AC-2',
    deviceKey: rawPublicKey(newKey()),
    owner: rawPublicKey(first),
    manufacturer: maker,
    createdAtMs: NOW,
  })
  assert.match(reasonOf({ ...whole, voucher: of(otherMade).voucher }), /is of another device/)
  const again = makeVoucher({
    serial: 'AC-1',
    deviceKey: rawPublicKey(device),
    owner: rawPublicKey(first),
    manufacturer: maker,
    createdAtMs: NOW + 1,
  })
  assert.match(reasonOf({ ...whole, voucher: of(again).voucher }), /does not follow the entry before it/)
  assert.match(reasonOf({ ...whole, extra: 1 } as unknown as Chain), /and nothing else/)
})

test('a chain that was changed in any character is no other chain', () => {
  const before = parseVoucher(shipped, check)
  fc.assert(
    fc.property(fc.nat(shipped.length - 1), fc.constantFrom(...'AZaz09-_"{}[],:\\ '), (at, character) => {
      const changed = shipped.slice(0, at) + character + shipped.slice(at + 1)
      const read = readVoucher(changed, check)
      if (read.ok) assert.deepEqual(read.voucher.entries, before.entries)
    }),
    { numRuns: 300 },
  )
})

test('anything at all is read or refused with a reason', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      assert.equal(readVoucher(text, check).ok, false)
    }),
  )
  assert.equal(readVoucher('['.repeat(30_000), check).ok, false)
  assert.throws(() => parseVoucher(' '.repeat(40_000), check), VoucherInvalid)
})

test('a chain has an end', () => {
  let text = made
  for (let done = 0; done < TRANSFERS_MAX; done += 1)
    text = passOn(text, first, { owner: rawPublicKey(first), createdAtMs: NOW }, check)
  assert.throws(() => passOn(text, first, { owner: rawPublicKey(first), createdAtMs: NOW }, check), /changed hands 16 times/)
})

test('a device’s certificate names its serial number, is by its maker, and the voucher names that authority', async () => {
  const manufacturer = await makeManufacturer('acme', NOW)
  const identity = await makeDevice('AC-1', manufacturer, NOW)
  const certificate = new X509Certificate(identity.certificate)
  assert.match(certificate.subject, /serialNumber=AC-1/)
  assert.equal(certificate.checkIssued(new X509Certificate(manufacturer.certificate)), true)
  assert.match(await idevidIssuerOf(manufacturer), /^[A-Za-z0-9+/]{27}=$/)
  checkDeviceCertificate(identity.certificate, identity.key, manufacturer.certificate)
  assert.throws(
    () => checkDeviceCertificate(identity.certificate, rawPublicKey(device), manufacturer.certificate),
    /not over its key/,
  )
  const other = await makeManufacturer('acme', NOW)
  assert.throws(() => checkDeviceCertificate(identity.certificate, identity.key, other.certificate), /not by its manufacturer/)
})
