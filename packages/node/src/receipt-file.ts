/** Verifies a receipt, or a bundle of evidence, and a genesis document that lie in files: what an auditor runs. */

import { StartError } from './errors.ts'
import { type EvidenceVerdict, verifyEvidence } from './evidence.ts'
import { readGenesis } from './own-entry.ts'
import { ReceiptInvalid, type ReceiptVerdict, verifyReceipt } from './receipt.ts'
import { readTextFile } from './text-file.ts'

/** @throws {StartError} `RECEIPT_INVALID`, naming the part that does not hold, and when a file cannot be read. */
export function verifyReceiptFile(file: string, genesisFile: string): ReceiptVerdict {
  const genesis = readGenesis(genesisFile)
  return refusing(file, () => verifyReceipt(readTextFile(file, 'RECEIPT_INVALID', 'the receipt'), genesis))
}

/** As `verifyReceiptFile`, of what `ringwall incident export` wrote. */
export function verifyEvidenceFile(file: string, genesisFile: string): EvidenceVerdict {
  const genesis = readGenesis(genesisFile)
  return refusing(file, () => verifyEvidence(readTextFile(file, 'RECEIPT_INVALID', 'the bundle'), genesis))
}

function refusing<T>(file: string, verify: () => T): T {
  try {
    return verify()
  } catch (error) {
    if (!(error instanceof ReceiptInvalid)) throw error
    throw new StartError('RECEIPT_INVALID', `${file}: refused: ${error.message}`, { cause: error })
  }
}
