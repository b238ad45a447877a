/**
 * All findings that a node knows of, its own and those that others told: a set in which, of two versions of one finding, the one that was drawn more
 * often stands. Joining is associative, commutative and idempotent within the bounds. A node speaks in its own name alone.
 *
 * Bounded: of each node the findings that ended last, and none older than `keepMs`. Pure: time is an argument.
 */
import { type FindingRecord, findingId, REASON_CHARS_MAX, readFinding, SOURCES_MAX, TECHNIQUES_MAX } from './finding.ts'

const PER_NODE_MAX = 1_000
const NODES_MAX = 128
/** The same about the same, so soon after: it is one finding that goes on. */
const AGAIN_MS = 24 * 3_600_000
const TOLD_MAX = 100
const AHEAD_MS = 120_000
const BYTES_MAX = 1_048_576
/** The first byte of what is told: no JSON begins with it, nor any other summary. */
export const FINDINGS_VERSION = 3

export interface FindingsOptions {
  readonly self: string
  readonly keepMs: number
  readonly perNodeMax?: number
}

export type NewFinding = Omit<FindingRecord, 'node' | 'firstMs' | 'lastMs' | 'times'> & { readonly atMs: number }

export class Findings {
  readonly #options: FindingsOptions
  /** By node, then by id. */
  readonly #byNode = new Map<string, Map<string, FindingRecord>>()
  /** Of this node: the id of the latest by detector and subject. */
  readonly #latest = new Map<string, string>()
  readonly #untold = new Set<string>()
  #retold = 0
  /** Counts changes. */
  changes = 0
  /** Findings let go to stay within the bound. */
  dropped = 0

  constructor(options: FindingsOptions) {
    this.#options = options
  }

  /** What this node found. */
  add({ atMs, ...given }: NewFinding): FindingRecord {
    const { self } = this.#options
    const finding = {
      ...given,
      attack: given.attack.slice(0, TECHNIQUES_MAX),
      sources: given.sources.slice(0, SOURCES_MAX),
      reason: given.reason.slice(0, REASON_CHARS_MAX),
    }
    const key = [finding.detector, finding.subject.kind, finding.subject.value].join(' ')
    const before = this.#byNode.get(self)?.get(this.#latest.get(key) ?? '')
    const isAgain = before !== undefined && atMs - before.lastMs <= AGAIN_MS
    const record: FindingRecord = isAgain
      ? {
          ...before,
          ...finding,
          sources: [...new Set([...finding.sources, ...before.sources])].slice(0, SOURCES_MAX),
          denied: before.denied || finding.denied,
          node: self,
          lastMs: Math.max(before.lastMs, atMs),
          times: before.times + 1,
        }
      : { ...finding, node: self, firstMs: atMs, lastMs: atMs, times: 1 }
    const id = findingId(record)
    this.#latest.delete(key)
    this.#latest.set(key, id)
    if (this.#latest.size > this.#perNodeMax) this.#latest.delete(this.#latest.keys().next().value as string)
    this.#take(record)
    this.#untold.add(id)
    return record
  }

  get #perNodeMax(): number {
    return this.#options.perNodeMax ?? PER_NODE_MAX
  }

  /** Whether it was news. */
  #take(record: FindingRecord): boolean {
    let known = this.#byNode.get(record.node)
    if (known === undefined) {
      if (this.#byNode.size >= NODES_MAX) return false
      known = new Map()
      this.#byNode.set(record.node, known)
    }
    const id = findingId(record)
    const before = known.get(id)
    if (before !== undefined && before.times >= record.times) return false
    known.delete(id)
    known.set(id, record)
    this.changes += 1
    if (known.size > this.#perNodeMax) {
      // The one that ended longest ago, whatever the order in which they came.
      const [oldest] = [...known].reduce((a, b) => (b[1].lastMs < a[1].lastMs ? b : a))
      known.delete(oldest)
      this.#untold.delete(oldest)
      this.dropped += 1
    }
    return true
  }

  /** What changed here, and some of the rest again: what gets lost is told later. Undefined: nothing. */
  summary(): Uint8Array | undefined {
    const own = this.#byNode.get(this.#options.self)
    if (own === undefined) return undefined
    const told: FindingRecord[] = []
    for (const id of this.#untold) {
      if (told.length >= TOLD_MAX) break
      this.#untold.delete(id)
      const record = own.get(id)
      if (record !== undefined) told.push(record)
    }
    if (told.length === 0) {
      const all = [...own.values()]
      this.#retold = this.#retold >= all.length ? 0 : this.#retold
      told.push(...all.slice(this.#retold, this.#retold + TOLD_MAX))
      this.#retold += TOLD_MAX
    }
    return told.length === 0 ? undefined : encodeFindings(told)
  }

  /** What another node found. What is in another's name, malformed, or of a time that cannot be, is passed over. @returns What is news. */
  merge(node: string, payload: Uint8Array, nowMs: number): readonly FindingRecord[] {
    if (node === this.#options.self) return []
    return decodeFindings(payload).filter(
      (record) =>
        record.node === node &&
        record.lastMs <= nowMs + AHEAD_MS &&
        record.lastMs >= nowMs - this.#options.keepMs &&
        this.#take(record),
    )
  }

  /** In order of their beginning; of those that began together by id, so that it is the same everywhere. */
  all(): readonly FindingRecord[] {
    return [...this.#byNode.values()]
      .flatMap((known) => [...known])
      .sort(([a, { firstMs: aMs }], [b, { firstMs: bMs }]) => aMs - bMs || (a < b ? -1 : 1))
      .map(([, record]) => record)
  }

  expire(nowMs: number): void {
    for (const known of this.#byNode.values()) {
      for (const [id, { lastMs }] of known) {
        if (lastMs >= nowMs - this.#options.keepMs) continue
        known.delete(id)
        this.changes += 1
      }
    }
  }

  /** All, to be kept while the node is away. */
  memory(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify(this.all()))
  }

  /** What `memory` gave before; what cannot be read is passed over. */
  restore(bytes: Uint8Array): void {
    for (const record of readAll(bytes)) {
      if (!this.#take(record) || record.node !== this.#options.self) continue
      this.#latest.set([record.detector, record.subject.kind, record.subject.value].join(' '), findingId(record))
    }
  }
}

export function encodeFindings(findings: readonly FindingRecord[]): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(findings))
  const bytes = new Uint8Array(json.length + 1)
  bytes[0] = FINDINGS_VERSION
  bytes.set(json, 1)
  return bytes
}

/** Empty for anything that is none. */
export function decodeFindings(bytes: Uint8Array): readonly FindingRecord[] {
  if (bytes.length > BYTES_MAX || bytes[0] !== FINDINGS_VERSION) return []
  return readAll(bytes.subarray(1)).slice(0, TOLD_MAX)
}

function readAll(bytes: Uint8Array): readonly FindingRecord[] {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return Array.isArray(value) ? value.flatMap((one) => readFinding(one) ?? []) : []
  } catch {
    return []
  }
}
