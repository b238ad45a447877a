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

/** A voucher whose shape, signatures or order does not hold. */
export class VoucherInvalid extends EnrollError {
  override readonly name = 'VoucherInvalid'
  readonly code = 'VOUCHER_INVALID'
  readonly reason: string
  constructor(reason: string) {
    super(`the voucher is not valid: ${reason}`)
    this.reason = reason
  }
}

/** A device folder that no device can start from. */
export class DeviceInvalid extends EnrollError {
  override readonly name = 'DeviceInvalid'
  readonly code: 'DEVICE_INVALID' | 'VOUCHER_OTHER_DEVICE' | 'VOUCHER_NO_RING' | 'VOUCHER_EXPIRED' | 'VOUCHER_SUPERSEDED'
  constructor(code: DeviceInvalid['code'], reason: string) {
    super(`${code}: ${reason}`)
    this.code = code
  }
}
