/** The shape of what is said of invitations and devices: strict, keys in canonical order. */

import { ATTESTATION_TYPES, parseAttestationStatement } from './attestation-parse.ts'
import type { AttestationStatement } from './attestation-statements.ts'
import type { EnrolmentStatement } from './enrolment-statements.ts'
import { EST_TYPES, isEstType, parseEstStatement } from './est.ts'
import type { RingNode, TxBody } from './types.ts'

/** What `tx.ts` reads other statements with. */
export interface StatementReaders {
  record(value: unknown, where: string, keys: readonly string[], optional?: readonly string[]): Record<string, unknown>
  whole(value: unknown, where: string): number
  base64url(value: unknown, where: string, bytes: number): string
  matching(value: unknown, where: string, pattern: RegExp, expected: string): string
  printable(value: unknown, where: string, min: number, max: number): string
  bounded(value: unknown, where: string, min: number, max: number): string
  reason(value: unknown): string
  node(value: unknown): RingNode
  roles(value: unknown, where: string): RingNode['roles']
  /** @throws {TxMalformed} */
  fail(reason: string): never
}

/** Of a chain of owners, as text. */
export const VOUCHER_CHARS_MAX = 32_768
export const SERIAL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
export const SERIAL_EXPECTED = 'a serial number: 1 to 64 letters, digits, dots, hyphens'
const HASH = /^[0-9a-f]{64}$/

export const ENROLMENT_TYPES: readonly EnrolmentStatement['type'][] = [
  'node.invite',
  'node.join',
  'device.register',
  'device.transfer',
  'device.remove',
  'device.join',
  ...ATTESTATION_TYPES,
  ...EST_TYPES,
]

export function isEnrolmentType(type: unknown): type is EnrolmentStatement['type'] {
  return (ENROLMENT_TYPES as readonly unknown[]).includes(type)
}

export function isEnrolmentStatement(body: TxBody): body is EnrolmentStatement {
  return isEnrolmentType(body.type)
}

export function parseEnrolmentStatement(
  value: unknown,
  type: EnrolmentStatement['type'],
  read: StatementReaders,
): EnrolmentStatement {
  const region = (given: unknown): string | null => (given === null ? null : read.printable(given, 'body.region', 1, 63))
  const signature = (given: unknown, name: string): string => read.base64url(given, `body.${name}`, 64)
  const serial = (given: unknown): string => read.matching(given, 'body.serial', SERIAL, SERIAL_EXPECTED)
  const voucher = (given: unknown): string => read.bounded(given, 'body.voucher', 1, VOUCHER_CHARS_MAX)
  switch (type) {
    case 'node.invite': {
      const fields = read.record(value, 'body', ['key', 'reason', 'region', 'roles', 'ttlMs', 'type'])
      return {
        key: read.base64url(fields.key, 'body.key', 32),
        reason: read.reason(fields.reason),
        region: region(fields.region),
        roles: read.roles(fields.roles, 'body.roles'),
        ttlMs: read.whole(fields.ttlMs, 'body.ttlMs'),
        type,
      }
    }
    case 'node.join': {
      const fields = read.record(value, 'body', ['invitation', 'node', 'own', 'proof', 'type'])
      return {
        invitation: read.base64url(fields.invitation, 'body.invitation', 32),
        node: read.node(fields.node),
        own: signature(fields.own, 'own'),
        proof: signature(fields.proof, 'proof'),
        type,
      }
    }
    case 'device.register': {
      const fields = read.record(value, 'body', ['reason', 'region', 'roles', 'type', 'voucher'])
      return {
        reason: read.reason(fields.reason),
        region: region(fields.region),
        roles: read.roles(fields.roles, 'body.roles'),
        type,
        voucher: voucher(fields.voucher),
      }
    }
    case 'device.transfer': {
      const fields = read.record(value, 'body', ['reason', 'serial', 'type', 'voucher'])
      return { reason: read.reason(fields.reason), serial: serial(fields.serial), type, voucher: voucher(fields.voucher) }
    }
    case 'device.remove': {
      const fields = read.record(value, 'body', ['reason', 'serial', 'type'])
      return { reason: read.reason(fields.reason), serial: serial(fields.serial), type }
    }
    case 'device.join': {
      const fields = read.record(value, 'body', ['atMs', 'head', 'node', 'own', 'proof', 'serial', 'type'])
      return {
        atMs: read.whole(fields.atMs, 'body.atMs'),
        head: read.matching(fields.head, 'body.head', HASH, '64 hex digits'),
        node: read.node(fields.node),
        own: signature(fields.own, 'own'),
        proof: signature(fields.proof, 'proof'),
        serial: serial(fields.serial),
        type,
      }
    }
    default:
      if (isEstType(type)) return parseEstStatement(value, type, read)
      return parseAttestationStatement(value, type, read)
  }
}

export function isAttestationStatement(body: TxBody): body is AttestationStatement {
  return (ATTESTATION_TYPES as readonly string[]).includes(body.type)
}
