/**
 * Transactions on the wire, many in one message: those that are given in one turn of the event loop travel together.
 *
 *     message = (transaction (sized))+
 */
import { Malformed, Reader, sized } from './bytes.ts'
import { TX_BYTES_MAX } from './payload.ts'

/** Bytes after which no further transaction is added to a message. */
const MESSAGE_BYTES_SOFT: number = 64 * 1024
/** Transactions in one message. */
export const MESSAGE_TXS_MAX = 512

/** The messages that hold `txs`, in order. */
export function encodeTransactions(txs: readonly Uint8Array[]): readonly Uint8Array[] {
  const messages: Uint8Array[] = []
  let parts: Uint8Array[] = []
  let bytes = 0
  for (const tx of txs) {
    parts.push(sized(tx))
    bytes += tx.length
    if (bytes < MESSAGE_BYTES_SOFT && parts.length < MESSAGE_TXS_MAX) continue
    messages.push(Buffer.concat(parts))
    parts = []
    bytes = 0
  }
  if (parts.length > 0) messages.push(Buffer.concat(parts))
  return messages
}

/** Copies: a transaction outlives its message. @throws {Malformed} For empty, too long and too many ones, and for a message that ends early. */
export function parseTransactions(message: Uint8Array): readonly Uint8Array[] {
  const reader = new Reader(message)
  const txs: Uint8Array[] = []
  do {
    if (txs.length === MESSAGE_TXS_MAX) throw new Malformed(`more than ${MESSAGE_TXS_MAX} transactions`)
    const tx = reader.sized(TX_BYTES_MAX)
    if (tx.length === 0) throw new Malformed('an empty transaction')
    txs.push(new Uint8Array(tx))
  } while (reader.left > 0)
  return txs
}
