/** Keeps this node's links to those of the nodes that the ring agreed on. */
import type { Fabric, Peer } from '@ringwall/fabric'
import type { RingNode } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { parseHostPort } from './address.ts'
import type { EventLog } from './events.ts'

/** A node that has to go is linked for so long, to hear of it: it stops voting by itself, and others no longer count its votes. */
const FAREWELL_MS = 5_000
/** One that is not to be trusted any more: as long as it takes to hear why it is cut off. What it says counts no more already. */
const EXPULSION_MS = 300

/** A node of the ring as the fabric knows it. @throws {StartError} When its address is none. */
export function peerOf({ id, region, address, publicKey }: RingNode, source: string): Peer {
  const { host, port } = parseHostPort(address, `${source}: nodes ${id}: address`)
  return { id, region, host, port, publicKey: decodeBase64url(publicKey) }
}

export interface MembersOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'setPeers'>
  readonly events: Pick<EventLog, 'add'>
  readonly genesisFile: string
}

export class Members {
  readonly #options: MembersOptions
  #nodes: readonly RingNode[] = []
  #farewell: NodeJS.Timeout | undefined
  #expulsion: NodeJS.Timeout | undefined
  #work: Promise<void> = Promise.resolve()

  constructor(options: MembersOptions) {
    this.#options = options
  }

  /**
   * Resolves once new nodes are dialled. Whoever is gone is cut off a little later.
   *
   * @param expelled Those who are not to be trusted any more: they are cut off at once.
   */
  follow(nodes: readonly RingNode[], expelled: readonly string[] = []): Promise<void> {
    const { self, events } = this.#options
    const before = this.#nodes
    const leaving = before.filter(({ id }) => !nodes.some((node) => node.id === id))
    if (leaving.some(({ id }) => id === self)) {
      events.add(
        'node',
        'warn',
        'the ring has let this node go: it enforces its last view, hears of nothing new, and should be stopped',
      )
      // The others end the links: until then they can tell this node what it has missed.
      return this.#work
    }
    this.#nodes = nodes
    clearTimeout(this.#farewell)
    if (leaving.length === 0) return this.#link(nodes)
    this.#farewell = setTimeout(() => void this.#link(this.#nodes), FAREWELL_MS)
    this.#farewell.unref()
    const parting = leaving.filter(({ id }) => !expelled.includes(id))
    if (parting.length < leaving.length) {
      clearTimeout(this.#expulsion)
      this.#expulsion = setTimeout(() => void this.#link([...this.#nodes, ...parting]), EXPULSION_MS)
      this.#expulsion.unref()
    }
    return this.#link([...nodes, ...leaving])
  }

  stop(): void {
    clearTimeout(this.#farewell)
    clearTimeout(this.#expulsion)
  }

  #link(nodes: readonly RingNode[]): Promise<void> {
    const { self, fabric, events, genesisFile } = this.#options
    const others = nodes.filter(({ id }) => id !== self)
    this.#work = this.#work.then(async () => {
      try {
        await fabric.setPeers(others.map((node) => peerOf(node, genesisFile)))
      } catch (error) {
        events.add('link', 'warn', `links to the other nodes: ${(error as Error).message}`)
      }
    })
    return this.#work
  }
}
