/** Asks peers for single blocks that the voter has heard of and does not have. */
import type { Block } from '@ringwall/consensus'
import { encodeRequest, parseBlockAnswer } from './sync-codec.ts'

/** At a time. */
const FETCHES_MAX = 64

export interface BlockFetcherPorts {
  /** Those that this node has links to. */
  connected(): readonly string[]
  /** @throws When the peer gives no answer. */
  ask(peer: string, request: Uint8Array): Promise<Uint8Array>
  isStopped(): boolean
  /** It hashes to what was asked for; nothing else is known of it. */
  fetched(block: Block): void
  /** Nobody had it. */
  missing(): void
  fault(peer: string, what: string): void
}

export class BlockFetcher {
  readonly #ports: BlockFetcherPorts
  readonly #fetching = new Set<string>()

  constructor(ports: BlockFetcherPorts) {
    this.#ports = ports
  }

  /** @param first Whoever should have it, asked before the others. */
  async fetch(digest: Block['digest'], first: string): Promise<void> {
    if (this.#fetching.has(digest) || this.#fetching.size >= FETCHES_MAX) return
    this.#fetching.add(digest)
    try {
      const connected = this.#ports.connected()
      const order = [...connected.filter((id) => id === first), ...connected.filter((id) => id !== first)]
      for (const peer of order) {
        const block = await this.#fetchFrom(peer, digest)
        if (this.#ports.isStopped()) return
        if (block === undefined) continue
        this.#ports.fetched(block)
        return
      }
    } finally {
      this.#fetching.delete(digest)
    }
    this.#ports.missing()
  }

  async #fetchFrom(peer: string, digest: Block['digest']): Promise<Block | undefined> {
    let answer: Uint8Array
    try {
      answer = await this.#ports.ask(peer, encodeRequest({ kind: 'block', digest }))
    } catch {
      return undefined
    }
    try {
      const block = parseBlockAnswer(answer)
      if (block !== undefined && block.digest !== digest) this.#ports.fault(peer, 'another block than the one asked for')
      return block?.digest === digest ? block : undefined
    } catch (error) {
      this.#ports.fault(peer, (error as Error).message)
      return undefined
    }
  }
}
