/** Opens the certificates that the node got for itself, for its listeners. */
import { DiskSeal, type DiskSealOptions } from '@ringwall/store'
import { readPrivateKey } from '../keys.ts'
import { Seal } from '../signing/sealed-file.ts'
import { sealName } from './certificates.ts'

/** @param keyFile Of the node's key. @param disk Where the disk is sealed. @throws {StartError} `KEY_INVALID`. */
export function unsealer(
  keyFile: string,
  ring: string,
  node: string,
  disk: DiskSealOptions | undefined,
): (file: string, bytes: Uint8Array) => Uint8Array | undefined {
  const seal = new Seal(readPrivateKey(keyFile), `${ring} ${node}`, disk === undefined ? undefined : new DiskSeal(disk))
  return (file, bytes) => seal.open(sealName(file), bytes)
}
