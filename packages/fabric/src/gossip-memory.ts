/** Which payloads went around already, and who sends bad ones. Bounded. */
import { createHash } from 'node:crypto'
import type { NodeId } from './types.ts'

const SEEN_MAX = 20_000
const BAD_PER_MINUTE_MAX = 60
const MUTED_MS = 60_000

export class GossipMemory {
  readonly #seen = new Set<string>()
  readonly #bad = new Map<NodeId, { count: number; sinceMs: number; mutedUntilMs: number }>()

  /** False when it was seen before. */
  isNews(payload: Uint8Array): boolean {
    const name = createHash('sha256').update(payload).digest('base64')
    if (this.#seen.has(name)) return false
    this.#seen.add(name)
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value as string)
    return true
  }

  isMuted(from: NodeId, atMs: number): boolean {
    return atMs < (this.#bad.get(from)?.mutedUntilMs ?? 0)
  }

  /** Counts a bad payload. True when the sender is muted from now on. */
  bad(from: NodeId, atMs: number): boolean {
    let record = this.#bad.get(from)
    if (record === undefined || atMs - record.sinceMs > 60_000) {
      record = { count: 0, sinceMs: atMs, mutedUntilMs: record?.mutedUntilMs ?? 0 }
      this.#bad.set(from, record)
    }
    record.count += 1
    if (record.count !== BAD_PER_MINUTE_MAX) return false
    record.mutedUntilMs = atMs + MUTED_MS
    return true
  }
}
