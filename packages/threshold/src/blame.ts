/**
 * Who lied, and what shows it. An accusation with evidence can be checked by anybody who knows the ceremony or the key and can
 * check the caller's attestations; `verifyCeremonyAccusation` and `verifyKeyAccusation` (in `key-blame.ts`) are that check.
 *
 * Three faults rest on the board itself, since nobody can show bytes that were not sent: both kinds of silence, and an answer to
 * another transcript than the board's. Whoever holds the board sees them.
 */
import { decodeAnswer, judgeComplaint, verifyDealing } from './dealing.ts'
import { fail, ThresholdError } from './errors.ts'
import type { Ceremony } from './plan.ts'
import { ATTESTATION_BYTES_MAX, type Attested, isFor, MESSAGE_BYTES_MAX, type Party, Reader, sameBytes, Writer } from './wire.ts'

export const FAULTS = [
  'malformed-dealing',
  'malformed-answer',
  'equivocation',
  'bad-share',
  'false-complaint',
  'unproven-complaint',
  'wrong-transcript',
  'silent-dealer',
  'silent-receiver',
  'malformed-commitments',
  'malformed-signature-share',
  'bad-signature-share',
  'malformed-partial',
  'bad-partial',
] as const
export type Fault = (typeof FAULTS)[number]

/** Faults whose evidence is the board, not in the accusation. */
export const SEEN_ON_THE_BOARD: ReadonlySet<Fault> = new Set(['wrong-transcript', 'silent-dealer', 'silent-receiver'])

export interface Accusation {
  readonly party: Party
  readonly fault: Fault
  /** Messages, the accused party's own first. */
  readonly evidence: readonly Attested[]
  /** The request or the capsule that the message was an answer to; empty where there is none. */
  readonly subject: Uint8Array
}

/** Whether `party` sent this message, by the caller's means: a signature, a receipt. */
export type Attests = (party: Party, message: Attested) => boolean

export const NO_SUBJECT: Uint8Array = new Uint8Array(0)
const NO_CONTEXT = new Uint8Array(32)
const ACCUSATION_BYTES_MAX = 4 * MESSAGE_BYTES_MAX

/** Runs a parser; the code of what was wrong with its input, or undefined. Bugs go through. */
export function faultIn(parse: () => unknown): string | undefined {
  try {
    parse()
    return undefined
  } catch (error) {
    if (error instanceof ThresholdError) return error.code
    throw error
  }
}

function proves(ceremony: Ceremony, { party, fault, evidence }: Accusation, attests: Attests): boolean {
  const [own, other] = evidence
  if (own === undefined || !attests(party, own)) return false
  const dealer = ceremony.dealer(party)
  const receiver = ceremony.receiver(party)
  switch (fault) {
    case 'malformed-dealing':
      return (
        dealer !== undefined &&
        isFor(own.body, 'dealing', ceremony.id) &&
        faultIn(() => verifyDealing(ceremony, dealer.index, own.body)) !== undefined
      )
    case 'malformed-answer':
      return (
        receiver !== undefined &&
        isFor(own.body, 'answer', ceremony.id) &&
        faultIn(() => decodeAnswer(ceremony, receiver.index, own.body)) !== undefined
      )
    case 'equivocation':
      return (
        other !== undefined &&
        (dealer !== undefined || receiver !== undefined) &&
        attests(party, other) &&
        !sameBytes(own.body, other.body) &&
        (['dealing', 'answer'] as const).some((type) => [own, other].every(({ body }) => isFor(body, type, ceremony.id)))
      )
    case 'bad-share': {
      if (other === undefined || dealer === undefined) return false
      const complainer = ceremony.receivers.find(({ party: name }) => attests(name, other) && answers(ceremony, name, other))
      if (complainer === undefined) return false
      return judged(ceremony, dealer.index, own, complainer.party, other) === 'dealer'
    }
    case 'false-complaint':
    case 'unproven-complaint': {
      if (other === undefined || receiver === undefined) return false
      const accused = ceremony.dealers.find(
        ({ party: name, index }) =>
          attests(name, other) && faultIn(() => verifyDealing(ceremony, index, other.body)) === undefined,
      )
      if (accused === undefined) return false
      const verdict = judged(ceremony, accused.index, other, party, own)
      return verdict === (fault === 'false-complaint' ? 'receiver' : 'unproven')
    }
    default:
      return false
  }
}

function answers(ceremony: Ceremony, party: Party, { body }: Attested): boolean {
  const receiver = ceremony.receiver(party)
  return receiver !== undefined && faultIn(() => decodeAnswer(ceremony, receiver.index, body)) === undefined
}

function judged(
  ceremony: Ceremony,
  dealer: number,
  dealing: Attested,
  party: Party,
  answer: Attested,
): ReturnType<typeof judgeComplaint> | undefined {
  const receiver = ceremony.receiver(party)
  if (receiver === undefined) return undefined
  const complaint = decodeAnswer(ceremony, receiver.index, answer.body).complaints.find((made) => made.dealer === dealer)
  if (complaint === undefined) return undefined
  return judgeComplaint(ceremony, verifyDealing(ceremony, dealer, dealing.body), receiver, complaint)
}

/**
 * Whether the evidence shows that this party lied in this ceremony. False for what only the board shows (SEEN_ON_THE_BOARD), and
 * for accusations of signing and decryption, which `verifyKeyAccusation` judges.
 */
export function verifyCeremonyAccusation(ceremony: Ceremony, accusation: Accusation, attests: Attests): boolean {
  try {
    return proves(ceremony, accusation, attests)
  } catch (error) {
    if (error instanceof ThresholdError) return false
    throw error
  }
}

export function encodeAccusation({ party, fault, evidence, subject }: Accusation): Uint8Array {
  const writer = new Writer('accusation', NO_CONTEXT).party(party).u8(FAULTS.indexOf(fault)).u8(evidence.length)
  for (const { body, attestation } of evidence) writer.bytes(body, MESSAGE_BYTES_MAX).bytes(attestation, ATTESTATION_BYTES_MAX)
  return writer.bytes(subject, MESSAGE_BYTES_MAX).done()
}

/** The form only: what it says is still to be verified. @throws {ThresholdError} */
export function decodeAccusation(bytes: Uint8Array): Accusation {
  const reader = new Reader('accusation', bytes, ACCUSATION_BYTES_MAX)
  if (reader.context.some((byte) => byte !== 0)) fail('THRESHOLD_VALUE', 'an accusation has no context')
  const party = reader.party()
  const fault = FAULTS[reader.u8()]
  if (fault === undefined) fail('THRESHOLD_VALUE', 'no such fault')
  const evidence = Array.from({ length: reader.count(0, 2) }, () => ({
    body: reader.bytes(MESSAGE_BYTES_MAX),
    attestation: reader.bytes(ATTESTATION_BYTES_MAX),
  }))
  const subject = reader.bytes(MESSAGE_BYTES_MAX)
  reader.end()
  return { party, fault, evidence, subject }
}
