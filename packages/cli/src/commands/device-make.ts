/** What is done to a device where no ring is near: in the factory, and by owners who pass it on. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  endorsementHash,
  idevidIssuerOf,
  isEndorsed,
  keyPem,
  makeDevice,
  makeManufacturer,
  makeVoucher,
  parseKeyPem,
  passOn,
  type RingAddress,
  rawPublicKey,
  TpmDevice,
  writeDeviceFolder,
  writeVoucher,
} from '@ringwall/enroll'
import { verifySignature } from '@ringwall/node'
import { SERIAL, SERIAL_EXPECTED } from '@ringwall/ring'
import { UsageError } from '../errors.ts'
import { write } from '../output.ts'

const KEY_FILE = 'manufacturer.key'
const CERTIFICATE_FILE = 'manufacturer.pem'
export const RING_ADDRESS_FORMAT = 'ringwall/ring-address/1'
const PUBLIC_KEY = /^[A-Za-z0-9_-]{43}$/

/** Where a device is to go. */
export interface RingDestination {
  readonly ring: string
  readonly owner: string
  readonly addresses: readonly RingAddress[]
}

function text(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new UsageError(`${file}: ${what} cannot be read`)
  }
}

function newFolder(directory: string): void {
  if (existsSync(directory)) throw new UsageError(`${directory} is there already; name a folder that is not`)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
}

export async function manufacturerMake(name: string, directory: string): Promise<void> {
  newFolder(directory)
  const { privateKey, key, certificate } = await makeManufacturer(name, Date.now())
  writeFileSync(join(directory, KEY_FILE), keyPem(privateKey), { mode: 0o600 })
  writeFileSync(join(directory, CERTIFICATE_FILE), certificate)
  write(key)
  process.stderr.write(
    `made ${directory}. Rings that are to take in its devices have in their policy:\n  devices:\n    manufacturers:\n      - { name: ${name}, key: ${key} }\n`,
  )
}

export interface DeviceMakeOptions {
  readonly manufacturer: string
  readonly directory: string
  readonly owner: string | undefined
  readonly ttlMs: number | undefined
  /** As tpm2-tools take it. */
  readonly tpm: string | undefined
  /** PEM of who may certify its endorsement key. */
  readonly tpmRoots: string | undefined
}

export async function deviceMake(serial: string, options: DeviceMakeOptions): Promise<void> {
  if (!SERIAL.test(serial)) throw new UsageError(`${serial} is not ${SERIAL_EXPECTED}`)
  if (options.owner !== undefined && !PUBLIC_KEY.test(options.owner))
    throw new UsageError('--owner: expected an Ed25519 public key, 32 bytes in base64url')
  const keyFile = join(options.manufacturer, KEY_FILE)
  const privateKey = parseKeyPem(text(keyFile, 'the manufacturer’s key'), keyFile)
  const certificate = text(join(options.manufacturer, CERTIFICATE_FILE), 'the manufacturer’s certificate')
  const createdAtMs = Date.now()
  const ek = options.tpm === undefined ? undefined : await endorsementOf(options.tpm, options.tpmRoots)
  const device = await makeDevice(serial, { privateKey, certificate }, createdAtMs)
  const voucher = makeVoucher({
    serial,
    deviceKey: device.key,
    owner: options.owner ?? rawPublicKey(privateKey),
    manufacturer: privateKey,
    idevidIssuer: await idevidIssuerOf({ privateKey }),
    createdAtMs,
    ...(ek === undefined ? {} : { ek }),
    ...(options.ttlMs === undefined ? {} : { expiresAtMs: createdAtMs + options.ttlMs }),
  })
  newFolder(options.directory)
  writeDeviceFolder(options.directory, device, certificate, voucher)
  process.stderr.write(
    `made ${options.directory} for ${serial}. Say to which ring it goes: ringwall device ship ${options.directory}/voucher.json --key ${keyFile} --to RING.json\n`,
  )
}

export async function tpmShow(tcti: string, rootsFile: string | undefined): Promise<void> {
  process.stdout.write(`${await endorsementOf(tcti, rootsFile)}\n`)
}

/** The TPM of the device, if those whom the factory believes say that it is one. @throws {UsageError} */
async function endorsementOf(tcti: string, rootsFile: string | undefined): Promise<string> {
  const tpm = new TpmDevice(tcti)
  const key = await tpm.endorsementKey()
  if (rootsFile === undefined) {
    process.stderr.write('the TPM’s certificate is not looked at: name who certifies its maker’s TPMs with --tpm-roots\n')
    return endorsementHash(key)
  }
  const roots = text(rootsFile, 'the certificates of who makes TPMs')
    .split(/(?=-----BEGIN CERTIFICATE-----)/)
    .filter((pem) => pem.includes('BEGIN CERTIFICATE'))
  if (!isEndorsed(key, await tpm.endorsementCertificate(), roots))
    throw new UsageError(`the TPM at ${tcti}: its certificate is not over its endorsement key, or leads to none of ${rootsFile}`)
  return endorsementHash(key)
}

/** A ring as `ringwall device address` wrote it, or the key of an owner. @throws {UsageError} */
export function destinationOf(to: string): RingDestination | { readonly owner: string } {
  if (!existsSync(to)) {
    if (PUBLIC_KEY.test(to)) return { owner: to }
    throw new UsageError(`--to ${to}: expected a file that ringwall device address wrote, or an owner’s public key`)
  }
  try {
    const { format, ring, owner, addresses } = JSON.parse(text(to, 'the ring’s address')) as Record<string, unknown>
    if (format === RING_ADDRESS_FORMAT && typeof ring === 'string' && typeof owner === 'string' && Array.isArray(addresses))
      return { ring, owner, addresses: addresses as RingAddress[] }
  } catch (error) {
    if (error instanceof UsageError) throw error
  }
  throw new UsageError(`${to}: is not what ringwall device address writes`)
}

export function deviceShip(voucherFile: string, keyFile: string, to: string): void {
  const key = parseKeyPem(text(keyFile, 'the owner’s key'), keyFile)
  const destination = destinationOf(to)
  const before = text(voucherFile, 'the voucher').trim()
  writeVoucher(voucherFile, passOn(before, key, { ...destination, createdAtMs: Date.now() }, verifySignature))
  const whom = 'ring' in destination ? `the ring ${destination.ring.slice(0, 16)}…` : `the owner ${destination.owner}`
  process.stderr.write(`${voucherFile} gives the device to ${whom}; nobody but its new owner can pass it on now\n`)
}
