/**
 * Canonical JSON (RFC 8785): one text for one value, so that hashes and signatures agree everywhere. ECMAScript's own
 * number and string forms are the ones that the RFC prescribes; left to do are the order of keys and what to refuse.
 */
import { EncodingInvalid } from './errors.ts'

/** Deeper values are refused: recursion has a bound. */
const DEPTH_MAX = 64

/**
 * @throws {EncodingInvalid} For what JSON cannot hold: functions, undefined outside of objects, numbers that are not
 * finite, text with a lone surrogate, and values nested more than 64 deep. A property that is undefined is left out.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0)
}

function write(value: unknown, depth: number): string {
  if (depth > DEPTH_MAX) throw new EncodingInvalid(`a value nested more than ${DEPTH_MAX} deep`)
  if (value === null || value === true || value === false) return String(value)
  if (typeof value === 'string') return text(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new EncodingInvalid('a number that is not finite')
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(',')}]`
  if (typeof value !== 'object') throw new EncodingInvalid(`a ${typeof value}, which JSON cannot hold`)
  const fields = value as Record<string, unknown>
  // The default order of sort is by UTF-16 code unit, as RFC 8785 section 3.2.3 asks.
  const keys = Object.keys(fields)
    .filter((key) => fields[key] !== undefined)
    .sort()
  return `{${keys.map((key) => `${text(key)}:${write(fields[key], depth + 1)}`).join(',')}}`
}

function text(value: string): string {
  if (!value.isWellFormed()) throw new EncodingInvalid('text with a lone surrogate')
  return JSON.stringify(value)
}
