/**
 * Messages that wait for the disk: what a validator says leaves only once all that it was to write down before is written, so
 * that no crash makes it forget what others have heard. In order.
 */

/** The network may lose messages, so the voter can stand the loss of one; memory cannot stand the lack of a bound. */
const WAITING_MAX = 8192

export class Outbox {
  #waiting: { readonly after: number; readonly send: () => void }[] = []
  #begun = 0
  #durable = 0
  #last: Promise<void> = Promise.resolve()

  /** What is sent from now on waits for `writing`; it calls `onFailure` when that rejects. */
  wait(writing: Promise<void>, onFailure: (error: Error) => void): void {
    this.#begun += 1
    const mark = this.#begun
    this.#last = writing
    writing.then(() => {
      this.#durable = mark
      this.#flush()
    }, onFailure)
  }

  /** Settles as the last write that was begun does. */
  get written(): Promise<void> {
    return this.#last
  }

  send(send: () => void): void {
    if (this.#waiting.length === 0 && this.#durable === this.#begun) send()
    else if (this.#waiting.length < WAITING_MAX) this.#waiting.push({ after: this.#begun, send })
  }

  clear(): void {
    this.#waiting = []
  }

  #flush(): void {
    const ready = this.#waiting.findIndex(({ after }) => after > this.#durable)
    for (const { send } of this.#waiting.splice(0, ready === -1 ? this.#waiting.length : ready)) send()
  }
}
