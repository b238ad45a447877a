/** The words of detection. Pure: time is an argument. */

/** One failed login, seen by one node. `source` is an IP address, `account` a hash. */
export interface FailedLogin {
  readonly service: string
  readonly source: string
  readonly account: string | undefined
  readonly atMs: number
}

/** What is counted against what. */
export interface FailedLoginLimits {
  /** Failures for one account, from anywhere, within the window. */
  readonly perAccount: number
  /** Failures from one source, for any account, within the window. */
  readonly perSource: number
  readonly windowMs: number
}

/** A detector's conclusion. */
export interface Finding {
  readonly kind: 'failed-logins'
  readonly subject:
    | { readonly kind: 'ip'; readonly value: string }
    | { readonly kind: 'account'; readonly service: string; readonly value: string }
  readonly count: number
  /** How many nodes contributed. */
  readonly nodes: number
  readonly reason: string
}
