/** Both ends of a wipe: the node that is wiped erases itself and says so to its peers, and these tell the ring. */
import type { Fabric } from '@ringwall/fabric'
import { type RingState, type WipeReceipt, wipeReceiptBytes } from '@ringwall/ring'
import { encodeBase64url, type TxBody } from '@ringwall/ring/tx'
import { z } from 'zod'
import type { EventLog } from '../events.ts'
import { eraseNode } from './wipe.ts'

const RECEIPT_BYTES_MAX = 1_024

const Shape = z.strictObject({
  id: z.string().max(63),
  receipt: z.strictObject({ atMs: z.int().min(0), files: z.int().min(0), bytes: z.int().min(0) }),
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
})

export interface WiperOptions {
  readonly self: string
  readonly ring: string
  readonly data: string
  readonly keyFile: string
  /** Other files that it wrote. */
  readonly more: readonly string[]
  readonly fabric: Pick<Fabric, 'broadcast' | 'onMessage'>
  readonly state: () => RingState
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly submit: (body: TxBody) => Promise<unknown>
  readonly events: Pick<EventLog, 'add'>
}

export class Wiper {
  readonly #options: WiperOptions
  readonly #ended = Promise.withResolvers<void>()
  #isWiping = false

  constructor(options: WiperOptions) {
    this.#options = options
    options.fabric.onMessage('disk', (from, payload) => this.#heard(from, payload))
  }

  /** Resolves once this node has erased itself: nothing of it is to run on. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** The state as of the newest block. */
  follow({ disks }: Pick<RingState, 'disks'>): void {
    const { self } = this.#options
    if (this.#isWiping || !disks.wipes.some(({ id }) => id === self)) return
    this.#isWiping = true
    void this.#end()
  }

  async #end(): Promise<void> {
    const { self, ring, data, keyFile, more, fabric, sign } = this.#options
    try {
      const erased = await eraseNode(data, keyFile, more)
      const receipt: WipeReceipt = { atMs: Date.now(), ...erased }
      const signature = encodeBase64url(sign(wipeReceiptBytes(ring, self, receipt)))
      const payload = Buffer.from(JSON.stringify({ id: self, receipt, signature }))
      // Said more than once: nobody answers, and the links end soon.
      for (let times = 0; times < 3; times += 1) {
        fabric.broadcast('disk', payload)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      // What was written meanwhile.
      await eraseNode(data, keyFile, more)
    } finally {
      this.#ended.resolve()
    }
  }

  /** Any of them may tell the ring; who is late finds it there. */
  #heard(from: string, payload: Uint8Array): void {
    if (payload.length > RECEIPT_BYTES_MAX) return
    let told: z.output<typeof Shape>
    try {
      told = Shape.parse(JSON.parse(Buffer.from(payload).toString('utf8')))
    } catch {
      return
    }
    const { state, submit, events } = this.#options
    const wipe = state().disks.wipes.find(({ id }) => id === told.id)
    if (told.id !== from || wipe === undefined || wipe.receipt !== null) return
    submit({ type: 'node.wiped', ...told }).then(
      () => events.add('node', 'info', `${told.id} has erased ${told.receipt.files} files, and says so with its last signature`),
      () => {},
    )
  }
}
