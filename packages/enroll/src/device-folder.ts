/** The folder that a device ships with: key, certificate, who made it, voucher. */

import type { KeyObject } from 'node:crypto'
import { X509Certificate } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { VoucherReader } from '@ringwall/ring'
import { checkDeviceCertificate, type Identity, keyPem, parseKeyPem, rawPublicKey } from './device-identity.ts'
import { DeviceInvalid } from './errors.ts'
import { parseVoucher, type Voucher } from './voucher.ts'

export const DEVICE_FILES = {
  key: 'device.key',
  certificate: 'device.pem',
  manufacturer: 'manufacturer.pem',
  voucher: 'voucher.json',
} as const

export interface DeviceFolder {
  readonly privateKey: KeyObject
  readonly voucher: Voucher & { readonly ring: string }
  readonly head: string
}

export function writeDeviceFolder(directory: string, device: Identity, manufacturer: string, voucher: string): void {
  writeFileSync(join(directory, DEVICE_FILES.key), keyPem(device.privateKey), { mode: 0o600 })
  writeFileSync(join(directory, DEVICE_FILES.certificate), device.certificate)
  writeFileSync(join(directory, DEVICE_FILES.manufacturer), manufacturer)
  writeVoucher(join(directory, DEVICE_FILES.voucher), voucher)
}

/** Whole, or not at all. */
export function writeVoucher(file: string, voucher: string): void {
  writeFileSync(`${file}.new`, `${voucher}\n`)
  renameSync(`${file}.new`, file)
}

/**
 * What a device has to go by, each against the others: it believes who made it, and from there the chain that names its ring.
 *
 * @throws {DeviceInvalid} With what to do. @throws {VoucherInvalid}
 */
export function readDeviceFolder(directory: string, verify: Parameters<VoucherReader>[1], nowMs: number): DeviceFolder {
  const file = (name: string): string => {
    try {
      return readFileSync(join(directory, name), 'utf8')
    } catch {
      throw new DeviceInvalid('DEVICE_INVALID', `${join(directory, name)} cannot be read; ringwall device make writes it`)
    }
  }
  const privateKey = parseKeyPem(file(DEVICE_FILES.key), join(directory, DEVICE_FILES.key))
  const manufacturer = file(DEVICE_FILES.manufacturer)
  const key = rawPublicKey(privateKey)
  checkDeviceCertificate(file(DEVICE_FILES.certificate), key, manufacturer)
  const voucher = parseVoucher(file(DEVICE_FILES.voucher).trim(), verify)
  if (voucher.key !== key)
    throw new DeviceInvalid(
      'VOUCHER_OTHER_DEVICE',
      `the voucher is of ${voucher.serial} with another key; put this device’s own there`,
    )
  if (voucher.manufacturer !== rawPublicKey(new X509Certificate(manufacturer).publicKey))
    throw new DeviceInvalid(
      'VOUCHER_OTHER_DEVICE',
      'the voucher is not by who made this device; it belongs to whom its maker says',
    )
  const { ring } = voucher
  if (ring === null)
    throw new DeviceInvalid('VOUCHER_NO_RING', 'the voucher names an owner and no ring yet: ringwall device ship --to RING')
  if (voucher.expiresAtMs !== null && voucher.expiresAtMs <= nowMs)
    throw new DeviceInvalid('VOUCHER_EXPIRED', 'the voucher has expired; ask the manufacturer for another')
  return { privateKey, voucher: { ...voucher, ring }, head: voucher.entries.at(-1) ?? '' }
}
