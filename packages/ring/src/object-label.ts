/** What capsules of objects and of access keys are bound to, and what an access key signs. Safe for browsers. */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import type { ObjectAct } from './object-acts.ts'

const OBJECT_DOMAIN = 'RINGWALL_OBJECT_V1\n'
const ACT_DOMAIN = 'RINGWALL_OBJECT_ACT_V1\n'

export interface ObjectLabel {
  readonly ring: string
  readonly bucket: string
  readonly key: string
  /** Its id. */
  readonly version: string
}

/** At most 1,024 bytes: the key is there as its hash. @param keyHash SHA-256 of the key, hex. */
export function objectLabel({ ring, bucket, version }: Omit<ObjectLabel, 'key'>, keyHash: string): Uint8Array {
  return encodeUtf8(OBJECT_DOMAIN + canonicalJson({ bucket, key: keyHash, ring, version }))
}

/** As `SecretLabel.name` of the secret of an access key: no path that a secret may have. */
export const accessKeyName = (id: string): string => `access-keys/${id}`

/** What is signed with an access key's Ed25519 key. */
export function objectActBytes(ring: string, accessKey: string, atMs: number, act: ObjectAct): Uint8Array {
  return encodeUtf8(ACT_DOMAIN + canonicalJson({ accessKey, act, atMs, ring }))
}
