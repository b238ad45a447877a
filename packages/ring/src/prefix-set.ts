/** A short list of prefixes, compiled once: who is trusted as a proxy, who can never be denied. */
import { type Address, type Prefix, parsePrefix, prefixContains, prefixesOverlap, scanAddress, scanned } from './address.ts'
import type { Policy } from './policy.ts'

export class PrefixSet {
  readonly #prefixes: readonly Prefix[]

  /** Texts that are no prefix are left out; the policy's parser has refused them before. */
  constructor(texts: readonly string[]) {
    this.#prefixes = texts.flatMap((text) => parsePrefix(text) ?? [])
  }

  contains(address: Address): boolean {
    return this.#prefixes.some((prefix) => prefixContains(prefix, address))
  }

  /** By text; false for what is no address. */
  containsText(address: string): boolean {
    if (this.#prefixes.length === 0) return false
    const version = scanAddress(address)
    return version !== 0 && this.contains({ version, words: version === 4 ? [scanned[0]!] : [...scanned] })
  }

  overlaps(other: Prefix): boolean {
    return this.#prefixes.some((prefix) => prefixesOverlap(prefix, other))
  }
}

const compiled = new WeakMap<readonly string[], PrefixSet>()

/** The list compiled; remembered for as long as the list lives. */
export function prefixSetOf(texts: readonly string[]): PrefixSet {
  let set = compiled.get(texts)
  if (set === undefined) {
    set = new PrefixSet(texts)
    compiled.set(texts, set)
  }
  return set
}

/** Is `X-Forwarded-For` believed when it comes from here? */
export function isTrustedProxy(policy: Policy, address: string): boolean {
  return prefixSetOf(policy.trustedProxies).containsText(address)
}
