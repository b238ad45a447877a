/**
 * How a node goes on from final blocks, over the ends of epochs, and what its folder says of it when it starts: the decisions, without
 * disk and clock. `ledger.ts` and `open.ts` carry them out; so does the simulation (`sim/`), with crashes between any two steps.
 */
import type { Block, Certificate } from '@ringwall/consensus'
import type { BlockRecord } from './block-record.ts'
import type { Chain, Executed } from './chain.ts'

/** Why blocks that are final cannot be taken over. */
export type Obstacle =
  /** Blocks between the tip and them are missing. */
  | { readonly kind: 'gap' }
  /** They are another history than the one that is final here. */
  | { readonly kind: 'conflict' }
  | { readonly kind: 'invalid'; readonly height: number; readonly reason: string }

export interface Advance<S> {
  /** What became final here, in order, each with its record; ends with a boundary if there is one. */
  readonly fresh: readonly Executed<S>[]
  readonly records: readonly BlockRecord[]
  readonly obstacle: Obstacle | undefined
}

/**
 * Moves the chain's tip over `blocks`; those final already are skipped. `certificate` is of the last of them or, when that one
 * ends an epoch, of the last of `closing`.
 */
export function advanceOver<S>(
  chain: Chain<S>,
  blocks: readonly Block[],
  certificate: Certificate,
  closing: readonly Block[] | undefined,
): Advance<S> {
  const fresh: Executed<S>[] = []
  const records: BlockRecord[] = []
  const stop = (obstacle: Obstacle | undefined): Advance<S> => ({ fresh, records, obstacle })
  for (const [i, block] of blocks.entries()) {
    const tip = chain.tip.block
    if (block.height < tip.height || block.digest === tip.digest) continue
    if (block.height > tip.height + 1) return stop({ kind: 'gap' })
    if (block.height === tip.height || block.parent !== tip.digest) return stop({ kind: 'conflict' })
    const executed = chain.advance(block)
    if (typeof executed === 'string') return stop({ kind: 'invalid', height: block.height, reason: executed })
    fresh.push(executed)
    if (executed.next !== undefined) {
      // The voter's own blocks say what closed the epoch; they are no part of what follows.
      records.push({ block, certificate, closing: closing ?? blocks.slice(i + 1) })
      break
    }
    records.push({ block, certificate: certificate.digest === block.digest ? certificate : undefined })
  }
  return stop(undefined)
}

/** One thing to put on disk, durable before the next. */
export type DiskStep =
  /** What the voter of the ending epoch signed. */
  | { readonly kind: 'votes' }
  /** An empty journal. */
  | { readonly kind: 'journal'; readonly epoch: number }
  | { readonly kind: 'blocks'; readonly records: readonly BlockRecord[] }
  | { readonly kind: 'remove-journals'; readonly before: number }

/**
 * The next epoch's journal is on disk before the block that begins it, and the ended one's until after it. So whatever a crash leaves
 * behind, a folder whose blocks reach into an epoch and that has no journal of it is one that has forgotten, and no other is
 * mistaken for such.
 */
export function handOverSteps(records: readonly BlockRecord[], next: number): readonly DiskStep[] {
  return [
    { kind: 'votes' },
    { kind: 'journal', epoch: next },
    { kind: 'blocks', records },
    { kind: 'remove-journals', before: next },
  ]
}

/** What a node finds when it starts. */
export interface Folder {
  readonly hasBlocks: boolean
  /** Of the epoch that the tip's children belong to. */
  readonly hasJournal: boolean
  /** That journal says something about blocks after the tip. */
  readonly hasSigned: boolean
  /** Blocks or statements are missing that were there. */
  readonly isDamaged: boolean
  /** An earlier start found that the folder had forgotten, or may have. */
  readonly isMarked: boolean
  /** Nobody else agrees. */
  readonly isAlone: boolean
}

/**
 * `whole`: all that this validator signed and that still binds is here. `lost`: it is not, and the ring has to go on before the
 * validator speaks. `unknown`: nothing is here, and peers know whether there ever was.
 */
export function memoryOf(folder: Folder): 'whole' | 'lost' | 'unknown' {
  const { hasBlocks, hasJournal, hasSigned, isDamaged, isMarked, isAlone } = folder
  if (isAlone) return 'whole'
  // Blocks without a journal are a backup, or what is left of a node.
  if (isDamaged || (hasBlocks && !hasJournal)) return 'lost'
  if (!isMarked) return 'whole'
  return hasBlocks || hasSigned ? 'lost' : 'unknown'
}
