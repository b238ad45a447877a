/**
 * What the store writes into its rows. In the clear, or sealed: then records and spans are AES-256-GCM ciphertexts, and what is looked for or
 * grouped by is a keyed hash (HMAC-SHA-256), by which equal values are found to be equal and nothing else. Times, outcomes, weights and counts
 * stay in the clear.
 *
 *     row   = session(16) counter(8) ciphertext tag(16)
 *     key   = HKDF-SHA-256(key of the store, session, "RINGWALL_TRACES_ROW_V1")
 *     nonce = 0(4) counter(8)
 *
 * A session is a random number of one opening, its counter lives in memory alone: no nonce comes twice, also not in an old copy that is put back.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'

export interface RowSeal {
  /** Undefined: in the clear. */
  readonly check: string | undefined
  /** What a value is looked for by. */
  index(column: string, value: string): string
  /** @param about What the text belongs to: authenticated. */
  seal(about: string, text: string): string | Uint8Array
  /** @throws {Error} When it was not sealed by this key for this. */
  open(about: string, cell: unknown): string
}

/** Columns in which no value comes twice. */
const UNIQUE: ReadonlySet<string> = new Set(['request', 'trace'])

export const CLEAR_ROWS: RowSeal = {
  check: undefined,
  index: (_column, value) => value,
  seal: (_about, text) => text,
  open: (_about, cell) => String(cell),
}

const CIPHER = 'aes-256-gcm'
const SESSION_BYTES = 16
const FRAME_BYTES = SESSION_BYTES + 8
const TAG_BYTES = 16
const INDEX_BYTES = 16
const SESSIONS_MAX = 64
/** Values that come again and again (paths, services, rules, sources), with their hashes. */
const KNOWN_MAX = 1_000
const KNOWN_CHARS_MAX = 256

/** @param key 32 bytes. */
export function sealedRows(key: Uint8Array): RowSeal {
  const derive = (salt: Uint8Array, info: string): KeyObject =>
    createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, info, 32)))
  const none = new Uint8Array(0)
  const indexKey = derive(none, 'RINGWALL_TRACES_INDEX_V1')
  const keyOf = (session: Uint8Array): KeyObject => derive(session, 'RINGWALL_TRACES_ROW_V1')
  const session = randomBytes(SESSION_BYTES)
  const sessionKey = keyOf(session)
  const sessions = new Map<string, KeyObject>()
  let counter = 0n
  const known = (held: Buffer): KeyObject => {
    const name = held.toString('latin1')
    let found = sessions.get(name)
    if (found === undefined) {
      found = keyOf(held)
      if (sessions.size >= SESSIONS_MAX) sessions.delete(sessions.keys().next().value as string)
      sessions.set(name, found)
    }
    return found
  }
  let hashes = new Map<string, string>()
  const hashOf = (text: string): string =>
    createHmac('sha256', indexKey).update(text).digest().toString('base64url', 0, INDEX_BYTES)
  const nonceOf = (frame: Uint8Array): Buffer => {
    const nonce = Buffer.alloc(12)
    nonce.set(frame.subarray(SESSION_BYTES, FRAME_BYTES), 4)
    return nonce
  }
  return {
    check: createHmac('sha256', indexKey).update('check').digest('hex'),
    index: (column, value) => {
      const text = `${column}\n${value}`
      if (UNIQUE.has(column) || value.length > KNOWN_CHARS_MAX) return hashOf(text)
      let hash = hashes.get(text)
      if (hash === undefined) {
        hash = hashOf(text)
        if (hashes.size >= KNOWN_MAX) hashes = new Map()
        hashes.set(text, hash)
      }
      return hash
    },
    seal: (about, text) => {
      const frame = Buffer.alloc(FRAME_BYTES)
      session.copy(frame)
      frame.writeBigUInt64BE(counter, SESSION_BYTES)
      counter += 1n
      const cipher = createCipheriv(CIPHER, sessionKey, nonceOf(frame)).setAAD(Buffer.from(about))
      return Buffer.concat([frame, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
    },
    open: (about, cell) => {
      if (!(cell instanceof Uint8Array) || cell.length < FRAME_BYTES + TAG_BYTES)
        throw new Error('a row of the store is not sealed')
      const bytes = Buffer.from(cell.buffer, cell.byteOffset, cell.length)
      const decipher = createDecipheriv(CIPHER, known(bytes.subarray(0, SESSION_BYTES)), nonceOf(bytes), {
        authTagLength: TAG_BYTES,
      })
      decipher.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(-TAG_BYTES))
      try {
        return decipher.update(bytes.subarray(FRAME_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      } catch {
        throw new Error('a row of the store was changed')
      }
    },
  }
}
