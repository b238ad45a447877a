/** What validators sign, and what a quorum of signatures proves. */
import { quorumOf } from './quorum.ts'
import type { Certificate, Digest, Scheme, VoteKind } from './types.ts'

/** Wire names: one that changes separates rings. */
const DOMAINS = {
  notarize: 'RINGWALL_SIMPLEX_NOTARIZE_V1',
  nullify: 'RINGWALL_SIMPLEX_NULLIFY_V1',
  finalize: 'RINGWALL_SIMPLEX_FINALIZE_V1',
  proposal: 'RINGWALL_SIMPLEX_PROPOSAL_V1',
} as const

interface Statement {
  readonly ring: string
  readonly round: number
  readonly digest: Digest | undefined
  readonly bytes: Uint8Array
}

const ENCODER = new TextEncoder()
/** The last statements, by their rounds: a quorum says each of them, one after the other. */
const STATEMENTS_MAX = 64
const statements: Record<VoteKind | 'proposal', (Statement | undefined)[]> = {
  notarize: Array.from({ length: STATEMENTS_MAX }),
  nullify: Array.from({ length: STATEMENTS_MAX }),
  finalize: Array.from({ length: STATEMENTS_MAX }),
  proposal: Array.from({ length: STATEMENTS_MAX }),
}

/** The bytes under a vote's or a proposal's signature, to be read only. `digest` is undefined for `nullify`. */
export function signingBytes(kind: VoteKind | 'proposal', ring: string, round: number, digest: Digest | undefined): Uint8Array {
  const slot = round % STATEMENTS_MAX
  const last = statements[kind][slot]
  if (last !== undefined && last.round === round && last.digest === digest && last.ring === ring) return last.bytes
  const bytes = ENCODER.encode(`${DOMAINS[kind]}\n${ring}\n${round}\n${digest ?? ''}`)
  statements[kind][slot] = { ring, round, digest, bytes }
  return bytes
}

/** The name that an epoch's validators sign under: the ring's own first, so that no vote of one epoch counts in another. */
export function epochDomain(ring: string, epoch: number): string {
  return epoch === 0 ? ring : `${ring}/${epoch}`
}

/** A quorum of distinct validators signed the same statement. Checks form first, signatures last. */
export function verifyCertificate(
  config: { readonly ring: string; readonly validators: number },
  scheme: Scheme,
  certificate: Certificate,
): boolean {
  const { kind, round, digest, signatures } = certificate
  if (signatures.length < quorumOf(config.validators) || signatures.length > config.validators) return false
  if ((digest === undefined) !== (kind === 'nullify')) return false
  if (!Number.isSafeInteger(round) || round < 1) return false
  let before = -1
  for (const { signer } of signatures) {
    if (signer <= before || signer >= config.validators) return false
    before = signer
  }
  const message = signingBytes(kind, config.ring, round, digest)
  return signatures.every(({ signer, signature }) => scheme.verify(signer, message, signature))
}
