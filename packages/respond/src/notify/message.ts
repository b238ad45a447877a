/** What people, and the programs that they use, are told. */

/** Of whichever kind of channel: it is written in that channel's form. */
export interface Message {
  /** The same whenever the same is said again: receivers tell repetitions by it. */
  readonly id: string
  /** Dotted, as `incident.opened`. */
  readonly type: string
  readonly severity: 'low' | 'medium' | 'high'
  /** One line. */
  readonly title: string
  readonly text: string
  /** Unix milliseconds. */
  readonly atMs: number
  readonly ring: string
  readonly node: string
  /** What it is about, by name: plain values. */
  readonly facts: Readonly<Record<string, string>>
}

/** Why something was not told. `isFinal`: it will not be otherwise, however often it is tried. */
export class DeliveryFailed extends Error {
  override readonly name = 'DeliveryFailed'
  readonly code = 'DELIVERY_FAILED'
  readonly isFinal: boolean
  constructor(reason: string, isFinal = false, options?: ErrorOptions) {
    super(reason, options)
    this.isFinal = isFinal
  }
}

/** Tells one message to one place. @throws {DeliveryFailed} */
export interface Channel {
  readonly name: string
  readonly kind: string
  send(message: Message): Promise<void>
}

/** Longest that a channel takes over one message. */
export const SEND_MS_MAX = 4_000
