/**
 * What keys of TLS session tickets (RFC 5077, RFC 8446 section 4.6.1) come from, so that a client resumes with any of those who share
 * a port. Every six hours it is replaced by what follows from it, and there is no way back: who learns it cannot open older tickets.
 */
import { hkdfSync, randomBytes } from 'node:crypto'

const SECRET_BYTES = 32
/** As Node takes them: a name, a key for the MAC, a key for the cipher. */
const KEYS_BYTES = 48
const PERIOD_MS = 6 * 3_600_000
/** A secret from so long ago that nobody holds a ticket of its time, or a clock that is far off. */
const STEPS_MAX = 1_000

export interface TicketSecret {
  readonly bytes: Uint8Array
  /** Which six hours it is for, counted from the beginning of Unix time. */
  readonly period: number
}

export function newTicketSecret(nowMs: number = Date.now()): TicketSecret {
  return { bytes: randomBytes(SECRET_BYTES), period: periodOf(nowMs) }
}

/** For now: the same object while its time lasts. */
export function currentTicketSecret(secret: TicketSecret, nowMs: number = Date.now()): TicketSecret {
  const period = periodOf(nowMs)
  const steps = period - secret.period
  // A clock that was set back: the keys of later are as good.
  if (steps <= 0) return secret
  let { bytes } = secret
  for (let step = 0; step < Math.min(steps, STEPS_MAX); step++) bytes = derived(bytes, 'next secret', SECRET_BYTES)
  return { bytes, period }
}

export function ticketKeys({ bytes }: TicketSecret): Buffer {
  return derived(bytes, 'keys', KEYS_BYTES)
}

/** HKDF with SHA-256 (RFC 5869). */
function derived(bytes: Uint8Array, what: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', bytes, '', `ringwall session tickets: ${what}`, length))
}

function periodOf(nowMs: number): number {
  return Math.floor(nowMs / PERIOD_MS)
}
