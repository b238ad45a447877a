/** What a capsule of the vault is bound to: the secret, its version, and for how long it may be opened. Safe for browsers. */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'

const DOMAIN = 'RINGWALL_SECRET_V1\n'

export interface SecretLabel {
  readonly ring: string
  /** The right to open follows from it, by the policy in force. */
  readonly name: string
  readonly version: number
  /** Unix milliseconds: that of the transaction which puts it, so that a capsule of long ago cannot be put again. */
  readonly sealedAtMs: number
  /** Unix milliseconds; 0: never. */
  readonly expiresAtMs: number
}

/** At most some 420 bytes. */
export function secretLabel({ ring, name, version, sealedAtMs, expiresAtMs }: SecretLabel): Uint8Array {
  return encodeUtf8(DOMAIN + canonicalJson({ ring, name, version, sealedAtMs, expiresAtMs }))
}
