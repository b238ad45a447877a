/**
 * Profiles of identities as they travel and are kept: one spelling for one content. A byte of version, then for each identity, in order of its bytes: a byte
 * of sort, length of the subject and the subject in UTF-8, and the profile's words, big-endian.
 */
import { SummaryMalformed } from '../errors.ts'
import { newProfile, PROFILE_WORDS, type Profile } from './profile.ts'

/** The first byte: no JSON begins with it, nor any other summary. */
export const INSIDER_SUMMARY_VERSION = 8
export const INSIDER_SORTS = ['secrets', 'admin', 'account'] as const
export type InsiderSort = (typeof INSIDER_SORTS)[number]
/** Of one summary; the rest follows in the next. */
export const SUMMARY_PROFILES_MAX = 64
export const SUBJECT_BYTES_MAX = 255
const PROFILE_BYTES = PROFILE_WORDS * 2

const [encoder, decoder] = [new TextEncoder(), new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })]

/** @param profiles By `SORT\nSUBJECT`; the subject of 1 to 255 bytes. */
export function encodeInsiderSummary(profiles: ReadonlyMap<string, Profile>): Uint8Array {
  const entries = [...profiles].map(([key, profile]) => ({ head: headOf(key), profile })).sort((a, b) => compare(a.head, b.head))
  const bytes = new Uint8Array(entries.reduce((sum, { head }) => sum + head.length + PROFILE_BYTES, 1))
  const view = new DataView(bytes.buffer)
  bytes[0] = INSIDER_SUMMARY_VERSION
  let at = 1
  for (const { head, profile } of entries) {
    bytes.set(head, at)
    at += head.length
    for (const word of profile) {
      view.setUint16(at, word)
      at += 2
    }
  }
  return bytes
}

/** @throws {SummaryMalformed} For anything but what `encodeInsiderSummary` makes. */
export function decodeInsiderSummary(bytes: Uint8Array): ReadonlyMap<string, Profile> {
  let at = 1
  const fail = (why: string): never => {
    throw new SummaryMalformed(`byte ${at}: ${why}`)
  }
  if (bytes[0] !== INSIDER_SUMMARY_VERSION) fail(`version ${INSIDER_SUMMARY_VERSION} is expected`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const profiles = new Map<string, Profile>()
  let before: Uint8Array | undefined
  while (at < bytes.length) {
    if (profiles.size >= SUMMARY_PROFILES_MAX) fail(`at most ${SUMMARY_PROFILES_MAX} identities`)
    const sort = INSIDER_SORTS[bytes[at]!] ?? fail('a sort of use')
    const length = bytes[at + 1] ?? 0
    const end = at + 2 + length
    if (length === 0 || length > SUBJECT_BYTES_MAX || end + PROFILE_BYTES > bytes.length) fail('a subject and its profile')
    const head = bytes.subarray(at, end)
    if (before !== undefined && compare(before, head) >= 0) fail('identities are in order, each once')
    before = head
    const subject = textOf(head.subarray(2)) ?? fail('a subject in UTF-8, without controls')
    const profile = newProfile()
    for (let word = 0; word < PROFILE_WORDS; word += 1) profile[word] = view.getUint16(end + 2 * word)
    profiles.set(`${sort}\n${subject}`, profile)
    at = end + PROFILE_BYTES
  }
  return profiles
}

function headOf(key: string): Uint8Array {
  const cut = key.indexOf('\n')
  const subject = encoder.encode(key.slice(cut + 1))
  const head = new Uint8Array(2 + subject.length)
  head[0] = INSIDER_SORTS.indexOf(key.slice(0, cut) as InsiderSort)
  head[1] = subject.length
  head.set(subject, 2)
  return head
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) if (a[at] !== b[at]) return a[at]! - b[at]!
  return a.length - b.length
}

/** Of an account the service comes first, on a line of its own. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(bytes)
    return /[^\P{Cc}\n]/u.test(text) ? undefined : text
  } catch {
    return undefined
  }
}
