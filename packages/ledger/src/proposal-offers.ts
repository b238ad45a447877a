/** Which proposals are worth decoding: a block may have megabytes, and a liar sends it as often as its link carries it. Pure. */
import { leaderOf, type ProposalHead, ROUNDS_AHEAD_MAX } from '@ringwall/consensus'

/** Times that a leader's proposals of one round are looked at: it says it again when a timer runs out, and a second one is evidence. */
const OFFERS_MAX = 3
/** Rounds whose offers are counted; with more, counting begins anew. */
const ROUNDS_MAX = 1_024
/** Bytes of refused proposals that weigh as much as one lie. */
const BYTES_A_LIE = 65_536

/** Where this validator is. */
export interface Position {
  readonly validators: number
  readonly round: number
  /** Of the last final block. */
  readonly finalRound: number
}

export class ProposalOffers {
  /** By round, in which only its leader counts. */
  readonly #counts = new Map<number, number>()

  /** How much of a lie it is that `from` sends `bytes` of proposal under this head; 0 when it is worth decoding. */
  weigh({ round, proposer }: ProposalHead, from: number, bytes: number, { validators, ...at }: Position): number {
    const weight = Math.ceil(bytes / BYTES_A_LIE)
    if (proposer !== from || leaderOf(round, validators) !== from || round > at.round + ROUNDS_AHEAD_MAX) return weight
    // Whoever is behind proposes in good faith what comes too late: it costs little, and is decoded no more.
    if (round <= at.finalRound) return 1
    const count = (this.#counts.get(round) ?? 0) + 1
    if (this.#counts.size >= ROUNDS_MAX) this.#counts.clear()
    this.#counts.set(round, count)
    return count > OFFERS_MAX ? weight : 0
  }

  /** Rounds begin anew with an epoch's validators. */
  clear(): void {
    this.#counts.clear()
  }
}
