export { FabricError } from './errors.ts'
export { createFabric, type MeshOptions } from './fabric.ts'
export { callAsGuest, GUEST_PROTOCOL, type GuestCall } from './guest.ts'
export { refusesThisNode } from './refusal.ts'
export type {
  Channel,
  Fabric,
  FabricOptions,
  GuestHandler,
  LinkStatus,
  MessageHandler,
  NodeId,
  Peer,
  RequestHandler,
  StreamHandler,
} from './types.ts'
