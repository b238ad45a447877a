/** Says on the link where this node is, for devices that look for their ring. What they hear they do not believe: the node still shows its key. */
import { isIPv4 } from 'node:net'
import { LinkResponder } from '@ringwall/enroll'
import type { RingNode } from '@ringwall/ring'
import { parseHostPort } from '../address.ts'

/** @returns What ends it. @throws {Error} When nothing on this machine takes multicast, or the node has no IPv4 address that others reach. */
export async function announceOnLink({ id, address }: Pick<RingNode, 'id' | 'address'>): Promise<() => void> {
  const { host, port } = parseHostPort(address, 'the address of this node')
  if (!isIPv4(host) || host === '0.0.0.0') throw new Error(`${address} is no IPv4 address that others on the link could use`)
  const responder = new LinkResponder(id, { host, port })
  await responder.start()
  return () => responder.stop()
}
