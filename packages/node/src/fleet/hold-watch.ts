/**
 * Follows what operators, or its age, hold this node from. Cordoned, it takes no new work of the ring: no steps of playbooks, no users of databases, no shards of new
 * objects, no update. Drained, its clients go elsewhere as well: `/readyz` is 503, and connections end with the answer under way. Its links stay, and a
 * validator votes on.
 */
import { type FleetPolicy, type Hold, heldOf, type RingState } from '@ringwall/ring'
import type { EventLog } from '../events.ts'

export interface HoldWatchOptions {
  readonly self: string
  readonly state: () => RingState
  readonly policy: () => Pick<FleetPolicy, 'maxAge'>
  readonly drain: (isDrained: boolean) => void
  readonly events: Pick<EventLog, 'add'>
}

export class HoldWatch {
  readonly #options: HoldWatchOptions
  #kind: Hold['kind'] | undefined

  constructor(options: HoldWatchOptions) {
    this.#options = options
  }

  /** What holds now; it ends by itself. */
  get hold(): Hold | undefined {
    const { self, state, policy } = this.#options
    return heldOf(state(), policy(), self, Date.now())
  }

  /** After each block, and every so often, since holds end with time. */
  look(): void {
    const { events, drain } = this.#options
    const { hold } = this
    if (hold?.kind === this.#kind) return
    if ((hold?.kind === 'drain') !== (this.#kind === 'drain')) drain(hold?.kind === 'drain')
    this.#kind = hold?.kind
    if (hold === undefined) events.add('node', 'info', 'it is held from nothing any more')
    else events.add('node', 'warn', `${hold.kind === 'drain' ? 'drained' : 'cordoned'} by ${hold.by}: ${hold.reason}`)
  }
}
