/** Verifies a receipt and a genesis document that lie in files: what an auditor runs. */
import { readTextFile } from './config.ts'
import { StartError } from './errors.ts'
import { readGenesis } from './node.ts'
import { ReceiptInvalid, type ReceiptVerdict, verifyReceipt } from './receipt.ts'

/** @throws {StartError} `RECEIPT_INVALID`, naming the part that does not hold, and when a file cannot be read. */
export function verifyReceiptFile(file: string, genesisFile: string): ReceiptVerdict {
  const genesis = readGenesis(genesisFile)
  try {
    return verifyReceipt(readTextFile(file, 'RECEIPT_INVALID', 'the receipt'), genesis)
  } catch (error) {
    if (!(error instanceof ReceiptInvalid)) throw error
    throw new StartError('RECEIPT_INVALID', `${file}: refused: ${error.message}`, { cause: error })
  }
}
