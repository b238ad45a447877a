/**
 * What a validator must not say because it may have signed something else before and no longer know it: a folder that lost records, or
 * that came empty. Pure; the shell keeps the mark on disk.
 */
import { faultsOf, type Message } from '@ringwall/consensus'

/** A round that never ends: nothing is said until the ring has gone on without this validator. */
const UNKNOWN = Number.POSITIVE_INFINITY

export class Silence {
  /** Nothing of its own is said in rounds up to this one. */
  #throughRound: number
  #asleep: boolean
  /** Peers that say that nothing is final yet. */
  readonly #unborn = new Set<string>()
  /** A block of a later time was made without this validator. Unix milliseconds. */
  readonly #untilMs: number

  /**
   * @param throughRound 0: all that it signed is known.
   * @param isBlank Nothing is known of what it ever signed: it listens first.
   */
  constructor(throughRound: number, isBlank: boolean, untilMs: number) {
    this.#throughRound = throughRound
    this.#asleep = isBlank
    this.#untilMs = untilMs
  }

  /** Whether it only listens yet. */
  get asleep(): boolean {
    return this.#asleep
  }

  /** Whether it may say something at all. */
  get speaks(): boolean {
    return !this.#asleep && this.#throughRound !== UNKNOWN
  }

  /** Returns whether this is the first honest word that nothing is final yet: one more peer says so than may lie. */
  hearsUnborn(peer: string, validators: number): boolean {
    if (!this.#asleep) return false
    this.#unborn.add(peer)
    return this.#unborn.size > faultsOf(validators)
  }

  /** It listened enough. @param isNew The ring is, so that it cannot have signed anything. */
  wake(isNew: boolean): void {
    this.#asleep = false
    if (!isNew) this.#throughRound = UNKNOWN
  }

  /** Nothing that it may have signed counts any more. */
  lift(): void {
    this.#throughRound = 0
  }

  /** A block is final. Returns whether the ring has gone on without this validator: it speaks after that block's round. */
  endsWith(round: number, timestampMs: number): boolean {
    if (this.#throughRound !== UNKNOWN || timestampMs <= this.#untilMs) return false
    this.#throughRound = round
    return true
  }

  /** Whether this would be a word of its own in such a round. @param self Its index among the validators; -1: it is none. */
  covers(message: Message, self: number): boolean {
    const through = this.#throughRound
    if (through === 0) return false
    if (message.kind === 'vote') return message.vote.signer === self && message.vote.round <= through
    if (message.kind === 'proposal') {
      return message.proposal.block.proposer === self && message.proposal.block.round <= through
    }
    const { certificate } = message
    return certificate.round <= through && certificate.signatures.some(({ signer }) => signer === self)
  }
}
