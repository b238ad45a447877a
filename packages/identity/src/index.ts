export { compileAuthorization, POLICIES_MAX, userId } from './cedar-authorizer.ts'
export * as der from './der.ts'
export { DPOP_ALGORITHMS, PROOF_AGE_MS_MAX, type ProofRefusalCode, proofKey, proofRefusal } from './dpop.ts'
export {
  type AskerClaim,
  askerRefusal,
  authorityOf,
  checkAuthority,
  checkMint,
  MINT_REQUEST_MS_MAX,
  type Mintable,
  type MintRefusal,
  type MintRefusalCode,
  type MintView,
  ringJwk,
  verifiesRaw,
} from './mint-check.ts'
export {
  type MintRequest,
  MintRequestInvalid,
  mintSigningBytes,
  parseMintRequest,
  parseSignedMintRequest,
  type SignedMintRequest,
  SVID_TTL_S_DEFAULT,
  SVID_TTL_S_MAX,
  type SvidWanted,
  svidProofBytes,
  TOKEN_TTL_S_DEFAULT,
  TOKEN_TTL_S_MAX,
  type TokenConfirmation,
  type TokenWanted,
} from './mint-request.ts'
export { type OperatorVerdict, verifyOperatorToken } from './operator-token.ts'
export { type PeerAuthorities, peerOf } from './peer.ts'
export {
  type CodeClaims,
  clientOf,
  type GrantClaims,
  redirectDigest,
  SCOPES,
  tokenEndpointOf,
  userinfoAudience,
} from './people/openid-check.ts'
export { jwsFault, PROVIDER_KEYS_MAX, type ProviderKey, readJws } from './people/outside/id-token.ts'
export { holderNow, type OutsideClaims } from './people/outside/outside.ts'
export { passkeyOwner } from './people/passkey-owner.ts'
export {
  PASSWORD_CHARS_MAX,
  PASSWORD_CHARS_MIN,
  PASSWORD_COST,
  PASSWORD_SALT_BYTES,
  passwordKey,
  publicHalf,
  seededKey,
} from './people/password-key.ts'
export {
  checkAssertion,
  checkPerson,
  LOGIN_MS_MAX,
  outsideWord,
  type PersonView,
  readSession,
  readSigned,
  type SessionClaims,
  sessionKeys,
  signedAssertionInfo,
} from './people/person-check.ts'
export {
  type AssertionRequest,
  type ClientRequest,
  type LoginOccasion,
  type LoginProof,
  loginChallenge,
  type OutsideProof,
  type OutsideRequest,
  outsideNonce,
  type PersonRequest,
  parsePersonRequest,
  parseSignalFact,
  passwordLoginBytes,
  type SignalFact,
} from './people/person-request.ts'
export { SIGNAL_EVENTS, sessionsEnded, signalId, signalStream } from './people/signal-check.ts'
export { isOriginOf, type PasskeyRegistration, registrationFault } from './people/webauthn.ts'
export { ProofReplays, sharedProofMemory } from './proof-replays.ts'
export { samlCertificate } from './saml/certificate.ts'
export {
  identityProviderMetadata,
  idpEntityId,
  type PartyRequest,
  readPartyRequest,
  refusalXml,
  responseXml,
} from './saml/identity-provider.ts'
export { authnRequestId, serviceEntityId } from './saml/names.ts'
export { authnRequestUrl, serviceProviderMetadata } from './saml/service-provider.ts'
export { parseStrictObject } from './strict-json.ts'
export {
  type Authority,
  authorityToSign,
  certificateOf,
  certificatePem,
  type Svid,
  spiffeId,
  subjectKey,
  svidToSign,
} from './svid.ts'
export { createProofReplays, createTokenVerifier, type TokenRefusal, type TokenVerifierOptions } from './token-verifier.ts'
