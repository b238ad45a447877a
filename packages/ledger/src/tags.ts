/** First byte of a message on the `consensus` channel. After it: of `voter` the epoch and the message, of the others what they carry. */
export const TAG = { voter: 0, txs: 1, tip: 2 } as const

/** Of the epoch's number, big-endian. */
export const EPOCH_BYTES = 4
