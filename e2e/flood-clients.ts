/**
 * A process of its own that plays clients of one node, each from an address of its own on loopback: either as many requests as are
 * answered (closed loop), or so many a second whether they are answered or not (open loop), over kept connections that are opened again when they
 * are cut. Reads nothing of answers but their status.
 */
import { connect, type Socket } from 'node:net'

export interface ClientsOrder {
  readonly port: number
  readonly sources: readonly string[]
  readonly connectionsPerSource: number
  /** Requests a second of all sources together; undefined: each connection asks again as soon as it is answered. */
  readonly perSecond: number | undefined
  readonly request: string
}

/** Since the last report. Cut: connections that ended with a request unanswered, or without a word. */
export interface ClientsReport {
  readonly asked: number
  readonly good: number
  readonly refused: number
  readonly cut: number
}

const TICK_MS = 10
/** Requests on one connection whose answers are due. */
const DUE_MAX = 8
const STATUS = /HTTP\/1\.1 (\d)\d\d /g

let [asked, good, refused, cut] = [0, 0, 0, 0]
let over = false
const sockets = new Set<Socket>()

class Client {
  readonly #order: ClientsOrder
  readonly #source: string
  #socket: Socket | undefined
  #isOpen = false
  #due = 0

  constructor(order: ClientsOrder, source: string) {
    this.#order = order
    this.#source = source
  }

  /** One request more. */
  ask(): void {
    asked += 1
    const socket = this.#socket ?? this.#open()
    // What the node does not read is not written for ever: it was offered.
    if (this.#due >= DUE_MAX || !this.#isOpen) return
    this.#due += 1
    socket.write(this.#order.request)
  }

  #open(): Socket {
    const socket = connect({ host: '127.0.0.1', port: this.#order.port, localAddress: this.#source, noDelay: true })
    this.#socket = socket
    sockets.add(socket)
    socket.on('connect', () => {
      this.#isOpen = true
      this.#due = 1
      socket.write(this.#order.request)
    })
    socket.on('data', (bytes: Buffer) => {
      for (const [, status] of bytes.toString('latin1').matchAll(STATUS)) {
        this.#due -= 1
        if (status === '2') good += 1
        else refused += 1
        if (this.#order.perSecond === undefined && !over) this.ask()
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#due > 0 || !this.#isOpen) cut += 1
      sockets.delete(socket)
      this.#socket = undefined
      this.#isOpen = false
      this.#due = 0
      if (this.#order.perSecond === undefined && !over) setTimeout(() => this.ask(), TICK_MS)
    })
    return socket
  }
}

let timer: NodeJS.Timeout | undefined

function begin(order: ClientsOrder): void {
  over = false
  const clients = Array.from({ length: order.connectionsPerSource }, () =>
    order.sources.map((source) => new Client(order, source)),
  ).flat()
  if (order.perSecond === undefined) {
    for (const client of clients) client.ask()
    return
  }
  const { perSecond } = order
  const startMs = performance.now()
  let done = 0
  let next = 0
  timer = setInterval(() => {
    // Late or not, it is as many: no more than a second's worth at once.
    const due = Math.min(done + perSecond, ((performance.now() - startMs) * perSecond) / 1_000)
    for (; done < due; done += 1) clients[next++ % clients.length]!.ask()
  }, TICK_MS)
}

process.on('message', (message: ClientsOrder | 'report' | 'stop') => {
  if (message === 'report') {
    process.send!({ asked, good, refused, cut } satisfies ClientsReport)
    asked = good = refused = cut = 0
  } else if (message === 'stop') {
    over = true
    clearInterval(timer)
    for (const socket of sockets) socket.destroy()
  } else begin(message)
})
process.on('disconnect', () => process.exit())
process.send!('ready')
