/**
 * Fetches final blocks from a peer. Nothing of it is believed: hash links join the blocks to this node's tip, and a
 * certificate stands at the end, before anything is applied. One run at a time.
 */
import type { Block, Certificate } from '@ringwall/consensus'
import type { BlockRecord } from './block-record.ts'
import { Malformed } from './bytes.ts'
import { encodeRequest, parseRun, RUN_BLOCKS_MAX, type SyncRequest } from './sync-codec.ts'

export interface CatchUpPorts {
  ask(peer: string, request: Uint8Array): Promise<Uint8Array>
  tip(): Block
  verifyCertificate(certificate: Certificate): boolean
  /** Resolves once the blocks are on disk. */
  apply(records: readonly BlockRecord[], certificate: Certificate): Promise<void>
  /** `certificate` is good and certifies a history that is not this node's. */
  conflict(certificate: Certificate, peer: string): void
  /** The peer answered with what no honest peer answers with. */
  fault(peer: string, what: string): void
}

/** Blocks held until a certificate for them arrives. */
const HELD_BLOCKS_MAX = 4096
const HELD_BYTES_MAX: number = 32 * 1024 * 1024

export class CatchUp {
  readonly #ports: CatchUpPorts
  #running = false

  constructor(ports: CatchUpPorts) {
    this.#ports = ports
  }

  get running(): boolean {
    return this.#running
  }

  /** Fetches all that `peer` has beyond the tip. Never rejects. False when another run is under way or this one failed. */
  async from(peer: string): Promise<boolean> {
    if (this.#running) return false
    this.#running = true
    try {
      await this.#run(peer)
      return true
    } catch (error) {
      if (error instanceof Malformed) this.#ports.fault(peer, error.message)
      return false
    } finally {
      this.#running = false
    }
  }

  async #run(peer: string): Promise<void> {
    let held: BlockRecord[] = []
    for (;;) {
      const base = held.at(-1)?.block ?? this.#ports.tip()
      const request: SyncRequest = { kind: 'blocks', from: base.height + 1, count: RUN_BLOCKS_MAX }
      const run = parse(await this.#ports.ask(peer, encodeRequest(request)))
      const [first] = run
      if (first === undefined) return
      if (first.block.height !== base.height + 1) throw new Malformed('an answer that begins at another height')
      held.push(...run)
      checkLinks(held)
      const end = held.findLastIndex(({ certificate }) => certificate !== undefined)
      const certificate = held[end]?.certificate
      if (certificate !== undefined) {
        if (!proves(certificate, held[end]?.block) || !this.#ports.verifyCertificate(certificate)) {
          throw new Malformed('a certificate that does not verify')
        }
        const [begin] = held
        const tip = this.#ports.tip()
        if (begin?.block.height === tip.height + 1 && begin.block.parent !== tip.digest) {
          return this.#ports.conflict(certificate, peer)
        }
        await this.#ports.apply(held.slice(0, end + 1), certificate)
        held = held.slice(end + 1)
      }
      const bytes = held.reduce((sum, { block }) => sum + block.payload.length, 0)
      if (held.length > HELD_BLOCKS_MAX || bytes > HELD_BYTES_MAX)
        throw new Malformed('blocks without end and without certificate')
    }
  }
}

function parse(answer: Uint8Array): readonly BlockRecord[] {
  try {
    return parseRun(answer)
  } catch (error) {
    throw new Malformed((error as Error).message)
  }
}

function checkLinks(records: readonly BlockRecord[]): void {
  for (const [i, { block }] of records.entries()) {
    const parent = records[i - 1]?.block
    if (parent !== undefined && (block.parent !== parent.digest || block.height !== parent.height + 1)) {
      throw new Malformed(`block ${block.height} does not follow the one before it`)
    }
  }
}

/** Is `certificate` about `block`, and of the kind that makes it final? Signatures are another matter. */
export function proves(certificate: Certificate, block: Block | undefined): boolean {
  return (
    certificate.kind === 'finalize' &&
    block !== undefined &&
    certificate.digest === block.digest &&
    certificate.round === block.round
  )
}
