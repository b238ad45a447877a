/**
 * Numbers for pairs of nonces: none is given to two pairs, whatever crashes. Each coordinator has a range of its own. Ranges are reserved on
 * disk some thousand at a time, before the first of them is used; what a crash leaves unused is skipped.
 */
import { dirname } from 'node:path'
import { type DiskSeal, makeDirectory, readFileSealed, writeFileSealed } from '@ringwall/store'
import { z } from 'zod'

/** Of 2^32 numbers, for so many coordinators within one epoch of the key. */
const COORDINATORS_MAX = 128
const RANGE = 2 ** 32 / COORDINATORS_MAX
const RESERVED_AT_ONCE = 4_096

const Shape = z.strictObject({
  key: z.string().max(64),
  ranges: z.array(z.tuple([z.string().max(64), z.int().min(0).max(RANGE)])).max(COORDINATORS_MAX),
})

interface Range {
  readonly at: number
  next: number
  reserved: number
}

export class NonceNumbers {
  readonly #file: string
  readonly #disk: DiskSeal | undefined
  #key = ''
  #ranges = new Map<string, Range>()
  #work: Promise<void> = Promise.resolve()

  constructor(file: string, disk?: DiskSeal) {
    this.#file = file
    this.#disk = disk
  }

  /**
   * The first of `count` numbers in a row that nobody else has, for this key and coordinator. Undefined when there are none left until the
   * next epoch.
   */
  async take(key: string, coordinator: string, count: number): Promise<number | undefined> {
    const before = this.#work
    let release = (): void => {}
    this.#work = new Promise((settle) => {
      release = settle
    })
    await before
    try {
      if (this.#key !== key) await this.#load(key)
      let range = this.#ranges.get(coordinator)
      if (range === undefined) {
        if (this.#ranges.size >= COORDINATORS_MAX) return undefined
        range = { at: this.#ranges.size, next: 0, reserved: 0 }
        this.#ranges.set(coordinator, range)
      }
      if (range.next + count > RANGE) return undefined
      if (range.next + count > range.reserved) {
        range.reserved = Math.min(RANGE, range.next + count + RESERVED_AT_ONCE)
        await this.#save()
      }
      const first = range.next
      range.next += count
      return range.at * RANGE + first
    } finally {
      release()
    }
  }

  async #load(key: string): Promise<void> {
    this.#ranges = new Map()
    this.#key = key
    const bytes = await readFileSealed(this.#file, this.#disk)
    if (bytes === undefined) return
    const held = Shape.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
    if (held.key !== key) return
    for (const [at, [coordinator, reserved]] of held.ranges.entries())
      this.#ranges.set(coordinator, { at, next: reserved, reserved })
  }

  async #save(): Promise<void> {
    const ranges = [...this.#ranges].map(([coordinator, { reserved }]) => [coordinator, reserved])
    await makeDirectory(dirname(this.#file))
    await writeFileSealed(this.#file, `${JSON.stringify({ key: this.#key, ranges })}\n`, this.#disk)
  }
}
