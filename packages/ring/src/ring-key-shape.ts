/** A key of the ring as a snapshot holds it: its shape, and whether what is encoded in it can be read. */
import { Ceremony, FAULTS, MESSAGE_BYTES_MAX, PublicKey, ristretto, ThresholdError } from '@ringwall/threshold'
import { z } from 'zod'
import { decodeBase64url } from './encoding.ts'
import { EncodingInvalid } from './errors.ts'
import { KEY_MESSAGE_BYTES_MAX, KEY_PARTIES_MAX, type RingKey } from './ring-key.ts'

const BASE64URL = /^[A-Za-z0-9_-]*$/
const Ms = z.int().min(0)
const Name = z.string().min(1).max(63)
const Bytes = (most: number) =>
  z
    .string()
    .regex(BASE64URL)
    .max(Math.ceil((most * 4) / 3))
const Line = z.union([
  z.strictObject({ body: Bytes(KEY_MESSAGE_BYTES_MAX), from: Name }),
  z.strictObject({ close: z.enum(['dealing', 'answering']) }),
])
/** A dealing and an answer of each party, and two ends. */
const Board = z.array(Line).max(4 * KEY_PARTIES_MAX + 2)
const Plan = Bytes(MESSAGE_BYTES_MAX)

export const RingKeyShape: z.ZodType<RingKey> = z.strictObject({
  asked: z.enum(['nothing', 'refresh', 'replace']),
  attempts: z.int().min(0),
  ceremony: z
    .strictObject({
      attempt: z.int().min(1),
      board: Board,
      enrolled: z.array(z.tuple([Name, Bytes(32)])).max(KEY_PARTIES_MAX),
      phase: z.enum(['enrolling', 'dealing', 'answering']),
      plan: Plan,
      sinceMs: Ms,
    })
    .nullable(),
  faults: z.array(z.strictObject({ attempt: z.int().min(1), fault: z.enum(FAULTS), height: Ms, party: Name })).max(64),
  former: z.array(z.strictObject({ key: z.string().length(43), untilMs: Ms })).max(8),
  last: z.strictObject({ board: Board, plan: Plan }).nullable(),
  madeAtMs: Ms,
  notBeforeMs: Ms,
  publicKey: Bytes(16_384).nullable(),
})

/** What in it cannot be read; undefined when all can. */
export function ringKeyFault({ publicKey, ceremony, last }: RingKey): string | undefined {
  try {
    if (publicKey !== null) PublicKey.decode(decodeBase64url(publicKey))
    for (const [, key] of ceremony?.enrolled ?? []) ristretto.decode(decodeBase64url(key))
    for (const held of [ceremony, last]) if (held !== null && held.plan !== '') Ceremony.decode(decodeBase64url(held.plan))
    if (ceremony !== null && (ceremony.plan === '') !== (ceremony.phase === 'enrolling'))
      return 'a phase that does not fit its plan'
    for (const line of [...(ceremony?.board ?? []), ...(last?.board ?? [])]) if ('body' in line) decodeBase64url(line.body)
    return undefined
  } catch (error) {
    if (error instanceof ThresholdError || error instanceof EncodingInvalid) return error.message
    throw error
  }
}
