export {
  type Address,
  formatAddress,
  formatPrefix,
  isSource,
  type Prefix,
  parseAddress,
  parsePrefix,
  parsePrefixLoosely,
  prefixContains,
  prefixesOverlap,
} from './address.ts'
export {
  type CheckResult,
  createRingApplication,
  type PolicyReview,
  type RingApplication,
  type RingApplicationOptions,
  type RingBlockContext,
  type RingTxResult,
  type RingValidators,
  TX_LIFETIME_MS_MAX,
  TX_SKEW_MS_MAX,
} from './application.ts'
export { APPROVALS_MAX, APPROVALS_PER_OPERATOR_MAX, type PendingStatement } from './approvals.ts'
export {
  ATTESTATION_KINDS,
  type AttestationKind,
  type Endorsement,
  type Expelled,
  endorsementOf,
  isLapsed,
  type Measured,
  mustAttest,
  quoteNonce,
  type Reference,
  type ReferenceScope,
  recordOf,
  type Trust,
  type TrustRecord,
  verdictBytes,
} from './attestation.ts'
export {
  type AttestationStatement,
  type BootEvidence,
  changeMeasured,
  type QuoteReader,
  type QuoteReading,
  refusalOfBoot,
  type TpmEvidence,
} from './attestation-statements.ts'
export type {
  AccessAnswer,
  AccessQuestion,
  AuthorizationCompilation,
  AuthorizationCompiler,
  AuthorizationFault,
  AuthorizedService,
  Authorizer,
} from './authorization.ts'
export {
  type Corroboration,
  corroborationOf,
  isCorroborated,
  liveStatements,
  PENDING_DENIALS_MAX,
  PENDING_PER_ISSUER_MAX,
  type PendingDenial,
  type Statement,
} from './corroboration.ts'
export {
  CREDENTIAL_KINDS,
  type Credential,
  type CredentialSubject,
  coversCredential,
  isCredentialSubject,
} from './credential.ts'
export { createDenialIndex, DenialTable, type HashSeed } from './denial-index.ts'
export { didYouMean } from './did-you-mean.ts'
export { type DiskLabel, diskLabel } from './disk-label.ts'
export {
  DEVICE_STATUSES,
  type Device,
  type DeviceStatus,
  Enrolment,
  INVITATION_TTL_MS_MAX,
  type Invitation,
} from './enrolment.ts'
export { isAttestationStatement, isEnrolmentStatement, SERIAL, SERIAL_EXPECTED, VOUCHER_CHARS_MAX } from './enrolment-parse.ts'
export {
  deviceJoinBytes,
  type EnrolmentRefusalCode,
  type EnrolmentStatement,
  goneDevice,
  invitedBytes,
  type VoucherFacts,
  type VoucherReader,
} from './enrolment-statements.ts'
export { type AnyRingError, GenesisInvalid, PolicyFileInvalid, SnapshotInvalid } from './errors.ts'
export { type CsrReader, type CsrReading, type EstClient, estSecretHash, estSubject } from './est.ts'
export {
  type Fleet,
  type FleetNode,
  type FleetRelease,
  fleetNode,
  type Hold,
  holdOf,
  isNoFleet,
  labelsOf,
} from './fleet.ts'
export {
  LABEL,
  LABEL_EXPECTED,
  LABEL_KEY,
  type Labels,
  matchesSelector,
  parseSelector,
  type Selector,
} from './fleet-label.ts'
export {
  isToGoBack,
  type MemberStanding,
  type Stage,
  standingOf,
  TRIAL_GRACE_MS,
  type UpdateStanding,
  updateOf,
  whyNotYet,
} from './fleet-rollout.ts'
export { type FleetRefusalCode, type FleetStatement, isFleetStatement } from './fleet-statements.ts'
export { FLOOD_REASON, isFloodDenial } from './flood-denial.ts'
export { encodeGenesis, genesisHash, parseGenesis } from './genesis.ts'
export {
  hasLeaseWork,
  type Lease,
  type LeaseRefusalCode,
  type LeaseStatement,
  type Leases,
  leaseUser,
} from './leases.ts'
export {
  denialOf,
  denialOfReuse,
  joinDenials,
  nodeSubject,
  POLICY_BYTES_MAX,
  type Refusal,
  type RefusalCode,
  subjectFault,
} from './meaning.ts'
export { type MerkleProof, verifyMerkleProof } from './merkle-trie.ts'
export { AGED_REASON, ageOf, heldOf, MAX_AGE_HOLDER, type NodeAge } from './node-age.ts'
export {
  type DiskRefusalCode,
  type DiskStatement,
  type NodeDisk,
  type NodeDisks,
  type NodeWipe,
  type WipeReceipt,
  wipeReceiptBytes,
} from './node-disks.ts'
export { NODES_MAX, type NodeRefusalCode } from './nodes.ts'
export {
  OBJECT_ACT_MS_MAX,
  type ObjectAct,
  type ObjectRefusalCode,
  type ObjectStatement,
} from './object-acts.ts'
export {
  BUCKET_NAME,
  BUCKET_NAME_EXPECTED,
  OBJECT_BYTES_MAX,
  OBJECT_KEY_BYTES_MAX,
  OBJECT_SHARDS_MAX,
  RETAIN_MS_MAX,
} from './object-bounds.ts'
export { accessKeyName, type ObjectLabel, objectActBytes, objectLabel } from './object-label.ts'
export { ACCESS_KEY_ID, ACCESS_KEY_ID_EXPECTED, isObjectKey } from './object-parse.ts'
export {
  ACCESS_KEYS_MAX,
  type AccessKey,
  BUCKETS_MAX,
  type Bucket,
  OBJECT_VERSIONS_MAX,
  type ObjectEntry,
  type ObjectVersion,
  VaultObjects,
} from './objects.ts'
export { PASS_TOKEN_CHARS_MAX, type ServicePass, type SignedPass } from './pass-shape.ts'
export {
  CREDENTIALS_MAX,
  type PasswordCost,
  PEOPLE_MAX,
  People,
  type Person,
  type PersonCredential,
  type PersonInvitation,
} from './people.ts'
export { OUTSIDE_SUBJECT, PERSON_NAME, PERSON_NAME_EXPECTED, type PersonStatement } from './person-parsing.ts'
export { enrolmentBytes, INVITATION_MS_MAX, type PersonRefusalCode, personSubject } from './person-statements.ts'
export { playId } from './play-id.ts'
export {
  inputFault,
  isOutside,
  isPlayStatement,
  PLAY_ATTEMPTS_MAX,
  PLAY_CLAIM_MS,
  type PlayRefusalCode,
  type PlayStatement,
  playbookDigest,
  rehearsedPlay,
  stepOf,
} from './play-statements.ts'
export {
  isOver,
  PLAY_STATUSES,
  PLAYS_MAX,
  type Play,
  type PlayInputs,
  type PlayOutcome,
  type PlayStatus,
  Plays,
} from './plays.ts'
export {
  APPROVABLE_TYPES,
  type ApprovableType,
  type BotPolicy,
  CEDAR_CHARS_MAX,
  type ChallengePolicy,
  EXCEPTION_TTL_MS_MAX,
  type ExceptionPolicy,
  type IssuerPolicy,
  type LimitPolicy,
  NO_ASN,
  NO_COUNTRY,
  PASS_MS_MAX,
  type PatchPolicy,
  type Policy,
  PolicySchema,
  type RewritePolicy,
  type RoutePolicy,
  type ServicePolicy,
  type SourceSetPolicy,
  type UpstreamPolicy,
} from './policy.ts'
export { type AnomalyPolicy, anomaliesOf } from './policy-anomalies.ts'
export { type Caller, type CallerRefusal, Callers, callerRefusal } from './policy-callers.ts'
export {
  type CompiledPolicy,
  compileException,
  compilePolicy,
  type PolicyCompilation,
  type RuleCompiler,
} from './policy-compile.ts'
export type { CachePolicy, CompressionPolicy } from './policy-delivery.ts'
export { type DetectionRulePolicy, detectionRulesOf, STANDARD_DETECTION, wantsSignals } from './policy-detection.ts'
export type { DevicesPolicy } from './policy-devices.ts'
export { diffPolicies, type PolicyChange } from './policy-diff.ts'
export {
  formatProblems,
  POLICY_CHARS_MAX,
  type PolicyDocument,
  type PolicyProblem,
  parsePolicyDocument,
} from './policy-document.ts'
export { type FleetPolicy, type FleetUpdate, isInWindow } from './policy-fleet.ts'
export type { InsiderPolicy } from './policy-insider.ts'
export { policyJsonSchema } from './policy-json-schema.ts'
export type { ModelPolicy } from './policy-model.ts'
export { type ServiceNodes, servedBy } from './policy-nodes.ts'
export {
  mayUseObjects,
  type ObjectAction,
  type ObjectRule,
  residencyOf,
  rulesOfBucket,
} from './policy-objects.ts'
export type { OpenIdClient, OpenIdPolicy, SignalStreamPolicy } from './policy-openid.ts'
export type { PeoplePolicy } from './policy-people.ts'
export {
  inputsOf,
  nameOfStep,
  PLAY_INPUTS,
  type PlaybookPolicy,
  type PlaybookStep,
  type PlayInput,
} from './policy-playbooks.ts'
export {
  hasSecret,
  type OpenIdProviderPolicy,
  type ProviderPolicy,
  type SamlProviderPolicy,
  vaultSecretOf,
} from './policy-providers.ts'
export type { SamlParty, SamlPolicy } from './policy-saml.ts'
export { type PolicyText, policyText, type ReadPolicyFile } from './policy-text.ts'
export { Duration, parseDuration, Rate } from './policy-values.ts'
export {
  type DatabasePolicy,
  databaseRole,
  isVaultOpen,
  mayManageTransit,
  mayUseTransit,
  mayUseVault,
  type VaultAction,
  type VaultAsker,
  type VaultPolicy,
} from './policy-vault.ts'
export {
  mayAttest,
  servicesOf,
  type UnixFacts,
  type UnixSelectorPolicy,
  type WorkloadPolicy,
  type WorkloadsPolicy,
  workloadOf,
} from './policy-workloads.ts'
export { isTrustedProxy, prefixSetOf } from './prefix-set.ts'
export { ProvisionalDenials } from './provisional-denials.ts'
export {
  type PolicyJudge,
  type Rehearsal,
  type RehearsedRequest,
  type RehearsedVerdict,
  type RuleCost,
  rehearse,
  TEST_REQUESTS_MAX,
  TESTS_WORK_MAX,
  type TestResult,
} from './rehearsal.ts'
export {
  RELEASE_BYTES_MAX,
  RELEASE_FILES_MAX,
  RELEASE_FORMAT,
  type ReleaseHeader,
  releaseBytes,
  releaseDigest,
} from './release.ts'
export { areNear, RELEASE_VERSION, RELEASE_VERSION_EXPECTED } from './release-version.ts'
export {
  type BoardLine,
  boardEvent,
  type CeremonyMessage,
  FORMER_KEY_MS,
  isCeremonyWork,
  KEY_MESSAGE_BYTES_MAX,
  KEY_NAMES,
  KEY_PARTIES_MAX,
  KEY_PHASE_MS,
  KEY_REST_MS,
  type KeyCeremony,
  type KeyFault,
  type KeyName,
  type KeyRefusalCode,
  type KeyStatement,
  lastPlanOf,
  learnCeremonyFindings,
  NO_RING_KEY,
  NO_SIGNING_KEY_VIEW,
  planOf,
  publicKeyOf,
  type RingKey,
  type RingKeyView,
  viewOfKey,
  waitingFor,
} from './ring-key.ts'
export { SAMPLE_CLASSES, SAMPLE_REQUESTS, type SampleClass } from './sample-requests.ts'
export { SECRET_NAME, SECRET_NAME_CHARS_MAX, SECRET_NAME_EXPECTED } from './secret-name.ts'
export {
  judgePass,
  PASS_AUDIENCE,
  passSigningBytes,
  type ReadPass,
  readPass,
} from './service-pass.ts'
export { DENIALS_MAX, isValidator, nodesHash, policyHash, RingState, type StateParts, stateRoot } from './state.ts'
export { isSignedByRing, readRingToken, ringIssuer, tokenKeys } from './token-revocation.ts'
export {
  newestTransitVersion,
  TRANSIT_KEYS_MAX,
  TRANSIT_USES,
  TRANSIT_VERSIONS_MAX,
  type TransitKey,
  type TransitKeys,
  type TransitUse,
  type TransitVersion,
  transitKey,
  transitPlace,
} from './transit-keys.ts'
export { type TransitPlace, transitCapsuleLabel, transitMacInput, transitSignedBytes } from './transit-label.ts'
export type { TransitRefusalCode, TransitStatement } from './transit-statements.ts'
export {
  accountKey,
  batchOf,
  canonicalJson,
  decodeBase64url,
  EncodingInvalid,
  encodeBase64url,
  encodeTx,
  fieldReaders,
  orderStatements,
  parseIssuer,
  parseTx,
  RingError,
  signingBytes,
  subjectId,
  TX_BYTES_MAX,
  TxMalformed,
  txId,
} from './tx.ts'
export type {
  CompiledException,
  CompiledPatch,
  CompiledRoute,
  Denial,
  DenialIndex,
  DenialSubject,
  EvidenceOfLies,
  GenesisDocument,
  RingNode,
  RingOperator,
  RuleLibrary,
  SignedStatement,
  SignedTx,
  TxBody,
  TxContent,
  TxId,
  View,
} from './types.ts'
export { type SecretLabel, secretLabel } from './vault-label.ts'
export {
  isLive,
  SECRET_HISTORY_MAX,
  SECRET_VERSIONS_MAX,
  SECRETS_MAX,
  type SealedBody,
  type Secret,
  type SecretEnd,
  type SecretVersion,
  VAULT_BYTES_MAX,
  VaultSecrets,
} from './vault-secrets.ts'
export {
  SECRET_CAPSULE_BYTES_MAX,
  SECRET_CIPHERTEXT_BYTES_MAX,
  SECRET_TTL_MS_MAX,
  type VaultRefusalCode,
  type VaultStatement,
} from './vault-statements.ts'
