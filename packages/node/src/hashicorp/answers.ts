/** Answers and errors in the shape of HashiCorp's Vault. */
import { randomUUID } from 'node:crypto'

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

export function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FaceError(400, `${what} must be an object`)
  return value as Record<string, unknown>
}

export function versionsOf(body: unknown): readonly number[] {
  const { versions } = objectOf(body, 'the body')
  // Clients send them as numbers, and as text.
  const list = Array.isArray(versions) ? versions.map(Number) : []
  if (list.length === 0 || list.length > 64 || list.some((one) => !Number.isSafeInteger(one) || one < 1))
    throw new FaceError(400, 'versions must be a list of 1 to 64 numbers')
  return [...new Set(list)].sort((a, b) => a - b)
}
