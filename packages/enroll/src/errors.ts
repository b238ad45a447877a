/** Errors of joining. Switch on `code`: it is stable, the message is for people. */
export abstract class EnrollError extends Error {
  abstract readonly code: string
}

/** A line that is no invitation, or not whole. */
export class InvitationInvalid extends EnrollError {
  override readonly name = 'InvitationInvalid'
  readonly code = 'INVITATION_INVALID'
  constructor(reason: string) {
    super(`this is no invitation: ${reason}; copy the whole line that ringwall node invite printed`)
  }
}

/** The ring, or the node that was asked, says no. `code` is one of the ring's. */
export class JoinRefused extends EnrollError {
  override readonly name = 'JoinRefused'
  readonly code: string
  constructor(code: string, reason: string) {
    super(`${code}: ${reason}`)
    this.code = code
  }
}

/** No node of the ring answers as it should. */
export class RingUnreachable extends EnrollError {
  override readonly name = 'RingUnreachable'
  readonly code = 'RING_UNREACHABLE'
}

/** A message between guest and node that is not what it must be. */
export class GuestMessageInvalid extends EnrollError {
  override readonly name = 'GuestMessageInvalid'
  readonly code = 'GUEST_MESSAGE'
}
