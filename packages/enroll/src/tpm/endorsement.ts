/** Whether an endorsement key is that of a real TPM: its certificate is over the key, and leads to who makes TPMs (TCG EK Credential Profile). */
import { X509Certificate } from 'node:crypto'
import { parseTpmPublic } from './public-area.ts'

const CHAIN_MAX = 4

/** @param publicArea TPM2B_PUBLIC. @param certificate DER. @param trusted PEM: roots, and those between. @throws {TpmMalformed} */
export function isEndorsed(publicArea: Uint8Array, certificate: Uint8Array, trusted: readonly string[]): boolean {
  const { key, isEndorsementKey } = parseTpmPublic(publicArea)
  if (!isEndorsementKey) return false
  try {
    const authorities = trusted.map((pem) => new X509Certificate(pem))
    let held = new X509Certificate(certificate)
    if (!held.publicKey.equals(key)) return false
    for (let depth = 0; depth < CHAIN_MAX; depth += 1) {
      const issuer = authorities.find((one) => one.ca && held.checkIssued(one) && held.verify(one.publicKey))
      if (issuer === undefined) return false
      if (issuer.checkIssued(issuer)) return true
      held = issuer
    }
  } catch {
    // Falls through: a certificate that cannot be read vouches for nothing.
  }
  return false
}
