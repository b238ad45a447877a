/** Bodies on their way to memory that is used again: what comes from TLS comes in runs of 16 KiB, too small to go anywhere each. */
import type { Readable } from 'node:stream'
import { copyBytes, giveBack } from '@ringwall/vault'
import { RUN_BYTES } from './direct-file.ts'
import type { Slab, SlabPool } from './slabs.ts'

/**
 * Writes all of a body, one run while the next one comes in.
 *
 * @param write Is done with its bytes when it resolves. @throws {Error} Its own, and that of the body when it is cut off.
 */
export async function pour(
  body: Readable,
  write: (run: Uint8Array) => Promise<void>,
  slabs: Pick<SlabPool, 'take'>,
): Promise<void> {
  const runs = [0, 1].map(() => slabs.take(RUN_BYTES))
  const reader = new BodyReader(body)
  let writing: Promise<void> | undefined
  try {
    for (let turn = 0; ; turn += 1) {
      const { bytes } = runs[turn % 2] as Slab
      const count = await reader.fill(bytes)
      await writing
      if (count === 0) return
      writing = write(bytes.subarray(0, count))
      // Whoever fails is heard of at the next turn.
      writing.catch(() => {})
      if (count < bytes.length) break
    }
    await writing
  } finally {
    await writing?.catch(() => {})
    for (const run of runs) run.release()
  }
}

/**
 * Fills given memory with what comes, one after the other; what comes too early waits where it is. The memory of the body's chunks is given back once
 * they are copied.
 */
export class BodyReader {
  readonly #body: Readable
  /** The last chunk, when not all of it did fit, and how much of it did. */
  #chunk: Uint8Array | undefined
  #taken = 0
  #room: Uint8Array | undefined
  #filled = 0
  #end: (() => void) | undefined
  #isOver = false
  #error: Error | undefined

  constructor(body: Readable) {
    this.#body = body
    body.pause()
    body.on('data', (chunk: Uint8Array) => this.#take(chunk))
    const over = (error?: Error): void => {
      this.#isOver = true
      this.#error ??= error
      this.#end?.()
    }
    body.once('end', () => over())
    body.once('error', over)
    body.once('close', () => over(this.#isOver ? undefined : new Error('it ended early')))
  }

  /** How many bytes there were: fewer than there is room for at the end alone. One at a time. @throws {Error} */
  async fill(room: Uint8Array): Promise<number> {
    this.#room = room
    this.#filled = 0
    if (this.#chunk !== undefined) this.#take(this.#chunk)
    if (this.#filled < room.length && !this.#isOver) {
      await new Promise<void>((settle) => {
        this.#end = settle
        this.#body.resume()
      })
      this.#end = undefined
    }
    this.#room = undefined
    if (this.#filled < room.length && this.#error !== undefined) throw this.#error
    return this.#filled
  }

  #take(chunk: Uint8Array): void {
    const room = this.#room
    const from = this.#taken
    const count = room === undefined ? 0 : Math.min(chunk.length - from, room.length - this.#filled)
    if (room !== undefined) copyBytes(chunk, room, this.#filled, from, from + count)
    this.#filled += count
    const isAll = from + count === chunk.length
    this.#chunk = isAll ? undefined : chunk
    this.#taken = isAll ? 0 : from + count
    if (isAll) giveBack(chunk)
    if (room !== undefined && this.#filled < room.length) return
    this.#body.pause()
    this.#end?.()
  }
}
