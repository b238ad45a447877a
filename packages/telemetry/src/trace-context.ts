/**
 * W3C Trace Context: `traceparent` and `tracestate`, read strictly and written at version 00.
 *
 * Source: W3C Trace Context Level 1, sections 3.2 and 3.3; Level 2 for `tracestate` keys. A header that is not exactly to
 * the letter starts a new trace: two spellings of one id would split a trace.
 */
import { randomHex } from './random-bytes.ts'
import type { TraceContext } from './types.ts'

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[\x21-\x7e]*)?$/
const TRACEPARENT_LENGTH = 55
const TRACEPARENT_LENGTH_MAX = 256
const ZERO_TRACE = '0'.repeat(32)
const ZERO_SPAN = '0'.repeat(16)

const TRACESTATE_LENGTH_MAX = 512
const TRACESTATE_MEMBERS_MAX = 32
const MEMBER_KEY = /^[a-z0-9][a-z0-9_\-*/]{0,255}(?:@[a-z0-9][a-z0-9_\-*/]{0,13})?$/
const MEMBER_VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/**
 * Parses the two headers of one request. Undefined when `traceparent` is absent or not valid: begin a new trace then.
 * An invalid or oversized `tracestate` is dropped and the trace kept (section 3.3.1.5 forbids failing the parent for it).
 */
export function parseTraceparent(header: string | undefined, tracestate?: string): TraceContext | undefined {
  if (header === undefined || header.length > TRACEPARENT_LENGTH_MAX) return undefined
  const match = TRACEPARENT.exec(header)
  if (match === null) return undefined
  const [, version, traceId, spanId, flags] = match as unknown as [string, string, string, string, string]
  if (version === 'ff' || traceId === ZERO_TRACE || spanId === ZERO_SPAN) return undefined
  // Only version 00 has a fixed length; a later one may append fields, which we leave unread (section 4).
  if (version === '00' && header.length !== TRACEPARENT_LENGTH) return undefined
  const sampled = (Number.parseInt(flags, 16) & 1) === 1
  return { traceId, spanId, sampled, traceState: parseTracestate(tracestate) }
}

/** The list as received, without empty members; undefined when absent, malformed, doubled or over 512 characters or 32 members. */
export function parseTracestate(header: string | undefined): string | undefined {
  if (header === undefined || header.length === 0 || header.length > TRACESTATE_LENGTH_MAX) return undefined
  const members = header
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '')
  if (members.length === 0 || members.length > TRACESTATE_MEMBERS_MAX) return undefined
  const keys = new Set<string>()
  for (const member of members) {
    const at = member.indexOf('=')
    const key = member.slice(0, at)
    if (at < 1 || keys.has(key) || !MEMBER_KEY.test(key) || !MEMBER_VALUE.test(member.slice(at + 1))) return undefined
    keys.add(key)
  }
  return members.join(',')
}

/** A trace that begins here, sampled. */
export function newTrace(): TraceContext {
  return { traceId: nonZero(16, ZERO_TRACE), spanId: nonZero(8, ZERO_SPAN), sampled: true, traceState: undefined }
}

/** The same trace with a new span id; the caller keeps `parent.spanId` as the parent. */
export function childOf(parent: TraceContext): TraceContext {
  return {
    traceId: parent.traceId,
    spanId: nonZero(8, ZERO_SPAN),
    sampled: parent.sampled,
    traceState: parent.traceState,
  }
}

/** The `traceparent` value, version 00. */
export function formatTraceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? '01' : '00'}`
}

function nonZero(bytes: number, zero: string): string {
  let id = randomHex(bytes)
  while (id === zero) id = randomHex(bytes)
  return id
}
