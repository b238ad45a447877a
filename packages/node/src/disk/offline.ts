/** A node's disk without the node: for commands that read or write its files while it is stopped, or beside it. */
import { DiskSeal } from '@ringwall/store'
import type { NodeConfig } from '../config.ts'
import { readPrivateKey } from '../keys.ts'
import { PASSPHRASE_VARIABLE, unlockDisk } from './disk.ts'

/** What opens the node's files, and seals what is put there; undefined when they lie in the clear. @throws {StartError} `DISK_LOCKED`. */
export async function diskOf(config: NodeConfig, ring: string): Promise<DiskSeal | undefined> {
  const local = {
    privateKey: readPrivateKey(config.key),
    passphrase: process.env[PASSPHRASE_VARIABLE],
    context: `${ring} ${config.id}`,
  }
  const unlocked = await unlockDisk(config.data, local, undefined)
  if (unlocked === undefined) return undefined
  const { storageKey, earlier, file } = unlocked
  return new DiskSeal({ root: config.data, current: storageKey, earlier, acceptsPlain: file.clear })
}
