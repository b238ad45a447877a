/**
 * Lies that this node has proof of, as JSON beside the ledger: until the ring has let go of who told them, no restart forgets
 * them.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Digest } from '@ringwall/consensus'
import { type DiskSeal, openSealedBytes, writeFileSealed } from '@ringwall/store'
import type { EvidenceStatement, LedgerEvidence } from './types.ts'

export const EVIDENCE_FILE = 'evidence.json'
/** Lies that are kept. */
export const EVIDENCE_MAX = 64
const FORMAT = 'ringwall/evidence/1'
const SIGNATURE_BYTES = 64
const DIGEST = /^[0-9a-f]{64}$/

/** @throws {Error} Saying what is wrong: nothing in the file is believed then. */
export function readEvidence(directory: string, seal?: DiskSeal): readonly LedgerEvidence[] {
  const path = join(directory, EVIDENCE_FILE)
  if (!existsSync(path)) return []
  const bytes = openSealedBytes(seal, path, readFileSync(path))
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    throw new Error(`${path} is not JSON`)
  }
  if (!isRecord(value) || value.format !== FORMAT || !Array.isArray(value.lies) || value.lies.length > EVIDENCE_MAX)
    throw new Error(`${path} is not of the form ${FORMAT} with at most ${EVIDENCE_MAX} lies`)
  return value.lies.map((lie, at) => {
    const parsed = parseLie(lie)
    if (parsed === undefined) throw new Error(`${path}: lie ${at} is malformed`)
    return parsed
  })
}

/** Puts these in the place of what the file held, durably. */
export async function writeEvidence(directory: string, lies: readonly LedgerEvidence[], seal?: DiskSeal): Promise<void> {
  const written = lies.map(({ validator, epoch, round, first, second }) => ({
    validator,
    epoch,
    round,
    first: writtenStatement(first),
    second: writtenStatement(second),
  }))
  const text = `${JSON.stringify({ format: FORMAT, lies: written }, undefined, 2)}\n`
  await writeFileSealed(join(directory, EVIDENCE_FILE), text, seal)
}

function writtenStatement({ kind, digest, signature }: EvidenceStatement) {
  return { kind, digest: digest ?? null, signature: Buffer.from(signature).toString('base64') }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseLie(value: unknown): LedgerEvidence | undefined {
  if (!isRecord(value)) return undefined
  const { validator, epoch, round } = value
  const [first, second] = [parseStatement(value.first), parseStatement(value.second)]
  if (typeof validator !== 'string' || !isWhole(epoch) || !isWhole(round)) return undefined
  if (first === undefined || second === undefined) return undefined
  return { validator, epoch, round, first, second }
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

const KINDS = ['notarize', 'nullify', 'finalize', 'proposal'] as const

function parseStatement(value: unknown): EvidenceStatement | undefined {
  if (!isRecord(value) || typeof value.signature !== 'string') return undefined
  const { digest } = value
  const kind = KINDS.find((known) => known === value.kind)
  const signature = new Uint8Array(Buffer.from(value.signature, 'base64'))
  if (kind === undefined || signature.length !== SIGNATURE_BYTES) return undefined
  if (digest === null) return kind === 'nullify' ? { kind, digest: undefined, signature } : undefined
  if (kind === 'nullify' || typeof digest !== 'string' || !DIGEST.test(digest)) return undefined
  return { kind, digest: digest as Digest, signature }
}
