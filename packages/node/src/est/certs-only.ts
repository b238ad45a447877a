/** What EST answers with: certificates alone, as a degenerate SignedData (RFC 5652 section 5, RFC 5751), and what requests may be signed with. */
import { der } from '@ringwall/identity'

const SIGNED_DATA = der.objectId('1.2.840.113549.1.7.2')
const DATA = der.objectId('1.2.840.113549.1.7.1')
const NOTHING = new Uint8Array()

/** @param certificates DER. Together below 64 KiB. */
export function certificatesOnly(certificates: readonly Uint8Array[]): Uint8Array {
  return der.sequence(
    SIGNED_DATA,
    der.explicit(
      0,
      der.sequence(
        der.integer(Uint8Array.of(1)),
        der.set(NOTHING),
        der.sequence(DATA),
        // [0] IMPLICIT SET OF: the same tag as an explicit one.
        der.explicit(0, Buffer.concat(certificates)),
        der.set(NOTHING),
      ),
    ),
  )
}

/** CsrAttrs (RFC 7030 section 4.5.2): Ed25519, or ECDSA with SHA-256. */
export function csrAttributes(): Uint8Array {
  return der.sequence(der.objectId('1.3.101.112'), der.objectId('1.2.840.10045.4.3.2'))
}
