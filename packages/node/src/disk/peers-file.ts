/** `peers.json` of a data folder: who to ask when the disk is to be opened. Public facts of the ring, in the clear; without it the genesis document serves. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RingNode } from '@ringwall/ring'
import { writeFileAtomic } from '@ringwall/store'
import { z } from 'zod'

const FILE = 'peers.json'
const Shape = z
  .array(
    z.strictObject({
      id: z.string().max(63),
      region: z.string().max(63),
      address: z.string().max(300),
      publicKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    }),
  )
  .min(1)
  .max(1_000)

export type KnownPeer = z.output<typeof Shape>[number]

export async function writePeers(data: string, nodes: readonly RingNode[]): Promise<void> {
  const peers = nodes.map(({ id, region, address, publicKey }) => ({ id, region, address, publicKey }))
  await writeFileAtomic(join(data, FILE), `${JSON.stringify(peers, undefined, 2)}\n`)
}

/** Undefined when there is none that can be read. */
export function readPeers(data: string): readonly KnownPeer[] | undefined {
  try {
    return Shape.parse(JSON.parse(readFileSync(join(data, FILE), 'utf8')))
  } catch {
    return undefined
  }
}
