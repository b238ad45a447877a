/** Errors of the ring. Switch on `code`: it is stable, the message is for people. */
export abstract class RingError extends Error {
  abstract readonly code: 'TX_MALFORMED' | 'GENESIS_INVALID' | 'SNAPSHOT_INVALID' | 'ENCODING_INVALID' | 'POLICY_FILE_INVALID'
}

/** Bytes that are not one canonical signed transaction. */
export class TxMalformed extends RingError {
  override readonly name = 'TxMalformed'
  readonly code = 'TX_MALFORMED'
  readonly reason: string
  constructor(reason: string, options?: ErrorOptions) {
    super(`not a transaction: ${reason}`, options)
    this.reason = reason
  }
}

/** A genesis document that no ring can begin with. */
export class GenesisInvalid extends RingError {
  override readonly name = 'GenesisInvalid'
  readonly code = 'GENESIS_INVALID'
  readonly reason: string
  constructor(reason: string, options?: ErrorOptions) {
    super(`the ring cannot begin: ${reason}`, options)
    this.reason = reason
  }
}

/** Bytes that are not a snapshot of this ring's state. */
export class SnapshotInvalid extends RingError {
  override readonly name = 'SnapshotInvalid'
  readonly code = 'SNAPSHOT_INVALID'
  readonly reason: string
  constructor(reason: string, options?: ErrorOptions) {
    super(`not a snapshot of this ring: ${reason}`, options)
    this.reason = reason
  }
}

/** Text that is not base64url, or a value that JSON cannot hold. */
export class EncodingInvalid extends RingError {
  override readonly name = 'EncodingInvalid'
  readonly code = 'ENCODING_INVALID'
}

/** A file that a policy names and that cannot be put into it. The message is one line that says where, and what to do. */
export class PolicyFileInvalid extends RingError {
  override readonly name = 'PolicyFileInvalid'
  readonly code = 'POLICY_FILE_INVALID'
}

export type AnyRingError = TxMalformed | GenesisInvalid | SnapshotInvalid | EncodingInvalid | PolicyFileInvalid
