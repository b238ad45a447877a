/** Opens the certificates that the node got for itself, for its listeners. */
import { readPrivateKey } from '../keys.ts'
import { Seal } from '../signing/sealed-file.ts'
import { sealName } from './certificates.ts'

/** @param keyFile Of the node's key. @throws {StartError} `KEY_INVALID`. */
export function unsealer(
  keyFile: string,
  ring: string,
  node: string,
): (file: string, bytes: Uint8Array) => Uint8Array | undefined {
  const seal = new Seal(readPrivateKey(keyFile), `${ring} ${node}`)
  return (file, bytes) => seal.open(sealName(file), bytes)
}
