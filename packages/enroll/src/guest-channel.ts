/** What guest and node say to each other: a line of JSON each way, in bounds of bytes, time and number. */
import type { TLSSocket } from 'node:tls'
import { GuestMessageInvalid } from './errors.ts'

/** Vouchers and event logs are the largest. */
export const REQUEST_BYTES_MAX = 262_144
/** A genesis document has a megabyte at most. */
const ANSWER_BYTES_MAX = 2_097_152
const REQUESTS_MAX = 16
const IDLE_MS_MAX = 10_000
const LIFE_MS_MAX = 60_000

export type GuestAnswer = { readonly ok: Readonly<Record<string, unknown>> } | GuestRefusal

export interface GuestRefusal {
  readonly error: { readonly code: string; readonly reason: string }
}

/** Splits a stream into lines. The rest of what is not yet one is bounded. */
class LineReader {
  readonly #bytesMax: number
  #held: Buffer[] = []
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** @throws {GuestMessageInvalid} */
  push(chunk: Buffer): readonly string[] {
    const lines: string[] = []
    let rest = chunk
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      lines.push(Buffer.concat([...this.#held, rest.subarray(0, end)]).toString('utf8'))
      this.#held = []
      this.#bytes = 0
      rest = rest.subarray(end + 1)
    }
    this.#bytes += rest.length
    if (this.#bytes > this.#bytesMax) throw new GuestMessageInvalid(`a message has more than ${this.#bytesMax} bytes`)
    if (rest.length > 0) this.#held.push(rest)
    return lines
  }
}

function parseLine(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Falls through: what was said is not repeated.
  }
  throw new GuestMessageInvalid('a message is no JSON object')
}

/** Asks, and waits for the answer. One at a time on a connection. @throws {GuestMessageInvalid} Also when it closes, or says nothing in time. */
export function askAsGuest(
  socket: TLSSocket,
  request: Readonly<Record<string, unknown>>,
  timeoutMs: number,
): Promise<GuestAnswer> {
  return new Promise((settle, refuse) => {
    const reader = new LineReader(ANSWER_BYTES_MAX)
    const end = (): void => {
      clearTimeout(timer)
      socket.off('data', onData)
      socket.off('close', onClose)
    }
    const fail = (error: Error): void => {
      end()
      refuse(error)
    }
    const onClose = (): void => fail(new GuestMessageInvalid('the node closed the connection'))
    const onData = (chunk: Buffer): void => {
      try {
        const line = reader.push(chunk)[0]
        if (line === undefined) return
        const answer = parseAnswer(parseLine(line))
        end()
        settle(answer)
      } catch (error) {
        fail(error as Error)
      }
    }
    const timer = setTimeout(() => fail(new GuestMessageInvalid(`the node said nothing for ${timeoutMs} ms`)), timeoutMs)
    socket.on('data', onData)
    socket.once('close', onClose)
    socket.write(`${JSON.stringify(request)}\n`)
  })
}

function parseAnswer({ ok, error }: Readonly<Record<string, unknown>>): GuestAnswer {
  if (typeof ok === 'object' && ok !== null) return { ok: ok as Record<string, unknown> }
  const { code, reason } = (error ?? {}) as Record<string, unknown>
  if (typeof code !== 'string' || typeof reason !== 'string' || !/^[A-Z][A-Z_]{1,63}$/.test(code))
    throw new GuestMessageInvalid('an answer is neither yes nor no')
  return { error: { code, reason: reason.slice(0, 1_000).replace(/[^\x20-\x7e\u00a0-\u2027\u2030-\ud7ff]/g, ' ') } }
}

/** Answers one request after another until the guest goes, says too much, or nothing. */
export function serveGuest(
  socket: TLSSocket,
  answer: (request: Readonly<Record<string, unknown>>) => Promise<GuestAnswer>,
): void {
  const reader = new LineReader(REQUEST_BYTES_MAX)
  const life = setTimeout(() => socket.destroy(), LIFE_MS_MAX)
  life.unref()
  let asked = 0
  let isBusy = false
  socket.setTimeout(IDLE_MS_MAX, () => isBusy || socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.once('close', () => clearTimeout(life))
  const say = (said: GuestAnswer): void => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(said)}\n`)
  }
  const serve = async (line: string): Promise<void> => {
    isBusy = true
    socket.pause()
    try {
      say(await answer(parseLine(line)))
    } catch (error) {
      const known = error instanceof GuestMessageInvalid
      say({ error: { code: known ? 'GUEST_MESSAGE' : 'INTERNAL', reason: known ? error.message : 'the node failed to answer' } })
      socket.end()
    }
    isBusy = false
    if (asked >= REQUESTS_MAX) socket.end()
    else socket.resume()
  }
  socket.on('data', (chunk: Buffer) => {
    try {
      const lines = reader.push(chunk)
      asked += lines.length
      // Who does not wait for an answer is no guest.
      if (lines.length > 1 || (lines.length > 0 && isBusy)) socket.destroy()
      else if (lines[0] !== undefined) void serve(lines[0])
    } catch {
      socket.destroy()
    }
  })
}
