/**
 * A process of its own that plays clients of one program: HTTP/2 over TLS, a few connections, many sources (behind a trusted balancer, so that
 * `X-Forwarded-For` tells them). Either as fast as answers come, or so many a second.
 */
import { connect, type OutgoingHttpHeaders } from 'node:http2'

export interface ProgramOrder {
  readonly port: number
  /** What tells its TLS and its HTTP/2 from another's. */
  readonly ciphers: string
  readonly initialWindowSize: number
  readonly sessions: number
  /** Requests under way at once; with `perSecond` none but that. */
  readonly atOnce: number
  readonly perSecond: number | undefined
  readonly ms: number
  /** Requests in turn; each is asked again and again. */
  readonly requests: readonly OutgoingHttpHeaders[]
}

export interface ProgramReport {
  readonly asked: number
  /** By status. */
  readonly answers: Readonly<Record<string, number>>
  readonly timesMs: readonly number[]
  readonly tookMs: number
}

/** Times kept. */
const TIMES_MAX = 20_000
const TICK_MS = 5

async function play(order: ProgramOrder): Promise<ProgramReport> {
  const sessions = Array.from({ length: order.sessions }, () => {
    const session = connect(`https://127.0.0.1:${order.port}`, {
      rejectUnauthorized: false,
      ciphers: order.ciphers,
      settings: { initialWindowSize: order.initialWindowSize },
    })
    session.on('error', () => {})
    return session
  })
  const answers: Record<string, number> = {}
  const timesMs: number[] = []
  let [asked, open] = [0, 0]
  const ask = (): Promise<void> => {
    const at = asked
    asked += 1
    open += 1
    return new Promise((settle) => {
      const startMs = performance.now()
      const done = (outcome: string): void => {
        answers[outcome] = (answers[outcome] ?? 0) + 1
        if (timesMs.length < TIMES_MAX) timesMs.push(performance.now() - startMs)
        open -= 1
        settle()
      }
      const session = sessions[at % sessions.length]!
      if (session.closed || session.destroyed) {
        done('cut')
        return
      }
      const stream = session.request(order.requests[at % order.requests.length]!)
      let status = 'cut'
      stream.on('response', (headers) => {
        status = String(headers[':status'])
      })
      stream.on('error', () => {})
      stream.resume()
      stream.on('close', () => done(status))
    })
  }
  const startMs = performance.now()
  const over = (): boolean => performance.now() - startMs >= order.ms
  if (order.perSecond === undefined) {
    const inTurn = async (): Promise<void> => {
      while (!over()) await ask()
    }
    await Promise.all(Array.from({ length: order.atOnce }, inTurn))
  } else {
    while (!over()) {
      const due = ((performance.now() - startMs) * order.perSecond) / 1_000
      while (asked < due) void ask()
      await new Promise((wake) => setTimeout(wake, TICK_MS))
    }
    for (let waits = 0; open > 0 && waits < 1_000; waits += 1) await new Promise((wake) => setTimeout(wake, TICK_MS))
  }
  const tookMs = performance.now() - startMs
  for (const session of sessions) session.destroy()
  return { asked, answers, timesMs, tookMs }
}

process.on('message', (order: ProgramOrder) => {
  void play(order).then((report) => process.send!(report))
})
process.on('disconnect', () => process.exit())
process.send!('ready')
