/**
 * Messages from peers, taken in turn: each peer has its own bounded queue and its own budget, so that one that floods
 * loses its own messages and nobody else's. Pure.
 */
export interface InboxLimits {
  /** Messages of one peer that may wait. */
  readonly queuedMax: number
  readonly queuedBytesMax: number
  /** Sustained messages and bytes a second of one peer, and how many seconds of them may come at once. */
  readonly perSecond: number
  readonly bytesPerSecond: number
  readonly burstSeconds: number
}

interface Queue {
  messages: Uint8Array[]
  /** Of `messages`, so many were taken. */
  taken: number
  bytes: number
  tokens: number
  byteTokens: number
  refilledAtMs: number
  dropped: number
}

/** In the place of a message that was taken. */
const NONE = new Uint8Array(0)

function waitingIn({ messages, taken }: Queue): number {
  return messages.length - taken
}

export class Inbox {
  readonly #limits: InboxLimits
  readonly #queues = new Map<string, Queue>()
  #ring: string[] = []
  #waiting = 0

  constructor(limits: InboxLimits) {
    this.#limits = limits
  }

  /** Only peers that were added have a queue: what others send is dropped. */
  add(peer: string): void {
    if (this.#queues.has(peer)) return
    const { perSecond, bytesPerSecond, burstSeconds } = this.#limits
    const [tokens, byteTokens] = [perSecond * burstSeconds, bytesPerSecond * burstSeconds]
    this.#queues.set(peer, { messages: [], taken: 0, bytes: 0, tokens, byteTokens, refilledAtMs: 0, dropped: 0 })
    this.#ring.push(peer)
  }

  remove(peer: string): void {
    const queue = this.#queues.get(peer)
    if (queue !== undefined) this.#waiting -= waitingIn(queue)
    this.#queues.delete(peer)
    this.#ring = this.#ring.filter((id) => id !== peer)
  }

  get waiting(): number {
    return this.#waiting
  }

  /** False when the message was dropped. `nowMs` never goes back. */
  push(peer: string, message: Uint8Array, nowMs: number): boolean {
    const queue = this.#queues.get(peer)
    if (queue === undefined) return false
    const { queuedMax, queuedBytesMax, perSecond, bytesPerSecond, burstSeconds } = this.#limits
    const seconds = queue.refilledAtMs === 0 ? 0 : (nowMs - queue.refilledAtMs) / 1000
    queue.refilledAtMs = nowMs
    queue.tokens = Math.min(queue.tokens + seconds * perSecond, perSecond * burstSeconds)
    queue.byteTokens = Math.min(queue.byteTokens + seconds * bytesPerSecond, bytesPerSecond * burstSeconds)
    const fits = waitingIn(queue) < queuedMax && queue.bytes + message.length <= queuedBytesMax
    if (!fits || queue.tokens < 1 || queue.byteTokens < message.length) {
      queue.dropped += 1
      return false
    }
    queue.tokens -= 1
    queue.byteTokens -= message.length
    queue.messages.push(message)
    queue.bytes += message.length
    this.#waiting += 1
    return true
  }

  /** The next message, of the next peer in turn that has one. */
  take(): { readonly from: string; readonly message: Uint8Array } | undefined {
    for (let tries = this.#ring.length; tries > 0; tries--) {
      const from = this.#ring.shift()
      if (from === undefined) return undefined
      this.#ring.push(from)
      const queue = this.#queues.get(from)
      const message = queue?.messages[queue.taken]
      if (queue === undefined || message === undefined) continue
      queue.messages[queue.taken] = NONE
      queue.taken += 1
      // Now and then: to move all that follow for each message would cost more the more there are.
      if (queue.taken * 2 >= queue.messages.length) {
        queue.messages = queue.messages.slice(queue.taken)
        queue.taken = 0
      }
      queue.bytes -= message.length
      this.#waiting -= 1
      return { from, message }
    }
    return undefined
  }

  /** Messages of `peer` dropped since the last call. */
  takeDropped(peer: string): number {
    const queue = this.#queues.get(peer)
    const dropped = queue?.dropped ?? 0
    if (queue !== undefined) queue.dropped = 0
    return dropped
  }
}
