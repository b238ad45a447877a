/** How many bodies go through at a time: each holds some segments in memory. Who has to wait too long is told so. */
import { S3Error } from './s3-error.ts'

export class Turns {
  readonly #most: number
  readonly #waitersMax: number
  readonly #waiting: (() => void)[] = []
  #under = 0

  constructor(most: number, waitersMax: number) {
    this.#most = most
    this.#waitersMax = waitersMax
  }

  /** @throws {S3Error} SlowDown */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#under >= this.#most) {
      if (this.#waiting.length >= this.#waitersMax) throw new S3Error('SlowDown', 'too much is under way here: try again')
      await new Promise<void>((settle) => this.#waiting.push(settle))
    } else this.#under += 1
    try {
      return await work()
    } finally {
      // Whoever comes next has this one's place.
      const next = this.#waiting.shift()
      if (next === undefined) this.#under -= 1
      else next()
    }
  }
}
