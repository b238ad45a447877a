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
  return isCanonical(value, 0) ? JSON.stringify(value) : write(value, 0)
}

/**
 * Does the platform write the value as the RFC prescribes? So it does when all keys stand in order already and nothing is in it
 * that JSON cannot hold; then one native call does it.
 */
function isCanonical(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value === 'boolean' || value === null) return true
  if (typeof value !== 'object' || depth > DEPTH_MAX) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (Array.isArray(value)) {
    if (prototype !== Array.prototype || 'toJSON' in value) return false
    for (let at = 0; at < value.length; at += 1) if (!isCanonical(value[at], depth + 1)) return false
    return true
  }
  if (prototype !== Object.prototype) return false
  const fields = value as Record<string, unknown>
  if ('toJSON' in fields) return false
  let before: string | undefined
  for (const key in fields) {
    const held = fields[key]
    if (held === undefined) continue
    if ((before !== undefined && before >= key) || !key.isWellFormed() || !isCanonical(held, depth + 1)) return false
    before = key
  }
  return true
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
