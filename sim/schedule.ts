/**
 * One schedule: a ring, its weather, its liars, changes of its validators, and checkers that watch every honest node. All of it follows
 * from the seed.
 */
import {
  type Block,
  type Certificate,
  type Evidence,
  epochDomain,
  faultsOf,
  genesisBlock,
  type Message,
  signingBytes,
  type VoteKind,
} from '@ringwall/consensus'
import type { RingState } from '@ringwall/ring'
import { parseTx, type TxBody } from '@ringwall/ring/tx'
import type { Executed } from '../packages/ledger/src/chain.ts'
import type { Obstacle } from '../packages/ledger/src/hand-over.ts'
import { encodePayload, type Validator as Member } from '../packages/ledger/src/payload.ts'
import { applicationFor, EPOCH_MS, evidenceTx, FALSEHOOD, goodTx, memberTx, SPARES, signerOf } from './application.ts'
import { Executions } from './executions.ts'
import { isTag, schemeFor } from './keys.ts'
import { LIARS, type Liar } from './liars.ts'
import { Random } from './random.ts'
import { type Mutation, Validator } from './validator.ts'
import { World } from './world.ts'

export interface ScheduleOptions {
  /** Validators that the ring begins with. */
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
  /** Changes of the validators. */
  readonly epochs: number
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
const TIMING = { roundMs: 150, heartbeatMs: 200 }
/** Fewest validators that an operator leaves. */
const MEMBERS_MIN = 4
const CRASH_LOOKS = 50
/** One that is heard of suffices. */
const SHOWN_MAX = 3
const RUN_BLOCKS_MAX = 50
const NO_ROOT = '00'.repeat(32)

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
  const { transactions, crashes, epochs } = ring
  return { violation, liar: liarName, height: ring.height(), epochs, transactions, crashes }
}

/** What the checkers know of an epoch, from the blocks alone. */
interface CheckedEpoch {
  readonly number: number
  readonly base: Block
  /** Node numbers, in the order of their indexes. */
  readonly members: readonly number[]
}

class ScheduledRing {
  readonly #world: World
  readonly #trace: ((line: string) => void) | undefined
  readonly #ring: string
  /** Nodes that are honest, validators or not, and those that lie, by number. */
  readonly #honest = new Map<number, Validator>()
  readonly #liars = new Map<number, Persona>()
  /** Nodes, with those that may join. */
  readonly #nodes: number
  readonly #executions: Executions
  /** Final digest by height, whoever had it first. */
  readonly #agreed = new Map<number, string>()
  readonly #epochs: CheckedEpoch[]
  /** What each honest validator ever signed, over all its lives. */
  readonly #signed = new Map<string, string>()
  /** Certificates and payloads that were looked at already. */
  readonly #certified = new Map<Certificate, number>()
  readonly #truthful = new Set<Uint8Array>()
  /** Does a liar that is caught have to go? In the other half of the schedules it lies on. */
  readonly #isShown: boolean
  /** How many nodes showed evidence against a liar. */
  readonly #shown = new Map<number, number>()
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
    const changes = world.random.chance(0.5)
    this.#isShown = world.random.chance(0.5)
    this.#nodes = nodes + (changes ? SPARES : 0)
    const { genesis, application } = applicationFor(nodes, mutation.takesAnySignature)
    this.#ring = genesis.ring
    this.#executions = new Executions(application, isEachOnItsOwn)
    const base = genesisBlock(genesis.ring)
    this.#executions.learn(base.digest, application.initial())
    this.#epochs = [{ number: 0, base, members: Array.from({ length: nodes }, (_, i) => i) }]
    const surroundings = {
      send: (from: number, to: readonly number[], epoch: number, message: Message) => this.#send(from, to, epoch, message),
      fetch: (from: number, digest: Block['digest'], first: number) => this.#fetch(from, digest, first),
      meet: (self: number, other: number) => this.#meet(self, other),
      onFinal: (node: number, executed: Executed<RingState>, certificate: Certificate) =>
        this.#onFinal(node, executed, certificate),
      onObstacle: (node: number, obstacle: Obstacle) => this.#onObstacle(node, obstacle),
      onEvidence: (node: number, epoch: number, accused: number, evidence: Evidence) =>
        this.#onEvidence(node, epoch, accused, evidence),
      onForgetting: (node: number) => {
        throw new Violation(`n${node} finds that it has forgotten what it signed, and its disk lost nothing`)
      },
    }
    for (let index = 0; index < this.#nodes; index += 1) {
      const kind = liars.has(index) ? LIARS[liarName] : undefined
      if (kind !== undefined) {
        const persona = new Persona(kind, index, this.#ring, world, {
          send: (to, epoch, message) => this.#carry(index, to, epoch, message),
          submit: (tx) => this.#submit(index, tx),
          payload: (parent, txs, next) => encodePayload({ root: this.#executions.rootAfter(parent) ?? NO_ROOT, txs, next }),
        })
        this.#liars.set(index, persona)
        persona.enter(this.#epochs[0] as CheckedEpoch)
        continue
      }
      const clockSkewMs = world.random.whole(-1_500, 1_500)
      const executions = this.#executions
      this.#honest.set(
        index,
        new Validator({ index, genesis, timing: TIMING, world, executions, surroundings, clockSkewMs, mutation }),
      )
    }
    if (changes) world.after(world.random.next() * 500, () => this.#changeMembers())
  }

  height(): number {
    return Math.max(0, ...[...this.#honest.values()].map((node) => node.height))
  }

  get epochs(): number {
    return this.#epochs.length - 1
  }

  run(): void {
    const world = this.#world
    const { healsAtMs } = world.weather
    for (const node of this.#honest.values()) world.after(world.random.next() * 50, () => node.start())
    for (const liar of this.#liars.values()) world.after(world.random.next() * 50, () => liar.start())
    this.#disturb()
    this.#work()
    for (const index of this.#honest.keys()) this.#catchUp(index)
    world.run(healsAtMs, () => false)
    for (const node of this.#honest.values()) if (!node.alive) node.restart()
    const target = this.height() + PROGRESS_BLOCKS
    const arrived = (): boolean => [...this.#honest.values()].every((node) => node.height >= target)
    world.run(healsAtMs + PROGRESS_MS, arrived)
    if (!arrived()) {
      const heights = [...this.#honest.values()].map((node) => `n${node.index} ${node.height}`).join(', ')
      throw new Violation(
        `no progress: ${PROGRESS_MS / 1_000} s after the network healed the heights are ${heights}; ${target} was expected`,
      )
    }
  }

  get #epoch(): CheckedEpoch {
    return this.#epochs.at(-1) as CheckedEpoch
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
      if (random.chance(0.5)) world.after(at + random.next() * 100, () => this.#crash(random.pick([...this.#honest.values()])))
    }
  }

  /** Half of the crashes wait for a moment in which the disk has something to lose. */
  #crash(node: Validator, looks: number = this.#world.random.chance(0.5) ? CRASH_LOOKS : 0): void {
    if (!node.alive) return
    if (looks > 0 && !node.isWriting && this.#world.nowMs < this.#world.weather.healsAtMs) {
      this.#world.after(2, () => this.#crash(node, looks - 1))
      return
    }
    this.crashes += 1
    this.#note(`n${node.index} crashes`)
    node.crash()
    this.#world.after(this.#world.random.next() * 500, () => {
      if (node.alive) return
      this.#note(`n${node.index} restarts at height ${node.height}`)
      node.restart()
    })
  }

  /** Transactions now and then, to one node, which tells the others. */
  #work(): void {
    const { random } = this.#world
    const atMs = Math.floor(EPOCH_MS + this.#world.nowMs)
    this.#submit(random.pick([...this.#honest.keys()]), goodTx(this.#ring, random, atMs - 2_000))
    this.#world.after(random.whole(30, 900), () => this.#work())
  }

  #submit(first: number, tx: Uint8Array): void {
    for (const [index, node] of this.#honest) {
      if (index === first) node.submit(tx)
      else this.#world.carry(first, index, () => node.submit(tx))
    }
  }

  /**
   * Until the network heals, an operator adds validators and lets others go, one at a time, never so many that more than f lie.
   */
  #changeMembers(): void {
    const { random, weather } = this.#world
    if (this.#world.nowMs >= weather.healsAtMs) return
    const { members } = this.#epoch
    const gone = new Set(this.#epochs.flatMap((epoch) => epoch.members))
    const joining = Array.from({ length: this.#nodes }, (_, i) => i).filter((node) => !gone.has(node))
    const lying = members.filter((node) => this.#liars.has(node)).length
    const leaving = members.filter(
      (node) => members.length > MEMBERS_MIN && lying - (this.#liars.has(node) ? 1 : 0) <= faultsOf(members.length - 1),
    )
    const change = random.pick(['add', 'remove'] as const)
    const list = change === 'add' ? joining : leaving
    const waits = this.#epochs.length
    if (list.length > 0) {
      const node = random.pick(list)
      this.#note(`operator: ${change} n${node}`)
      const atMs = Math.floor(EPOCH_MS + this.#world.nowMs) - 2_000
      this.#submit(random.pick([...this.#honest.keys()]), memberTx(this.#ring, random, atMs, change, node))
    }
    // Again when the change has come about, or seems to be lost: then nothing else may be on its way.
    const again = (): void => {
      if (this.#epochs.length > waits || list.length === 0) this.#changeMembers()
      else this.#world.after(400, again)
    }
    this.#world.after(random.whole(100, 1_500), again)
  }

  /** Every node asks a random other for final blocks, twice a second. */
  #catchUp(index: number): void {
    const { random } = this.#world
    this.#ask(index, random.whole(0, this.#nodes - 1))
    this.#world.after(300 + random.next() * 400, () => this.#catchUp(index))
  }

  #ask(index: number, other: number): void {
    const self = this.#honest.get(index) as Validator
    const peer = this.#honest.get(other)
    if (peer === undefined || other === index) return
    this.#world.carry(index, other, () => {
      const run = peer.records.slice(self.height, self.height + RUN_BLOCKS_MAX)
      if (run.length > 0 && peer.alive) this.#world.carry(other, index, () => self.takeRun(run))
    })
  }

  /** They tell each other how far they are: the one behind asks. */
  #meet(index: number, other: number): void {
    const peer = this.#honest.get(other)
    const self = this.#honest.get(index) as Validator
    if (peer === undefined) return
    if (peer.height > self.height) this.#ask(index, other)
    else if (peer.height < self.height) this.#ask(other, index)
  }

  #send(from: number, to: readonly number[], epoch: number, message: Message): void {
    this.#watch(from, epoch, message)
    for (const target of to) if (target !== from) this.#carry(from, target, epoch, message)
  }

  #carry(from: number, to: number, epoch: number, message: Message): void {
    const hearer = this.#honest.get(to) ?? this.#liars.get(to)
    this.#world.carry(from, to, () => hearer?.hear(from, epoch, message))
  }

  #fetch(index: number, digest: Block['digest'], first: number): void {
    const self = this.#honest.get(index) as Validator
    for (const other of new Set([first, this.#world.random.whole(0, this.#nodes - 1)])) {
      const peer = this.#honest.get(other) ?? this.#liars.get(other)
      if (peer === undefined || other === index) continue
      this.#world.carry(index, other, () => {
        const block = peer.find(digest)
        if (block !== undefined) this.#world.carry(other, index, () => self.takeBlock(block))
      })
    }
  }

  // Checkers: each restates its rule on its own.

  /**
   * An honest validator says nothing in an epoch that it is not part of, or that does not begin with a block on its disk. It never
   * signs two digests of a kind in a round, nor nullifies and finalizes one, nor proposes twice, nor believes a certificate that is none.
   */
  #watch(from: number, number: number, message: Message): void {
    const epoch = this.#epochs[number]
    if (epoch === undefined || !epoch.members.includes(from))
      throw new Violation(`n${from} speaks in epoch ${number}, of which it is no validator`)
    if (this.#honest.get(from)?.has(epoch.base.height) !== true)
      throw new Violation(`n${from} speaks in epoch ${number}, and the block that begins it is not on its disk`)
    if (message.kind === 'certificate') {
      const { certificate } = message
      if (!this.#isCertificate(epoch, certificate))
        throw new Violation(`n${from} passes on a certificate that is none: ${certificate.kind} ${certificate.round}`)
      return
    }
    const [kind, round, digest]: [VoteKind | 'proposal', number, string] =
      message.kind === 'vote'
        ? [message.vote.kind, message.vote.round, message.vote.digest ?? '']
        : ['proposal', message.proposal.block.round, message.proposal.block.digest]
    const where = `${from} ${number} ${round}`
    const before = this.#signed.get(`${where} ${kind}`)
    if (before !== undefined && before !== digest) throw new Violation(`n${from} signed two ${kind} in round ${round}`)
    this.#signed.set(`${where} ${kind}`, digest)
    const opposite = kind === 'nullify' ? 'finalize' : kind === 'finalize' ? 'nullify' : undefined
    if (opposite !== undefined && this.#signed.has(`${where} ${opposite}`))
      throw new Violation(`n${from} signed nullify and finalize in round ${round}`)
    if (this.#trace !== undefined) this.#note(`n${from} ${kind} ${number}/${round} ${digest.slice(0, 8)}`)
  }

  /** At least n - f of the epoch's validators signed it, in its name, each of them counted once. */
  #isCertificate({ number, members }: CheckedEpoch, certificate: Certificate): boolean {
    if (this.#certified.get(certificate) === number) return true
    const { kind, round, digest, signatures } = certificate
    if ((digest === undefined) !== (kind === 'nullify')) return false
    const statement = signingBytes(kind, epochDomain(this.#ring, number), round, digest)
    const signers = new Set<number>()
    for (const { signer, signature } of signatures) {
      const member = members[signer]
      if (member !== undefined && isTag(signerOf(member), statement, signature)) signers.add(member)
    }
    const needed = members.length - Math.floor((members.length - 1) / 3)
    if (signers.size !== signatures.length || signers.size < needed) return false
    this.#certified.set(certificate, number)
    return true
  }

  #onFinal(node: number, { block, state, closing }: Executed<RingState>, certificate: Certificate): void {
    const { height, digest } = block
    this.#note(`n${node} final ${height} ${digest.slice(0, 8)}`)
    const agreed = this.#agreed.get(height)
    if (agreed !== undefined && agreed !== digest)
      throw new Violation(
        `two final blocks at height ${height}: n${node} has ${digest.slice(0, 8)}, another ${agreed.slice(0, 8)}`,
      )
    if (closing !== undefined) throw new Violation(`n${node} holds a closing block as part of the ledger, at height ${height}`)
    this.#agreed.set(height, digest)
    const epoch = this.#epochs.findLast(({ base }) => base.height < height) as CheckedEpoch
    if (certificate.kind !== 'finalize' || !this.#isCertificate(epoch, certificate))
      throw new Violation(`n${node} holds block ${height} as final, and epoch ${epoch.number} did not agree on it`)
    const txs = this.#executions.txsOf(block.payload)
    if (txs === undefined) throw new Violation(`n${node} holds a malformed block as final, at height ${height}`)
    if (agreed !== undefined && this.#truthful.has(block.payload)) return
    const bodies = txs.map(bodyOf)
    if (bodies.some((body) => body === undefined || JSON.stringify(body).includes(FALSEHOOD)))
      throw new Violation(`n${node} applied what is not true, at height ${height}`)
    this.#truthful.add(block.payload)
    if (agreed !== undefined) return
    this.transactions += txs.length
    this.#follow(
      epoch,
      block,
      bodies.filter((body) => body !== undefined),
      state,
    )
  }

  /** Who agrees after the block, by what its transactions say. */
  #follow({ number, members }: CheckedEpoch, base: Block, bodies: readonly TxBody[], state: RingState): void {
    let next = members
    for (const body of bodies) {
      if (body.type === 'node.add') next = [...next, Number(body.node.id.slice(1))]
      else if (body.type === 'node.remove') next = next.filter((member) => `n${member}` !== body.id)
      else if (body.type === 'evidence') {
        next = next.filter((member) => `n${member}` !== body.validator)
        if (this.#honest.has(Number(body.validator.slice(1))))
          throw new Violation(`${body.validator} is let go by evidence, and is honest: ${JSON.stringify(body).slice(0, 60)}`)
      }
    }
    const held = this.#executions.application.validators?.(state).validators.map(({ id }) => Number(id.slice(1)))
    if (held?.join() !== next.join())
      throw new Violation(`the validators after block ${base.height} are ${held?.join()}: ${next.join()} was expected`)
    if (next === members) return
    const epoch = { number: number + 1, base, members: next }
    this.#epochs.push(epoch)
    this.#note(`epoch ${epoch.number} after block ${base.height}: ${next.join(' ')}`)
    for (const liar of this.#liars.values()) {
      this.#world.after(this.#world.random.next() * 300, () => liar.enter(epoch))
    }
    // A hand-over is when a crash could hurt.
    if (this.#world.nowMs < this.#world.weather.healsAtMs) {
      const { random } = this.#world
      for (const node of this.#honest.values())
        if (random.chance(0.2)) this.#world.after(random.next() * 40, () => this.#crash(node))
    }
  }

  #onObstacle(node: number, obstacle: Obstacle): void {
    if (obstacle.kind === 'invalid')
      throw new Violation(
        `n${node} holds a block as final that does not execute, at height ${obstacle.height}: ${obstacle.reason}`,
      )
    throw new Violation(`n${node} sees two histories`)
  }

  #onEvidence(node: number, epoch: number, accused: number, evidence: Evidence): void {
    this.#note(`n${node} accuses n${accused}`)
    if (this.#honest.has(accused)) throw new Violation(`n${node} accuses n${accused}, which is honest`)
    const shown = this.#shown.get(accused) ?? 0
    if (!this.#isShown || shown >= SHOWN_MAX) return
    this.#shown.set(accused, shown + 1)
    const { random } = this.#world
    const atMs = Math.floor(EPOCH_MS + this.#world.nowMs) - 2_000
    this.#submit(node, evidenceTx(this.#ring, random, atMs, node, epoch, accused, evidence))
  }
}

/** A node that lies: one liar for each epoch that it is a validator of. The older ones go on. */
class Persona {
  readonly #kind: (typeof LIARS)[string]
  readonly #node: number
  readonly #ring: string
  readonly #world: World
  readonly #ports: {
    send(to: number, epoch: number, message: Message): void
    submit(tx: Uint8Array): void
    payload(parent: Block['digest'], txs: readonly Uint8Array[], next?: readonly Member[]): Uint8Array
  }
  /** By epoch. */
  readonly #liars = new Map<number, { readonly liar: Liar; readonly members: readonly number[] }>()
  #started = false

  constructor(
    kind: (typeof LIARS)[string],
    node: number,
    ring: string,
    world: World,
    ports: {
      send(to: number, epoch: number, message: Message): void
      submit(tx: Uint8Array): void
      payload(parent: Block['digest'], txs: readonly Uint8Array[], next?: readonly Member[]): Uint8Array
    },
  ) {
    this.#kind = kind
    this.#node = node
    this.#ring = ring
    this.#world = world
    this.#ports = ports
  }

  enter({ number, base, members }: CheckedEpoch): void {
    const index = members.indexOf(this.#node)
    if (index === -1 || this.#liars.has(number)) return
    const ports = this.#ports
    const liar = new this.#kind({
      index,
      config: { ring: epochDomain(this.#ring, number), validators: members.length, self: index, ...TIMING },
      scheme: schemeFor(members.map(signerOf), signerOf(this.#node)),
      base,
      ring: this.#ring,
      epoch: number,
      members,
      memories: this.#liars.get(number - 1)?.liar.heard ?? [],
      world: this.#world,
      send: (to, message, epoch = number) => ports.send(members[to] as number, epoch, message),
      submit: (tx) => ports.submit(tx),
      payload: (parent, txs, next) => ports.payload(parent, txs, next),
    })
    this.#liars.set(number, { liar, members })
    if (this.#started) liar.start()
  }

  start(): void {
    this.#started = true
    for (const { liar } of this.#liars.values()) liar.start()
  }

  hear(from: number, epoch: number, message: Message): void {
    const held = this.#liars.get(epoch)
    const index = held?.members.indexOf(from) ?? -1
    if (index !== -1) held?.liar.hear(index, message)
  }

  find(digest: Block['digest']): Block | undefined {
    for (const { liar } of this.#liars.values()) {
      const block = liar.find(digest)
      if (block !== undefined) return block
    }
    return undefined
  }
}

/** Undefined when it is malformed. */
function bodyOf(tx: Uint8Array): TxBody | undefined {
  try {
    return parseTx(tx).content.body
  } catch {
    return undefined
  }
}
