/** What a detector of a node concluded, as it travels between nodes and is kept: the smallest part of an incident. */

/**
 * Kinds of what a finding may be about. Values are addresses, prefixes, fingerprints, or hashes: never a person's name. An `identity` is `operator:NAME`,
 * `service:NAME`, `node:ID` or `key:ID`, as the ledger has it.
 */
export const SUBJECT_KINDS = [
  'source',
  'network',
  'fingerprint',
  'account',
  'session',
  'path',
  'route',
  'service',
  'identity',
  'node',
] as const
export type SubjectKind = (typeof SUBJECT_KINDS)[number]

export interface FindingSubject {
  readonly kind: SubjectKind
  readonly value: string
}

/**
 * One conclusion, as often as it was drawn: the same detector of the same node about the same subject is one finding, whose times and count
 * grow. Of two versions the one that was drawn more often stands.
 */
export interface FindingRecord {
  /** Of the node that drew it. */
  readonly node: string
  readonly detector: string
  /** Of MITRE ATT&CK. */
  readonly attack: readonly string[]
  readonly service: string | undefined
  readonly subject: FindingSubject
  /** All that it names besides: at most `SOURCES_MAX`. */
  readonly sources: readonly string[]
  /** Unix milliseconds. */
  readonly firstMs: number
  readonly lastMs: number
  readonly times: number
  /** For people. */
  readonly reason: string
  /** Whether the node says that its sources be denied. */
  readonly denied: boolean
  /** Of the incident, at least; undefined: as its techniques and detectors have it. */
  readonly severity?: Severity | undefined
}

export const SEVERITIES = ['low', 'medium', 'high'] as const
export type Severity = (typeof SEVERITIES)[number]

export const SOURCES_MAX = 64
export const REASON_CHARS_MAX = 512
export const TECHNIQUES_MAX = 8

/** What is the same finding: its beginning is a part of it, as one that comes again after long is another. */
export function findingId({ node, detector, subject, firstMs }: FindingRecord): string {
  return [node, detector, subject.kind, subject.value, firstMs].join(' ')
}

const isText = (value: unknown, charsMax: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= charsMax && !/\p{Cc}/u.test(value)
const isTime = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0

/** From JSON that another node, or a file, has. Undefined for anything that is none. */
export function readFinding(value: unknown): FindingRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { node, detector, attack, service, subject, sources, firstMs, lastMs, times, reason, denied, severity } = value as Record<
    string,
    unknown
  >
  if (!isText(node, 64) || !isText(detector, 64) || !isText(reason, REASON_CHARS_MAX) || typeof denied !== 'boolean')
    return undefined
  if (service !== undefined && !isText(service, 64)) return undefined
  if (!Array.isArray(attack) || attack.length > TECHNIQUES_MAX || !attack.every((one) => isText(one, 16))) return undefined
  if (!Array.isArray(sources) || sources.length > SOURCES_MAX || !sources.every((one) => isText(one, 64))) return undefined
  if (!isTime(firstMs) || !isTime(lastMs) || lastMs < firstMs || !Number.isSafeInteger(times) || (times as number) < 1)
    return undefined
  if (severity !== undefined && !SEVERITIES.includes(severity as Severity)) return undefined
  const { kind, value: about } = (typeof subject === 'object' && subject !== null ? subject : {}) as Record<string, unknown>
  if (!SUBJECT_KINDS.includes(kind as SubjectKind) || !isText(about, 256)) return undefined
  return {
    node,
    detector,
    attack: attack as readonly string[],
    service,
    subject: { kind: kind as SubjectKind, value: about },
    sources: sources as readonly string[],
    firstMs,
    lastMs,
    times: times as number,
    reason,
    denied,
    ...(severity === undefined ? {} : { severity: severity as Severity }),
  }
}
