export { formatHostPort, type HostPort, parseHostPort } from './address.ts'
export { openapi } from './api/openapi.ts'
export { type NodeConfig, parseNodeConfig, readNodeConfig } from './config.ts'
export { makeRecovery } from './disk/recovery.ts'
export { unlockNode } from './disk/unlock.ts'
export { runDevice } from './enrolment/run-device.ts'
export { runJoin } from './enrolment/run-join.ts'
export { StartError } from './errors.ts'
export { installRelease, versionOf } from './fleet/install-release.ts'
export { makeRelease, readHeader } from './fleet/release-archive.ts'
export { initNode, type NodeInit } from './init-node.ts'
export { type CrsInstall, type CrsInstalled, installCrs } from './install-crs.ts'
export { generateKey, rawPublicKey, readPrivateKey, verifySignature } from './keys.ts'
export { backupLedger, type LedgerFileReport, restoreLedger, verifyLedgerFiles } from './ledger-files.ts'
export { runUp, type UpOptions } from './local/up.ts'
export { startNode } from './node.ts'
export { BucketClient, type BucketClientOptions, BucketFault } from './objects/bucket-client.ts'
export { type ProtectOptions, runProtect, startProtect } from './protect.ts'
export type { ReceiptVerdict } from './receipt.ts'
export { verifyEvidenceFile, verifyReceiptFile } from './receipt-file.ts'
export { type DrilledNode, type DrillImage, newestImages, restoreForDrill } from './recovery/drill.ts'
export { backupNode, imagePart, type RestoredNode, restoreNode } from './recovery/recover.ts'
export {
  loadTrialRules,
  parseCases,
  parseRawRequest,
  type RequestParts,
  RequestUnreadable,
  requestOfParts,
  runCase,
  type TrialCases,
  type TrialRequest,
  type TrialResult,
  type TrialVerdict,
  tryRequest,
} from './rule-trial.ts'
export { runNode } from './run-node.ts'
export type { RunningNode } from './running-node.ts'
export { runSidecar } from './sidecar/run-sidecar.ts'
export { VERSION } from './version.ts'
