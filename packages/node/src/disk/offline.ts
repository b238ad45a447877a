/** A node's disk without the node: for commands that read or write its files while it is stopped, or beside it. */
import { type GenesisDocument, genesisHash } from '@ringwall/ring'
import { DiskSeal, lockDirectory, StoreLocked } from '@ringwall/store'
import type { NodeConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { readPrivateKey } from '../keys.ts'
import { askAtStart } from './ask-at-start.ts'
import { type OpenDiskOptions, PASSPHRASE_VARIABLE, unlockDisk } from './disk.ts'

/**
 * What opens the node's files, and seals what is put there; undefined when they lie in the clear. A disk that the ring opens is asked for in the
 * node's name, and so only while the node is stopped.
 *
 * @throws {StartError} `DISK_LOCKED`, `DISK_REFUSED`.
 */
export async function diskOf(config: NodeConfig, genesis: GenesisDocument): Promise<DiskSeal | undefined> {
  const ring = genesisHash(genesis)
  const privateKey = readPrivateKey(config.key)
  const local = { privateKey, passphrase: process.env[PASSPHRASE_VARIABLE], context: `${ring} ${config.id}` }
  const release: OpenDiskOptions['release'] = async (...held) => {
    const lock = await lockDirectory(config.data).catch((cause: unknown) => {
      if (!(cause instanceof StoreLocked)) throw cause
      const what = `the ring opens the disk of ${config.id}, and it is open in process ${cause.pid}`
      throw new StartError('DISK_LOCKED', `${what}: stop the node for this command, or name a backup`, { cause })
    })
    try {
      return await askAtStart(config, ring, genesis, privateKey)(...held)
    } finally {
      await lock.release()
    }
  }
  const unlocked = await unlockDisk(config.data, local, release)
  if (unlocked === undefined) return undefined
  const { storageKey, earlier, file } = unlocked
  return new DiskSeal({ root: config.data, current: storageKey, earlier, acceptsPlain: file.clear })
}
