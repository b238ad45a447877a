/**
 * Transactions on the wire, many in one message: those that are given in one turn of the event loop travel together.
 *
 *     message = (transaction (sized))+
 */
import { Malformed, Reader } from './bytes.ts'
import { TX_BYTES_MAX } from './payload.ts'

/** Bytes after which no further transaction is added to a message. */
const MESSAGE_BYTES_SOFT: number = 64 * 1024
const LENGTH_BYTES = 4
/** Transactions in one message. */
export const MESSAGE_TXS_MAX = 512

/** The messages that hold `txs`, in order. */
export function encodeTransactions(txs: readonly Uint8Array[]): readonly Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let from = 0; from < txs.length; ) {
    let to = from
    let bytes = 0
    while (to < txs.length && to - from < MESSAGE_TXS_MAX && bytes < MESSAGE_BYTES_SOFT) {
      bytes += (txs[to] as Uint8Array).length
      to += 1
    }
    const message = Buffer.allocUnsafe(bytes + LENGTH_BYTES * (to - from))
    let at = 0
    for (const tx of txs.slice(from, to)) {
      at = message.writeUInt32BE(tx.length, at)
      message.set(tx, at)
      at += tx.length
    }
    messages.push(message)
    from = to
  }
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
