/** A validator that lies, over real links with its real key: `liar.ts GENESIS ID KEY_FILE KIND LISTEN_PORT`. One of `sim/liars.ts`. */
import { createPublicKey, sign, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { type Digest, decodeMessage, encodeMessage, genesisBlock, type Message, type Scheme } from '@ringwall/consensus'
import { createFabric } from '@ringwall/fabric'
import { genesisHash, parseGenesis } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { encodePayload } from '../packages/ledger/src/payload.ts'
import { readPrivateKey } from '../packages/node/src/keys.ts'
import { EPOCH_MS } from '../sim/application.ts'
import { LIARS } from '../sim/liars.ts'
import { Random } from '../sim/random.ts'
import type { World } from '../sim/world.ts'

const [genesisFile, id, keyFile, kind, port] = process.argv.slice(2) as [string, string, string, string, string]
const genesis = parseGenesis(readFileSync(genesisFile, 'utf8'))
const ring = genesisHash(genesis)
const privateKey = readPrivateKey(keyFile)
const peers = genesis.nodes.map((node) => {
  const [host = '', at = ''] = node.address.split(':')
  return { id: node.id, region: node.region, host, port: Number(at), publicKey: decodeBase64url(node.publicKey) }
})
const index = peers.findIndex((peer) => peer.id === id)
const self = peers[index]
const Kind = LIARS[kind]
if (self === undefined || Kind === undefined)
  throw new Error(`expected a node of the genesis and one of ${Object.keys(LIARS).join(', ')}`)

const keys = genesis.nodes.map(({ publicKey }) =>
  createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' }),
)
const scheme: Scheme = {
  sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  verify: (signer, message, signature) => {
    const key = keys[signer]
    return key !== undefined && verify(null, message, key, signature)
  },
  hash: (bytes) => bytesToHex(sha256(bytes)) as Digest,
}
const world = {
  random: new Random(4_711),
  get nowMs() {
    return Date.now() - EPOCH_MS
  },
  after: (ms: number, run: () => void) => void setTimeout(run, ms),
} as unknown as World

const fabric = createFabric({
  ring,
  self,
  privateKey,
  peers: peers.filter((peer) => peer !== self),
  listen: { host: '127.0.0.1', port: Number(port) },
})
/** A voter's message, of the first epoch. */
const HEAD = Buffer.from([0, 0, 0, 0, 0])
const send = (to: number, message: Message): void =>
  void fabric.send(peers[to]?.id ?? '', 'consensus', Buffer.concat([HEAD, encodeMessage(message)]))
const config = { ring, validators: peers.length, self: index, roundMs: 1_000, heartbeatMs: 5_000 }
const liar = new Kind({
  index,
  config,
  scheme,
  base: genesisBlock(ring),
  ring,
  epoch: 0,
  members: peers.map((_, i) => i),
  memories: [],
  world,
  send,
  submit: () => {},
  payload: (_parent, txs, next) => encodePayload({ root: '00'.repeat(32), txs, next }),
})
fabric.onMessage('consensus', (from, payload) => {
  if (!Buffer.from(payload.subarray(0, HEAD.length)).equals(HEAD)) return
  try {
    liar.hear(
      peers.findIndex((peer) => peer.id === from),
      decodeMessage(Uint8Array.from(payload.subarray(HEAD.length))),
    )
  } catch {
    // What it cannot read it does not care for.
  }
})
await fabric.start()
liar.start()
