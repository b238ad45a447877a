/**
 * A node's TLS certificate (RFC 5280) is a wrapper around its Ed25519 key: self-signed, made at start. Peers look at the key
 * alone, which the genesis document pins; names and dates in it mean nothing.
 */
import 'reflect-metadata'
import { createPublicKey, type KeyObject, timingSafeEqual, webcrypto, X509Certificate } from 'node:crypto'
import { X509CertificateGenerator } from '@peculiar/x509'

const DAY_MS = 86_400_000
const KEY_BYTES = 32

/** PEM of a certificate over the node's own key. */
export async function selfSignedCertificate(id: string, privateKey: KeyObject, nowMs: number): Promise<string> {
  const algorithm = { name: 'Ed25519' }
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const keys = {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
  }
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: `CN=${id}`,
      // A clock that is wrong by days is a matter for the ledger, which says so; it must not cut links.
      notBefore: new Date(nowMs - 365 * DAY_MS),
      notAfter: new Date(nowMs + 3_650 * DAY_MS),
      signingAlgorithm: algorithm,
      keys,
    },
    webcrypto as typeof globalThis.crypto,
  )
  return certificate.toString('pem')
}

/** Raw Ed25519 key of a certificate in DER; undefined when it holds another kind. */
export function keyOfCertificate(der: Buffer): Uint8Array | undefined {
  try {
    const key = new X509Certificate(der).publicKey
    if (key.asymmetricKeyType !== 'ed25519') return undefined
    return new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES))
  } catch {
    return undefined
  }
}

export function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === KEY_BYTES && b.length === KEY_BYTES && timingSafeEqual(a, b)
}
