/** How this node stands in the ring: what it attests, what holds it, how old it may become, whom it receives, and whether clients are to come to it. */
import type { RingState } from '@ringwall/ring'
import { Attester } from '../enrolment/attester.ts'
import { configuredMeasurer } from '../enrolment/measure.ts'
import { NodeReception } from '../enrolment/reception.ts'
import { Vouching } from '../enrolment/vouching.ts'
import { AgeWatch } from '../fleet/age-watch.ts'
import { HoldWatch } from '../fleet/hold-watch.ts'
import { ageOfView, type Standing, whyNotCurrent } from '../fleet/offline.ts'
import { every } from '../in-step.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { LateParts } from './late-parts.ts'
import type { OwnName } from './own-name.ts'

/** For requests under way. */
export const DRAIN_MS = 2_000

const TICK_MS = 500

export class Membership {
  readonly holds: HoldWatch
  readonly ages: AgeWatch
  readonly reception: NodeReception
  #isLinked = false
  readonly #attester: Attester
  readonly #self: string
  readonly #startedAtMs: number
  readonly #agreement: Agreement
  readonly #late: Pick<LateParts, 'traffic' | 'conduct'>
  #takesTraffic = false
  #isWithdrawn = false
  #wasMember: boolean

  constructor(ground: Ground, agreement: Agreement, own: OwnName, late: Pick<LateParts, 'traffic' | 'conduct'>) {
    const { config, ring, self, genesis, events } = ground
    const { application, fabric, ledger, now } = agreement
    this.#self = config.id
    this.#startedAtMs = ground.startedAtMs
    this.#agreement = agreement
    this.#late = late
    this.#wasMember = now.isMember(config.id)
    const shared = { self: config.id, ring, events, state: () => ledger.state() }
    const policy = (): (typeof now.view)['policy']['fleet'] => now.view.policy.fleet
    this.holds = new HoldWatch({ ...shared, policy, drain: (isOn) => late.traffic?.drain(isOn) })
    this.ages = new AgeWatch({ ...shared, policy, end: () => this.withdraw() })
    this.reception = new NodeReception({
      ...shared,
      region: self.region,
      genesis,
      application,
      fabric,
      submit: (body, waitMs) => own.submit(body, waitMs),
    })
    this.#attester = new Attester({
      ...shared,
      measurer: configuredMeasurer(config),
      vouching: new Vouching({
        ...shared,
        fabric,
        sign: (message) => own.sign(message),
        onDissent: (validator, reason) => late.conduct?.seen(validator, 'verdict', reason),
      }),
      tpm: config.tpm,
      caseInput: config.caseInput,
      onNoticed: () => this.withdraw(),
      every: () => now.view.policy.devices.attestation.every,
      submit: (body, waitMs, atMs) => own.submit(body, waitMs, Math.round(atMs)),
    })
  }

  start(ground: Pick<Ground, 'closing'>): void {
    this.#attester.start()
    ground.closing.add(() => this.#attester.stop())
    const { early, now } = this.#agreement
    const stopTicking = every(TICK_MS, () => {
      early.tick(Date.now(), now.certifiedAtMs)
      this.look()
    })
    ground.closing.add(stopTicking)
  }

  /** After each block, and every so often: holds and ages end with time. */
  look(): void {
    this.holds.look()
    this.ages.look(Date.now())
  }

  /** From now on others reach it. */
  open(state: RingState): void {
    this.#isLinked = true
    this.reception.follow(state)
  }

  /** The state as of the newest block. */
  receive(state: RingState): void {
    if (this.#isLinked) this.reception.follow(state)
  }

  takeTraffic(): void {
    this.#takesTraffic = true
    this.ages.look(Date.now())
  }

  takeNoMoreTraffic(): void {
    this.#takesTraffic = false
  }

  /** Nobody may believe this node any more: clients are to go elsewhere. */
  withdraw(): void {
    if (this.#isWithdrawn) return
    this.#isWithdrawn = true
    this.#takesTraffic = false
    void this.#late.traffic?.stop(DRAIN_MS)
  }

  /** Why it is to take no more traffic: it is out of the ring, or noticed what puts it out. */
  whyOut(): string | undefined {
    const { ledger, now } = this.#agreement
    const isMember = now.isMember(this.#self)
    this.#wasMember ||= isMember
    if (this.#attester.noticed !== undefined) return this.#attester.noticed
    // One that it let go before this start is not one that it does not know yet.
    const isGone = !isMember && (this.#wasMember || ledger.state().retired.some(({ id }) => id === this.#self))
    return this.ages.why(Date.now()) ?? (isGone ? 'the ring has let it go' : undefined)
  }

  whyNotReady(): string | undefined {
    const { hold } = this.holds
    const drained = hold?.kind === 'drain' ? `drained by ${hold.by}: ${hold.reason}` : undefined
    if (!this.#takesTraffic) return this.whyOut() ?? 'it takes no traffic yet, or no more'
    return this.whyOut() ?? drained ?? whyNotCurrent(this.#standing(), Date.now())
  }

  viewAgeMs(): number {
    return ageOfView(this.#standing(), Date.now())
  }

  #standing(): Standing {
    const { certifiedAtMs, view } = this.#agreement.now
    return {
      startedAtMs: this.#startedAtMs,
      certifiedAtMs,
      blockTimestampMs: view.height === 0 ? 0 : view.blockTimestampMs,
      offlineMs: view.policy.fleet.offline,
    }
  }
}
