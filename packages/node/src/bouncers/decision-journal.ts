/**
 * What of the denials in force an IP bouncer can enforce, in the words of CrowdSec's local API, with a memory of what came and went, so
 * that a bouncer is told only what is new to it. Pure: time is an argument.
 *
 * Changes are numbered. A bouncer that knows all up to a number gets what came after it. What went is remembered up to a bound; whoever
 * knows less than what is forgotten is told everything that is in force again.
 */
import { type Denial, formatPrefix, type Prefix, parsePrefix, parsePrefixLoosely } from '@ringwall/ring'

/** A denial as bouncers know it. */
export interface BouncerDecision {
  /** Id of the denial. */
  readonly denial: string
  /** The first 52 bits of the denial's id: the same on all nodes. */
  readonly id: number
  readonly origin: 'ringwall-operator' | 'ringwall-node'
  readonly scope: 'Ip' | 'Range'
  readonly value: string
  /** The denial's reason. */
  readonly scenario: string
  readonly expiresAtMs: number
}

interface Held {
  readonly decision: BouncerDecision
  readonly prefix: Prefix
  readonly sequence: number
  /** When it was last seen in force: a mark is cheaper than a set of all that are. */
  round: number
}

/** Of what a bouncer is told. */
export interface DecisionNews {
  readonly added: readonly BouncerDecision[]
  readonly deleted: readonly BouncerDecision[]
  /** To be handed to the next `since`. */
  readonly sequence: number
}

/** Which decisions somebody asks for; what is absent asks for all. */
export interface DecisionFilter {
  /** As decisions have them. */
  readonly scopes?: ReadonlySet<string>
  readonly value?: string
  readonly type?: string
  readonly origins?: ReadonlySet<string>
  /** Lower case: at least one is in the scenario, none is. */
  readonly scenariosWith?: readonly string[]
  readonly scenariosWithout?: readonly string[]
  readonly about?: Prefix
  /** Decisions that hold `about`, or that it holds. */
  readonly contains: boolean
}

/** Of what went, this much is remembered. */
export const GONE_MAX = 50_000

export class DecisionJournal {
  /** By id of the denial, in order of sequence. */
  readonly #held = new Map<string, Held>()
  readonly #byValue = new Map<string, Held>()
  /** Likewise. */
  readonly #gone = new Map<string, { readonly decision: BouncerDecision; readonly sequence: number }>()
  /** How many there are of each version and length. */
  readonly #lengths = { 4: new Map<number, number>(), 6: new Map<number, number>() }
  readonly #goneMax: number
  #sequence = 1
  #round = 0
  /** Of the last that was forgotten. */
  #forgotten = 0

  constructor(goneMax: number = GONE_MAX) {
    this.#goneMax = goneMax
  }

  get size(): number {
    return this.#held.size
  }

  /** Of what was remembered to have gone. */
  get gone(): number {
    return this.#gone.size
  }

  get sequence(): number {
    return this.#sequence
  }

  /** @param denials All that are in force now, each once. @returns When the first of them ends. */
  follow(denials: readonly Denial[]): number {
    let firstEndMs = Number.POSITIVE_INFINITY
    this.#round += 1
    for (const denial of denials) {
      const { subject, id } = denial
      if (subject.kind !== 'ip' && subject.kind !== 'cidr') continue
      if (denial.expiresAtMs < firstEndMs) firstEndMs = denial.expiresAtMs
      const before = this.#held.get(id)
      if (before !== undefined) before.round = this.#round
      if (before !== undefined && isSame(before.decision, denial)) continue
      const prefix = parsePrefix(subject.value)
      if (prefix !== undefined) this.#add(denial, prefix, before)
    }
    for (const [id, held] of this.#held) if (held.round !== this.#round) this.#remove(id, held)
    return firstEndMs
  }

  #add(denial: Denial, prefix: Prefix, before: Held | undefined): void {
    const { id } = denial
    this.#sequence += 1
    const held = { decision: decisionOf(denial), prefix, sequence: this.#sequence, round: this.#round }
    // What is told last stands last.
    this.#held.delete(id)
    this.#held.set(id, held)
    this.#byValue.set(held.decision.value, held)
    this.#gone.delete(id)
    if (before !== undefined) return
    const lengths = this.#lengths[prefix.version]
    lengths.set(prefix.length, (lengths.get(prefix.length) ?? 0) + 1)
  }

  #remove(id: string, { decision, prefix }: Held): void {
    this.#held.delete(id)
    this.#byValue.delete(decision.value)
    const lengths = this.#lengths[prefix.version]
    const left = lengths.get(prefix.length)! - 1
    if (left === 0) lengths.delete(prefix.length)
    else lengths.set(prefix.length, left)
    this.#sequence += 1
    this.#gone.delete(id)
    this.#gone.set(id, { decision, sequence: this.#sequence })
    if (this.#gone.size <= this.#goneMax) return
    const [oldest, { sequence }] = this.#gone.entries().next().value!
    this.#gone.delete(oldest)
    this.#forgotten = sequence
  }

  /** @param sequence Up to which the asker knows all; undefined: nothing. */
  since(sequence: number | undefined, filter: DecisionFilter): DecisionNews {
    const isWhole = sequence === undefined || sequence < this.#forgotten || sequence > this.#sequence
    const from = isWhole ? 0 : sequence
    const news = { sequence: this.#sequence }
    if (from === this.#sequence) return { added: [], deleted: [], ...news }
    const newer = (all: Iterable<{ readonly decision: BouncerDecision; readonly sequence: number }>): BouncerDecision[] => {
      const found: BouncerDecision[] = []
      for (const one of all) if (one.sequence > from && fits(one.decision, filter)) found.push(one.decision)
      return found
    }
    return { added: newer(this.#held.values()), deleted: newer(this.#gone.values()), ...news }
  }

  /** All that fit. What is about an address, and holds it, is looked up; the rest is looked through. */
  find(filter: DecisionFilter): readonly BouncerDecision[] {
    const { about, contains } = filter
    const found: BouncerDecision[] = []
    if (about !== undefined && contains) {
      for (const length of this.#lengths[about.version].keys()) {
        if (length > about.length) continue
        const held = this.#byValue.get(textOf(widened(about, length)))
        if (held !== undefined && fits(held.decision, filter)) found.push(held.decision)
      }
      return found
    }
    for (const { decision, prefix } of this.#held.values()) {
      if (about !== undefined && !isWithin(prefix, about)) continue
      if (fits(decision, filter)) found.push(decision)
    }
    return found
  }
}

function widened(prefix: Prefix, length: number): Prefix {
  return parsePrefixLoosely(`${formatPrefix(prefix).split('/', 1)[0]}/${length}`)!
}

/** As denials name it: an address without its length. */
function textOf(prefix: Prefix): string {
  const text = formatPrefix(prefix)
  return prefix.length === prefix.words.length * 32 ? text.slice(0, text.indexOf('/')) : text
}

function isWithin(inner: Prefix, outer: Prefix): boolean {
  if (inner.version !== outer.version || inner.length < outer.length) return false
  return textOf(widened(inner, outer.length)) === textOf(outer)
}

export function fits({ scope, value, origin, scenario }: BouncerDecision, filter: DecisionFilter): boolean {
  if (filter.type !== undefined && filter.type !== 'ban') return false
  if (filter.scopes?.has(scope) === false || filter.origins?.has(origin) === false) return false
  if (filter.value !== undefined && filter.value !== value) return false
  const { scenariosWith, scenariosWithout } = filter
  if (scenariosWith === undefined && scenariosWithout === undefined) return true
  const text = scenario.toLowerCase()
  if (scenariosWith?.some((word) => text.includes(word)) === false) return false
  return scenariosWithout?.some((word) => text.includes(word)) !== true
}

function isSame({ scenario, expiresAtMs }: BouncerDecision, denial: Denial): boolean {
  return expiresAtMs === denial.expiresAtMs && scenario === denial.reason
}

export function decisionOf({ id, subject, issuer, reason, expiresAtMs }: Denial): BouncerDecision {
  return {
    denial: id,
    id: Number.parseInt(id.slice(0, 13), 16),
    origin: issuer.startsWith('operator:') ? 'ringwall-operator' : 'ringwall-node',
    scope: subject.kind === 'ip' ? 'Ip' : 'Range',
    value: subject.value,
    scenario: reason,
    expiresAtMs,
  }
}

/** As Go writes durations, to the second: `1h0m5s`, `-3s`. */
export function goDuration(ms: number): string {
  const all = Math.round(Math.abs(ms) / 1_000)
  const [hours, minutes, seconds] = [Math.floor(all / 3_600), Math.floor(all / 60) % 60, all % 60]
  const text = `${hours > 0 ? `${hours}h` : ''}${all >= 60 ? `${minutes}m` : ''}${seconds}s`
  return ms < 0 && all > 0 ? `-${text}` : text
}

/** The JSON of a decision in CrowdSec's local API (`Decision` of its OpenAPI document). */
export function decisionJson({ id, origin, scope, value, scenario, expiresAtMs }: BouncerDecision, nowMs: number): string {
  return JSON.stringify({ duration: goDuration(expiresAtMs - nowMs), id, origin, scenario, scope, type: 'ban', value })
}
