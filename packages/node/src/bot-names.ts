/**
 * Whether an address is a bot's, by forward-confirmed reverse DNS: its name is in a domain of the bot, and that name has this address. Never in a
 * request's way: what is not known yet is looked up meanwhile, a few at once, and remembered for a time. Neither the memory nor the look-ups grow
 * with those who ask: whoever is one too many stays unknown.
 */
import { Resolver } from 'node:dns/promises'
import type { BotNames as BotNamesOfGuard, BotStanding } from '@ringwall/guard'
import { type Address, formatAddress, parseAddress } from '@ringwall/ring'
import { StartError } from './errors.ts'

const KNOWN_MAX = 10_000
const LOOKUPS_MAX = 16
const TIMEOUT_MS = 2_000
/** What was found out, and how long a failure is left alone. */
const KNOWN_MS = 3_600_000
const FAILED_MS = 60_000
/** Of those that an address claims for itself. */
const NAMES_MAX = 4
/** Answers that say that there is nothing, unlike those that say nothing. */
const NOTHING = new Set(['ENOTFOUND', 'ENODATA', 'NXDOMAIN'])

interface Known {
  readonly standing: BotStanding
  readonly untilMs: number
}

export interface BotNamesOptions {
  /** `ADDRESS` or `ADDRESS:PORT`; the system's unless given. */
  readonly servers?: readonly string[] | undefined
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

export class BotNames implements BotNamesOfGuard {
  readonly #resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 })
  readonly #now: () => number
  readonly #known = new Map<string, Known>()
  readonly #pending = new Map<string, Promise<void>>()

  /** @throws {StartError} `CONFIG_INVALID`, when a server is none. */
  constructor({ servers, now = () => performance.now() }: BotNamesOptions = {}) {
    this.#now = now
    if (servers === undefined || servers.length === 0) return
    try {
      this.#resolver.setServers([...servers])
    } catch (cause) {
      throw new StartError(
        'CONFIG_INVALID',
        `dnsServers: ${(cause as Error).message}; expected such as 192.0.2.53 or [2001:db8::53]:53`,
        {
          cause,
        },
      )
    }
  }

  standing(domains: readonly string[], text: string): BotStanding {
    const parsed = parseAddress(text.split('%', 1)[0]!)
    if (parsed === undefined) return 'unknown'
    const address = formatAddress(parsed)
    const key = `${address} ${domains.join(' ')}`
    const known = this.#known.get(key)
    if (known !== undefined && this.#now() < known.untilMs) return known.standing
    if (this.#pending.size < LOOKUPS_MAX && !this.#pending.has(key)) this.#lookUp(key, domains, parsed)
    // What was true a while ago is better than nothing until it is known anew.
    return known?.standing ?? 'unknown'
  }

  /** Until nothing is looked up any more. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending.values())
  }

  stop(): void {
    this.#resolver.cancel()
  }

  #lookUp(key: string, domains: readonly string[], address: Address): void {
    const looking = this.#confirm(domains, address)
      .then((standing) => this.#remember(key, standing, KNOWN_MS))
      .catch(() => this.#remember(key, 'unknown', FAILED_MS))
      .finally(() => this.#pending.delete(key))
    this.#pending.set(key, looking)
  }

  async #confirm(domains: readonly string[], address: Address): Promise<BotStanding> {
    // Unlike `reverse`, which says that there is no name when nobody answers.
    const names = await orNothing(this.#resolver.resolvePtr(reverseName(address)))
    const own = names.map((name) => name.toLowerCase().replace(/\.$/, '')).filter((name) => isIn(name, domains))
    for (const name of own.slice(0, NAMES_MAX)) {
      const addresses = await orNothing(address.version === 4 ? this.#resolver.resolve4(name) : this.#resolver.resolve6(name))
      const same = addresses.some((one) => {
        const parsed = parseAddress(one)
        return parsed !== undefined && formatAddress(parsed) === formatAddress(address)
      })
      if (same) return 'verified'
    }
    return 'pretender'
  }

  #remember(key: string, standing: BotStanding, forMs: number): void {
    // A failure does not undo what was found out.
    const before = this.#known.get(key)
    const kept = standing === 'unknown' ? (before?.standing ?? standing) : standing
    this.#known.delete(key)
    if (this.#known.size >= KNOWN_MAX) this.#known.delete(this.#known.keys().next().value as string)
    this.#known.set(key, { standing: kept, untilMs: this.#now() + forMs })
  }
}

/** RFC 1035 section 3.5, RFC 3596 section 2.5. */
function reverseName({ version, words }: Address): string {
  if (version === 4) return `${[0, 8, 16, 24].map((by) => (words[0]! >>> by) & 255).join('.')}.in-addr.arpa`
  const digits = words.map((word) => word.toString(16).padStart(8, '0')).join('')
  return `${[...digits].reverse().join('.')}.ip6.arpa`
}

function isIn(name: string, domains: readonly string[]): boolean {
  return domains.some((domain) => name === domain || name.endsWith(`.${domain}`))
}

async function orNothing(answer: Promise<string[]>): Promise<string[]> {
  try {
    return await answer
  } catch (error) {
    if (NOTHING.has((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}
