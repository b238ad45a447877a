/**
 * What a client of HTTP/2 shows of its library before and with its first request: its settings, the window that it opens, its priorities, and the
 * order of its pseudo-headers, as in Shuster, Segal, Ben Zion, "Passive Fingerprinting of HTTP/2 Clients" (Akamai, 2017):
 * `1:65536;4:6291456|15663105|0|m,a,s,p`. Bounded; a client can imitate another's.
 */
const SETTINGS_MAX = 16
const PRIORITIES_MAX = 16

export class H2Fingerprint {
  #settings = ''
  #window = 0
  #priorities: string[] = []
  #text: string | undefined

  /** Of the first request; undefined before. */
  get text(): string | undefined {
    return this.#text
  }

  /** @param payload Of a SETTINGS frame, whole entries. */
  settings(payload: Buffer): void {
    if (this.#text !== undefined || this.#settings !== '') return
    const entries: string[] = []
    for (let at = 0; at + 6 <= payload.length && entries.length < SETTINGS_MAX; at += 6)
      entries.push(`${payload.readUInt16BE(at)}:${payload.readUInt32BE(at + 2)}`)
    this.#settings = entries.join(';')
  }

  /** The connection's, before the first request. */
  window(increment: number): void {
    if (this.#text === undefined && this.#window === 0) this.#window = increment
  }

  /** @param payload Of a PRIORITY frame, 5 bytes. */
  priority(id: number, payload: Buffer): void {
    if (this.#text !== undefined || this.#priorities.length >= PRIORITIES_MAX) return
    const word = payload.readUInt32BE(0)
    this.#priorities.push(`${id}:${word >>> 31}:${word & 0x7fffffff}:${payload[4]! + 1}`)
  }

  /** @param fields Names and values in turn. */
  request(fields: readonly string[]): void {
    if (this.#text !== undefined) return
    const order: string[] = []
    for (let at = 0; at < fields.length && fields[at]!.charCodeAt(0) === 0x3a && order.length < 8; at += 2)
      order.push(fields[at]!.charAt(1))
    const window = String(this.#window).padStart(2, '0')
    this.#text = `${this.#settings}|${window}|${this.#priorities.length === 0 ? '0' : this.#priorities.join(',')}|${order.join(',')}`
    this.#priorities = []
  }
}
