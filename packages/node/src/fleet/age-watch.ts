/**
 * Follows how old this node may become (`fleet.maxAge`). It drains before its end (`HoldWatch`); at its end it takes no more traffic, by its own clock: that
 * needs no block, and so it holds for a node that is cut off, too. The ring goes by the times of blocks, and by what it knows itself.
 */
import { AGED_REASON, ageOf, type FleetPolicy, type NodeAge, nodeSubject, type RingState } from '@ringwall/ring'
import { subjectId } from '@ringwall/ring/tx'
import type { EventLog } from '../events.ts'
import type { Credential } from '../expiry-watch.ts'

const FIX = 'set it up anew: a device that joins again is another node, of age 0; or ringwall node rm, and add another'

export interface AgeWatchOptions {
  readonly self: string
  readonly ring: string
  readonly state: () => RingState
  readonly policy: () => Pick<FleetPolicy, 'maxAge'>
  /** Takes no more traffic from then on. */
  readonly end: () => void
  readonly events: Pick<EventLog, 'add'>
}

export class AgeWatch {
  readonly #options: AgeWatchOptions
  #isEnded = false

  constructor(options: AgeWatchOptions) {
    this.#options = options
  }

  /** Undefined: it may become as old as it likes, or the ring does not have it. */
  get age(): NodeAge | undefined {
    const { self, state, policy } = this.#options
    return ageOf(state(), policy(), self)
  }

  /** Why it is to take no more traffic; undefined: not for its age. */
  why(nowMs: number): string | undefined {
    const { self, ring, state } = this.#options
    const denial = state().denials.find(subjectId(nodeSubject(ring, self)), nowMs)
    if (denial?.reason === AGED_REASON) return `NODE_AGED: the ring has let it go, since its age is over; ${FIX}`
    const { age } = this
    if (age === undefined || age.rule.end !== 'out' || age.endsAtMs > nowMs) return undefined
    return `NODE_AGED: its age is over since ${new Date(age.endsAtMs).toISOString().slice(0, 19)}Z (fleet.maxAge); ${FIX}`
  }

  /** After each block, and every so often. */
  look(nowMs: number): void {
    if (this.#isEnded) return
    const why = this.why(nowMs)
    if (why === undefined) return
    this.#isEnded = true
    this.#options.events.add('node', 'bad', `it takes no more traffic: ${why}`)
    this.#options.end()
  }

  /** For the watch over what ends. */
  credentials(): readonly Credential[] {
    const { age } = this
    if (age === undefined) return []
    return [
      { what: 'the age of this node (fleet.maxAge)', notAfterMs: age.endsAtMs, lifeMs: age.endsAtMs - age.sinceMs, fix: FIX },
    ]
  }
}

/** Tells of those that a block let go for their age. @returns Their ids. */
export function showAged(
  before: RingState,
  now: RingState,
  ring: string,
  nowMs: number,
  events: Pick<EventLog, 'add'>,
): readonly string[] {
  if (before.nodes === now.nodes) return []
  const gone = before.nodes.filter(({ id }) => now.node(id) === undefined)
  const aged = gone.filter(({ id }) => now.denials.find(subjectId(nodeSubject(ring, id)), nowMs)?.reason === AGED_REASON)
  for (const { id } of aged) events.add('node', 'warn', `${id} is out: NODE_AGED: its age is over (fleet.maxAge)`)
  return aged.map(({ id }) => id)
}
