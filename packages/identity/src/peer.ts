/**
 * Who a certificate says that its holder is, when the ring made it: X509-SVID, section 5 (validation), for the one kind of certificate that the ring
 * makes. Whoever calls has seen that the other side holds its key: TLS shows that.
 */
import { createPublicKey, hash, type X509Certificate } from 'node:crypto'
import type { Peer } from '@ringwall/guard'
import { ringIssuer } from '@ringwall/ring'
import { ringJwk } from './mint-check.ts'
import { attestingNode, SVID_BACKDATED_MS } from './svid.ts'

const NAME = /^URI:(spiffe:\/\/[A-Za-z0-9._-]{1,255}\/(?:service|node)\/[a-z0-9][a-z0-9-]{0,62})$/

/** Whose certificates are believed. */
export interface PeerAuthorities {
  readonly ring: string
  /** The ring's key in force and those that it replaced and that still verify: Ed25519, raw, base64url. */
  readonly keys: readonly string[]
}

/** Undefined: it is none that the ring made, or it is not good now. */
export function peerOf(shown: X509Certificate, { ring, keys }: PeerAuthorities, nowMs: number): Peer | undefined {
  const subject = NAME.exec(shown.subjectAltName ?? '')?.[1]
  if (shown.ca || subject?.startsWith(`spiffe://${ring}/`) !== true) return undefined
  const [from, to] = [shown.validFromDate.getTime(), shown.validToDate.getTime()]
  if (nowMs < from || nowMs >= to) return undefined
  const by = keys.find((key) => shown.verify(createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key }, format: 'jwk' })))
  if (by === undefined) return undefined
  const digest = hash('sha256', shown.raw, 'buffer')
  const node = attestingNode(shown.subject)
  return {
    issuer: ringIssuer(ring),
    subject,
    keys: [ringJwk(by).kid, digest.toString('base64url')],
    hash: digest.toString('hex'),
    issuedAtMs: from + SVID_BACKDATED_MS,
    expiresAtMs: to,
    ...(node === undefined ? {} : { attestedBy: node }),
  }
}
