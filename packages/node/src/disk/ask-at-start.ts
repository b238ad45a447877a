/** What a node asks the ring with when its disk takes a key of it. */
import type { KeyObject } from 'node:crypto'
import type { GenesisDocument } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { formatHostPort } from '../address.ts'
import type { NodeConfig } from '../config.ts'
import { rawPublicKey } from '../keys.ts'
import { peerOf } from '../members.ts'
import type { OpenDiskOptions } from './disk.ts'
import { machineFacts } from './machine.ts'
import { readPeers } from './peers-file.ts'
import { askRing } from './release-asker.ts'

/** Asks the peers of the last list, or those of the genesis document, for as long as it takes. */
export function askAtStart(
  config: NodeConfig,
  ring: string,
  genesis: Pick<GenesisDocument, 'nodes'>,
  privateKey: KeyObject,
): OpenDiskOptions['release'] {
  return (held) => {
    const known = (readPeers(config.data) ?? genesis.nodes).map((node) =>
      peerOf({ ...node, roles: ['validator'] }, config.genesis),
    )
    const own = known.find(({ id }) => id === config.id)
    const publicKey = encodeBase64url(rawPublicKey(privateKey))
    const address = formatHostPort(config.listen.fabric)
    const self =
      own ?? peerOf({ id: config.id, region: config.region ?? '', address, publicKey, roles: ['edge'] }, config.genesis)
    return askRing({
      ring,
      self,
      peers: known.filter(({ id }) => id !== config.id),
      privateKey,
      held,
      proof: machineFacts(`${ring} ${config.id}`).proof,
      say: (line) => process.stderr.write(`ringwall: ${line}\n`),
    })
  }
}
