/** What went wrong inside, as S3's clients know it. */
import { LedgerError } from '@ringwall/ledger'
import type { ObjectRefusalCode } from '@ringwall/ring'
import { VaultError } from '@ringwall/vault'
import { ObjectsUnavailable } from '../objects/blob-writer.ts'
import { FolderFull } from '../objects/shard-store.ts'
import { ThreadGone } from '../signing/task-thread.ts'
import { OpenRefused } from '../vault/vault-service.ts'
import { type S3Code, S3Error } from './s3-error.ts'

const CODES: Readonly<Record<ObjectRefusalCode, S3Code>> = {
  ACCESS_KEY_EXISTS: 'InvalidRequest',
  ACCESS_KEY_PROOF: 'SignatureDoesNotMatch',
  ACCESS_KEY_UNKNOWN: 'InvalidAccessKeyId',
  BUCKET_EXISTS: 'BucketAlreadyOwnedByYou',
  BUCKET_NOT_EMPTY: 'BucketNotEmpty',
  BUCKET_LOCKS: 'InvalidBucketState',
  BUCKET_RESIDENCY: 'InvalidRequest',
  BUCKET_UNKNOWN: 'NoSuchBucket',
  BUCKET_UNLOCKED: 'InvalidRequest',
  BUCKET_UNVERSIONED: 'InvalidBucketState',
  OBJECTS_CLOSED: 'AccessDenied',
  OBJECTS_FULL: 'ServiceUnavailable',
  OBJECT_CHANGED: 'PreconditionFailed',
  OBJECT_NOT_ENTITLED: 'AccessDenied',
  OBJECT_RETAINED: 'AccessDenied',
  OBJECT_STALE: 'RequestTimeTooSkewed',
  OBJECT_TAKEN: 'InternalError',
  OBJECT_UNKNOWN: 'NoSuchKey',
}

/** Every error is one of S3's; what nobody foresaw says nothing of itself. */
export function s3ErrorOf(error: unknown): S3Error {
  if (error instanceof S3Error) return error
  if (error instanceof LedgerError) {
    const refused = error.refusal?.code
    const code = refused === undefined ? undefined : CODES[refused as ObjectRefusalCode]
    return new S3Error(code ?? 'ServiceUnavailable', error.refusal?.reason ?? error.message)
  }
  if (error instanceof OpenRefused || error instanceof VaultError) {
    const isRight = error.code === 'OPEN_NOT_ENTITLED' || /OPEN_NOT_ENTITLED/.test(error.message)
    if (isRight) return new S3Error('AccessDenied', error.message)
    return new S3Error(error.code === 'VAULT_CORRUPT' ? 'InternalError' : 'ServiceUnavailable', error.message)
  }
  if (error instanceof ObjectsUnavailable || error instanceof FolderFull || error instanceof ThreadGone)
    return new S3Error('ServiceUnavailable', error.message)
  return new S3Error('InternalError', 'the node failed at this request; its log may say why')
}
