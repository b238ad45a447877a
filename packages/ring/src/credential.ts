/**
 * What a verified token says about itself, as far as it can be denied, and which denials are about it. Two issuers may each have
 * a subject, a session or a device of one name: a denial that names its issuer covers that issuer's alone.
 */
import type { DenialSubject } from './types.ts'

export interface Credential {
  /** `iss`. */
  readonly issuer: string
  /** `sub`, `jti`, `sid` (OpenID Connect Back-Channel Logout 1.0, section 2.1) and `device_id`. */
  readonly subject?: string | undefined
  readonly tokenId?: string | undefined
  readonly sessionId?: string | undefined
  readonly deviceId?: string | undefined
  /**
   * SHA-256 thumbprints, base64url: of the key that signed it and the key that it is bound to (RFC 7638; `cnf.jkt`, RFC 9449), and
   * of the certificate that it is bound to (`cnf.x5t#S256`, RFC 8705).
   */
  readonly keys?: readonly string[] | undefined
  /** `iat`, Unix milliseconds. */
  readonly issuedAtMs?: number | undefined
}

/** Kinds of denials that are about tokens. */
export const CREDENTIAL_KINDS = ['token', 'subject', 'session', 'device', 'key', 'issuer', 'issued-before'] as const
export type CredentialSubject = Extract<DenialSubject, { readonly kind: (typeof CREDENTIAL_KINDS)[number] }>

export function isCredentialSubject(subject: DenialSubject): subject is CredentialSubject {
  return (CREDENTIAL_KINDS as readonly string[]).includes(subject.kind)
}

const FIELDS = { token: 'tokenId', subject: 'subject', session: 'sessionId', device: 'deviceId' } as const

/** Is the token denied when this is? */
export function coversCredential(subject: DenialSubject, credential: Credential): boolean {
  const { issuer } = credential
  if (subject.kind === 'issuer') return subject.value === issuer
  if (subject.kind === 'key') return credential.keys?.includes(subject.value) === true
  if (subject.kind === 'ip' || subject.kind === 'cidr' || subject.kind === 'account') return false
  if (subject.issuer !== undefined && subject.issuer !== issuer) return false
  if (subject.kind === 'issued-before') {
    if (subject.subject !== undefined && subject.subject !== credential.subject) return false
    return isIssuedBefore(subject.value, credential.issuedAtMs)
  }
  return subject.value === credential[FIELDS[subject.kind]]
}

/** A token that does not say when it was issued cannot show that it is newer. */
function isIssuedBefore(moment: string, issuedAtMs: number | undefined): boolean {
  return issuedAtMs === undefined || issuedAtMs < Date.parse(moment)
}

/** Of two denials of one subject: the same, but that of two moments the later covers what the earlier does. */
export function joinSubjects(a: DenialSubject, b: DenialSubject): DenialSubject {
  return a.kind === 'issued-before' && b.kind === 'issued-before' && b.value > a.value ? b : a
}
