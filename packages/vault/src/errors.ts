/** Errors of the vault. Switch on `code`: it is stable, the message is for people. */
export type VaultErrorCode =
  /** The ciphertext, or what a node said belongs to it, is not what was sealed. */
  | 'VAULT_CORRUPT'
  /** Too few holders answered alike. */
  | 'VAULT_SHORT'
  /** Nodes contradict one another about the ring's sealing key. */
  | 'VAULT_TRUST'
  /** A request, or an answer, in no agreed form. */
  | 'VAULT_MALFORMED'
  /** Larger than the vault takes. */
  | 'VAULT_TOO_LARGE'

export class VaultError extends Error {
  override readonly name = 'VaultError'
  readonly code: VaultErrorCode
  /** Holders that lied. */
  readonly culprits: readonly string[]
  constructor(code: VaultErrorCode, message: string, culprits: readonly string[] = []) {
    super(message)
    this.code = code
    this.culprits = culprits
  }
}
