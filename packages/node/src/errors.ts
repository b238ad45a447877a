/** Errors that stop a node from starting. The message is one line for people: what, where, what to do. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly code:
    | 'CONFIG_INVALID'
    | 'PORT_IN_USE'
    | 'DATA_IN_USE'
    | 'RULES_INVALID'
    | 'BACKUP_INVALID'
    | 'RECEIPT_INVALID'
    | 'KEY_INVALID'
    | 'GENESIS_INVALID'
    | 'RING_NOT_READY'
    | 'DISK_LOCKED'
    | 'DISK_REFUSED'
  constructor(code: StartError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
