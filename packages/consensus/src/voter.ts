/**
 * Simplex (Chan and Pass, "Simplex Consensus: A Simple and Fast Consensus Protocol", ePrint 2023/463) as a state machine:
 * events and the time go in, effects come out. No clock, socket, disk or randomness of its own. docs/consensus.md is the
 * protocol in prose, with the argument for its safety.
 *
 * - *Entering a round* sets its timer. The leader is asked to propose on top of the newest notarized block, with a
 *   nullification for every round between (`#parentFor`).
 * - *A proposal* counts when it is the first of the round's leader, carries its parent's certificate and those
 *   nullifications, and the application finds it valid. Then, unless this validator has nullified the round:
 *   `notarize` (`#considerProposal`, `#onVerified`).
 * - *A quorum of `notarize`* is a notarization: enter the next round, and, unless this validator has nullified this one,
 *   `finalize` (`#onNotarized`).
 * - *The timer runs out:* `nullify`, unless this validator has finalized. So it does too when f + 1 others have: one
 *   of them is honest, and waiting alone helps nobody (`#nullify`).
 * - *A quorum of `nullify`* is a nullification: enter the next round.
 * - *A quorum of `finalize`* makes the block final with all its ancestors.
 *
 * Safety is two rules, each kept in `#sign`, the one place that makes signatures, also across a crash, because
 * `persist` stands before the `send` that it permits: nobody notarizes two blocks in a round, and nobody both nullifies
 * and finalizes a round. By the first, two quorums cannot notarize different blocks of a round: they share an honest
 * validator. By the second, a round with a finalized block has no nullification; so every later proposal, which must
 * show a nullification for each round that it skips, builds on that block.
 */
import { signingBytes, verifyCertificate } from './certificate.ts'
import { faultsOf, leaderOf, quorumOf } from './quorum.ts'
import type {
  Block,
  Certificate,
  Digest,
  Effect,
  Evidence,
  JournalRecord,
  Message,
  Proposal,
  Scheme,
  Vote,
  VoteKind,
  VoterConfig,
  VoterEvent,
} from './types.ts'
import { genesisBlock, makeBlock, NULLIFICATIONS_MAX, PAYLOAD_BYTES_MAX } from './wire.ts'

/** Votes and proposals for rounds further ahead are dropped: a certificate takes us there. */
export const ROUNDS_AHEAD_MAX = 64
/** Timeouts double with each nullified round in a row, up to 2 to this power of `roundMs`. */
const BACKOFF_MAX = 3
/** Bodies that are kept without being final. */
const BLOCKS_MAX = 512
/** Own votes of the last rounds that are sent again when nothing moves. */
const RESENT_ROUNDS = 16
/** Rounds whose certificates are shared at once. */
const SHARED_ROUNDS = 32
/** A leader of whom nothing was heard for this many rotations is not waited for. */
const SILENT_ROTATIONS = 2
/** A leader whose rounds came to nothing is waited for in every second rotation, then in every fourth, up to 2 to this power. */
const MISSES_MAX = 4
/** A round may take so many times what the slowest of the last ones took, and not less than this share of `roundMs`. */
const PACE_FACTOR = 3
const PACE_SHARE_MIN = 0.25

export interface VoterStatus {
  readonly round: number
  readonly leader: number
  readonly finalizedHeight: number
  readonly finalizedRound: number
  /** Messages that were malformed, out of bounds or badly signed. */
  readonly refused: number
  /** Of these, statements under a signature that is not their signer's: no honest validator sends or passes on any. */
  readonly forged: number
}

/** What is known of one round. Votes are one a signer and kind: the first. */
interface Round {
  readonly votes: Readonly<Record<VoteKind, Map<number, Vote>>>
  notarization: Certificate | undefined
  nullification: Certificate | undefined
  finalization: Certificate | undefined
  /** The leader's first. */
  proposal: Proposal | undefined
  /** Its certificates have been checked. */
  justified: boolean
  asked: boolean
  valid: boolean | undefined
  readonly accused: Set<number>
}

/** What this validator has signed in a round: never more than this. */
interface Signed {
  notarize?: Vote
  nullify?: Vote
  finalize?: Vote
  proposal?: Proposal
}

export class Voter {
  readonly #config: VoterConfig
  readonly #scheme: Scheme
  readonly #quorum: number
  readonly #faults: number
  readonly #rounds = new Map<number, Round>()
  readonly #signed = new Map<number, Signed>()
  /** Bodies by digest: the last final block and what is not final yet. */
  readonly #blocks = new Map<Digest, Block>()
  readonly #helped = new Map<number, number>()
  #final: { readonly block: Block; readonly certificate: Certificate | undefined }
  /** A finalization whose block or ancestors are not all here. */
  #owed: Certificate | undefined
  #round = 1
  #entered: Certificate | undefined
  #nullifiedInARow = 0
  /** Of those, rounds whose leader was waited for. */
  #waitedInARow = 0
  #timeouts = 0
  #nowMs = 0
  /** When this round had work to do; undefined while it is idle. */
  #busySinceMs: number | undefined
  /** How long the last rounds with work in them took to be notarized, milliseconds. */
  #paces: number[] = []
  /** By validator: the round in which something was last heard from it. */
  readonly #heard: number[]
  /** By validator: its last rounds in a row for which this one waited in vain, at most `MISSES_MAX`. */
  readonly #misses: number[]
  #work = false
  #idle = true
  #proposeOn: Block | undefined
  #refused = 0
  #forged = 0
  #effects: Effect[] = []
  /** What this voter's history begins with: needs no certificate. */
  readonly #base: Block

  /** `base` is the genesis block, or the one after which another set of validators handed over to this one. */
  constructor(config: VoterConfig, scheme: Scheme, base: Block) {
    this.#config = config
    this.#scheme = scheme
    this.#quorum = quorumOf(config.validators)
    this.#faults = faultsOf(config.validators)
    this.#base = base
    this.#final = { block: base, certificate: undefined }
    this.#blocks.set(base.digest, base)
    this.#round = base.round + 1
    this.#heard = Array.from({ length: config.validators }, () => this.#round)
    this.#misses = Array.from({ length: config.validators }, () => 0)
  }

  /**
   * A voter that goes on after a crash.
   *
   * @param final The last block known to be final, with its certificate; undefined for `base`.
   * @param journal What was persisted since, in order. It binds: nothing in it is contradicted.
   * @param base As for the constructor; the genesis block unless given.
   */
  static restore(
    config: VoterConfig,
    scheme: Scheme,
    final: { readonly block: Block; readonly certificate: Certificate } | undefined,
    journal: readonly JournalRecord[],
    base: Block = genesisBlock(config.ring),
  ): Voter {
    const voter = new Voter(config, scheme, base)
    if (final !== undefined) {
      voter.#final = final
      voter.#blocks.set(final.block.digest, final.block)
      voter.#round = final.certificate.round + 1
      voter.#entered = final.certificate
    }
    for (const record of journal) voter.#recall(record)
    voter.#heard.fill(voter.#round)
    return voter
  }

  status(): VoterStatus {
    return {
      round: this.#round,
      leader: leaderOf(this.#round, this.#config.validators),
      finalizedHeight: this.#final.block.height,
      finalizedRound: this.#final.block.round,
      refused: this.#refused,
      forged: this.#forged,
    }
  }

  step(event: VoterEvent, nowMs: number): readonly Effect[] {
    this.#nowMs = nowMs
    this.#effects = []
    if (event.kind === 'start') this.#start()
    else if (event.kind === 'timeout') this.#onTimeout(event.round)
    else if (event.kind === 'message') this.#onMessage(event.from, event.message)
    else if (event.kind === 'proposed') this.#onProposed(event.round, event.payload, event.timestampMs)
    else if (event.kind === 'verified') this.#onVerified(event.digest, event.valid)
    else if (event.kind === 'pending') this.#onPending()
    else if (event.kind === 'block') this.#onBlock(event.block)
    else this.#onSynced(event.block, event.certificate)
    return this.#effects
  }

  // Start and restart

  #recall(record: JournalRecord): void {
    if (record.kind === 'vote') {
      const { vote } = record
      if (vote.signer !== this.#config.self || vote.round <= this.#final.block.round) return
      this.#signedIn(vote.round)[vote.kind] = vote
      this.#roundAt(vote.round).votes[vote.kind].set(vote.signer, vote)
    } else if (record.kind === 'proposal') {
      const { proposal } = record
      const { block } = proposal
      if (block.round <= this.#final.block.round) return
      this.#blocks.set(block.digest, block)
      const round = this.#roundAt(block.round)
      round.proposal ??= proposal
      // It was checked before it was persisted; the application is asked again if the vote itself was not.
      round.justified = true
      if (block.proposer === this.#config.self) this.#signedIn(block.round).proposal = proposal
    } else {
      const { certificate } = record
      if (certificate.round <= this.#final.block.round) return
      this.#keep(certificate)
      if (certificate.kind === 'finalize' && certificate.round > (this.#owed?.round ?? 0)) this.#owed = certificate
      if (certificate.round >= this.#round) {
        this.#round = certificate.round + 1
        this.#entered = certificate
      }
    }
  }

  #start(): void {
    this.#send('all', ...this.#ownStatements())
    this.#settleOwed()
    this.#enter(this.#round, this.#entered)
    for (const round of [...this.#rounds.keys()].sort((a, b) => a - b)) this.#countVotes(round)
  }

  // Rounds

  #roundAt(round: number): Round {
    let found = this.#rounds.get(round)
    if (found === undefined) {
      found = {
        votes: { notarize: new Map(), nullify: new Map(), finalize: new Map() },
        notarization: undefined,
        nullification: undefined,
        finalization: undefined,
        proposal: undefined,
        justified: false,
        asked: false,
        valid: undefined,
        accused: new Set(),
      }
      this.#rounds.set(round, found)
    }
    return found
  }

  #signedIn(round: number): Signed {
    let found = this.#signed.get(round)
    if (found === undefined) {
      found = {}
      this.#signed.set(round, found)
    }
    return found
  }

  /** `because` is the certificate that lets us in; undefined only for round 1. */
  #enter(round: number, because: Certificate | undefined): void {
    const left = this.#round
    this.#round = round
    this.#entered = because
    this.#timeouts = 0
    this.#proposeOn = undefined
    const nullified = because?.kind === 'nullify'
    this.#nullifiedInARow = nullified ? this.#nullifiedInARow + 1 : 0
    if (!nullified) this.#waitedInARow = 0
    else if (!this.#isSkipped(because.round)) {
      this.#waitedInARow += 1
      if (because.round === left) this.#miss(leaderOf(left, this.#config.validators))
    }
    this.#idle = !this.#work
    this.#busySinceMs = this.#work ? this.#nowMs : undefined
    this.#setTimer()
    // A whole rotation without a block: perhaps nobody holds every certificate that a proposal has to show.
    if (this.#nullifiedInARow > 0 && this.#nullifiedInARow % this.#config.validators === 0) this.#shareCertificates()
    this.#lead()
    this.#considerProposal(round)
    // Certificates that came early take us on at once.
    const known = this.#rounds.get(round)
    const next = known?.notarization ?? known?.nullification
    if (next !== undefined && this.#round === round) this.#advance(next)
    // Alone this costs nothing: others who heard of the leader go on without this vote.
    else if (this.#round === round && this.#isSkipped(round)) this.#nullify(round)
  }

  /** Is the leader of `round` one that is not waited for? */
  #isSkipped(round: number): boolean {
    const leader = leaderOf(round, this.#config.validators)
    return this.#isSilent(leader) || this.#isSpared(round, leader)
  }

  #isSilent(validator: number): boolean {
    if (validator === this.#config.self) return false
    return this.#round - (this.#heard[validator] ?? 0) > SILENT_ROTATIONS * this.#config.validators
  }

  /**
   * Whoever talks and yet never leads to a block would cost a timer in each rotation. The rotations in which it is waited for are
   * the same for all, and those of many misses among those of few: one that means well leads again as soon as it can.
   * More than f such leaders are not all liars: then it is the network that is slow, and each is waited for.
   */
  #isSpared(round: number, leader: number): boolean {
    const misses = this.#misses[leader] ?? 0
    if (misses === 0 || Math.floor(round / this.#config.validators) % 2 ** misses === 0) return false
    return this.#misses.filter((each) => each > 0).length <= this.#faults
  }

  #miss(leader: number): void {
    if (leader === this.#config.self) return
    this.#misses[leader] = Math.min(MISSES_MAX, (this.#misses[leader] ?? 0) + 1)
  }

  /** The slowest of the last two rotations counts: leaders are near and far. */
  #measure(): void {
    if (this.#busySinceMs === undefined) return
    // The clock may have been set meanwhile.
    const took = Math.min(Math.max(0, this.#nowMs - this.#busySinceMs), this.#config.roundMs)
    this.#paces.push(took)
    if (this.#paces.length > 2 * this.#config.validators) this.#paces.shift()
  }

  #advance(certificate: Certificate): void {
    if (certificate.round < this.#round) return
    this.#effects.push({ kind: 'persist', record: { kind: 'certificate', certificate } })
    this.#send('all', { kind: 'certificate', certificate })
    this.#enter(certificate.round + 1, certificate)
  }

  /** Some of what is known about the rounds since the last final block, another part each time. */
  #shareCertificates(): void {
    const known = [...this.#rounds.keys()].filter((round) => round < this.#round).sort((a, b) => a - b)
    const turn = Math.floor(this.#nullifiedInARow / this.#config.validators) - 1
    const pages = Math.max(1, Math.ceil(known.length / SHARED_ROUNDS))
    const from = (turn % pages) * SHARED_ROUNDS
    for (const round of known.slice(from, from + SHARED_ROUNDS)) {
      const { notarization, nullification } = this.#rounds.get(round) as Round
      for (const certificate of [notarization, nullification]) {
        if (certificate !== undefined) this.#send('all', { kind: 'certificate', certificate })
      }
    }
  }

  #setTimer(): void {
    const { roundMs, validators } = this.#config
    const pace = this.#paces.length < validators ? roundMs : PACE_FACTOR * Math.max(...this.#paces)
    const first = Math.min(roundMs, Math.max(roundMs * PACE_SHARE_MIN, pace))
    const wait = Math.min(roundMs * 2 ** BACKOFF_MAX, first * 2 ** Math.max(this.#waitedInARow, this.#timeouts))
    this.#effects.push({ kind: 'timer', round: this.#round, afterMs: this.#idle ? this.#config.heartbeatMs + wait : wait })
  }

  #onPending(): void {
    this.#work = true
    if (!this.#idle) return
    this.#idle = false
    this.#busySinceMs = this.#nowMs
    this.#setTimer()
  }

  #onTimeout(round: number): void {
    if (round !== this.#round) return
    this.#timeouts += 1
    // Whatever was missed before, the next try finds it again: messages may have been lost.
    this.#helped.clear()
    this.#nullify(round)
    // Out of the round already, by a quorum that only waited for this vote.
    if (round !== this.#round) return
    if (this.#timeouts > 1) this.#send('all', ...this.#ownStatements())
    if (this.#entered !== undefined) this.#send('all', { kind: 'certificate', certificate: this.#entered })
    this.#fetchMissing()
    this.#setTimer()
  }

  /** What this validator said lately and others may have missed. */
  #ownStatements(): readonly Message[] {
    const messages: Message[] = []
    for (const round of [...this.#signed.keys()].sort((a, b) => a - b).slice(-RESENT_ROUNDS)) {
      const { proposal, notarize, nullify, finalize } = this.#signed.get(round) as Signed
      if (proposal !== undefined && round === this.#round) messages.push({ kind: 'proposal', proposal })
      for (const vote of [notarize, nullify, finalize]) if (vote !== undefined) messages.push({ kind: 'vote', vote })
    }
    return messages
  }

  // Leading

  #lead(): void {
    const { self, validators } = this.#config
    const own = this.#signed.get(this.#round)
    if (leaderOf(this.#round, validators) !== self || own?.proposal !== undefined || own?.nullify !== undefined) return
    const found = this.#parentFor(this.#round)
    if (found === undefined || this.#proposeOn?.digest === found.parent.digest) return
    this.#proposeOn = found.parent
    this.#effects.push({ kind: 'propose', round: this.#round, parent: found.parent })
  }

  /** The newest notarized block below `round` whose body is here, if every round between is nullified. */
  #parentFor(round: number): (Pick<Proposal, 'parentCertificate' | 'nullifications'> & { readonly parent: Block }) | undefined {
    const nullifications: Certificate[] = []
    const { block, certificate } = this.#final
    for (let at = round - 1; at > block.round; at -= 1) {
      const known = this.#rounds.get(at)
      const certified = known?.notarization ?? known?.finalization
      const body = certified?.digest === undefined ? undefined : this.#blocks.get(certified.digest)
      if (body !== undefined) return { parent: body, parentCertificate: certified, nullifications: nullifications.reverse() }
      if (known?.nullification === undefined || nullifications.length >= NULLIFICATIONS_MAX) return undefined
      nullifications.push(known.nullification)
    }
    if (block.digest !== this.#base.digest && certificate?.digest !== block.digest) return undefined
    return { parent: block, parentCertificate: certificate, nullifications: nullifications.reverse() }
  }

  #onProposed(round: number, payload: Uint8Array, timestampMs: number): void {
    const own = this.#signedIn(round)
    if (round !== this.#round || this.#proposeOn === undefined || own.proposal !== undefined || own.nullify !== undefined) return
    if (payload.length > PAYLOAD_BYTES_MAX) return
    const found = this.#parentFor(round)
    if (found === undefined || found.parent.digest !== this.#proposeOn.digest) return
    const { parent, parentCertificate, nullifications } = found
    const parts = {
      round,
      height: parent.height + 1,
      parent: parent.digest,
      proposer: this.#config.self,
      timestampMs,
      payload,
    }
    const block = makeBlock(parts, this.#scheme.hash)
    const signature = this.#scheme.sign(signingBytes('proposal', this.#config.ring, round, block.digest))
    const proposal: Proposal = { block, parentCertificate, nullifications, signature }
    own.proposal = proposal
    const known = this.#roundAt(round)
    known.proposal = proposal
    known.justified = true
    known.asked = true
    known.valid = true
    this.#effects.push({ kind: 'persist', record: { kind: 'proposal', proposal } })
    this.#send('all', { kind: 'proposal', proposal })
    this.#hold(block)
    this.#sign('notarize', round, block.digest)
  }

  // Messages

  #onMessage(from: number, message: Message): void {
    if (!Number.isInteger(from) || from < 0 || from >= this.#config.validators || from === this.#config.self) {
      this.#refused += 1
      return
    }
    this.#heard[from] = this.#round
    if (message.kind === 'vote') this.#onVote(from, message.vote)
    else if (message.kind === 'proposal') this.#onProposal(from, message.proposal)
    else this.#onCertificate(message.certificate)
  }

  #onVote(from: number, vote: Vote): void {
    const { kind, round, digest, signer, signature } = vote
    if (
      signer !== from ||
      (digest === undefined) !== (kind === 'nullify') ||
      round > this.#round + ROUNDS_AHEAD_MAX ||
      round < 1
    ) {
      this.#refused += 1
      return
    }
    if (round < this.#round) this.#help(from)
    if (round <= this.#final.block.round) return
    const known = this.#roundAt(round)
    const before = known.votes[kind].get(signer)
    const opposite =
      kind === 'nullify' ? known.votes.finalize.get(signer) : kind === 'finalize' ? known.votes.nullify.get(signer) : undefined
    if (before !== undefined && before.digest === digest && opposite === undefined) return
    if (known.accused.has(signer)) return
    if (!this.#scheme.verify(signer, signingBytes(kind, this.#config.ring, round, digest), signature)) {
      this.#refused += 1
      this.#forged += 1
      return
    }
    if (opposite !== undefined) this.#accuse(known, { kind: 'votes', validator: signer, first: opposite, second: vote })
    if (before !== undefined) {
      if (before.digest !== digest) this.#accuse(known, { kind: 'votes', validator: signer, first: before, second: vote })
      return
    }
    known.votes[kind].set(signer, vote)
    this.#countVotes(round)
  }

  #accuse(known: Round, evidence: Evidence): void {
    known.accused.add(evidence.validator)
    this.#effects.push({ kind: 'evidence', evidence })
  }

  /** Makes the certificates that the round's votes add up to. */
  #countVotes(round: number): void {
    const known = this.#rounds.get(round)
    if (known === undefined) return
    for (const kind of ['notarize', 'finalize', 'nullify'] as const) {
      const votes = known.votes[kind]
      if (votes.size < this.#quorum || this.#certificateOf(known, kind) !== undefined) continue
      const counts = new Map<Digest | undefined, Vote[]>()
      for (const vote of votes.values()) counts.set(vote.digest, [...(counts.get(vote.digest) ?? []), vote])
      for (const [digest, agreeing] of counts) {
        if (agreeing.length < this.#quorum) continue
        const signatures = agreeing.map(({ signer, signature }) => ({ signer, signature })).sort((a, b) => a.signer - b.signer)
        this.#believe({ kind, round, digest, signatures })
      }
    }
    if (round === this.#round && known.votes.nullify.size > this.#faults) this.#nullify(round)
  }

  #certificateOf(known: Round, kind: VoteKind): Certificate | undefined {
    return kind === 'notarize' ? known.notarization : kind === 'nullify' ? known.nullification : known.finalization
  }

  #keep(certificate: Certificate): void {
    const known = this.#roundAt(certificate.round)
    if (certificate.kind === 'notarize') known.notarization ??= certificate
    else if (certificate.kind === 'nullify') known.nullification ??= certificate
    else known.finalization ??= certificate
  }

  #onCertificate(certificate: Certificate): void {
    const { round, kind } = certificate
    if (round <= this.#final.block.round) return
    const known = this.#rounds.get(round)
    if (known !== undefined && this.#certificateOf(known, kind) !== undefined) return
    if (!verifyCertificate(this.#config, this.#scheme, certificate)) {
      this.#refused += 1
      this.#forged += 1
      return
    }
    this.#believe(certificate)
  }

  /** Acts on a certificate that is known to be good. */
  #believe(certificate: Certificate): void {
    if (certificate.round <= this.#final.block.round) return
    const known = this.#roundAt(certificate.round)
    if (this.#certificateOf(known, certificate.kind) !== undefined) return
    this.#keep(certificate)
    if (certificate.kind === 'notarize') this.#onNotarized(certificate)
    else if (certificate.kind === 'nullify') this.#advance(certificate)
    else this.#onFinalization(certificate)
  }

  #onNotarized(certificate: Certificate): void {
    const { round } = certificate
    this.#misses[leaderOf(round, this.#config.validators)] = 0
    const digest = certificate.digest as Digest
    const proposed = this.#rounds.get(round)?.proposal?.block
    if (proposed?.digest === digest) this.#hold(proposed)
    if (!this.#blocks.has(digest)) this.#fetch(certificate)
    if (round < this.#round) {
      this.#lead()
      return
    }
    if (round === this.#round) this.#measure()
    // Whoever sees the notarization before it gave up on the round says so: this is what finality counts.
    this.#sign('finalize', round, digest)
    this.#advance(certificate)
  }

  #help(peer: number): void {
    if (this.#entered === undefined || this.#helped.get(peer) === this.#round) return
    this.#helped.set(peer, this.#round)
    this.#send(peer, { kind: 'certificate', certificate: this.#entered })
  }

  // Proposals

  #onProposal(from: number, proposal: Proposal): void {
    const { block, signature } = proposal
    const { round, proposer, digest } = block
    if (proposer !== from || leaderOf(round, this.#config.validators) !== proposer || round > this.#round + ROUNDS_AHEAD_MAX) {
      this.#refused += 1
      return
    }
    if (round < this.#round) this.#help(from)
    if (round <= this.#final.block.round) return
    const known = this.#roundAt(round)
    if (known.proposal?.block.digest === digest || known.accused.has(proposer)) return
    if (!this.#scheme.verify(proposer, signingBytes('proposal', this.#config.ring, round, digest), signature)) {
      this.#refused += 1
      this.#forged += 1
      return
    }
    if (known.proposal !== undefined) {
      this.#accuse(known, { kind: 'proposals', validator: proposer, first: known.proposal, second: proposal })
      return
    }
    known.proposal = proposal
    if (known.notarization?.digest === digest) this.#onBlock(block)
    known.justified = this.#isJustified(proposal)
    if (!known.justified) {
      this.#refused += 1
      return
    }
    // What justifies the proposal may be news, and may take us into its round.
    if (proposal.parentCertificate !== undefined) this.#onCertificate(proposal.parentCertificate)
    for (const nullification of proposal.nullifications) this.#onCertificate(nullification)
    this.#considerProposal(round)
  }

  /** Does the proposal show its parent's certificate, and a nullification for every round that it skips? */
  #isJustified({ block, parentCertificate, nullifications }: Proposal): boolean {
    const parentRound = parentCertificate?.round ?? this.#base.round
    if (parentCertificate === undefined) {
      if (block.parent !== this.#base.digest) return false
    } else if (
      parentCertificate.kind === 'nullify' ||
      parentCertificate.digest !== block.parent ||
      !this.#isCertified(parentCertificate)
    ) {
      return false
    }
    if (parentRound < this.#final.block.round || nullifications.length !== block.round - parentRound - 1) return false
    return nullifications.every(
      (certificate, i) =>
        certificate.kind === 'nullify' && certificate.round === parentRound + 1 + i && this.#isCertified(certificate),
    )
  }

  #isCertified(certificate: Certificate): boolean {
    const known = this.#rounds.get(certificate.round)
    const held = known === undefined ? undefined : this.#certificateOf(known, certificate.kind)
    if (held !== undefined && held.digest === certificate.digest) return true
    return verifyCertificate(this.#config, this.#scheme, certificate)
  }

  /** Asks the application about the round's proposal, once we are in the round and its parent is here. */
  #considerProposal(round: number): void {
    const known = this.#rounds.get(round)
    if (round !== this.#round || known?.proposal === undefined || !known.justified || known.asked) return
    const own = this.#signed.get(round)
    if (own?.notarize !== undefined || own?.nullify !== undefined) return
    const { block, parentCertificate } = known.proposal
    const parent = this.#blocks.get(block.parent)
    if (parent === undefined) {
      if (parentCertificate !== undefined) this.#fetch(parentCertificate)
      return
    }
    known.asked = true
    if (block.height !== parent.height + 1) {
      known.valid = false
      return
    }
    this.#effects.push({ kind: 'verify', block, parent })
  }

  #onVerified(digest: Digest, valid: boolean): void {
    const known = this.#rounds.get(this.#round)
    const proposal = known?.proposal
    if (known === undefined || proposal === undefined || proposal.block.digest !== digest || known.valid !== undefined) return
    known.valid = valid
    const own = this.#signed.get(this.#round)
    if (!valid || own?.notarize !== undefined || own?.nullify !== undefined) return
    // The body goes to disk with the vote: a notarized block survives the loss of every process.
    this.#effects.push({ kind: 'persist', record: { kind: 'proposal', proposal } })
    this.#hold(proposal.block)
    this.#sign('notarize', this.#round, digest)
  }

  // Signing

  #nullify(round: number): void {
    this.#sign('nullify', round, undefined)
  }

  /** The one place where votes are made. Says nothing rather than contradict what was said. */
  #sign(kind: VoteKind, round: number, digest: Digest | undefined): void {
    const own = this.#signedIn(round)
    if (own[kind] !== undefined) return
    if (kind === 'finalize' && own.nullify !== undefined) return
    if (kind === 'nullify' && own.finalize !== undefined) return
    const signature = this.#scheme.sign(signingBytes(kind, this.#config.ring, round, digest))
    const vote: Vote = { kind, round, digest, signer: this.#config.self, signature }
    own[kind] = vote
    this.#effects.push({ kind: 'persist', record: { kind: 'vote', vote } })
    this.#send('all', { kind: 'vote', vote })
    this.#roundAt(round).votes[kind].set(vote.signer, vote)
    this.#countVotes(round)
  }

  #send(to: 'all' | number, ...messages: readonly Message[]): void {
    if (this.#config.validators === 1) return
    for (const message of messages) this.#effects.push({ kind: 'send', to, message })
  }

  // Bodies

  #hold(block: Block): void {
    if (this.#blocks.size >= BLOCKS_MAX) {
      for (const [digest, { round }] of this.#blocks) {
        if (round < this.#final.block.round) this.#blocks.delete(digest)
        if (this.#blocks.size < BLOCKS_MAX) break
      }
    }
    if (this.#blocks.size < BLOCKS_MAX || this.#isWanted(block.digest)) this.#blocks.set(block.digest, block)
  }

  /** Only bodies that a certificate names are taken from others. */
  #isWanted(digest: Digest): boolean {
    if (this.#missingFor(this.#owed) === digest) return true
    for (const { notarization, finalization, proposal } of this.#rounds.values()) {
      if (notarization?.digest === digest || finalization?.digest === digest || proposal?.block.parent === digest) return true
    }
    return false
  }

  #fetch(certificate: Certificate): void {
    if (certificate.digest === undefined) return
    const from = certificate.signatures.find(({ signer }) => signer !== this.#config.self)?.signer ?? 0
    this.#effects.push({ kind: 'fetch', digest: certificate.digest, round: certificate.round, from })
  }

  #fetchMissing(): void {
    for (const { notarization } of this.#rounds.values()) {
      if (notarization?.digest !== undefined && !this.#blocks.has(notarization.digest)) this.#fetch(notarization)
    }
    const missing = this.#missingFor(this.#owed)
    if (missing !== undefined && this.#owed !== undefined) this.#fetch({ ...this.#owed, digest: missing })
  }

  #onBlock(block: Block): void {
    const { digest } = makeBlock(block, this.#scheme.hash)
    if (!this.#isWanted(digest) || this.#blocks.has(digest)) return
    this.#hold({ ...block, digest })
    this.#settleOwed()
    this.#considerProposal(this.#round)
    this.#lead()
  }

  // Finality

  #onFinalization(certificate: Certificate): void {
    if (this.#owed === undefined || certificate.round > this.#owed.round) this.#owed = certificate
    // Whoever proposed the block tells everybody, in case some votes were lost.
    const body = this.#blocks.get(certificate.digest as Digest)
    if (body?.proposer === this.#config.self) this.#send('all', { kind: 'certificate', certificate })
    this.#settleOwed()
    this.#advance(certificate)
  }

  /** The nearest ancestor that is missing between a finalization and the last final block. */
  #missingFor(certificate: Certificate | undefined): Digest | undefined {
    if (certificate?.digest === undefined) return undefined
    let digest = certificate.digest
    for (;;) {
      const block = this.#blocks.get(digest)
      if (block === undefined) return digest
      if (block.height <= this.#final.block.height + 1) return undefined
      digest = block.parent
    }
  }

  #settleOwed(): void {
    const certificate = this.#owed
    if (certificate === undefined || certificate.round <= this.#final.block.round) {
      this.#owed = undefined
      return
    }
    const missing = this.#missingFor(certificate)
    if (missing !== undefined) {
      this.#fetch({ ...certificate, digest: missing })
      return
    }
    const blocks: Block[] = []
    for (let block = this.#blocks.get(certificate.digest as Digest) as Block; block.height > this.#final.block.height; ) {
      blocks.unshift(block)
      const parent = this.#blocks.get(block.parent)
      if (parent === undefined) break
      block = parent
    }
    this.#owed = undefined
    const last = blocks.at(-1)
    // Only more than f liars can certify a block beside the chain; the shell compares certificates and raises the alarm.
    if (last === undefined) return
    this.#effects.push({ kind: 'finalized', blocks, certificate })
    this.#setFinal(last, certificate)
  }

  #onSynced(block: Block, certificate: Certificate): void {
    if (block.height <= this.#final.block.height || certificate.digest !== block.digest) return
    this.#setFinal(block, certificate)
    this.#settleOwed()
    if (certificate.round >= this.#round) this.#advance(certificate)
    else {
      this.#considerProposal(this.#round)
      this.#lead()
    }
  }

  #setFinal(block: Block, certificate: Certificate): void {
    this.#final = { block, certificate }
    this.#blocks.set(block.digest, block)
    this.#work = false
    for (const round of this.#rounds.keys()) if (round <= block.round) this.#rounds.delete(round)
    for (const round of this.#signed.keys()) if (round <= block.round) this.#signed.delete(round)
    for (const [digest, { height }] of this.#blocks) {
      if (height <= block.height && digest !== block.digest) this.#blocks.delete(digest)
    }
  }
}
