/** The ledger as files: verified without a ring, backed up beside a running node, restored into an empty folder. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BLOCKS_FILE, type DirectoryVerdict, isSnapshotName, verifyLedgerDirectory } from '@ringwall/ledger'
import { type GenesisDocument, genesisHash } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { copyLog, type DiskSeal, readFileSealed, writeFileSealed } from '@ringwall/store'
import { z } from 'zod'
import { type NodeConfig, readNodeConfig } from './config.ts'
import { diskOf } from './disk/offline.ts'
import { StartError } from './errors.ts'
import { readGenesis } from './own-entry.ts'
import { ringApplication } from './ring-application.ts'
import { loadRuleLibrary } from './rules.ts'

const MANIFEST_FILE = 'backup.json'

/** What a backup says of itself; `verify` finds out whether it is true. */
const Manifest = z.strictObject({
  format: z.literal('ringwall/ledger-backup/1'),
  ring: z.string(),
  height: z.int().min(0),
  digest: z.string(),
  root: z.string(),
  atMs: z.int(),
})

export interface LedgerFileReport extends DirectoryVerdict {
  readonly ring: string
  readonly directory: string
}

const ledgerOf = (config: NodeConfig): string => join(config.data, 'ledger')

function verify(
  config: NodeConfig,
  genesis: GenesisDocument,
  directory: string,
  seal: DiskSeal | undefined,
): Promise<DirectoryVerdict> {
  const application = ringApplication(genesis, loadRuleLibrary(config.rules))
  const validators = genesis.nodes
    .filter(({ roles }) => roles.includes('validator'))
    .map(({ id, publicKey }) => ({ id, publicKey: decodeBase64url(publicKey) }))
  return verifyLedgerDirectory({ directory, application, genesis: { ring: genesisHash(genesis), validators }, seal })
}

/**
 * Checks every hash, link, certificate and execution of a node's ledger, or of a backup. Changes nothing; may run beside the
 * node.
 *
 * @throws {StartError} When the configuration or genesis cannot be read.
 */
export async function verifyLedgerFiles(configFile: string, backup: string | undefined): Promise<LedgerFileReport> {
  const config = readNodeConfig(configFile)
  const genesis = readGenesis(config.genesis)
  const directory = backup ?? ledgerOf(config)
  const seal = backup === undefined ? await diskOf(config, genesis) : undefined
  const verdict = await verify(config, genesis, directory, seal)
  return { ...verdict, ring: genesisHash(genesis), directory }
}

/**
 * Copies the blocks and snapshots of a node's ledger into a new folder and verifies the copy. The node may run: what it appends meanwhile is
 * in the copy or not. The copy lies in the clear, so that it serves on any machine. The vote journal is not copied, so that a validator that is restored knows that it forgot.
 */
export async function backupLedger(configFile: string, target: string): Promise<LedgerFileReport> {
  const config = readNodeConfig(configFile)
  const genesis = readGenesis(config.genesis)
  if (existsSync(target)) throw new StartError('BACKUP_INVALID', `${target} is there already; name a folder that is not`)
  const blocks = join(ledgerOf(config), BLOCKS_FILE)
  if (!existsSync(blocks)) throw new StartError('BACKUP_INVALID', `${blocks} is not there: has the node ever run?`)
  const seal = await diskOf(config, genesis)
  mkdirSync(target, { recursive: true, mode: 0o700 })
  // Snapshots first: the blocks that are kept always reach back to the older one of two.
  await copyLedger(ledgerOf(config), target, { from: seal, to: undefined })
  const verdict = await verify(config, genesis, target, undefined)
  const { height, digest, root } = verdict
  const manifest = { format: 'ringwall/ledger-backup/1', ring: genesisHash(genesis), height, digest, root, atMs: Date.now() }
  if (verdict.ok) writeFileSync(join(target, MANIFEST_FILE), `${JSON.stringify(manifest, undefined, 2)}\n`, { mode: 0o600 })
  return { ...verdict, ring: manifest.ring, directory: target }
}

/**
 * Puts a backup into the empty ledger folder of a stopped node, if all of it verifies and it reaches as far as it says.
 *
 * @throws {StartError} `BACKUP_INVALID`, saying why nothing was changed.
 */
export async function restoreLedger(configFile: string, backup: string): Promise<LedgerFileReport> {
  const config = readNodeConfig(configFile)
  const genesis = readGenesis(config.genesis)
  const manifest = readManifest(join(backup, MANIFEST_FILE))
  if (manifest.ring !== genesisHash(genesis))
    throw new StartError(
      'BACKUP_INVALID',
      `${backup} is of ring ${manifest.ring.slice(0, 12)}…, the node of another: nothing was changed`,
    )
  const directory = ledgerOf(config)
  if (existsSync(join(directory, BLOCKS_FILE)))
    throw new StartError('BACKUP_INVALID', `${directory} holds a ledger; move it away first: nothing was changed`)
  const seal = await diskOf(config, genesis)
  const verdict = await verify(config, genesis, backup, undefined)
  if (
    !verdict.ok ||
    verdict.height < manifest.height ||
    (verdict.height === manifest.height && verdict.digest !== manifest.digest)
  ) {
    const why = verdict.problems[0] ?? `it ends at block ${verdict.height}, not ${manifest.height}`
    throw new StartError('BACKUP_INVALID', `${backup} does not verify: ${why}; nothing was changed`)
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  await copyLedger(backup, directory, { from: undefined, to: seal })
  return { ...verdict, ring: manifest.ring, directory }
}

async function copyLedger(
  from: string,
  to: string,
  seals: { readonly from: DiskSeal | undefined; readonly to: DiskSeal | undefined },
): Promise<void> {
  for (const name of readdirSync(from).filter(isSnapshotName)) {
    const content = await readFileSealed(join(from, name), seals.from)
    // One that is gone by now made way for a newer one.
    if (content !== undefined) await writeFileSealed(join(to, name), content, seals.to)
  }
  await copyLog(join(from, BLOCKS_FILE), join(to, BLOCKS_FILE), seals)
}

function readManifest(file: string): z.infer<typeof Manifest> {
  try {
    return Manifest.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw new StartError('BACKUP_INVALID', `${file}: expected what ringwall ledger backup writes; nothing was changed`, { cause })
  }
}
