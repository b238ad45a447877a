/** Opens a ledger: reads what is on disk, verifies it, rebuilds the state by executing it, and starts the voter. */
import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type Certificate, genesisBlock, Voter, type VoterConfig, verifyCertificate } from '@ringwall/consensus'
import { lockDirectory, syncDirectory } from '@ringwall/store'
import { BLOCKS_FILE, BlockLog } from './block-log.ts'
import { Chain } from './chain.ts'
import { LedgerError } from './errors.ts'
import { JOURNAL_FILE, Journal, roundOf } from './journal.ts'
import { DEFAULTS, LedgerShell } from './ledger.ts'
import type { LedgerOptions } from './options.ts'
import { ed25519Scheme, sha256 } from './scheme.ts'
import { loadSnapshot, removeSnapshot, type SnapshotFile, snapshotFiles } from './snapshot-file.ts'
import { Submissions } from './submissions.ts'
import type { Application, Genesis, Ledger } from './types.ts'

/**
 * Resolves once the state is rebuilt from disk and this validator takes part; what the ring did meanwhile is fetched
 * from peers afterwards. Corruption on disk is told by `status().repairs` and `options.log`.
 *
 * @throws {LedgerError} `LEDGER_CONFIG`, `LEDGER_CORRUPT`, `LEDGER_WRONG_RING`; {StoreLocked} when another process has
 * the directory.
 */
export async function openLedger<S>(options: LedgerOptions<S>): Promise<Ledger<S>> {
  const { genesis, application, directory } = options
  const self = selfIndex(genesis, options)
  const scheme = ed25519Scheme(genesis, options.privateKey)
  const config: VoterConfig = {
    ring: genesis.ring,
    validators: genesis.validators.length,
    self,
    roundMs: options.roundMs ?? DEFAULTS.roundMs,
    heartbeatMs: options.heartbeatMs ?? DEFAULTS.heartbeatMs,
  }
  const first = genesisBlock(config.ring)
  const proves = (certificate: Certificate) => verifyCertificate(config, scheme, certificate)
  const solo = genesis.validators.length === 1
  const lock = await lockDirectory(directory)
  const closing: (() => Promise<void>)[] = [() => lock.release()]
  try {
    const onCorrupt = options.onCorrupt ?? (solo ? 'refuse' : 'keep-prefix')
    const { found, repairs: unread } = await newestSnapshot(directory, application, proves)
    const proof = found?.file.records ?? []
    const blocks = await BlockLog.open({ directory, genesis: first, proof, onCorrupt, verifyCertificate: proves })
    closing.unshift(() => blocks.close())
    // Blocks without a journal are a backup, or what is left of a validator: what it signed since is not known.
    const isJournalGone = blocks.tip.certificate !== undefined && !existsSync(join(directory, JOURNAL_FILE))
    const journal = await Journal.open(directory)
    closing.unshift(() => journal.close())
    const nameOf = (proposer: number) => genesis.validators[proposer]?.id ?? '?'
    const begin = { block: proof[0]?.block ?? first, state: found?.state ?? application.initial() }
    const chain = new Chain(application, nameOf, { ...begin, txs: [], results: [] })
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
    const { block, certificate } = blocks.tip
    const restored = journal.restored.filter((record) => roundOf(record) > block.round)
    // Bodies that this validator voted for: it has to judge what is built on them, and others may have lost theirs.
    for (const record of restored) if (record.kind === 'proposal') chain.learn(record.proposal.block)
    const fresh = certificate === undefined && restored.length === 0
    const voter = fresh
      ? new Voter(config, scheme, first)
      : Voter.restore(config, scheme, certificate === undefined ? undefined : { block, certificate }, restored)
    const silentThroughRound = solo || !(blocks.lost || journal.lost || isJournalGone) ? 0 : Number.POSITIVE_INFINITY
    if (silentThroughRound > 0) {
      options.log?.(
        'warn',
        'this validator no longer knows all that it signed: it does not vote until the ring has gone on without it',
      )
    }
    // An empty folder is that of a validator that never spoke, or of one that lost its disk: only the first may speak at once.
    const isBlank = !solo && fresh && silentThroughRound === 0 && !(await takeFirstStart(directory))
    const parts = {
      options,
      scheme,
      lock,
      blocks,
      journal,
      chain,
      voter,
      self,
      repairs,
      submissions,
      silentThroughRound,
      isBlank,
    }
    const shell = new LedgerShell({ ...parts, verifyCertificate: proves, snapshot: found?.file })
    shell.start()
    return shell
  } catch (error) {
    for (const close of closing) await close()
    throw error
  }
}

/** The newest snapshot that holds what its proof says; others are of no use, told of and removed. */
async function newestSnapshot<S>(
  directory: string,
  application: Application<S>,
  isGood: (certificate: Certificate) => boolean,
): Promise<{
  readonly found: { readonly file: SnapshotFile; readonly state: S } | undefined
  readonly repairs: readonly string[]
}> {
  const repairs: string[] = []
  for (const { path } of await snapshotFiles(directory)) {
    const loaded = await loadSnapshot(path, application, isGood)
    if (typeof loaded !== 'string') return { found: loaded, repairs }
    repairs.push(`${path} is of no use and was removed: ${loaded}`)
    await removeSnapshot(path)
  }
  return { found: undefined, repairs }
}

/** An empty file that says: never opened. Whoever makes a validator puts it into its empty folder. */
export const FIRST_START_FILE = 'first-start'

/** The mark counts once, and is gone from the disk before anything is signed. */
async function takeFirstStart(directory: string): Promise<boolean> {
  try {
    await unlink(join(directory, FIRST_START_FILE))
  } catch {
    return false
  }
  await syncDirectory(directory)
  return true
}

function selfIndex(genesis: Genesis, options: Pick<LedgerOptions<never>, 'self' | 'privateKey'>): number {
  const ids = genesis.validators.map(({ id }) => id)
  if (new Set(ids).size !== ids.length) throw new LedgerError('LEDGER_CONFIG', 'two validators of the genesis have one id')
  const index = ids.indexOf(options.self)
  if (index === -1) {
    throw new LedgerError('LEDGER_CONFIG', `${options.self} is not a validator of this ring: ${ids.join(', ')}`)
  }
  const { x } = createPublicKey(options.privateKey).export({ format: 'jwk' })
  const expected = Buffer.from(genesis.validators[index]?.publicKey ?? []).toString('base64url')
  if (x !== expected) throw new LedgerError('LEDGER_CONFIG', `the private key is not that of ${options.self} in the genesis`)
  return index
}
