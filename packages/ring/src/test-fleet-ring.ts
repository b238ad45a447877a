/** A ring whose state moves on block by block, for tests of its fleet: by its own clock, each block agreed on. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { RingState } from './state.ts'
import { begin, executeAgreed, genesis, NOW, signedBytes } from './test-ring.ts'
import { encodeBase64url } from './tx.ts'
import type { TxBody } from './types.ts'

const TX_MS = 60_000

type By = Parameters<typeof signedBytes>[1]

export const rawKey = (publicKey: KeyObject): string =>
  encodeBase64url(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)))

/** In eu, with a key of its own: it takes traffic. */
export const edge = (id: string) => ({
  id,
  region: 'eu',
  address: '127.0.0.1:3',
  publicKey: rawKey(generateKeyPairSync('ed25519').publicKey),
  roles: ['edge' as const],
})

/** n1 in eu and n2 in us vote; e3 takes traffic. */
const withEdge = { ...genesis, nodes: [...genesis.nodes, edge('e3')] }

export class FleetRing {
  readonly app
  state: RingState
  nowMs = NOW
  #height = 0

  constructor(policy: string) {
    this.app = begin(policy, {}, withEdge)
    this.state = this.app.initial()
  }

  get policy() {
    return this.app.view(this.state, 0, 0).policy.fleet
  }

  /** A block, empty unless something is said. */
  pass(ms: number, body?: TxBody, by: By = 'operator:ada'): void {
    this.nowMs += ms
    this.#height += 1
    const txs = body === undefined ? [] : [this.#tx(body, by)]
    this.state = executeAgreed(this.app, this.state, txs, { height: this.#height, timestampMs: this.nowMs, proposer: 'n1' })
  }

  check(body: TxBody, by: By = 'operator:ada') {
    return this.app.check(this.state, this.#tx(body, by), this.nowMs)
  }

  #tx(body: TxBody, by: By): Uint8Array {
    return signedBytes(this.app.ring, by, body, { atMs: this.nowMs, untilMs: this.nowMs + TX_MS })
  }
}
