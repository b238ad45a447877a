/** What this node tells its peers: the voter's messages, transactions, and to those who follow how far it is. */
import { type Certificate, encodeMessage, type Message } from '@ringwall/consensus'
import { u32 } from './bytes.ts'
import type { LedgerFabric } from './options.ts'
import type { Peers } from './peers.ts'
import { encodeTransactions } from './spread.ts'
import { encodeStatus, type TipStatus } from './sync-codec.ts'
import { EPOCH_BYTES, TAG } from './tags.ts'

/** Certificates sent to all that are not sent to one again: of the last rounds. */
const TOLD_MAX = 4

export interface BroadcastPorts {
  readonly fabric: Pick<LedgerFabric, 'send'>
  readonly peers: Peers
  /** Names by index. */
  validators(): readonly string[]
  isStopped(): boolean
}

export class Broadcast {
  readonly #ports: BroadcastPorts
  /** The certificates that were sent to all last, and whose links took them. */
  #toldAll: { readonly certificate: Certificate; readonly given: Set<string> }[] = []
  /** To be sent to all validators at the end of this turn. */
  #spreading: Uint8Array[] = []

  constructor(ports: BroadcastPorts) {
    this.#ports = ports
  }

  /** Its link is another one from here on: what the old one took may be lost. */
  relinked(peer: string): void {
    for (const { given } of this.#toldAll) given.delete(peer)
  }

  send(to: 'all' | number, epoch: number, message: Message): void {
    const validators = this.#ports.validators()
    const certificate = message.kind === 'certificate' ? message.certificate : undefined
    const peers = to === 'all' ? validators : [validators[to] ?? '']
    if (to !== 'all' && certificate !== undefined && this.#isOnItsWay(certificate, peers[0] as string)) return
    const given = this.#give(peers, Buffer.concat([Buffer.from([TAG.voter]), u32(epoch), encodeMessage(message)]))
    if (to === 'all' && certificate !== undefined) this.#toldAll = [...this.#toldAll.slice(1 - TOLD_MAX), { certificate, given }]
  }

  /** A late vote is answered with the certificate that ended its round; whose link has it already needs no second one. */
  #isOnItsWay(certificate: Certificate, peer: string): boolean {
    return this.#toldAll.some((told) => told.certificate === certificate && told.given.has(peer))
  }

  /** To all validators. What is given in one turn of the event loop goes out together. */
  spread(txs: readonly Uint8Array[]): void {
    if (this.#spreading.length === 0) {
      setImmediate(() => {
        const all = this.#spreading
        this.#spreading = []
        if (!this.#ports.isStopped()) this.sendTxs(this.#ports.validators(), all)
      })
    }
    for (const tx of txs) this.#spreading.push(tx)
  }

  sendTxs(to: readonly string[], txs: readonly Uint8Array[]): void {
    const peers = to.filter((peer) => this.#ports.peers.has(peer))
    if (peers.length === 0) return
    for (const message of encodeTransactions(txs)) this.#give(peers, Buffer.concat([Buffer.from([TAG.txs]), message]))
  }

  /** Those who follow hear at once that there is something to fetch. */
  announce(tip: TipStatus): void {
    const validators = this.#ports.validators()
    const followers = this.#ports.peers.connected().filter((peer) => !validators.includes(peer))
    this.#give(followers, Buffer.concat([Buffer.from([TAG.tip]), encodeStatus(tip)]))
  }

  /** Returns whose links took it. */
  #give(to: readonly string[], bytes: Uint8Array): Set<string> {
    const given = new Set<string>()
    for (const peer of to) {
      if (this.#ports.peers.has(peer) && this.#ports.fabric.send(peer, 'consensus', bytes)) given.add(peer)
    }
    return given
  }
}

/** The epoch that a message of the voter's says that it is of, and the message; undefined: it is none. */
export function voterMessage(payload: Uint8Array): { readonly epoch: number; readonly encoded: Uint8Array } | undefined {
  if (payload[0] !== TAG.voter || payload.length <= 1 + EPOCH_BYTES) return undefined
  const epoch = Buffer.from(payload.buffer, payload.byteOffset, payload.length).readUInt32BE(1)
  return { epoch, encoded: payload.subarray(1 + EPOCH_BYTES) }
}
