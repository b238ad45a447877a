/** What an ACME server is shown that verifies a name: HTTP-01 (RFC 8555 section 8.3) and TLS-ALPN-01 (RFC 8737). Only what is being verified right now. */
import { createSecureContext, type SecureContext } from 'node:tls'

export const ACME_PROTOCOL = 'acme-tls/1'
const PATH = '/.well-known/acme-challenge/'

/** One proof, in both forms. */
export interface AcmeAnswer {
  /** Host, lower case. */
  readonly name: string
  readonly token: string
  readonly keyAuthorization: string
  /** For TLS-ALPN-01, PEM. */
  readonly certificate: string
  readonly key: string
}

export class AcmeAnswers {
  #texts: ReadonlyMap<string, string> = new Map()
  #contexts: ReadonlyMap<string, SecureContext> = new Map()

  /** In place of those before. */
  set(all: readonly AcmeAnswer[]): void {
    this.#texts = new Map(all.map(({ name, token, keyAuthorization }) => [`${name} ${PATH}${token}`, keyAuthorization]))
    this.#contexts = new Map(
      all.map(({ name, certificate, key }) => [
        name,
        createSecureContext({ cert: certificate, key, ca: [], minVersion: 'TLSv1.2' }),
      ]),
    )
  }

  /** The text at a path of a host. */
  text(host: string, target: string): string | undefined {
    return this.#texts.size === 0 ? undefined : this.#texts.get(`${host} ${target}`)
  }

  /** For a client that offers that protocol and no other. */
  contextFor(serverName: string | undefined, alpn: readonly Buffer[]): SecureContext | undefined {
    if (this.#contexts.size === 0 || serverName === undefined || alpn.length !== 1) return undefined
    return alpn[0]!.toString('latin1') === ACME_PROTOCOL ? this.#contexts.get(serverName) : undefined
  }
}
