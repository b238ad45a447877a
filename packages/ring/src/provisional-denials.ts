/**
 * Denials that arrived by gossip and are enforced ahead of consensus. Each lapses after a few seconds unless a block
 * confirms it. A statement counts once: told again after it lapsed or was confirmed, it does nothing, so that a liar
 * cannot keep a refused denial alive by repeating it.
 *
 * Who calls `add` has checked the signature and the issuer's authority.
 */
import { type Credential, joinSubjects } from './credential.ts'
import { DenialTable } from './denial-index.ts'
import type { Denial, DenialIndex, DenialSubject } from './types.ts'

const LAPSE_MS = 10_000
/** A statement is told at most this long: transactions live 10 minutes, and clocks differ a little. */
const MEMORY_MS = 11 * 60_000

interface Held {
  readonly subject: DenialSubject
  readonly issuer: string
  readonly issuedAtMs: number
  readonly lapsesAtMs: number
  readonly forgottenAtMs: number
}

export class ProvisionalDenials implements DenialIndex {
  readonly #entriesMax: number
  readonly #perIssuerMax: number
  /** In force or lapsed, by denial id; oldest first. */
  readonly #held = new Map<string, Held>()
  /** Statements already confirmed, by denial id: when issued, and until when that matters. */
  readonly #confirmed = new Map<string, { readonly issuedAtMs: number; readonly forgottenAtMs: number }>()
  readonly #byIssuer = new Map<string, number>()
  #table = DenialTable.empty

  constructor(bounds: { readonly entriesMax?: number; readonly perIssuerMax?: number } = {}) {
    this.#entriesMax = bounds.entriesMax ?? 10_000
    this.#perIssuerMax = bounds.perIssuerMax ?? 1_000
  }

  /** Denials in force or not yet swept by `expire`. */
  get size(): number {
    return this.#table.size
  }

  /**
   * Enforces a denial from now on. `expiresAtMs` of what lookups return is when it lapses.
   *
   * @returns false when it is no news, already over, or a bound is reached: the issuer's share or the whole.
   */
  add(denial: Denial, nowMs: number, lapseMs: number = LAPSE_MS): boolean {
    if (denial.expiresAtMs <= nowMs) return false
    const before = this.#held.get(denial.id)
    if (before !== undefined && denial.issuedAtMs <= before.issuedAtMs) return false
    const confirmed = this.#confirmed.get(denial.id)
    if (confirmed !== undefined && denial.issuedAtMs <= confirmed.issuedAtMs) return false
    if (before === undefined && this.#held.size >= this.#entriesMax) this.expire(nowMs)
    if (before === undefined && this.#held.size >= this.#entriesMax) return false
    const own = this.#byIssuer.get(denial.issuer) ?? 0
    if (before?.issuer !== denial.issuer && own >= this.#perIssuerMax) return false
    if (before !== undefined) this.#forget(denial.id, before)
    const lapsesAtMs = Math.min(denial.expiresAtMs, nowMs + lapseMs)
    const { issuer, issuedAtMs } = denial
    // Said again with an earlier moment: what the later one covers stays covered.
    const subject = before === undefined ? denial.subject : joinSubjects(denial.subject, before.subject)
    this.#held.set(denial.id, { subject, issuer, issuedAtMs, lapsesAtMs, forgottenAtMs: nowMs + MEMORY_MS })
    this.#byIssuer.set(issuer, (this.#byIssuer.get(issuer) ?? 0) + 1)
    this.#table = this.#table.with({ ...denial, subject, height: undefined, expiresAtMs: lapsesAtMs })
    return true
  }

  /**
   * The denial is in a certified view now, or was removed by one.
   *
   * @param certified As it is in the view. What is held stays where it covers more.
   * @returns Whether nothing is held of it any more.
   */
  confirm(id: string, certified?: DenialSubject): boolean {
    const held = this.#held.get(id)
    if (held === undefined) return true
    if (certified !== undefined && joinSubjects(certified, held.subject) !== certified) return false
    this.#forget(id, held)
    this.#table = this.#table.without(held.subject, id)
    this.#confirmed.delete(id)
    this.#confirmed.set(id, held)
    if (this.#confirmed.size > this.#entriesMax) this.#confirmed.delete(this.#confirmed.keys().next().value!)
    return true
  }

  /** Sweeps what has lapsed. Call about once a second; lookups heed the time anyway. @returns how many lapsed now. */
  expire(nowMs: number): number {
    let lapsed = 0
    for (const [id, held] of this.#held) {
      if (held.lapsesAtMs <= nowMs) {
        const table = this.#table.without(held.subject, id)
        if (table.size !== this.#table.size) lapsed += 1
        this.#table = table
      }
      if (held.forgottenAtMs <= nowMs) this.#forget(id, held)
    }
    for (const [id, { forgottenAtMs }] of this.#confirmed) if (forgottenAtMs <= nowMs) this.#confirmed.delete(id)
    return lapsed
  }

  #forget(id: string, { issuer }: Held): void {
    this.#held.delete(id)
    const left = (this.#byIssuer.get(issuer) ?? 1) - 1
    if (left === 0) this.#byIssuer.delete(issuer)
    else this.#byIssuer.set(issuer, left)
  }

  matchAddress(address: string, nowMs: number): Denial | undefined {
    return this.#table.matchAddress(address, nowMs)
  }

  matchCredential(credential: Credential, nowMs: number): Denial | undefined {
    return this.#table.matchCredential(credential, nowMs)
  }

  matchAccount(service: string, key: string, nowMs: number): Denial | undefined {
    return this.#table.matchAccount(service, key, nowMs)
  }

  find(id: string, nowMs: number): Denial | undefined {
    return this.#table.find(id, nowMs)
  }

  list(nowMs: number): readonly Denial[] {
    return this.#table.list(nowMs)
  }
}
