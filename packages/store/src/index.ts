export { DiskSeal, type DiskSealOptions, STORAGE_KEY_BYTES, StorageKey } from './disk-seal.ts'
export { StoreCorrupt, StoreError, type StoreErrorCode, StoreLocked } from './errors.ts'
export { keepAside, makeDirectory, replaceFile, syncDirectory, writeFileAtomic } from './files.ts'
export { type DirectoryLock, lockDirectory } from './lock.ts'
export { type LogFinding, type LogOptions, openLog, type RecordLog } from './log.ts'
export { copyLog } from './log-copy.ts'
export { firstRecord, type InspectOptions, inspectLog, type LogInspection } from './log-scan.ts'
export {
  isSealedFile,
  openSealedBytes,
  readFileSealed,
  readPieceSealed,
  sealBytes,
  sealedFileKey,
  sealParts,
  writeFileSealed,
} from './sealed-file.ts'
