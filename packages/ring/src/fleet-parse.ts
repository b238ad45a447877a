/** Reads what is stated about labels, holds, releases and updates. Safe for browsers. */
import type { StatementReaders } from './enrolment-parse.ts'
import { PROGRAMS_MAX } from './fleet.ts'
import { LABEL, LABEL_EXPECTED, LABEL_KEY, LABELS_MAX } from './fleet-label.ts'
import type { FleetStatement } from './fleet-statements.ts'
import { RELEASE_FORMAT } from './release.ts'
import { RELEASE_VERSION, RELEASE_VERSION_EXPECTED } from './release-version.ts'

export const FLEET_TYPES: readonly FleetStatement['type'][] = [
  'fleet.label',
  'fleet.hold',
  'fleet.report',
  'fleet.resume',
  'release.add',
  'release.remove',
]

export function isFleetType(type: unknown): type is FleetStatement['type'] {
  return (FLEET_TYPES as readonly unknown[]).includes(type)
}

const HASH = /^[0-9a-f]{64}$/
const GENESIS_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

/** Keys in canonical order. @throws {TxMalformed} */
export function parseFleetStatement(value: unknown, type: FleetStatement['type'], read: StatementReaders): FleetStatement {
  const id = (given: unknown): string => read.matching(given, 'body.id', GENESIS_ID, 'the id of a node')
  const version = (given: unknown, where = 'body.version'): string =>
    read.matching(given, where, RELEASE_VERSION, RELEASE_VERSION_EXPECTED)
  const oneOf = <T extends string>(given: unknown, where: string, known: readonly T[]): T =>
    known.find((one) => one === given) ?? read.fail(`${where} must be ${known.join(', ')}`)
  switch (type) {
    case 'fleet.label': {
      const fields = read.record(value, 'body', ['id', 'of', 'reason', 'set', 'type', 'unset'])
      return {
        id: read.matching(fields.id, 'body.id', /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a node’s id or a device’s serial'),
        of: oneOf(fields.of, 'body.of', ['node', 'device']),
        reason: read.reason(fields.reason),
        set: texts(fields.set, 'body.set', LABEL, LABEL_EXPECTED, LABELS_MAX, read),
        type,
        unset: texts(fields.unset, 'body.unset', LABEL_KEY, 'the key of a label', LABELS_MAX, read),
      }
    }
    case 'fleet.hold': {
      const fields = read.record(value, 'body', ['id', 'kind', 'reason', 'ttlMs', 'type'])
      return {
        id: id(fields.id),
        kind: oneOf(fields.kind, 'body.kind', ['cordon', 'drain', 'none']),
        reason: read.reason(fields.reason),
        ttlMs: read.whole(fields.ttlMs, 'body.ttlMs'),
        type,
      }
    }
    case 'fleet.report': {
      const fields = read.record(value, 'body', ['how', 'reason', 'type', 'version'])
      return {
        how: oneOf(fields.how, 'body.how', ['trying', 'running', 'failed']),
        reason: read.reason(fields.reason),
        type,
        version: version(fields.version),
      }
    }
    case 'release.add': {
      const fields = read.record(value, 'body', ['header', 'key', 'reason', 'signature', 'type'])
      const header = read.record(fields.header, 'body.header', ['bytes', 'contents', 'files', 'format', 'programs', 'version'])
      return {
        header: {
          bytes: read.whole(header.bytes, 'body.header.bytes'),
          contents: read.matching(header.contents, 'body.header.contents', HASH, '64 hex digits'),
          files: read.whole(header.files, 'body.header.files'),
          format: oneOf(header.format, 'body.header.format', [RELEASE_FORMAT]),
          programs: texts(header.programs, 'body.header.programs', HASH, '64 hex digits', PROGRAMS_MAX, read),
          version: version(header.version, 'body.header.version'),
        },
        key: read.base64url(fields.key, 'body.key', 32),
        reason: read.reason(fields.reason),
        signature: read.base64url(fields.signature, 'body.signature', 64),
        type,
      }
    }
    default: {
      const fields = read.record(value, 'body', ['reason', 'type', 'version'])
      return { reason: read.reason(fields.reason), type, version: version(fields.version) }
    }
  }
}

/** Ascending: one spelling. */
function texts(
  value: unknown,
  where: string,
  pattern: RegExp,
  expected: string,
  most: number,
  read: Pick<StatementReaders, 'matching' | 'fail'>,
): readonly string[] {
  if (!Array.isArray(value) || value.length > most) return read.fail(`${where} must be a list of at most ${most}`)
  const list = value.map((one: unknown) => read.matching(one, where, pattern, expected))
  if (list.some((one, at) => at > 0 && one <= (list[at - 1] as string))) return read.fail(`${where} must ascend, without repeats`)
  return list
}
