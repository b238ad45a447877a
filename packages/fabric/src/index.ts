export { FabricError } from './errors.ts'
export { createFabric, type MeshOptions } from './fabric.ts'
export { refusesThisNode } from './refusal.ts'
export type { Channel, Fabric, FabricOptions, LinkStatus, MessageHandler, NodeId, Peer, RequestHandler } from './types.ts'
