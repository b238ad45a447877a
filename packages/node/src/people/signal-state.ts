/**
 * What nodes know together of streams of security events besides the policy and the ledger: whether a stream is paused, whom it is of, what its receiver
 * has acknowledged. Merges in any order, the later word standing; each part has a bound. Pure: time is an argument.
 */
import { MintRequestInvalid, parseSignalFact, type SignalFact } from '@ringwall/identity'
import { z } from 'zod'

export type StreamStatus = 'enabled' | 'paused' | 'disabled'

export const SUBJECTS_MAX = 200
const STREAMS_MAX = 64
const ACKS_MAX = 5_000
const CHANGES_MAX = 200
const TOLD_ACKS_MAX = 300
const AHEAD_MS_MAX = 60_000
/** No fact is older. */
export const FACT_MS_MAX = 86_400_000

const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
const Moment = z.int().min(0)
const Sub = z.string().regex(/^person:[\x21-\x7e]{1,100}$/)

const Summary = z.strictObject({
  stream: Name.nullable(),
  status: z.strictObject({ status: z.enum(['enabled', 'paused', 'disabled']), atMs: Moment }).nullable(),
  subjects: z.array(z.tuple([Sub, z.boolean(), Moment])).max(SUBJECTS_MAX),
  verification: z.unknown(),
  acks: z.array(z.tuple([z.string().regex(/^[0-9a-f]{32}$/), Moment])).max(ACKS_MAX),
  changes: z.array(z.unknown()).max(CHANGES_MAX),
})
export type StreamSummary = z.output<typeof Summary>

interface Stream {
  status: { readonly status: StreamStatus; readonly atMs: number } | undefined
  /** Added or removed by the receiver. */
  readonly subjects: Map<string, { readonly isTold: boolean; readonly atMs: number }>
  verification: Extract<SignalFact, { kind: 'verification' }> | undefined
  /** By id, in the order in which they came. */
  readonly acks: Map<string, number>
}

export class SignalState {
  readonly #streams = new Map<string, Stream>()
  /** By what they say. */
  readonly #changes = new Map<string, Extract<SignalFact, { kind: 'credentials' }>>()
  /** Grows with every change. */
  version = 0

  #stream(name: string): Stream {
    const held = this.#streams.get(name)
    if (held !== undefined) return held
    const fresh: Stream = { status: undefined, subjects: new Map(), verification: undefined, acks: new Map() }
    this.#streams.set(name, fresh)
    if (this.#streams.size > STREAMS_MAX) this.#streams.delete(this.#streams.keys().next().value as string)
    return fresh
  }

  status(name: string): StreamStatus {
    return this.#streams.get(name)?.status?.status ?? 'enabled'
  }

  verification(name: string): SignalFact | undefined {
    return this.#streams.get(name)?.verification
  }

  isAcknowledged(name: string, id: string): boolean {
    return this.#streams.get(name)?.acks.has(id) === true
  }

  /** Undefined: the receiver has said nothing of it. */
  isTold(name: string, sub: string): boolean | undefined {
    return this.#streams.get(name)?.subjects.get(sub)?.isTold
  }

  changes(): readonly Extract<SignalFact, { kind: 'credentials' }>[] {
    return [...this.#changes.values()]
  }

  setStatus(name: string, status: StreamStatus, atMs: number): void {
    const stream = this.#stream(name)
    if (stream.status !== undefined && stream.status.atMs >= atMs) return
    stream.status = { status, atMs }
    this.version += 1
  }

  /** @returns False when there is no room for it. */
  setSubject(name: string, sub: string, isTold: boolean, atMs: number): boolean {
    const { subjects } = this.#stream(name)
    const before = subjects.get(sub)
    if (before === undefined && subjects.size >= SUBJECTS_MAX) return false
    if (before !== undefined && before.atMs >= atMs) return true
    subjects.set(sub, { isTold, atMs })
    this.version += 1
    return true
  }

  verify(name: string, fact: Extract<SignalFact, { kind: 'verification' }>): void {
    const stream = this.#stream(name)
    if (stream.verification !== undefined && stream.verification.atMs >= fact.atMs) return
    stream.verification = fact
    this.version += 1
  }

  acknowledge(name: string, id: string, atMs: number): void {
    const { acks } = this.#stream(name)
    if (acks.has(id)) return
    acks.set(id, atMs)
    if (acks.size > ACKS_MAX) acks.delete(acks.keys().next().value as string)
    this.version += 1
  }

  change(fact: Extract<SignalFact, { kind: 'credentials' }>): void {
    const key = JSON.stringify([fact.person, fact.credential, fact.change, fact.atMs])
    if (this.#changes.has(key)) return
    this.#changes.set(key, fact)
    if (this.#changes.size > CHANGES_MAX) this.#changes.delete(this.#changes.keys().next().value as string)
    this.version += 1
  }

  expire(nowMs: number): void {
    for (const [key, { atMs }] of this.#changes) if (atMs < nowMs - FACT_MS_MAX) this.#changes.delete(key)
    for (const stream of this.#streams.values())
      if (stream.verification !== undefined && stream.verification.atMs < nowMs - FACT_MS_MAX) stream.verification = undefined
  }

  /** @param isWhole All that is acknowledged, and not only the last. */
  summaries(isWhole: boolean): readonly StreamSummary[] {
    const changes: StreamSummary = {
      stream: null,
      status: null,
      subjects: [],
      verification: null,
      acks: [],
      changes: this.changes() as unknown[],
    }
    const streams = [...this.#streams].map(([stream, { status, subjects, verification, acks }]) => ({
      stream,
      status: status ?? null,
      subjects: [...subjects].map(([sub, { isTold, atMs }]) => [sub, isTold, atMs] as [string, boolean, number]),
      verification: verification ?? null,
      acks: [...acks].slice(isWhole ? 0 : -TOLD_ACKS_MAX),
      changes: [],
    }))
    return [...streams, ...(this.#changes.size === 0 ? [] : [changes])]
  }

  /** What another node, or a file, says. @returns False for what is none. */
  merge(value: unknown, nowMs: number): boolean {
    const parsed = Summary.safeParse(value)
    if (!parsed.success) return false
    const { stream: name, status, subjects, verification, acks, changes } = parsed.data
    const isKnown = (atMs: number): boolean => atMs <= nowMs + AHEAD_MS_MAX
    try {
      for (const one of changes) {
        const fact = parseSignalFact(one)
        if (fact.kind === 'credentials' && isKnown(fact.atMs) && fact.atMs >= nowMs - FACT_MS_MAX) this.change(fact)
      }
      if (name === null) return true
      const fact = verification === null || verification === undefined ? undefined : parseSignalFact(verification)
      if (fact?.kind === 'verification' && isKnown(fact.atMs)) this.verify(name, fact)
    } catch (error) {
      if (error instanceof MintRequestInvalid) return false
      throw error
    }
    if (status !== null && isKnown(status.atMs)) this.setStatus(name, status.status, status.atMs)
    for (const [sub, isTold, atMs] of subjects) if (isKnown(atMs)) this.setSubject(name, sub, isTold, atMs)
    for (const [id, atMs] of acks) this.acknowledge(name, id, Math.min(atMs, nowMs))
    return true
  }
}
