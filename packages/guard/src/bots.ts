/** Programs that say who they are, and whether they are. */
import { type BotPolicy, type Policy, prefixSetOf } from '@ringwall/ring'
import type { GuardRequest } from './types.ts'

/** `unknown`: not found out yet, or not to be found out: judged like anybody. */
export type BotStanding = 'verified' | 'pretender' | 'unknown'

/** Finds out by DNS. */
export interface BotNames {
  /** What is known now; what is not is looked up meanwhile. */
  standing(domains: readonly string[], address: string): BotStanding
}

export interface BotClaim {
  readonly name: string
  readonly standing: BotStanding
}

interface Known extends BotPolicy {
  readonly name: string
  readonly lower: string
}

const compiled = new WeakMap<Policy['bots'], readonly Known[]>()

function botsOf(bots: Policy['bots']): readonly Known[] {
  let known = compiled.get(bots)
  if (known === undefined) {
    known = Object.entries(bots).map(([name, bot]) => ({ ...bot, name, lower: bot.userAgent.toLowerCase() }))
    compiled.set(bots, known)
  }
  return known
}

/** Undefined: it does not say that it is one of them. */
export function botClaim(bots: Policy['bots'], request: GuardRequest, names: BotNames | undefined): BotClaim | undefined {
  const known = botsOf(bots)
  if (known.length === 0) return undefined
  // The list of fields is made when it is read: not before.
  const { headers, remoteAddress } = request
  const agent = headers.find(([name]) => name.length === 10 && name.toLowerCase() === 'user-agent')?.[1].toLowerCase()
  const claimed = agent === undefined ? undefined : known.find(({ lower }) => agent.includes(lower))
  if (claimed === undefined) return undefined
  const { name, prefixes, domains } = claimed
  if (prefixSetOf(prefixes).containsText(remoteAddress)) return { name, standing: 'verified' }
  if (domains.length === 0) return { name, standing: 'pretender' }
  return { name, standing: names?.standing(domains, remoteAddress) ?? 'unknown' }
}
