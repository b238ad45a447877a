export { BLOCKS_FILE } from './block-log.ts'
export { Malformed } from './bytes.ts'
export { LedgerError, type LedgerErrorCode } from './errors.ts'
export { FIRST_START_FILE } from './marks.ts'
export { openLedger } from './open.ts'
export type { LedgerFabric, LedgerFault, LedgerOptions } from './options.ts'
export type { Validator } from './payload.ts'
export { isSnapshotName } from './snapshot-file.ts'
export { type ProvenState, verifyStateProof } from './state-proof.ts'
export type {
  Application,
  BlockContext,
  Committed,
  EvidenceStatement,
  FinalBlock,
  Genesis,
  Ledger,
  LedgerEvidence,
  LedgerStatus,
  TxId,
  TxResult,
  ValidatorSet,
} from './types.ts'
export { type DirectoryVerdict, type VerifyDirectoryOptions, verifyLedgerDirectory } from './verify-directory.ts'
