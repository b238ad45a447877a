/** What ends with a node, kept in the order in which it was begun: it is closed from the last. */

type Close = () => Promise<void> | void

export class Closing {
  readonly #rest: Close[] = []
  readonly #served: Close[] = []

  add(close: Close): void {
    this.#rest.push(close)
  }

  /** Of what traffic cannot do without: it outlasts a hand-over. */
  addServed(close: Close): void {
    this.#served.push(close)
  }

  /** Closes everything but what traffic needs. */
  async handOver(): Promise<void> {
    for (const close of this.#rest.splice(0).reverse()) await close()
  }

  async all(): Promise<void> {
    for (const close of this.#served.splice(0).reverse()) await close()
    await this.handOver()
  }
}
