/** Makes the files of a node that is to join a running ring: its key, its configuration, an empty ledger folder. */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { FIRST_START_FILE } from '@ringwall/ledger'
import { parseHostPort } from './address.ts'
import { type Profile, parseNodeConfig } from './config.ts'
import { StartError } from './errors.ts'
import { generateKey } from './keys.ts'
import { readGenesis } from './own-entry.ts'

export interface NodeInit {
  readonly id: string
  readonly region: string
  readonly profile?: Profile | undefined
  /** A new folder. */
  readonly directory: string
  /** The ring's genesis document: copied. */
  readonly genesis: string
  /** HOST:PORT each. */
  readonly traffic: string
  readonly admin: string
  readonly fabric: string
  /** How tpm2-tools reach its TPM, and the log of its start. */
  readonly tpm?: string | undefined
  readonly tpmLog?: string | undefined
  /** A file that tells that the case is closed by holding this text. */
  readonly caseFile?: string | undefined
  readonly caseClosed?: string | undefined
}

/**
 * @returns The node's public key, Ed25519, base64url: what `ringwall node add` is given.
 * @throws {StartError} `CONFIG_INVALID`, `GENESIS_INVALID`; then nothing was made.
 */
export function initNode({
  id,
  region,
  profile,
  directory,
  genesis,
  traffic,
  admin,
  fabric,
  tpm,
  tpmLog,
  caseFile,
  caseClosed = '0',
}: NodeInit): {
  readonly publicKey: string
} {
  if (existsSync(directory)) throw new StartError('CONFIG_INVALID', `${directory} is there already; name a folder that is not`)
  if (readGenesis(genesis).nodes.some((node) => node.id === id))
    throw new StartError('CONFIG_INVALID', `${id} is a node of the ring already; choose an id that was never used`)
  for (const [name, address] of Object.entries({ traffic, admin, fabric })) parseHostPort(address, `--${name}`)
  const text = [
    '# Start this node with: ringwall node --config FILE; have an operator add it with: ringwall node add',
    'format: ringwall/node/1',
    `id: ${JSON.stringify(id)}`,
    `region: ${JSON.stringify(region)}`,
    ...(profile === undefined || profile === 'full' ? [] : [`profile: ${profile}`]),
    'data: .',
    'genesis: genesis.json',
    'key: node.key',
    'listen:',
    `  traffic: ${JSON.stringify(traffic)}`,
    `  admin: ${JSON.stringify(admin)}`,
    `  fabric: ${JSON.stringify(fabric)}`,
    ...(tpm === undefined ? [] : ['tpm:', `  tcti: ${JSON.stringify(tpm)}`]),
    ...(caseFile === undefined
      ? []
      : ['tamper:', `  case: { file: ${JSON.stringify(resolve(caseFile))}, closed: ${JSON.stringify(caseClosed)} }`]),
    ...(tpm === undefined || tpmLog === undefined ? [] : [`  eventLog: ${JSON.stringify(resolve(tpmLog))}`]),
    '',
  ].join('\n')
  parseNodeConfig(text, join(directory, 'node.yaml'))
  const { privateKey, publicKey } = generateKey()
  mkdirSync(join(directory, 'ledger'), { recursive: true, mode: 0o700 })
  copyFileSync(genesis, join(directory, 'genesis.json'))
  // A node that never spoke may vote as soon as it is a validator; without the mark it would wait for the ring to go on.
  writeFileSync(join(directory, 'ledger', FIRST_START_FILE), '', { mode: 0o600 })
  writeFileSync(join(directory, 'node.key'), privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), { mode: 0o600 })
  writeFileSync(join(directory, 'node.yaml'), text, { mode: 0o600 })
  return { publicKey: Buffer.from(publicKey).toString('base64url') }
}
