export { type HeldSvid, parseSvids, WorkloadAnswerInvalid, WorkloadClient, type WorkloadClientOptions } from './client.ts'
export {
  type CallAnswer,
  EndpointRefused,
  type SecretsCall,
  type WorkloadCall,
  WorkloadEndpoint,
  type WorkloadService,
} from './endpoint.ts'
export { GRPC_STATUS, GrpcFault, type GrpcStatus } from './grpc.ts'
export { encodeBundles, encodeSvids, type WorkloadSvid } from './messages.ts'
export type { PeerCredentials } from './peer-credentials.ts'
export { Program } from './program.ts'
export { encodeSecrets, SECRET_NAMES, type Secret, type SecretsRequest } from './secrets.ts'
