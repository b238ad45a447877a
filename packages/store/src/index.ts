export { StoreCorrupt, StoreError, type StoreErrorCode, StoreLocked } from './errors.ts'
export { keepAside, makeDirectory, replaceFile, syncDirectory, writeFileAtomic } from './files.ts'
export { type DirectoryLock, lockDirectory } from './lock.ts'
export { firstRecord, inspectLog, type LogFinding, type LogInspection, type LogOptions, openLog, type RecordLog } from './log.ts'
