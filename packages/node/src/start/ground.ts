/** What a node stands on: its key, its place in the ring, its data, which no other process has, and its disk. */
import type { KeyObject } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { type GenesisDocument, genesisHash, type RingNode } from '@ringwall/ring'
import { lockDirectory } from '@ringwall/store'
import type { NodeConfig } from '../config.ts'
import { askAtStart } from '../disk/ask-at-start.ts'
import { type Disk, openDisk, PASSPHRASE_VARIABLE } from '../disk/disk.ts'
import type { LocalSecrets } from '../disk/local-lock.ts'
import { StartError } from '../errors.ts'
import { EventLog } from '../events.ts'
import { rawPublicKey, readPrivateKey } from '../keys.ts'
import { ownEntry, readGenesis } from '../own-entry.ts'
import { Seal } from '../signing/sealed-file.ts'
import type { Closing } from './closing.ts'

export interface Ground {
  readonly config: NodeConfig
  readonly startedAtMs: number
  readonly privateKey: KeyObject
  readonly genesis: GenesisDocument
  /** The ring's name: the hash of its genesis document. */
  readonly ring: string
  /** As the genesis document lists it, or the configuration of one that joins. */
  readonly self: RingNode
  readonly events: EventLog
  /** Lines about the node itself. */
  readonly log: (level: 'info' | 'warn', line: string) => void
  readonly closing: Closing
  /** What opens the disk without the ring. */
  readonly local: LocalSecrets
  readonly disk: Disk
  /** Of files that this node alone may open. */
  readonly seal: Seal
}

/**
 * What is young in a server's memory mostly dies, and one thread collects it in a millisecond. Helpers woken for each time take a tenth of all CPU, and a
 * quarter where several workers do it: most of that they wait for each other. Of the whole process, its workers included.
 */
function collectWithoutHelpers(): void {
  setFlagsFromString('--no-parallel-scavenge')
}

/** @throws {StartError} For its key, the genesis document, its data or its disk. */
export async function openGround(config: NodeConfig, closing: Closing): Promise<Ground> {
  const startedAtMs = Date.now()
  collectWithoutHelpers()
  const privateKey = readPrivateKey(config.key)
  const genesis = readGenesis(config.genesis)
  const self = ownEntry(genesis, config, rawPublicKey(privateKey))
  const ring = genesisHash(genesis)
  mkdirSync(config.data, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(config.data).catch((cause: Error) => {
    throw new StartError('DATA_IN_USE', cause.message, { cause })
  })
  closing.add(() => lock.release())
  const events = new EventLog(config.id)
  const log = (level: 'info' | 'warn', line: string): void => events.add('node', level, line)
  const context = `${ring} ${config.id}`
  const local = { privateKey, passphrase: process.env[PASSPHRASE_VARIABLE], context }
  const disk = await openDisk({
    data: config.data,
    mode: config.diskSeal,
    local,
    release: askAtStart(config, ring, genesis, privateKey),
    log,
  })
  const seal = new Seal(privateKey, context, disk.seal)
  return { config, startedAtMs, privateKey, genesis, ring, self, events, log, closing, local, disk, seal }
}
