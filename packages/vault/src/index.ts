export { accessKeyPublic, accessKeySigner, makeAccessKey } from './access-key.ts'
export { ErasureCode, isShard, SHARDS_MAX, type ShardProof, ShardTree } from './erasure.ts'
export { VaultError, type VaultErrorCode } from './errors.ts'
export { copyBytes, giveBack, wipe } from './memory.ts'
export {
  BlobShape,
  blobKey,
  OBJECT_SEGMENT_BYTES,
  openObjectSegment,
  sealObjectSegment,
} from './object-cipher.ts'
export {
  capsuleHash,
  encodeManifest,
  isHeader,
  MANIFEST_BYTES_MAX,
  type Manifest,
  type ManifestPart,
  OBJECT_HEADERS_BYTES_MAX,
  OBJECT_PARTS_MAX,
  PartHashes,
  parseManifest,
  sha256Hex,
} from './object-manifest.ts'
export {
  type AskView,
  checkOpen,
  OPEN_REQUEST_MS_MAX,
  type Openable,
  type OpenRefusal,
  type OpenRefusalCode,
  type OpenView,
} from './open-check.ts'
export {
  type AskerFields,
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
export { type Layout, type PlacedNode, placeShards, usualLayout } from './placement.ts'
export {
  bodyDigest,
  type PartialOpening,
  REPLY_BYTES_MAX,
  type ReplyContent,
  ReplyKey,
  ReplyMaker,
  requestDigest,
} from './reply.ts'
export { newPassword, scramVerifier } from './scram.ts'
export { readSecretLabel, SECRET_BYTES_MAX, type Sealed, sealObjectKey, sealSecret, unsealSecret } from './seal.ts'
export { SEGMENT_BYTES, Sealer, Unsealer } from './segments.ts'
export { type AskTransit, authenticateTransit, type Decryption, decryptTransit } from './transit.ts'
export { checkTransit, type TransitGrant, type TransitView } from './transit-check.ts'
export {
  parseSignedTransitRequest,
  type SignedTransitRequest,
  TRANSIT_USES_MAX,
  type TransitRequest,
  transitSigningBytes,
} from './transit-request.ts'
export {
  encryptTransit,
  messageDigest,
  readTransitText,
  sameAuthenticator,
  TRANSIT_PLAINTEXT_BYTES_MAX,
  transitText,
  verifiesTransit,
} from './transit-text.ts'
