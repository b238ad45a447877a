/** Verifies a ledger without a ring, a network or a key: what an auditor, or an operator before a restore, runs. */
import { join } from 'node:path'
import type { Digest } from '@ringwall/consensus'
import { type DiskSeal, inspectLog } from '@ringwall/store'
import { BLOCKS_FILE, firstHeight, Scan } from './block-log.ts'
import { Chain } from './chain.ts'
import { Epochs } from './epochs.ts'
import { type Anchor, loadSnapshot, snapshotFiles } from './snapshot-file.ts'
import type { Application, Genesis } from './types.ts'

export interface VerifyDirectoryOptions<S> {
  readonly directory: string
  readonly application: Application<S>
  readonly genesis: Genesis
  /** Opens what is sealed. */
  readonly seal?: DiskSeal | undefined
}

/** `height`, `digest` and `root` are of the last block that is good and certified. */
export interface DirectoryVerdict {
  readonly ok: boolean
  readonly height: number
  readonly digest: Digest
  readonly root: string
  readonly certificates: number
  /** The oldest block that is there: those before it are proven by a snapshot. */
  readonly firstHeight: number
  /** One line each: file, byte or block, and what is wrong. A torn tail is no problem: it was never answered for. */
  readonly problems: readonly string[]
}

/**
 * Checks every record's hash, every hash link, every certificate, and every block's execution. Changes nothing; may run
 * beside the node that writes the directory.
 */
export async function verifyLedgerDirectory<S>(options: VerifyDirectoryOptions<S>): Promise<DirectoryVerdict> {
  const { genesis, application, seal } = options
  const path = join(options.directory, BLOCKS_FILE)
  const problems: string[] = []
  const snapshots = await readSnapshots(options, problems)
  // An empty or unreadable log is found out by reading on.
  const oldest = (await firstHeight(path, seal)) ?? 1
  // Blocks before the oldest that is kept are proven by the snapshot that stands for them.
  const base = oldest <= 1 ? undefined : snapshots.findLast(({ anchor }) => anchor.block.height >= oldest - 1)
  if (oldest > 1 && base === undefined)
    problems.push(`${path}: it begins with block ${oldest}, and no good snapshot says what came before`)
  const epochs = base?.epochs ?? new Epochs(genesis, undefined)
  const begin = { block: base?.anchor.block ?? epochs.genesis, state: base?.state ?? application.initial() }
  const scan = new Scan(epochs, base?.anchor.block, oldest)
  const chain = new Chain(application, epochs, { ...begin, txs: [], results: [] })
  let certified = chain.tip
  let certificates = 0
  const { fault } = await inspectLog(
    path,
    (payload, index) => {
      if (problems.length > 0) return
      const record = scan.meet(payload, index)
      if (record === undefined) {
        problems.push(`${path}: block ${scan.first + index}: ${scan.fault?.what ?? 'unreadable'}`)
        return
      }
      const { block, certificate } = record
      if (certificate !== undefined && !epochs.certifies(record)) {
        problems.push(`${path}: block ${block.height}: its certificate does not verify`)
        return
      }
      if (certificate !== undefined) certificates += 1
      if (block.height <= begin.block.height) return
      const executed = chain.advance(block)
      if (typeof executed === 'string') {
        problems.push(`${path}: block ${block.height} is refused by the application: ${executed}`)
        return
      }
      for (const { path: file, anchor } of snapshots) {
        if (anchor.block.height !== block.height) continue
        if (anchor.block.digest !== block.digest) problems.push(`${file} is of another block ${block.height}`)
      }
      if (certificate !== undefined) certified = executed
    },
    { seal },
  )
  if (fault?.kind === 'corrupt')
    problems.push(`${path} is corrupt at byte ${fault.offset} (block ${scan.first + fault.index}): ${fault.what}`)
  const { block, state } = certified
  return {
    ok: problems.length === 0,
    height: block.height,
    digest: block.digest,
    root: application.root(state),
    certificates,
    firstHeight: scan.first,
    problems,
  }
}

interface GoodSnapshot<S> {
  readonly path: string
  readonly anchor: Anchor
  readonly state: S
  readonly epochs: Epochs
}

/** Newest first; what is wrong with the others is added to `problems`. */
async function readSnapshots<S>(
  { directory, application, genesis, seal }: VerifyDirectoryOptions<S>,
  problems: string[],
): Promise<readonly GoodSnapshot<S>[]> {
  const good: GoodSnapshot<S>[] = []
  for (const { path } of await snapshotFiles(directory)) {
    const loaded = await loadSnapshot(path, application, genesis, undefined, seal)
    if (typeof loaded === 'string') problems.push(`${path}: ${loaded}`)
    else good.push({ path, anchor: loaded.anchor, state: loaded.state, epochs: loaded.epochs })
  }
  return good
}
