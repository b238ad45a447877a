/** What is made with a key of the transit is bound to: that key, its version, and the use. Safe for browsers. */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'

/** A version of a key: its name may come back one day, its id does not. */
export interface TransitPlace {
  readonly ring: string
  readonly key: string
  /** 32 hex digits: of the transaction that made the key. */
  readonly id: string
  readonly version: number
}

const place = ({ ring, key, id, version }: TransitPlace) => ({ ring, key, id, version })

/**
 * The label of a capsule that encrypts to a key. At most some 440 bytes.
 *
 * @param context SHA-256 of what whoever decrypts has to know besides, base64url; empty for nothing.
 */
export function transitCapsuleLabel(of: TransitPlace, context: string): Uint8Array {
  return encodeUtf8(`RINGWALL_TRANSIT_CAPSULE_V1\n${canonicalJson({ ...place(of), context })}`)
}

/**
 * What the ring's key signs for a key: never a token (base64url and dots), a certificate (DER), or anything else that the ring signs.
 *
 * @param digest SHA-512 of the message, base64url.
 */
export function transitSignedBytes(of: TransitPlace, digest: string): Uint8Array {
  return encodeUtf8(`RINGWALL_TRANSIT_SIGNATURE_V1\n${canonicalJson({ ...place(of), digest })}`)
}

/** What holders evaluate for a key that authenticates. @param digest SHA-512 of the message, base64url. */
export function transitMacInput(of: TransitPlace, digest: string): Uint8Array {
  return encodeUtf8(`RINGWALL_TRANSIT_MAC_V1\n${canonicalJson({ ...place(of), digest })}`)
}
