export { BLOCKS_FILE } from './block-log.ts'
export { Malformed } from './bytes.ts'
export { LedgerError, type LedgerErrorCode } from './errors.ts'
export { FIRST_START_FILE, openLedger } from './open.ts'
export type { LedgerFabric, LedgerOptions } from './options.ts'
export { isSnapshotName } from './snapshot-file.ts'
export { type ProvenState, verifyStateProof } from './state-proof.ts'
export type {
  Application,
  BlockContext,
  Committed,
  FinalBlock,
  Genesis,
  Ledger,
  LedgerStatus,
  TxId,
  TxResult,
} from './types.ts'
export { type DirectoryVerdict, type VerifyDirectoryOptions, verifyLedgerDirectory } from './verify-directory.ts'
