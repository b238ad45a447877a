/** The proof of two histories: both certificates, and who signed both, as JSON beside the ledger. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Certificate, encodeCertificate } from '@ringwall/consensus'
import { writeFileAtomic } from '@ringwall/store'

export const CONFLICT_FILE = 'conflict.json'

export interface Conflict {
  /** Of this node's last final block. */
  readonly height: number
  readonly epoch: number
  /** Of that epoch, by the indexes in the certificates. */
  readonly validators: readonly string[]
  /** When both certificates are of one round, each of these lied for certain; else at least some of all signers did. */
  readonly signedBoth: readonly string[]
  readonly own: Certificate
  readonly other: Certificate
}

/** Two certificates that exclude each other, and who signed both. */
export function conflictOf(
  own: Certificate,
  other: Certificate,
  { height, epoch, validators }: Pick<Conflict, 'height' | 'epoch' | 'validators'>,
): Conflict {
  const ours = new Set(own.signatures.map(({ signer }) => signer))
  const both = other.signatures.filter(({ signer }) => ours.has(signer))
  const signedBoth = both.map(({ signer }) => validators[signer] ?? `validator ${signer}`)
  return { height, epoch, validators, signedBoth, own, other }
}

/** Whether each of those who signed both lied for certain. */
export function isOneRound({ own, other }: Conflict): boolean {
  return own.round === other.round && own.kind === other.kind && own.digest !== other.digest
}

export function hasConflict(directory: string): boolean {
  return existsSync(join(directory, CONFLICT_FILE))
}

/** The first one stays: what comes later follows from it. */
export async function keepConflict(directory: string, conflict: Conflict): Promise<void> {
  if (hasConflict(directory)) return
  const { own, other, ...facts } = conflict
  const certificates = [own, other].map((certificate) => ({
    kind: certificate.kind,
    round: certificate.round,
    digest: certificate.digest,
    signers: certificate.signatures.map(({ signer }) => signer),
    bytes: Buffer.from(encodeCertificate(certificate)).toString('base64'),
  }))
  await writeFileAtomic(join(directory, CONFLICT_FILE), `${JSON.stringify({ ...facts, certificates }, undefined, 2)}\n`)
}
