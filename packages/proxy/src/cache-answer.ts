/** An answer made of a kept one: whole, a part of it, or that the client has it already (RFC 9110 sections 13 and 14). Pure. */
import { parseDate, valuesOf } from './cache-control.ts'
import type { Stored } from './cache-store.ts'

export interface AnswerForm {
  readonly status: number
  readonly statusText: string
  /** Names and values in turn. */
  readonly fields: readonly string[]
  /** Of the kept body, what is sent; undefined: none of it, as for HEAD and 304. */
  readonly part: { readonly from: number; readonly to: number } | undefined
}

/** What a 304 says of the answer that it stands for (RFC 9110 section 15.4.5). */
const NOT_MODIFIED_FIELDS: ReadonlySet<string> = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary'])
const RANGE = /^bytes=([0-9]{1,15})?-([0-9]{1,15})?$/i

/** @param rawHeaders Of the request. */
export function answerForm(method: string, rawHeaders: readonly string[], stored: Stored): AnswerForm {
  const { status, statusText, fields, body } = stored
  if (status === 200 && hasAlready(rawHeaders, fields)) {
    const kept = filtered(fields, (name) => NOT_MODIFIED_FIELDS.has(name))
    return { status: 304, statusText: 'Not Modified', fields: kept, part: undefined }
  }
  const whole = { status, statusText, fields, part: method === 'HEAD' ? undefined : { from: 0, to: body.length } }
  if (method !== 'GET' || status !== 200) return whole
  const range = rangeOf(rawHeaders, fields, body.length)
  if (range === undefined) return whole
  if (range === 'outside') {
    const unsatisfied = ['content-range', `bytes */${body.length}`]
    return { status: 416, statusText: 'Range Not Satisfiable', fields: unsatisfied, part: { from: 0, to: 0 } }
  }
  const { from, to } = range
  const ranged = [...fields, 'content-range', `bytes ${from}-${to - 1}/${body.length}`]
  return { status: 206, statusText: 'Partial Content', fields: ranged, part: range }
}

function filtered(fields: readonly string[], keeps: (name: string) => boolean): string[] {
  const kept: string[] = []
  for (let at = 0; at < fields.length; at += 2) if (keeps(fields[at]!)) kept.push(fields[at]!, fields[at + 1]!)
  return kept
}

/** Whether the request's conditions say that the client has it (RFC 9110 section 13.2.2, and RFC 9111 section 4.3.2). */
function hasAlready(rawHeaders: readonly string[], fields: readonly string[]): boolean {
  const matches = valuesOf(rawHeaders, 'if-none-match')
  if (matches.length > 0) {
    const [tag] = valuesOf(fields, 'etag')
    return matches.some((value) => value.trim() === '*' || (tag !== undefined && tagsOf(value).includes(opaque(tag))))
  }
  const [since, ...more] = valuesOf(rawHeaders, 'if-modified-since')
  if (since === undefined || more.length > 0) return false
  const sinceMs = parseDate(since)
  const [modified = valuesOf(fields, 'date')[0]] = valuesOf(fields, 'last-modified')
  const modifiedMs = modified === undefined ? undefined : parseDate(modified)
  return sinceMs !== undefined && modifiedMs !== undefined && modifiedMs <= sinceMs
}

/** The opaque parts of a list of entity tags: compared weakly, a prefix W/ says nothing. */
function tagsOf(value: string): string[] {
  return [...value.matchAll(/(?:W\/)?("[!#-~\x80-\xff]*")/g)].map((match) => match[1]!)
}

function opaque(tag: string): string {
  return tag.startsWith('W/') ? tag.slice(2) : tag
}

function rangeOf(
  rawHeaders: readonly string[],
  fields: readonly string[],
  length: number,
): { readonly from: number; readonly to: number } | 'outside' | undefined {
  const [value, ...more] = valuesOf(rawHeaders, 'range')
  if (value === undefined || more.length > 0) return undefined
  // Several ranges, other units: the whole is an answer to them, too (section 14.2).
  const match = RANGE.exec(value)
  if (match === null || (match[1] === undefined && match[2] === undefined)) return undefined
  if (!isSame(valuesOf(rawHeaders, 'if-range'), fields)) return undefined
  const last = match[2] === undefined ? length - 1 : Number(match[2])
  if (match[1] === undefined) return last === 0 || length === 0 ? 'outside' : { from: Math.max(0, length - last), to: length }
  const from = Number(match[1])
  if (last < from) return match[2] === undefined ? 'outside' : undefined
  return from >= length ? 'outside' : { from, to: Math.min(length, last + 1) }
}

/** Section 13.1.5: strong validators only. */
function isSame(conditions: readonly string[], fields: readonly string[]): boolean {
  if (conditions.length === 0) return true
  const [condition, ...more] = conditions
  if (more.length > 0) return false
  const [tag] = valuesOf(fields, 'etag')
  if (condition!.includes('"')) return tag !== undefined && !tag.startsWith('W/') && tag === condition
  const [modified] = valuesOf(fields, 'last-modified')
  const [date] = valuesOf(fields, 'date')
  if (modified === undefined || date === undefined || modified !== condition) return false
  // Changed twice within a second, it would still have this date (section 8.8.2.2).
  return (parseDate(date) ?? 0) - (parseDate(modified) ?? 0) >= 1_000
}
