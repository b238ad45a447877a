/**
 * Finds the end of a header section and the bounds of its fields in one pass over the bytes (RFC 9112 sections 2.1 and 5).
 * Pure.
 *
 * Strict: CR LF ends lines and nothing else does, names are tokens, no blank before the colon, no folded lines, no
 * control characters. Errors come in the order of the bytes, so that any split of them meets the same one first.
 */

/** What a header section may take. */
export interface HeadBounds {
  /** Request line or status line. */
  readonly lineBytesMax: number
  /** The whole, with its empty line. */
  readonly bytesMax: number
  readonly fieldsMax: number
}

/** Not a position: the bytes end before the section does. */
export const INCOMPLETE = 0
export const MALFORMED = -1
export const LINE_TOO_LONG = -2
export const TOO_LONG = -3
export const TOO_MANY_FIELDS = -4

const FIELDS_MAX = 1_024
const CR = 13
const LF = 10
const COLON = 58

/** 1: may stand in a token; 2: may stand in a value or in the first line. */
const CLASS = new Uint8Array(256)
for (let code = 0; code < 256; code++) {
  if (/[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(code)) && code < 128) CLASS[code]! |= 1
  if (code === 9 || (code >= 32 && code !== 127)) CLASS[code]! |= 2
}

/** Of the section found last, from its first byte: name from and to, value from and to, in turn. Overwritten by the next scan. */
const bounds = new Int32Array(FIELDS_MAX * 4)
let fieldCount = 0
let lineLength = 0

/** @returns Where the first line ends, behind its CR LF, or one of the constants above. */
export function scanLine(bytes: Uint8Array, from: number, to: number, { lineBytesMax, bytesMax }: HeadBounds): number {
  const cut = to - from > bytesMax
  const end = cut ? from + bytesMax : to
  const outOfBytes = cut ? TOO_LONG : INCOMPLETE
  let at = from
  const lineEnd = Math.min(end, from + lineBytesMax)
  while (at < lineEnd && (CLASS[bytes[at]!]! & 2) !== 0) at++
  if (at === lineEnd) return at < end || lineEnd - from === lineBytesMax ? LINE_TOO_LONG : outOfBytes
  if (bytes[at] !== CR) return MALFORMED
  if (at + 1 === end) return outOfBytes
  if (bytes[at + 1] !== LF) return MALFORMED
  lineLength = at - from
  return at + 2
}

/** @returns Where the section ends, or one of the constants above. */
export function scanHead(bytes: Uint8Array, from: number, to: number, headBounds: HeadBounds): number {
  const fieldsAt = scanLine(bytes, from, to, headBounds)
  return fieldsAt > 0 ? scanFields(bytes, from, fieldsAt, to, headBounds) : fieldsAt
}

/** The rest of it. @param at As `scanLine` returned it just before. */
export function scanFields(bytes: Uint8Array, from: number, at: number, to: number, { bytesMax, fieldsMax }: HeadBounds): number {
  const cut = to - from > bytesMax
  const end = cut ? from + bytesMax : to
  const outOfBytes = cut ? TOO_LONG : INCOMPLETE
  const countMax = Math.min(fieldsMax, FIELDS_MAX)
  for (let count = 0; ; count++) {
    if (at === end) return outOfBytes
    if (bytes[at] === CR) {
      if (at + 1 === end) return outOfBytes
      if (bytes[at + 1] !== LF) return MALFORMED
      fieldCount = count
      return at + 2
    }
    if (count === countMax) return TOO_MANY_FIELDS
    const slot = count * 4
    bounds[slot] = at - from
    while (at < end && (CLASS[bytes[at]!]! & 1) !== 0) at++
    if (at === end) return outOfBytes
    // Also a folded line, which begins with a blank.
    if (bytes[at] !== COLON || at - from === bounds[slot]) return MALFORMED
    bounds[slot + 1] = at - from
    at++
    while (at < end && (bytes[at] === 32 || bytes[at] === 9)) at++
    bounds[slot + 2] = at - from
    while (at < end && (CLASS[bytes[at]!]! & 2) !== 0) at++
    if (at === end) return outOfBytes
    if (bytes[at] !== CR) return MALFORMED
    if (at + 1 === end) return outOfBytes
    if (bytes[at + 1] !== LF) return MALFORMED
    let valueEnd = at
    while (valueEnd - from > bounds[slot + 2]! && (bytes[valueEnd - 1] === 32 || bytes[valueEnd - 1] === 9)) valueEnd--
    bounds[slot + 3] = valueEnd - from
    at += 2
  }
}

/** The first line of the section scanned last, whose Latin-1 text this is. */
export function firstLine(text: string): string {
  return text.slice(0, lineLength)
}

/** Names and values in turn of the section scanned last, whose Latin-1 text this is. */
export function fieldsOf(text: string): string[] {
  const fields: string[] = new Array(fieldCount * 2)
  for (let at = 0; at < fieldCount; at++) {
    const slot = at * 4
    fields[at * 2] = text.slice(bounds[slot], bounds[slot + 1])
    fields[at * 2 + 1] = text.slice(bounds[slot + 2], bounds[slot + 3])
  }
  return fields
}

/** The lines of fields as they came, where each is as we would write it: `name: value`, CR LF. */
export interface Section {
  /** Names and values in turn, of which these are the lines. */
  readonly fields: readonly string[]
  readonly text: string
  /** Where each line begins in `text`, and where the last one ends. */
  readonly starts: readonly number[]
  /** The same is said again and again: what is made of it is worth keeping. */
  repeats: boolean
  /** Names and values in pairs. */
  pairs: readonly (readonly [name: string, value: string])[] | undefined
  /** The lines that a request takes along, where nothing but themselves says which. */
  ofRequest: string | undefined
  /** Likewise of a response, and whether a `Date` is among them. */
  ofResponse: { readonly lines: string; readonly dated: boolean } | undefined
}

/** Of the section scanned last; undefined where a line is written otherwise. @param fields Of `fieldsOf(text)`. */
export function sectionOf(text: string, fields: readonly string[]): Section | undefined {
  const starts: number[] = new Array(fieldCount + 1)
  let end = 0
  for (let at = 0; at < fieldCount; at++) {
    const slot = at * 4
    const nameEnd = bounds[slot + 1]!
    if ((at > 0 && bounds[slot] !== end) || bounds[slot + 2] !== nameEnd + 2 || text.charCodeAt(nameEnd + 1) !== 32)
      return undefined
    starts[at] = bounds[slot]!
    end = bounds[slot + 3]! + 2
  }
  // The empty line follows at once, or the last value has blanks after it.
  if (fieldCount === 0 || end + 2 !== text.length) return undefined
  starts[fieldCount] = end
  return { fields, text, starts, repeats: false, pairs: undefined, ofRequest: undefined, ofResponse: undefined }
}
