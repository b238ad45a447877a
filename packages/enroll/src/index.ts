export { type EnrollError, GuestMessageInvalid, InvitationInvalid, JoinRefused, RingUnreachable } from './errors.ts'
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
