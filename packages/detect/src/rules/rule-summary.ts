/**
 * What one node counted by rules, as it travels: a byte of version, then JSON
 * `{"keys": [[rule, key, events, all, bytes, [[level, hash, …], …]], …], "known": [hash, hash, …],
 * "travels": [[account, atMs, latitude, longitude, radius, asn], …]}`.
 */
import { SummaryMalformed } from '../errors.ts'
import { KNOWN_TOLD_MAX, type KnownEntry } from '../known.ts'
import { SAMPLE_MAX } from '../recent-distinct.ts'
import { type LoginPlace, TRAVEL_TOLD_MAX } from '../travel.ts'
import type { ToldCounts } from './rule-memory.ts'

/** The first byte: no JSON begins with it, nor a summary of another kind. */
export const RULE_SUMMARY_VERSION = 2
export const RULE_SUMMARY_KEYS_MAX = 200
const BYTES_MAX = 1_048_576
const KEY_CHARS_MAX = 512
const NAME_CHARS_MAX = 64
const MEASURES_MAX = 7
const COUNT_MAX = 1e15

export interface RuleSummary {
  readonly keys: readonly { readonly rule: string; readonly key: string; readonly counts: ToldCounts }[]
  readonly known: readonly KnownEntry[]
  readonly travels: readonly LoginPlace[]
}

export function encodeRuleSummary({ keys, known, travels }: RuleSummary): Uint8Array {
  const text = JSON.stringify({
    keys: keys.map(({ rule, key, counts: { events, all, bytes, distinct } }) => [
      rule,
      key,
      events,
      all,
      bytes,
      distinct.map(({ level, hashes }) => [level, ...hashes]),
    ]),
    known: known.flat(),
    travels: travels.map(({ account, atMs, place: { latitude, longitude, radiusKm, asn } }) => [
      account,
      atMs,
      latitude,
      longitude,
      radiusKm,
      asn,
    ]),
  })
  const json = new TextEncoder().encode(text)
  const bytes = new Uint8Array(json.length + 1)
  bytes[0] = RULE_SUMMARY_VERSION
  bytes.set(json, 1)
  return bytes
}

const isWhole = (value: unknown, max: number): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max
const isText = (value: unknown, charsMax: number): value is string => typeof value === 'string' && value.length <= charsMax
const isHash = (value: unknown): value is number => isWhole(value, 0xffff_ffff)

/** @throws {SummaryMalformed} */
export function decodeRuleSummary(bytes: Uint8Array): RuleSummary {
  if (bytes.length > BYTES_MAX) throw new SummaryMalformed(`a summary has at most ${BYTES_MAX} bytes, not ${bytes.length}`)
  if (bytes[0] !== RULE_SUMMARY_VERSION) throw new SummaryMalformed(`version ${RULE_SUMMARY_VERSION} is expected`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(1)))
  } catch (cause) {
    throw new SummaryMalformed('a summary is JSON', { cause })
  }
  const { keys, known, travels } = (typeof value === 'object' && value !== null ? value : {}) as {
    keys?: unknown
    known?: unknown
    travels?: unknown
  }
  if (!Array.isArray(keys) || keys.length > RULE_SUMMARY_KEYS_MAX)
    throw new SummaryMalformed(`keys: a list of at most ${RULE_SUMMARY_KEYS_MAX}`)
  if (!Array.isArray(known) || known.length > 2 * KNOWN_TOLD_MAX || known.length % 2 !== 0 || !known.every(isHash))
    throw new SummaryMalformed(`known: pairs of 32 bits, at most ${KNOWN_TOLD_MAX}`)
  if (!Array.isArray(travels) || travels.length > TRAVEL_TOLD_MAX)
    throw new SummaryMalformed(`travels: a list of at most ${TRAVEL_TOLD_MAX}`)
  return {
    travels: (travels as unknown[]).map(readTravel),
    keys: (keys as unknown[]).map(readKey),
    known: Array.from({ length: known.length / 2 }, (_, at) => [known[2 * at] as number, known[2 * at + 1] as number] as const),
  }
}

const isWithin = (value: unknown, max: number): value is number => typeof value === 'number' && Math.abs(value) <= max

function readTravel(entry: unknown, at: number): LoginPlace {
  const [account, atMs, latitude, longitude, radiusKm, asn] =
    Array.isArray(entry) && entry.length === 6 ? (entry as unknown[]) : []
  if (!isText(account, KEY_CHARS_MAX) || !isWhole(atMs, COUNT_MAX) || !isWhole(asn, 0xffff_ffff))
    throw new SummaryMalformed(`travels/${at}: an account, a time and a place`)
  if (!isWithin(latitude, 90) || !isWithin(longitude, 180) || !isWithin(radiusKm, 20_100) || radiusKm < 0)
    throw new SummaryMalformed(`travels/${at}: latitude, longitude and kilometres`)
  return { account, atMs, place: { latitude, longitude, radiusKm, asn } }
}

function readKey(entry: unknown, at: number): RuleSummary['keys'][number] {
  const [rule, key, events, all, sent, distinct] = Array.isArray(entry) && entry.length === 6 ? (entry as unknown[]) : []
  if (!isText(rule, NAME_CHARS_MAX) || !isText(key, KEY_CHARS_MAX))
    throw new SummaryMalformed(`keys/${at}: a rule, a key and its counts`)
  if (!isWhole(events, COUNT_MAX) || !isWhole(all, COUNT_MAX) || !isWhole(sent, COUNT_MAX))
    throw new SummaryMalformed(`keys/${at}: counts are whole numbers`)
  if (!Array.isArray(distinct) || distinct.length > MEASURES_MAX)
    throw new SummaryMalformed(`keys/${at}: at most ${MEASURES_MAX} samples`)
  return {
    rule,
    key,
    counts: {
      events,
      all,
      bytes: sent,
      distinct: (distinct as unknown[]).map((sample) => {
        const [level, ...hashes] = Array.isArray(sample) ? (sample as unknown[]) : []
        if (!isWhole(level, 31) || hashes.length > SAMPLE_MAX || !hashes.every(isHash))
          throw new SummaryMalformed(`keys/${at}: a sample is a level and at most ${SAMPLE_MAX} hashes`)
        return { level, hashes }
      }),
    },
  }
}
