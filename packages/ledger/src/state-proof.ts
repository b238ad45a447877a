/**
 * Proof of a state to somebody who was not there: blocks whose first one commits to the state before it, and whose last one a
 * quorum certified, after those that ended epochs, which say who makes up a quorum. Whoever has the genesis document needs
 * nothing else to check it.
 *
 *     proof = boundaries (sized) blocks (sized), each a run of records
 */
import { type BlockRecord, checkLinks } from './block-record.ts'
import { Malformed, Reader } from './bytes.ts'
import { Epochs } from './epochs.ts'
import { parsePayload } from './payload.ts'
import { encodeProof, parseRecords, parseRun } from './sync-codec.ts'
import type { Genesis } from './types.ts'

const BOUNDARIES_MAX = 65_536

/** What a state proof proves: this was the state after block `height`, and these validators said so. */
export interface ProvenState {
  readonly height: number
  /** Lower-case hex commitment. */
  readonly root: string
  /** When the block that commits to it was made, by its proposer's clock. */
  readonly timestampMs: number
  readonly signers: readonly string[]
}

/** `boundaries` from the genesis on; those that come later are left out. */
export function encodeStateProof(boundaries: readonly BlockRecord[], records: readonly BlockRecord[]): Uint8Array {
  return encodeProof(boundaries, records)
}

/** @throws {Malformed} Saying what is wrong with the proof. */
export function verifyStateProof(genesis: Genesis, bytes: Uint8Array): ProvenState {
  let boundaries: readonly BlockRecord[]
  let records: readonly BlockRecord[]
  try {
    const reader = new Reader(bytes)
    boundaries = parseRecords(reader.sized(bytes.length), BOUNDARIES_MAX)
    records = parseRun(reader.sized(bytes.length))
    reader.end()
  } catch (error) {
    throw new Malformed(`the blocks cannot be read: ${(error as Error).message}`)
  }
  const [first] = records
  const last = records.at(-1)
  if (first === undefined || last?.certificate === undefined)
    throw new Malformed('no certificate stands at the end of the blocks')
  checkLinks(records)
  const epochs = new Epochs(genesis, undefined)
  for (const boundary of boundaries) epochs.end(boundary)
  if (!epochs.certifies(last)) {
    throw new Malformed(`the certificate of block ${last.block.height} is not by a quorum of this ring’s validators`)
  }
  const signers = last.certificate.signatures.map(({ signer }) => epochs.nameOf(last.block.height, signer))
  const { height, timestampMs, payload } = first.block
  return { height: height - 1, root: parsePayload(payload).root, timestampMs, signers }
}
