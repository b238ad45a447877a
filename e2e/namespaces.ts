/** Hosts of their own for tests: network namespaces on one bridge, a ring's files for them. Linux, root, and iproute2. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join, resolve } from 'node:path'
import { encodeGenesis, type GenesisDocument, genesisHash } from '@ringwall/ring'
import { generateKey } from '../packages/node/src/keys.ts'

const NET = '10.77.0'
const PREFIX = 'rwp'
export const NODE_MAIN = resolve(import.meta.dirname, '../packages/node/src/main.ts')
/** Where the test itself is, and its application. */
export const HOST = `${NET}.254`
export const APP_PORT = 9_300

export const address = (node: number): string => `${NET}.${node}`
export const nameOf = (node: number): string => `${PREFIX}${node}`
const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')

/** Why namespaces cannot be had here; undefined when they can. */
export function whyNot(): string | undefined {
  if (process.platform === 'linux' && process.getuid?.() === 0 && spawnSync('ip', ['netns']).status === 0) return undefined
  return 'needs Linux, root and iproute2 (network namespaces)'
}

function ip(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`)
}

export function tearDown(nodes: readonly number[]): void {
  for (const node of nodes) spawnSync('ip', ['netns', 'del', nameOf(node)])
  spawnSync('ip', ['link', 'del', `${PREFIX}br`])
}

export function buildNetwork(nodes: readonly number[]): void {
  tearDown(nodes)
  ip('link', 'add', `${PREFIX}br`, 'type', 'bridge')
  ip('addr', 'add', `${HOST}/24`, 'dev', `${PREFIX}br`)
  ip('link', 'set', `${PREFIX}br`, 'up')
  for (const node of nodes) {
    const name = nameOf(node)
    ip('netns', 'add', name)
    ip('link', 'add', `${name}v`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('link', 'set', `${name}v`, 'master', `${PREFIX}br`)
    ip('link', 'set', `${name}v`, 'up')
    ip('-n', name, 'addr', 'add', `${address(node)}/24`, 'dev', 'eth0')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
}

/** What `from` sends to `to` vanishes. */
export function cutOneWay(from: number, to: number): void {
  ip('-n', nameOf(from), 'route', 'add', 'blackhole', `${address(to)}/32`)
}

export function cut(left: readonly number[], right: readonly number[]): void {
  for (const a of left) {
    for (const b of right) {
      cutOneWay(a, b)
      cutOneWay(b, a)
    }
  }
}

export function heal(nodes: readonly number[]): void {
  for (const a of nodes)
    for (const b of nodes) spawnSync('ip', ['-n', nameOf(a), 'route', 'del', 'blackhole', `${address(b)}/32`])
}

export const POLICY = `version: 1
trustedProxies: [${HOST}]
services:
  app:
    hosts: ["*"]
    upstreams:
      - url: http://${HOST}:${APP_PORT}
`

export interface RingFiles {
  readonly genesis: GenesisDocument
  /** The operator's context, JSON. */
  readonly context: string
}

/**
 * A folder a node: key, configuration; the genesis beside them. Others reach a node's links at port 7080.
 *
 * @param listenFabric Where a node takes links itself: elsewhere when something stands in front of it.
 */
export function writeRing(
  root: string,
  nodes: readonly number[],
  more: { readonly listenFabric?: string; readonly consensus?: string; readonly region?: (node: number) => string } = {},
): RingFiles {
  const keys = nodes.map((node) => {
    const { privateKey, publicKey } = generateKey()
    const home = join(root, `n${node}`)
    mkdirSync(join(home, 'ledger'), { recursive: true })
    writeFileSync(join(home, 'ledger', 'first-start'), '')
    writeFileSync(join(home, 'node.key'), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
    const fabric = more.listenFabric ?? `${address(node)}:7080`
    const listen = `{ traffic: "${address(node)}:8080", admin: "${address(node)}:9080", fabric: "${fabric}" }`
    const lines = [
      'format: ringwall/node/1',
      `id: n${node}`,
      'data: .',
      'genesis: ../genesis.json',
      'key: node.key',
      `listen: ${listen}`,
    ]
    if (more.consensus !== undefined) lines.push(`consensus: ${more.consensus}`)
    writeFileSync(join(home, 'node.yaml'), `${lines.join('\n')}\n`)
    return publicKey
  })
  const operator = generateKey()
  const genesis: GenesisDocument = {
    format: 'ringwall/genesis/1',
    createdAtMs: Date.now(),
    nodes: nodes.map((node, i) => ({
      id: `n${node}`,
      region: more.region?.(node) ?? 'here',
      address: `${address(node)}:7080`,
      publicKey: base64url(keys[i] as Uint8Array),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'op', publicKey: base64url(operator.publicKey) }],
    policy: POLICY,
  }
  writeFileSync(join(root, 'genesis.json'), encodeGenesis(genesis))
  const context = JSON.stringify({
    format: 'ringwall/context/1',
    ring: genesisHash(genesis),
    name: 'op',
    privateKey: operator.privateKey.export({ format: 'jwk' }),
    nodes: nodes.map((node) => ({ id: `n${node}`, url: `http://${address(node)}:9080` })),
  })
  return { genesis, context }
}

/** Status of one request for `source`, on a connection of its own; 0 for none. */
export function status(node: number, source: string): Promise<number> {
  return new Promise((settle) => {
    const options = { host: address(node), port: 8_080, path: '/', agent: false, headers: { 'x-forwarded-for': source } }
    const call = request(options, (response) => {
      response.resume()
      settle(response.statusCode ?? 0)
    })
    call.setTimeout(3_000, () => call.destroy())
    call.on('error', () => settle(0))
    call.end()
  })
}
