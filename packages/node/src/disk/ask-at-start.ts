/** What a node asks the ring with when its disk takes a key of it. */
import type { KeyObject } from 'node:crypto'
import { TpmDevice } from '@ringwall/enroll'
import type { GenesisDocument } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { formatHostPort } from '../address.ts'
import type { NodeConfig } from '../config.ts'
import { configuredMeasurer } from '../enrolment/measure.ts'
import { rawPublicKey } from '../keys.ts'
import { peerOf } from '../members.ts'
import type { OpenDiskOptions } from './disk.ts'
import { machineFacts } from './machine.ts'
import { readPeers } from './peers-file.ts'
import { askRing, type BootProver } from './release-asker.ts'
import { listenForOperators } from './unlock-socket.ts'

/** Asks the peers of the last list, or those of the genesis document, for as long as it takes. */
export function askAtStart(
  config: NodeConfig,
  ring: string,
  genesis: Pick<GenesisDocument, 'nodes'>,
  privateKey: KeyObject,
): OpenDiskOptions['release'] {
  return async (held, operators) => {
    const known = (readPeers(config.data) ?? genesis.nodes).map((node) =>
      peerOf({ ...node, roles: ['validator'] }, config.genesis),
    )
    const own = known.find(({ id }) => id === config.id)
    const publicKey = encodeBase64url(rawPublicKey(privateKey))
    const address = formatHostPort(config.listen.fabric)
    const self =
      own ?? peerOf({ id: config.id, region: config.region ?? '', address, publicKey, roles: ['edge'] }, config.genesis)
    const say = (line: string): void => void process.stderr.write(`ringwall: ${line}\n`)
    const stop = new AbortController()
    const asked = askRing({
      signal: stop.signal,
      ring,
      self,
      peers: known.filter(({ id }) => id !== config.id),
      privateKey,
      held,
      proof: machineFacts(`${ring} ${config.id}`).proof,
      prove: proverOf(config),
      say,
    })
    if (operators === undefined) return asked
    const socket = listenForOperators(config.data, operators, (error) => say(`operators cannot be heard: ${error.message}`))
    try {
      return await Promise.race([asked, socket.opened])
    } finally {
      stop.abort()
      await asked.catch(() => {})
      socket.close()
    }
  }
}

function proverOf(config: NodeConfig): BootProver {
  const measurer = configuredMeasurer(config)
  const measure = () => measurer.measure()
  if (config.tpm === undefined) return { measure }
  const tpm = new TpmDevice(config.tpm.tcti)
  const quote = async (nonce: string) => {
    const made = await tpm.quote(nonce)
    return { ...made, pcrs: [...made.pcrs] }
  }
  return { measure, quote }
}
