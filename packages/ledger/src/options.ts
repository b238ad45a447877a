/** What a ledger is opened with. */
import type { KeyObject } from 'node:crypto'
import type { Fabric } from '@ringwall/fabric'
import type { DiskSeal } from '@ringwall/store'
import type { Application, Genesis, LedgerEvidence } from './types.ts'

/** The part of the fabric that the ledger uses: channels `consensus` and `sync` are its own. */
export type LedgerFabric = Pick<Fabric, 'send' | 'curb' | 'request' | 'onMessage' | 'onRequest' | 'onLink' | 'links'>

/**
 * What a peer did. `forged`: in another's name, not signed by it; `malformed`: what has no form, or cannot be; `excess`: too much, too late or out of turn, as
 * a slow node may be.
 */
export interface LedgerFault {
  readonly peer: string
  readonly kind: 'forged' | 'malformed' | 'excess'
  readonly what: string
  /** It is not listened to for a while. */
  readonly isMuted: boolean
}

export const DEFAULTS = { roundMs: 1000, heartbeatMs: 5000, syncMs: 1000 } as const

export interface LedgerOptions<S> {
  /** The ledger's own directory: created if need be, locked while it is open. */
  readonly directory: string
  readonly application: Application<S>
  readonly genesis: Genesis
  /** This node's id. It votes while it is one of the ring's validators, and follows them otherwise. */
  readonly self: string
  /** Ed25519; its public half is what the ring knows this node by. */
  readonly privateKey: KeyObject
  /** Started and stopped by its owner. Open the ledger before the fabric starts, or messages are missed (and asked for again). */
  readonly fabric: LedgerFabric
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
  readonly log?: (level: 'info' | 'warn', line: string) => void
  /** Longest a round with work in it waits for its leader; 1,000 unless given. At least a few network round trips. */
  readonly roundMs?: number
  /** How often an idle ring proves that it is alive with an empty block; 5,000 unless given. */
  readonly heartbeatMs?: number
  /** How often peers tell each other how far they are; 1,000 unless given. */
  readonly syncMs?: number
  /** Blocks between snapshots; 10,000 unless given. Many bytes of blocks make one due earlier. */
  readonly snapshotBlocks?: number
  /** Blocks kept on disk before the tip, once two snapshots stand after older ones; all unless given. */
  readonly keepBlocks?: number
  /**
   * Met when a lie is found, and again now and then, also after a restart, while its validator is one: it can be shown to
   * anybody.
   */
  readonly onEvidence?: (evidence: LedgerEvidence) => void
  /** A peer sent what no honest node sends, or too much. */
  readonly onFault?: (fault: LedgerFault) => void
  readonly mempoolCountMax?: number
  readonly mempoolBytesMax?: number
  /**
   * What to do about corrupt blocks on disk: `refuse` to start and change nothing, or keep the file aside, go on with
   * the good blocks before the corruption and fetch the rest from peers. A validator that is alone refuses unless told otherwise;
   * others fetch.
   */
  readonly onCorrupt?: 'refuse' | 'keep-prefix'
  /** Seals blocks, votes, snapshots and evidence at rest; without it they lie in the clear. */
  readonly seal?: DiskSeal | undefined
}
