/**
 * Proofs in DNS (RFC 8555 section 8.4): a TXT record that the zone's primary server is told to have (RFC 2136), and that all servers of the
 * zone are seen to have before the validation is asked for. They alone prove wildcards.
 */
import { createHash } from 'node:crypto'
import { promises as dns } from 'node:dns'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatHostPort, type HostPort } from '../address.ts'
import { AcmeError, type Proof } from './client.ts'
import { type TsigKey, type TxtChange, updateTxt } from './dns-update.ts'

const TTL_S = 60
const QUERY = { timeout: 2_000, tries: 2 } as const
const LOOK_MS = 2_000
const VISIBLE_MS_MAX = 120_000
/** Of a zone, and addresses of each. */
const SERVERS_MAX = 13
const ADDRESSES_MAX = 4

export interface DnsProofsOptions {
  /** Of the zone: it takes the updates, and queries. An address. */
  readonly server: HostPort
  readonly key: TsigKey
  /** Found by asking the server unless given. */
  readonly zone: string | undefined
  readonly stop: AbortSignal
  readonly warn: (line: string) => void
}

interface Asked {
  readonly what: string
  readonly resolver: dns.Resolver
}

export class DnsProofs {
  readonly #options: DnsProofsOptions
  readonly #primary: Asked

  constructor(options: DnsProofsOptions) {
    this.#options = options
    this.#primary = resolverAt(options.server)
  }

  /** Resolves when every server of the zone that answers has the record. @throws {AcmeError} */
  async present(proof: Proof): Promise<void> {
    const change = await this.#change('add', proof)
    await this.#update(change)
    await this.#visible(change).catch((error: Error) => {
      this.withdraw(proof)
      throw error
    })
  }

  withdraw(proof: Proof): void {
    const removed = this.#change('remove', proof).then((change) => this.#update(change))
    removed.catch((error: Error) => this.#options.warn(`the record at ${recordName(proof)} stays: ${error.message}`))
  }

  async #change(what: 'add' | 'remove', proof: Proof): Promise<TxtChange> {
    const name = recordName(proof)
    const text = createHash('sha256').update(proof.keyAuthorization).digest('base64url')
    return { what, zone: this.#options.zone ?? (await this.#zoneOf(name)), name, text, ttlS: TTL_S }
  }

  async #update(change: TxtChange): Promise<void> {
    const { server, key } = this.#options
    await updateTxt(server, key, change).catch((error: Error) => {
      throw new AcmeError(`${this.#primary.what} does not change ${change.name} in ${change.zone}: ${error.message}`)
    })
  }

  /** The nearest name above that has a SOA record. */
  async #zoneOf(name: string): Promise<string> {
    const labels = name.split('.')
    for (let from = 0; from < labels.length; from += 1) {
      const zone = labels.slice(from).join('.')
      try {
        await this.#primary.resolver.resolveSoa(zone)
        return zone
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException
        // Nothing there, or not for it to say.
        if (!['ENODATA', 'ENOTFOUND', 'EREFUSED', 'ESERVFAIL', 'ENONAME'].includes(code))
          throw new AcmeError(`${this.#primary.what} does not say which zone has ${name}: ${code}`)
      }
    }
    throw new AcmeError(`${this.#primary.what} has no zone with ${name}; name it by acme.dns.zone`)
  }

  async #visible({ zone, name, text }: TxtChange): Promise<void> {
    const { stop } = this.#options
    const all = [this.#primary, ...(await this.#serversOf(zone))]
    for (const untilMs = performance.now() + VISIBLE_MS_MAX; ; ) {
      const lacking = (await Promise.all(all.map(async (each) => ((await lacks(each, name, text)) ? [each.what] : [])))).flat()
      if (lacking.length === 0) return
      if (performance.now() > untilMs)
        throw new AcmeError(`${lacking.join(', ')} did not have ${name} within ${VISIBLE_MS_MAX / 60_000} min`)
      await sleep(LOOK_MS, undefined, { signal: stop })
    }
  }

  /** The servers that the zone names, whichever of their addresses are known. */
  async #serversOf(zone: string): Promise<readonly Asked[]> {
    const names = await this.#primary.resolver.resolveNs(zone).catch(() => [])
    const found = await Promise.all(names.slice(0, SERVERS_MAX).map((name) => this.#addressesOf(name)))
    return found.flatMap((addresses) => addresses.slice(0, ADDRESSES_MAX).map((host) => resolverAt({ host, port: 53 })))
  }

  async #addressesOf(name: string): Promise<readonly string[]> {
    for (const resolver of [this.#primary.resolver, new dns.Resolver(QUERY)]) {
      const both = await Promise.all([resolver.resolve4(name).catch(() => []), resolver.resolve6(name).catch(() => [])])
      if (both.flat().length > 0) return both.flat()
    }
    return []
  }
}

const recordName = ({ name }: Proof): string => `_acme-challenge.${name}`

function resolverAt(server: HostPort): Asked {
  const what = formatHostPort(server)
  const resolver = new dns.Resolver(QUERY)
  resolver.setServers([what])
  return { what, resolver }
}

/** It answers, and without the record. One that is silent is not waited for: validations pass it by as well. */
async function lacks({ resolver }: Asked, name: string, text: string): Promise<boolean> {
  try {
    return !(await resolver.resolveTxt(name)).some((parts) => parts.join('') === text)
  } catch (error) {
    return ['ENODATA', 'ENOTFOUND'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
}
