/** The answers of the Workload API's X.509-SVID profile (SPIFFE_Workload_API.md, section 5.1). All bytes are DER. */
import { field, message, optionalField } from './protobuf.ts'

export interface WorkloadSvid {
  readonly spiffeId: string
  /** The certificate: there are none between it and the bundle. */
  readonly certificate: Uint8Array
  /** PKCS#8. */
  readonly key: Uint8Array
  /** Which of several it is, in the operator's words: one of its kind in an answer. */
  readonly hint: string
}

/** @param bundle Certificates of the trust domain, one after another. */
export function encodeSvids(svids: readonly WorkloadSvid[], bundle: Uint8Array): Uint8Array {
  return message(
    ...svids.map(({ spiffeId, certificate, key, hint }) =>
      field(1, message(field(1, spiffeId), field(2, certificate), field(3, key), field(4, bundle), optionalField(5, hint))),
    ),
  )
}

/** @param trustDomain As a SPIFFE id. */
export function encodeBundles(trustDomain: string, bundle: Uint8Array): Uint8Array {
  return message(field(2, message(field(1, trustDomain), field(2, bundle))))
}
