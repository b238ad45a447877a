export { VaultError, type VaultErrorCode } from './errors.ts'
export {
  checkOpen,
  OPEN_REQUEST_MS_MAX,
  type Openable,
  type OpenRefusal,
  type OpenRefusalCode,
  type OpenView,
} from './open-check.ts'
export {
  OPEN_SECRETS_MAX,
  type OpenRequest,
  openSigningBytes,
  parseSignedOpenRequest,
  type SecretWanted,
  type SignedOpenRequest,
} from './open-request.ts'
export {
  type AskNode,
  type OpenAnswer,
  type OpenedSecret,
  type OpenedSecrets,
  Opening,
  openSecrets,
  type Reader,
  type VaultFacts,
} from './opening.ts'
export {
  bodyDigest,
  type PartialOpening,
  REPLY_BYTES_MAX,
  type ReplyContent,
  ReplyKey,
  ReplyMaker,
  requestDigest,
} from './reply.ts'
export { readSecretLabel, SECRET_BYTES_MAX, type Sealed, sealSecret, unsealSecret } from './seal.ts'
export { SEGMENT_BYTES, Sealer, Unsealer } from './segments.ts'
