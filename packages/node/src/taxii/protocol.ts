/**
 * Words of TAXII 2.1 (OASIS Standard, 10 June 2021) that its server and its client share: the media type, moments, errors, filters. Moments
 * have microseconds, as Unix time in a number: good until the year 2255.
 */
import { createHash } from 'node:crypto'

export const TAXII_TYPE = 'application/taxii+json;version=2.1'
export const STIX_TYPE = 'application/stix+json;version=2.1'
/** Objects of an answer at most, and unless asked otherwise. */
export const LIMIT_MAX = 1_000
const MATCHES_MAX = 100
const VALUE_CHARS_MAX = 300

/** An error of section 3.6.1. */
export class TaxiiError extends Error {
  override readonly name = 'TaxiiError'
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

const MOMENT = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?Z$/

/** Microseconds of an RFC 3339 moment in UTC, as STIX writes them; undefined for anything else. */
export function parseMoment(text: string): number | undefined {
  const match = MOMENT.exec(text)
  const ms = match === null ? Number.NaN : Date.parse(`${match[1]}Z`)
  // What rolls over (February 30) is none.
  if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(match![1]!)) return undefined
  return ms * 1_000 + Number((match![2] ?? '').slice(0, 6).padEnd(6, '0'))
}

export function formatMoment(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000)
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}.${String(micros - seconds * 1_000_000).padStart(6, '0')}Z`
}

/** A UUID that follows from a name (version 5, RFC 9562), in a name space of Ringwall's. */
export function uuidOf(...names: readonly string[]): string {
  const hash = createHash('sha256')
    .update(['RINGWALL_STIX_V1', ...names].join('\0'))
    .digest()
  hash[6] = (hash[6]! & 0x0f) | 0x50
  hash[8] = (hash[8]! & 0x3f) | 0x80
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Which objects somebody asks for (section 3.4 and 3.5); what is absent asks for all. */
export interface ObjectFilter {
  /** Microseconds: only what was added later. */
  readonly after: number
  readonly limit: number
  readonly ids?: ReadonlySet<string>
  readonly types?: ReadonlySet<string>
  readonly specVersions?: ReadonlySet<string>
  /** `first`, `last`, `all`, or moments, in microseconds. */
  readonly versions: ReadonlySet<string | number>
}

/** @param allowed Names of `match` that the endpoint knows; others are passed over, as section 3.4.1 has it. @throws {TaxiiError} 400. */
export function parseFilter(query: URLSearchParams, allowed: readonly string[]): ObjectFilter {
  for (const name of new Set(query.keys()))
    if (query.getAll(name).length > 1) throw new TaxiiError(400, 'TAXII_FILTER', `${name.slice(0, 60)} occurs more than once`)
  const list = (name: string): ReadonlySet<string> | undefined => {
    const text = allowed.includes(name) ? query.get(`match[${name}]`) : null
    if (text === null) return undefined
    const words = text.split(',')
    if (words.length > MATCHES_MAX || words.some((word) => word === '' || word.length > VALUE_CHARS_MAX))
      throw new TaxiiError(400, 'TAXII_FILTER', `match[${name}]: expected 1 to ${MATCHES_MAX} values, separated by commas`)
    return new Set(words)
  }
  const moment = (text: string, name: string): number => {
    const micros = parseMoment(text)
    if (micros === undefined) throw new TaxiiError(400, 'TAXII_FILTER', `${name}: expected a time such as 2027-01-31T12:00:00Z`)
    return micros
  }
  const [ids, types, specVersions, versions] = ['id', 'type', 'spec_version', 'version'].map(list)
  const [asked, next, added] = [query.get('limit'), query.get('next'), query.get('added_after')]
  if (asked !== null && !/^[1-9]\d{0,8}$/.test(asked))
    throw new TaxiiError(400, 'TAXII_FILTER', 'limit: expected a number greater than 0')
  if (next !== null && !/^\d{1,16}$/.test(next))
    throw new TaxiiError(400, 'TAXII_FILTER', 'next: expected what the answer before said')
  return {
    after: Math.max(added === null ? 0 : moment(added, 'added_after'), Number(next ?? 0)),
    limit: Math.min(LIMIT_MAX, Number(asked ?? LIMIT_MAX)),
    versions: new Set(
      [...(versions ?? ['last'])].map((word) => (/^(first|last|all)$/.test(word) ? word : moment(word, 'match[version]'))),
    ),
    ...(ids === undefined ? {} : { ids }),
    ...(types === undefined ? {} : { types }),
    ...(specVersions === undefined ? {} : { specVersions }),
  }
}

/** The deepest nesting of a JSON text, without reading it: what follows goes through it by recursion. */
export function nestingOf(text: string): number {
  let [depth, deepest, isText] = [0, 0, false]
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    if (isText) {
      if (unit === 92) at += 1
      else if (unit === 34) isText = false
    } else if (unit === 34) isText = true
    else if (unit === 91 || unit === 123) deepest = Math.max(deepest, ++depth)
    else if (unit === 93 || unit === 125) depth -= 1
  }
  return deepest
}
