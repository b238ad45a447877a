import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readDeviceFolder, writeDeviceFolder, writeVoucher } from './device-folder.ts'
import { makeDevice, makeManufacturer } from './device-identity.ts'
import { makeVoucher, passOn } from './voucher.ts'

const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const check = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, message, createPublicKey({ key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' }), signature)
const NOW = Date.parse('2027-01-31T12:00:00Z')
const RING = 'ab'.repeat(32)
const root = mkdtempSync(join(tmpdir(), 'ringwall-device-'))
after(() => rmSync(root, { recursive: true }))

const acme = await makeManufacturer('acme', NOW)

/** A device’s folder, shipped to the ring. */
async function shipped(serial: string, manufacturer = acme): Promise<{ readonly directory: string; readonly unshipped: string }> {
  const device = await makeDevice(serial, manufacturer, NOW)
  const unshipped = makeVoucher({
    serial,
    deviceKey: device.key,
    owner: manufacturer.key,
    manufacturer: manufacturer.privateKey,
    createdAtMs: NOW,
    expiresAtMs: NOW + 1_000,
  })
  const to = { owner: acme.key, ring: RING, addresses: [{ address: '10.0.0.1:7081', key: acme.key }], createdAtMs: NOW }
  const directory = mkdtempSync(join(root, 'd-'))
  writeDeviceFolder(directory, device, manufacturer.certificate, passOn(unshipped, manufacturer.privateKey, to, check))
  return { directory, unshipped }
}

test('a device believes its maker, and from there the chain that names its ring', async () => {
  const { directory } = await shipped('AC-1')
  const { voucher, head } = readDeviceFolder(directory, check, NOW)
  assert.equal(voucher.ring, RING)
  assert.equal(head, voucher.entries[1])
})

test('a voucher of another device, of another maker, without a ring, or that is over, is told apart', async () => {
  const [one, other] = [await shipped('AC-1'), await shipped('AC-2')]
  cpSync(join(other.directory, 'voucher.json'), join(one.directory, 'voucher.json'))
  assert.throws(() => readDeviceFolder(one.directory, check, NOW), { code: 'VOUCHER_OTHER_DEVICE' })
  writeVoucher(join(other.directory, 'voucher.json'), other.unshipped)
  assert.throws(() => readDeviceFolder(other.directory, check, NOW), { code: 'VOUCHER_NO_RING' })
  const late = await shipped('AC-3')
  assert.throws(() => readDeviceFolder(late.directory, check, NOW + 1_000), { code: 'VOUCHER_EXPIRED' })
  const forged = await shipped('AC-4', await makeManufacturer('acme', NOW))
  cpSync(join(late.directory, 'manufacturer.pem'), join(forged.directory, 'manufacturer.pem'))
  assert.throws(() => readDeviceFolder(forged.directory, check, NOW), { code: 'DEVICE_INVALID' })
  assert.throws(() => readDeviceFolder(join(root, 'none'), check, NOW), /cannot be read; ringwall device make writes it/)
})
