export {
  type Accusation,
  type Attests,
  decodeAccusation,
  encodeAccusation,
  FAULTS,
  type Fault,
  SEEN_ON_THE_BOARD,
  verifyCeremonyAccusation,
} from './blame.ts'
export {
  type BarePartial,
  CAPSULE_BYTES_MAX,
  CAPSULE_KEY_BYTES,
  type Capsule,
  combineUnproven,
  decodePartial,
  encapsulate,
  LABEL_BYTES_MAX,
  makeBarePartial,
  makePartial,
  openCapsule,
  type Partial,
  type ReadCapsule,
  readCapsule,
  verifyCapsule,
  verifyPartial,
  verifyPartials,
} from './capsule.ts'
export {
  beginCeremony,
  type CeremonyEffect,
  type CeremonyEvent,
  type CeremonyState,
  type CeremonyTools,
  decodeState,
  encodeState,
  foreseeKey,
  observeCeremony,
  type Phase,
  type Step,
  step,
} from './ceremony.ts'
export {
  Coordinator,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorOptions,
  SESSIONS_MAX,
  STOCKED_MAX,
} from './coordinator.ts'
export { type Dealing, SEED_BYTES, verifyDealing } from './dealing.ts'
export { type ThresholdCode, ThresholdError } from './errors.ts'
export { combineEvaluations, EVALUATION_BYTES, EVALUATION_INPUT_BYTES_MAX, evaluationPoint } from './evaluation.ts'
export {
  aggregate,
  decodeCommitment,
  type EncodedCommitment,
  NONCE_RANDOM_BYTES,
  type NonceCommitment,
  NoncePair,
  SIGNATURE_BYTES,
  type SignatureVerifier,
  type SignerCommitment,
  type SigningContext,
  signingContext,
  signShare,
  verifyShare,
} from './frost.ts'
export {
  ELEMENT_BYTES,
  type Element,
  edwards,
  type Group,
  groupNamed,
  ristretto,
  type SuiteName,
} from './group.ts'
export { dealTrusted, KeyShare, type Member, PublicKey, type PublicKeyParts, THRESHOLD_MIN } from './key.ts'
export { verifyKeyAccusation } from './key-blame.ts'
export { CeremonyMemo, type Finding } from './memo.ts'
export { OPENINGS_MAX, Opener, type OpenerEffect, type OpenerEvent } from './opener.ts'
export { Ceremony, type CeremonyParts, makeEncryptionKey, type Receiver } from './plan.ts'
export { decodeScalar, encodeScalar, IDENTIFIER_MAX, lagrangeAtZero, ORDER, type Scalar } from './scalar.ts'
export { Secret } from './secret.ts'
export { Signer, type SignerEffect, type SignerEvent, STOCK_MAX } from './signer.ts'
export {
  BATCH_MAX,
  type CommitmentBatch,
  CommitmentMemo,
  decodeCommitments,
  decodeRequest,
  decodeSignatureShare,
  digestOf,
  encodeCommitments,
  encodeRequest,
  encodeSignatureShare,
  requestedMessage,
  SIGNED_BYTES_MAX,
  type SignatureShare,
  type SigningRequest,
  splitCommitments,
} from './signing-wire.ts'
export { ATTESTATION_BYTES_MAX, type Attested, isFor, MESSAGE_BYTES_MAX, PARTIES_MAX, type Party } from './wire.ts'
