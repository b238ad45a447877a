/** Errors of telemetry. Switch on `code`: it is stable, the message is for people. */
export abstract class TelemetryError extends Error {
  abstract readonly code: 'TELEMETRY_OPTIONS_INVALID' | 'TELEMETRY_STORE_UNAVAILABLE'
}

/** An option that cannot work. Thrown by `openTelemetry` only. */
export class TelemetryOptionsInvalid extends TelemetryError {
  override readonly name = 'TelemetryOptionsInvalid'
  readonly code = 'TELEMETRY_OPTIONS_INVALID'
  readonly option: string
  constructor(option: string, expected: string, options?: ErrorOptions) {
    super(`telemetry option ${option} is invalid: expected ${expected}`, options)
    this.option = option
  }
}

/** The embedded store cannot answer: it is stopped, restarting, or its disk fails. Queries reject; recording never does. */
export class StoreUnavailable extends TelemetryError {
  override readonly name = 'StoreUnavailable'
  readonly code = 'TELEMETRY_STORE_UNAVAILABLE'
  constructor(why: string, options?: ErrorOptions) {
    super(`the telemetry store cannot answer: ${why}`, options)
  }
}

export type AnyTelemetryError = TelemetryOptionsInvalid | StoreUnavailable
