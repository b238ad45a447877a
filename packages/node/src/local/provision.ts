/** Makes the files of a new local ring: keys, genesis, a configuration a node, the operator's context. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { FIRST_START_FILE } from '@ringwall/ledger'
import { encodeGenesis, formatProblems, type GenesisDocument, genesisHash, parsePolicyDocument } from '@ringwall/ring'
import { StartError } from '../errors.ts'
import { generateKey } from '../keys.ts'

/** Region of node i: the fourth shares the first's. */
const REGIONS = ['eu-west', 'us-east', 'ap-south'] as const
const OPERATOR = 'local'
const OPERATORS_MAX = 9

/** Addresses of one local node, on loopback. */
export interface LocalNode {
  readonly id: string
  readonly region: string
  readonly traffic: number
  readonly admin: number
  readonly fabric: number
  readonly configFile: string
  /** What `listen.traffic` says, when that is more than the port. */
  readonly listeners?: readonly object[]
}

/** Ports of node i, from 1: traffic `base + i`, admin and console 1000 above, fabric 1000 below. */
export function localNodes(data: string, count: number, base: number): readonly LocalNode[] {
  return Array.from({ length: count }, (_, index) => {
    const i = index + 1
    return {
      id: `n${i}`,
      region: REGIONS[index % REGIONS.length] as string,
      traffic: base + i,
      admin: base + 1_000 + i,
      fabric: base - 1_000 + i,
      configFile: join(data, `n${i}`, 'node.yaml'),
    }
  })
}

/** Of operator i, from 1. */
export const contextFile = (data: string, i = 1): string => join(data, i === 1 ? 'operator.json' : `operator-${i}.json`)
const genesisFile = (data: string): string => join(data, 'genesis.json')

export function isProvisioned(data: string): boolean {
  return existsSync(genesisFile(data))
}

/** How many nodes the ring in `data` was made with. */
export function provisionedNodes(data: string): number {
  const genesis = JSON.parse(readFileSync(genesisFile(data), 'utf8')) as { nodes?: unknown[] }
  return genesis.nodes?.length ?? 0
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}

/** Private: readable by the owner alone. */
function writePrivate(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600 })
}

/**
 * Makes a ring of `nodes` on loopback, with `policy` as its first. The genesis file is written last: a folder without
 * one is begun anew.
 *
 * @throws {StartError} `CONFIG_INVALID` when the policy has problems.
 */
export function provisionRing(
  data: string,
  nodes: readonly LocalNode[],
  policy: { readonly text: string; readonly file: string },
  nowMs: number,
  operators = 1,
): void {
  const parsed = parsePolicyDocument(policy.text, policy.file)
  if (!parsed.ok) throw new StartError('CONFIG_INVALID', formatProblems(parsed.problems, policy.file))
  mkdirSync(data, { recursive: true, mode: 0o700 })
  const keys = nodes.map((node) => {
    const { privateKey, publicKey } = generateKey()
    mkdirSync(join(data, node.id, 'ledger'), { recursive: true, mode: 0o700 })
    writePrivate(join(data, node.id, 'ledger', FIRST_START_FILE), '')
    writePrivate(join(data, node.id, 'node.key'), privateKey.export({ format: 'pem', type: 'pkcs8' }).toString())
    return publicKey
  })
  const named = Array.from({ length: operators }, (_, at) => ({
    name: at === 0 ? OPERATOR : `${OPERATOR}-${at + 1}`,
    ...generateKey(),
  }))
  const genesis: GenesisDocument = {
    format: 'ringwall/genesis/1',
    createdAtMs: nowMs,
    nodes: nodes.map((node, index) => ({
      id: node.id,
      region: node.region,
      address: `127.0.0.1:${node.fabric}`,
      publicKey: base64url(keys[index] as Uint8Array),
      roles: ['validator', 'edge'],
    })),
    operators: named.map(({ name, publicKey }) => ({ name, publicKey: base64url(publicKey) })),
    policy: policy.text,
  }
  writeNodeConfigs(data, nodes)
  const ring = genesisHash(genesis)
  for (const [at, { name, privateKey }] of named.entries()) {
    const context = {
      format: 'ringwall/context/1',
      ring,
      name,
      privateKey: privateKey.export({ format: 'jwk' }),
      nodes: contextNodes(nodes),
    }
    writePrivate(contextFile(data, at + 1), `${JSON.stringify(context, undefined, 2)}\n`)
  }
  writePrivate(genesisFile(data), encodeGenesis(genesis))
}

function contextNodes(nodes: readonly LocalNode[]): readonly { id: string; url: string }[] {
  return nodes.map(({ id, admin }) => ({ id, url: `http://127.0.0.1:${admin}` }))
}

/** One file a node. Only ports change between starts; fabric addresses are the genesis document's. */
export function writeNodeConfigs(
  data: string,
  nodes: readonly LocalNode[],
  extra: (node: LocalNode, at: number) => string = () => '',
): void {
  for (const [at, node] of nodes.entries()) {
    const home = join(data, node.id)
    const lines = [
      '# Written when the ring is brought up. Start this node alone with: ringwall node --config FILE',
      'format: ringwall/node/1',
      `id: ${node.id}`,
      'data: .',
      `genesis: ${relative(home, genesisFile(data))}`,
      'key: node.key',
      'listen:',
      // JSON is YAML, too.
      `  traffic: ${node.listeners === undefined ? `127.0.0.1:${node.traffic}` : JSON.stringify(node.listeners)}`,
      `  admin: 127.0.0.1:${node.admin}`,
      `  fabric: 127.0.0.1:${node.fabric}`,
      extra(node, at),
    ]
    writePrivate(node.configFile, `${lines.filter((line) => line !== '').join('\n')}\n`)
  }
}

/** Ports may move between starts: the operators' contexts follow. */
export function refreshContext(data: string, nodes: readonly LocalNode[]): void {
  for (let i = 1; i <= OPERATORS_MAX; i += 1) {
    const file = contextFile(data, i)
    if (i > 1 && !existsSync(file)) continue
    const context = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    writePrivate(file, `${JSON.stringify({ ...context, nodes: contextNodes(nodes) }, undefined, 2)}\n`)
  }
}
