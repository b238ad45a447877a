/** What the capsule of a node's disk is bound to: the node, its key, and what its machine proves itself with. */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'

const DOMAIN = 'RINGWALL_DISK_V1\n'

export interface DiskLabel {
  readonly ring: string
  readonly node: string
  /** Ed25519, base64url. */
  readonly publicKey: string
  /** SHA-256 of the machine's proof, base64url: the proof itself stays with the machine. */
  readonly machine: string
}

export function diskLabel({ ring, node, publicKey, machine }: DiskLabel): Uint8Array {
  return encodeUtf8(DOMAIN + canonicalJson({ ring, node, publicKey, machine }))
}
