/**
 * The ring's own certificates: of the key in force, signed once a key, since whoever signs it, it says the same; and of keys that were replaced and
 * still verify, as far as this node had them made while they were in force.
 */
import { certificateOf } from '@ringwall/identity'
import type { View } from '@ringwall/ring'

export interface AuthorityCertificatesOptions {
  readonly view: () => Pick<View, 'signingKey'>
  /** Has the ring sign its own certificate. */
  readonly sign: () => Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
}

export interface AuthorityCertificate {
  /** Ed25519, raw, base64url. */
  readonly key: string
  /** DER. */
  readonly certificate: Uint8Array
}

export class AuthorityCertificates {
  readonly #options: AuthorityCertificatesOptions
  readonly #made = new Map<string, Uint8Array>()
  #making: { readonly key: string | undefined; readonly certificate: Promise<Uint8Array> } | undefined

  constructor(options: AuthorityCertificatesOptions) {
    this.#options = options
  }

  /** Of the key in force, DER. @throws As `sign` does. */
  current(): Promise<Uint8Array> {
    const { key } = this.#options.view().signingKey
    const made = key === undefined ? undefined : this.#made.get(key)
    if (made !== undefined) return Promise.resolve(made)
    const before = this.#making
    if (before !== undefined && before.key === key && key !== undefined) return before.certificate
    const certificate = this.#options.sign().then(({ message, signature }) => {
      const der = certificateOf(message, signature)
      // Another key came into force meanwhile: whose certificate this is nobody knows here.
      if (key !== undefined && this.#options.view().signingKey.key === key) this.#made.set(key, der)
      return der
    })
    const making = { key, certificate }
    this.#making = making
    certificate
      .catch(() => {})
      .finally(() => {
        if (this.#making === making) this.#making = undefined
      })
    return certificate
  }

  /** That of the key in force first; undefined until it is made. Nothing is asked for. */
  known(): readonly AuthorityCertificate[] | undefined {
    const { key, former } = this.#options.view().signingKey
    const names = [...(key === undefined ? [] : [key]), ...former.map((one) => one.key)]
    for (const held of this.#made.keys()) if (!names.includes(held)) this.#made.delete(held)
    if (key === undefined || !this.#made.has(key)) return undefined
    return names.flatMap((name) => {
      const certificate = this.#made.get(name)
      return certificate === undefined ? [] : [{ key: name, certificate }]
    })
  }
}
