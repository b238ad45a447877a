/** Verifies a ledger without a ring, a network or a key: what an auditor, or an operator before a restore, runs. */
import { join } from 'node:path'
import { type Certificate, type Digest, genesisBlock, verifyCertificate } from '@ringwall/consensus'
import { inspectLog } from '@ringwall/store'
import { BLOCKS_FILE, Scan } from './block-log.ts'
import { proves } from './catch-up.ts'
import { Chain } from './chain.ts'
import { ed25519Scheme } from './scheme.ts'
import type { Application, Genesis } from './types.ts'

export interface VerifyDirectoryOptions<S> {
  readonly directory: string
  readonly application: Application<S>
  readonly genesis: Genesis
}

/** `height`, `digest` and `root` are of the last block that is good and certified. */
export interface DirectoryVerdict {
  readonly ok: boolean
  readonly height: number
  readonly digest: Digest
  readonly root: string
  readonly certificates: number
  /** One line each: file, byte or block, and what is wrong. A torn tail is no problem: it was never answered for. */
  readonly problems: readonly string[]
}

/**
 * Checks every record's hash, every hash link, every certificate, and every block's execution. Changes nothing; may run
 * beside the node that writes the directory.
 */
export async function verifyLedgerDirectory<S>(options: VerifyDirectoryOptions<S>): Promise<DirectoryVerdict> {
  const { genesis, application } = options
  const scheme = ed25519Scheme(genesis, undefined)
  const config = { ring: genesis.ring, validators: genesis.validators.length }
  const first = genesisBlock(genesis.ring)
  const scan = new Scan(first)
  const nameOf = (proposer: number) => genesis.validators[proposer]?.id ?? '?'
  const chain = new Chain(application, nameOf, { block: first, txs: [], results: [], state: application.initial() })
  const path = join(options.directory, BLOCKS_FILE)
  const problems: string[] = []
  let certified = chain.tip
  let certificates = 0
  const isGood = (certificate: Certificate) => verifyCertificate(config, scheme, certificate)
  const { fault } = await inspectLog(path, (payload, index) => {
    if (problems.length > 0) return
    const record = scan.meet(payload, index)
    if (record === undefined) {
      problems.push(`${path}: block ${index + 1}: ${scan.fault?.what ?? 'unreadable'}`)
      return
    }
    const executed = chain.advance(record.block)
    if (typeof executed === 'string') {
      problems.push(`${path}: block ${index + 1} is refused by the application: ${executed}`)
      return
    }
    if (record.certificate === undefined) return
    if (!proves(record.certificate, record.block) || !isGood(record.certificate)) {
      problems.push(`${path}: block ${index + 1}: its certificate does not verify`)
      return
    }
    certificates += 1
    certified = executed
  })
  if (fault?.kind === 'corrupt')
    problems.push(`${path} is corrupt at byte ${fault.offset} (block ${fault.index + 1}): ${fault.what}`)
  const { block, state } = certified
  return {
    ok: problems.length === 0,
    height: block.height,
    digest: block.digest,
    root: application.root(state),
    certificates,
    problems,
  }
}
