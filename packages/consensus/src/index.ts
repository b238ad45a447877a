export { epochDomain, signingBytes, verifyCertificate } from './certificate.ts'
export { WireError } from './errors.ts'
export { faultsOf, leaderOf, quorumOf } from './quorum.ts'
export type {
  Block,
  Certificate,
  Digest,
  Effect,
  Evidence,
  JournalRecord,
  Message,
  Proposal,
  Scheme,
  Vote,
  VoteKind,
  VoterConfig,
  VoterEvent,
} from './types.ts'
export { ROUNDS_AHEAD_MAX, Voter, type VoterStatus } from './voter.ts'
export {
  blockDigest,
  decodeBlock,
  decodeCertificate,
  decodeJournalRecord,
  decodeMessage,
  encodeBlock,
  encodeCertificate,
  encodeJournalRecord,
  encodeMessage,
  genesisBlock,
  makeBlock,
  NULLIFICATIONS_MAX,
  PAYLOAD_BYTES_MAX,
  type ProposalHead,
  proposalHead,
} from './wire.ts'
