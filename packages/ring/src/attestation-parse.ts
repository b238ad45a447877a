/** The shape of what is said of measured states: strict, keys in canonical order. */
import type { AttestationStatement, TpmEvidence } from './attestation-statements.ts'
import type { StatementReaders } from './enrolment-parse.ts'

const HASH = /^[0-9a-f]{64}$/
const BOOT = /^[0-9a-f]{16}$/
const NODE_ID = /^[a-z0-9][a-z0-9-]{0,31}$/
const BASE64URL = /^[A-Za-z0-9_-]+$/
const QUOTE_CHARS_MAX = 1_400
const KEY_CHARS_MAX = 800
/** Of 64 KiB. */
const LOG_CHARS_MAX = 87_382
const PCRS_MAX = 24
const VERDICTS_MAX = 100
/** The most that may pass until a reference value that is taken back ends. */
const WITHIN_MS_MAX = 604_800_000
export const ALARMS = ['case', 'clock', 'debugger'] as const
export const REFERENCE_SCOPE: RegExp = /^(all|region:[^\p{C}]{1,63}|node:[a-z0-9][a-z0-9-]{0,31})$/u

export const ATTESTATION_TYPES: readonly AttestationStatement['type'][] = [
  'attest.quote',
  'attest.enrol',
  'attest.reference',
  'attest.accept',
  'attest.bind',
]

export function parseAttestationStatement(
  value: unknown,
  type: AttestationStatement['type'],
  read: StatementReaders,
): AttestationStatement {
  const hash = (given: unknown, name: string): string => read.matching(given, name, HASH, '64 hex digits')
  const bytes = (given: unknown, name: string, most: number): string =>
    read.matching(read.bounded(given, name, 1, most), name, BASE64URL, 'base64url')
  if (type === 'attest.quote') {
    const fields = read.record(value, 'body', ['alarm', 'beacon', 'boot', 'measured', 'tpm', 'type'])
    const measured = read.record(fields.measured, 'body.measured', ['configuration', 'program'])
    return {
      alarm: fields.alarm === null ? null : oneOf(fields.alarm, ALARMS, 'body.alarm', read),
      beacon: hash(fields.beacon, 'body.beacon'),
      boot: read.matching(fields.boot, 'body.boot', BOOT, '16 hex digits'),
      measured: {
        configuration: hash(measured.configuration, 'body.measured.configuration'),
        program: hash(measured.program, 'body.measured.program'),
      },
      tpm: fields.tpm === null ? null : evidence(fields.tpm, bytes, hash, read),
      type,
    }
  }
  if (type === 'attest.enrol') {
    const fields = read.record(value, 'body', ['ak', 'type', 'verdicts'])
    return {
      ak: bytes(fields.ak, 'body.ak', KEY_CHARS_MAX),
      type,
      verdicts: list(fields.verdicts, 'body.verdicts', VERDICTS_MAX, read).map((one, at) => {
        const verdict = read.record(one, `body.verdicts.${at}`, ['node', 'signature'])
        return {
          node: read.matching(verdict.node, `body.verdicts.${at}.node`, NODE_ID, 'the id of a node'),
          signature: read.base64url(verdict.signature, `body.verdicts.${at}.signature`, 64),
        }
      }),
    }
  }
  if (type === 'attest.reference') {
    const fields = read.record(value, 'body', ['allowed', 'digest', 'kind', 'label', 'reason', 'scope', 'type', 'withinMs'])
    return {
      allowed: oneOf(fields.allowed, [true, false] as const, 'body.allowed', read),
      digest: hash(fields.digest, 'body.digest'),
      kind: oneOf(fields.kind, ['program', 'pcrs'] as const, 'body.kind', read),
      label: read.printable(fields.label, 'body.label', 1, 63),
      reason: read.reason(fields.reason),
      scope: read.matching(fields.scope, 'body.scope', REFERENCE_SCOPE, 'all, region:NAME or node:ID'),
      type,
      withinMs: atMost(read.whole(fields.withinMs, 'body.withinMs'), WITHIN_MS_MAX, 'body.withinMs', read),
    }
  }
  if (type === 'attest.bind') {
    const fields = read.record(value, 'body', ['ek', 'node', 'reason', 'type'])
    return {
      ek: hash(fields.ek, 'body.ek'),
      node: read.matching(fields.node, 'body.node', NODE_ID, 'the id of a node'),
      reason: read.reason(fields.reason),
      type,
    }
  }
  const fields = read.record(value, 'body', ['node', 'reason', 'type'])
  return {
    node: read.matching(fields.node, 'body.node', NODE_ID, 'the id of a node'),
    reason: read.reason(fields.reason),
    type,
  }
}

function evidence(
  value: unknown,
  bytes: (given: unknown, name: string, most: number) => string,
  hash: (given: unknown, name: string) => string,
  read: StatementReaders,
): TpmEvidence {
  const fields = read.record(value, 'body.tpm', ['log', 'pcrs', 'quote', 'signature'])
  return {
    log: fields.log === '' ? '' : bytes(fields.log, 'body.tpm.log', LOG_CHARS_MAX),
    pcrs: list(fields.pcrs, 'body.tpm.pcrs', PCRS_MAX, read).map((one, at) => hash(one, `body.tpm.pcrs.${at}`)),
    quote: bytes(fields.quote, 'body.tpm.quote', QUOTE_CHARS_MAX),
    signature: bytes(fields.signature, 'body.tpm.signature', QUOTE_CHARS_MAX),
  }
}

function list(value: unknown, where: string, most: number, read: StatementReaders): readonly unknown[] {
  if (!Array.isArray(value) || value.length > most) return read.fail(`${where} must be a list of at most ${most}`)
  return value
}

function atMost(value: number, most: number, where: string, read: StatementReaders): number {
  return value <= most ? value : read.fail(`${where} must be at most ${most}`)
}

function oneOf<T>(value: unknown, known: readonly T[], where: string, read: StatementReaders): T {
  const found = known.find((one) => one === value)
  return found === undefined ? read.fail(`${where} must be one of ${known.join(', ')}`) : found
}
