/** Answers and errors in the shape of HashiCorp's Vault. */
import { randomUUID } from 'node:crypto'
import { DEPTH_MAX, isSpelledNumber, isTooDeep, parseKeepingNumbers } from './exact-json.ts'

/** Characters of a body whose numbers are kept: a secret has 16 KiB, however it is escaped. Looking at each number takes its time. */
const SPELLED_CHARS_MAX = 131_072

export interface FaceAnswer {
  readonly status: number
  /** Undefined: no body. */
  readonly json?: unknown
}

/** `{ errors: [...] }`. */
export class FaceError extends Error {
  override readonly name = 'FaceError'
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const envelope = { request_id: '', lease_id: '', renewable: false, lease_duration: 0, wrap_info: null, warnings: null }

export function dataAnswer(data: unknown, mount = ''): FaceAnswer {
  return { status: 200, json: { ...envelope, request_id: randomUUID(), data, auth: null, mount_type: mount } }
}

export const NOTHING: FaceAnswer = { status: 204 }

export function moment(atMs: number | undefined): string {
  return atMs === undefined ? '' : new Date(atMs).toISOString()
}

/** @param numbers `kept`: as they are spelled. */
export function parseBody(text: string, numbers: 'plain' | 'kept'): unknown {
  if (text === '') return {}
  if (isTooDeep(text)) throw new FaceError(400, `the body is nested more than ${DEPTH_MAX} deep`)
  if (numbers === 'kept' && text.length > SPELLED_CHARS_MAX)
    throw new FaceError(413, `the body may have ${SPELLED_CHARS_MAX} characters; a secret has 16,384 bytes at most`)
  try {
    return numbers === 'kept' ? parseKeepingNumbers(text) : JSON.parse(text)
  } catch {
    throw new FaceError(400, 'the body is no JSON')
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isSpelledNumber(value)
}

export function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw new FaceError(400, `${what} must be an object`)
  return value
}

/** Clients send whole numbers as such, as 1.0, and as text. NaN for anything else. */
export function wholeOf(value: unknown): number {
  if (isSpelledNumber(value)) return wholeOf(Number(value.rawJSON))
  if (typeof value === 'string' && /^[0-9]{1,15}$/.test(value)) return Number(value)
  return Number.isSafeInteger(value) ? (value as number) : Number.NaN
}

export function versionsOf(body: unknown): readonly number[] {
  const { versions } = objectOf(body, 'the body')
  const list = Array.isArray(versions) ? versions.map(wholeOf) : []
  if (list.length === 0 || list.length > 64 || list.some((one) => !(one >= 1)))
    throw new FaceError(400, 'versions must be a list of 1 to 64 numbers')
  return [...new Set(list)].sort((a, b) => a - b)
}
