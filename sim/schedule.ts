/** One schedule: a ring, its weather, its liar, and checkers that watch every honest validator. All of it follows from the seed. */
import {
  type Block,
  type Certificate,
  faultsOf,
  type Message,
  signingBytes,
  type VoteKind,
  type VoterConfig,
} from '@ringwall/consensus'
import { parseTx } from '@ringwall/ring/tx'
import { applicationFor, EPOCH_MS, FALSEHOOD, goodTx } from './application.ts'
import { Executions } from './executions.ts'
import { isTag, SIGNERS, schemeOf } from './keys.ts'
import { LIARS, type Liar } from './liars.ts'
import { Random } from './random.ts'
import { type Mutation, Validator } from './validator.ts'
import { World } from './world.ts'

export interface ScheduleOptions {
  readonly nodes: number
  readonly mutation?: Mutation
  /** A line for each thing that happens. */
  readonly trace?: (line: string) => void
}

export interface ScheduleResult {
  /** What was violated; undefined when nothing was. */
  readonly violation: string | undefined
  readonly liar: string
  readonly height: number
  /** Transactions that are final. */
  readonly transactions: number
  readonly crashes: number
}

const HEAL_MS_MAX = 4_000
/** Time after the network healed in which the ring has to move. */
const PROGRESS_MS = 60_000
const PROGRESS_BLOCKS = 3

/** In one schedule of so many, validators execute blocks each on their own, and have to come to one state. */
const ON_THEIR_OWN = 16

class Violation extends Error {}

/** @throws Never: a violation is in the result. */
export function runSchedule(seed: number, options: ScheduleOptions): ScheduleResult {
  const random = new Random(seed)
  const { nodes } = options
  const faults = faultsOf(nodes)
  const liarName = random.pick(['none', ...Object.keys(LIARS)])
  const liars = new Set<number>()
  if (liarName !== 'none') while (liars.size < faults) liars.add(random.whole(0, nodes - 1))
  const world = new World(random, {
    lossShare: random.pick([0, 0.05, 0.25]),
    duplicateShare: random.pick([0, 0.2]),
    delayMsMax: random.pick([10, 80, 600]),
    healsAtMs: random.next() * HEAL_MS_MAX,
  })
  const ring = new ScheduledRing(world, options, liars, liarName, seed % ON_THEIR_OWN === 0)
  let violation: string | undefined
  try {
    ring.run()
  } catch (error) {
    violation = error instanceof Violation ? error.message : `it threw: ${(error as Error).stack}`
  }
  return { violation, liar: liarName, height: ring.height(), transactions: ring.transactions, crashes: ring.crashes }
}

class ScheduledRing {
  readonly #world: World
  readonly #trace: ((line: string) => void) | undefined
  readonly #ring: string
  readonly #validators = new Map<number, Validator>()
  readonly #liars = new Map<number, Liar>()
  readonly #nodes: number
  readonly #others: readonly (readonly number[])[]
  readonly #executions: Executions
  /** Final digest by height, whoever had it first. */
  readonly #agreed = new Map<number, string>()
  /** What each honest validator ever signed, over all its lives. */
  readonly #signed = new Map<string, string>()
  /** Certificates and payloads that were looked at already. */
  readonly #certified = new Set<Certificate>()
  readonly #truthful = new Set<Uint8Array>()
  crashes = 0
  transactions = 0

  constructor(
    world: World,
    { nodes, mutation = {}, trace }: ScheduleOptions,
    liars: ReadonlySet<number>,
    liarName: string,
    isEachOnItsOwn: boolean,
  ) {
    this.#world = world
    this.#trace = trace
    this.#nodes = nodes
    const { ring, genesis, application } = applicationFor(nodes, mutation.takesAnySignature)
    this.#ring = ring
    const executions = new Executions(application, isEachOnItsOwn)
    this.#executions = executions
    const all = Array.from({ length: nodes }, (_, i) => i)
    this.#others = all.map((index) => all.filter((i) => i !== index))
    for (let index = 0; index < nodes; index += 1) {
      const config: VoterConfig = { ring, validators: nodes, self: index, roundMs: 150, heartbeatMs: 200 }
      const scheme = schemeOf(index)
      const Kind = liars.has(index) ? LIARS[liarName] : undefined
      if (Kind !== undefined) {
        this.#liars.set(
          index,
          new Kind({ index, config, scheme, genesis, world, send: (to, message) => this.#carry(index, to, message) }),
        )
        continue
      }
      const clockSkewMs = world.random.whole(-1_500, 1_500)
      const surroundings = {
        send: (from: number, to: number | 'all', message: Message) => this.#send(from, to, message),
        fetch: (from: number, digest: Parameters<Validator['find']>[0], first: number) => this.#fetch(from, digest, first),
        onFinal: (validator: number, ...rest: [Block, unknown]) => this.#onFinal(validator, ...rest),
        onEvidence: (validator: number, accused: number) => this.#onEvidence(validator, accused),
      }
      this.#validators.set(
        index,
        new Validator({ index, config, scheme, genesis, world, application, executions, surroundings, clockSkewMs, mutation }),
      )
    }
  }

  height(): number {
    return Math.max(0, ...[...this.#validators.values()].map((validator) => validator.height))
  }

  run(): void {
    const world = this.#world
    const { healsAtMs } = world.weather
    for (const validator of this.#validators.values()) world.after(world.random.next() * 50, () => validator.start())
    for (const liar of this.#liars.values()) world.after(world.random.next() * 50, () => liar.start())
    this.#disturb()
    this.#work()
    for (const index of this.#validators.keys()) this.#catchUp(index)
    world.run(healsAtMs, () => false)
    for (const validator of this.#validators.values()) if (!validator.alive) validator.restart()
    const target = this.height() + PROGRESS_BLOCKS
    const arrived = (): boolean => [...this.#validators.values()].every((validator) => validator.height >= target)
    world.run(healsAtMs + PROGRESS_MS, arrived)
    if (!arrived()) {
      const heights = [...this.#validators.values()].map((validator) => `n${validator.index} ${validator.height}`).join(', ')
      throw new Violation(
        `no progress: ${PROGRESS_MS / 1_000} s after the network healed the heights are ${heights}; ${target} was expected`,
      )
    }
  }

  #note(line: string): void {
    this.#trace?.(`${this.#world.nowMs.toFixed(1).padStart(9)} ${line}`)
  }

  /** Cuts and crashes, until the network heals. At most f validators are away or lying at any time. */
  #disturb(): void {
    const world = this.#world
    const { random, weather } = world
    for (let at = 0; at < weather.healsAtMs; at += random.whole(100, 1_200)) {
      world.after(at, () => {
        world.sides = random.chance(0.5) ? [] : Array.from({ length: this.#nodes }, () => random.whole(0, 1))
        this.#note(`sides ${world.sides.join('') || 'whole'}`)
      })
      if (random.chance(0.5))
        world.after(at + random.next() * 100, () => this.#crash(random.pick([...this.#validators.values()])))
    }
  }

  #crash(validator: Validator): void {
    if (!validator.alive) return
    this.crashes += 1
    this.#note(`n${validator.index} crashes`)
    validator.crash()
    this.#world.after(this.#world.random.next() * 500, () => {
      if (validator.alive) return
      this.#note(`n${validator.index} restarts at height ${validator.height}`)
      validator.restart()
    })
  }

  /** Transactions now and then, to one validator, which tells the others. */
  #work(): void {
    const { random } = this.#world
    const atMs = Math.floor(EPOCH_MS + this.#world.nowMs)
    const tx = goodTx(this.#ring, random, atMs - 2_000)
    const name = `${atMs} ${random.next()}`
    const first = random.pick([...this.#validators.keys()])
    for (const [index, validator] of this.#validators) {
      if (index === first) validator.submit(name, tx)
      else this.#world.carry(first, index, () => validator.submit(name, tx))
    }
    this.#world.after(random.whole(30, 900), () => this.#work())
  }

  /** Every validator asks a random other for final blocks, twice a second. */
  #catchUp(index: number): void {
    const world = this.#world
    const other = world.random.whole(0, this.#nodes - 1)
    const self = this.#validators.get(index) as Validator
    const peer = this.#validators.get(other)
    if (peer !== undefined && other !== index && peer.alive) {
      world.carry(index, other, () => {
        const run = peer.chain.slice(self.height, self.height + 50)
        if (run.length > 0 && peer.alive) world.carry(other, index, () => self.takeRun(run))
      })
    }
    world.after(300 + world.random.next() * 400, () => this.#catchUp(index))
  }

  #send(from: number, to: number | 'all', message: Message): void {
    this.#watch(from, message)
    if (to !== 'all') this.#carry(from, to, message)
    else for (const target of this.#others[from] as readonly number[]) this.#carry(from, target, message)
  }

  #carry(from: number, to: number, message: Message): void {
    const hearer = this.#validators.get(to) ?? this.#liars.get(to)
    this.#world.carry(from, to, () => hearer?.hear(from, message))
  }

  #fetch(index: number, digest: Parameters<Validator['find']>[0], first: number): void {
    const self = this.#validators.get(index) as Validator
    for (const other of new Set([first, this.#world.random.whole(0, this.#nodes - 1)])) {
      const peer = this.#validators.get(other) ?? this.#liars.get(other)
      if (peer === undefined || other === index) continue
      this.#world.carry(index, other, () => {
        const block = peer.find(digest)
        if (block !== undefined) this.#world.carry(other, index, () => self.takeBlock(block))
      })
    }
  }

  // Checkers: each restates its rule on its own.

  /**
   * An honest validator never signs two digests of a kind in a round, nor nullifies and finalizes one, nor proposes twice,
   * nor believes a certificate that is none.
   */
  #watch(from: number, message: Message): void {
    if (message.kind === 'certificate') {
      const { certificate } = message
      if (this.#certified.has(certificate)) return
      if (!this.#isCertificate(certificate))
        throw new Violation(`n${from} passes on a certificate that is none: ${certificate.kind} ${certificate.round}`)
      this.#certified.add(certificate)
      return
    }
    const [kind, round, digest]: [VoteKind | 'proposal', number, string] =
      message.kind === 'vote'
        ? [message.vote.kind, message.vote.round, message.vote.digest ?? '']
        : ['proposal', message.proposal.block.round, message.proposal.block.digest]
    const before = this.#signed.get(`${from} ${kind} ${round}`)
    if (before !== undefined && before !== digest) throw new Violation(`n${from} signed two ${kind} in round ${round}`)
    this.#signed.set(`${from} ${kind} ${round}`, digest)
    const opposite = kind === 'nullify' ? 'finalize' : kind === 'finalize' ? 'nullify' : undefined
    if (opposite !== undefined && this.#signed.has(`${from} ${opposite} ${round}`))
      throw new Violation(`n${from} signed nullify and finalize in round ${round}`)
    if (this.#trace !== undefined) this.#note(`n${from} ${kind} ${round} ${digest.slice(0, 8)}`)
  }

  /** At least n - f validators signed it, each of them counted once. */
  #isCertificate({ kind, round, digest, signatures }: Certificate): boolean {
    if ((digest === undefined) !== (kind === 'nullify')) return false
    const statement = signingBytes(kind, this.#ring, round, digest)
    const signers = new Set<number>()
    for (const { signer, signature } of signatures) {
      if (signer < this.#nodes && isTag(SIGNERS[signer] as string, statement, signature)) signers.add(signer)
    }
    return signers.size === signatures.length && signers.size >= this.#nodes - Math.floor((this.#nodes - 1) / 3)
  }

  #onFinal(validator: number, block: Block, state: unknown): void {
    const { height, digest } = block
    this.#note(`n${validator} final ${height} ${digest.slice(0, 8)}`)
    const agreed = this.#agreed.get(height)
    if (agreed !== undefined && agreed !== digest)
      throw new Violation(
        `two final blocks at height ${height}: n${validator} has ${digest.slice(0, 8)}, another ${agreed.slice(0, 8)}`,
      )
    this.#agreed.set(height, digest)
    const txs = this.#executions.txsOf(block)
    if (txs === undefined) throw new Violation(`n${validator} holds a malformed block as final, at height ${height}`)
    if (agreed === undefined) this.transactions += txs.length
    if (!this.#truthful.has(block.payload)) {
      if (txs.some(isFalse)) throw new Violation(`n${validator} applied what is not true, at height ${height}`)
      this.#truthful.add(block.payload)
    }
    if (state === undefined)
      throw new Violation(`n${validator} holds a block as final that does not execute, at height ${height}`)
  }

  #onEvidence(validator: number, accused: number): void {
    this.#note(`n${validator} accuses n${accused}`)
    if (this.#validators.has(accused)) throw new Violation(`n${validator} accuses n${accused}, which is honest`)
  }
}

function isFalse(tx: Uint8Array): boolean {
  try {
    return JSON.stringify(parseTx(tx).content.body).includes(FALSEHOOD)
  } catch {
    return true
  }
}
