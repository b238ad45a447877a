/** Bytes that are no message of ours. `code` is stable. */
export class WireError extends Error {
  override readonly name = 'WireError'
  readonly code: 'WIRE_TRUNCATED' | 'WIRE_TRAILING' | 'WIRE_LIMIT' | 'WIRE_VALUE'
  constructor(code: WireError['code'], what: string) {
    super(what)
    this.code = code
  }
}
