/**
 * Brings a node to the release that the policy has it run: fetches it, unpacks and verifies it in the other slot, asks the ring for its turn, has the
 * launcher try it out, and says what came of it. Only of a node that a launcher started (`ringwall fleet run`).
 */
import {
  type FleetPolicy,
  type FleetUpdate,
  fleetNode,
  isToGoBack,
  type RingState,
  recordOf,
  updateOf,
  whyNotYet,
} from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'
import type { EventLog } from '../events.ts'
import { every } from '../in-step.ts'
import type { FromNode, TrialTerms } from './launcher-messages.ts'
import { verifyFolder } from './release-archive.ts'
import type { ReleaseShelf } from './release-shelf.ts'
import type { Slots } from './slots.ts'
import { type TrialSample, TrialWatch } from './trial-watch.ts'

const LOOK_MS = 1_000
/** Between two tries to find a release, or to go back. */
const AGAIN_MS = 15_000
const BACK_AGAIN_MS = 600_000
/** The launcher has not done what it was asked, nor said why. */
const ASK_AGAIN_MS = 60_000

export interface UpdaterOptions {
  readonly self: string
  /** That this process runs. */
  readonly version: string
  readonly slots: Slots
  readonly shelf: Pick<ReleaseShelf, 'unpack'>
  /** Of a process that is on trial. */
  readonly terms: TrialTerms | undefined
  readonly state: () => RingState
  readonly policy: () => FleetPolicy
  readonly sample: () => Omit<TrialSample, 'isBelieved'>
  /** May this node be away for a while, by whom it reaches now? */
  readonly isSpared: () => boolean
  readonly startedAtMs: number
  readonly submit: (body: TxBody) => Promise<unknown>
  readonly tell: (message: FromNode) => void
  readonly events: Pick<EventLog, 'add'>
}

export class Updater {
  readonly #options: UpdaterOptions
  readonly #watch: TrialWatch | undefined
  #stopLooking: (() => void) | undefined
  #isAt = false
  #isTold = false
  #againAtMs = 0
  #backAtMs = 0
  #askedAtMs = Number.NEGATIVE_INFINITY
  /** Digest of what was unpacked, or found whole, in the other slot. */
  #whole: string | undefined
  #waitsFor = ''

  constructor(options: UpdaterOptions) {
    this.#options = options
    this.#watch = options.terms === undefined ? undefined : new TrialWatch(options.terms, Date.now())
  }

  start(): void {
    this.#stopLooking = every(LOOK_MS, () => {
      if (this.#isAt) return
      this.#isAt = true
      this.#look()
        .catch((error: Error) => this.#say('warn', `an update waits: ${error.message}`))
        .finally(() => {
          this.#isAt = false
        })
    })
  }

  stop(): void {
    this.#stopLooking?.()
  }

  /** The same once. */
  #say(level: 'info' | 'warn', line: string): void {
    if (this.#waitsFor === line) return
    this.#waitsFor = line
    this.#options.events.add('node', level, line)
  }

  async #look(): Promise<void> {
    if (this.#isOnTrial()) return
    const { state, policy, self } = this.#options
    if (policy().updates.length === 0) return
    await this.#report()
    const update = updateOf(state(), policy(), self)
    if (isToGoBack(state(), policy(), self, Date.now())) await this.#goBack()
    else if (update !== undefined && update.version !== this.#options.version) await this.#follow(update)
  }

  /** Until it was found good it says nothing to the ring. */
  #isOnTrial(): boolean {
    const { terms, slots, sample, tell, events } = this.#options
    if (terms === undefined || this.#watch === undefined) return false
    if (this.#isTold) return slots.trial() !== undefined
    const verdict = this.#watch.look({ ...sample(), isBelieved: this.#isBelieved() }, Date.now())
    if (verdict.is === 'open') return true
    this.#isTold = true
    events.add('node', verdict.is === 'good' ? 'info' : 'bad', `the trial of ${terms.version} is over: ${verdict.is}`)
    tell(verdict.is === 'good' ? { type: 'good' } : { type: 'bad', reason: verdict.reason })
    return true
  }

  /** Of this process: a quote of the one before says nothing of this release. */
  #isBelieved(): boolean {
    const { state, self, startedAtMs } = this.#options
    const record = recordOf(state().enrolment.trust, self)
    return record === undefined || (record.boot !== null && record.boot.sinceMs >= startedAtMs && record.untilMs > Date.now())
  }

  /** What it runs, and what it gave up, until the ring knows. */
  async #report(): Promise<void> {
    const { slots, state, self, version, submit } = this.#options
    const node = fleetNode(state().fleet, self)
    const outcome = slots.outcome()
    if (outcome !== undefined) {
      const isWanted = node.trying?.version === outcome.version || node.ran?.version === outcome.version
      if (isWanted && node.failed?.version !== outcome.version)
        await submit({ type: 'fleet.report', how: 'failed', version: outcome.version, reason: outcome.reason })
      await slots.setOutcome(undefined)
      // It may have been damaged.
      this.#whole = undefined
      return
    }
    if (node.ran?.version !== version && node.failed?.version !== version)
      await submit({ type: 'fleet.report', how: 'running', version, reason: 'it serves' })
  }

  async #follow({ version, trial, errors, name }: FleetUpdate): Promise<void> {
    const { state, policy, self, slots, isSpared, submit, tell } = this.#options
    const release = state().fleet.releases.find((one) => one.version === version)
    if (release === undefined || fleetNode(state().fleet, self).failed?.version === version) return
    this.#whole ??= (await verifyFolder(slots.path(slots.other())).catch(() => undefined))?.digest ?? ''
    if (this.#whole !== release.digest) {
      if (Date.now() < this.#againAtMs) return
      this.#againAtMs = Date.now() + AGAIN_MS
      if ((await this.#options.shelf.unpack(release)) === undefined)
        this.#say('warn', `nobody has release ${version}: put it into ${slots.releases} of one node`)
      else {
        this.#whole = release.digest
        this.#say('info', `release ${version} is unpacked, and waits for its turn (fleet.updates: ${name})`)
      }
      return
    }
    const isBegun = fleetNode(state().fleet, self).trying?.version === version
    if (!isBegun) {
      if (!isSpared() || whyNotYet(state(), policy(), self, version, Date.now()) !== undefined) return
      await submit({ type: 'fleet.report', how: 'trying', version, reason: `update ${name}` })
    }
    if (fleetNode(state().fleet, self).trying?.version !== version) return
    // The launcher takes it from here: it has this process hand over, or leaves word of why it does not.
    if (Date.now() < this.#askedAtMs + ASK_AGAIN_MS) return
    this.#askedAtMs = Date.now()
    tell({ type: 'try', terms: { version, trialMs: trial, errors }, digest: release.digest })
  }

  async #goBack(): Promise<void> {
    const { state, self, slots, policy, tell } = this.#options
    if (Date.now() < this.#backAtMs) return
    this.#backAtMs = Date.now() + BACK_AGAIN_MS
    const { before } = fleetNode(state().fleet, self)
    const held = await verifyFolder(slots.path(slots.other())).catch(() => undefined)
    const update = updateOf(state(), policy(), self)
    if (held === undefined || held.header.version !== before || update === undefined) {
      this.#say('warn', `others failed with this release, and ${before} is not here any more: it stays`)
      return
    }
    this.#say('warn', `others failed with this release: back to ${before}`)
    const { trial: trialMs, errors } = update
    tell({ type: 'try', terms: { version: before, trialMs, errors }, digest: held.digest })
  }
}
