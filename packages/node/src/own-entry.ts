/** The ring's genesis document, and this node in it. */

import { type GenesisDocument, parseGenesis, type RingNode } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { formatHostPort } from './address.ts'
import type { NodeConfig } from './config.ts'
import { StartError } from './errors.ts'
import { readTextFile } from './text-file.ts'

export function readGenesis(file: string): GenesisDocument {
  const text = readTextFile(file, 'GENESIS_INVALID', 'the ring’s genesis document')
  try {
    return parseGenesis(text)
  } catch (cause) {
    throw new StartError('GENESIS_INVALID', `${file}: ${(cause as Error).message}`, { cause })
  }
}

/**
 * This node as the genesis document lists it; its key must be the one on disk. One that joins later is as its configuration says,
 * until the ring has it.
 */
export function ownEntry(genesis: GenesisDocument, config: NodeConfig, publicKey: Uint8Array): RingNode {
  const entry = genesis.nodes.find(({ id }) => id === config.id)
  const key = encodeBase64url(publicKey)
  if (entry === undefined) {
    if (config.region !== undefined) {
      const address = formatHostPort(config.listen.fabric)
      return { id: config.id, region: config.region, address, publicKey: key, roles: ['edge'] }
    }
    throw new StartError(
      'GENESIS_INVALID',
      `${config.genesis}: lists no node ${config.id}; it has ${genesis.nodes.map(({ id }) => id).join(', ')}. A node that joins a running ring has its region in node.yaml: ringwall node init makes one`,
    )
  }
  if (entry.publicKey !== key) {
    throw new StartError(
      'KEY_INVALID',
      `${config.key}: is another key than the ring knows for ${config.id}; restore the node’s own key`,
    )
  }
  return entry
}
