/** Opens a ledger: reads what is on disk, verifies it, rebuilds the state by executing it, and starts the voter. */
import { join } from 'node:path'
import { lockDirectory } from '@ringwall/store'
import { BLOCKS_FILE, BlockLog } from './block-log.ts'
import { Chain } from './chain.ts'
import { Epochs, isAlone, selfIndex, voterFor } from './epochs.ts'
import { LedgerError } from './errors.ts'
import { memoryOf } from './hand-over.ts'
import { Journal, roundOf } from './journal.ts'
import { LedgerShell } from './ledger.ts'
import { hasForgotten, rememberForgetting, takeFirstStart } from './marks.ts'
import type { LedgerOptions } from './options.ts'
import { sha256 } from './scheme.ts'
import { loadSnapshot, removeSnapshot, type SnapshotFile, snapshotFiles } from './snapshot-file.ts'
import { Submissions } from './submissions.ts'
import type { Ledger } from './types.ts'

/**
 * Resolves once the state is rebuilt from disk and this node takes part; what the ring did meanwhile is fetched
 * from peers afterwards. Corruption on disk is told by `status().repairs` and `options.log`.
 *
 * @throws {LedgerError} `LEDGER_CONFIG`, `LEDGER_CORRUPT`, `LEDGER_WRONG_RING`; {StoreLocked} when another process has
 * the directory.
 */
export async function openLedger<S>(options: LedgerOptions<S>): Promise<Ledger<S>> {
  const { genesis, application, directory, privateKey, seal } = options
  // Before anything is locked or changed.
  selfIndex(new Epochs(genesis, privateKey).current, options.self, privateKey)
  const lock = await lockDirectory(directory)
  const closing: (() => Promise<void>)[] = [() => lock.release()]
  try {
    const { found, repairs: unread } = await newestSnapshot(options)
    const epochs = found?.epochs ?? new Epochs(genesis, privateKey)
    const proof = found?.file.records ?? []
    const blocks = await BlockLog.open({ directory, epochs, proof, self: options.self, onCorrupt: options.onCorrupt, seal })
    closing.unshift(() => blocks.close())
    const { block: tip, certificate } = blocks.tip
    const epoch = epochs.at(tip.height + 1)
    const solo = isAlone(epoch, options.self)
    // Blocks without a journal are a backup, or what is left of a node: what it signed since is not known.
    const isJournalGone = certificate !== undefined && !Journal.exists(directory, epoch.number)
    // An empty folder is that of a node that never spoke, or of one that lost its disk: only the first may speak at once.
    const isEmpty = certificate === undefined && !Journal.exists(directory, epoch.number)
    const isUnknown = isEmpty && !solo && !(await takeFirstStart(directory))
    // Said on disk before anything else is: half of a ledger fetched anew must not pass for a whole one.
    if (!solo && (blocks.lost || isJournalGone || isUnknown)) await rememberForgetting(directory)
    const journal = await Journal.open(directory, epoch.number, seal)
    closing.unshift(() => journal.close())
    const begin = { block: proof[0]?.block ?? epochs.genesis, state: found?.state ?? application.initial() }
    const chain = new Chain(application, epochs, { ...begin, txs: [], results: [] })
    const submissions = new Submissions(() => performance.now())
    await blocks.replay(begin.block.height + 1, (block) => {
      const executed = chain.advance(block)
      if (typeof executed === 'string') {
        const what = `${join(directory, BLOCKS_FILE)}: block ${block.height} was final and is refused now (${executed})`
        throw new LedgerError(
          'LEDGER_CORRUPT',
          `${what}. This version of Ringwall judges differently from the one that wrote it: start that one`,
        )
      }
      for (const [i, { id }] of executed.results.entries()) {
        const tx = executed.txs[i]
        if (tx !== undefined) submissions.settle(sha256(tx), { id, height: block.height, digest: block.digest })
      }
    })
    const repairs = [...unread, ...blocks.repairs, ...journal.repairs]
    for (const line of repairs) options.log?.('warn', line)
    const restored = journal.restored.filter((record) => roundOf(record) > tip.round)
    const hasSigned = restored.length > 0
    // Bodies that this validator voted for: it has to judge what is built on them, and others may have lost theirs.
    for (const record of restored) if (record.kind === 'proposal') chain.learn(record.proposal.block)
    const memory = memoryOf({
      hasBlocks: certificate !== undefined,
      hasJournal: !isJournalGone,
      hasSigned,
      isDamaged: blocks.lost || journal.lost,
      isMarked: hasForgotten(directory),
      isAlone: solo,
    })
    const isSilent = memory === 'lost'
    if (isSilent) await rememberForgetting(directory)
    const voter = voterFor(epoch, options, blocks.tip, restored)
    if (isSilent && voter !== undefined) {
      options.log?.(
        'warn',
        'this validator no longer knows all that it signed: it does not vote until the ring has gone on without it',
      )
    }
    await Journal.removeBefore(directory, epoch.number)
    const shell = new LedgerShell({
      options,
      lock,
      blocks,
      epochs,
      epoch,
      journal,
      chain,
      voter,
      repairs,
      submissions,
      silentThroughRound: isSilent ? Number.POSITIVE_INFINITY : 0,
      isBlank: memory === 'unknown',
      snapshot: found?.file,
    })
    shell.start()
    return shell
  } catch (error) {
    for (const close of closing) await close()
    throw error
  }
}

/** The newest snapshot that holds what its proof says; others are of no use, told of and removed. */
async function newestSnapshot<S>({ directory, application, genesis, privateKey, seal }: LedgerOptions<S>): Promise<{
  readonly found: { readonly file: SnapshotFile; readonly state: S; readonly epochs: Epochs } | undefined
  readonly repairs: readonly string[]
}> {
  const repairs: string[] = []
  for (const { path } of await snapshotFiles(directory)) {
    const loaded = await loadSnapshot(path, application, genesis, privateKey, seal)
    if (typeof loaded !== 'string') return { found: loaded, repairs }
    repairs.push(`${path} is of no use and was removed: ${loaded}`)
    await removeSnapshot(path)
  }
  return { found: undefined, repairs }
}
