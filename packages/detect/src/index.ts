export { SummaryMalformed } from './errors.ts'
export { FailedLogins, type FailedLoginsOptions } from './failed-logins.ts'
export type { FailedLogin, FailedLoginLimits, Finding } from './types.ts'
