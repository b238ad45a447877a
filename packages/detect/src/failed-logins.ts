/**
 * Failed logins for one account or from one source, counted over all nodes (MITRE ATT&CK T1110, brute force): each node
 * counts its own, tells its counts to the others, and judges the sum, in which another node’s counts weigh at most as much as
 * its own: whoever was attacked nowhere but in a liar’s tale is found by nobody. A finding comes once for a key, and again
 * only after `rearmMs`, when the denial it led to is over.
 */
import { Counts, decodeCells, encodeCells, KEY_CHARS_MAX, SUMMARY_KEYS_MAX } from './counts.ts'
import type { FailedLogin, FailedLoginLimits, Finding } from './types.ts'

const BUCKETS = 30
const KEYS_MAX = 50_000
const SUMMARY_BYTES_MAX = 1_048_576
const FIRED_MAX = 100_000

export interface FailedLoginsOptions {
  /** This node's id. */
  readonly self: string
  readonly limits: FailedLoginLimits
  readonly rearmMs: number
}

/** A key as it travels: a JSON array, so that no value can pose as another. */
type Subject = readonly ['ip', string] | readonly ['account', string, string]

export class FailedLogins {
  readonly #self: string
  readonly #limits: FailedLoginLimits
  readonly #rearmMs: number
  readonly #counts: Counts
  /** Keys whose counts changed since they were told. */
  readonly #untold = new Set<string>()
  readonly #firedAtMs = new Map<string, number>()

  constructor({ self, limits, rearmMs }: FailedLoginsOptions) {
    this.#self = self
    this.#limits = limits
    this.#rearmMs = rearmMs
    this.#counts = new Counts({ windowMs: limits.windowMs, buckets: BUCKETS, keysMax: KEYS_MAX })
  }

  /** Keys forgotten to stay within the bound. */
  get evicted(): number {
    return this.#counts.evicted
  }

  /** One failed login, seen here. */
  observe(event: FailedLogin): readonly Finding[] {
    const subjects: Subject[] = [['ip', event.source]]
    if (event.account !== undefined) subjects.push(['account', event.service, event.account])
    const keys = subjects.map((subject) => JSON.stringify(subject)).filter((key) => key.length <= KEY_CHARS_MAX)
    for (const key of keys) {
      this.#counts.add(this.#self, key, event.atMs)
      this.#untold.add(key)
    }
    return keys.flatMap((key) => this.#judge(key, event.atMs))
  }

  /** This node's own counts that changed since the last summary; undefined when none did. */
  summary(): Uint8Array | undefined {
    if (this.#untold.size === 0) return undefined
    const keys = [...this.#untold].slice(0, SUMMARY_KEYS_MAX)
    for (const key of keys) this.#untold.delete(key)
    return encodeCells(this.#counts.cells(this.#self, keys))
  }

  /**
   * Takes in what another node counted. Counts in its name only.
   *
   * @throws {SummaryMalformed}
   */
  merge(node: string, summary: Uint8Array, nowMs: number): readonly Finding[] {
    const cells = decodeCells(summary, SUMMARY_BYTES_MAX, BUCKETS + 2)
    if (node === this.#self) return []
    const changed: string[] = []
    for (const [key, buckets] of cells) {
      if (parseSubject(key) === undefined) continue
      let news = false
      for (const [bucket, count] of buckets) {
        if (this.#counts.inWindow(bucket, nowMs) && this.#counts.raise(node, key, bucket, count)) news = true
      }
      if (news) changed.push(key)
    }
    return changed.flatMap((key) => this.#judge(key, nowMs))
  }

  /** Forgets what is older than the window. Call it every now and then. */
  expire(nowMs: number): void {
    this.#counts.expire(nowMs)
    for (const [key, at] of this.#firedAtMs) if (nowMs - at >= this.#rearmMs) this.#firedAtMs.delete(key)
  }

  #judge(key: string, nowMs: number): readonly Finding[] {
    const subject = parseSubject(key) as Subject
    const limit = subject[0] === 'ip' ? this.#limits.perSource : this.#limits.perAccount
    const { count, nodes } = this.#counts.total(key, nowMs, this.#self)
    const firedAtMs = this.#firedAtMs.get(key)
    if (count < limit || (firedAtMs !== undefined && nowMs - firedAtMs < this.#rearmMs)) return []
    if (this.#firedAtMs.size >= FIRED_MAX) this.#firedAtMs.delete(this.#firedAtMs.keys().next().value as string)
    this.#firedAtMs.set(key, nowMs)
    const minutes = Math.max(1, Math.round(this.#limits.windowMs / 60_000))
    const where = nodes === 1 ? 'on 1 node' : `on ${nodes} nodes`
    const reason = `${count} failed logins ${subject[0] === 'ip' ? 'from this source' : 'for this account'} in ${minutes} min, seen ${where}`
    const named =
      subject[0] === 'ip'
        ? ({ kind: 'ip', value: subject[1] } as const)
        : ({ kind: 'account', service: subject[1], value: subject[2] } as const)
    return [{ kind: 'failed-logins', subject: named, count, nodes, reason }]
  }
}

function parseSubject(key: string): Subject | undefined {
  let value: unknown
  try {
    value = JSON.parse(key)
  } catch {
    return undefined
  }
  if (!Array.isArray(value) || !value.every((part) => typeof part === 'string')) return undefined
  if (value[0] === 'ip' && value.length === 2) return value as unknown as Subject
  return value[0] === 'account' && value.length === 3 ? (value as unknown as Subject) : undefined
}
