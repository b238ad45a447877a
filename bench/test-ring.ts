/** A ring for benches: four validators on this machine, each a process of its own, with real links, disks and application. */

import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createFabric, type Fabric } from '@ringwall/fabric'
import { FIRST_START_FILE, type Ledger, openLedger } from '@ringwall/ledger'
import { type GenesisDocument, genesisHash, type RingApplication, type RingState, TX_LIFETIME_MS_MAX } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { DiskSeal } from '@ringwall/store'
import { type LocalOperator, signAsOperator, signTogetherAsOperator } from '../packages/node/src/local/operator.ts'
import { plainPolicy } from '../packages/node/src/local/up.ts'
import { ringApplication } from '../packages/node/src/ring-application.ts'
import { loadRuleLibrary } from '../packages/node/src/rules.ts'
import { freePorts } from '../tools/free-ports.ts'

export interface NodeConfig {
  readonly id: string
  readonly directory: string
  readonly genesis: GenesisDocument
  /** PKCS #8, base64. */
  readonly privateKey: string
  readonly operatorKey: string
  readonly roundMs: number
}

const pkcs8 = (key: KeyObject): string => key.export({ format: 'der', type: 'pkcs8' }).toString('base64')
const raw = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string

/** What each node of a new ring is started with. Folders are below `root`. */
export async function newRing(root: string, nodes: number, roundMs: number): Promise<readonly NodeConfig[]> {
  const ports = await freePorts(nodes)
  const keys = ports.map(() => generateKeyPairSync('ed25519'))
  const operator = generateKeyPairSync('ed25519')
  const genesis: GenesisDocument = {
    format: 'ringwall/genesis/1',
    createdAtMs: Date.now(),
    nodes: ports.map((port, i) => ({
      id: `n${i + 1}`,
      region: 'local',
      address: `127.0.0.1:${port}`,
      publicKey: raw((keys[i] as { publicKey: KeyObject }).publicKey),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'bench', publicKey: raw(operator.publicKey) }],
    policy: plainPolicy('http://127.0.0.1:9'),
  }
  return genesis.nodes.map(({ id }, i) => {
    const directory = join(root, id)
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, FIRST_START_FILE), '')
    const privateKey = pkcs8((keys[i] as { privateKey: KeyObject }).privateKey)
    return { id, directory, genesis, privateKey, operatorKey: pkcs8(operator.privateKey), roundMs }
  })
}

export interface RingMember {
  readonly ring: string
  readonly index: number
  readonly privateKey: KeyObject
  readonly peers: readonly { readonly id: string; readonly publicKey: Uint8Array }[]
  readonly application: RingApplication
  /** Not started yet. */
  readonly fabric: Fabric
  /** Signs a denial of the `n`th address of 10.0.0.0/8, as of `atMs` (now unless given). */
  deny(n: number, ttlMs?: number, atMs?: number): Uint8Array
  /** As `deny` for `count` addresses from the `n`th on, under one signature. */
  denyTogether(n: number, count: number): readonly Uint8Array[]
}

function denialOf(n: number, ttlMs: number) {
  const value = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
  return { type: 'deny.add', subject: { kind: 'ip', value }, ttlMs, reason: 'measured by the bench' } as const
}

export function joinRing(config: NodeConfig): RingMember {
  const { genesis } = config
  const keyOf = (text: string) => createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' })
  const privateKey = keyOf(config.privateKey)
  const ring = genesisHash(genesis)
  const operator: LocalOperator = { ring, name: 'bench', privateKey: keyOf(config.operatorKey) }
  const peers = genesis.nodes.map(({ id, region, address, publicKey }) => {
    const [host = '', port = ''] = address.split(':')
    return { id, region, host, port: Number(port), publicKey: decodeBase64url(publicKey) }
  })
  const self = peers.find(({ id }) => id === config.id)
  if (self === undefined) throw new Error(`${config.id} is not in the genesis`)
  return {
    ring,
    index: peers.indexOf(self),
    privateKey,
    peers,
    application: ringApplication(genesis, loadRuleLibrary({})),
    fabric: createFabric({ ring, self, privateKey, peers: peers.filter((peer) => peer !== self) }),
    deny: (n, ttlMs = 600_000, atMs = Date.now()) => signAsOperator(operator, denialOf(n, ttlMs), atMs, TX_LIFETIME_MS_MAX),
    denyTogether: (n, count) =>
      signTogetherAsOperator(
        operator,
        Array.from({ length: count }, (_, at) => denialOf(n + at, 600_000)),
        Date.now(),
        TX_LIFETIME_MS_MAX,
      ),
  }
}

/** A key that comes back after a restart: a figure is all that it protects. */
function sealOf(root: string): DiskSeal {
  return new DiskSeal({ root, current: createHash('sha256').update(root).digest(), acceptsPlain: true })
}

export async function openNode(config: NodeConfig, member: RingMember): Promise<Ledger<RingState>> {
  const ledger = await openLedger<RingState>({
    directory: config.directory,
    application: member.application,
    genesis: { ring: member.ring, validators: member.peers.map(({ id, publicKey }) => ({ id, publicKey })) },
    self: config.id,
    privateKey: member.privateKey,
    fabric: member.fabric,
    roundMs: config.roundMs,
    seal: process.env.SEAL === 'on' ? sealOf(config.directory) : undefined,
  })
  await member.fabric.start()
  return ledger
}
