/** Whether a quote holds, for the ring's state machine: every validator comes to the same, from the transaction alone. */
import { createHash } from 'node:crypto'
import type { QuoteReader, QuoteReading } from '@ringwall/ring'
import { decodeBase64url, EncodingInvalid } from '@ringwall/ring/tx'
import { parseEventLog, replay } from './event-log.ts'
import { isQuoteSigned, matchesDigest, parseQuote } from './quote.ts'
import { TpmMalformed } from './reader.ts'

/** As a voucher names a TPM: SHA-256 of its endorsement key's TPM2B_PUBLIC, lower-case hex. */
export function endorsementHash(publicArea: Uint8Array): string {
  return createHash('sha256').update(publicArea).digest('hex')
}

function refuse(code: Extract<QuoteReading, { ok: false }>['code'], reason: string): QuoteReading {
  return { ok: false, code, reason }
}

export const readQuote: QuoteReader = (tpm, ak, nonce) => {
  try {
    const bytes = decodeBase64url(tpm.quote)
    const quote = parseQuote(bytes)
    if (!isQuoteSigned(bytes, decodeBase64url(tpm.signature), decodeBase64url(ak)))
      return refuse('QUOTE_SIGNATURE', 'the quote is not signed by the attestation key of this node: it is another TPM’s')
    if (!quote.extra.equals(Buffer.from(nonce, 'hex')))
      return refuse('QUOTE_NONCE', 'the quote was made over something else: another beacon, node, process or measurement')
    if (
      tpm.pcrs.length !== quote.pcrs.length ||
      !matchesDigest(
        quote,
        tpm.pcrs.map((value) => Buffer.from(value, 'hex')),
      )
    )
      return refuse('QUOTE_PCRS', 'the values are not those that the TPM quoted')
    if (tpm.log !== '') {
      for (const [pcr, value] of replay(parseEventLog(decodeBase64url(tpm.log)))) {
        const at = quote.pcrs.indexOf(pcr)
        if (at < 0 || tpm.pcrs[at] !== value.toString('hex'))
          return refuse('QUOTE_LOG', `the event log does not lead to what register ${pcr} holds: something else was measured`)
      }
    }
    return { ok: true, pcrs: quote.digest.toString('hex'), clock: { resetCount: quote.resetCount, clockMs: quote.clockMs } }
  } catch (error) {
    if (error instanceof TpmMalformed || error instanceof EncodingInvalid) return refuse('QUOTE_MALFORMED', error.message)
    throw error
  }
}
