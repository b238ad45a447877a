/** What this node signs with its key, and says in its own name. */
import type { KeyObject } from 'node:crypto'
import { encodeBase64url, encodeTx, signingBytes, type TxBody, type TxContent } from '@ringwall/ring/tx'
import type { Reader } from '@ringwall/vault'
import { randomNonce, signMessage } from '../keys.ts'
import type { RingLedger } from '../running-node.ts'
import type { Ground } from './ground.ts'

const TX_VALID_MS = 60_000

/** For what nobody waits for. */
export const OWN_WAIT_MS = 30_000

export class OwnName {
  /** Of transactions: `node:` and its id. */
  readonly issuer: string
  readonly #ring: string
  readonly #key: KeyObject
  readonly #ledger: RingLedger

  constructor({ config, ring, privateKey }: Pick<Ground, 'config' | 'ring' | 'privateKey'>, ledger: RingLedger) {
    this.issuer = `node:${config.id}`
    this.#ring = ring
    this.#key = privateKey
    this.#ledger = ledger
  }

  /** Ed25519. */
  sign(message: Uint8Array): Uint8Array {
    return signMessage(this.#key, message)
  }

  /** @param atMs Unix milliseconds. */
  transaction(body: TxBody, atMs: number = Date.now()): Uint8Array {
    const { issuer } = this
    return this.encode({ ring: this.#ring, issuer, atMs, untilMs: atMs + TX_VALID_MS, nonce: randomNonce(), body })
  }

  encode(content: TxContent): Uint8Array {
    return encodeTx({ content, signature: encodeBase64url(this.sign(signingBytes(content))) })
  }

  /** @throws {LedgerError} As `Ledger.submit`. */
  submit(body: TxBody, waitMs: number = OWN_WAIT_MS, atMs?: number): ReturnType<RingLedger['submit']> {
    return this.#ledger.submit(this.transaction(body, atMs), waitMs)
  }

  /** This node, where it has secrets opened for itself. */
  reader(): Reader {
    return { issuer: this.issuer, certificate: '', sign: async (message) => encodeBase64url(this.sign(message)) }
  }
}
