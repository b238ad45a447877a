/**
 * Tells what happens, to the channels that want to know: what comes together is one message, what fails is tried again with growing pauses, a bounded
 * number of times; what there is no room for is counted.
 */
import { type Channel, DeliveryFailed, type Message } from './message.ts'

const WAITING_MAX = 1_000
const ATTEMPTS_MAX = 6
const FIRST_PAUSE_MS = 1_000
const PAUSE_MS_MAX = 60_000
const TITLES_MAX = 20

export interface NotifierOptions {
  readonly channels: readonly Channel[]
  /** What comes within so long is one message. */
  readonly groupMs: number
  readonly onLost: (channel: string, reason: string) => void
}

interface Waiting {
  readonly messages: Message[]
  timer: NodeJS.Timeout | undefined
}

export interface ChannelStatus {
  readonly name: string
  readonly kind: string
  readonly told: number
  readonly lost: number
  /** Of the last attempt; undefined: it went well, or there was none. */
  readonly problem: string | undefined
}

export class Notifier {
  readonly #options: NotifierOptions
  readonly #channels: ReadonlyMap<string, Channel>
  readonly #waiting = new Map<string, Waiting>()
  readonly #status = new Map<string, { told: number; lost: number; problem: string | undefined }>()
  readonly #pauses = new Set<() => void>()
  #isStopped = false

  constructor(options: NotifierOptions) {
    this.#options = options
    this.#channels = new Map(options.channels.map((channel) => [channel.name, channel]))
    for (const name of this.#channels.keys()) this.#status.set(name, { told: 0, lost: 0, problem: undefined })
  }

  status(): readonly ChannelStatus[] {
    return [...this.#channels.values()].map(({ name, kind }) => ({ name, kind, ...this.#status.get(name)! }))
  }

  /** Once, now. @throws {DeliveryFailed} */
  async deliver(name: string, message: Message): Promise<void> {
    const channel = this.#channels.get(name)
    if (channel === undefined) {
      const known = [...this.#channels.keys()].join(', ') || 'none'
      throw new DeliveryFailed(`this node has no channel ${name}; it has ${known}: see notify in node.yaml`, true)
    }
    const status = this.#status.get(name)!
    try {
      await channel.send(message)
      status.told += 1
      status.problem = undefined
    } catch (error) {
      status.problem = (error as Error).message
      throw error
    }
  }

  /** With others that come soon, and again if it fails. */
  tell(name: string, message: Message): void {
    if (this.#isStopped) return
    let waiting = this.#waiting.get(name)
    if (waiting === undefined) {
      waiting = { messages: [], timer: undefined }
      this.#waiting.set(name, waiting)
    }
    if (waiting.messages.length >= WAITING_MAX) {
      this.#lost(name, 'too much is to be told at once')
      return
    }
    waiting.messages.push(message)
    if (waiting.timer !== undefined) return
    waiting.timer = setTimeout(() => void this.#flush(name), this.#options.groupMs)
    waiting.timer.unref()
  }

  async #flush(name: string): Promise<void> {
    const messages = this.#waiting.get(name)?.messages ?? []
    this.#waiting.delete(name)
    if (messages.length === 0) return
    const message = grouped(messages)
    for (let attempt = 1; !this.#isStopped; attempt += 1) {
      try {
        await this.deliver(name, message)
        return
      } catch (error) {
        const isFinal = error instanceof DeliveryFailed && error.isFinal
        if (isFinal || attempt >= ATTEMPTS_MAX) {
          this.#lost(name, (error as Error).message)
          return
        }
        await this.#pause(Math.min(PAUSE_MS_MAX, FIRST_PAUSE_MS * 4 ** (attempt - 1)))
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#pauses.delete(end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      timer.unref()
      this.#pauses.add(end)
    })
  }

  #lost(name: string, reason: string): void {
    const status = this.#status.get(name)
    if (status !== undefined) status.lost += 1
    this.#options.onLost(name, reason)
  }

  stop(): void {
    this.#isStopped = true
    for (const { timer } of this.#waiting.values()) clearTimeout(timer)
    for (const end of [...this.#pauses]) end()
  }
}

const RANKS = { low: 0, medium: 1, high: 2 } as const

/** Several as one: as bad as the worst, with all of their titles as far as there is room. */
export function grouped(messages: readonly Message[]): Message {
  const [first] = messages as [Message]
  if (messages.length === 1) return first
  const severity = messages.reduce((worst, one) => (RANKS[one.severity] > RANKS[worst] ? one.severity : worst), first.severity)
  const titles = messages.slice(0, TITLES_MAX).map(({ title }) => `- ${title}`)
  const more = messages.length - titles.length
  return {
    ...first,
    severity,
    title: `${messages.length} messages, the first: ${first.title}`,
    text: [...titles, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'),
    facts: { messages: String(messages.length) },
  }
}
