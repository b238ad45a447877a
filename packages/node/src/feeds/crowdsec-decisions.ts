/**
 * What CrowdSec's local API says, read strictly: `GET /v1/decisions/stream` (its OpenAPI document, `DecisionsStreamResponse`). Whatever a
 * decision has beyond what is read here is passed over; what cannot be a denial of the ring is counted and left out.
 */
import { type DenialSubject, formatAddress, formatPrefix, isSource, parsePrefixLoosely } from '@ringwall/ring'

export interface FeedDecision {
  readonly subject: Extract<DenialSubject, { readonly kind: 'ip' | 'cidr' }>
  readonly origin: string
  readonly scenario: string
  readonly lastsMs: number
}

export interface FeedNews {
  readonly added: readonly FeedDecision[]
  readonly deleted: readonly FeedDecision['subject'][]
  /** Other types than `ban`, other scopes than addresses and ranges, simulated ones. */
  readonly leftOut: number
}

/** An answer that is none of CrowdSec’s. `pointer` is a JSON pointer (RFC 6901) to what is wrong. */
export class FeedMalformed extends Error {
  override readonly name = 'FeedMalformed'
  readonly code = 'FEED_MALFORMED'
  readonly pointer: string
  constructor(pointer: string, expected: string) {
    super(`${pointer || 'the answer'}: expected ${expected}`)
    this.pointer = pointer
  }
}

const TEXT_CHARS_MAX = 200
const DURATION = /^(-?)(?:(\d{1,7})h)?(?:(\d{1,9})m)?(?:(\d{1,9})(?:\.\d{1,9})?s)?$/
/** Below a second: none of these lasts. */
const SHORT = /^-?\d{1,9}(?:\.\d{1,9})?(?:ms|us|µs|ns)$/

/** Milliseconds of a duration as Go writes it; undefined when it is none. */
export function parseGoDuration(text: string): number | undefined {
  if (SHORT.test(text)) return 0
  const match = DURATION.exec(text)
  if (match === null || (match[2] ?? match[3] ?? match[4]) === undefined) return undefined
  const ms = (Number(match[2] ?? 0) * 3_600 + Number(match[3] ?? 0) * 60 + Number(match[4] ?? 0)) * 1_000
  return match[1] === '-' ? -ms : ms
}

/** One line that shows, of at most so many characters. */
function shown(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .slice(0, TEXT_CHARS_MAX)
    .toWellFormed()
}

type Plain = Readonly<Record<string, unknown>>

/** @throws {FeedMalformed} */
export function parseDecisionStream(text: string): FeedNews {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new FeedMalformed('', 'JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FeedMalformed('', 'an object with new and deleted')
  const { new: fresh = null, deleted = null } = value as Plain
  let leftOut = 0
  const read = (list: unknown, at: string): FeedDecision[] => {
    // Older versions write nothing as null.
    if (list === null) return []
    if (!Array.isArray(list)) throw new FeedMalformed(at, 'a list')
    return list.flatMap((one: unknown, index) => {
      const decision = parseDecision(one, `${at}/${index}`)
      if (decision === undefined) leftOut += 1
      return decision ?? []
    })
  }
  const added = read(fresh, '/new')
  const said = leftOut
  const gone = read(deleted, '/deleted').map(({ subject }) => subject)
  return { added, deleted: gone, leftOut: said }
}

function parseDecision(value: unknown, at: string): FeedDecision | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FeedMalformed(at, 'a decision')
  const field = (name: string): string => {
    const text = (value as Plain)[name]
    if (typeof text !== 'string') throw new FeedMalformed(`${at}/${name}`, 'text')
    return text
  }
  const [scope, type, duration] = [field('scope').toLowerCase(), field('type').toLowerCase(), field('duration')]
  const lastsMs = parseGoDuration(duration)
  if (lastsMs === undefined) throw new FeedMalformed(`${at}/duration`, 'a duration such as 3h59m57s')
  const [origin, scenario, named] = [shown(field('origin')), shown(field('scenario')), field('value')]
  if (type !== 'ban' || (scope !== 'ip' && scope !== 'range') || (value as Plain).simulated === true) return undefined
  const prefix = named.length > 64 ? undefined : parsePrefixLoosely(named)
  if (prefix === undefined) throw new FeedMalformed(`${at}/value`, 'an address or a range')
  if (!isSource(prefix)) return undefined
  const isOne = prefix.length === prefix.words.length * 32
  const subject = isOne
    ? ({ kind: 'ip', value: formatAddress(prefix) } as const)
    : ({ kind: 'cidr', value: formatPrefix(prefix) } as const)
  return { subject, origin, scenario, lastsMs }
}
