/** One operator's part of opening the disk of a node that waits for it. */
import { readNodeConfig } from '../config.ts'
import { StartError } from '../errors.ts'
import { readDiskFile } from './disk-file.ts'
import { operatorPart } from './recovery.ts'
import { givePart } from './unlock-socket.ts'

/** @param share As `makeRecovery` made it. @throws {StartError} `CONFIG_INVALID`, `DISK_LOCKED`. */
export async function unlockNode(
  configFile: string,
  share: string,
): Promise<{ readonly node: string; readonly missing: number }> {
  const { data, id } = readNodeConfig(configFile)
  const held = readDiskFile(data)?.operators
  if (held === undefined)
    throw new StartError('DISK_LOCKED', `the disk of ${id} is not sealed to a recovery key: the ring opens it, or nobody`)
  const { missing } = await givePart(data, operatorPart(share, held))
  return { node: id, missing }
}
