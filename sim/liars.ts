/**
 * Validators that lie, by name. Each holds its own key and nobody else's, hears everything it is sent, and may send anything
 * to anybody at any time.
 */
import {
  type Block,
  type Certificate,
  type Digest,
  decodeMessage,
  encodeMessage,
  leaderOf,
  type Message,
  makeBlock,
  type Proposal,
  type Scheme,
  signingBytes,
  type Vote,
  type VoteKind,
  Voter,
  type VoterConfig,
} from '@ringwall/consensus'
import { isBoundary, type Validator } from '../packages/ledger/src/payload.ts'
import { badTx, EPOCH_MS, evidenceTx, goodTx } from './application.ts'
import type { World } from './world.ts'

/** What a liar is in one epoch: when the next begins, another one takes over, and this one goes on lying in its own. */
export interface LiarOptions {
  /** Among the epoch's validators. */
  readonly index: number
  /** Its `ring` is the name that the epoch signs under. */
  readonly config: VoterConfig
  readonly scheme: Scheme
  /** What the epoch begins with. */
  readonly base: Block
  /** The ring's own name. */
  readonly ring: string
  readonly epoch: number
  /** Numbers of the nodes that are the epoch's validators. */
  readonly members: readonly number[]
  /** What was said to it in the epoch before. */
  readonly memories: readonly Message[]
  readonly world: World
  /** `epoch` is written on the message: its own unless given. */
  send(to: number, message: Message, epoch?: number): void
  /** Into everybody's mempool. */
  submit(tx: Uint8Array): void
  /** What a block on top of `parent` carries. */
  payload(parent: Digest, txs: readonly Uint8Array[], next?: readonly Validator[]): Uint8Array
}

export interface Liar {
  /** The last of what was said to it. */
  readonly heard: readonly Message[]
  start(): void
  hear(from: number, message: Message): void
  /** What it hands to somebody who asks for a block. */
  find(digest: Digest): Block | undefined
}

abstract class Base implements Liar {
  protected readonly o: LiarOptions
  /** What was said to it, to replay and to build on. */
  readonly heard: Message[] = []
  protected readonly certificates: Certificate[] = []
  protected readonly others: readonly number[]
  /** The newest round that a certificate was heard of. */
  #certified = 0

  constructor(options: LiarOptions) {
    this.o = options
    this.others = Array.from({ length: options.config.validators }, (_, i) => i).filter((i) => i !== options.index)
  }

  start(): void {
    this.tick()
  }

  hear(_from: number, message: Message): void {
    if (this.heard.length < 400) this.heard.push(message)
    if (message.kind === 'certificate') {
      this.certificates.push(message.certificate)
      this.#certified = Math.max(this.#certified, message.certificate.round)
    }
    if (message.kind === 'proposal') this.onProposal(message.proposal)
  }

  /** Another block under the digest that was asked for. */
  find(digest: Digest): Block | undefined {
    const { world, ring, payload } = this.o
    const { node } = this
    const known = this.heard.find((message) => message.kind === 'proposal' && message.proposal.block.digest === digest)
    if (known?.kind !== 'proposal') return undefined
    const atMs = Math.floor(EPOCH_MS + world.nowMs)
    return { ...known.proposal.block, payload: payload(known.proposal.block.parent, [badTx(ring, world.random, atMs, node)]) }
  }

  protected tick(): void {
    this.act()
    this.o.world.after(20 + this.o.world.random.next() * 120, () => this.tick())
  }

  protected act(): void {}

  protected onProposal(_proposal: Proposal): void {}

  protected vote(kind: VoteKind, round: number, digest: Digest | undefined): Message {
    const vote: Vote = {
      kind,
      round,
      digest,
      signer: this.o.index,
      signature: this.o.scheme.sign(signingBytes(kind, this.o.config.ring, round, digest)),
    }
    return { kind: 'vote', vote }
  }

  protected propose(block: Block, like: Pick<Proposal, 'parentCertificate' | 'nullifications'>): Message {
    const signature = this.o.scheme.sign(signingBytes('proposal', this.o.config.ring, block.round, block.digest))
    return { kind: 'proposal', proposal: { block, ...like, signature } }
  }

  /** Its number among all nodes. */
  protected get node(): number {
    return this.o.members[this.o.index] as number
  }

  protected block(parts: Omit<Block, 'digest'>): Block {
    return makeBlock(parts, this.o.scheme.hash)
  }

  protected round(): number {
    return Math.max(this.#certified, this.o.base.round) + 1
  }
}

/** Says nothing, ever. */
class Silent extends Base {
  override start(): void {}
}

/** Two honest voters with one key, each talking to its own half, which do not know of each other. */
class Twins extends Base {
  readonly #voters: readonly Voter[]
  readonly #halves: readonly (readonly number[])[]

  constructor(options: LiarOptions) {
    super(options)
    this.#voters = [0, 1].map(() => new Voter(options.config, options.scheme, options.base))
    const overlap = options.world.random.pick(this.others)
    this.#halves = [0, 1].map((half) => this.others.filter((i, at) => i === overlap || at % 2 === half))
  }

  override start(): void {
    for (const twin of [0, 1]) this.#step(twin, { kind: 'start' })
  }

  override hear(from: number, message: Message): void {
    for (const twin of [0, 1]) if (this.#halves[twin]?.includes(from)) this.#step(twin, { kind: 'message', from, message })
  }

  #step(twin: number, event: Parameters<Voter['step']>[0]): void {
    const voter = this.#voters[twin] as Voter
    const { world, ring } = this.o
    for (const effect of voter.step(event, EPOCH_MS + world.nowMs)) {
      if (effect.kind === 'send') {
        const half = this.#halves[twin] as readonly number[]
        for (const to of half) if (effect.to === 'all' || effect.to === to) this.o.send(to, effect.message)
      } else if (effect.kind === 'timer')
        world.after(effect.afterMs, () => this.#step(twin, { kind: 'timeout', round: effect.round }))
      else if (effect.kind === 'verify') this.#step(twin, { kind: 'verified', digest: effect.block.digest, valid: true })
      else if (effect.kind === 'propose') {
        const timestampMs = Math.floor(EPOCH_MS + world.nowMs) + 1 + twin
        const payload = this.o.payload(effect.parent.digest, twin === 0 ? [] : [goodTx(ring, world.random, timestampMs)])
        world.after(5, () => this.#step(twin, { kind: 'proposed', round: effect.round, payload, timestampMs }))
      }
    }
  }
}

/** Proposes two blocks, shows each half one, and votes for both and for nullifying, everywhere. */
class Equivocator extends Base {
  protected override onProposal(proposal: Proposal): void {
    const { block } = proposal
    for (const to of this.others) {
      for (const kind of ['notarize', 'finalize', 'nullify'] as const) {
        if (this.o.world.random.chance(0.6))
          this.o.send(to, this.vote(kind, block.round, kind === 'nullify' ? undefined : block.digest))
      }
    }
    const round = block.round + 1
    if (leaderOf(round, this.o.config.validators) !== this.o.index) return
    const parents: readonly [Block, Certificate | undefined][] = [
      [block, this.certificates.find(({ digest }) => digest === block.digest)],
    ]
    for (const [parent, parentCertificate] of parents) {
      for (const [half, offset] of [1, 2].entries()) {
        const twin = this.block({
          round,
          height: parent.height + 1,
          parent: parent.digest,
          proposer: this.o.index,
          timestampMs: parent.timestampMs + offset,
          payload: this.o.payload(parent.digest, []),
        })
        for (const to of this.others.filter((i) => i % 2 === half))
          this.o.send(to, this.propose(twin, { parentCertificate, nullifications: [] }))
      }
    }
  }
}

/** Proposes blocks that say what is not true, whenever it leads, and votes for whatever others propose. */
class InvalidProposer extends Base {
  protected override onProposal({ block }: Proposal): void {
    for (const to of this.others) this.o.send(to, this.vote('notarize', block.round, block.digest))
  }

  protected override act(): void {
    const { world, config, index, base } = this.o
    const round = this.round()
    if (leaderOf(round, config.validators) !== index) return
    const certificate = this.certificates.filter(({ kind }) => kind === 'notarize').at(-1)
    const atMs = Math.floor(EPOCH_MS + world.nowMs)
    const parent = certificate?.digest ?? base.digest
    const known = this.heard.find((message) => message.kind === 'proposal' && message.proposal.block.digest === parent)
    const height = known?.kind === 'proposal' ? known.proposal.block.height : base.height
    const nullifications = this.certificates.filter(
      ({ kind, round: at }) => kind === 'nullify' && at > (certificate?.round ?? 0) && at < round,
    )
    const payload = this.#payload(parent, known?.kind === 'proposal' ? known.proposal.block : base, atMs)
    const timestampMs = world.random.chance(0.2) ? atMs + 60_000 : atMs + 1
    const block = this.block({ round, height: height + 1, parent, proposer: index, timestampMs, payload })
    for (const to of this.others) this.o.send(to, this.propose(block, { parentCertificate: certificate, nullifications }))
  }

  /** Also, when the epoch is over, transactions, which would be lost; and when it is not, that it is. */
  #payload(parent: Digest, block: Block, atMs: number): Uint8Array {
    const { world, ring, payload } = this.o
    const good = goodTx(ring, world.random, atMs)
    if (isBoundary(block.payload)) return payload(parent, [good])
    return world.random.pick([
      () => payload(parent, [good, badTx(ring, world.random, atMs, this.node)]),
      () => payload(parent, [badTx(ring, world.random, atMs, this.node)]),
      () => payload(parent, [good], [{ id: `n${this.node}`, publicKey: new Uint8Array(32).fill(1) }]),
      () => new TextEncoder().encode('no list'),
    ])()
  }
}

/** Sends noise: forged certificates and votes in others' names, changed bytes of true messages, replays of old ones. */
class Garbage extends Base {
  protected override act(): void {
    const { world } = this.o
    for (let i = 0; i < 6; i += 1) {
      const to = world.random.pick(this.others)
      const message = this.heard.length > 0 ? world.random.pick(this.heard) : undefined
      if (message === undefined) continue
      const made = world.random.pick([() => message, () => this.forge(), () => this.unsigned(), () => mangle(message, world)])()
      if (made !== undefined) this.o.send(to, made)
    }
  }

  /** A vote in its own name, for what is being voted on, under a signature that is none. */
  unsigned(): Message | undefined {
    const vote = this.heard.slice(-30).findLast((message) => message.kind === 'vote')
    if (vote?.kind !== 'vote') return undefined
    return { kind: 'vote', vote: { ...vote.vote, signer: this.o.index, signature: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) } }
  }

  forge(): Message {
    const { world, config, scheme } = this.o
    const round = Math.max(1, this.round() + world.random.whole(-2, 3))
    const kind = world.random.pick(['notarize', 'nullify', 'finalize'] as const)
    const digest = kind === 'nullify' ? undefined : ('ab'.repeat(32) as Digest)
    const signature = scheme.sign(signingBytes(kind, config.ring, round, digest))
    const signers = Array.from({ length: world.random.whole(1, config.validators) }, (_, signer) => ({ signer, signature }))
    if (world.random.chance(0.5)) return { kind: 'certificate', certificate: { kind, round, digest, signatures: signers } }
    return { kind: 'vote', vote: { kind, round, digest, signer: world.random.whole(0, config.validators - 1), signature } }
  }
}

/** One byte of a true message changed, if that is still a message at all. */
function mangle(message: Message, world: World): Message | undefined {
  const bytes = encodeMessage(message)
  const at = world.random.whole(0, bytes.length - 1)
  bytes[at] = (bytes[at] as number) ^ (1 << world.random.whole(0, 7))
  try {
    return decodeMessage(bytes)
  } catch {
    return undefined
  }
}

/** Proposes on top of old blocks, past rounds that may be final, and makes certificates of fewer votes than a quorum. */
class Skipper extends Base {
  protected override act(): void {
    const { world, config, index } = this.o
    const round = this.round()
    for (const certificate of this.shortCertificates()) {
      for (const to of this.others) if (world.random.chance(0.5)) this.o.send(to, { kind: 'certificate', certificate })
    }
    if (leaderOf(round, config.validators) !== index) return
    const { base } = this.o
    const old = this.certificates.filter(({ kind, round: at }) => kind === 'notarize' && at < round - 1)
    const certificate = old.length > 0 && world.random.chance(0.6) ? world.random.pick(old) : undefined
    const known = this.heard.find(
      (message) => message.kind === 'proposal' && message.proposal.block.digest === certificate?.digest,
    )
    if (certificate !== undefined && known === undefined) return
    const parent = known?.kind === 'proposal' ? known.proposal.block : base
    const timestampMs = Math.floor(EPOCH_MS + world.nowMs)
    const block = this.block({
      round,
      height: parent.height + 1,
      parent: parent.digest,
      proposer: index,
      timestampMs,
      payload: this.o.payload(parent.digest, []),
    })
    const nullifications = this.certificates.filter(
      ({ kind, round: at }) => kind === 'nullify' && at > parent.round && at < round,
    )
    for (const to of this.others) {
      this.o.send(to, this.propose(block, { parentCertificate: certificate, nullifications }))
      this.o.send(to, this.vote('notarize', round, block.digest))
    }
  }

  /** Its own vote beside a true one of somebody else. */
  shortCertificates(): readonly Certificate[] {
    return this.heard.slice(-20).flatMap((message) => {
      if (message.kind !== 'vote') return []
      const { kind, round, digest, signer, signature } = message.vote
      const own = this.vote(kind, round, digest)
      if (own.kind !== 'vote' || signer === this.o.index) return []
      const signatures = [
        { signer, signature },
        { signer: this.o.index, signature: own.vote.signature },
      ].sort((a, b) => a.signer - b.signer)
      return [{ kind, round, digest, signatures }]
    })
  }

  override hear(from: number, message: Message): void {
    if (this.heard.length >= 400) this.heard.shift()
    super.hear(from, message)
  }
}

/** Leads rounds of others, on parents that nobody notarized, past rounds that it shows any nullifications for. */
class Forger extends Base {
  protected override act(): void {
    const { world, config, index } = this.o
    const round = this.round() + (world.random.chance(0.2) ? 1 : 0)
    const leads = leaderOf(round, config.validators) === index
    if (!leads && world.random.chance(0.7)) return
    const parent = this.parent()
    const forged = world.random.chance(0.5)
    const parentCertificate = forged ? this.forged(round - 1, parent.digest) : this.certificateOf(parent)
    const from = forged ? round - 1 : parent.round
    const shown = this.certificates.filter(({ kind }) => kind === 'nullify')
    const nullifications = Array.from({ length: Math.min(64, Math.max(0, round - from - 1)) }, () => shown.at(-1)).filter(
      (certificate) => certificate !== undefined,
    )
    const block = this.block({
      round,
      height: parent.height + 1,
      parent: parent.digest,
      proposer: index,
      timestampMs: Math.floor(EPOCH_MS + world.nowMs),
      payload: this.o.payload(parent.digest, []),
    })
    for (const to of this.others) {
      this.o.send(to, this.propose(block, { parentCertificate, nullifications }))
      this.o.send(to, this.vote('notarize', round, block.digest))
    }
  }

  parent(): Block {
    const blocks = this.heard.flatMap((message) => (message.kind === 'proposal' ? [message.proposal.block] : []))
    return blocks.length > 0 && this.o.world.random.chance(0.8) ? this.o.world.random.pick(blocks.slice(-6)) : this.o.base
  }

  certificateOf({ digest }: Block): Certificate | undefined {
    return this.certificates.find((certificate) => certificate.kind === 'notarize' && certificate.digest === digest)
  }

  forged(round: number, digest: Digest): Certificate | undefined {
    const { config, scheme } = this.o
    if (round < 1) return undefined
    const signature = scheme.sign(signingBytes('notarize', config.ring, round, digest))
    const signatures = Array.from({ length: config.validators }, (_, signer) => ({ signer, signature }))
    return { kind: 'notarize', round, digest, signatures }
  }

  override hear(from: number, message: Message): void {
    if (this.heard.length >= 400) this.heard.shift()
    super.hear(from, message)
  }
}

/** Says in one epoch what was said in the one before, and the other way round; makes certificates of old votes. */
class Veteran extends Base {
  readonly #old: readonly Message[]

  constructor(options: LiarOptions) {
    super(options)
    const { memories, base } = options
    const made = certificatesOf(memories, options.config.validators)
    // Only what was said about rounds after the hand-over can mean anything in them.
    this.#old = [...made, ...memories].filter((message) => roundOf(message) > base.round)
  }

  protected override act(): void {
    const { world, epoch } = this.o
    for (const [messages, under] of [
      [this.#old, epoch],
      [this.heard, Math.max(0, epoch - 1)],
    ] as const) {
      if (messages.length === 0) continue
      for (let i = 0; i < 3; i += 1) this.o.send(world.random.pick(this.others), world.random.pick(messages), under)
    }
  }
}

/** Whatever agreeing votes there are, as certificates, of how many votes ever. */
function certificatesOf(messages: readonly Message[], validators: number): readonly Message[] {
  const votes = new Map<string, Vote[]>()
  for (const message of messages) {
    if (message.kind !== 'vote') continue
    const { kind, round, digest, signer } = message.vote
    const name = `${kind} ${round} ${digest}`
    const agreeing = votes.get(name) ?? []
    if (signer < validators && agreeing.every((vote) => vote.signer !== signer)) votes.set(name, [...agreeing, message.vote])
  }
  return [...votes.values()].map((agreeing) => {
    const { kind, round, digest } = agreeing[0] as Vote
    const signatures = agreeing.map(({ signer, signature }) => ({ signer, signature })).sort((a, b) => a.signer - b.signer)
    return { kind: 'certificate', certificate: { kind, round, digest, signatures } }
  })
}

function roundOf(message: Message): number {
  if (message.kind === 'vote') return message.vote.round
  return message.kind === 'proposal' ? message.proposal.block.round : message.certificate.round
}

/** Shows evidence against the honest: statements that they did not make, or not in one epoch, or not in one round. */
class Slanderer extends Base {
  protected override act(): void {
    const { world, ring, epoch, members, config, scheme, memories } = this.o
    const atMs = Math.floor(EPOCH_MS + world.nowMs)
    const victim = world.random.pick(this.others)
    const said = (messages: readonly Message[]): readonly Vote[] =>
      messages.flatMap((message) => (message.kind === 'vote' && message.vote.signer === victim ? [message.vote] : []))
    const [now, before] = [said(this.heard), said(memories)]
    const round = this.round()
    const forged = (kind: VoteKind, digest: Digest | undefined): Vote => {
      const signature = scheme.sign(signingBytes(kind, config.ring, round, digest))
      return { kind, round, digest, signer: victim, signature }
    }
    const pair = world.random.pick([
      () => [forged('nullify', undefined), forged('finalize', 'cd'.repeat(32) as Digest)],
      () => [now.at(-1), now.findLast(({ kind }) => kind === 'finalize')],
      () => [before.find(({ kind }) => kind === 'nullify'), now.find(({ kind }) => kind === 'finalize')],
      () => {
        const first = before.find((vote) => now.some(({ kind, round: at }) => kind === vote.kind && at === vote.round))
        return [first, now.find((vote) => vote.kind === first?.kind && vote.round === first.round)]
      },
    ])()
    const [first, second] = pair
    if (first === undefined || second === undefined) return
    const tx = evidenceTx(ring, world.random, atMs, this.node, epoch, members[victim] as number, { first, second })
    if (world.random.chance(0.5)) this.o.submit(tx)
  }
}

/** Honest in what it signs, but tells only some, and late. */
class Withholder extends Twins {
  override hear(from: number, message: Message): void {
    if (this.o.world.random.chance(0.7)) this.o.world.after(this.o.world.random.next() * 800, () => super.hear(from, message))
  }
}

export const LIARS: Readonly<Record<string, new (options: LiarOptions) => Liar>> = {
  silent: Silent,
  twins: Twins,
  equivocator: Equivocator,
  'invalid proposer': InvalidProposer,
  garbage: Garbage,
  skipper: Skipper,
  forger: Forger,
  withholder: Withholder,
  veteran: Veteran,
  slanderer: Slanderer,
}
