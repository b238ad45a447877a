/**
 * Proof of a state to somebody who was not there: blocks whose first one commits to the state before it, and whose last one a
 * quorum certified. Whoever has the genesis document needs nothing else to check it.
 */
import { verifyCertificate } from '@ringwall/consensus'
import { type BlockRecord, proves } from './block-record.ts'
import { Malformed } from './bytes.ts'
import { parsePayload } from './payload.ts'
import { ed25519Scheme } from './scheme.ts'
import { encodeRun, parseRun } from './sync-codec.ts'
import type { Genesis } from './types.ts'

/** What a state proof proves: this was the state after block `height`, and these validators said so. */
export interface ProvenState {
  readonly height: number
  /** Lower-case hex commitment. */
  readonly root: string
  /** When the block that commits to it was made, by its proposer's clock. */
  readonly timestampMs: number
  readonly signers: readonly string[]
}

export function encodeStateProof(records: readonly BlockRecord[]): Uint8Array {
  return encodeRun(records)
}

/** @throws {Malformed} Saying what is wrong with the proof. */
export function verifyStateProof(genesis: Genesis, bytes: Uint8Array): ProvenState {
  let records: readonly BlockRecord[]
  try {
    records = parseRun(bytes)
  } catch (error) {
    throw new Malformed(`the blocks cannot be read: ${(error as Error).message}`)
  }
  const [first] = records
  const last = records.at(-1)
  if (first === undefined || last?.certificate === undefined)
    throw new Malformed('no certificate stands at the end of the blocks')
  for (const [i, { block }] of records.entries()) {
    const parent = records[i - 1]?.block
    if (parent !== undefined && (block.parent !== parent.digest || block.height !== parent.height + 1)) {
      throw new Malformed(`block ${block.height} does not follow the one before it`)
    }
  }
  const { certificate } = last
  const config = { ring: genesis.ring, validators: genesis.validators.length }
  if (!proves(certificate, last.block) || !verifyCertificate(config, ed25519Scheme(genesis, undefined), certificate)) {
    throw new Malformed(`the certificate of block ${last.block.height} is not by a quorum of this ring’s validators`)
  }
  const signers = certificate.signatures.map(({ signer }) => genesis.validators[signer]?.id ?? '?')
  const { height, timestampMs, payload } = first.block
  return { height: height - 1, root: parsePayload(payload).root, timestampMs, signers }
}
