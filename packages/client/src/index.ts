export type * from './api.generated.ts'
export { type ClientOptions, RingwallClient, type SubmitOptions } from './client.ts'
export {
  importOperatorKey,
  type OperatorContext,
  type OperatorCredentials,
  type OperatorKey,
  OperatorSigner,
  parseContext,
} from './context.ts'
export { ApiError, ContextInvalid, NodeUnreachable } from './errors.ts'
export { EventStreamParser, type ServerEvent } from './event-stream.ts'
