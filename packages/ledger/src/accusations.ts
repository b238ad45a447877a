/**
 * Lies that this node can prove. Each is named once, kept on disk, and shown to the ring again and again, in new transactions, until the
 * ring has let go of who told it: what showed it may have lapsed without a quorum, and the process that found it may have ended.
 */
import type { Evidence, Proposal, Vote } from '@ringwall/consensus'
import type { DiskSeal } from '@ringwall/store'
import { EVIDENCE_FILE, EVIDENCE_MAX, readEvidence, writeEvidence } from './evidence-file.ts'
import type { EvidenceStatement, LedgerEvidence, LedgerStatus } from './types.ts'

const SHOWN_EVERY_MS = 30_000

export interface AccusationsPorts {
  readonly directory: string
  readonly seal: DiskSeal | undefined
  readonly show: ((lie: LedgerEvidence) => void) | undefined
  readonly isStopped: () => boolean
  readonly log: (level: 'info' | 'warn', line: string) => void
}

/** Who agrees now. */
export interface Accused {
  readonly epoch: number
  /** Names by index. */
  readonly validators: readonly string[]
}

export class Accusations {
  readonly #ports: AccusationsPorts
  #named: LedgerStatus['evidence'] = []
  /** What is to be shown until its validator is gone; on disk, too. */
  #lies: readonly LedgerEvidence[] = []
  #keeping: Promise<void> = Promise.resolve()
  #shownAtMs = Number.NEGATIVE_INFINITY

  constructor(ports: AccusationsPorts) {
    this.#ports = ports
  }

  /** Whoever was found to lie, and when. */
  get named(): LedgerStatus['evidence'] {
    return this.#named
  }

  /** Resolves once what is to be kept is on disk. */
  kept(): Promise<void> {
    return this.#keeping
  }

  /** What this node could prove before it was stopped, it still can. */
  recall(): void {
    try {
      this.#lies = readEvidence(this.#ports.directory, this.#ports.seal)
    } catch (error) {
      this.#ports.log('warn', `${(error as Error).message}: what it proved is not shown again`)
    }
    this.#named = this.#lies.map(({ validator, round, first }) => ({
      validator,
      kind: first.kind === 'proposal' ? 'proposals' : 'votes',
      round,
    }))
  }

  accuse(evidence: Evidence, { epoch, validators }: Accused): void {
    const round = evidence.kind === 'votes' ? evidence.first.round : evidence.first.block.round
    const validator = validators[evidence.validator] ?? `validator ${evidence.validator}`
    if (!this.name(validator, evidence.kind, round)) return
    const lie = { validator, epoch, round, first: statementOf(evidence.first), second: statementOf(evidence.second) }
    this.#keep([...this.#lies, lie].slice(-EVIDENCE_MAX))
    this.#shownAtMs = performance.now()
    this.#keeping.then(() => this.#show(lie))
  }

  /** False when that was known. */
  name(validator: string, kind: Evidence['kind'], round: number): boolean {
    if (this.#named.length >= EVIDENCE_MAX) return false
    if (this.#named.some((known) => known.validator === validator && known.kind === kind && known.round === round)) return false
    this.#named = [...this.#named, { validator, kind, round }]
    this.#ports.log('warn', `${validator} signed two contradicting ${kind} in round ${round}: it is faulty or compromised`)
    return true
  }

  /** Called now and then. */
  showAgain({ epoch, validators }: Accused): void {
    const atMs = performance.now()
    if (this.#lies.length === 0 || atMs < this.#shownAtMs + SHOWN_EVERY_MS) return
    this.#shownAtMs = atMs
    const isGone = (lie: LedgerEvidence) => lie.epoch < epoch && !validators.includes(lie.validator)
    if (this.#lies.some(isGone)) this.#keep(this.#lies.filter((lie) => !isGone(lie)))
    const shown = new Set<string>()
    for (const lie of this.#lies) {
      // One is enough to be let go for.
      if (shown.has(lie.validator) || !validators.includes(lie.validator)) continue
      shown.add(lie.validator)
      this.#show(lie)
    }
  }

  #show(lie: LedgerEvidence): void {
    const { show, isStopped, log } = this.#ports
    if (isStopped()) return
    try {
      show?.(lie)
    } catch (error) {
      log('warn', `evidence against ${lie.validator} cannot be shown: ${(error as Error).message}`)
    }
  }

  #keep(lies: readonly LedgerEvidence[]): void {
    this.#lies = lies
    const { directory, seal, log } = this.#ports
    this.#keeping = this.#keeping
      .then(() => writeEvidence(directory, lies, seal))
      .catch((error: Error) => log('warn', `${EVIDENCE_FILE} cannot be written: ${error.message}`))
  }
}

function statementOf(statement: Vote | Proposal): EvidenceStatement {
  // A copy: it outlives the message that it came in.
  const signature = Uint8Array.from(statement.signature)
  if ('block' in statement) return { kind: 'proposal', digest: statement.block.digest, signature }
  return { kind: statement.kind, digest: statement.digest, signature }
}
