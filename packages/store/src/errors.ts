/** Errors of the store. Switch on `code`: it is stable, the message is for people. */
export type StoreErrorCode =
  | 'STORE_LOCKED'
  | 'STORE_CORRUPT'
  | 'STORE_FORMAT'
  | 'STORE_TOO_LARGE'
  | 'STORE_BUSY'
  | 'STORE_WRITE_FAILED'
  | 'STORE_CLOSED'
  | 'STORE_SEALED'
  | 'STORE_UNSEALED'

export class StoreError extends Error {
  override readonly name: string = 'StoreError'
  readonly code: StoreErrorCode
  /** The file or directory it is about. */
  readonly path: string
  constructor(code: StoreErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.path = path
  }
}

/** Another process, `pid`, works in the directory. */
export class StoreLocked extends StoreError {
  override readonly name = 'StoreLocked'
  readonly pid: number
  constructor(directory: string, pid: number) {
    super('STORE_LOCKED', directory, `${directory} is in use by process ${pid}: stop it first, or choose another data directory`)
    this.pid = pid
  }
}

/** A record that was once whole does not match its checksum. Records before `index` are good. */
export class StoreCorrupt extends StoreError {
  override readonly name = 'StoreCorrupt'
  readonly index: number
  /** Bytes from the start of the file to the bad record. */
  readonly offset: number
  constructor(path: string, index: number, offset: number, what: string) {
    super('STORE_CORRUPT', path, `${path} is corrupt at byte ${offset} (record ${index}): ${what}`)
    this.index = index
    this.offset = offset
  }
}
