/**
 * Does the steps of playbooks that reach outside. All nodes look at the same runs; for each attempt they have an order of their own, and one that comes too
 * late sees that somebody else has the claim. A node does a step only once it sees its own claim in the ledger, and only for as long as that lasts; what it did
 * before it was restarted it does not do again under the same claim. If it dies between doing and saying so, the next node does it again, under the same key: a receiver that
 * knows keys takes it once, and of one that does not no protocol could promise it.
 */
import { isOutside, type Play, type PlaybookStep, type Policy, stepOf } from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'

/** Between the turns of two nodes, unless there are so many that the last would come too late. */
const TURN_MS = 1_000
const TURNS_MS_MAX = 3_000
const UNDER_WAY_MAX = 64
/** Left of a claim when a step begins. */
const CLAIM_LEFT_MS_MIN = 1_000

export interface StepTask {
  readonly play: Play
  readonly step: PlaybookStep
  /** The same for each attempt of this step of this run. */
  readonly key: string
}

export interface PlayRunnerOptions {
  readonly self: string
  readonly plays: () => readonly Play[]
  readonly policy: () => Policy
  /** Nodes of the ring, in one order on all of them. */
  readonly members: () => readonly string[]
  /** In the node's name. @throws When the ring refuses it, or there is no quorum. */
  readonly propose: (body: TxBody) => Promise<void>
  /** @returns One line for people. @throws With one that says why not. */
  readonly perform: (task: StepTask) => Promise<string>
  /** Unix milliseconds by the ring's clock, as near as the node knows it. */
  readonly nowMs: () => number
}

/** Whose turn it is `waitedMs` after a step became free. */
export function isTurn(
  self: string,
  members: readonly string[],
  play: Pick<Play, 'id' | 'at'>,
  attempt: number,
  waitedMs: number,
): boolean {
  const place = members.indexOf(self)
  if (place < 0) return false
  const shift = Number.parseInt(play.id.slice(0, 8), 16) + play.at + attempt
  return waitedMs >= ((place + shift) % members.length) * Math.min(TURN_MS, TURNS_MS_MAX / members.length)
}

export class PlayRunner {
  readonly #options: PlayRunnerOptions
  /** Claims of this process, by run, step and attempt: whether they were acted upon. */
  readonly #mine = new Map<string, boolean>()
  /** When a step became free here. */
  readonly #freeSinceMs = new Map<string, number>()
  #underWay = 0

  constructor(options: PlayRunnerOptions) {
    this.#options = options
  }

  /** Looks at all runs. Call it every now and then, and when the ledger has grown. */
  look(): void {
    const { plays, policy, nowMs, self } = this.#options
    const at = nowMs()
    const free = new Set<string>()
    const held = new Set<string>()
    const inForce = policy()
    for (const play of plays()) {
      if (play.status !== 'running') continue
      const step = stepOf(inForce, play)
      if (step === undefined || !isOutside(step)) continue
      const { claim } = play
      const attempt = (claim?.attempt ?? 0) + 1
      if (claim === null || claim.untilMs <= at) {
        const name = `${play.id} ${play.at} ${attempt}`
        free.add(name)
        held.add(name)
        this.#claim(play, attempt, name, at)
      } else if (claim.node === self) {
        const name = `${play.id} ${play.at} ${claim.attempt}`
        held.add(name)
        if (this.#mine.get(name) === false && claim.untilMs - at >= CLAIM_LEFT_MS_MIN) this.#do(play, step, claim.attempt, name)
      }
    }
    for (const name of this.#freeSinceMs.keys()) if (!free.has(name)) this.#freeSinceMs.delete(name)
    for (const name of this.#mine.keys()) if (!held.has(name)) this.#mine.delete(name)
  }

  #claim(play: Play, attempt: number, name: string, at: number): void {
    const { self, members, propose } = this.#options
    const sinceMs = this.#freeSinceMs.get(name) ?? at
    this.#freeSinceMs.set(name, sinceMs)
    if (this.#mine.has(name) || this.#underWay >= UNDER_WAY_MAX) return
    if (!isTurn(self, members(), play, attempt, at - sinceMs)) return
    this.#mine.set(name, false)
    this.#track(
      propose({ type: 'play.claim', run: play.id, step: play.at, attempt }).then(
        () => this.look(),
        // Another was first, or the ring does not agree now: it is looked at again.
        () => void this.#mine.delete(name),
      ),
    )
  }

  #do(play: Play, step: PlaybookStep, attempt: number, name: string): void {
    const { perform, propose } = this.#options
    this.#mine.set(name, true)
    const key = `${play.id}-${play.at}`
    const told = perform({ play, step, key }).then(
      (note) => ({ ok: true, note }),
      (error: Error) => ({ ok: false, note: error.message }),
    )
    this.#track(
      told.then(({ ok, note }) => {
        const line = note.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, 200)
        return propose({ type: 'play.report', run: play.id, step: play.at, attempt, ok, note: line })
      }),
    )
  }

  #track(work: Promise<unknown>): void {
    this.#underWay += 1
    // What could not be said lapses with the claim.
    void work
      .catch(() => {})
      .finally(() => {
        this.#underWay -= 1
      })
  }
}
