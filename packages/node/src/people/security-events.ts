/**
 * Security events that outside providers push (RFC 8935). The holders of the ring's key verify each and sign what it comes to; that is shown to the ring, which
 * makes a denial of it: on all nodes, by gossip and then agreed.
 */
import { readJws } from '@ringwall/identity'
import { LedgerError } from '@ringwall/ledger'
import type { PortalAnswer, PortalRequest } from '@ringwall/proxy'
import type { View } from '@ringwall/ring'
import { type Asked, MintRefused } from '../signing/signing-service.ts'
import { Attempts } from './attempts.ts'

const MINT_MS_MAX = 8_000
const SET_TYPE = /^\s*application\/secevent\+jwt\s*$/i
/** Of a source: what is no event of a provider costs little, and what is one costs the ring a signature. */
const EVENTS_MAX = 600
const EVENTS_WINDOW_MS = 300_000

export interface SecurityEventsOptions {
  readonly ring: string
  readonly view: () => View
  readonly mint: (asked: Asked, timeoutMs: number) => Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
  /** Has the ring agree on what the token says. @throws {LedgerError} */
  readonly show: (token: string) => Promise<unknown>
  readonly log: (line: string) => void
}

export class SecurityEvents {
  readonly #options: SecurityEventsOptions
  readonly #received = new Attempts(EVENTS_MAX, EVENTS_WINDOW_MS)

  constructor(options: SecurityEventsOptions) {
    this.#options = options
  }

  async receive({ headers, body, source }: PortalRequest, nowMs: number): Promise<PortalAnswer> {
    const types = headers.filter(([name]) => name.toLowerCase() === 'content-type')
    if (types.length !== 1 || !SET_TYPE.test(types[0]![1])) return wrong('invalid_request', 'expected application/secevent+jwt')
    if (!this.#received.take(source, nowMs)) return answer(429, undefined, ['retry-after', '60'])
    const set = Buffer.from(body).toString('latin1').trim()
    const iss = readJws(set)?.claims.iss
    const provider = this.#options
      .view()
      .policy.providers.find(
        (one) => one.kind === 'openid' && one.signals !== undefined && (one.signals.issuer ?? one.issuer) === iss,
      )
    if (provider === undefined) return wrong('invalid_issuer', 'no events of this issuer are taken')
    try {
      const { ring } = this.#options
      const asked: Asked = { person: { type: 'event', provider: provider.name, ring, set } }
      const { message, signature } = await this.#options.mint(asked, MINT_MS_MAX)
      await this.#options.show(`${Buffer.from(message).toString()}.${Buffer.from(signature).toString('base64url')}`)
      return answer(202, undefined, [])
    } catch (error) {
      this.#options.log(`an event of ${provider.name}: ${(error as Error).message}`)
      // Somebody who never was here is nobody’s business: it is taken, and comes to nothing.
      if (error instanceof MintRefused && error.code === 'MINT_PERSON') return answer(202, undefined, [])
      if (error instanceof MintRefused && error.code !== 'MINT_NO_KEY') return wrong('invalid_request', error.message)
      if (error instanceof LedgerError && error.code === 'NO_QUORUM') return answer(202, undefined, [])
      return answer(503, undefined, ['retry-after', '10'])
    }
  }
}

function wrong(err: string, description: string): PortalAnswer {
  return answer(400, { err, description }, [])
}

function answer(status: number, value: object | undefined, more: readonly string[]): PortalAnswer {
  const body = value === undefined ? '' : JSON.stringify(value).replace(/[^ -~]/g, '?')
  const type = value === undefined ? [] : ['content-type', 'application/json', 'content-language', 'en']
  return { status, headers: [...type, 'cache-control', 'no-store', ...more], body }
}
