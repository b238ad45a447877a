/** Errors of the ledger. Switch on `code`: it is stable, the message is for people. */
export type LedgerErrorCode =
  /** The application does not take the transaction: `refusal` holds its code and reason. */
  | 'TX_REFUSED'
  /** Not final in time: `missing` names the validators not heard from. The transaction stays pending. */
  | 'NO_QUORUM'
  | 'MEMPOOL_FULL'
  /** The ledger was stopped while, or before, the caller waited. */
  | 'LEDGER_STOPPED'
  /** Two certificates contradict each other, or the disk failed: nothing is accepted any more. */
  | 'LEDGER_HALTED'
  /** Blocks on disk are corrupt and there is no peer to fetch them from. */
  | 'LEDGER_CORRUPT'
  /** The directory holds the ledger of another ring. */
  | 'LEDGER_WRONG_RING'
  /** The state of so early a block cannot be had here any more. */
  | 'STATE_GONE'
  /** The options contradict the genesis. */
  | 'LEDGER_CONFIG'

export class LedgerError extends Error {
  override readonly name = 'LedgerError'
  readonly code: LedgerErrorCode
  /** With `TX_REFUSED`: the application's code and sentence. */
  readonly refusal: { readonly code: string; readonly reason: string } | undefined
  /** With `NO_QUORUM`: validators not heard from. */
  readonly missing: readonly string[]
  constructor(
    code: LedgerErrorCode,
    message: string,
    facts: { readonly refusal?: { readonly code: string; readonly reason: string }; readonly missing?: readonly string[] } = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.code = code
    this.refusal = facts.refusal
    this.missing = facts.missing ?? []
  }
}
