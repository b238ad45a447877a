/** What a service acts by that has no certificate at hand: see `service-pass.ts`. Safe for browsers. */

export const PASS_TOKEN_CHARS_MAX = 2_048

export interface ServicePass {
  /** Ed25519, raw, base64url. */
  readonly key: string
  readonly token: string
}

/** With what the key signed about a statement. */
export interface SignedPass extends ServicePass {
  /** Over `passSigningBytes`, base64url. */
  readonly signature: string
}
