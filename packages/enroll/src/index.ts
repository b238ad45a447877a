export { CSR_BYTES_MAX, readCsr } from './csr.ts'
export { DEVICE_FILES, type DeviceFolder, readDeviceFolder, writeDeviceFolder, writeVoucher } from './device-folder.ts'
export {
  type Identity,
  idevidIssuerOf,
  keyPem,
  makeDevice,
  makeManufacturer,
  parseKeyPem,
  rawPublicKey,
} from './device-identity.ts'
export { findByDns, findOnLink, LinkResponder } from './discovery/find-ring.ts'
export {
  DeviceInvalid,
  type EnrollError,
  GuestMessageInvalid,
  InvitationInvalid,
  JoinRefused,
  RingUnreachable,
  VoucherInvalid,
} from './errors.ts'
export { askToJoin, greetRing, type Invited, type WantedNode, type Welcome } from './guest.ts'
export {
  encodeInvitation,
  INVITATION_PEERS_MAX,
  type InvitationLine,
  newInvitationKey,
  parseInvitation,
  type RingAddress,
} from './invitation.ts'
export { Reception, type ReceptionDesk } from './reception.ts'
export { makeCredential } from './tpm/credential.ts'
export { isEndorsed } from './tpm/endorsement.ts'
export { EVENT_LOG_BYTES_MAX } from './tpm/event-log.ts'
export { TpmMalformed } from './tpm/reader.ts'
export { TpmDevice } from './tpm/tools.ts'
export { endorsementHash, readQuote } from './tpm/verify-quote.ts'
export {
  makeVoucher,
  type NewOwner,
  type NewVoucher,
  parseVoucher,
  passOn,
  readVoucher,
  TRANSFERS_MAX,
  type Voucher,
} from './voucher.ts'
