/** Devices that the ring knows. */

import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Operations, RingwallClient } from '@ringwall/client'
import { passOn, rawPublicKey, writeVoucher } from '@ringwall/enroll'
import { verifySignature } from '@ringwall/node'
import { QuietFailure, UsageError } from '../errors.ts'
import { time } from '../format.ts'
import { type Format, printList, printOne, write } from '../output.ts'
import { readContext } from '../session.ts'
import { destinationOf, RING_ADDRESS_FORMAT } from './device-make.ts'
import { parseRoles, ringAddresses } from './invite.ts'
import { tellWaiting, withCode } from './waiting.ts'

type Device = Operations['enrolment']['answer']['devices'][number]

export async function deviceList(client: RingwallClient, format: Format): Promise<void> {
  const { devices } = await client.enrolment()
  printList<Device>(
    format,
    devices,
    [
      { title: 'SERIAL', value: ({ serial }) => serial },
      { title: 'STATUS', value: ({ status }) => status },
      { title: 'NODE', value: ({ node }) => node ?? '-' },
      { title: 'ROLES', value: ({ roles }) => roles.join(',') },
      { title: 'REGION', value: ({ region }) => region ?? 'any' },
      { title: 'MANUFACTURER', value: ({ manufacturer }) => manufacturer },
      { title: 'REGISTERED', value: ({ registeredAtMs }) => time(registeredAtMs), wide: true },
      { title: 'BY', value: ({ by }) => by, wide: true },
    ],
    ({ serial }) => serial,
    'no devices; ringwall device register takes one in',
  )
}

async function found(client: RingwallClient, serial: string): Promise<Device> {
  const { devices } = await client.enrolment()
  const device = devices.find((one) => one.serial === serial)
  if (device === undefined) throw new UsageError(`no device ${serial}; ringwall device ls lists them`)
  return device
}

export async function deviceShow(client: RingwallClient, format: Format, serial: string): Promise<void> {
  const device = await found(client, serial)
  const lines = ({ status, node, roles, region, manufacturer, key, head, expiresAtMs, registeredAtMs, by }: Device): string =>
    [
      `serial        ${serial}`,
      `status        ${status}`,
      `node          ${node ?? '-'}`,
      `may be        ${roles.join(' and ')}${region === null ? '' : ` in ${region}`}`,
      `manufacturer  ${manufacturer}`,
      `key           ${key}`,
      `voucher       ${head}${expiresAtMs === null ? '' : `, until ${time(expiresAtMs)}`}`,
      `registered    ${time(registeredAtMs)} by ${by}`,
    ].join('\n')
  printOne(format, device, lines, serial)
}

function operatorKey(context: string | undefined) {
  const { privateKey } = readContext(context)
  return createPrivateKey({ key: privateKey as never, format: 'jwk' })
}

/** Where devices are to be shipped to: a file for sellers. Nothing in it is secret. */
export async function deviceAddress(client: RingwallClient, context: string | undefined): Promise<void> {
  const { ring, peers } = await ringAddresses(client, null)
  const owner = rawPublicKey(operatorKey(context))
  write(JSON.stringify({ format: RING_ADDRESS_FORMAT, ring, owner, addresses: peers }, undefined, 2))
}

export interface RegisterOptions {
  readonly region: string | null
  readonly roles: string
  readonly reason: string
  readonly dryRun: boolean
}

function readVoucherFile(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    throw new UsageError(`${file}: the voucher cannot be read`)
  }
}

export async function deviceRegister(client: RingwallClient, file: string, options: RegisterOptions): Promise<void> {
  const { region, reason, dryRun } = options
  const roles = parseRoles(options.roles)
  const body = { type: 'device.register', reason, region, roles, voucher: readVoucherFile(file) } as const
  const what = `a device that may join as ${roles.join(' and ')}${region === null ? '' : ` in ${region}`}`
  await settle(client, body, `register ${what}`, `registered ${what}: power it on`, dryRun)
}

export interface TransferOptions {
  readonly voucher: string
  readonly to: string
  readonly context: string | undefined
  readonly reason: string
  readonly dryRun: boolean
}

export async function deviceTransfer(client: RingwallClient, serial: string, options: TransferOptions): Promise<void> {
  const { voucher: file, to, context, reason, dryRun } = options
  const destination = destinationOf(to)
  const key = operatorKey(context)
  const voucher = passOn(readVoucherFile(file), key, { ...destination, createdAtMs: Date.now() }, verifySignature)
  const body = { type: 'device.transfer', reason, serial, voucher } as const
  const done = `${serial} is another owner’s: its node is out of this ring. ${file} is for the device, and for that owner`
  if (await settle(client, body, `give ${serial} away`, done, dryRun)) writeVoucher(file, voucher)
}

export async function deviceRemove(client: RingwallClient, serial: string, reason: string, dryRun: boolean): Promise<void> {
  const { node } = await found(client, serial)
  const what = node === null ? '' : `, and ${node} with it`
  const done = `${serial} is out for good${what}; nothing lets it in again`
  await settle(client, { type: 'device.remove', reason, serial }, `remove ${serial}${what}`, done, dryRun)
}

/** True once the ring holds it, approved or not. */
export async function settle(
  client: RingwallClient,
  body: Parameters<RingwallClient['submit']>[0],
  would: string,
  done: string,
  dryRun: boolean,
): Promise<boolean> {
  if (dryRun) {
    await withCode(client.rehearse(body))
    process.stderr.write(`would ${would}\n`)
    return false
  }
  const answer = await withCode(client.submit(body))
  if (!('height' in answer)) throw new QuietFailure()
  if (!tellWaiting(answer)) process.stderr.write(`${done}; certified at height ${answer.height}\n`)
  return true
}
