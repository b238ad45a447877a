/**
 * What outside OpenID Providers publish of themselves: their addresses (OpenID Connect Discovery 1.0) and their keys (RFC 7517). Each node fetches them itself,
 * since each holder of the ring's key verifies ID tokens itself: no node takes them from another.
 */
import { type PersonRequest, PROVIDER_KEYS_MAX, type ProviderKey, parseStrictObject, readJws } from '@ringwall/identity'
import type { OpenIdProviderPolicy, ProviderPolicy, View } from '@ringwall/ring'
import { isSafeAddress, type OutsideHttp, OutsideUnreachable } from './outside-http.ts'

/** Keys that a provider has withdrawn are believed for no longer. */
const FRESH_MS = 3_600_000
/** A token that names a key which is not there, or a provider that does not answer: looked for again after this. */
const AGAIN_MS = 15_000

export interface ProviderAddresses {
  readonly authorize: string
  readonly token: string
  readonly jwks: string
  /** Its answers say who they are from (RFC 9207). */
  readonly saysIssuer: boolean
}

interface Published {
  readonly addresses: ProviderAddresses
  readonly keys: readonly ProviderKey[]
  readonly atMs: number
}

export interface ProviderKeysOptions {
  readonly view: () => Pick<View, 'policy'>
  readonly http: OutsideHttp
  readonly log: (line: string) => void
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

export class ProviderKeys {
  readonly #options: ProviderKeysOptions
  readonly #now: () => number
  /** By issuer. Those of providers that the policy has: a bounded number. */
  readonly #published = new Map<string, Published>()
  readonly #fetching = new Map<string, { readonly atMs: number; readonly done: Promise<void> }>()

  constructor(options: ProviderKeysOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /** As they were fetched within the last hour; none otherwise. */
  keys(provider: ProviderPolicy): readonly ProviderKey[] {
    if (provider.kind !== 'openid') return []
    const held = this.#published.get(provider.issuer)
    return held !== undefined && this.#now() - held.atMs < FRESH_MS ? held.keys : []
  }

  /** @throws {OutsideUnreachable} */
  async addresses(provider: OpenIdProviderPolicy): Promise<ProviderAddresses> {
    const held = this.#published.get(provider.issuer)
    if (held !== undefined && this.#now() - held.atMs < FRESH_MS) return held.addresses
    await this.#fetch(provider)
    const now = this.#published.get(provider.issuer)
    if (now === undefined) throw new OutsideUnreachable(`${provider.name} was asked in vain moments ago`)
    return now.addresses
  }

  /** Has the keys that the proof was signed by, if they can be had: before somebody verifies it. */
  async prepare(request: PersonRequest): Promise<void> {
    const token =
      request.type === 'event'
        ? request.set
        : request.type === 'outside' && request.proof.kind === 'openid'
          ? request.proof.idToken
          : undefined
    if (token === undefined || (request.type !== 'outside' && request.type !== 'event')) return
    const provider = this.#options.view().policy.providers.find(({ name }) => name === request.provider)
    if (provider?.kind !== 'openid' || provider.jwks !== undefined) return
    const kid = readJws(token)?.header.kid
    const keys = this.keys(provider)
    if (keys.length > 0 && (kid === undefined || keys.some((key) => key.kid === kid))) return
    await this.#fetch(provider).catch((error: Error) => this.#options.log(`keys of ${provider.name}: ${error.message}`))
  }

  /** Fetches what a new policy needs, so that the first login does not wait for it. */
  warm(): void {
    const { providers } = this.#options.view().policy
    const issuers = new Set(providers.map((provider) => (provider.kind === 'openid' ? provider.issuer : '')))
    for (const issuer of this.#published.keys()) if (!issuers.has(issuer)) this.#published.delete(issuer)
    for (const issuer of this.#fetching.keys()) if (!issuers.has(issuer)) this.#fetching.delete(issuer)
    for (const provider of providers)
      if (provider.kind === 'openid' && !this.#published.has(provider.issuer)) void this.#fetch(provider).catch(() => {})
  }

  #fetch(provider: OpenIdProviderPolicy): Promise<void> {
    const running = this.#fetching.get(provider.issuer)
    if (running !== undefined && this.#now() - running.atMs < AGAIN_MS) return running.done
    const done = this.#fetched(provider).then((published) => {
      this.#published.set(provider.issuer, published)
    })
    this.#fetching.set(provider.issuer, { atMs: this.#now(), done })
    return done
  }

  async #fetched({ name, issuer }: OpenIdProviderPolicy): Promise<Published> {
    const isLocal = issuer.startsWith('http:')
    const found = await this.#json(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
    if (found.issuer !== issuer)
      throw new OutsideUnreachable(`the discovery document of ${name} is of another issuer: the policy says ${issuer}`)
    const address = (key: string): string => {
      const value = found[key]
      if (typeof value === 'string' && isSafeAddress(value, isLocal)) return value
      throw new OutsideUnreachable(`the discovery document of ${name} has no https address as ${key}`)
    }
    const addresses: ProviderAddresses = {
      authorize: address('authorization_endpoint'),
      token: address('token_endpoint'),
      jwks: address('jwks_uri'),
      saysIssuer: found.authorization_response_iss_parameter_supported === true,
    }
    const { keys } = await this.#json(addresses.jwks)
    if (!Array.isArray(keys) || keys.length > PROVIDER_KEYS_MAX)
      throw new OutsideUnreachable(`${name} has no list of at most ${PROVIDER_KEYS_MAX} keys`)
    const objects = keys.filter((key: unknown): key is ProviderKey => typeof key === 'object' && key !== null)
    return { addresses, keys: objects, atMs: this.#now() }
  }

  async #json(url: string): Promise<Readonly<Record<string, unknown>>> {
    const { status, body } = await this.#options.http(url)
    const value = status === 200 ? parseStrictObject(body) : undefined
    if (value !== undefined) return value
    const { host, pathname } = new URL(url)
    throw new OutsideUnreachable(`${host}${pathname}: expected 200 with a JSON object, found ${status}`)
  }
}
