/**
 * Collections that nobody writes: what the ring denies, and sets of indicators that this node shares, as STIX 2.1 indicators. They follow
 * their source: what is new or changed is added as a version, what went before its time is revoked. Ids follow from the ring and what an
 * indicator is about, so that all nodes name the same thing alike.
 */
import { type IndicatorParts, indicatorsOf } from '@ringwall/detect'
import { type Denial, formatPrefix, parsePrefix } from '@ringwall/ring'
import { formatMoment, uuidOf } from './protocol.ts'
import { ObjectShelf } from './shelf.ts'

/** Of a shelf; a source with more is not shared. */
export const DERIVED_MAX = 100_000
/** Of what was taken back, so many are told. */
const REVOKED_MAX = 10_000
/** Operators' words are taken for certain; nodes' may be mistaken. */
const CONFIDENCE = { operator: 95, node: 75 } as const

export interface Derived {
  /** A prefix, written as an address where it is one. */
  readonly value: string
  readonly name: string
  readonly confidence: number
  readonly fromMs: number | undefined
  /** Unix milliseconds; Infinity for never. */
  readonly untilMs: number
}

interface Held {
  readonly id: string
  readonly mark: string
  readonly createdMs: number
  readonly derived: Derived
  round: number
}

export class DerivedShelf {
  readonly shelf = new ObjectShelf()
  readonly #ring: string
  readonly #collection: string
  readonly #held = new Map<string, Held>()
  /** Ids, in the order in which they were taken back. */
  readonly #revoked = new Set<string>()
  #round = 0

  constructor(ring: string, collection: string, nowMs: number) {
    this.#ring = ring
    this.#collection = collection
    this.#put(identityOf(ring, nowMs), nowMs)
  }

  /** @param all Each value once. @returns False, and nothing is changed, when there are too many. */
  follow(all: Iterable<Derived>, nowMs: number): boolean {
    this.#round += 1
    const fresh: { readonly derived: Derived; readonly before: Held | undefined }[] = []
    let count = 0
    for (const derived of all) {
      if (derived.untilMs <= nowMs) continue
      count += 1
      if (count > DERIVED_MAX) return false
      const before = this.#held.get(derived.value)
      if (before !== undefined) before.round = this.#round
      if (before?.mark !== markOf(derived)) fresh.push({ derived, before })
    }
    const objects = fresh.map(({ derived, before }) => this.#told(derived, before, nowMs))
    const gone = new Set<string>()
    for (const [value, held] of this.#held) {
      if (held.round === this.#round) continue
      this.#held.delete(value)
      // What ended by itself everybody knows of: `valid_until` said so.
      if (held.derived.untilMs <= nowMs) gone.add(held.id)
      else {
        this.#revoked.add(held.id)
        objects.push(indicatorJson(this.#ring, held, Math.max(nowMs, held.createdMs + 1), true))
      }
    }
    for (const id of this.#revoked) {
      if (this.#revoked.size <= REVOKED_MAX) break
      this.#revoked.delete(id)
      gone.add(id)
    }
    // One version of each is kept: the source has no others.
    const replaced = new Set(objects.map(({ id }) => id))
    if (replaced.size + gone.size > 0) this.shelf.remove(({ id }) => replaced.has(id) || gone.has(id))
    for (const object of objects) if (!gone.has(object.id)) this.#put(object, nowMs)
    return true
  }

  #told(derived: Derived, before: Held | undefined, nowMs: number): StixJson {
    const id = before?.id ?? `indicator--${uuidOf(this.#ring, this.#collection, derived.value)}`
    const createdMs = before?.createdMs ?? derived.fromMs ?? nowMs
    this.#revoked.delete(id)
    const held = { id, createdMs, derived, mark: markOf(derived), round: this.#round }
    this.#held.set(derived.value, held)
    return indicatorJson(this.#ring, held, Math.max(nowMs, createdMs), false)
  }

  #put(object: StixJson, nowMs: number): void {
    const added = this.shelf.nextAdded(nowMs)
    const { id, type, modified } = object
    const version = Date.parse(modified) * 1_000
    this.shelf.add({ id, type, specVersion: '2.1', version, versionText: modified, added, text: JSON.stringify(object) })
  }
}

interface StixJson {
  readonly type: string
  readonly id: string
  readonly modified: string
}

const markOf = ({ name, confidence, untilMs }: Derived): string => `${confidence} ${untilMs} ${name}`
const iso = (ms: number): string => new Date(ms).toISOString()

function identityOf(ring: string, nowMs: number): StixJson & Readonly<Record<string, unknown>> {
  const atMs = iso(nowMs)
  return {
    type: 'identity',
    spec_version: '2.1',
    id: `identity--${uuidOf(ring)}`,
    created: atMs,
    modified: atMs,
    name: `Ringwall ring ${ring.slice(0, 12)}`,
    identity_class: 'system',
  }
}

function indicatorJson(
  ring: string,
  { id, createdMs, derived: { value, name, confidence, fromMs, untilMs } }: Held,
  modifiedMs: number,
  isRevoked: boolean,
): StixJson & Readonly<Record<string, unknown>> {
  const path = value.includes(':') ? 'ipv6-addr:value' : 'ipv4-addr:value'
  const fromText = iso(fromMs ?? createdMs)
  return {
    type: 'indicator',
    spec_version: '2.1',
    id,
    created_by_ref: `identity--${uuidOf(ring)}`,
    created: iso(createdMs),
    modified: iso(modifiedMs),
    name: name === '' ? value : name,
    indicator_types: ['malicious-activity'],
    pattern: `[${path} = '${value}']`,
    pattern_type: 'stix',
    valid_from: fromText,
    confidence,
    ...(Number.isFinite(untilMs) ? { valid_until: formatMoment(Math.max(untilMs, (fromMs ?? createdMs) + 1) * 1_000) } : {}),
    ...(isRevoked ? { revoked: true } : {}),
  }
}

/** Of addresses and prefixes; others are nothing that an indicator could say. */
export function* derivedOfDenials(denials: Iterable<Denial>): Generator<Derived> {
  for (const { subject, reason, issuer, issuedAtMs, expiresAtMs } of denials) {
    if (subject.kind !== 'ip' && subject.kind !== 'cidr') continue
    const confidence = issuer.startsWith('operator:') ? CONFIDENCE.operator : CONFIDENCE.node
    yield { value: subject.value, name: reason, confidence, fromMs: issuedAtMs, untilMs: expiresAtMs }
  }
}

export function* derivedOfSet(parts: IndicatorParts): Generator<Derived> {
  for (const { prefix, confidence, expiresAtMs, label } of indicatorsOf(parts)) {
    const text = formatPrefix({ version: prefix.version, words: Array.from(prefix.words), length: prefix.length })
    const value = prefix.length === prefix.words.length * 32 ? text.slice(0, text.indexOf('/')) : text
    if (parsePrefix(value) !== undefined) yield { value, name: label, confidence, fromMs: undefined, untilMs: expiresAtMs }
  }
}
