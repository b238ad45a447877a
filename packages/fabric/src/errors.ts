/** Errors of the links. Switch on `code`: it is stable, the message is for people. */
export class FabricError extends Error {
  override readonly name = 'FabricError'
  readonly code:
    | 'FABRIC_PORT_IN_USE'
    | 'FABRIC_LISTEN'
    | 'FABRIC_UNREACHABLE'
    | 'FABRIC_TIMEOUT'
    | 'FABRIC_REFUSED'
    | 'FABRIC_STOPPED'
    | 'FABRIC_FRAME'
  constructor(code: FabricError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
